"""Batch normalisation folded into the layer before it, for evaluation."""

import copy
from typing import TypeVar

import numpy as np

from lamina.nn._errors import kind
from lamina.nn.activation import ReLU
from lamina.nn.conv import Conv2d
from lamina.nn.linear import Linear
from lamina.nn.module import Array, Module, Parameter
from lamina.nn.norm import BatchNorm1d, BatchNorm2d
from lamina.nn.sequential import Sequential

M = TypeVar("M", bound=Module)


def fuse(model: M) -> M:
    """A copy of the model, in evaluation mode, without batch normalisation after Conv2d and Linear.

    In each Sequential, at any depth, the weights and the bias of the layer before take them over: its outputs
    are those of `model.eval()` up to rounding. A normalisation with relu=True leaves a ReLU. Others stay.
    The copy is for answering, not for training on. TypeError for what is no module.
    """
    if not isinstance(model, Module):
        raise TypeError(f"fuse: model must be a Module, got {kind(model)}")
    fused = copy.deepcopy(model).eval()
    for module in list(fused.modules()):
        if type(module) is Sequential:
            _fuse_sequential(module)
    return fused


def _fuse_sequential(module: Sequential) -> None:
    kept: list[Module] = []
    for layer in module:
        before = kept[-1] if kept else None
        if (type(before) is Conv2d and type(layer) is BatchNorm2d) or (
            type(before) is Linear and type(layer) is BatchNorm1d
        ):
            kept[-1] = _folded(before, layer)
            kept += [ReLU().eval()] if layer.relu else []
        else:
            kept.append(layer)
    for i in range(len(module)):
        delattr(module, str(i))
    for i, layer in enumerate(kept):
        setattr(module, str(i), layer)


def _folded(layer: Conv2d | Linear, norm: BatchNorm1d | BatchNorm2d) -> Module:
    """y = (w x + b - mean) scale + beta: w scale, and (b - mean) scale + beta for the bias.

    A layer of its own: `layer` may stand in other places too.
    """
    w, found = layer.weight.data, copy.copy(layer)
    scale = _wide(norm.weight, 1.0) / np.sqrt(norm.running_var.astype(np.float64) + norm.eps)
    bias = (_wide(layer.bias, 0.0) - norm.running_mean) * scale + _wide(norm.bias, 0.0)
    found.weight = Parameter((w * scale.reshape(-1, *[1] * (w.ndim - 1))).astype(w.dtype))
    found.bias = Parameter(bias.astype(w.dtype))
    return found


def _wide(parameter: Parameter | None, otherwise: float) -> Array:
    return np.asarray(otherwise if parameter is None else parameter.data, np.float64)
