"""How far a unit sees: the pixels that reach it."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lamina import nn
from lamina.autograd import Tensor
from lamina.nn.modes import evaluating, frozen
from lamina.ops import _check as check
from lamina.probe.layers import find_layer, need_gradients, output_of

Array = npt.NDArray[Any]


class ReceptiveField(NamedTuple):
    """The pixels that a unit sees: rows[0] to rows[1] - 1, columns[0] to columns[1] - 1."""

    rows: tuple[int, int]
    columns: tuple[int, int]
    gradient: Array  # (H, W): how much of the unit comes from each pixel, 0 where it does not see
    unit: tuple[int, ...]  # its place on the layer's maps

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]


def receptive_field(
    model: nn.Module,
    input_shape: tuple[int, int, int],
    layer: nn.Module | str,
    unit: int | tuple[int, int] | None = None,
) -> ReceptiveField:
    """The box of pixels that a unit of a layer sees, by the support of its gradient.

    A copy of the model takes the gradient, in float64: with positive random weights on a positive random
    image nothing cancels and no ReLU is dead; its max pooling layers pool by the mean, whose gradient reaches
    the whole window. The model itself stays as it is. Max pooling that returns its indices or is done in a
    `forward` of your own stays what it is: of each of its windows one pixel counts.

    Args:
        model: with images as input.
        input_shape: of one of them, (H, W, C).
        layer: a module inside the model or its path; the first time that it is called counts.
        unit: (row, column) on the layer's maps, by default the middle; of a dense layer its number, by
            default 0.

    Raises:
        ValueError: a layer or unit that is not there, one that no pixel reaches, an input_shape that is none.
    """
    who = "receptive_field"
    need_gradients(who)
    if not isinstance(input_shape, tuple | list) or len(input_shape) != 3:
        raise ValueError(f"{who}: input_shape must be (H, W, C), got {input_shape!r}")
    shape = tuple(check.integer(who, "input_shape", n, 1) for n in input_shape)
    found = find_layer(who, model, layer)
    path = next((name for name, module in model.named_modules() if module is found), None)
    if path is None:
        raise ValueError(f"{who}: {type(found).__name__} is no layer of the model")
    rng = np.random.default_rng(0)
    model = _positive(copy.deepcopy(model), rng)
    x = Tensor(rng.uniform(0.5, 1, (1, *shape)), requires_grad=True)
    with evaluating(model), frozen(model):
        y = output_of(who, model, find_layer(who, model, path), x)
    place = _place(unit, y)
    value = y[(0, *place)].sum()
    if value.requires_grad:
        value.backward()
    gradient = np.zeros(shape[:2]) if x.grad is None else np.abs(x.grad[0]).sum(axis=-1)
    if not gradient.any():
        raise ValueError(f"{who}: no pixel reaches unit {place} of {type(found).__name__}")
    rows, columns = (_ends(gradient.sum(axis=1 - axis)) for axis in (0, 1))
    return ReceptiveField(rows, columns, gradient, place)


def _ends(seen: Array) -> tuple[int, int]:
    places = np.flatnonzero(seen)
    return int(places[0]), int(places[-1]) + 1


def _place(unit: int | tuple[int, int] | None, y: Any) -> tuple[int, ...]:
    """The unit's place in y behind N: row and column of maps, of all channels together, or the number."""
    who = "receptive_field"
    if not isinstance(y, Tensor) or y.ndim not in (2, 4) or 0 in y.shape:
        got = f"shape {y.shape}" if isinstance(y, Tensor) else type(y).__name__
        raise ValueError(f"{who}: layer must give maps (N, H, W, C) or rows (N, units), got {got}")
    sizes = y.shape[1:3]
    if unit is None:
        return tuple(n // 2 for n in sizes) if y.ndim == 4 else (0,)
    places = tuple(unit) if isinstance(unit, tuple | list) else (unit,)
    if len(places) != len(sizes):
        raise ValueError(f"{who}: unit must be a place on the axes {sizes}, got {unit!r}")
    return tuple(check.integer(who, "unit", i, 0, n - 1) for i, n in zip(places, sizes, strict=True))


def _positive(model: nn.Module, rng: np.random.Generator) -> nn.Module:
    """The model in float64 with positive weights that keep the size of what passes, and no maxima."""
    model.astype(np.float64)
    for name, p in model.named_parameters():
        fan_in = p.size // len(p.data) if p.ndim > 1 else 1
        p.data[...] = 0 if name.split(".")[-1] == "bias" else rng.uniform(0.5, 1, p.shape) / fan_in
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer[...] = name.endswith("running_var")
    for module in model.modules():
        mean = _mean_pooling(module)
        if mean is not None:
            module.forward = mean.forward  # type: ignore[method-assign]
    return model


def _mean_pooling(module: nn.Module) -> nn.Module | None:
    """What pools the same windows by their means, of a layer that pools by their maxima."""
    if isinstance(module, nn.MaxPool2d) and not module.return_indices:
        windows: Any = {"padding": module.padding, "ceil_mode": module.ceil_mode}
        return nn.AvgPool2d(module.kernel_size, module.stride, **windows)
    if isinstance(module, nn.GlobalMaxPool2d):
        return nn.GlobalAvgPool2d()
    if isinstance(module, nn.AdaptiveMaxPool2d):
        return nn.AdaptiveAvgPool2d(module.output_size)
    return None
