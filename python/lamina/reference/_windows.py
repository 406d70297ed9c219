"""Padded images and the strided views of them that convolution and pooling share."""

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import as_strided

from lamina.reference._types import Array, Pair, Sides

Tap = tuple[slice, slice, slice]


def padded_size(size: Pair, padding: Sides, reach: Pair = (0, 0)) -> Pair:
    """Height and width with `padding` around them, and at least `reach`."""
    top, bottom, left, right = padding
    return max(size[0] + top + bottom, reach[0]), max(size[1] + left + right, reach[1])


def pad(x: Array, padding: Sides, value: float = 0.0, reach: Pair = (0, 0)) -> Array:
    """x (N,H,W,C) with `padding` around it, and at least `reach` (height, width) large."""
    n, h, w, c = x.shape
    size = padded_size((h, w), padding, reach)
    if size == (h, w):
        return x
    padded = np.full((n, *size, c), value, x.dtype)
    padded[:, padding[0] : padding[0] + h, padding[2] : padding[2] + w] = x
    return padded


def crop(x: Array, size: Pair, padding: Sides) -> Array:
    """Undo `pad`: the part of x (N,H',W',C) that is image."""
    return np.ascontiguousarray(x[:, padding[0] : padding[0] + size[0], padding[2] : padding[2] + size[1]])


def output_size(padded: Pair, kernel_size: Pair, stride: Pair, dilation: Pair) -> Pair:
    """(OH, OW): how many windows fit into the padded image."""
    (h, w), (kh, kw), (sh, sw), (dh, dw) = padded, kernel_size, stride, dilation
    return (h - dh * (kh - 1) - 1) // sh + 1, (w - dw * (kw - 1) - 1) // sw + 1


def windows(x: Array, kernel_size: Pair, stride: Pair, dilation: Pair) -> Array:
    """View x (N,H,W,C), already padded, as its windows (N,OH,OW,KH,KW,C)."""
    (kh, kw), (sh, sw), (dh, dw) = kernel_size, stride, dilation
    n, h, w, c = x.shape
    oh, ow = output_size((h, w), kernel_size, stride, dilation)
    sn, sy, sx, sc = x.strides
    shape, strides = (n, oh, ow, kh, kw, c), (sn, sy * sh, sx * sw, sy * dh, sx * dw, sc)
    return as_strided(x, shape, strides, writeable=False)


def taps(
    output_size: Pair, kernel_size: Pair, stride: Pair, dilation: Pair = (1, 1)
) -> Iterator[tuple[int, int, Tap]]:
    """Each tap (kh, kw) of the kernel with the slice of the padded image that it sees, (N,OH,OW,C)."""
    (oh, ow), (sh, sw), (dh, dw) = output_size, stride, dilation
    for kh in range(kernel_size[0]):
        rows = slice(kh * dh, kh * dh + (oh - 1) * sh + 1, sh)
        for kw in range(kernel_size[1]):
            columns = slice(kw * dw, kw * dw + (ow - 1) * sw + 1, sw)
            yield kh, kw, (slice(None), rows, columns)
