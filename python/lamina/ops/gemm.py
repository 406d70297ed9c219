"""Matrix product and the affine map of a linear layer."""

import math
from typing import Any, NamedTuple

from lamina.config import backend
from lamina.ops import _check as check
from lamina.ops._check import Array
from lamina.ops._into import NOWHERE, Into, fills


class GemmContext(NamedTuple):
    """What `gemm_backward` needs: the factors as they were multiplied."""

    a: Array
    b: Array
    transpose_a: bool
    transpose_b: bool


def gemm(
    a: Any, b: Any, *, transpose_a: bool = False, transpose_b: bool = False
) -> tuple[Array, GemmContext]:
    """Multiply a (M,K) by b (K,N) -> y (M,N); a factor may come transposed. Strided views are not copied.

    Raises ValueError for axes that do not match, TypeError for other than float32 or float64 arrays.
    """
    a, b = check.strided("gemm", a=a, b=b)
    check.ndim("gemm", "a", a, "KM" if transpose_a else "MK")
    check.ndim("gemm", "b", b, "NK" if transpose_b else "KN")
    left = a.T if check.flag("gemm", "transpose_a", transpose_a) else a
    right = b.T if check.flag("gemm", "transpose_b", transpose_b) else b
    if left.shape[1] != right.shape[0]:
        raise ValueError(
            f"gemm: a has K = {left.shape[1]} {check.shown(a.shape, 'KM' if transpose_a else 'MK')} "
            f"but b has K = {right.shape[0]} {check.shown(b.shape, 'NK' if transpose_b else 'KN')}"
        )
    y: Array = backend().gemm(left, right)
    return y, GemmContext(left, right, bool(transpose_a), bool(transpose_b))


def gemm_backward(dy: Any, ctx: GemmContext) -> tuple[Array, Array]:
    """dy (M,N) -> da, db in the shapes of a and b: da = dy b^T, db = a^T dy."""
    a, b = ctx.a, ctx.b
    dy = check.gradient("gemm_backward", "dy", dy, a, (a.shape[0], b.shape[1]))
    compute = backend()
    da: Array = compute.gemm(b, dy.T) if ctx.transpose_a else compute.gemm(dy, b.T)
    db: Array = compute.gemm(dy.T, a) if ctx.transpose_b else compute.gemm(a.T, dy)
    return da, db


class LinearContext(NamedTuple):
    """What `linear_backward` needs: x as a matrix (rows, in), w, the shape of x, with relu y as a matrix."""

    x: Array
    w: Array
    has_bias: bool
    shape: tuple[int, ...]
    y: Array | None


def linear(x: Any, w: Any, b: Any = None, *, relu: bool = False) -> tuple[Array, LinearContext]:
    """y = x w^T + b. x (..., in), w (out, in), b (out,) or None -> y (..., out).

    relu: max(y, 0) in the same pass over memory; leave y unchanged until backward then. Raises ValueError for
    shapes that do not match, TypeError for other than float32 or float64 arrays.
    """
    if b is None:
        x, w = check.floats("linear", x=x, w=w)
    else:
        x, w, b = check.floats("linear", x=x, w=w, b=b)
    check.ndim("linear", "w", w, "OI")
    if x.ndim == 0:
        raise ValueError("linear: x must have at least one axis, got a scalar array")
    outputs, inputs = w.shape
    if x.shape[-1] != inputs:
        raise ValueError(
            f"linear: x has {x.shape[-1]} features {check.shown(x.shape)} but w expects {inputs} "
            f"{check.shown(w.shape, 'OI')}"
        )
    if b is not None:
        check.shape("linear", "b", b, (outputs,), "one per row of w")
    matrix = x.reshape(math.prod(x.shape[:-1]), inputs)
    relu = check.flag("linear", "relu", relu)
    y: Array = backend().gemm(matrix, w.T, b, relu)
    ctx = LinearContext(matrix, w, b is not None, x.shape, y if relu else None)
    return y.reshape(*x.shape[:-1], outputs), ctx


@fills
def linear_backward(
    dy: Any, ctx: LinearContext, needs_dx: bool = True, into: Into = NOWHERE
) -> tuple[Array | None, Array, Array | None]:
    """dy (..., out) -> dx (..., in) or None where it is not needed, dw (out, in), db (out,) or None.

    into: arrays for the gradients of x, w and b; None for new ones, as always for x.
    """
    outputs = ctx.w.shape[0]
    dy = check.gradient("linear_backward", "dy", dy, ctx.w, (*ctx.shape[:-1], outputs))
    matrix = dy.reshape(ctx.x.shape[0], outputs)
    compute = backend()
    if ctx.y is not None:
        matrix = compute.relu_backward(matrix, ctx.y)
    dx: Array | None = compute.gemm(matrix, ctx.w).reshape(ctx.shape) if needs_dx else None
    dw: Array = compute.gemm(matrix.T, ctx.x, out=into[1])
    db: Array | None = compute.bias_backward(matrix, into[2]) if ctx.has_bias else None
    return dx, dw, db
