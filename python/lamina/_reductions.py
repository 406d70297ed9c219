"""Sums, means and extremes of `Tensor` as pairs on NumPy arrays, in the form of `_pairs.py`."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lamina._pairs import Array, Axis, Shape, axes_of


def _kept(shape: Shape, axes: Shape) -> Shape:
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def total(a: Array, axis: Axis, keepdims: bool) -> tuple[Array, Any]:
    """Sums over an axis, several axes, or all."""
    axes = axes_of("sum", axis, a.ndim)
    return np.asarray(a.sum(axis=axis, keepdims=keepdims)), (a.shape, _kept(a.shape, axes))


def total_backward(dy: Array, ctx: Any) -> Array:
    """dy repeated along the axes that were summed (a read-only view)."""
    shape, kept = ctx
    return np.broadcast_to(dy.reshape(kept), shape)


def mean(a: Array, axis: Axis, keepdims: bool) -> tuple[Array, Any]:
    """Means over an axis, several axes, or all."""
    axes = axes_of("mean", axis, a.ndim)
    y = np.asarray(a.mean(axis=axis, keepdims=keepdims))
    return y, (a.shape, _kept(a.shape, axes), a.size // max(y.size, 1))


def mean_backward(dy: Array, ctx: Any) -> Array:
    """dy / count repeated along the axes (a read-only view)."""
    return total_backward(np.asarray(dy / dy.dtype.type(ctx[2])), ctx[:2])


def extreme(a: Array, axis: Axis, keepdims: bool, arg: Callable[..., Any]) -> tuple[Array, Any]:
    """The greatest elements (arg = numpy.argmax) or the smallest (argmin). Ties go to the first, NaN wins."""
    axes = axes_of(arg.__name__.removeprefix("arg"), axis, a.ndim)
    rest = tuple(i for i in range(a.ndim) if i not in axes)
    order = (*rest, *axes)
    moved = a.transpose(order)
    if 0 in moved.shape[len(rest) :]:
        raise ValueError(
            f"{arg.__name__.removeprefix('arg')}: no elements along axis {axis} of shape {a.shape}"
        )
    rows = moved.reshape(*moved.shape[: len(rest)], int(np.prod(moved.shape[len(rest) :])))
    chosen = np.expand_dims(arg(rows, axis=-1), -1)
    y = np.take_along_axis(rows, chosen, -1)
    y = y.reshape(_kept(a.shape, axes) if keepdims else y.shape[:-1])
    return y, (chosen, rows.shape, moved.shape, order)


def extreme_backward(dy: Array, ctx: Any) -> Array:
    """dy at the chosen elements, 0 elsewhere."""
    chosen, rows_shape, moved_shape, order = ctx
    rows = np.zeros(rows_shape, dy.dtype)
    np.put_along_axis(rows, chosen, dy.reshape(chosen.shape), -1)
    da: Array = rows.reshape(moved_shape).transpose(np.argsort(order))
    return da
