"""The transposed convolutional layer."""

import math

from lamina import init, ops
from lamina.autograd import Tensor, record
from lamina.nn._cast import floating
from lamina.nn._filters import Filters
from lamina.ops import _check as check
from lamina.ops import _windows as windows
from lamina.ops._check import Pair


class ConvTranspose2d(Filters):
    """Transposed convolution: x (N,H,W,I) -> y (N,OH,OW,O), OH = (H - 1) S - 2P + K + output_padding.

    What a `Conv2d` of the same options makes of an image of OH x OW, this layer takes back to that size: the
    decoder of a convolutional autoencoder (Zeiler et al. 2010). output_padding, less than the stride, says
    which of the sizes that give H is meant; padding="same" gives OH = H S. The other arguments are Conv2d's.

    `weight` (I,KH,KW,O/groups) and `bias` (O,), or None, start uniform within 1/sqrt(KH KW O/groups), as in
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
        output_padding: int | Pair = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        algorithm: str = "auto",
        rng: init.Rng = None,
    ) -> None:
        name = "ConvTranspose2d"
        self._set_channels(in_channels, out_channels)
        kernel = check.pair(name, "kernel_size", kernel_size, 1)
        steps = check.pair(name, "stride", stride, 1)
        check.pair(name, "dilation", dilation, 1)
        windows.padding(name, padding, (1, 1), (1, 1), (1, 1))
        windows.output_padding(name, output_padding, steps, padding)
        self._set_groups(groups)
        self.kernel_size, self.stride, self.padding, self.dilation = kernel_size, stride, padding, dilation
        self.output_padding = output_padding
        self.algorithm = check.choice(name, "algorithm", algorithm, ("auto", "im2col", "direct"))
        shape = (in_channels, *kernel, out_channels // groups)
        self._draw(shape, init.fans(shape)[0], out_channels, bias, rng)

    def forward(self, x: Tensor, *, relu: bool = False) -> Tensor:
        """x (N,H,W,I) -> y (N,OH,OW,O); with relu, max(y, 0)."""
        w, b = self.weight, self.bias
        x = floating(x, w.data.dtype)
        y, ctx = ops.conv_transpose2d(
            x.data,
            w.data,
            None if b is None else b.data,
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
            dilation=self.dilation,
            groups=self.groups,
            algorithm=self.algorithm,
            relu=relu,
        )
        return record(y, (x, w, b), ops.conv_transpose2d_backward, ctx, x.requires_grad)

    def multiply_adds(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        """KH KW O/groups for each input."""
        return math.prod(x_shape) * init.fans(self.weight.shape)[0]
