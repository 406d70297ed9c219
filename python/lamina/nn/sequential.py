"""Modules one after the other."""

from collections.abc import Iterator
from typing import Any

from lamina.autograd import Tensor
from lamina.nn._errors import kind
from lamina.nn.fusion import steps_of
from lamina.nn.module import Module
from lamina.nn.summary import watchers


class Sequential(Module):
    """Feed each module with what the one before it returns. Parameters are named `0.weight`, `0.bias`, ...

    Neighbours such as a convolution and the ReLU after it run as one where that saves a pass over memory; the
    results are the same, bit for bit (`fusion.py`). Iterates over its modules; `len`, indexing and slices
    (which share the modules) work as on a list.
    Raises TypeError for an argument that is no module.
    """

    def __init__(self, *modules: Module) -> None:
        for i, module in enumerate(modules):
            if not isinstance(module, Module):
                raise TypeError(f"Sequential: argument {i} must be a Module, got {kind(module)}")
            setattr(self, str(i), module)

    def forward(self, x: Tensor) -> Any:
        """x (N, ...) -> what the last module returns."""
        y: Any = x
        own = type(self).__iter__ is Sequential.__iter__  # one of a subclass may change from call to call
        if watchers or not own:  # watchers see what every module returns
            for module in self:
                y = module(y)
            return y
        for step in steps_of(self):
            y = step(y)
        return y

    def __iter__(self) -> Iterator[Module]:
        return (value for name, value in vars(self).items() if name.isdigit())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, index: int | slice) -> Module:
        modules = list(self)
        return Sequential(*modules[index]) if isinstance(index, slice) else modules[index]
