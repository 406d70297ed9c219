"""Two-dimensional convolution as one matrix product over the windows of the padded image (im2col).

x (N,H,W,C), w (O,KH,KW,C/groups), b (O,), y (N,OH,OW,O). As in every deep-learning library the kernel is not
flipped. `algorithm` chooses among compiled kernels; here all its values compute the same.
"""

import numpy as np

from lamina.reference import _depthwise as depthwise
from lamina.reference import activations
from lamina.reference._types import Array, Pair, Sides, put
from lamina.reference._windows import crop, output_size, pad, padded_size, taps, windows

_ALGORITHMS = ("auto", "fast", "im2col", "direct", "winograd2", "winograd4")


def _check_algorithm(algorithm: str) -> None:
    if algorithm not in _ALGORITHMS:
        raise ValueError(f"unknown algorithm {algorithm!r}: expected one of {_ALGORITHMS}")


def _columns(x: Array, kernel_size: Pair, stride: Pair, padding: Sides, dilation: Pair, groups: int) -> Array:
    """The windows of x as a matrix per group, (groups, N*OH*OW, KH*KW*C/groups)."""
    view = windows(pad(x, padding), kernel_size, stride, dilation)
    n, oh, ow, kh, kw, c = view.shape
    split = view.reshape(n, oh, ow, kh, kw, groups, c // groups) if groups > 1 else view[..., None, :]
    return np.moveaxis(split, 5, 0).reshape(groups, n * oh * ow, kh * kw * (c // groups))


def _by_group(y: Array, groups: int) -> Array:
    """(N,OH,OW,O) -> (groups, N*OH*OW, O/groups)."""
    o = y.shape[3]
    return np.moveaxis(y.reshape(y.size // o, groups, o // groups), 1, 0)


def conv2d(
    x: Array,
    w: Array,
    b: Array | None,
    stride: Pair,
    padding: Sides,
    dilation: Pair,
    groups: int,
    algorithm: str = "auto",
    relu: bool = False,
) -> Array:
    """Correlate x with the O filters of w and add b -> y (N,OH,OW,O); with relu, max(y, 0)."""
    _check_algorithm(algorithm)
    o, kh, kw, _ = w.shape
    oh, ow = output_size(padded_size(x.shape[1:3], padding), (kh, kw), stride, dilation)
    if depthwise.is_depthwise(w.shape, groups):
        y = depthwise.forward(x, w, (oh, ow), stride, padding, dilation)
    else:
        columns = _columns(x, (kh, kw), stride, padding, dilation, groups)
        weight = w.reshape(groups, o // groups, columns.shape[2])
        y = np.empty((x.shape[0], oh, ow, o), x.dtype)
        np.matmul(columns, weight.transpose(0, 2, 1), out=_by_group(y, groups))
    if b is not None:
        y += b
    return activations.relu(y) if relu else y


def conv2d_backward_input(
    dy: Array,
    w: Array,
    input_size: Pair,
    stride: Pair,
    padding: Sides,
    dilation: Pair,
    groups: int,
    algorithm: str = "auto",
    b: Array | None = None,
    relu: bool = False,
) -> Array:
    """dy (N,OH,OW,O) -> dx (N,H,W,C): the gradient of every window, added where the windows lay (col2im).

    b and relu: as of conv2d, for a transposed convolution, which is this forward.
    """
    _check_algorithm(algorithm)
    dx = _backward_input(dy, w, input_size, stride, padding, dilation, groups)
    if b is not None:
        dx += np.tile(b, (*dx.shape[1:3], 1))  # a whole image at a time: NumPy is slow along few channels
    return activations.relu(dx) if relu else dx


def _backward_input(
    dy: Array, w: Array, input_size: Pair, stride: Pair, padding: Sides, dilation: Pair, groups: int
) -> Array:
    if depthwise.is_depthwise(w.shape, groups):
        return depthwise.backward_input(dy, w, input_size, stride, padding, dilation)
    (n, oh, ow, _), (o, kh, kw, c) = dy.shape, w.shape
    dx = np.zeros((n, *padded_size(input_size, padding), groups * c), dy.dtype)
    dy_matrix = _by_group(dy, groups)
    weight = w.reshape(groups, o // groups, kh, kw, c)
    for i, j, tap in taps((oh, ow), (kh, kw), stride, dilation):
        part = np.matmul(dy_matrix, weight[:, :, i, j])
        dx[tap] += np.moveaxis(part, 0, 1).reshape(n, oh, ow, groups * c)
    return crop(dx, input_size, padding)


def conv2d_backward_weight(
    dy: Array,
    x: Array,
    kernel_size: Pair,
    stride: Pair,
    padding: Sides,
    dilation: Pair,
    groups: int,
    algorithm: str = "auto",
    dw: Array | None = None,
    db: Array | None = None,
) -> tuple[Array, Array]:
    """dy (N,OH,OW,O) and x -> dw (O,KH,KW,C/groups), db (O,)."""
    _check_algorithm(algorithm)
    shape = (dy.shape[3], *kernel_size, x.shape[3] // groups)
    if depthwise.is_depthwise(shape, groups):
        found = depthwise.backward_weight(dy, x, kernel_size, stride, padding, dilation)
    else:
        columns = _columns(x, kernel_size, stride, padding, dilation, groups)
        found = np.matmul(_by_group(dy, groups).transpose(0, 2, 1), columns).reshape(shape)
    return put(found, dw), put(dy.sum(axis=(0, 1, 2)), db)
