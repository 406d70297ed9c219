"""Activations: elementwise ones on any shape, softmax along one axis."""

from typing import Any, NamedTuple

import numpy as np

from lamina import _hosted as hosted
from lamina.config import backend
from lamina.ops import _check as check
from lamina.ops._check import Array


def relu(x: Any) -> tuple[Array, Array]:
    """max(x, 0), any shape; NaN stays NaN. The context is y itself: leave it unchanged until backward."""
    (x,) = check.floats("relu", x=x)
    y: Array = backend().relu(x)
    return y, y


def relu_backward(dy: Any, ctx: Array) -> Array:
    """-> dy where y > 0, else 0."""
    dx: Array = backend().relu_backward(check.gradient("relu_backward", "dy", dy, ctx, ctx.shape), ctx)
    return dx


def sigmoid(x: Any) -> tuple[Array, Array]:
    """1/(1 + exp(-x)), any shape, to 4 units in the last place. The context is y itself."""
    (x,) = check.floats("sigmoid", x=x)
    y: Array = backend().sigmoid(x)
    return y, y


def sigmoid_backward(dy: Any, ctx: Array) -> Array:
    """-> dy y (1 - y)."""
    dx: Array = backend().sigmoid_backward(check.gradient("sigmoid_backward", "dy", dy, ctx, ctx.shape), ctx)
    return dx


def tanh(x: Any) -> tuple[Array, Array]:
    """Hyperbolic tangent, any shape, to 6 units in the last place. The context is y itself."""
    (x,) = check.floats("tanh", x=x)
    y: Array = backend().tanh(x)
    return y, y


def tanh_backward(dy: Any, ctx: Array) -> Array:
    """-> dy (1 - y^2)."""
    dx: Array = backend().tanh_backward(check.gradient("tanh_backward", "dy", dy, ctx, ctx.shape), ctx)
    return dx


class CurveContext(NamedTuple):
    """What the backward passes of the activations below need: which one, x, and its parameter."""

    kind: str
    x: Array
    a: float


def leaky_relu(x: Any, *, slope: float = 0.01) -> tuple[Array, CurveContext]:
    """x where x > 0, else slope x; any shape (Maas, Hannun & Ng 2013)."""
    return _curve("leaky_relu", "leaky_relu", x, check.number("leaky_relu", "slope", slope))


def leaky_relu_backward(dy: Any, ctx: CurveContext) -> Array:
    """-> dy where x > 0, else slope dy."""
    return _curve_backward("leaky_relu_backward", dy, ctx)


def elu(x: Any, *, alpha: float = 1.0) -> tuple[Array, CurveContext]:
    """x where x > 0, else alpha (exp(x) - 1); any shape (Clevert, Unterthiner & Hochreiter 2016)."""
    return _curve("elu", "elu", x, check.number("elu", "alpha", alpha))


def elu_backward(dy: Any, ctx: CurveContext) -> Array:
    """-> dy where x > 0, else alpha exp(x) dy."""
    return _curve_backward("elu_backward", dy, ctx)


def softplus(x: Any) -> tuple[Array, CurveContext]:
    """log(1 + exp(x)), any shape, without overflow."""
    return _curve("softplus", "softplus", x)


def softplus_backward(dy: Any, ctx: CurveContext) -> Array:
    """-> dy sigmoid(x)."""
    return _curve_backward("softplus_backward", dy, ctx)


def silu(x: Any) -> tuple[Array, CurveContext]:
    """x sigmoid(x), any shape."""
    return _curve("silu", "silu", x)


def silu_backward(dy: Any, ctx: CurveContext) -> Array:
    """-> dy s (1 + x (1 - s)), s = sigmoid(x)."""
    return _curve_backward("silu_backward", dy, ctx)


def gelu(x: Any, *, approximate: str = "none") -> tuple[Array, CurveContext]:
    """x Phi(x), Phi the normal distribution; any shape (Hendrycks & Gimpel 2016).

    approximate "tanh": x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2. ValueError for another word.
    """
    tanh = check.choice("gelu", "approximate", approximate, ("none", "tanh")) == "tanh"
    return _curve("gelu", "gelu_tanh" if tanh else "gelu", x)


