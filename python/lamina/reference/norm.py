"""Normalisations: of columns (batches), of groups of channels, across neighbouring channels."""

import numpy as np

from lamina.reference._types import Array, put


def column_moments(x: Array) -> tuple[Array, Array]:
    """Means and biased variances of the columns of x (M,C)."""
    if not len(x):
        raise ValueError("column_moments: x has no rows")
    return x.mean(axis=0), x.var(axis=0)


def batch_norm_scale(var: Array, gamma: Array | None, eps: float) -> tuple[Array, Array]:
    """inv = 1/sqrt(var + eps), computed in float64, and inv gamma."""
    inv = (1 / np.sqrt(var.astype(np.float64) + eps)).astype(var.dtype)
    return inv, inv.copy() if gamma is None else inv * gamma


def batch_norm(x: Array, mean: Array, scale: Array, shift: Array, relu: bool) -> Array:
    """(x - mean) scale + shift, by columns; then relu, if asked for."""
    y: Array = x - mean
    y *= scale
    y += shift
    return np.maximum(y, 0, out=y) if relu else y


def batch_norm_backward(
    dy: Array,
    x: Array,
    mean: Array,
    inv: Array,
    scale: Array,
    shift: Array,
    relu: bool,
    frozen: bool,
    dgamma: Array | None = None,
    dbeta: Array | None = None,
) -> tuple[Array, Array, Array]:
    """dy (M,C) -> dx (M,C), dgamma (C,), dbeta (C,)."""
    if not len(x):
        raise ValueError("batch_norm_backward: x has no rows")
    xhat = x - mean
    d = np.where(xhat * scale + shift <= 0, x.dtype.type(0), dy) if relu else dy
    xhat *= inv
    dgamma, dbeta = put((d * xhat).sum(axis=0), dgamma), put(d.sum(axis=0), dbeta)
    if frozen:
        return d * scale, dgamma, dbeta
    count = x.dtype.type(len(x))
    return scale * (d - dbeta / count - xhat * (dgamma / count)), dgamma, dbeta


def follow_moments(
    mean: Array, var: Array, running_mean: Array, running_var: Array, momentum: float, count: int
) -> None:
    """Move the running ones, in place, by momentum towards mean and the unbiased variance."""
    if count < 2:
        raise ValueError("follow_moments: count must be at least 2")
    unbiased = var * (count / (count - 1))
    for running, now in ((running_mean, mean), (running_var, unbiased)):
        running += momentum * (now - running)


def group_norm(x: Array, gamma: Array, beta: Array, groups: int, eps: float) -> tuple[Array, Array, Array]:
    """x (N,P,C) -> y, and mean and 1/sqrt(var + eps) of each sample and group, (N,G)."""
    parts = _parts(x, groups)
    mean = parts.mean(axis=(1, 3))
    inv = (1 / np.sqrt(parts.var(axis=(1, 3)) + eps)).astype(x.dtype)
    return _hat(x, mean, inv) * gamma + beta, mean, inv


def group_norm_backward(
    dy: Array, x: Array, gamma: Array, mean: Array, inv: Array
) -> tuple[Array, Array, Array]:
    """dy (N,P,C) -> dx (N,P,C), dgamma (C,), dbeta (C,)."""
    xhat, groups = _hat(x, mean, inv), mean.shape[1]
    d, hats = _parts(dy * gamma, groups), _parts(xhat, groups)
    less, slope = d.mean(axis=(1, 3), keepdims=True), (d * hats).mean(axis=(1, 3), keepdims=True)
    dx = (inv[:, None, :, None] * (d - less - hats * slope)).reshape(x.shape)
    return dx, (dy * xhat).sum(axis=(0, 1)), dy.sum(axis=(0, 1))


def _parts(x: Array, groups: int) -> Array:
    n, p, c = x.shape
    return x.reshape(n, p, groups, c // groups)


def _hat(x: Array, mean: Array, inv: Array) -> Array:
    found = (_parts(x, mean.shape[1]) - mean[:, None, :, None]) * inv[:, None, :, None]
    return np.asarray(found.reshape(x.shape))


def local_response(x: Array, size: int, alpha: float, beta: float, k: float) -> tuple[Array, Array]:
    """x (M,C) -> y = x d^-beta and d = k + alpha (sum of the squares of `size` channels around each)."""
    d = _around(x * x, size)
    d *= alpha
    d += k
    return x * d**-beta, d


def local_response_backward(dy: Array, x: Array, d: Array, size: int, alpha: float, beta: float) -> Array:
    """dy (M,C) -> dx (M,C)."""
    g = dy * d**-beta
    return np.asarray(g - 2 * alpha * beta * x * _around(g * x / d, size))


def _around(x: Array, size: int) -> Array:
    """The sum of the `size` columns around each of x (M,C)."""
    half, columns = size // 2, x.shape[1]
    found = np.zeros_like(x)
    for shift in range(max(-half, 1 - columns), min(half, columns - 1) + 1):
        to = slice(max(0, -shift), columns - max(0, shift))
        found[:, to] += x[:, max(0, shift) : columns + min(0, shift)]
    return found
