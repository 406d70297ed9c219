"""Convolution with weights of their own at every place (unshared weights)."""

from typing import Any, NamedTuple

from lamina.config import backend
from lamina.ops import _check as check
from lamina.ops import _windows as windows
from lamina.ops._check import Array, Pair, Sides


class LocallyConnected2dContext(NamedTuple):
    """What `locally_connected2d_backward` needs."""

    x: Array
    w: Array
    has_bias: bool
    stride: Pair
    padding: Sides


def locally_connected2d(
    x: Any,
    w: Any,
    b: Any = None,
    *,
    stride: int | Pair = 1,
    padding: int | Pair | tuple[Pair, Pair] | str = 0,
) -> tuple[Array, LocallyConnected2dContext]:
    """`conv2d` whose filters are not shared: x (N,H,W,C), w (OH,OW,O,KH,KW,C), b (OH,OW,O) -> y (N,OH,OW,O).

    stride and padding as of `conv2d`. Raises ValueError for shapes that do not fit, TypeError for other than
    float32 or float64.
    """
    op = "locally_connected2d"
    x, w, *rest = check.floats(op, x=x, w=w, **({} if b is None else {"b": b}))
    check.ndim(op, "x", x, "NHWC")
    check.not_empty(op, "x", x, "NHWC")
    if w.ndim != 6 or 0 in w.shape:
        raise ValueError(f"{op}: w must have 6 axes, (OH, OW, O, KH, KW, C), none empty, got {w.shape}")
    size, kernel = (x.shape[1], x.shape[2]), (w.shape[3], w.shape[4])
    step = check.pair(op, "stride", stride, 1)
    around = windows.padding(op, padding, size, kernel, step)
    output = windows.output_size(op, size, kernel, step, around)
    expected = (*output, w.shape[2], *kernel, x.shape[3])
    check.shape(op, "w", w, expected, "(OH, OW, O, KH, KW, C) with the windows and channels of x")
    for bias in rest:
        check.shape(op, "b", bias, w.shape[:3], "(OH, OW, O) of w")
    y: Array = backend().locally_connected2d(x, w, rest[0] if rest else None, step, around)
    return y, LocallyConnected2dContext(x, w, bool(rest), step, around)


def locally_connected2d_backward(
    dy: Any, ctx: LocallyConnected2dContext, needs_dx: bool = True
) -> tuple[Array | None, Array, Array | None]:
    """dy (N,OH,OW,O) -> dx (N,H,W,C) or None where it is not needed, dw (OH,OW,O,KH,KW,C), db or None."""
    x, w, step, around = ctx.x, ctx.w, ctx.stride, ctx.padding
    dy = check.gradient("locally_connected2d_backward", "dy", dy, x, (len(x), *w.shape[:3]))
    dx: Array | None = None
    if needs_dx:
        size = (x.shape[1], x.shape[2])
        dx = backend().locally_connected2d_backward_input(dy, w, size, step, around)
    kernel = (w.shape[3], w.shape[4])
    dw: Array = backend().locally_connected2d_backward_weight(dy, x, kernel, step, around)
    outputs = w.shape[0] * w.shape[1] * w.shape[2]
    db: Array | None = None
    if ctx.has_bias:
        db = backend().bias_backward(dy.reshape(len(x), outputs)).reshape(w.shape[:3])
    return dx, dw, db
