"""Elementwise activations (any shape), and softmax over the rows of (M,N)."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lamina.reference._types import Array


def add(a: Array, b: Array) -> Array:
    """a + b."""
    return np.asarray(a + b)


def relu(x: Array) -> Array:
    """max(x, 0); NaN stays NaN."""
    return np.asarray(np.maximum(x, x.dtype.type(0)))


def relu_backward(dy: Array, y: Array) -> Array:
    """dy where not y <= 0, else 0."""
    return np.where(y <= 0, dy.dtype.type(0), dy)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)); exp may overflow to inf, and the quotient is then the right 0."""
    with np.errstate(over="ignore"):
        y: Array = np.asarray(np.exp(-x))
    y += 1
    np.reciprocal(y, out=y)
    return y


def sigmoid_backward(dy: Array, y: Array) -> Array:
    """-> dy y (1 - y)."""
    return np.asarray(dy * y * (y.dtype.type(1) - y))


def tanh(x: Array) -> Array:
    """Hyperbolic tangent."""
    return np.asarray(np.tanh(x))


def tanh_backward(dy: Array, y: Array) -> Array:
    """-> dy (1 - y^2)."""
    return np.asarray(dy * (y.dtype.type(1) - y * y))


def shift_by_max(x: Array) -> Array:
    """x minus the maximum of its row, so that exp cannot overflow; rows with +inf or only -inf become NaN."""
    with np.errstate(invalid="ignore", over="ignore"):
        shifted: Array = x - x.max(axis=1, keepdims=True)
    return shifted


def softmax(x: Array) -> Array:
    """exp(x) / sum(exp(x)) over the rows of x (M,N)."""
    y = shift_by_max(x)
    np.exp(y, out=y)
    y /= y.sum(axis=1, keepdims=True)
    return y


def softmax_backward(dy: Array, y: Array) -> Array:
    """-> y (dy - sum(dy y))."""
    dx: Array = y * (dy - (dy * y).sum(axis=1, keepdims=True))
    return dx


def log_softmax(x: Array) -> Array:
    """x - log(sum(exp(x))) over the rows of x (M,N)."""
    y = shift_by_max(x)
    y -= np.log(np.exp(y).sum(axis=1, keepdims=True))
    return y


def log_softmax_backward(dy: Array, y: Array) -> Array:
    """-> dy - exp(y) sum(dy)."""
    dx: Array = dy - np.exp(y) * dy.sum(axis=1, keepdims=True)
    return dx


def curve(kind: str, x: Array, a: float) -> Array:
    """leaky_relu and elu (with a), softplus, silu, gelu, gelu_tanh."""
    with np.errstate(over="ignore"):
        return np.asarray(_CURVES[kind][0](x, x.dtype.type(a)), x.dtype)  # NumPy 1 widens scalars


def curve_backward(kind: str, dy: Array, x: Array, a: float) -> Array:
    """-> dy times the slope at x."""
    with np.errstate(over="ignore"):
        return np.asarray(dy * _CURVES[kind][1](x, x.dtype.type(a)), x.dtype)


def _normal_below(x: Array) -> Array:
    """The normal distribution: the share of it below each x."""
    return np.asarray(0.5 * (1 + _erf(x.astype(np.float64) / math.sqrt(2)))).astype(x.dtype)


_erf = np.frompyfunc(math.erf, 1, 1)


def _gelu(x: Array, _: Any) -> Array:
    return np.asarray(x * _normal_below(x))


def _gelu_slope(x: Array, _: Any) -> Array:
    return np.asarray(_normal_below(x) + x * np.exp(-x * x / 2) / x.dtype.type(math.sqrt(2 * math.pi)))


def _inside(x: Array) -> Array:
    return np.asarray(math.sqrt(2 / math.pi) * x * (1 + 0.044715 * x * x))


def _gelu_tanh_slope(x: Array, _: Any) -> Array:
    t = np.tanh(_inside(x))
    steep = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)
    return np.asarray(0.5 * (1 + t + x * (1 - t * t) * steep))


def _silu_slope(x: Array, _: Any) -> Array:
    s = sigmoid(x)
    return np.asarray(s * (1 + x * (1 - s)))


#: By kind: the value and the slope at x, with the parameter a.
_CURVES: dict[str, tuple[Callable[[Array, Any], Array], Callable[[Array, Any], Array]]] = {
    "leaky_relu": (lambda x, a: np.where(x < 0, a * x, x), lambda x, a: np.where(x > 0, x.dtype.type(1), a)),
    "elu": (
        lambda x, a: np.where(x > 0, x, a * np.expm1(np.minimum(x, 0))),
        lambda x, a: np.where(x > 0, x.dtype.type(1), a * np.exp(np.minimum(x, 0))),
    ),
    "softplus": (
        lambda x, _: np.asarray(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))),
        lambda x, _: sigmoid(x),
    ),
    "silu": (lambda x, _: np.asarray(x * sigmoid(x)), _silu_slope),
    "gelu": (_gelu, _gelu_slope),
    "gelu_tanh": (lambda x, _: np.asarray(0.5 * x * (1 + np.tanh(_inside(x)))), _gelu_tanh_slope),
}
