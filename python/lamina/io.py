"""Models in one file: the weights as safetensors, the architecture as JSON in its metadata. Never pickle.

The metadata entry `lamina` is a JSON object:

    {"format": 1, "model": {"class": "Sequential", "modules": [{"class": "Linear", "config": {...}}, ...]},
     "sha256": "..."}

The digest covers the description and every weight with its name, type and shape, so that a damaged file is
noticed wherever the damage is. Any reader of safetensors gets at the weights.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from lamina import _architecture as architecture
from lamina._whole_files import write_whole
from lamina.nn import Module

_FORMAT = 1
_HEADER_LIMIT = 16 << 20  # about 100,000 tensors
_DESCRIPTION_LIMIT = 4 << 20

_TYPES = (np.dtype(np.float32), np.dtype(np.float64))  # of parameters

Weights = dict[str, npt.NDArray[Any]]


def save(model: Module, path: str | os.PathLike[str]) -> None:
    """Write a model's architecture and weights to `path`.

    The file appears whole or not at all: it is written under another name in the same folder, flushed to
    disk and moved into place, so that an interruption leaves the former file. What a killed process left
    half-written in the folder goes at the next save there. A model with classes of your own is saved too, but
    `load` cannot rebuild it: see `load_weights`.

    Raises:
        TypeError: not a module.
        ValueError: what the file cannot hold, or `load` would refuse; a path that is a device or a pipe.
            Nothing is written then.
    """
    from safetensors.numpy import save as pack

    _check_model(model)
    weights = {name: _native(name, array) for name, array in model.state_dict().items()}
    description = {"format": _FORMAT, "model": architecture.describe(model)}
    description["sha256"] = _digest(description, weights)
    data = pack(weights, metadata={"lamina": json.dumps(description, allow_nan=False)})
    _rehearse(data)
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file() and not target.is_dir():  # a folder is the system's to refuse
        raise ValueError(f"save: {target} is no regular file, and moving one into its place would destroy it")
    write_whole(target, data)


def _rehearse(data: bytes) -> None:
    """Raise ValueError if `load` would refuse the file for anything but a class of your own."""
    refused = "save: load would refuse this model"
    weights, description = _contents(refused, data)
    assert description is not None
    try:
        _rebuild(weights, description)
    except architecture.OwnClass:
        pass
    except ValueError as error:
        raise ValueError(f"{refused}: {error} (inside a class of your own it can be saved)") from error


def _check_model(model: object) -> None:
    if not isinstance(model, Module):
        got = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise TypeError(f"save: model must be a lamina.nn.Module, got {got}")
    for name, parameter in model.named_parameters():
        if parameter.dtype not in _TYPES:
            raise ValueError(f"save: the parameter {name} is {parameter.dtype}, expected float32 or float64")


def _native(name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """As the file stores it, so that its digest is that of the array that will be read."""
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise ValueError(f"save: {name} is of type {array.dtype}, which the file format cannot hold")
    return array.astype(array.dtype.newbyteorder("="), order="C", copy=False)


def load(path: str | os.PathLike[str]) -> Module:
    """Rebuild the model that `save` wrote, with its weights, in training mode as a new model is.

    Only layers of `lamina.nn` and autoencoders of `lamina.autoencoders` are built, from their constructor's
    arguments; nothing else in the file is ever run.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a lamina file, damaged, truncated, of a newer format, or with weights that do not
            fit the architecture; or a model with classes of its own: build it yourself, then
            `model.load_state_dict(lm.io.load_weights(path))`.
    """
    name = os.fspath(path)
    weights, description = _read(name)
    if description is None:
        raise ValueError(
            f"{name}: a safetensors file, but not of a lamina model; build the model yourself and use "
            "model.load_state_dict(lm.io.load_weights(path))"
        )
    try:
        return _rebuild(weights, description)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _rebuild(weights: Weights, description: dict[str, Any]) -> Module:
    model = architecture.build(description.get("model"), sum(array.size for array in weights.values()))
    _take_dtypes(model, weights)
    model.load_state_dict(weights)
    return model


def _take_dtypes(model: Module, weights: Weights) -> None:
    """Give each parameter of a new model the type, float32 or float64, that it has in the file."""
    for name, parameter in model.named_parameters():
        dtype = weights[name].dtype if name in weights else parameter.dtype
        if dtype not in _TYPES:
            raise ValueError(f"{name} is {dtype}, expected float32 or float64")
        parameter.data = parameter.data.astype(dtype, copy=False)


def load_weights(path: str | os.PathLike[str]) -> Weights:
    """The named arrays of a safetensors file, written by lamina or by anything else.

    Raises as `load` does for damaged files; what is not a lamina file has no digest to check.
    """
    return _read(os.fspath(path))[0]


def _read(name: str) -> tuple[Weights, dict[str, Any] | None]:
    return _contents(name, Path(name).read_bytes())


def _contents(name: str, data: bytes) -> tuple[Weights, dict[str, Any] | None]:
    """The checked contents of a file: its weights, and its description if lamina wrote it."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as unpack

    metadata = _header(name, data).get("__metadata__", {})
    try:
        weights: Weights = unpack(data)
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise ValueError(f"{name}: damaged, or with a type that NumPy does not have ({error!r})") from error
    if not isinstance(metadata, dict) or "lamina" not in metadata:
        return weights, None
    description = _parse(name, metadata["lamina"], _DESCRIPTION_LIMIT, "description of the model")
    version = description.get("format")
    if version != _FORMAT:
        newer = isinstance(version, int) and version > _FORMAT
        raise ValueError(
            f"{name}: file format {version!r}, this lamina reads {_FORMAT}"
            + ("; install a newer lamina" * newer)
        )
    if description.pop("sha256", None) != _digest(description, weights):
        raise ValueError(f"{name}: damaged: weights or description do not match their SHA-256")
    return weights, description


def _header(name: str, data: bytes) -> dict[str, Any]:
    """The JSON header: 8 bytes of length, then the text (safetensors checks the extents of the tensors)."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > len(data) - 8:
        raise ValueError(f"{name}: not a safetensors file, or truncated: {len(data):,} bytes")
    if size > _HEADER_LIMIT:
        raise ValueError(f"{name}: a header of {size:,} bytes, more than the {_HEADER_LIMIT:,} allowed")
    return _parse(name, data[8 : 8 + size], _HEADER_LIMIT, "header")


def _parse(name: str, text: Any, limit: int, what: str) -> dict[str, Any]:
    """A JSON object, of bounded size and depth, without repeated names or numbers beyond float64."""
    try:
        if not isinstance(text, (str, bytes)) or len(text) > limit:
            raise ValueError(
                f"longer than {limit:,} bytes" if isinstance(text, (str, bytes)) else "not a text"
            )
        parsed = json.loads(
            text, parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_without_repeats
        )
    except (ValueError, RecursionError) as error:  # JSON and UTF-8 errors are ValueErrors
        raise ValueError(f"{name}: the {what} is not valid JSON ({error})") from error
    if not isinstance(parsed, dict):
        raise ValueError(f"{name}: the {what} is {type(parsed).__name__}, not an object")
    return parsed


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


def _finite(text: str) -> float:
    value = float(text)
    if not np.isfinite(value):
        raise ValueError(f"{text[:20]} is too large")
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name appears twice in an object")
    return found


def _digest(description: dict[str, Any], weights: Weights) -> str:
    """SHA-256 over the description (canonical JSON) and the name, type, shape and bytes of every weight."""
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name in sorted(weights):
        array = weights[name]
        digest.update(f"\n{name!r} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
