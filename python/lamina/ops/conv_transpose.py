"""Transposed convolution (Zeiler et al. 2010): the map from dy to dx of a convolution, as a layer."""

from typing import Any, NamedTuple

from lamina.config import backend, conv_algorithm
from lamina.ops import _check as check
from lamina.ops import _windows as windows
from lamina.ops._check import Array, Pair, Sides


class ConvTranspose2dContext(NamedTuple):
    """What `conv_transpose2d_backward` needs."""

    x: Array
    w: Array
    has_bias: bool
    output: tuple[int, int, int, int]
    options: tuple[Pair, Sides, Pair, int, str]  # stride, padding, dilation, groups, algorithm
    y: Array | None  # after relu, which lets pass where y > 0; None without


def conv_transpose2d(
    x: Any,
    w: Any,
    b: Any = None,
    *,
    stride: int | Pair = 1,
    padding: int | Pair | tuple[Pair, Pair] | str = 0,
    output_padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
    algorithm: str = "auto",
    relu: bool = False,
) -> tuple[Array, ConvTranspose2dContext]:
    """Each pixel of x lays its multiple of the filters into y; where they overlap they add up.

    x (N,H,W,C), w (C,KH,KW,O/groups), b (O,) or None -> y (N,OH,OW,O), where for padding P on each side OH =
    (H - 1) stride - 2P + dilation (KH - 1) + 1 + output_padding: what conv2d with the same options and this w
    takes an image of, back to its size. Several sizes of images give one H where a stride leaves a rest;
    output_padding, less than the stride, says which. padding "same" gives OH = H stride, "valid" is 0. The
    other options are conv2d's.

    Raises ValueError for shapes and values that do not fit, TypeError for arrays not of one float dtype.
    """
    op = "conv_transpose2d"
    x, w, *rest = check.floats(op, x=x, w=w, **({} if b is None else {"b": b}))
    check.ndim(op, "x", x, "NHWC")
    check.ndim(op, "w", w, "CHWO")
    check.not_empty(op, "x", x, "NHWC")
    check.not_empty(op, "w", w, "CHWO")
    groups = _check_channels(op, x, w, groups)
    for bias in rest:
        check.shape(op, "b", bias, (w.shape[3] * groups,), "one per channel of y")
    stride, dilation = check.pair(op, "stride", stride, 1), check.pair(op, "dilation", dilation, 1)
    more = windows.output_padding(op, output_padding, stride, padding)
    check.choice(op, "algorithm", algorithm, ("auto", "im2col", "direct"))
    size, sides = _output_size(op, x.shape[1:3], w.shape[1:3], stride, padding, more, dilation)
    output = (x.shape[0], *size, w.shape[3] * groups)
    windows.require_possible(op, output, x.itemsize)
    options = (stride, sides, dilation, groups, conv_algorithm(algorithm))
    relu = check.flag(op, "relu", relu)
    y: Array = backend().conv2d_backward_input(x, w, size, *options, (*rest, None)[0], relu)
    return y, ConvTranspose2dContext(x, w, bool(rest), output, options, y if relu else None)


def conv_transpose2d_backward(
    dy: Any, ctx: ConvTranspose2dContext, needs_dx: bool = True
) -> tuple[Array | None, Array, Array | None]:
    """dy (N,OH,OW,O) -> dx (N,H,W,C) or None if not needed, dw (C,KH,KW,O/groups), db (O,) or None."""
    x, w = ctx.x, ctx.w
    dy = check.gradient("conv_transpose2d_backward", "dy", dy, w, ctx.output)
    compute = backend()
    if ctx.y is not None:
        dy = compute.relu_backward(dy, ctx.y)
    dx: Array | None = compute.conv2d(dy, w, None, *ctx.options) if needs_dx else None
    dw: Array
    dw, _ = compute.conv2d_backward_weight(x, dy, w.shape[1:3], *ctx.options)
    db: Array | None = compute.bias_backward(dy.reshape(-1, dy.shape[3])) if ctx.has_bias else None
    return dx, dw, db


def _output_size(
    op: str, size: Pair, kernel: Pair, stride: Pair, padding: Any, more: Pair, dilation: Pair
) -> tuple[Pair, Sides]:
    """(OH, OW), and the padding as top, bottom, left, right."""
    if padding == "same":
        found = size[0] * stride[0], size[1] * stride[1]
        return found, windows.same_padding(found, kernel, stride, dilation)
    sides = windows.padding(op, padding, size, kernel, stride, dilation)
    extent = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    heights = [(n - 1) * s + e + m for n, s, e, m in zip(size, stride, extent, more, strict=True)]
    oh, ow = heights[0] - sides[0] - sides[1], heights[1] - sides[2] - sides[3]
    if oh < 1 or ow < 1:
        raise ValueError(
            f"{op}: padding {padding!r} leaves nothing of the {heights[0]} x {heights[1]} pixels that the "
            f"kernel {kernel[0]} x {kernel[1]} makes of {size[0]} x {size[1]} (H x W)"
        )
    return (oh, ow), sides


def _check_channels(op: str, x: Array, w: Array, value: Any) -> int:
    groups = check.integer(op, "groups", value, 1)
    channels = x.shape[3]
    if w.shape[0] != channels:
        raise ValueError(
            f"{op}: x has {channels} channels {check.shown(x.shape, 'NHWC')} but w expects {w.shape[0]} "
            f"{check.shown(w.shape, 'CHWO')}"
        )
    if channels % groups:
        raise ValueError(f"{op}: groups = {groups} must divide the {channels} channels of x")
    return groups
