"""Images enlarged by whole factors."""

import numpy as np

from lamina.reference._types import Array


def upsample2d(x: Array, factor: tuple[int, int], bilinear: bool) -> Array:
    """x (N,H,W,C) -> y (N, H factor, W factor, C): each pixel a block, or bilinear between pixels."""
    if not bilinear:
        return np.repeat(np.repeat(x, factor[0], axis=1), factor[1], axis=2)
    rows, columns = (_weights(n, by, x.dtype) for n, by in zip(x.shape[1:3], factor, strict=True))
    y: Array = np.einsum("ph,qw,nhwc->npqc", rows, columns, x, optimize=True)
    return np.ascontiguousarray(y)


def upsample2d_backward(dy: Array, factor: tuple[int, int], bilinear: bool) -> Array:
    """dy (N,OH,OW,C) -> dx (N,H,W,C)."""
    n, oh, ow, c = dy.shape
    h, w = oh // factor[0], ow // factor[1]
    if not bilinear:
        blocks: Array = dy.reshape(n, h, factor[0], w, factor[1], c).sum(axis=(2, 4))
        return blocks
    rows, columns = _weights(h, factor[0], dy.dtype), _weights(w, factor[1], dy.dtype)
    dx: Array = np.einsum("ph,qw,npqc->nhwc", rows, columns, dy, optimize=True)
    return np.ascontiguousarray(dx)


def _weights(size: int, factor: int, dtype: np.dtype[np.floating]) -> Array:
    """(size factor, size): what each output sees of each pixel along one axis."""
    place = np.maximum((np.arange(size * factor) + 0.5) / factor - 0.5, 0)
    low = np.minimum(place.astype(int), size - 1)
    part = np.where(low + 1 < size, place - low, 0)
    weights = np.zeros((size * factor, size), dtype)
    out = np.arange(size * factor)
    weights[out, low] = 1 - part
    weights[out, np.minimum(low + 1, size - 1)] += part
    return weights
