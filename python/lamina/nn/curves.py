"""Activations with parameters of their form, for any shape; Maxout over pieces of the last axis."""

from lamina import functions, ops
from lamina.autograd import Tensor, record
from lamina.nn._cast import floating
from lamina.nn.module import Module
from lamina.ops import _check as check


class LeakyReLU(Module):
    """x where x > 0, else slope x (Maas, Hannun & Ng 2013). ValueError for a negative slope."""

    def __init__(self, *, slope: float = 0.01) -> None:
        self.slope = check.number("LeakyReLU", "slope", slope)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return functions.leaky_relu(floating(x), slope=self.slope)


class ELU(Module):
    """x where x > 0, else alpha (exp(x) - 1) (Clevert, Unterthiner & Hochreiter 2016).

    ValueError for a negative alpha.
    """

    def __init__(self, *, alpha: float = 1.0) -> None:
        self.alpha = check.number("ELU", "alpha", alpha)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return functions.elu(floating(x), alpha=self.alpha)


class GELU(Module):
    """x times the normal distribution at x (Hendrycks & Gimpel 2016).

    approximate: "none", or "tanh" for x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2.
    """

    def __init__(self, *, approximate: str = "none") -> None:
        self.approximate = check.choice("GELU", "approximate", approximate, ("none", "tanh"))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return functions.gelu(floating(x), approximate=self.approximate)


class SiLU(Module):
    """x sigmoid(x)."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return functions.silu(floating(x))


class Softplus(Module):
    """log(1 + exp(x))."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return functions.softplus(floating(x))


class Maxout(Module):
    """The greatest of `pieces` features (Goodfellow et al. 2013): x (..., pieces C) -> y (..., C).

    Piece j has the features j C to (j + 1) C - 1, so a Linear or a convolution before it makes pieces times C
    outputs. The gradient goes to the greatest, the first of equals. ValueError where pieces do not divide the
    last axis.
    """

    def __init__(self, pieces: int) -> None:
        self.pieces = check.integer("Maxout", "pieces", pieces, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., pieces C) -> y (..., C)."""
        x = floating(x)
        if x.ndim == 0 or x.shape[-1] == 0 or x.shape[-1] % self.pieces:
            raise ValueError(
                f"Maxout: pieces = {self.pieces} must divide the last axis of x {check.shown(x.shape)}"
            )
        features = x.shape[-1] // self.pieces
        rows = x.reshape(x.size // x.shape[-1], 1, self.pieces, features)  # windows of a row of pixels
        y, ctx = ops.max_pool2d(rows.data, (1, self.pieces))
        return record(y, (rows,), ops.max_pool2d_backward, ctx).reshape(*x.shape[:-1], features)
