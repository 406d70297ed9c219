"""The convolutional layer."""

import math
from typing import Any

from lamina import init, ops
from lamina.autograd import Tensor, record
from lamina.nn._cast import floating
from lamina.nn._filters import Filters
from lamina.ops import _check as check
from lamina.ops import _windows as windows
from lamina.ops._check import Pair


class Conv2d(Filters):
    """Two-dimensional convolution: x (N,H,W,I) -> y (N,OH,OW,O), OH = (H - K + 2P)/S + 1 rounded down.

    kernel_size, stride, dilation: an int or a pair (vertical, horizontal). padding: an int, a pair, ((top,
    bottom), (left, right)), "same" (TensorFlow's rule) or "valid". groups cut both the channels and the
    filters; group g of the filters sees group g of the channels. fit="exact" refuses a stride that leaves a
    rest. algorithm: "auto" (`lamina.set_conv_precision`), "im2col" or "direct", which compute the same.

    `weight` (O,KH,KW,I/groups) and `bias` (O,), or None, start uniform within 1/sqrt(KH KW I/groups), as in
    PyTorch; `rng` is a generator, a seed or None for the library's own.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        *,
        stride: int | Pair = 1,
        padding: int | Pair | tuple[Pair, Pair] | str = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        fit: str = "floor",
        algorithm: str = "auto",
        rng: init.Rng = None,
    ) -> None:
        self._set_channels(in_channels, out_channels)
        kernel = check.pair("Conv2d", "kernel_size", kernel_size, 1)
        check.pair("Conv2d", "stride", stride, 1)
        check.pair("Conv2d", "dilation", dilation, 1)
        windows.padding("Conv2d", padding, (1, 1), (1, 1), (1, 1))
        self._set_groups(groups)
        self.kernel_size, self.stride, self.padding, self.dilation = kernel_size, stride, padding, dilation
        self.fit = check.choice("Conv2d", "fit", fit, ("floor", "exact"))
        self.algorithm = check.choice("Conv2d", "algorithm", algorithm, ("auto", "im2col", "direct"))
        shape = (out_channels, *kernel, in_channels // groups)
        self._draw(shape, init.fans(shape)[0], out_channels, bias, rng)

    def forward(self, x: Tensor, *, relu: bool = False) -> Tensor:
        """x (N,H,W,I) -> y (N,OH,OW,O); with relu, max(y, 0)."""
        w, b = self.weight, self.bias
        x = floating(x, w.data.dtype)
        y, ctx = ops.conv2d(x.data, w.data, None if b is None else b.data, relu=relu, **self._options())
        return record(y, (x, w, b), ops.conv2d_backward, ctx, x.requires_grad)

    def _options(self) -> dict[str, Any]:
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
            "algorithm": self.algorithm,
            "fit": self.fit,
        }

    def multiply_adds(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        """KH KW I/groups for each output."""
        return math.prod(y_shape) * init.fans(self.weight.shape)[0]
