"""Max and mean pooling over windows of (N,H,W,C): one pass over the image per tap of the window."""

import numpy as np
import numpy.typing as npt

from lamina.reference import activations
from lamina.reference._types import Array, Pair, Sides
from lamina.reference._windows import crop, pad, padded_size, taps


def _reach(output_size: Pair, kernel_size: Pair, stride: Pair) -> Pair:
    """How far the windows reach: with ceil_mode the last one may overhang the padding."""
    return (
        (output_size[0] - 1) * stride[0] + kernel_size[0],
        (output_size[1] - 1) * stride[1] + kernel_size[1],
    )


def _first_inside(outputs: int, stride: int, before: int) -> npt.NDArray[np.intp]:
    """Per window along one side, the first offset that lies in the image and not in the padding before it."""
    return np.maximum(before - stride * np.arange(outputs), 0)


def max_pool2d(
    x: Array, kernel_size: Pair, stride: Pair, padding: Sides, output_size: Pair, relu: bool = False
) -> tuple[Array, npt.NDArray[np.uint8 | np.int32]]:
    """-> y (N,OH,OW,C) and the offset kh*KW+kw of the first greatest element; NaN counts as the greatest.

    With relu, of max(x, 0); where no element is above 0, the offset is KH*KW, which none has.
    """
    if relu:
        x = activations.relu(x)
    kh, kw = kernel_size
    oh, ow = output_size
    padded = pad(x, padding, -np.inf, _reach(output_size, kernel_size, stride))
    y = np.full((x.shape[0], oh, ow, x.shape[3]), -np.inf, x.dtype)
    # Padding never beats the start value, and the start offset is the first one inside the image: so the
    # offset is right even where a window holds nothing but -inf.
    first = _first_inside(oh, stride[0], padding[0])[:, None] * kw + _first_inside(ow, stride[1], padding[2])
    argmax = np.empty(y.shape, np.uint8 if kh * kw <= 255 else np.int32)
    argmax[:] = first[:, :, None]
    has_nan = bool(np.isnan(x).any())
    for i, j, tap in taps(output_size, kernel_size, stride):
        value = padded[tap]
        better = value > y
        if has_nan:
            better |= np.isnan(value) & ~np.isnan(y)
        np.copyto(y, value, where=better)
        np.copyto(argmax, i * kw + j, where=better)
    if relu:
        argmax[y <= 0] = kh * kw
    return y, argmax


def max_pool2d_backward(
    dy: Array,
    argmax: npt.NDArray[np.uint8 | np.int32],
    input_size: Pair,
    kernel_size: Pair,
    stride: Pair,
    padding: Sides,
) -> Array:
    """dy and argmax (N,OH,OW,C) -> dx (N,H,W,C): each dy goes to the element that was chosen."""
    n, oh, ow, c = dy.shape
    size = padded_size(input_size, padding, _reach((oh, ow), kernel_size, stride))
    dx = np.zeros((n, *size, c), dy.dtype)
    for i, j, tap in taps((oh, ow), kernel_size, stride):
        dx[tap] += np.where(argmax == i * kernel_size[1] + j, dy, dy.dtype.type(0))
    return crop(dx, input_size, padding)


def max_unpool2d_backward(
    dy: Array,
    argmax: npt.NDArray[np.uint8 | np.int32],
    kernel_size: Pair,
    stride: Pair,
    padding: Sides,
) -> Array:
    """dy (N,H,W,C), argmax (N,OH,OW,C) -> dx (N,OH,OW,C): dy where the maximum stood."""
    output = argmax.shape[1], argmax.shape[2]
    padded = pad(dy, padding, reach=_reach(output, kernel_size, stride))
    dx = np.zeros(argmax.shape, dy.dtype)
    for i, j, tap in taps(output, kernel_size, stride):
        np.copyto(dx, padded[tap], where=argmax == i * kernel_size[1] + j)
    return dx


def _counted(
    size: int, outputs: int, kernel: int, stride: int, sides: Pair, include_pad: bool
) -> npt.NDArray[np.intp]:
    """Per window along one side, the number of elements that the mean divides by."""
    start = stride * np.arange(outputs) - sides[0]
    low, high = (-sides[0], size + sides[1]) if include_pad else (0, size)
    return np.minimum(start + kernel, high) - np.maximum(start, low)


def _divisor(
    input_size: Pair, output_size: Pair, kernel_size: Pair, stride: Pair, padding: Sides, include_pad: bool
) -> npt.NDArray[np.intp]:
    """-> (OH,OW,1)."""
    rows, columns = (
        _counted(input_size[k], output_size[k], kernel_size[k], stride[k], sides, include_pad)
        for k, sides in enumerate((padding[:2], padding[2:]))
    )
    return (rows[:, None] * columns)[:, :, None]


def avg_pool2d(
    x: Array, kernel_size: Pair, stride: Pair, padding: Sides, output_size: Pair, count_include_pad: bool
) -> Array:
    """-> y (N,OH,OW,C), the mean of each window."""
    n, h, w, c = x.shape
    padded = pad(x, padding, 0.0, _reach(output_size, kernel_size, stride))
    y = np.zeros((n, *output_size, c), x.dtype)
    for _, _, tap in taps(output_size, kernel_size, stride):
        y += padded[tap]
    y /= _divisor((h, w), output_size, kernel_size, stride, padding, count_include_pad).astype(x.dtype)
    return y


def avg_pool2d_backward(
    dy: Array, input_size: Pair, kernel_size: Pair, stride: Pair, padding: Sides, count_include_pad: bool
) -> Array:
    """dy (N,OH,OW,C) -> dx (N,H,W,C): each dy is shared out over its window."""
    n, oh, ow, c = dy.shape
    divisor = _divisor(input_size, (oh, ow), kernel_size, stride, padding, count_include_pad)
    share = dy / divisor.astype(dy.dtype)
    size = padded_size(input_size, padding, _reach((oh, ow), kernel_size, stride))
    dx = np.zeros((n, *size, c), dy.dtype)
    for _, _, tap in taps((oh, ow), kernel_size, stride):
        dx[tap] += share
    return crop(dx, input_size, padding)
