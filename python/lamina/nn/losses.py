"""Losses. reduction: "mean" over all samples (or elements), "sum", or "none" for one loss each."""

from typing import Any

import numpy as np

from lamina import ops
from lamina.autograd import Tensor, apply, record
from lamina.nn._cast import floating
from lamina.nn.module import Array, Module
from lamina.ops import _check as check


class _Loss(Module):
    def __init__(self, *, reduction: str = "mean") -> None:
        self.reduction = check.choice(type(self).__name__, "reduction", reduction, ("mean", "sum", "none"))

    def _reduce(self, losses: Tensor) -> Tensor:
        if self.reduction == "none":
            return losses
        if self.reduction == "sum":
            return losses.sum()
        self._require_some(losses)
        return losses.mean()

    def _require_some(self, x: Tensor) -> None:
        if x.size == 0:
            raise ValueError(
                f"{type(self).__name__}: an empty batch (shape {x.shape}) has no mean; use reduction='sum'"
            )

    def _target(self, x: Tensor, target: Any) -> Tensor:
        """The target as a tensor of x's shape and, where it is an array, dtype."""
        name = type(self).__name__
        if not isinstance(target, Tensor):
            check.refuse_mask(name, "target", target)
            array = np.asarray(target)
            if array.dtype.kind not in "fiub":
                raise TypeError(f"{name}: target must be an array of numbers, got {array.dtype}")
            target = Tensor(array.astype(x.dtype, copy=False))
        found = floating(target, x.dtype)
        check.shape(name, "target", found.data, x.shape, "that of x")
        return found


class CrossEntropyLoss(_Loss):
    """-log softmax(x)[label], from logits x (..., C) and integer labels (...) in 0..C-1.

    Raises ValueError for labels out of range or of another shape, TypeError for labels that are not integers.
    """

    def forward(self, x: Tensor, target: Any) -> Tensor:
        """x (..., C), target (...) -> one number, or (...) with reduction "none"."""
        x = floating(x)
        check.refuse_mask("CrossEntropyLoss", "target", target)
        labels = target.data if isinstance(target, Tensor) else np.asarray(target)
        losses = apply(_cross_entropy, ops.softmax_cross_entropy_backward, x, labels=labels)
        return self._reduce(losses)


def _cross_entropy(x: Array, labels: Array) -> tuple[Array, Any]:
    return ops.softmax_cross_entropy(x, labels)


class MSELoss(_Loss):
    """(x - target)^2, for x and target of one shape; nothing broadcasts. ValueError for other shapes."""

    def forward(self, x: Tensor, target: Any) -> Tensor:
        """x and target of one shape -> one number, or that shape with reduction "none"."""
        x = floating(x)
        target = self._target(x, target)
        if self.reduction != "mean":
            return self._reduce((x - target) ** 2)
        self._require_some(x)
        y, ctx = ops.mean_squared_error(x.data, target.data)
        return record(y, (x, target), _mean_squared_error_backward, ctx, target.requires_grad)


def _mean_squared_error_backward(dy: Array, ctx: Any, needs_dtarget: bool) -> Any:
    dx = ops.mean_squared_error_backward(dy, ctx)
    return dx, -dx if needs_dtarget else None


class BCEWithLogitsLoss(_Loss):
    """-t log sigmoid(x) - (1 - t) log(1 - sigmoid(x)), for logits x and targets t in [0, 1] of one shape.

    Computed as |x| (1 - t if x > 0 else t) + log(1 + exp(-|x|)), which does not overflow and is 0 for an
    infinite logit on the side of its target. ValueError for targets outside [0, 1] or of another shape.
    """

    def forward(self, x: Tensor, target: Any) -> Tensor:
        """x and target of one shape -> one number, or that shape with reduction "none"."""
        x = floating(x)
        t = self._target(x, target).data
        if not np.all((t >= 0) & (t <= 1)):
            raise ValueError("BCEWithLogitsLoss: target must lie in [0, 1]")
        return self._reduce(apply(_binary_cross_entropy, _binary_cross_entropy_backward, x, t=t))


def _binary_cross_entropy(x: Array, t: Array) -> tuple[Array, Any]:
    size = np.abs(x)
    wrong = np.where(x > 0, 1 - t, t)  # the share of the target that x speaks against
    cost = np.multiply(size, wrong, out=np.zeros_like(x), where=wrong != 0)  # 0, where it would be inf 0
    return cost + np.log1p(np.exp(-size)), (x, t)


def _binary_cross_entropy_backward(dy: Array, ctx: Any) -> Array:
    x, t = ctx
    dx: Array = dy * (ops.sigmoid(x)[0] - t)
    return dx
