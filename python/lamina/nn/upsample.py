"""Layers that enlarge images."""

from lamina import ops
from lamina.autograd import Tensor, record
from lamina.nn._cast import floating
from lamina.nn.module import Module
from lamina.ops import _check as check
from lamina.ops._check import Pair


class Upsample(Module):
    """x (N,H,W,C) -> y (N, H factor, W factor, C): each pixel a block, or bilinear between pixels.

    scale_factor: an int or a pair (vertical, horizontal). mode: "nearest" or "bilinear" (PyTorch's
    align_corners=False). ValueError for factors below 1 and unknown modes.
    """

    def __init__(self, scale_factor: int | Pair, *, mode: str = "nearest") -> None:
        check.pair("Upsample", "scale_factor", scale_factor, 1)
        self.scale_factor = scale_factor
        self.mode = check.choice("Upsample", "mode", mode, ("nearest", "bilinear"))

    def forward(self, x: Tensor) -> Tensor:
        """x (N,H,W,C) -> y (N, H factor, W factor, C)."""
        x = floating(x)
        y, ctx = ops.upsample2d(x.data, self.scale_factor, mode=self.mode)
        return record(y, (x,), ops.upsample2d_backward, ctx)
