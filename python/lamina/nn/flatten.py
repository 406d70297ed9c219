"""From volumes to rows."""

import math

from lamina.autograd import Tensor
from lamina.nn.module import Module


class Flatten(Module):
    """All axes but the first become one: x (N, ...) -> y (N, features)."""

    def forward(self, x: Tensor) -> Tensor:
        """x (N, ...) -> y (N, features)."""
        if x.ndim == 0:
            raise ValueError("Flatten: x must have a batch axis, got a tensor without axes")
        return x.reshape(x.shape[0], math.prod(x.shape[1:]))
