"""Convolution and pooling of sequences: those of images with one row."""

import math
from typing import Any

from lamina import init, ops
from lamina.autograd import Tensor, record
from lamina.nn._cast import floating
from lamina.nn._filters import Filters
from lamina.nn.module import Module
from lamina.ops import _check as check
from lamina.ops._check import Pair


def flat_padding(name: str, padding: Any) -> Any:
    """Padding of a sequence, an int, a pair (before, after) or a word, as that of an image with one row."""
    if isinstance(padding, str):
        return check.choice(name, "padding", padding, ("same", "valid"))
    if isinstance(padding, (tuple, list)):
        if len(padding) != 2:
            raise ValueError(f"{name}: padding must be an int or a pair (before, after), got {padding!r}")
        before, after = (check.integer(name, "padding", side, 0) for side in padding)
        return (0, 0), (before, after)
    both = check.integer(name, "padding", padding, 0)
    return (0, 0), (both, both)


def around(x: Tensor) -> Tensor:
    """Sequences (N,T,C) as images (N,1,T,C)."""
    n, t, c = x.shape
    return x.reshape(n, 1, t, c)


class Conv1d(Filters):
    """Convolution along time: x (N,T,I) -> y (N,OT,O), OT = (T - K + 2P)/S + 1 rounded down.

    padding: an int, a pair (before, after), "same" or "valid"; a pair (D (K - 1), 0) keeps steps from seeing
    later ones. groups as of `Conv2d`. `weight` (O,K,I/groups) and `bias` (O,), or None, start uniform within
    1/sqrt(K I/groups); `rng` is a generator, a seed or None for the library's own.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int | Pair | str = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        rng: init.Rng = None,
    ) -> None:
        self._set_channels(in_channels, out_channels)
        self.kernel_size = check.integer("Conv1d", "kernel_size", kernel_size, 1)
        self.stride = check.integer("Conv1d", "stride", stride, 1)
        self.dilation = check.integer("Conv1d", "dilation", dilation, 1)
        self._set_groups(groups)
        flat_padding("Conv1d", padding)
        self.padding = padding
        shape = (out_channels, kernel_size, in_channels // groups)
        self._draw(shape, init.fans(shape)[0], out_channels, bias, rng)

    def forward(self, x: Tensor) -> Tensor:
        """x (N,T,I) -> y (N,OT,O)."""
        w, b = self.weight, self.bias
        x = floating(x, w.data.dtype)
        check.ndim("Conv1d", "x", x.data, "NTI")
        images, wide = around(x), w.reshape(w.shape[0], 1, *w.shape[1:])
        y, ctx = ops.conv2d(
            images.data,
            wide.data,
            None if b is None else b.data,
            stride=(1, self.stride),
            padding=flat_padding("Conv1d", self.padding),
            dilation=(1, self.dilation),
            groups=self.groups,
        )
        found = record(y, (images, wide, b), ops.conv2d_backward, ctx, x.requires_grad)
        return found.reshape(len(x), *found.shape[2:])

    def multiply_adds(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        """K I/groups for each output."""
        return math.prod(y_shape) * init.fans(self.weight.shape)[0]


class _Pool1d(Module):
    def __init__(
        self,
        kernel_size: int,
        stride: int | None = None,
        *,
        padding: int | Pair | str = 0,
        ceil_mode: bool = False,
    ) -> None:
        name = type(self).__name__
        self.kernel_size = check.integer(name, "kernel_size", kernel_size, 1)
        self.stride = None if stride is None else check.integer(name, "stride", stride, 1)
        flat_padding(name, padding)
        self.padding = padding
        self.ceil_mode = check.flag(name, "ceil_mode", ceil_mode)

    def _options(self, x: Tensor) -> dict[str, Any]:
        name = type(self).__name__
        check.ndim(name, "x", x.data, "NTC")
        return {
            "kernel_size": (1, self.kernel_size),
            "stride": (1, self.kernel_size if self.stride is None else self.stride),
            "padding": flat_padding(name, self.padding),
            "ceil_mode": self.ceil_mode,
        }


class MaxPool1d(_Pool1d):
    """The greatest element of each window along time: x (N,T,C) -> y (N,OT,C).

    padding as of `Conv1d`, at most half the window; all else as of `MaxPool2d`.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x (N,T,C) -> y (N,OT,C)."""
        x = floating(x)
        options = self._options(x)
        images = around(x)
        y, ctx = ops.max_pool2d(images.data, **options)
        return record(y, (images,), ops.max_pool2d_backward, ctx).reshape(len(x), *y.shape[2:])


class AvgPool1d(_Pool1d):
    """The mean of each window along time: x (N,T,C) -> y (N,OT,C). Arguments as of `MaxPool1d`.

    count_include_pad: whether the divisor counts padding (never that of "same").
    """

    def __init__(
        self,
        kernel_size: int,
        stride: int | None = None,
        *,
        padding: int | Pair | str = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding=padding, ceil_mode=ceil_mode)
        self.count_include_pad = check.flag("AvgPool1d", "count_include_pad", count_include_pad)

    def forward(self, x: Tensor) -> Tensor:
        """x (N,T,C) -> y (N,OT,C)."""
        x = floating(x)
        options = self._options(x) | {"count_include_pad": self.count_include_pad}
        images = around(x)
        y, ctx = ops.avg_pool2d(images.data, **options)
        return record(y, (images,), ops.avg_pool2d_backward, ctx).reshape(len(x), *y.shape[2:])
