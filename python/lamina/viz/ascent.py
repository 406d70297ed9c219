"""What a unit looks for: the input that excites it most."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina import config, nn
from lamina.autograd import Tensor
from lamina.nn.modes import evaluating, frozen
from lamina.ops import _check as check
from lamina.probe.layers import find_layer, output_of

Array = npt.NDArray[Any]

_SMALLEST = 1e-6  # a step of which the ascent ends, as a share of the norm


def maximize(
    model: nn.Module,
    layer: nn.Module | str | Callable[[Tensor], Tensor],
    units: int | Sequence[int] | None = None,
    *,
    input_shape: int | tuple[int, ...] | None = None,
    norm: float = 1.0,
    at: tuple[int, ...] | None = None,
    steps: int = 200,
    starts: int = 4,
    seed: int | None = 0,
) -> Array:
    """The input of Euclidean norm at most `norm` that excites a unit of a layer most.

    The first step goes from a random start straight to norm g/|g|, with g the gradient of the unit: for a
    first dense layer, w_i/|w_i|, the answer; so for a first convolution. Deeper units go on by projected
    gradient ascent, with steps that grow while they climb and halve when they do not.

    Args:
        model: run in evaluation mode; nothing in it changes.
        layer: a module inside the model, its path as "0" or "encoder.2", or a function of the input that is
            made of the model, as model.encode.
        units: places on the last axis of what the layer gives; None is all of them.
        input_shape: of one input, as (28, 28, 1); by default (in_features,) of the first nn.Linear.
        norm: the bound, above 0.
        at: where on the axes between the first and the last, as (row, column); by default the middle.
        steps: of the ascent, at most. starts: random starts, of which the best is kept. seed: of the starts;
            None draws from the library's generator.

    Returns:
        (*input_shape) for one unit, (K, *input_shape) for several. A unit that has no gradient at any start,
        as a dead ReLU, gets zeros.

    Raises:
        TypeError: a layer that is none of the three, or gives no floating tensor (N, ..., units).
        ValueError: a path, unit or place that is not there, a layer that the model does not call.

    Source of the closed form: A. Ng, Sparse autoencoder, CS294A lecture notes, 2011, section 4.
    """
    who = "maximize"
    norm = check.number(who, "norm", norm)
    if norm == 0:
        raise ValueError("maximize: norm must be above 0")
    steps, starts = check.integer(who, "steps", steps, 1), check.integer(who, "starts", starts, 1)
    shape = _input_shape(model, input_shape)
    rng = config.rng() if seed is None else config.seeded("maximize: seed", seed)
    dtype = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
    run = _runner(model, layer)
    with evaluating(model), frozen(model):
        y = run(Tensor(np.zeros((1, *shape), dtype)))
        found = _units(units, y.shape[-1])
        place = _place(at, y.shape)
        x = rng.standard_normal((len(found), starts, *shape)).astype(dtype)
        best = _ascend(run, _onto(x.reshape(-1, *shape), norm), found, place, norm, steps)
    return best[0] if units is not None and np.ndim(units) == 0 else best


def _units(units: int | Sequence[int] | None, count: int) -> list[int]:
    wanted: Any = range(count) if units is None else np.ravel(np.asarray(units, object))
    return [check.integer("maximize", "unit", unit, 0, count - 1) for unit in wanted]


def _input_shape(model: nn.Module, given: int | tuple[int, ...] | None) -> tuple[int, ...]:
    if given is None:
        first = next((m for m in model.modules() if isinstance(m, nn.Linear)), None)
        if first is None:
            raise ValueError("maximize: give input_shape, for the model has no nn.Linear to know it from")
        return (first.in_features,)
    sizes = given if isinstance(given, tuple | list) else (given,)
    return tuple(check.integer("maximize", "input_shape", size, 1) for size in sizes)


def _runner(model: nn.Module, layer: Any) -> Callable[[Tensor], Tensor]:
    """A function from inputs to what the layer gives for them."""
    if isinstance(layer, nn.Module | str):
        found = find_layer("maximize", model, layer)
        return lambda x: _checked(output_of("maximize", model, found, x))
    if callable(layer):
        return lambda x: _checked(layer(x))
    raise TypeError(f"maximize: layer must be a module, its path or a function, got {type(layer).__name__}")


def _checked(y: Any) -> Tensor:
    if not isinstance(y, Tensor) or y.ndim < 2 or y.dtype.kind != "f":
        got = f"shape {y.shape}, {y.dtype}" if isinstance(y, Tensor) else type(y).__name__
        raise TypeError(f"maximize: layer must give one floating tensor (N, ..., units), got {got}")
    return y


def _place(at: tuple[int, ...] | None, shape: tuple[int, ...]) -> tuple[int, ...]:
    between = shape[1:-1]
    if at is None:
        return tuple(n // 2 for n in between)
    if not isinstance(at, tuple | list) or len(at) != len(between):
        raise ValueError(f"maximize: at must be a place on the axes {between}, got {at!r}")
    return tuple(check.integer("maximize", "at", a, 0, n - 1) for a, n in zip(at, between, strict=True))


def _ascend(
    run: Callable[[Tensor], Tensor],
    x: Array,
    units: list[int],
    place: tuple[int, ...],
    norm: float,
    steps: int,
) -> Array:
    """The best of the starts of every unit, (K, ...), climbed from x (K starts, ...)."""
    starts = len(x) // len(units)
    rows, columns = np.arange(len(x)), np.repeat(units, starts)
    wide = (len(x), *[1] * (x.ndim - 1))

    def climb(inputs: Array) -> tuple[Array, Array, Array]:
        """The unit of each row, the gradient scaled to `norm`, and whether there is one."""
        tensor = Tensor(inputs, requires_grad=True)
        values = run(tensor)[(rows, *place, columns)]
        values.sum().backward()
        gradient = np.zeros_like(inputs) if tensor.grad is None else tensor.grad
        length = _norms(gradient).reshape(wide)
        moving = (length > 0) & np.isfinite(length)
        scaled = np.divide(gradient, length, out=np.zeros_like(inputs), where=moving) * inputs.dtype.type(
            norm
        )
        return values.data, scaled, moving.reshape(-1)

    value, gradient, alive = climb(x)
    jump, step = True, np.ones(len(x), x.dtype)
    for _ in range(steps):
        candidate = gradient if jump else _within(x + step.reshape(wide) * gradient, norm)
        new_value, new_gradient, moving = climb(candidate)
        better = (new_value > value) & np.isfinite(new_value)
        x = np.where(better.reshape(wide), candidate, x)
        gradient = np.where(better.reshape(wide), new_gradient, gradient)
        value, alive = np.where(better, new_value, value), alive | (better & moving)
        step = step if jump else step * np.where(better, 2, 0.5).astype(step.dtype)
        jump = False
        if (step < _SMALLEST).all():
            break
    x[~alive] = 0
    value = np.where(alive, value, -math.inf).reshape(len(units), starts)
    return np.asarray(x[value.argmax(axis=1) + starts * np.arange(len(units))])


def _norms(x: Array) -> Array:
    return np.asarray(np.linalg.norm(x.reshape(len(x), -1), axis=1))


def _onto(x: Array, norm: float) -> Array:
    """Each row scaled to the norm."""
    lengths = _norms(x).reshape(len(x), *[1] * (x.ndim - 1))
    return np.asarray(x * (norm / lengths).astype(x.dtype))


def _within(x: Array, norm: float) -> Array:
    """Each row that is longer than the norm scaled to it."""
    lengths = _norms(x).reshape(len(x), *[1] * (x.ndim - 1))
    return np.asarray(x * (norm / np.maximum(lengths, norm)).astype(x.dtype))
