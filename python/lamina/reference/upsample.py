"""Images enlarged by whole factors."""

import numpy as np
import numpy.typing as npt

from lamina.reference._types import Array

_Indices = npt.NDArray[np.intp]


def upsample2d(x: Array, factor: tuple[int, int], bilinear: bool) -> Array:
    """x (N,H,W,C) -> y (N, H factor, W factor, C): each pixel a block, or bilinear between pixels."""
    if not bilinear:
        return np.repeat(np.repeat(x, factor[0], axis=1), factor[1], axis=2)
    for axis in (1, 2):
        low, high, part = _seen(x.shape[axis], factor[axis - 1], x.dtype, axis)
        x = (1 - part) * x.take(low, axis) + part * x.take(high, axis)
    return x


def upsample2d_backward(dy: Array, factor: tuple[int, int], bilinear: bool) -> Array:
    """dy (N,OH,OW,C) -> dx (N,H,W,C)."""
    n, oh, ow, c = dy.shape
    h, w = oh // factor[0], ow // factor[1]
    if not bilinear:
        blocks: Array = dy.reshape(n, h, factor[0], w, factor[1], c).sum(axis=(2, 4))
        return blocks
    for axis, size in ((2, w), (1, h)):
        low, high, part = _seen(size, factor[axis - 1], dy.dtype, axis)
        dx = np.zeros((*dy.shape[:axis], size, *dy.shape[axis + 1 :]), dy.dtype)
        along = np.moveaxis(dx, axis, 0)
        np.add.at(along, low, np.moveaxis((1 - part) * dy, axis, 0))
        np.add.at(along, high, np.moveaxis(part * dy, axis, 0))
        dy = dx
    return dy


def _seen(
    size: int, factor: int, dtype: np.dtype[np.floating], axis: int
) -> tuple[_Indices, _Indices, Array]:
    """What each output along that axis of NHWC sees: two pixels, and the part of the second."""
    place = np.maximum((np.arange(size * factor) + 0.5) / factor - 0.5, 0)
    low = np.minimum(place.astype(np.intp), size - 1)
    high = np.minimum(low + (place > low), size - 1)
    part = np.where(high > low, place - low, 0).astype(dtype)
    return low, high, part.reshape(-1, *[1] * (3 - axis))
