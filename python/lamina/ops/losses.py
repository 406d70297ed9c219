"""Losses: softmax cross-entropy from logits, and mean squared error."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lamina.config import backend
from lamina.ops import _check as check
from lamina.ops._check import Array


class CrossEntropyContext(NamedTuple):
    """What `softmax_cross_entropy_backward` needs."""

    probabilities: Array
    labels: npt.NDArray[np.int64]
    shape: tuple[int, ...]


def softmax_cross_entropy(x: Any, labels: Any) -> tuple[Array, CrossEntropyContext]:
    """Loss per row, -log softmax(x)[label]: logits x (..., C), integer labels (...) -> losses (...).

    Raises ValueError for a label outside 0..C-1 or shapes that do not match, TypeError for labels that are
    not integers or x other than float32 or float64.
    """
    (x,) = check.floats("softmax_cross_entropy", x=x)
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"softmax_cross_entropy: x must have at least one class {check.shown(x.shape)}")
    labels = check.labels("softmax_cross_entropy", labels, x.shape[:-1], x.shape[-1])
    rows = x.reshape(x.size // x.shape[-1], x.shape[-1])
    losses: Array
    losses, probabilities = backend().softmax_cross_entropy(rows, labels.reshape(-1))
    return losses.reshape(x.shape[:-1]), CrossEntropyContext(probabilities, labels.reshape(-1), x.shape)


def softmax_cross_entropy_backward(dlosses: Any, ctx: CrossEntropyContext) -> Array:
    """dlosses (...) -> dx (..., C): (softmax(x) - one_hot(labels)) dlosses."""
    dlosses = check.gradient(
        "softmax_cross_entropy_backward", "dlosses", dlosses, ctx.probabilities, ctx.shape[:-1]
    )
    dx: Array = backend().softmax_cross_entropy_backward(dlosses.reshape(-1), ctx.probabilities, ctx.labels)
    return dx.reshape(ctx.shape)


class MeanSquaredErrorContext(NamedTuple):
    """What `mean_squared_error_backward` needs."""

    x: Array
    target: Array


def mean_squared_error(x: Any, target: Any) -> tuple[Array, MeanSquaredErrorContext]:
    """mean((x - target)^2) over all elements, shape (): x and target of one shape, not empty."""
    x, target = check.floats("mean_squared_error", x=x, target=target)
    check.shape("mean_squared_error", "target", target, x.shape, "that of x")
    if x.size == 0:
        raise ValueError(f"mean_squared_error: x is empty {check.shown(x.shape)}, so it has no mean")
    y: Array = backend().mean_squared_error(x, target)
    return y, MeanSquaredErrorContext(x, target)


def mean_squared_error_backward(dy: Any, ctx: MeanSquaredErrorContext) -> Array:
    """dy of shape () -> dx = 2 (x - target) dy/size. The gradient of target is -dx."""
    dy = check.gradient("mean_squared_error_backward", "dy", dy, ctx.x, ())
    dx: Array = backend().mean_squared_error_backward(float(dy), ctx.x, ctx.target)
    return dx
