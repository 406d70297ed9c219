"""Which neighbours in a Sequential run as one, so that a pass over memory goes away.

    Conv2d, ConvTranspose2d, Linear, BatchNorm -> ReLU    the layer takes relu of its sums as it stores them
    ReLU -> MaxPool2d                                     pooling takes relu of the greatest of each window
    Conv2d -> BatchNorm2d                                 parts of images go from one to the other in cache

Results and gradients are those of the layers one by one, bit for bit. A ReLU between two of them goes to the
pooling, which keeps no array for it. Only layers of exactly these types: those of a subclass may compute
something else.
"""

import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

from lamina.nn.activation import ReLU
from lamina.nn.conv import Conv2d
from lamina.nn.conv_norm import conv_norm
from lamina.nn.conv_transpose import ConvTranspose2d
from lamina.nn.linear import Linear
from lamina.nn.module import Module
from lamina.nn.norm import BatchNorm1d, BatchNorm2d
from lamina.nn.pool import MaxPool2d

_BEFORE_RELU = (Conv2d, ConvTranspose2d, Linear, BatchNorm1d, BatchNorm2d)


class Step(NamedTuple):
    """What runs as one: a layer, or a convolution and its normalisation; then relu, if there is one."""

    layers: tuple[Any, ...]
    relu: bool = False

    def __call__(self, x: Any) -> Any:
        """x as of the first layer -> what the last returns."""
        if len(self.layers) == 2:
            return conv_norm(*self.layers, x, relu=self.relu)
        return self.layers[0](x, relu=True) if self.relu else self.layers[0](x)


class _Known(NamedTuple):
    """The steps of a Sequential, for as long as no attribute of any module changes."""

    changed: object
    steps: list[Step]


_known: weakref.WeakKeyDictionary[Module, _Known] = weakref.WeakKeyDictionary()


def steps_of(sequential: Any) -> list[Step]:
    """What to call for the modules of a Sequential, one after the other."""
    changed, known = Module._changed, _known.get(sequential)
    if known is None or known.changed is not changed:
        known = _known[sequential] = _Known(changed, _grouped(list(sequential)))
    return known.steps


def _grouped(modules: Sequence[Module]) -> list[Step]:
    steps: list[Step] = []
    for i, module in enumerate(modules):
        layers, relu = steps[-1] if steps else ((None,), False)
        last = layers[-1]
        if _is(module, ReLU) and _is(last, *_BEFORE_RELU) and not relu and not _pools(modules, i + 1):
            steps[-1] = Step(layers, relu=True)
        elif _is(last, ReLU) and _pools(modules, i):
            steps[-1] = Step((module,), relu=True)
        elif _are_normalised(last, module) and not relu:
            steps[-1] = Step((last, module))
        else:
            steps.append(Step((module,)))
    return steps


def _pools(modules: Sequence[Module], i: int) -> bool:
    """Switches would say that nothing was chosen where the greatest of a window is 0."""
    return (
        i < len(modules) and _is(modules[i], MaxPool2d) and not getattr(modules[i], "return_indices", False)
    )


def _are_normalised(layer: Any, norm: Module) -> bool:
    return (
        _is(layer, Conv2d)
        and _is(norm, BatchNorm2d)
        and layer.out_channels == getattr(norm, "num_features", 0)
    )


def _is(module: Any, *types: type[Any]) -> bool:
    """Whether it is of one of these types, and does what they do."""
    return type(module) in types and "forward" not in vars(module)
