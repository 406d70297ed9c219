"""The way back through a layer, by the layer's own weights."""

from lamina import nn, ops
from lamina.autograd import Tensor, record
from lamina.init import zeros
from lamina.nn._cast import floating


class Tied(nn.Module):
    """A `Linear` or `Conv2d` turned round: its weights transposed, which stay its own, and a new bias.

    The decoder of an autoencoder with tied weights. layer: the Linear (out, in), which makes this one
    y = x w + bias, x (..., out) -> y (..., in); or the Conv2d, which makes it the transposed convolution of
    the same options, x (N,OH,OW,O) -> y (N,H,W,I). `bias` (in,) or (I,) starts at 0. TypeError for others.
    """

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        if not isinstance(layer, (nn.Linear, nn.Conv2d)):
            raise TypeError(f"Tied: layer must be a Linear or Conv2d, got {type(layer).__name__}")
        self.layer = layer
        size = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
        self.bias = nn.Parameter(zeros(size, dtype=layer.weight.dtype))

    def forward(self, x: Tensor) -> Tensor:
        """x as the layer makes it -> y as the layer takes it."""
        w, b, layer = self.layer.weight, self.bias, self.layer
        x = floating(x, w.data.dtype)
        if isinstance(layer, nn.Linear):
            return x @ w + b
        y, ctx = ops.conv_transpose2d(
            x.data,
            w.data,
            b.data,
            stride=layer.stride,
            padding=layer.padding,
            dilation=layer.dilation,
            groups=layer.groups,
            algorithm=layer.algorithm,
        )
        return record(y, (x, w, b), ops.conv_transpose2d_backward, ctx, x.requires_grad)

    def multiply_adds(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        """As many as the layer takes from y to x."""
        return self.layer.multiply_adds(y_shape, x_shape)
