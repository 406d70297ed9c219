"""The operators of `Tensor` as pairs on NumPy arrays: forward returns (y, ctx), and backward stands below it.

An operator with two operands is told which of them need a gradient, keeps no more than that takes, and
answers None for the other. Gradients of broadcast operands are summed back to their shape.
"""

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina import _hosted as hosted
from lamina import ops
from lamina.config import available_isas

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
Axis = int | tuple[int, ...] | None

AxisError: type[ValueError] = getattr(np, "exceptions", np).AxisError  # NumPy moved it in 1.25


def unbroadcast(grad: Array, shape: Shape | None) -> Array | None:
    """Sum `grad` over the axes along which an operand of `shape` was repeated. None for shape None."""
    if shape is None or grad.shape == shape:
        return None if shape is None else grad
    lead = grad.ndim - len(shape)
    axes = (*range(lead), *(lead + i for i, n in enumerate(shape) if n == 1 and grad.shape[lead + i] != 1))
    return np.asarray(grad.sum(axis=axes)).reshape(shape)


# arithmetic -------------------------------------------------------------------------------------------
@hosted.direct
def add(a: Array, b: Array, needs_da: bool, needs_db: bool) -> tuple[Array, Any]:
    """a + b."""
    return added(a, b), (a.shape if needs_da else None, b.shape if needs_db else None)


def added(a: Array, b: Array) -> Array:
    """a + b, by the kernel where nothing is stretched."""
    if a.shape == b.shape and a.ndim and _is_plain(a) and _is_plain(b):
        return ops.add(a, b)[0]
    return np.asarray(hosted.again(np.add, a, b))


def _is_plain(a: Array) -> bool:
    return a.flags.c_contiguous and a.flags.aligned


@hosted.direct
def add_backward(dy: Array, ctx: Any) -> Any:
    """-> da, db: dy itself, where nothing was stretched."""
    return _summed(dy, ctx[0]), _summed(dy, ctx[1])


def _summed(dy: Array, shape: Shape | None) -> Array | None:
    found: Array | None = dy
    if shape != dy.shape:
        found = None if shape is None else hosted.again(unbroadcast, dy, shape)
    return found


def subtract(a: Array, b: Array, needs_da: bool, needs_db: bool) -> tuple[Array, Any]:
    """a - b."""
    return a - b, (a.shape if needs_da else None, b.shape if needs_db else None)


def subtract_backward(dy: Array, ctx: Any) -> Any:
    """-> da, db."""
    db = unbroadcast(dy, ctx[1])
    return unbroadcast(dy, ctx[0]), None if db is None else np.negative(db)


def multiply(a: Array, b: Array, needs_da: bool, needs_db: bool) -> tuple[Array, Any]:
    """a * b."""
    return a * b, (b if needs_da else None, a if needs_db else None, a.shape, b.shape)


def multiply_backward(dy: Array, ctx: Any) -> Any:
    """-> da, db."""
    b, a, a_shape, b_shape = ctx
    da = None if b is None else unbroadcast(dy * b, a_shape)
    return da, None if a is None else unbroadcast(dy * a, b_shape)


def divide(a: Array, b: Array, needs_da: bool, needs_db: bool) -> tuple[Array, Any]:
    """a / b."""
    y = a / b
    return y, (b, y if needs_db else None, a.shape if needs_da else None, b.shape)


def divide_backward(dy: Array, ctx: Any) -> Any:
    """-> da = dy / b, db = -dy y / b."""
    b, y, a_shape, b_shape = ctx
    da = dy / b
    return unbroadcast(da, a_shape), None if y is None else unbroadcast(-da * y, b_shape)


def power(a: Array, b: Array, needs_da: bool, needs_db: bool) -> tuple[Array, Any]:
    """a ** b."""
    y = a * a if b.ndim == 0 and b == 2 else a**b
    return y, (a, b, y if needs_db else None, a.shape if needs_da else None)


def power_backward(dy: Array, ctx: Any) -> Any:
    """-> da = dy b a^(b-1), 0 where b is 0; db = dy y log(a), 0 where a is 0."""
    a, b, y, a_shape = ctx
    da = db = None
    with np.errstate(divide="ignore", invalid="ignore"):
        if a_shape is not None:
            slope = a * 2 if b.ndim == 0 and b == 2 else np.where(b == 0, 0, b * a ** (b - 1))
            da = unbroadcast(dy * slope.astype(a.dtype, copy=False), a_shape)
        if y is not None:
            log = np.where(a == 0, 0, np.log(a)).astype(a.dtype, copy=False)
            db = unbroadcast(dy * y * log, b.shape)
    return da, db


def maximum(a: Array, b: Array, needs_da: bool, needs_db: bool) -> tuple[Array, Any]:
    """The greater of a and b; NaN wins. Where they are equal, or both NaN, the gradient goes to a."""
    y = np.maximum(a, b)
    return y, ((y == a) | np.isnan(a), a.shape if needs_da else None, b.shape if needs_db else None)


