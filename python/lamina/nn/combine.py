"""Modules side by side, and shortcuts around them."""

from typing import Any

from lamina.autograd import Tensor
from lamina.functions import concatenate
from lamina.nn._errors import kind
from lamina.nn.module import Module
from lamina.nn.sequential import Sequential
from lamina.ops import _check as check


class Residual(Module):
    """x plus what the module makes of x (He et al. 2016); the shapes must agree.

    shortcut: a module for x on the way around, such as a 1x1 convolution where the shapes differ.
    """

    def __init__(self, module: Module, *, shortcut: Module | None = None) -> None:
        if not isinstance(module, Module):
            raise TypeError(f"Residual: module must be a Module, got {kind(module)}")
        if shortcut is not None and not isinstance(shortcut, Module):
            raise TypeError(f"Residual: shortcut must be a Module or None, got {kind(shortcut)}")
        self.module = module
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """x (N, ...) -> y, of the shape that the module returns."""
        y: Tensor = self.module(x)
        past = x if self.shortcut is None else self.shortcut(x)
        if y.shape != past.shape:
            raise ValueError(f"Residual: the module returns {y.shape}, but {past.shape} goes around it")
        return y + past


class Parallel(Sequential):
    """Every module gets x; their results are joined (Szegedy et al. 2015).

    merge: "concatenate" along the last axis, the channels, or "sum". Modules are named and indexed as in
    `Sequential`. ValueError for no modules, and for results that do not fit together.
    """

    def __init__(self, *modules: Module, merge: str = "concatenate") -> None:
        super().__init__(*modules)
        if not modules:
            raise ValueError("Parallel: there must be at least one module")
        self.merge = check.choice("Parallel", "merge", merge, ("concatenate", "sum"))

    def forward(self, x: Tensor) -> Tensor:
        """x (N, ...) -> the results, joined."""
        results: list[Any] = [module(x) for module in self]
        joined = self.merge == "concatenate"
        shapes = {result.shape[:-1] if joined else result.shape for result in results}
        if len(shapes) > 1:
            found = ", ".join(str(result.shape) for result in results)
            raise ValueError(f"Parallel: results of the shapes {found} cannot be joined by {self.merge!r}")
        if joined:
            return concatenate(results, axis=-1)
        total: Tensor = results[0]
        for result in results[1:]:
            total = total + result
        return total
