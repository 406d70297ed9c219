"""Dropout."""

import numpy as np

from lamina import init
from lamina.autograd import Tensor
from lamina.nn._cast import floating
from lamina.nn.module import Module
from lamina.ops import _check as check


class Dropout(Module):
    """In training, set each element to 0 with probability p and divide the rest by 1 - p; else nothing.

    (Srivastava et al. 2014, in the "inverted" form that leaves evaluation alone.) p: 0 <= p < 1. `rng` is a
    generator, a seed or None for the library's own. ValueError for p outside the range.
    """

    def __init__(self, p: float = 0.5, *, rng: init.Rng = None) -> None:
        self.p = check.number("Dropout", "p", p, below=1)
        self.rng = None if rng is None else init.generator(rng)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        x = floating(x)
        if not self.training or self.p == 0:
            return x
        kept = init.generator(self.rng).random(x.shape, np.float32) >= self.p
        y: Tensor = x * (kept * x.dtype.type(1 / (1 - self.p)))
        return y
