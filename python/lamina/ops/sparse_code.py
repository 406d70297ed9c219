"""k-sparse codes (Makhzani & Frey, "k-Sparse Autoencoders", 2014): only k units of each row are not zero.

A code is a pair (values, units), both (M,k), the units of a row rising. What reads it, forward and backward,
touches the chosen units alone, so that its cost follows k.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lamina import _hosted as hosted
from lamina.config import backend
from lamina.ops import _check as check
from lamina.ops._check import Array
from lamina.ops._into import NOWHERE, Into, fills

_Units = npt.NDArray[np.int64]
_CROWDED = 4  # where k is more than a 4th of the units, dense products are faster


def _check_k(op: str, k: Any, units: int) -> int:
    found = check.integer(op, "k", k, 1)
    if found > units:
        raise ValueError(f"{op}: k = {found} is more than the {units} units")
    return found


class KSparseContext(NamedTuple):
    """What `k_sparse_backward` needs."""

    y: Array
    units: _Units


def k_sparse(x: Any, k: int) -> tuple[Array, KSparseContext]:
    """The k greatest of each row of x (M,N), not by magnitude, and 0 elsewhere; ties to the lowest unit.

    NaN counts as greater than every number. Raises ValueError for k outside 1..N or x without two axes,
    TypeError for a k that is no int and for other than float32 or float64.
    """
    (x,) = check.floats("k_sparse", x=x)
    check.ndim("k_sparse", "x", x, "MN")
    values, units = backend().support(x, _check_k("k_sparse", k, x.shape[1]))
    y: Array = np.zeros_like(x)
    np.put_along_axis(y, units, values, axis=1)
    return y, KSparseContext(y, units)


def k_sparse_backward(dy: Any, ctx: KSparseContext) -> Array:
    """dy (M,N) -> dx (M,N): dy at the chosen units, 0 elsewhere."""
    dy = check.gradient("k_sparse_backward", "dy", dy, ctx.y, ctx.y.shape)
    dx: Array = np.zeros_like(dy)
    np.put_along_axis(dx, ctx.units, np.take_along_axis(dy, ctx.units, axis=1), axis=1)
    return dx


class KSparseLinearContext(NamedTuple):
    """What `k_sparse_linear_backward` needs."""

    x: Array
    w: Array
    has_bias: bool
    units: _Units


def k_sparse_linear(
    x: Any, w: Any, b: Any = None, *, k: int
) -> tuple[tuple[Array, _Units], KSparseLinearContext]:
    """The k greatest of each row of z = x w^T + b: x (M,D), w (N,D), b (N,) or None -> (values, units).

    Errors as `linear` and `k_sparse`.
    """
    return _encode("k_sparse_linear", x, w, {} if b is None else {"b": b}, k)


def _encode(
    op: str, x: Any, w: Any, biases: dict[str, Any], k: int
) -> tuple[tuple[Array, _Units], KSparseLinearContext]:
    x, w, *rest = check.floats(op, x=x, w=w, **biases)
    check.ndim(op, "x", x, "MD")
    check.ndim(op, "w", w, "ND")
    check.shape(op, "w", w, (len(w), x.shape[1]), "(N, D) with the D of x")
    b = rest[0] if rest else None
    if b is not None:
        check.shape(op, "b", b, (len(w),), "one per row of w")
    k = _check_k(op, k, len(w))
    values, units = backend().support(backend().gemm(x, w.T, b), k)
    return (values, units), KSparseLinearContext(x, w, b is not None, units)


@fills
def k_sparse_linear_backward(
    dvalues: Any, ctx: KSparseLinearContext, needs_dx: bool = True, into: Into = NOWHERE
) -> tuple[Array | None, Array, Array | None]:
    """dvalues (M,k) -> dx (M,D) or None where it is not needed, dw (N,D), db (N,) or None.

    into: arrays for the gradients of x, w and b, of which only w's is used.
    """
    x, w, units = ctx.x, ctx.w, ctx.units
    dvalues = check.gradient("k_sparse_linear_backward", "dvalues", dvalues, w, units.shape)
    dx = _decoded(dvalues, units, w, None) if needs_dx else None
    dw = _outer(units, dvalues, x, len(w), into[1])
    return dx, dw, hosted.again(_sums, units, dvalues, len(w)) if ctx.has_bias else None


# What follows takes a code whose units are different in each row.
def _crowded(units: _Units, n: int) -> bool:
    return bool(_CROWDED * units.shape[1] > n)


def _spread(values: Array, units: _Units, n: int) -> Array:
    code: Array = np.zeros((len(values), n), values.dtype)
    np.put_along_axis(code, units, values, axis=1)
    return code


def _decoded(values: Array, units: _Units, w: Array, b: Array | None) -> Array:
    """The code times w (N,D), and b."""
    found: Array
    if _crowded(units, len(w)):
        found = backend().gemm(hosted.again(_spread, values, units, len(w)), w, b)
    else:
        found = backend().sparse_linear(values, units, w, b)
    return found


def _dots(dy: Array, units: _Units, w: Array) -> Array:
    """dy (M,D) times the chosen rows of w."""
    if _crowded(units, len(w)):
        chosen: Array = hosted.again(np.take_along_axis, backend().gemm(dy, w.T), units, 1)
        return chosen
    found: Array = backend().sparse_dots(dy, units, w)
    return found


def _outer(
    units: _Units,
    values: Array,
    dy: Array,
    n: int,
    out: Array | None,
    values2: Array | None = None,
    x: Array | None = None,
) -> Array:
    """The code, transposed, times dy (M,D); and likewise of values2 and x, if they are given."""
    found: Array
    if not _crowded(units, n):
        found = backend().sparse_outer(units, values, dy, values2, x, n, out)
        return found
    found = backend().gemm(hosted.again(_spread, values, units, n).T, dy, out=out)
    if values2 is not None:
        more = backend().gemm(hosted.again(_spread, values2, units, n).T, x)
        hosted.again(np.add, found, more, found)
    return found


def _sums(units: _Units, values: Array, n: int) -> Array:
    """The sum of the values of each unit, in their order."""
    found: Array = np.bincount(units.ravel(), values.ravel(), n).astype(values.dtype)
    return found


class SparseLinearContext(NamedTuple):
    """What `sparse_linear_backward` needs."""

    values: Array
    units: _Units
    w: Array
    has_bias: bool


def sparse_linear(values: Any, units: Any, w: Any, b: Any = None) -> tuple[Array, SparseLinearContext]:
    """y = code w + b for a code (values, units), both (M,k): w (N,D), b (D,) or None -> y (M,D).

    `units` are whole numbers in 0..N-1. Raises ValueError for shapes and units that do not fit, TypeError for
    other than float32 or float64 values and integer units.
    """
    op = "sparse_linear"
    values, w, *rest = check.floats(op, values=values, w=w, **({} if b is None else {"b": b}))
    check.ndim(op, "values", values, "MK")
    check.ndim(op, "w", w, "ND")
    units = check.tokens(op, "units", units, len(w), "w", "unit")
    check.shape(op, "units", units, values.shape, "that of values (M, K)")
    for bias in rest:
        check.shape(op, "b", bias, (w.shape[1],), "one per column of w")
    y: Array = backend().sparse_linear(values, units, w, rest[0] if rest else None)
    return y, SparseLinearContext(values, units, w, bool(rest))


@fills
def sparse_linear_backward(
    dy: Any, ctx: SparseLinearContext, into: Into = NOWHERE
) -> tuple[Array, Array, Array | None]:
    """dy (M,D) -> dvalues (M,k), dw (N,D), zero in the rows of units that nobody chose, db (D,) or None.

    into: arrays for the gradients of values, w and b, of which only w's is used.
    """
    values, units, w = ctx.values, ctx.units, ctx.w
    dy = check.gradient("sparse_linear_backward", "dy", dy, w, (len(values), w.shape[1]))
    dvalues: Array = backend().sparse_dots(dy, units, w)
    dw: Array = backend().sparse_outer(units, values, dy, None, None, len(w), into[1])
    return dvalues, dw, backend().bias_backward(dy) if ctx.has_bias else None


class TiedKSparseContext(NamedTuple):
    """What `tied_k_sparse_backward` needs."""

    x: Array
    w: Array
    values: Array
    units: _Units


def tied_k_sparse(
    x: Any, w: Any, b: Any, c: Any, *, k: int
) -> tuple[tuple[Array, Array, _Units], TiedKSparseContext]:
    """A k-sparse autoencoder with tied weights: the code of x and what it is decoded to.

    (values, units) = the k greatest of each row of x w^T + b;  y = code w + c. x (M,D), w (N,D), b (N,), c
    (D,) -> y (M,D), values and units (M,k). Errors as of `k_sparse_linear`.
    """
    op = "tied_k_sparse"
    x, w, b, c = check.floats(op, x=x, w=w, b=b, c=c)
    (values, units), _ = _encode(op, x, w, {"b": b}, k)
    check.shape(op, "c", c, (x.shape[1],), "one per column of w")
    y = _decoded(values, units, w, c)
    return (y, values, units), TiedKSparseContext(x, w, values, units)


@fills
def tied_k_sparse_backward(
    dy: Any, dvalues: Any, ctx: TiedKSparseContext, needs_dx: bool = True, into: Into = NOWHERE
) -> tuple[Array | None, Array, Array, Array]:
    """dy (M,D), dvalues (M,k) -> dx (M,D) or None where it is not needed, dw (N,D), db (N,), dc (D,).

    into: arrays for the gradients of x, w, b and c, of which only w's is used.
    """
    x, w, values, units = ctx
    dy = check.gradient("tied_k_sparse_backward", "dy", dy, w, x.shape)
    dvalues = check.gradient("tied_k_sparse_backward", "dvalues", dvalues, w, units.shape)
    dz = hosted.again(np.add, _dots(dy, units, w), dvalues)
    dx = _decoded(dz, units, w, None) if needs_dx else None
    dw = _outer(units, values, dy, len(w), into[1], dz, x)
    return dx, dw, hosted.again(_sums, units, dz, len(w)), backend().bias_backward(dy)