def gelu_backward(dy: Any, ctx: CurveContext) -> Array:
    """-> dy (Phi(x) + x phi(x)), or the slope of the approximation."""
    return _curve_backward("gelu_backward", dy, ctx)


def _curve(op: str, kind: str, x: Any, a: float = 0.0) -> tuple[Array, CurveContext]:
    (x,) = check.floats(op, x=x)
    y: Array = backend().curve(kind, x, a)
    return y, CurveContext(kind, x, a)


def _curve_backward(op: str, dy: Any, ctx: CurveContext) -> Array:
    dy = check.gradient(op, "dy", dy, ctx.x, ctx.x.shape)
    dx: Array = backend().curve_backward(ctx.kind, dy, ctx.x, ctx.a)
    return dx


class SoftmaxContext(NamedTuple):
    """What the backward passes of softmax and log_softmax need: y by rows, and how to get back from rows."""

    rows: Array
    shape: tuple[int, ...]
    axis: int


def softmax(x: Any, axis: int = -1) -> tuple[Array, SoftmaxContext]:
    """exp(x)/sum(exp(x)) along `axis`, any shape with at least one axis. A line with +inf or NaN is NaN.

    Raises ValueError for an axis that x lacks or that is empty.
    """
    rows, shape, axis = _to_rows("softmax", x, axis)
    y: Array = backend().softmax(rows)
    return _from_rows(y, shape, axis), SoftmaxContext(y, shape, axis)


def softmax_backward(dy: Any, ctx: SoftmaxContext) -> Array:
    """-> y (dy - sum(dy y)), the sum along the axis."""
    dy = check.gradient("softmax_backward", "dy", dy, ctx.rows, ctx.shape)
    dx: Array = backend().softmax_backward(_lines(dy, ctx.axis), ctx.rows)
    return _from_rows(dx, ctx.shape, ctx.axis)


def log_softmax(x: Any, axis: int = -1) -> tuple[Array, SoftmaxContext]:
    """x - log(sum(exp(x))) along `axis`; shapes and errors as in `softmax`."""
    rows, shape, axis = _to_rows("log_softmax", x, axis)
    y: Array = backend().log_softmax(rows)
    return _from_rows(y, shape, axis), SoftmaxContext(y, shape, axis)


def log_softmax_backward(dy: Any, ctx: SoftmaxContext) -> Array:
    """-> dy - exp(y) sum(dy), the sum along the axis."""
    dy = check.gradient("log_softmax_backward", "dy", dy, ctx.rows, ctx.shape)
    dx: Array = backend().log_softmax_backward(_lines(dy, ctx.axis), ctx.rows)
    return _from_rows(dx, ctx.shape, ctx.axis)


def _to_rows(op: str, x: Any, axis: Any) -> tuple[Array, tuple[int, ...], int]:
    (x,) = check.floats(op, x=x)
    if x.ndim == 0:
        raise ValueError(f"{op}: x must have at least one axis, got a scalar array")
    axis = check.integer(op, "axis", axis, -x.ndim, x.ndim - 1) % x.ndim
    if x.shape[axis] == 0:
        raise ValueError(f"{op}: axis {axis} of x is empty {check.shown(x.shape)}")
    return _lines(x, axis), x.shape, axis


def _lines(x: Array, axis: int) -> Array:
    """The lines of x along `axis` as the rows of a contiguous matrix."""
    lines: Array = hosted.again(np.ascontiguousarray, np.moveaxis(x, axis, -1))
    return lines.reshape(x.size // x.shape[axis], x.shape[axis])


def _from_rows(rows: Array, shape: tuple[int, ...], axis: int) -> Array:
    moved = (*shape[:axis], *shape[axis + 1 :], shape[axis])
    found: Array = hosted.again(np.ascontiguousarray, np.moveaxis(rows.reshape(moved), -1, axis))
    return found
