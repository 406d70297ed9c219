"""Pooling layers."""

from lamina import ops
from lamina.autograd import Tensor, record
from lamina.nn._cast import floating
from lamina.nn.module import Module
from lamina.ops import _check as check
from lamina.ops import _windows as windows
from lamina.ops._check import Pair
from lamina.ops.pool import MaxPool2dContext


class _Pool2d(Module):
    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        *,
        padding: int | Pair | tuple[Pair, Pair] | str = 0,
        ceil_mode: bool = False,
    ) -> None:
        name = type(self).__name__
        check.pair(name, "kernel_size", kernel_size, 1)
        if stride is not None:
            check.pair(name, "stride", stride, 1)
        windows.padding(name, padding, (1, 1), (1, 1), (1, 1))
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.ceil_mode = check.flag(name, "ceil_mode", ceil_mode)


class MaxPool2d(_Pool2d):
    """The greatest element of each window: x (N,H,W,C) -> y (N,OH,OW,C).

    Windows lie side by side unless a stride is given. padding: as in `Conv2d`, at most half the window.
    ceil_mode: round the output size up. Ties go to the first element; NaN wins. return_indices: return (y,
    switches), where each maximum stood, for `MaxUnpool2d`.
    """

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        *,
        padding: int | Pair | tuple[Pair, Pair] | str = 0,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding=padding, ceil_mode=ceil_mode)
        self.return_indices = check.flag("MaxPool2d", "return_indices", return_indices)

    def forward(self, x: Tensor, *, relu: bool = False) -> Tensor | tuple[Tensor, MaxPool2dContext]:
        """x (N,H,W,C), or with relu max(x, 0), -> y (N,OH,OW,C), with the switches if return_indices."""
        x = floating(x)
        y, ctx = ops.max_pool2d(
            x.data,
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            ceil_mode=self.ceil_mode,
            relu=relu,
        )
        found = record(y, (x,), ops.max_pool2d_backward, ctx)
        return (found, ctx) if self.return_indices else found


class MaxUnpool2d(Module):
    """Put each pixel back where the maximum stood that a `MaxPool2d(return_indices=True)` found, 0 elsewhere.

    x (N,OH,OW,C) as it was pooled -> y (N,H,W,C), the size before pooling (Zeiler & Fergus 2014). Where
    windows overlap, pixels that fall on one place add up.
    """

    def forward(self, x: Tensor, switches: MaxPool2dContext) -> Tensor:
        """x (N,OH,OW,C), switches as pooling returned them -> y (N,H,W,C)."""
        x = floating(x)
        y, ctx = ops.max_unpool2d(x.data, switches)
        return record(y, (x,), ops.max_unpool2d_backward, ctx)


class AvgPool2d(_Pool2d):
    """The mean of each window: x (N,H,W,C) -> y (N,OH,OW,C). Arguments as for `MaxPool2d`.

    count_include_pad: whether the divisor counts padding (never that of "same").
    """

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        *,
        padding: int | Pair | tuple[Pair, Pair] | str = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding=padding, ceil_mode=ceil_mode)
        self.count_include_pad = check.flag("AvgPool2d", "count_include_pad", count_include_pad)

    def forward(self, x: Tensor) -> Tensor:
        """x (N,H,W,C) -> y (N,OH,OW,C)."""
        x = floating(x)
        y, ctx = ops.avg_pool2d(
            x.data,
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            ceil_mode=self.ceil_mode,
            count_include_pad=self.count_include_pad,
        )
        return record(y, (x,), ops.avg_pool2d_backward, ctx)
