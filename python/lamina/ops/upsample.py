"""Images enlarged by whole factors: each pixel a block, or bilinear between the centres of pixels."""

from typing import Any, NamedTuple

from lamina.config import backend
from lamina.ops import _check as check
from lamina.ops import _windows as windows
from lamina.ops._check import Array, Pair


class Upsample2dContext(NamedTuple):
    """What `upsample2d_backward` needs."""

    y: Array
    factor: Pair
    bilinear: bool


def upsample2d(x: Any, scale_factor: int | Pair, *, mode: str = "nearest") -> tuple[Array, Upsample2dContext]:
    """x (N,H,W,C) -> y (N, H factor, W factor, C). scale_factor: an int or a pair (vertical, horizontal).

    mode "nearest" repeats pixels; "bilinear" takes output i to stand at (i + 1/2) / factor - 1/2 among the
    pixels, within the image (PyTorch's align_corners=False, Keras' UpSampling2D). Raises ValueError for
    factors below 1, an empty image and unknown modes, TypeError for other than float32 or float64.
    """
    (x,) = check.floats("upsample2d", x=x)
    check.ndim("upsample2d", "x", x, "NHWC")
    check.not_empty("upsample2d", "x", x, "NHWC")
    factor = check.pair("upsample2d", "scale_factor", scale_factor, 1)
    bilinear = check.choice("upsample2d", "mode", mode, ("nearest", "bilinear")) == "bilinear"
    size = (x.shape[0], x.shape[1] * factor[0], x.shape[2] * factor[1], x.shape[3])
    windows.require_possible("upsample2d", size, x.itemsize)
    y: Array = backend().upsample2d(x, factor, bilinear)
    return y, Upsample2dContext(y, factor, bilinear)


def upsample2d_backward(dy: Any, ctx: Upsample2dContext) -> Array:
    """dy (N,OH,OW,C) -> dx (N,H,W,C)."""
    dy = check.gradient("upsample2d_backward", "dy", dy, ctx.y, ctx.y.shape)
    dx: Array = backend().upsample2d_backward(dy, ctx.factor, ctx.bilinear)
    return dx
