"""What the layers of a model make of an input."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lamina import nn, ops
from lamina.autograd import Tensor, is_recording, no_grad
from lamina.nn.modes import evaluating
from lamina.nn.summary import watching
from lamina.ops import _check as check

Array = npt.NDArray[Any]


def feature_maps(model: nn.Module, image: npt.ArrayLike, layer: nn.Module | str) -> Array:
    """What a layer makes of one image, (H, W, C), the model in evaluation mode.

    image: (H, W, C), or (H, W) for one channel. layer: a module inside the model, or its path as "0" or
    "encoder.2"; the first time that it is called counts. ValueError for a layer that is not there, is not
    called or gives no maps.
    """
    x = one_image("feature_maps", model, image)
    with evaluating(model), no_grad():
        y = output_of("feature_maps", model, find_layer("feature_maps", model, layer), Tensor(x))
    return np.asarray(maps_of("feature_maps", y).data[0])


def need_gradients(who: str) -> None:
    """RuntimeError inside `no_grad`, where every gradient would seem to be 0."""
    if not is_recording():
        raise RuntimeError(f"{who}: gradients are needed, but no_grad() is on")


def one_image(who: str, model: nn.Module, image: npt.ArrayLike) -> Array:
    """An image (H, W, C), or (H, W) for one channel, as (1, H, W, C) in the model's dtype."""
    x = check.array_of(who, "image", image)
    if x.ndim not in (2, 3) or 0 in x.shape:
        raise ValueError(f"{who}: image has shape {x.shape}, expected one image, (H, W, C) or (H, W)")
    dtype = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
    return (x if x.ndim == 3 else x[:, :, None]).astype(dtype)[None]


def find_layer(who: str, model: nn.Module, layer: nn.Module | str) -> nn.Module:
    """The module itself, or that of this path. ValueError for a path that is not there."""
    if isinstance(layer, nn.Module):
        return layer
    if not isinstance(layer, str):
        raise TypeError(f"{who}: layer must be a module or its path, got {type(layer).__name__}")
    modules = dict(model.named_modules())
    if layer not in modules:
        raise ValueError(f"{who}: no layer {layer!r}, there are {', '.join(filter(None, modules))}")
    return modules[layer]


def output_of(who: str, model: nn.Module, layer: nn.Module, x: Tensor) -> Any:
    """What `layer` gives when the model runs on x, the first time that it is called; of a tuple the first."""
    seen: list[Any] = []

    def watch(module: Any, _: Any, y: Any) -> None:
        if module is layer:
            seen.append(y[0] if isinstance(y, tuple) else y)

    with watching(watch):
        model(x)
    if not seen:
        raise ValueError(f"{who}: the model does not call the layer {type(layer).__name__}")
    return seen[0]


def maps_of(who: str, y: Any) -> Tensor:
    """y, which must be maps (N, H, W, C)."""
    if not isinstance(y, Tensor) or y.ndim != 4:
        got = f"shape {y.shape}" if isinstance(y, Tensor) else type(y).__name__
        raise ValueError(f"{who}: layer must give maps (N, H, W, C), got {got}")
    return y


def probabilities(scores: Array) -> Array:
    """Scores (..., O) as they are if they are probabilities, or exp of them if logarithms; else softmax."""
    s = scores.astype(np.float64)
    for p in (s, np.exp(np.minimum(s, 1))):
        if (p >= 0).all() and (abs(p.sum(axis=-1) - 1) < 1e-4).all():
            return p
    y: Array = ops.softmax(s)[0]
    return y
