"""Dropout."""

from typing import Any

import numpy as np

from lamina import init
from lamina.autograd import Tensor, apply
from lamina.nn._cast import floating
from lamina.nn.module import Array, Module
from lamina.ops import _check as check


class Dropout(Module):
    """In training, set each element to 0 with probability p and divide the rest by 1 - p; else nothing.

    (Srivastava et al. 2014, in the "inverted" form that leaves evaluation alone.) p: 0 <= p < 1. `rng` is a
    generator, a seed or None for the library's own. ValueError for p outside the range.
    """

    def __init__(self, p: float = 0.5, *, rng: init.Rng = None) -> None:
        self.p = check.number(type(self).__name__, "p", p, below=1)
        self.rng = None if rng is None else init.generator(rng)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        x = floating(x)
        if not self.training or self.p == 0:
            return x
        return apply(_dropped, _dropped_backward, x, shape=self._shape(x), p=self.p, rng=self.rng)

    def _shape(self, x: Tensor) -> tuple[int, ...]:
        """The shape of what is drawn."""
        return x.shape


def _dropped(x: Array, shape: tuple[int, ...], p: float, rng: Any) -> tuple[Array, Array]:
    kept = init.generator(rng).random(shape, np.float32) >= p
    scale = kept * x.dtype.type(1 / (1 - p))
    return x * scale, scale


def _dropped_backward(dy: Array, scale: Array) -> Array:
    return dy * scale


class Dropout2d(Dropout):
    """As `Dropout`, but of whole channels: x (N, ..., C), each channel of a sample kept or set to 0.

    (Tompson et al. 2015, "spatial dropout".) Neighbouring pixels say much the same, so that dropping single
    ones would leave what they say.
    """

    def _shape(self, x: Tensor) -> tuple[int, ...]:
        if x.ndim < 2:
            raise ValueError(f"Dropout2d: x must have at least 2 axes, (N, ..., C), got shape {x.shape}")
        return (x.shape[0], *[1] * (x.ndim - 2), x.shape[-1])
