"""What layers of filters have in common: their channels and groups, and their first weights."""

import math

from lamina import init
from lamina.nn.module import Module, Parameter
from lamina.ops import _check as check


class Filters(Module):
    """`in_channels`, `out_channels`, `weight`, and `bias` or None."""

    weight: Parameter
    bias: Parameter | None

    def _set_channels(self, in_channels: int, out_channels: int) -> None:
        name = type(self).__name__
        self.in_channels = check.integer(name, "in_channels", in_channels, 1)
        self.out_channels = check.integer(name, "out_channels", out_channels, 1)

    def _set_groups(self, groups: int) -> None:
        """ValueError for groups that do not divide both kinds of channels."""
        self.groups = check.integer(type(self).__name__, "groups", groups, 1)
        if self.in_channels % groups or self.out_channels % groups:
            raise ValueError(
                f"{type(self).__name__}: groups = {groups} must divide in_channels = {self.in_channels} and "
                f"out_channels = {self.out_channels}"
            )

    def _draw(
        self, shape: tuple[int, ...], inputs: int, biases: int | tuple[int, ...], bias: bool, rng: init.Rng
    ) -> None:
        """`weight` of this shape and, if wanted, as many `biases`, uniform within 1/sqrt(inputs)."""
        rng, bound = init.generator(rng), 1 / math.sqrt(inputs)
        self.weight = Parameter(init.uniform(shape, -bound, bound, rng=rng))
        has_bias = check.flag(type(self).__name__, "bias", bias)
        self.bias = Parameter(init.uniform(biases, -bound, bound, rng=rng)) if has_bias else None