def minimum(a: Array, b: Array, needs_da: bool, needs_db: bool) -> tuple[Array, Any]:
    """The smaller of a and b; NaN wins. Where they are equal, or both NaN, the gradient goes to a."""
    y = np.minimum(a, b)
    return y, ((y == a) | np.isnan(a), a.shape if needs_da else None, b.shape if needs_db else None)


def select_backward(dy: Array, ctx: Any) -> Any:
    """-> da, db: dy goes to a where the condition holds, and to b elsewhere."""
    condition, a_shape, b_shape = ctx
    zero = dy.dtype.type(0)  # chosen, not multiplied: 0 times an infinite dy is NaN
    da = None if a_shape is None else unbroadcast(np.where(condition, dy, zero), a_shape)
    return da, None if b_shape is None else unbroadcast(np.where(condition, zero, dy), b_shape)


def where(a: Array, b: Array, needs_da: bool, needs_db: bool, condition: Array) -> tuple[Array, Any]:
    """a where the condition holds, else b."""
    y = np.where(condition, a, b)
    return y, (condition, a.shape if needs_da else None, b.shape if needs_db else None)


def matmul(a: Array, b: Array, needs_da: bool, needs_db: bool) -> tuple[Array, Any]:
    """a @ b by NumPy's rules: vectors, matrices, and stacks of matrices that broadcast."""
    if a.ndim == 0 or b.ndim == 0 or a.shape[-1] != b.shape[max(b.ndim - 2, 0)]:
        raise ValueError(
            f"matmul: shapes {a.shape} and {b.shape} do not fit: the last axis of the first and the last but "
            "one of the second must be equal"
        )
    left = a[None] if a.ndim == 1 else a
    right = b[:, None] if b.ndim == 1 else b
    shape = (*np.broadcast_shapes(left.shape[:-2], right.shape[:-2]), *a.shape[-2:-1], *b.shape[1:][-1:])
    if right.ndim == 2:  # one large product rather than many small ones
        left = left.reshape(math.prod(left.shape[:-1]), left.shape[-1])
    y = _product(left, right)
    ctx = (right if needs_da else None, left if needs_db else None, left.shape, right.shape, y.shape)
    return y.reshape(shape), (*ctx, a.shape, b.shape)


def matmul_backward(dy: Array, ctx: Any) -> Any:
    """-> da = dy b^T, db = a^T dy."""
    right, left, left_shape, right_shape, y_shape, a_shape, b_shape = ctx
    dy = dy.reshape(y_shape)
    da = db = None
    if right is not None:
        da = unbroadcast(_product(dy, right.swapaxes(-1, -2)), left_shape)
    if left is not None:
        db = unbroadcast(_product(left.swapaxes(-1, -2), dy), right_shape)
    return None if da is None else da.reshape(a_shape), None if db is None else db.reshape(b_shape)


def _product(a: Array, b: Array) -> Array:
    """a (..., M, K) by b (..., K, N) -> (..., M, N); the leading axes broadcast."""
    if a.ndim == b.ndim == 2:
        return ops.gemm(a, b)[0]
    if available_isas() == ["numpy"]:
        return np.asarray(np.matmul(a, b))
    # One gemm after the other: the bits of NumPy's stacks depend on how many threads its BLAS has.
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    left, right = np.broadcast_to(a, (*lead, *a.shape[-2:])), np.broadcast_to(b, (*lead, *b.shape[-2:]))
    y = np.empty((*lead, a.shape[-2], b.shape[-1]), a.dtype)
    for place in np.ndindex(lead):
        y[place] = ops.gemm(left[place], right[place])[0]
    return y


# one operand ------------------------------------------------------------------------------------------
def negative(a: Array) -> tuple[Array, Any]:
    """-a."""
    return np.negative(a), None


def negative_backward(dy: Array, ctx: Any) -> Array:
    """-dy."""
    return np.negative(dy)


def absolute(a: Array) -> tuple[Array, Any]:
    """|a|; its gradient at 0 is 0."""
    return np.abs(a), a


def absolute_backward(dy: Array, a: Array) -> Array:
    """dy sign(a)."""
    return dy * np.sign(a)


def exp(a: Array) -> tuple[Array, Any]:
    """e^a."""
    y = np.exp(a)
    return y, y


def exp_backward(dy: Array, y: Array) -> Array:
    """dy y."""
    return dy * y


def log(a: Array) -> tuple[Array, Any]:
    """The natural logarithm of a."""
    return np.log(a), a


def log_backward(dy: Array, a: Array) -> Array:
    """dy / a."""
    return dy / a


def sqrt(a: Array) -> tuple[Array, Any]:
    """The square root of a."""
    y = np.sqrt(a)
    return y, y


def sqrt_backward(dy: Array, y: Array) -> Array:
    """dy / (2 y)."""
    dx: Array = dy / (y + y)
    return dx


