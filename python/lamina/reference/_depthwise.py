"""Convolution of each channel with a filter of its own: too thin for matrix products, so a pass per tap."""

import numpy as np

from lamina.reference._types import Array, Pair, Sides
from lamina.reference._windows import crop, pad, padded_size, taps


def is_depthwise(w_shape: tuple[int, ...], groups: int) -> bool:
    """Whether w (O,KH,KW,C/groups) holds one filter per channel."""
    return w_shape[0] == groups > 1 and w_shape[3] == 1


def forward(x: Array, w: Array, output_size: Pair, stride: Pair, padding: Sides, dilation: Pair) -> Array:
    """x (N,H,W,C), w (C,KH,KW,1) -> y (N,OH,OW,C)."""
    y: Array = np.zeros((x.shape[0], *output_size, x.shape[3]), x.dtype)
    padded = pad(x, padding)
    for i, j, tap in taps(output_size, w.shape[1:3], stride, dilation):
        y += padded[tap] * w[:, i, j, 0]
    return y


def backward_input(
    dy: Array, w: Array, input_size: Pair, stride: Pair, padding: Sides, dilation: Pair
) -> Array:
    """dy (N,OH,OW,C) -> dx (N,H,W,C)."""
    dx = np.zeros((dy.shape[0], *padded_size(input_size, padding), dy.shape[3]), dy.dtype)
    for i, j, tap in taps(dy.shape[1:3], w.shape[1:3], stride, dilation):
        dx[tap] += dy * w[:, i, j, 0]
    return crop(dx, input_size, padding)


def backward_weight(
    dy: Array, x: Array, kernel_size: Pair, stride: Pair, padding: Sides, dilation: Pair
) -> Array:
    """dy (N,OH,OW,C), x (N,H,W,C) -> dw (C,KH,KW,1)."""
    dw: Array = np.empty((dy.shape[3], *kernel_size, 1), dy.dtype)
    padded = pad(x, padding)
    for i, j, tap in taps(dy.shape[1:3], kernel_size, stride, dilation):
        dw[:, i, j, 0] = np.einsum("nhwc,nhwc->c", dy, padded[tap])
    return dw
