"""Elementwise activations (any shape), and softmax over the rows of (M,N)."""

import numpy as np

from lamina.reference._types import Array


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
