"""Convolution with weights of their own at every place: a product for each."""

import numpy as np

from lamina.reference._types import Array, Pair, Sides
from lamina.reference._windows import crop, pad, padded_size, taps, windows


def locally_connected2d(x: Array, w: Array, b: Array | None, stride: Pair, padding: Sides) -> Array:
    """x (N,H,W,C), w (OH,OW,O,KH,KW,C), b (OH,OW,O) -> y (N,OH,OW,O)."""
    col = _windows(x, w.shape, stride, padding)
    y = np.einsum("nhwrsc,hworsc->nhwo", col, w, optimize=True)
    return np.ascontiguousarray(y if b is None else y + b)


def locally_connected2d_backward_input(
    dy: Array, w: Array, input_size: Pair, stride: Pair, padding: Sides
) -> Array:
    """dy (N,OH,OW,O), input_size (H,W) -> dx (N,H,W,C)."""
    oh, ow, _, kh, kw, c = w.shape
    dx = np.zeros((len(dy), *padded_size(input_size, padding), c), dy.dtype)
    for r, s, seen in taps((oh, ow), (kh, kw), stride):
        dx[seen] += np.einsum("nhwo,hwoc->nhwc", dy, w[:, :, :, r, s], optimize=True)
    return crop(dx, input_size, padding)


def locally_connected2d_backward_weight(
    dy: Array, x: Array, kernel_size: Pair, stride: Pair, padding: Sides
) -> Array:
    """dy (N,OH,OW,O), x (N,H,W,C) -> dw (OH,OW,O,KH,KW,C)."""
    shape = (*dy.shape[1:], *kernel_size, x.shape[3])
    col = _windows(x, shape, stride, padding)
    return np.ascontiguousarray(np.einsum("nhwo,nhwrsc->hworsc", dy, col, optimize=True))


def _windows(x: Array, w_shape: tuple[int, ...], stride: Pair, padding: Sides) -> Array:
    return windows(pad(x, padding), (w_shape[3], w_shape[4]), stride, (1, 1))