def native(dtype: np.dtype[Any], what: str) -> np.dtype[Any]:
    """`dtype` in native byte order; TypeError for one that no tensor has."""
    if dtype.kind in "iub" or (dtype.kind == "f" and dtype.itemsize in (4, 8)):
        return np.dtype(dtype.type)
    raise TypeError(f"{what} {dtype} is not supported; convert it to numpy.float32 or numpy.float64")


def astype(a: Array, dtype: np.dtype[Any]) -> tuple[Array, Any]:
    """A copy of a as dtype."""
    return a.astype(dtype), a.dtype


def astype_backward(dy: Array, dtype: np.dtype[Any]) -> Array:
    """dy in the dtype of a."""
    return dy.astype(dtype)


# shape ------------------------------------------------------------------------------------------------
@hosted.direct
def reshape(a: Array, shape: Shape) -> tuple[Array, Any]:
    """a in another shape; one axis may be -1."""
    return reshape_backward(a, shape), a.shape


@hosted.direct
def reshape_backward(dy: Array, shape: Shape) -> Array:
    """dy in the shape of a."""
    if not dy.flags.c_contiguous:  # else a view will do
        dy = hosted.again(np.ascontiguousarray, dy)
    return dy.reshape(shape)


def axes_of(op: str, axis: Axis, ndim: int) -> Shape:
    """The axes counted from 0, all for None.

    Raises AxisError (NumPy's) for an axis that does not exist, ValueError for one that is given twice.
    """
    if axis is None:
        return tuple(range(ndim))
    given = [operator.index(i) for i in (axis if isinstance(axis, tuple) else (axis,))]
    for i in given:
        if not -ndim <= i < ndim:
            raise AxisError(i, ndim, op)
    axes = tuple(i % ndim for i in given)
    if len(set(axes)) < len(axes):
        raise ValueError(f"{op}: an axis is given twice: {axis} of {ndim} axes")
    return axes


@hosted.direct
def transpose(a: Array, axes: Shape) -> tuple[Array, Any]:
    """a with its axes permuted. Raises AxisError or ValueError unless `axes` names each axis once."""
    order = axes_of("transpose", axes, a.ndim)
    if len(order) != a.ndim:
        raise ValueError(f"transpose: axes must name each of the {a.ndim} axes once, got {axes}")
    return a.transpose(order), order


@hosted.direct
def transpose_backward(dy: Array, axes: Shape) -> Array:
    """The inverse permutation."""
    da: Array = dy.transpose(np.argsort(axes))
    return da


@hosted.direct
def index(a: Array, key: Any) -> tuple[Array, Any]:
    """a[key]."""
    parts = key if isinstance(key, tuple) else (key,)
    is_view = all(isinstance(p, slice | int | None) for p in parts) and len(parts) <= a.ndim
    return a[key] if is_view else hosted.again(operator.getitem, a, key), (key, a.shape)


def _index_backward_into(da: Array, dy: Array, ctx: Any) -> None:
    key, _ = ctx
    da[...] = 0
    if _reads_once(key):
        da[key] = dy
    else:
        np.add.at(da, key, dy)


@hosted.refilled(_index_backward_into)
def index_backward(dy: Array, ctx: Any) -> Array:
    """dy added into zeros at the places that were read, as often as each was read."""
    da = np.empty(ctx[1], dy.dtype)
    _index_backward_into(da, dy, ctx)
    return da


def _reads_once(key: Any) -> bool:
    """Whether no element can be read twice: slices, integers, and one mask at most."""
    parts = key if isinstance(key, tuple) else (key,)
    basic = (slice, int, np.integer, type(None), type(...))
    masks = [p for p in parts if isinstance(p, np.ndarray) and p.dtype == bool]
    return len(masks) <= 1 and all(isinstance(p, basic) for p in parts if not any(p is m for m in masks))


def _join(made: Any, arrays: Sequence[Array], axis: int) -> None:
    np.concatenate(arrays, axis=axis, out=made[0])


@hosted.refilled(_join)
def concatenate(arrays: Sequence[Array], axis: int) -> tuple[Array, Any]:
    """The arrays joined along an axis that they have."""
    y = np.concatenate(arrays, axis=axis)
    return y, (axis, np.cumsum([a.shape[axis] for a in arrays])[:-1])


def concatenate_backward(dy: Array, ctx: Any) -> Any:
    """dy cut into the parts."""
    axis, cuts = ctx
    return tuple(np.split(dy, cuts, axis=axis))


def _pile(made: Any, arrays: Sequence[Array], axis: int) -> None:
    np.stack(arrays, axis=axis, out=made[0])


@hosted.refilled(_pile)
def stack(arrays: Sequence[Array], axis: int) -> tuple[Array, Any]:
    """Arrays of one shape joined along a new axis."""
    return np.stack(arrays, axis=axis), axis


def stack_backward(dy: Array, axis: int) -> Any:
    """dy cut into the parts."""
    return tuple(np.moveaxis(dy, axis, 0))
