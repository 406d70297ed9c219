"""Weights of PyTorch's layers in this library's layouts. PyTorch itself is not needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lamina import nn

_Array = npt.NDArray[Any]
_CHANNELS_STAY = (
    *(nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.AvgPool2d, nn.BatchNorm2d, nn.Dropout, nn.ELU, nn.GELU),
    *(nn.GroupNorm, nn.L2Pool2d, nn.LeakyReLU, nn.LocalResponseNorm, nn.MaxPool2d, nn.ReLU, nn.ReflectPad2d),
    *(nn.Sigmoid, nn.SiLU, nn.Softplus, nn.Tanh, nn.Upsample, nn.ZeroPad2d),
)


class _Source(NamedTuple):
    """Where a parameter comes from: PyTorch's keys, their shape there, and what to make of those arrays."""

    keys: tuple[str, ...]
    shape: tuple[int, ...]
    made: Callable[..., _Array]


def from_torch_state_dict(
    model: nn.Module, state_dict: Mapping[str, Any], *, channels: Mapping[str, int] | None = None
) -> None:
    """Copy the weights of a PyTorch model into a model of the same structure and names, in its dtype.

    state_dict: `module.state_dict()` of PyTorch: tensors, or arrays. Linear and Embedding are taken as they
    are; filters turn from OIHW to OHWI (Conv2d), from OIK to OKI (Conv1d) and from IOHW to IHWO
    (ConvTranspose2d); batch normalisation brings its running statistics along; RNN, GRU, LSTM (all
    layers, both directions) and the cells have one bias, the sum of PyTorch's two, but for the GRU's n, whose
    two stay apart. Parameters of your own modules must have the same name and shape.

    A Linear layer that reads flattened images has its columns in the order CHW there and HWC here. In a
    Sequential, where it comes after a convolution and a Flatten, that is seen; elsewhere name it in
    `channels`, as {"fc1": C}, C being the channels of the images.

    Raises ValueError that lists every key that is missing, unknown or of another shape, and names in
    `channels` that do not fit, and TypeError for what holds no floats; nothing is copied then.
    """
    sources = _sources(model, _all_channels(model, channels or {}))
    given = {name: _array(name, value) for name, value in state_dict.items() if not _counts(name)}
    wanted = {key: source.shape for _, source in sources for key in source.keys}
    problems = [f"{key} is missing" for key in wanted if key not in given]
    problems += [f"{key} is unknown" for key in given if key not in wanted]
    problems += [
        f"{key} has shape {given[key].shape}, expected {shape}"
        for key, shape in wanted.items()
        if key in given and given[key].shape != shape
    ]
    if problems:
        raise ValueError(f"from_torch_state_dict of {type(model).__name__}: {'; '.join(problems)}")
    values = [source.made(*[given[key] for key in source.keys]) for _, source in sources]
    for (array, _), value in zip(sources, values, strict=True):
        array[...] = value


def _counts(name: str) -> bool:
    """Whether this is the number of batches that PyTorch's batch normalisation counts and seldom reads."""
    return name.rpartition(".")[2] == "num_batches_tracked"


def _array(name: str, value: Any) -> _Array:
    if hasattr(value, "detach"):  # a tensor; NumPy does not know all of its dtypes
        if not value.is_floating_point():
            raise TypeError(f"from_torch_state_dict: {name} is {value.dtype}, expected floats")
        value = value.detach().cpu().double().numpy()
    found = np.asarray(value)
    if found.dtype.kind != "f":
        raise TypeError(f"from_torch_state_dict: {name} is {found.dtype}, expected floats")
    return found


def _sources(model: nn.Module, channels: Mapping[str, int]) -> list[tuple[_Array, _Source]]:
    found: list[tuple[_Array, _Source]] = []
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        for name, parameter in module._members():
            if isinstance(parameter, nn.Parameter):
                keys, shape, made = _source(module, name, parameter.shape, channels.get(path))
                found.append((parameter.data, _Source(tuple(prefix + key for key in keys), shape, made)))
        for name in module._buffer_names:
            buffer = getattr(module, name)
            found.append((buffer, _Source((prefix + name,), buffer.shape, lambda values: values)))
    return found


def _source(module: nn.Module, name: str, shape: tuple[int, ...], channels: int | None) -> _Source:
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) and name == "weight":
        first, kh, kw, last = shape  # O and I/groups, or I and O/groups
        return _Source((name,), (first, last, kh, kw), lambda w: w.transpose(0, 2, 3, 1))
    if isinstance(module, nn.Conv1d) and name == "weight":
        return _Source((name,), (shape[0], shape[2], shape[1]), lambda w: w.transpose(0, 2, 1))
    if isinstance(module, (nn.RNN, nn.GRU, nn.LSTM, nn.RNNCell, nn.GRUCell, nn.LSTMCell)) and "bias" in name:
        return _two_biases(module, name, shape)
    if channels is not None and name == "weight":
        return _Source((name,), shape, lambda w: _channels_last(w, channels))
    return _Source((name,), shape, lambda values: values)


def _two_biases(module: Any, name: str, shape: tuple[int, ...]) -> _Source:
    keys = tuple(name.replace("bias", part) for part in ("bias_ih", "bias_hh"))
    if not isinstance(module, (nn.GRU, nn.GRUCell)):
        return _Source(keys, shape, lambda b_ih, b_hh: b_ih + b_hh)
    if not getattr(module, "reset_after", True):
        raise ValueError("from_torch_state_dict: PyTorch has no GRU with its reset gate before the product")
    size = module.hidden_size

    def joined(b_ih: _Array, b_hh: _Array) -> _Array:
        sums = b_ih[: 2 * size] + b_hh[: 2 * size]
        return np.concatenate([sums, b_ih[2 * size :], b_hh[2 * size :]])

    return _Source(keys, (3 * size,), joined)


def _channels_last(w: _Array, channels: int) -> _Array:
    """w (out, C pixels) -> (out, pixels C)."""
    rows, columns = w.shape
    found: _Array = w.reshape(rows, channels, columns // channels).transpose(0, 2, 1).reshape(rows, columns)
    return found


def _all_channels(model: nn.Module, given: Mapping[str, int]) -> dict[str, int]:
    """The channels of the images that each Linear layer reads flattened, by the path of the layer."""
    modules = dict(model.named_modules())
    for path, count in given.items():
        layer = modules.get(path)
        if not isinstance(layer, nn.Linear):
            raise ValueError(
                f"from_torch_state_dict: channels names {path!r}, which is no Linear layer of the model"
            )
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
            raise ValueError(
                f"from_torch_state_dict: channels of {path!r} must be an int of at least 1, got {count!r}"
            )
        if layer.in_features % count:
            raise ValueError(
                f"from_torch_state_dict: channels of {path!r} is {count}, which does not divide its "
                f"{layer.in_features} features"
            )
    paths = {id(module): path for path, module in modules.items()}
    seen = [found for m in modules.values() if isinstance(m, nn.Sequential) for found in _flattened(m)]
    return {paths[id(layer)]: count for layer, count in seen} | {path: int(n) for path, n in given.items()}


def _flattened(layers: nn.Sequential) -> Iterator[tuple[nn.Linear, int]]:
    """Linear layers after a convolution and a Flatten, with the channels of the images."""
    count, flat = 0, False
    for layer in layers:
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            count, flat = layer.out_channels, False
        elif isinstance(layer, nn.Flatten):
            flat = True
        elif not isinstance(layer, _CHANNELS_STAY):
            if isinstance(layer, nn.Linear) and count and flat and layer.in_features % count == 0:
                yield layer, count
            count, flat = 0, False
