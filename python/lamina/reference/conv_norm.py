"""A convolution and the batch normalisation behind it: here one after the other."""

from lamina.reference._types import Array, Pair, Sides
from lamina.reference.conv import conv2d, conv2d_backward_input, conv2d_backward_weight
from lamina.reference.norm import batch_norm, batch_norm_backward, column_moments


def conv2d_norm(
    x: Array,
    w: Array,
    b: Array | None,
    mean: Array,
    scale: Array,
    shift: Array,
    relu: bool,
    stride: Pair,
    padding: Sides,
    dilation: Pair,
    groups: int,
    algorithm: str = "auto",
) -> Array:
    """batch_norm of what conv2d makes -> (N,OH,OW,O)."""
    y = conv2d(x, w, b, stride, padding, dilation, groups, algorithm)
    return batch_norm(y.reshape(-1, y.shape[3]), mean, scale, shift, relu).reshape(y.shape)


def conv2d_moments(
    x: Array,
    w: Array,
    b: Array | None,
    stride: Pair,
    padding: Sides,
    dilation: Pair,
    groups: int,
    algorithm: str = "auto",
) -> tuple[Array, Array, Array]:
    """What conv2d makes, (N,OH,OW,O), and the mean and biased variance of each channel, (O,)."""
    if not len(x):
        raise ValueError("conv2d_moments: x has no images")
    y = conv2d(x, w, b, stride, padding, dilation, groups, algorithm)
    return y, *column_moments(y.reshape(-1, y.shape[3]))


def conv2d_norm_backward(
    dy: Array,
    y: Array,
    mean: Array,
    inv: Array,
    scale: Array,
    shift: Array,
    relu: bool,
    x: Array,
    w: Array,
    stride: Pair,
    padding: Sides,
    dilation: Pair,
    groups: int,
    algorithm: str = "auto",
    needs_dx: bool = True,
    dw: Array | None = None,
    db: Array | None = None,
    dgamma: Array | None = None,
    dbeta: Array | None = None,
) -> tuple[Array | None, Array, Array, Array, Array]:
    """dy and y (N,OH,OW,O), of the normalisation (O,) each -> dx or None, dw, db, dgamma, dbeta."""
    if not len(x):
        raise ValueError("conv2d_norm_backward: x has no images")
    rows, options = (-1, dy.shape[3]), (stride, padding, dilation, groups, algorithm)
    d, dgamma, dbeta = batch_norm_backward(
        dy.reshape(rows), y.reshape(rows), mean, inv, scale, shift, relu, False, dgamma, dbeta
    )
    d = d.reshape(dy.shape)
    height, width = x.shape[1:3]
    dx = conv2d_backward_input(d, w, (height, width), *options) if needs_dx else None
    kernel = (w.shape[1], w.shape[2])
    return dx, *conv2d_backward_weight(d, x, kernel, *options, dw, db), dgamma, dbeta
