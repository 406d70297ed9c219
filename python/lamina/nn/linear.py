"""The fully connected layer."""

import math

from lamina import init, ops
from lamina.autograd import Tensor, record
from lamina.nn._cast import floating
from lamina.nn.module import Module, Parameter
from lamina.ops import _check as check


class Linear(Module):
    """y = x w^T + b: x (..., in) -> y (..., out).

    `weight` (out, in) and `bias` (out,), or None, start uniform within 1/sqrt(in), as in PyTorch; `rng` is a
    generator, a seed or None for the library's own.
    """

    bias: Parameter | None

    def __init__(
        self, in_features: int, out_features: int, *, bias: bool = True, rng: init.Rng = None
    ) -> None:
        self.in_features = check.integer("Linear", "in_features", in_features, 1)
        self.out_features = check.integer("Linear", "out_features", out_features, 1)
        rng, bound = init.generator(rng), 1 / math.sqrt(in_features)
        self.weight = Parameter(init.uniform((out_features, in_features), -bound, bound, rng=rng))
        has_bias = check.flag("Linear", "bias", bias)
        self.bias = Parameter(init.uniform(out_features, -bound, bound, rng=rng)) if has_bias else None

    def forward(self, x: Tensor, *, relu: bool = False) -> Tensor:
        """x (..., in) -> y (..., out); with relu, max(y, 0)."""
        w, b = self.weight, self.bias
        x = floating(x, w.data.dtype)
        y, ctx = ops.linear(x.data, w.data, None if b is None else b.data, relu=relu)
        return record(y, (x, w, b), ops.linear_backward, ctx, x.requires_grad)

    def multiply_adds(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        """in x out for each row."""
        return math.prod(x_shape[:-1]) * self.weight.size
