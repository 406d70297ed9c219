"""Layers that put a border around images."""

from typing import Any

import numpy as np

from lamina.autograd import Tensor, apply
from lamina.nn._cast import floating
from lamina.nn.module import Array, Module
from lamina.ops import _check as check
from lamina.ops import _windows as windows
from lamina.ops._check import Pair, Sides


class _Pad2d(Module):
    def __init__(self, padding: int | Pair | tuple[Pair, Pair]) -> None:
        name = type(self).__name__
        if isinstance(padding, str):
            raise TypeError(f"{name}: padding must be an int, a pair or two pairs, got {padding!r}")
        windows.padding(name, padding, (1, 1), (1, 1), (1, 1))
        self.padding = padding

    def _image(self, x: Tensor) -> tuple[Tensor, Sides]:
        x, name = floating(x), type(self).__name__
        check.ndim(name, "x", x.data, "NHWC")
        return x, windows.padding(name, self.padding, (1, 1), (1, 1), (1, 1))


class ZeroPad2d(_Pad2d):
    """Zeros around images: x (N,H,W,C) -> y (N, H + top + bottom, W + left + right, C).

    padding: an int, a pair (vertical, horizontal) or ((top, bottom), (left, right)).
    """

    def forward(self, x: Tensor) -> Tensor:
        """x (N,H,W,C) -> y, larger by the padding."""
        x, sides = self._image(x)
        return apply(_zeros, _zeros_backward, x, sides=sides)


def _zeros(x: Array, sides: Sides) -> tuple[Array, Any]:
    return np.pad(x, ((0, 0), sides[:2], sides[2:], (0, 0))), (x.shape, sides)


def _zeros_backward(dy: Array, ctx: Any) -> Array:
    (_, h, w, _), (top, _, left, _) = ctx
    return np.ascontiguousarray(dy[:, top : top + h, left : left + w])


class ReflectPad2d(_Pad2d):
    """Images mirrored at their edges, which are not repeated: x (N,H,W,C) -> y as of `ZeroPad2d`.

    padding as of `ZeroPad2d`, less than the image on every side; else ValueError.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x (N,H,W,C) -> y, larger by the padding."""
        x, sides = self._image(x)
        if max(sides[:2]) >= x.shape[1] or max(sides[2:]) >= x.shape[2]:
            raise ValueError(
                f"ReflectPad2d: padding {self.padding} must be less than the image, "
                f"{x.shape[1]} x {x.shape[2]} (H x W)"
            )
        return apply(_mirrored, _mirrored_backward, x, sides=sides)


def _mirrored(x: Array, sides: Sides) -> tuple[Array, Any]:
    return np.pad(x, ((0, 0), sides[:2], sides[2:], (0, 0)), mode="reflect"), sides


def _mirrored_backward(dy: Array, sides: Sides) -> Array:
    for axis, (before, after) in ((1, sides[:2]), (2, sides[2:])):
        along = np.moveaxis(dy, axis, 0)
        size = len(along) - before - after
        found = along[before : before + size].copy()
        found[1 : before + 1] += along[:before][::-1]
        found[size - 1 - after : size - 1] += along[before + size :][::-1]
        dy = np.moveaxis(found, 0, axis)
    return np.ascontiguousarray(dy)
