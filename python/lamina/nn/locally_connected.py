"""Layers that look like convolutions, but whose weights are not shared between places."""

from lamina import init, ops
from lamina.autograd import Tensor, record
from lamina.nn._cast import floating
from lamina.nn._filters import Filters
from lamina.nn.conv1d import around, flat_padding
from lamina.ops import _check as check
from lamina.ops import _windows as windows
from lamina.ops._check import Pair


class LocallyConnected2d(Filters):
    """Filters of their own at every place: x (N,H,W,I) -> y (N,OH,OW,O), for images of one size alone.

    input_size: (H, W), or an int for both. stride and padding as of `Conv2d`. `weight` (OH,OW,O,KH,KW,I) and
    `bias` (OH,OW,O), or None, start uniform within 1/sqrt(KH KW I); `rng` is a generator, a seed or None for
    the library's own. ValueError for images of another size.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        *,
        input_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair | tuple[Pair, Pair] | str = 0,
        bias: bool = True,
        rng: init.Rng = None,
    ) -> None:
        name = "LocallyConnected2d"
        self._set_channels(in_channels, out_channels)
        kernel, size = (
            check.pair(name, "kernel_size", kernel_size, 1),
            check.pair(name, "input_size", input_size, 1),
        )
        step = check.pair(name, "stride", stride, 1)
        sides = windows.padding(name, padding, size, kernel, step)
        output = windows.output_size(name, size, kernel, step, sides)
        self.kernel_size, self.input_size, self.stride, self.padding = (
            kernel_size,
            input_size,
            stride,
            padding,
        )
        shape = (*output, out_channels, *kernel, in_channels)
        self._draw(shape, kernel[0] * kernel[1] * in_channels, shape[:3], bias, rng)

    def forward(self, x: Tensor) -> Tensor:
        """x (N,H,W,I) -> y (N,OH,OW,O)."""
        w, b = self.weight, self.bias
        x = floating(x, w.data.dtype)
        size = check.pair("LocallyConnected2d", "input_size", self.input_size, 1)
        if x.ndim != 4 or x.shape[1:] != (*size, self.in_channels):
            raise ValueError(
                f"LocallyConnected2d: x must have shape (N, {size[0]}, {size[1]}, {self.in_channels}), NHWC, "
                f"got {x.shape}"
            )
        bias = None if b is None else b.data
        y, ctx = ops.locally_connected2d(x.data, w.data, bias, stride=self.stride, padding=self.padding)
        return record(y, (x, w, b), ops.locally_connected2d_backward, ctx, x.requires_grad)

    def multiply_adds(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        """Each weight once for each sample."""
        return x_shape[0] * self.weight.size


class LocallyConnected1d(Filters):
    """Filters of their own at every step: x (N,T,I) -> y (N,OT,O), for sequences of one length alone.

    input_size: T. padding: an int, a pair (before, after), "same" or "valid". `weight` (OT,O,K,I) and `bias`
    (OT,O), or None; all else as of `LocallyConnected2d`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        input_size: int,
        stride: int = 1,
        padding: int | Pair | str = 0,
        bias: bool = True,
        rng: init.Rng = None,
    ) -> None:
        name = "LocallyConnected1d"
        self._set_channels(in_channels, out_channels)
        self.kernel_size = check.integer(name, "kernel_size", kernel_size, 1)
        self.input_size = check.integer(name, "input_size", input_size, 1)
        self.stride, self.padding = check.integer(name, "stride", stride, 1), padding
        size, kernel, step = (1, input_size), (1, kernel_size), (1, stride)
        sides = windows.padding(name, flat_padding(name, padding), size, kernel, step)
        output = windows.output_size(name, size, kernel, step, sides)[1]
        shape = (output, out_channels, kernel_size, in_channels)
        self._draw(shape, kernel_size * in_channels, shape[:2], bias, rng)

    def forward(self, x: Tensor) -> Tensor:
        """x (N,T,I) -> y (N,OT,O)."""
        w, b = self.weight, self.bias
        x = floating(x, w.data.dtype)
        if x.ndim != 3 or x.shape[1:] != (self.input_size, self.in_channels):
            raise ValueError(
                f"LocallyConnected1d: x must have shape (N, {self.input_size}, {self.in_channels}), NTI, "
                f"got {x.shape}"
            )
        steps, o, k, i = w.shape
        images, wide = around(x), w.reshape(1, steps, o, 1, k, i)
        bias = None if b is None else b.reshape(1, steps, o)
        y, ctx = ops.locally_connected2d(
            images.data,
            wide.data,
            None if bias is None else bias.data,
            stride=(1, self.stride),
            padding=flat_padding("LocallyConnected1d", self.padding),
        )
        found = record(y, (images, wide, bias), ops.locally_connected2d_backward, ctx, x.requires_grad)
        return found.reshape(len(x), steps, o)

    def multiply_adds(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        """Each weight once for each sample."""
        return x_shape[0] * self.weight.size
