"""Sizes of windows over an image: padding rules and output sizes that convolution and pooling share."""

import math
from typing import Any, NoReturn

import numpy as np

from lamina.ops import _check as check
from lamina.ops._check import Pair, Sides

_LARGEST_ARRAY = 2**62  # bytes: beyond it, sizes would not fit the 64-bit integers of the kernels


def same_padding(size: Pair, kernel: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Sides:
    """TensorFlow's rule: ceil(size / stride) outputs per side; an odd rest goes below and right."""
    sides: list[int] = []
    for n, k, s, d in zip(size, kernel, stride, dilation, strict=True):
        total = max((math.ceil(n / s) - 1) * s + d * (k - 1) + 1 - n, 0)
        sides += [total // 2, total - total // 2]
    return sides[0], sides[1], sides[2], sides[3]


def padding(op: str, value: Any, size: Pair, kernel: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Sides:
    """`value` as top, bottom, left, right.

    It may be an int, a pair (vertical, horizontal), ((top, bottom), (left, right)), "same" or "valid".
    """
    if isinstance(value, str):
        if check.choice(op, "padding", value, ("same", "valid")) == "same":
            return same_padding(size, kernel, stride, dilation)
        return 0, 0, 0, 0
    if isinstance(value, (tuple, list)) and len(value) == 2:
        vertical, horizontal = (check.pair(op, "padding", side, 0) for side in value)
        return *vertical, *horizontal
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(
            f"{op}: padding must be an int, a pair (vertical, horizontal), "
            f"two pairs ((top, bottom), (left, right)), 'same' or 'valid', got {value!r}"
        )
    both = check.integer(op, "padding", value, 0)
    return both, both, both, both


def output_padding(op: str, value: Any, stride: Pair, padding: Any) -> Pair:
    """Rows and columns that a transposed convolution adds: less than the stride, 0 with padding "same"."""
    more = check.pair(op, "output_padding", value, 0)
    if more[0] >= stride[0] or more[1] >= stride[1]:
        raise ValueError(f"{op}: output_padding {more} must be less than the stride {stride}")
    if padding == "same" and more != (0, 0):
        raise ValueError(f"{op}: padding 'same' leaves no choice: output_padding must be 0, got {more}")
    return more


def output_size(
    op: str, size: Pair, kernel: Pair, stride: Pair, sides: Sides, dilation: Pair = (1, 1)
) -> Pair:
    """Windows that fit, (OH, OW): floor((size + padding - extent) / stride) + 1 with extent d (K - 1) + 1."""
    padded = size[0] + sides[0] + sides[1], size[1] + sides[2] + sides[3]
    extent = dilation[0] * (kernel[0] - 1) + 1, dilation[1] * (kernel[1] - 1) + 1
    if extent[0] > padded[0] or extent[1] > padded[1]:
        dilated = f" (dilated {extent[0]} x {extent[1]})" if extent != kernel else ""
        raise ValueError(
            f"{op}: the kernel {kernel[0]} x {kernel[1]}{dilated} is larger than the padded image "
            f"{padded[0]} x {padded[1]} (H x W)"
        )
    return (padded[0] - extent[0]) // stride[0] + 1, (padded[1] - extent[1]) // stride[1] + 1


def require_fit(op: str, size: Pair, kernel: Pair, stride: Pair, sides: Sides, dilation: Pair) -> None:
    """Refuse a stride that leaves a rest: (W - F + 2P)/S + 1 must be whole."""
    for axis, (name, letter) in enumerate((("height", "H"), ("width", "W"))):
        extent = dilation[axis] * (kernel[axis] - 1) + 1
        around = sides[2 * axis] + sides[2 * axis + 1]
        rest = (size[axis] - extent + around) % stride[axis]
        if rest:
            _refuse(op, name, letter, size[axis], extent, around, stride[axis], rest)


def _refuse(
    op: str, name: str, letter: str, size: int, extent: int, around: int, stride: int, rest: int
) -> NoReturn:
    outputs = (size - extent + around) / stride + 1
    smaller = [size - rest] if size - rest > 0 else []
    fitting = " and ".join(str(n) for n in [*smaller, size + stride - rest])
    raise ValueError(
        f"{op}: {name} {size} does not fit: ({letter} - F + 2P)/S + 1 = "
        f"({size} - {extent} + {around})/{stride} + 1 = {outputs:g} is not whole (fit='exact'); "
        f"nearest that fit: {fitting}"
    )


def require_possible(op: str, output: tuple[int, ...], itemsize: int) -> None:
    """Refuse an output that no memory can hold before sizes overflow."""
    if math.prod(output) * itemsize > _LARGEST_ARRAY:
        raise ValueError(f"{op}: an output of shape {output} is too large for any memory")
