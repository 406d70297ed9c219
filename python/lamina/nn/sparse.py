"""k-sparse activation."""

from lamina import ops
from lamina.autograd import Tensor, record
from lamina.nn._cast import floating
from lamina.nn.module import Module
from lamina.ops import _check as check


class KSparse(Module):
    """Keep the k greatest of each row, not by magnitude, and set the others to 0 (Makhzani & Frey 2014).

    Ties go to the lowest unit; the gradient goes through those that were kept alone. In evaluation the
    `alpha * k` greatest are kept (rounded, at most all), alpha >= 1. ValueError for a k of less than 1 or of
    more than the units, and for an alpha below 1.
    """

    def __init__(self, k: int, *, alpha: float = 1.0) -> None:
        self.k = check.integer("KSparse", "k", k, 1)
        self.alpha = check.number("KSparse", "alpha", alpha)
        if self.alpha < 1:
            raise ValueError(f"KSparse: alpha must be at least 1, got {alpha}")

    def forward(self, x: Tensor) -> Tensor:
        """x (..., H) -> y (..., H)."""
        x = floating(x)
        if x.ndim == 0 or x.shape[-1] < self.k:
            raise ValueError(f"KSparse: k = {self.k} is more than the units of x, shape {x.shape}")
        units = x.shape[-1]
        k = self.k if self.training else min(units, round(self.alpha * self.k))
        rows = x if x.ndim == 2 else x.reshape(-1, units)
        y, ctx = ops.k_sparse(rows.data, k)
        found = record(y, (rows,), ops.k_sparse_backward, ctx)
        return found if x.ndim == 2 else found.reshape(*x.shape)
