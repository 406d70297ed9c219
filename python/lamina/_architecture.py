"""A model as JSON and back: the class of each layer and the arguments of its constructor.

Only classes that `lamina.nn` exports are ever built. What a file may ask for is bounded by the weights it
brings along, so that a small hostile file cannot take all memory.
"""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina import nn
from lamina.nn import Module

_MAX_DEPTH = 32
_SMALL = 1 << 16  # integers up to here are harmless, whatever they mean


def describe(module: Module) -> dict[str, Any]:
    """{"class", "config", "modules"}: name, keyword arguments and positional modules of a layer.

    A class that is not of `lamina.nn` becomes {"custom": "its.full.Name"}.
    """
    cls = type(module)
    if getattr(nn, cls.__name__, None) is not cls:
        return {"custom": f"{cls.__module__}.{cls.__qualname__}"}
    described: dict[str, Any] = {"class": cls.__name__}
    for name, parameter in inspect.signature(cls).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            described["modules"] = [describe(child) for child in module]  # type: ignore[attr-defined]
        else:
            value = _argument(module, name, parameter)
            described.setdefault("config", {})[name] = _encode(value, f"{cls.__name__}: {name}")
    return described


def _argument(module: Module, name: str, parameter: inspect.Parameter) -> Any:
    """The value that the constructor got: layers keep each argument under its name.

    `bias=True` is the exception: under that name stands the parameter itself, or None.
    """
    value = getattr(module, name)
    if isinstance(parameter.default, bool) and not isinstance(value, bool):
        return value is not None
    return value


def _encode(value: Any, what: str) -> Any:
    if isinstance(value, Module):
        return {"module": describe(value)}
    if isinstance(value, (list, tuple)):
        return [_encode(item, what) for item in value]
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)) and math.isfinite(value):
        return float(value)
    raise ValueError(f"save: {what} is {value!r}, which the file format cannot hold")


def build(description: Any, weights: dict[str, npt.NDArray[Any]]) -> Module:
    """A new model from what `describe` gave. `weights` are those it will get: they bound its sizes.

    Raises ValueError for classes that are not of `lamina.nn` and for arguments that they do not take.
    """
    limit = max(_SMALL, sum(array.size for array in weights.values()))
    return _build(description, limit, 0)


def _build(description: Any, limit: int, depth: int) -> Module:
    if depth > _MAX_DEPTH:
        raise ValueError(f"modules are nested more than {_MAX_DEPTH} deep")
    if not isinstance(description, dict):
        raise ValueError(f"a layer is described by {type(description).__name__}, expected an object")
    if "custom" in description:
        raise ValueError(
            f"the model has a layer of the class {str(description['custom'])[:200]}, which is not lamina's: build "
            "the model yourself and use model.load_state_dict(lm.io.load_weights(path))"
        )
    name, config = description.get("class"), description.get("config", {})
    cls = getattr(nn, name, None) if isinstance(name, str) and name in nn.__all__ else None
    if not (isinstance(cls, type) and issubclass(cls, Module)) or cls is Module:
        raise ValueError(f"unknown layer {str(name)[:200]!r}; a newer lamina may know it")
    children = description.get("modules", [])
    if not isinstance(config, dict) or not isinstance(children, list):
        raise ValueError(f"{name}: config must be an object and modules a list")
    modules = [_build(child, limit, depth + 1) for child in children]
    arguments = {str(key): _decode(value, f"{name}: {key}", limit, depth) for key, value in config.items()}
    try:
        return cls(*modules, **arguments)
    except (TypeError, ValueError, ArithmeticError, MemoryError) as error:
        raise ValueError(f"{name} cannot be built from {str(config)[:200]}: {error}") from error


def _decode(value: Any, what: str, limit: int, depth: int) -> Any:
    if isinstance(value, dict):
        return _build(value.get("module"), limit, depth + 1)
    if isinstance(value, list):
        return tuple(_decode(item, what, limit, depth) for item in value)
    if isinstance(value, int) and abs(value) > limit:
        raise ValueError(f"{what} is {str(value)[:40]}, more than the file's {limit:,} weights can fill")
    return value
