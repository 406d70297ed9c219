"""Softmax cross-entropy over rows of logits, and mean squared error."""

import numpy as np
import numpy.typing as npt

from lamina.reference._types import Array
from lamina.reference.activations import shift_by_max


def softmax_cross_entropy(x: Array, labels: npt.NDArray[np.int64]) -> tuple[Array, Array]:
    """Logits x (M,N), labels (M,) in 0..N-1 -> losses (M,) and probabilities (M,N)."""
    m, n = x.shape
    if np.any((labels < 0) | (labels >= n)):
        raise ValueError(f"a label lies outside 0..{n - 1}")
    shifted = shift_by_max(x)
    probabilities = np.exp(shifted)
    total = probabilities.sum(axis=1)
    losses = np.log(total) - shifted[np.arange(m), labels]
    probabilities /= total[:, None]
    return losses, probabilities


def softmax_cross_entropy_backward(
    dloss: Array, probabilities: Array, labels: npt.NDArray[np.int64]
) -> Array:
    """dloss (M,) -> dx (M,N): (probabilities - one_hot(labels)) dloss."""
    dx: Array = probabilities.copy()
    dx[np.arange(labels.size), labels] -= 1
    dx *= dloss[:, None]
    return dx


def mean_squared_error(x: Array, target: Array) -> Array:
    """mean((x - target)^2), shape ()."""
    difference = (x - target).ravel()
    return np.asarray(np.dot(difference, difference) / x.dtype.type(x.size))


def mean_squared_error_backward(dloss: float, x: Array, target: Array) -> Array:
    """2 (x - target) dloss / size."""
    dx: Array = np.asarray(x - target)
    dx *= 2 * dloss / x.size
    return dx
