"""Pooling of whole images, pooling to a size, and L2 pooling."""

from typing import Any

import numpy as np

from lamina import ops
from lamina.autograd import Tensor, apply, record
from lamina.functions import stack
from lamina.nn._cast import floating
from lamina.nn.module import Array, Module
from lamina.ops import _check as check
from lamina.ops import _windows as windows
from lamina.ops._check import Pair


class GlobalMaxPool2d(Module):
    """The greatest pixel of each channel: x (N,H,W,C) -> y (N,C). The first of equals gets the gradient."""

    def forward(self, x: Tensor) -> Tensor:
        """x (N,H,W,C) -> y (N,C)."""
        return _pooled(self, x, ops.max_pool2d, ops.max_pool2d_backward, None).reshape(len(x), x.shape[3])


class GlobalAvgPool2d(Module):
    """The mean of each channel (Lin, Chen & Yan 2014): x (N,H,W,C) -> y (N,C)."""

    def forward(self, x: Tensor) -> Tensor:
        """x (N,H,W,C) -> y (N,C)."""
        return _pooled(self, x, ops.avg_pool2d, ops.avg_pool2d_backward, None).reshape(len(x), x.shape[3])


def _pooled(layer: Module, x: Tensor, pool: Any, backward: Any, output: Pair | None) -> Tensor:
    """x in whole windows, `output` of them down and across; None: one window, the image."""
    x = floating(x)
    check.ndim(type(layer).__name__, "x", x.data, "NHWC")
    down, across = output or (1, 1)
    y, ctx = pool(x.data, (x.shape[1] // down, x.shape[2] // across))
    return record(y, (x,), backward, ctx)


class _AdaptivePool2d(Module):
    """Output i of an axis of n to m sees the pixels floor(i n/m) to ceil((i + 1) n/m) - 1."""

    _pair: tuple[Any, Any]

    def __init__(self, output_size: int | Pair) -> None:
        check.pair(type(self).__name__, "output_size", output_size, 1)
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        """x (N,H,W,C) -> y (N,OH,OW,C)."""
        name, x = type(self).__name__, floating(x)
        check.ndim(name, "x", x.data, "NHWC")
        output = check.pair(name, "output_size", self.output_size, 1)
        if 0 in x.shape[1:]:
            raise ValueError(f"{name}: only N may be empty {check.shown(x.shape, 'NHWC')}")
        if x.shape[1] % output[0] == 0 and x.shape[2] % output[1] == 0:
            return _pooled(self, x, *self._pair, output)
        return self._along(self._along(x, 1, output[0]), 2, output[1])

    def _along(self, x: Tensor, axis: int, count: int) -> Tensor:
        """Means and maxima of a window are those of its rows' means and maxima."""
        size = x.shape[axis]
        parts = []
        for i in range(count):
            window = slice(i * size // count, -(-(i + 1) * size // count))
            parts.append(self._part(x[(slice(None),) * axis + (window,)], axis))
        return stack(parts, axis)

    def _part(self, x: Tensor, axis: int) -> Tensor:
        raise NotImplementedError


class AdaptiveMaxPool2d(_AdaptivePool2d):
    """Max pooling to a size, whatever the image: x (N,H,W,C) -> y (N,OH,OW,C). Windows may overlap.

    output_size: an int or a pair (vertical, horizontal). Of equals that are in rows of their own, each gets a
    share of the gradient where the size does not divide the image.
    """

    _pair = (ops.max_pool2d, ops.max_pool2d_backward)

    def _part(self, x: Tensor, axis: int) -> Tensor:
        return x.max(axis=axis)


class AdaptiveAvgPool2d(_AdaptivePool2d):
    """Mean pooling to a size, whatever the image: x (N,H,W,C) -> y (N,OH,OW,C). Windows may overlap.

    output_size: an int or a pair (vertical, horizontal).
    """

    _pair = (ops.avg_pool2d, ops.avg_pool2d_backward)

    def _part(self, x: Tensor, axis: int) -> Tensor:
        return x.mean(axis=axis)


class L2Pool2d(Module):
    """The length of each window, sqrt(sum x^2): x (N,H,W,C) -> y (N,OH,OW,C).

    Arguments as of `AvgPool2d`. The gradient of a window of zeros is 0.
    """

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        *,
        padding: int | Pair | tuple[Pair, Pair] | str = 0,
    ) -> None:
        check.pair("L2Pool2d", "kernel_size", kernel_size, 1)
        if stride is not None:
            check.pair("L2Pool2d", "stride", stride, 1)
        windows.padding("L2Pool2d", padding, (1, 1), (1, 1), (1, 1))
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """x (N,H,W,C) -> y (N,OH,OW,C)."""
        x = floating(x)
        check.ndim("L2Pool2d", "x", x.data, "NHWC")
        kernel = check.pair("L2Pool2d", "kernel_size", self.kernel_size, 1)
        stride = kernel if self.stride is None else check.pair("L2Pool2d", "stride", self.stride, 1)
        size = (x.shape[1], x.shape[2])
        top, bottom, left, right = windows.padding("L2Pool2d", self.padding, size, kernel, stride)
        sides = (top, bottom), (left, right)
        return apply(_l2_pool, _l2_pool_backward, x, kernel=kernel, stride=stride, padding=sides)


def _l2_pool(x: Array, kernel: Pair, **options: Any) -> tuple[Array, Any]:
    area = x.dtype.type(kernel[0] * kernel[1])
    means, ctx = ops.avg_pool2d(x * x, kernel, **options)
    y: Array = np.sqrt(means * area)
    return y, (x, y, area, ctx)


def _l2_pool_backward(dy: Array, saved: Any) -> Array:
    x, y, area, ctx = saved
    share = np.divide(dy, y, out=np.zeros_like(y), where=y != 0)
    dx: Array = ops.avg_pool2d_backward(share * area, ctx) * x
    return dx
