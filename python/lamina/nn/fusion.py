"""Which neighbours in a Sequential run as one, so that a pass over memory goes away.

    Conv2d, ConvTranspose2d, Linear, BatchNorm -> ReLU    the layer takes relu of its sums as it stores them
    ReLU -> MaxPool2d                                     pooling takes relu of the greatest of each window

Results and gradients are those of the layers one by one, bit for bit. A ReLU between two of them goes to the
pooling, which keeps no array for it. Only layers of exactly these types: those of a subclass may compute
something else.
"""

import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

from lamina.nn.activation import ReLU
from lamina.nn.conv import Conv2d
from lamina.nn.conv_transpose import ConvTranspose2d
from lamina.nn.linear import Linear
from lamina.nn.module import Module
from lamina.nn.norm import BatchNorm1d, BatchNorm2d
from lamina.nn.pool import MaxPool2d

ALONE, WITH_RELU, SKIPPED = "alone", "with relu", "skipped"

_BEFORE_RELU = (Conv2d, ConvTranspose2d, Linear, BatchNorm1d, BatchNorm2d)


class _Known(NamedTuple):
    """How the modules of a Sequential are called, for as long as no attribute of any module changes."""

    changed: object
    calls: list[str]


_known: weakref.WeakKeyDictionary[Module, _Known] = weakref.WeakKeyDictionary()


def calls_of(sequential: Module, modules: Sequence[Module]) -> list[str]:
    """How to call each of the `modules` of a Sequential: ALONE, WITH_RELU, or SKIPPED as done by another."""
    changed, known = Module._changed, _known.get(sequential)
    if known is None or known.changed is not changed:
        known = _known[sequential] = _Known(changed, _grouped(modules))
    return known.calls


def _grouped(modules: Sequence[Module]) -> list[str]:
    calls = [ALONE] * len(modules)
    for i, module in enumerate(modules):
        if not _is(module, ReLU):
            continue
        if i + 1 < len(modules) and _pools(modules[i + 1]):
            calls[i : i + 2] = SKIPPED, WITH_RELU
        elif i > 0 and _is(modules[i - 1], *_BEFORE_RELU):
            calls[i - 1 : i + 1] = WITH_RELU, SKIPPED
    return calls


def _pools(module: Module) -> bool:
    """Switches would say that nothing was chosen where the greatest of a window is 0."""
    return _is(module, MaxPool2d) and not getattr(module, "return_indices", False)


def _is(module: Module, *types: type[Any]) -> bool:
    """Whether it is of one of these types, and does what they do."""
    return type(module) in types and "forward" not in vars(module)
