"""Two-dimensional convolution (LeCun et al. 1989): the kernel is not flipped, as in every such library."""

from typing import Any, NamedTuple

from lamina.config import backend, conv_algorithm
from lamina.ops import _check as check
from lamina.ops import _windows as windows
from lamina.ops._check import Array, Pair, Sides
from lamina.ops._into import NOWHERE, Into, fills

_WINOGRAD = {"winograd2": ((3, 3), (5, 5)), "winograd4": ((3, 3),)}  # the filters that they are for
_ALGORITHMS = ("auto", "im2col", "direct", *_WINOGRAD)


class Conv2dContext(NamedTuple):
    """What `conv2d_backward` needs."""

    x: Array
    w: Array
    has_bias: bool
    output: tuple[int, int, int, int]
    stride: Pair
    padding: Sides
    dilation: Pair
    groups: int
    algorithm: str
    y: Array | None = None  # after relu, which lets pass where y > 0; None without

    @property
    def options(self) -> tuple[Any, ...]:
        """Of the kernels."""
        return self.stride, self.padding, self.dilation, self.groups, self.algorithm


def conv2d(
    x: Any,
    w: Any,
    b: Any = None,
    *,
    stride: int | Pair = 1,
    padding: int | Pair | tuple[Pair, Pair] | str = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
    algorithm: str = "auto",
    fit: str = "floor",
    relu: bool = False,
) -> tuple[Array, Conv2dContext]:
    """Slide the O filters of w over x.

    x (N,H,W,C), w (O,KH,KW,C/groups), b (O,) or None -> y (N,OH,OW,O), where for zero padding P on each side
    OH = floor((H - dilation (KH - 1) - 1 + 2P)/stride) + 1. Pairs are (vertical, horizontal).

    padding: an int, a pair, two pairs ((top, bottom), (left, right)), "valid" (none) or "same"
    (TensorFlow's rule: OH = ceil(H/stride), an odd rest goes below and right). groups: group g of the
    filters sees only group g of the channels. algorithm: "im2col" and "direct" compute the same by
    different kernels; "winograd2" and "winograd4" take Winograd's tiles of 2x2 or 4x4 outputs, which round
    more, for filters of 3x3 ("winograd2" also 5x5) and stride, dilation and groups 1; "auto" chooses
    (`lamina.set_conv_precision`). fit: "floor" ignores rows and columns that a stride leaves over; "exact"
    refuses such a stride. relu: max(y, 0) in the same pass over memory; leave y unchanged until backward
    then.

    Raises ValueError for shapes and values that do not fit, TypeError for arrays not of one float dtype.
    """
    relu = check.flag("conv2d", "relu", relu)
    x, w, b, ctx = prepare(x, w, b, stride, padding, dilation, groups, algorithm, fit)
    y: Array = backend().conv2d(x, w, b, *ctx.options, relu)
    return y, ctx._replace(y=y if relu else None)


def prepare(
    x: Any,
    w: Any,
    b: Any = None,
    stride: int | Pair = 1,
    padding: int | Pair | tuple[Pair, Pair] | str = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
    algorithm: str = "auto",
    fit: str = "floor",
) -> tuple[Array, Array, Array | None, Conv2dContext]:
    """The arguments of `conv2d` after its checks -> x, w, b, and the context without y."""
    x, w, b = _check_arrays(x, w, b)
    groups = _check_channels(x, w, groups)
    stride = check.pair("conv2d", "stride", stride, 1)
    dilation = check.pair("conv2d", "dilation", dilation, 1)
    size, kernel = x.shape[1:3], w.shape[1:3]
    algorithm = _chosen(algorithm, kernel, stride, dilation, groups)
    sides = windows.padding("conv2d", padding, size, kernel, stride, dilation)
    oh, ow = windows.output_size("conv2d", size, kernel, stride, sides, dilation)
    if check.choice("conv2d", "fit", fit, ("floor", "exact")) == "exact" and padding != "same":
        windows.require_fit("conv2d", size, kernel, stride, sides, dilation)
    output = (x.shape[0], oh, ow, w.shape[0])
    windows.require_possible("conv2d", output, x.itemsize)
    return x, w, b, Conv2dContext(x, w, b is not None, output, stride, sides, dilation, groups, algorithm)


@fills
def conv2d_backward(
    dy: Any, ctx: Conv2dContext, needs_dx: bool = True, into: Into = NOWHERE
) -> tuple[Array | None, Array, Array | None]:
    """dy (N,OH,OW,O) -> dx (N,H,W,C) or None if not needed, dw (O,KH,KW,C/groups), db (O,) or None.

    into: arrays for the gradients of x, w and b; None for new ones, as always for x.
    """
    x, w = ctx.x, ctx.w
    dy = check.gradient("conv2d_backward", "dy", dy, w, ctx.output)
    options, compute = ctx.options, backend()
    if ctx.y is not None:
        dy = compute.relu_backward(dy, ctx.y)
    dx: Array | None = None
    if needs_dx:
        dx = compute.conv2d_backward_input(dy, w, x.shape[1:3], *options)
    dw: Array
    db: Array
    dw, db = compute.conv2d_backward_weight(dy, x, w.shape[1:3], *options, into[1], into[2])
    return dx, dw, db if ctx.has_bias else None


def _check_arrays(x: Any, w: Any, b: Any) -> tuple[Array, Array, Array | None]:
    if b is None:
        x, w = check.floats("conv2d", x=x, w=w)
    else:
        x, w, b = check.floats("conv2d", x=x, w=w, b=b)
    check.ndim("conv2d", "x", x, "NHWC")
    check.ndim("conv2d", "w", w, "OHWI")
    check.not_empty("conv2d", "x", x, "NHWC")
    check.not_empty("conv2d", "w", w, "OHWI")
    if b is not None:
        check.shape("conv2d", "b", b, w.shape[:1], "one per filter of w")
    return x, w, b


def _chosen(algorithm: str, kernel: Pair, stride: Pair, dilation: Pair, groups: int) -> str:
    check.choice("conv2d", "algorithm", algorithm, _ALGORITHMS)
    plain = (*stride, *dilation, groups) == (1, 1, 1, 1, 1)
    sizes = _WINOGRAD.get(algorithm)
    if sizes and not (plain and kernel in sizes):
        needed = " or ".join(f"{height} x {width}" for height, width in sizes)
        raise ValueError(
            f"conv2d: algorithm {algorithm!r} needs {needed} filters, stride 1, dilation 1 and groups 1, got "
            f"{kernel[0]} x {kernel[1]}, stride {stride}, dilation {dilation} and groups {groups}"
        )
    return conv_algorithm(algorithm)


def _check_channels(x: Array, w: Array, value: Any) -> int:
    groups = check.integer("conv2d", "groups", value, 1)
    channels, filters = x.shape[3], w.shape[0]
    if channels % groups or filters % groups:
        raise ValueError(
            f"conv2d: groups = {groups} must divide the {channels} channels of x "
            f"{check.shown(x.shape, 'NHWC')} and the {filters} filters of w {check.shown(w.shape, 'OHWI')}"
        )
    if w.shape[3] * groups != channels:
        times = f" x {groups} groups" if groups > 1 else ""
        raise ValueError(
            f"conv2d: x has {channels} channels {check.shown(x.shape, 'NHWC')} but w expects "
            f"{w.shape[3]}{times} {check.shown(w.shape, 'OHWI')}"
        )
    return groups
