"""Windows over an image, counted out for the definitions: padding rules, taps and pixels."""

import math
from typing import Any

import numpy as np


def sides(
    padding: Any, size: tuple[int, int], kernel: Any, stride: Any, dilation: Any
) -> list[tuple[int, int]]:
    """(before, after) for each of the two directions."""
    if padding == "valid":
        return [(0, 0), (0, 0)]
    if padding == "same":
        found = []
        for n, k, s, d in zip(size, kernel, stride, dilation, strict=True):
            last_start = (math.ceil(n / s) - 1) * s
            missing = max(last_start + (k - 1) * d + 1 - n, 0)
            found.append((missing // 2, missing - missing // 2))
        return found
    return [side if isinstance(side, tuple) else (side, side) for side in both(padding)]


def both(value: Any) -> tuple[Any, Any]:
    """An int stands for both directions."""
    return value if isinstance(value, tuple) else (value, value)


def starts(n: int, around: tuple[int, int], extent: int, stride: int, ceil_mode: bool = False) -> list[int]:
    """First position of each window; negative ones lie in the padding."""
    found: list[int] = []
    start = -around[0]
    while start + extent <= n + around[1]:
        found.append(start)
        start += stride
    overhangs = found[-1] + extent < n + around[1]
    if ceil_mode and overhangs and start < n:
        found.append(start)
    return found


class Grid:
    """All (window, tap, pixel) triples of a sliding window."""

    def __init__(
        self, size: tuple[int, int], kernel: Any, stride: Any, padding: Any, dilation: Any = 1, ceil=False
    ):
        self.kernel, self.stride, self.dilation = both(kernel), both(stride), both(dilation)
        self.size = size
        self.around = sides(padding, size, self.kernel, self.stride, self.dilation)
        self.starts = [
            starts(size[i], self.around[i], self.dilation[i] * (self.kernel[i] - 1) + 1, self.stride[i], ceil)
            for i in range(2)
        ]
        self.output = (len(self.starts[0]), len(self.starts[1]))

    def taps(self, oh: int, ow: int):
        """(kh, kw, ih, iw) for each tap of a window that lies in the image."""
        for kh in range(self.kernel[0]):
            for kw in range(self.kernel[1]):
                ih = self.starts[0][oh] + kh * self.dilation[0]
                iw = self.starts[1][ow] + kw * self.dilation[1]
                if 0 <= ih < self.size[0] and 0 <= iw < self.size[1]:
                    yield kh, kw, ih, iw

    def windows(self):
        """(oh, ow) for each window."""
        return ((oh, ow) for oh in range(self.output[0]) for ow in range(self.output[1]))

    def divisor(self, oh: int, ow: int, include_pad: bool) -> int:
        """How many elements of a window count for its mean."""
        count = 1
        for i, o in enumerate((oh, ow)):
            before, after = self.around[i] if include_pad else (0, 0)
            start = self.starts[i][o]
            count *= sum(-before <= start + k < self.size[i] + after for k in range(self.kernel[i]))
        return count


def pool_grid(arrays, kernel_size, stride=None, padding=0, ceil_mode=False, **_):
    step = kernel_size if stride is None else stride
    return Grid(arrays["x"].shape[1:3], kernel_size, step, padding, ceil=ceil_mode)


def chosen(x, grid):
    """(n, oh, ow, c) and the pixel (ih, iw) of the first greatest element, or of the first NaN."""
    for oh, ow in grid.windows():
        for n in range(x.shape[0]):
            for c in range(x.shape[3]):
                best = None
                for _, _, ih, iw in grid.taps(oh, ow):
                    value = x[n, ih, iw, c]
                    if best is None or value > best[0] or (np.isnan(value) and not np.isnan(best[0])):
                        best = value, (ih, iw)
                yield (n, oh, ow, c), best[1]
