"""A model as JSON and back: the class of each layer and the arguments of its constructor.

Only classes that `lamina.nn` and `lamina.autoencoders` export are ever built. What a file may ask for is
bounded by the weights it brings along, so that a small hostile file cannot take all memory.
"""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np

from lamina import autoencoders, nn
from lamina.nn import Module
from lamina.nn._arguments import argument

_ROOMS = (nn, autoencoders)
_MAX_DEPTH = 32
_SMALL = 1 << 16  # integers up to here are harmless, whatever they mean


class OwnClass(ValueError):
    """A layer's class is not of this library: only its owner can build it."""


def describe(module: Module) -> dict[str, Any]:
    """{"class", "config", "modules"}: name, keyword arguments and positional modules of a layer.

    A class that is not of this library becomes {"custom": "its.full.Name"}; a module that stands in several
    places becomes {"repeat": i} from the second on, i counting modules in the order in which they end.
    Raises ValueError for arguments that a file cannot hold and for modules nested deeper than `build` goes.
    """
    return _describe(module, {}, 0)


def _describe(module: Module, seen: dict[int, int], depth: int) -> dict[str, Any]:
    if depth > _MAX_DEPTH:
        raise ValueError(f"save: modules are nested more than {_MAX_DEPTH} deep")
    if id(module) in seen:
        return {"repeat": seen[id(module)]}
    cls = type(module)
    if not any(getattr(room, cls.__name__, None) is cls for room in _ROOMS):
        return {"custom": f"{cls.__module__}.{cls.__qualname__}"}
    described: dict[str, Any] = {"class": cls.__name__}
    for name, parameter in inspect.signature(cls).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            described["modules"] = [_describe(child, seen, depth + 1) for child in module.children()]
        elif name != "rng":  # it has served for the initial weights; dropout falls back on the library's
            value = argument(module, name, parameter)
            encoded = _encode(value, f"{cls.__name__}: {name}", seen, depth)
            described.setdefault("config", {})[name] = encoded
    seen[id(module)] = len(seen)
    return described


def _encode(value: Any, what: str, seen: dict[int, int], depth: int) -> Any:
    if isinstance(value, Module):
        return {"module": _describe(value, seen, depth + 1)}
    if isinstance(value, (list, tuple)):
        return [_encode(item, what, seen, depth + 1) for item in value]
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)) and math.isfinite(value):
        return float(value)
    raise ValueError(f"save: {what} is {value!r}, which the file format cannot hold")


class _Blank(np.random.Generator):
    """Gives zeros for the weights that the file will replace, `budget` numbers in all and no more.

    Layers draw their initial weights from it, so it sees every size before memory is taken.
    """

    def __init__(self, budget: int) -> None:
        super().__init__(np.random.PCG64(0))
        self.budget = budget

    def _zeros(self, size: Any) -> Any:
        self.budget -= math.prod(size) if isinstance(size, tuple) else size
        if self.budget < 0:
            raise ValueError("it takes more weights than there are in the file")
        return np.zeros(size)

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
        return self._zeros(size)

    def normal(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None) -> Any:
        return self._zeros(size)


def build(description: Any, weights: int) -> Module:
    """A new model from what `describe` gave, with zeros for weights; it may take `weights` numbers.

    Raises ValueError for classes that are not of this library and for arguments that they do not take.
    """
    return _Builder(weights).module(description, 0)


class _Builder:
    def __init__(self, weights: int) -> None:
        self.weights = weights
        self.limit = max(_SMALL, weights)
        self.blank = _Blank(2 * weights + _SMALL)  # with room for weights that turn out to be missing
        self.built: list[Module] = []

    def module(self, description: Any, depth: int) -> Module:
        if depth > _MAX_DEPTH:
            raise ValueError(f"modules are nested more than {_MAX_DEPTH} deep")
        if not isinstance(description, dict):
            raise ValueError(f"a layer is described by {type(description).__name__}, expected an object")
        if "custom" in description:
            raise OwnClass(
                f"the model has a layer of the class {str(description['custom'])[:200]}, which is not "
                "lamina's: build the model yourself and use model.load_state_dict(lm.io.load_weights(path))"
            )
        if "repeat" in description:
            return self._repeat(description["repeat"])
        cls = _layer_class(description.get("class"))
        config, inside = description.get("config", {}), description.get("modules", [])
        if not isinstance(config, dict) or not isinstance(inside, list):
            raise ValueError(f"{cls.__name__}: config must be an object and modules a list")
        modules = [self.module(child, depth + 1) for child in inside]
        arguments = {
            key: self._value(value, f"{cls.__name__}: {key}", depth) for key, value in config.items()
        }
        self.built.append(self._construct(cls, modules, arguments))
        return self.built[-1]

    def _construct(self, cls: type[Module], modules: list[Module], arguments: dict[str, Any]) -> Module:
        if "rng" in inspect.signature(cls).parameters:
            arguments["rng"] = self.blank
        try:
            module = cls(*modules, **arguments)
        except (TypeError, ValueError, ArithmeticError, MemoryError) as error:
            arguments.pop("rng", None)
            raise ValueError(
                f"{cls.__name__} cannot be built from {str(arguments)[:200]}: {error}"
            ) from error
        if getattr(module, "rng", None) is self.blank:
            module.rng = None
        return module

    def _repeat(self, index: Any) -> Module:
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(self.built):
            raise ValueError(
                f"a layer repeats number {str(index)[:40]}, but {len(self.built)} stand before it"
            )
        found: Module = self.built[index]
        return found

    def _value(self, value: Any, what: str, depth: int) -> Any:
        if isinstance(value, dict):
            return self.module(value.get("module"), depth + 1)
        if isinstance(value, list):
            return tuple(self._value(item, what, depth + 1) for item in value)
        if isinstance(value, int) and abs(value) > self.limit:
            raise ValueError(
                f"{what} is {str(value)[:40]}, too large for the {self.weights:,} weights in the file"
            )
        return value


def _layer_class(name: Any) -> type[Module]:
    known = [getattr(room, name) for room in _ROOMS if isinstance(name, str) and name in room.__all__]
    cls = known[0] if known else None
    if not (isinstance(cls, type) and issubclass(cls, Module)) or cls in (Module, autoencoders.Autoencoder):
        raise ValueError(f"unknown layer {str(name)[:200]!r}; a newer lamina may know it")
    return cls
