"""Max and mean pooling over windows of an image."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lamina.config import backend
from lamina.ops import _check as check
from lamina.ops import _windows as windows
from lamina.ops._check import Array, Pair, Sides


class _Windows(NamedTuple):
    size: Pair
    kernel: Pair
    stride: Pair
    padding: Sides
    output: Pair


class MaxPool2dContext(NamedTuple):
    """What `max_pool2d_backward` needs."""

    y: Array
    argmax: npt.NDArray[np.uint8 | np.int32]
    windows: _Windows


def max_pool2d(
    x: Any,
    kernel_size: int | Pair,
    *,
    stride: int | Pair | None = None,
    padding: int | Pair | tuple[Pair, Pair] | str = 0,
    ceil_mode: bool = False,
    relu: bool = False,
) -> tuple[Array, MaxPool2dContext]:
    """Keep the greatest element of each window: x (N,H,W,C) -> y (N,OH,OW,C).

    Pairs are (vertical, horizontal). stride: None for windows side by side. padding: as in `conv2d`, at most
    half the window; it is never chosen. ceil_mode: round the output size up where the last window still
    starts in the image or in the padding before it (PyTorch's rule). NaN counts as the greatest. Among equals
    the first gets the gradient. relu: pool max(x, 0), in the same pass over memory; of a window without an
    element above 0 none is chosen and none gets the gradient.

    Raises ValueError for shapes and values that do not fit, TypeError for other than a float array.
    """
    x, at = _prepare("max_pool2d", x, kernel_size, stride, padding, ceil_mode)
    y: Array
    y, argmax = backend().max_pool2d(
        x, at.kernel, at.stride, at.padding, at.output, check.flag("max_pool2d", "relu", relu)
    )
    return y, MaxPool2dContext(y, argmax, at)


def max_pool2d_backward(dy: Any, ctx: MaxPool2dContext) -> Array:
    """dy (N,OH,OW,C) -> dx (N,H,W,C): each gradient goes to the element that was chosen."""
    dy = check.gradient("max_pool2d_backward", "dy", dy, ctx.y, ctx.y.shape)
    at = ctx.windows
    dx: Array = backend().max_pool2d_backward(dy, ctx.argmax, at.size, at.kernel, at.stride, at.padding)
    return dx


class MaxUnpool2dContext(NamedTuple):
    """What `max_unpool2d_backward` needs."""

    y: Array
    switches: MaxPool2dContext


def max_unpool2d(x: Any, switches: MaxPool2dContext) -> tuple[Array, MaxUnpool2dContext]:
    """Put each pixel where the maximum stood that `switches` remember, 0 elsewhere (Zeiler & Fergus 2014).

    x (N,OH,OW,C) as `max_pool2d` made them, switches its context -> y (N,H,W,C). Where windows overlap,
    pixels that fall on one place add up. Raises ValueError for an x of another shape, TypeError for other
    than the dtype that was pooled and for switches that are none.
    """
    if not isinstance(switches, MaxPool2dContext):
        raise TypeError(
            f"max_unpool2d: switches must be the context of max_pool2d, got {type(switches).__name__}"
        )
    at, pooled = switches.windows, switches.y
    (x,) = check.floats("max_unpool2d", x=x)
    if x.dtype != pooled.dtype:
        raise TypeError(f"max_unpool2d: x is {x.dtype} but {pooled.dtype} was pooled: convert with .astype")
    check.shape("max_unpool2d", "x", x, pooled.shape, "that of what was pooled")
    y: Array = backend().max_pool2d_backward(x, switches.argmax, at.size, at.kernel, at.stride, at.padding)
    return y, MaxUnpool2dContext(y, switches)


def max_unpool2d_backward(dy: Any, ctx: MaxUnpool2dContext) -> Array:
    """dy (N,H,W,C) -> dx (N,OH,OW,C): the gradient at the place of each maximum."""
    dy = check.gradient("max_unpool2d_backward", "dy", dy, ctx.y, ctx.y.shape)
    at = ctx.switches.windows
    dx: Array = backend().max_unpool2d_backward(dy, ctx.switches.argmax, at.kernel, at.stride, at.padding)
    return dx


class AvgPool2dContext(NamedTuple):
    """What `avg_pool2d_backward` needs."""

    y: Array
    windows: _Windows
    count_include_pad: bool


def avg_pool2d(
    x: Any,
    kernel_size: int | Pair,
    *,
    stride: int | Pair | None = None,
    padding: int | Pair | tuple[Pair, Pair] | str = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> tuple[Array, AvgPool2dContext]:
    """Take the mean of each window: x (N,H,W,C) -> y (N,OH,OW,C). Arguments as in `max_pool2d`.

    count_include_pad: whether the divisor counts padding. The padding of "same" is never counted
    (TensorFlow's rule), nor is what a window of ceil_mode reaches beyond the padding (PyTorch's rule).
    """
    include_pad = check.flag("avg_pool2d", "count_include_pad", count_include_pad) and padding != "same"
    x, at = _prepare("avg_pool2d", x, kernel_size, stride, padding, ceil_mode)
    y: Array = backend().avg_pool2d(x, at.kernel, at.stride, at.padding, at.output, include_pad)
    return y, AvgPool2dContext(y, at, include_pad)


def avg_pool2d_backward(dy: Any, ctx: AvgPool2dContext) -> Array:
    """dy (N,OH,OW,C) -> dx (N,H,W,C): each gradient is shared out over its window."""
    dy = check.gradient("avg_pool2d_backward", "dy", dy, ctx.y, ctx.y.shape)
    at = ctx.windows
    dx: Array = backend().avg_pool2d_backward(
        dy, at.size, at.kernel, at.stride, at.padding, ctx.count_include_pad
    )
    return dx


def _prepare(
    op: str, x: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: Any
) -> tuple[Array, _Windows]:
    (x,) = check.floats(op, x=x)
    check.ndim(op, "x", x, "NHWC")
    check.not_empty(op, "x", x, "NHWC")
    size: Pair = x.shape[1:3]
    kernel = check.pair(op, "kernel_size", kernel_size, 1)
    step = kernel if stride is None else check.pair(op, "stride", stride, 1)
    sides = windows.padding(op, padding, size, kernel, step)
    if padding != "same" and (2 * max(sides[:2]) > kernel[0] or 2 * max(sides[2:]) > kernel[1]):
        raise ValueError(
            f"{op}: padding {padding} must be at most half of the window {kernel[0]} x {kernel[1]}, "
            "or some windows would hold nothing but padding"
        )
    output = windows.output_size(op, size, kernel, step, sides)
    if check.flag(op, "ceil_mode", ceil_mode):
        output = _round_up(size, kernel, step, sides)
    windows.require_possible(op, (x.shape[0], *output, x.shape[3]), x.itemsize)
    return x, _Windows(size, kernel, step, sides, output)


def _round_up(size: Pair, kernel: Pair, stride: Pair, sides: Sides) -> Pair:
    """Output size with ceil_mode: a last window that would start beyond the image is dropped."""
    found = []
    for n, k, s, (before, after) in zip(size, kernel, stride, (sides[:2], sides[2:]), strict=True):
        outputs = -((k - n - before - after) // s) + 1
        found.append(outputs - 1 if (outputs - 1) * s >= n + before else outputs)
    return found[0], found[1]
