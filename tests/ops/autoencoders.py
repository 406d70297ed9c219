"""The ops of autoencoders: their cases, and their definitions in float64 by plain loops.

Definitions take and return what those of `oracle.py` do.
"""

import math

import numpy as np

from lamina import ops
from tests.ops.grid import both, chosen, pool_grid, sides


# k-sparse codes ---------------------------------------------------------------------------------------
def _support(x, k):
    """The k greatest of each row by rising unit; of equals, the lower units."""
    chosen = [sorted(sorted(range(len(row)), key=lambda i, row=row: (-row[i], i))[:k]) for row in x]
    return np.array(chosen, np.int64).reshape(-1, k)


def _places(units):
    """(m, j, unit) of each value of a code."""
    return [(m, j, unit) for m, row in enumerate(units) for j, unit in enumerate(row)]


def k_sparse(arrays, k):
    x = arrays["x"]
    y = np.zeros(x.shape)
    for m, _, unit in _places(_support(x, k)):
        y[m, unit] = x[m, unit]
    return (y,)


def k_sparse_backward(dys, arrays, k):
    dx = np.zeros(arrays["x"].shape)
    for m, _, unit in _places(_support(arrays["x"], k)):
        dx[m, unit] = dys[0][m, unit]
    return {"x": dx}


def k_sparse_linear(arrays, k):
    z = arrays["x"] @ arrays["w"].T + arrays.get("b", 0)
    units = _support(z, k)
    return np.take_along_axis(z, units, 1), units


def k_sparse_linear_backward(dys, arrays, k):
    x, w = arrays["x"], arrays["w"]
    dz = np.zeros((len(x), len(w)))
    for m, j, unit in _places(k_sparse_linear(arrays, k)[1]):
        dz[m, unit] = dys[0][m, j]
    return {"x": dz @ w, "w": dz.T @ x} | ({"b": dz.sum(axis=0)} if "b" in arrays else {})


def sparse_linear(arrays):
    values, w = arrays["values"], arrays["w"]
    y = np.zeros((len(values), w.shape[1])) + arrays.get("b", 0)
    for m, j, unit in _places(arrays["units"]):
        y[m] += values[m, j] * w[unit]
    return (y,)


def sparse_linear_backward(dys, arrays):
    values, w, dy = arrays["values"], arrays["w"], dys[0]
    dvalues, dw = np.zeros(values.shape), np.zeros(w.shape)
    for m, j, unit in _places(arrays["units"]):
        dvalues[m, j] = dy[m] @ w[unit]
        dw[unit] += values[m, j] * dy[m]
    return {"values": dvalues, "w": dw} | ({"b": dy.sum(axis=0)} if "b" in arrays else {})


def _decoder(arrays, values, units):
    return {"values": values, "units": units, "w": arrays["w"], "b": arrays["c"]}


def tied_k_sparse(arrays, k):
    values, units = k_sparse_linear(arrays, k)
    return sparse_linear(_decoder(arrays, values, units))[0], values, units


def tied_k_sparse_backward(dys, arrays, k):
    decoded = sparse_linear_backward(dys[:1], _decoder(arrays, *k_sparse_linear(arrays, k)))
    encoded = k_sparse_linear_backward((decoded["values"] + dys[1],), arrays, k)
    return encoded | {"w": encoded["w"] + decoded["w"], "c": decoded["b"]}


# images -----------------------------------------------------------------------------------------------
def _seen(out, size, factor, mode):
    """The pixels of an axis that an output sees, with their weights."""
    if mode == "nearest":
        return [(out // factor, 1.0)]
    place = max((out + 0.5) / factor - 0.5, 0)
    low = math.floor(place)
    return [(low, 1 - (place - low)), (min(low + 1, size - 1), place - low)]


def _looks(arrays, scale_factor, mode):
    """(oh, ow, h, w, weight): what each output sees."""
    (fh, fw), (height, width) = both(scale_factor), arrays["x"].shape[1:3]
    for oh, ow in np.ndindex(height * fh, width * fw):
        for h, of_row in _seen(oh, height, fh, mode):
            for w, of_column in _seen(ow, width, fw, mode):
                yield oh, ow, h, w, of_row * of_column


def upsample2d(arrays, scale_factor, mode="nearest"):
    x, (fh, fw) = arrays["x"], both(scale_factor)
    y = np.zeros((len(x), x.shape[1] * fh, x.shape[2] * fw, x.shape[3]))
    for oh, ow, h, w, weight in _looks(arrays, scale_factor, mode):
        y[:, oh, ow] += weight * x[:, h, w]
    return (y,)


def upsample2d_backward(dys, arrays, scale_factor, mode="nearest"):
    dx = np.zeros(arrays["x"].shape)
    for oh, ow, h, w, weight in _looks(arrays, scale_factor, mode):
        dx[:, h, w] += weight * dys[0][:, oh, ow]
    return {"x": dx}


def unpool(x, pooled, **options):
    """`ops.max_unpool2d` with the switches of `pooled`, an image before max pooling."""
    return ops.max_unpool2d(x, ops.max_pool2d(pooled, **options)[1])


def _switches(arrays, options):
    return chosen(arrays["pooled"], pool_grid({"x": arrays["pooled"]}, **options))


def max_unpool2d(arrays, **options):
    y = np.zeros(arrays["pooled"].shape)
    for place, (ih, iw) in _switches(arrays, options):
        y[place[0], ih, iw, place[3]] += arrays["x"][place]
    return (y,)


def max_unpool2d_backward(dys, arrays, **options):
    dx = np.zeros(arrays["x"].shape)
    for place, (ih, iw) in _switches(arrays, options):
        dx[place] = dys[0][place[0], ih, iw, place[3]]
    return {"x": dx}


def transposed_size(size, kernel, stride=1, padding=0, output_padding=0, dilation=1, **_):
    """-> (OH, OW), [(top, bottom), (left, right)]."""
    stride, dilation, more = both(stride), both(dilation), both(output_padding)
    if padding == "same":
        output = tuple(n * s for n, s in zip(size, stride, strict=True))
        return output, sides(padding, output, kernel, stride, dilation)
    around = sides(padding, size, kernel, stride, dilation)
    return tuple(
        (size[i] - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1 + more[i] - sum(around[i])
        for i in range(2)
    ), around


def _laid(arrays, groups=1, stride=1, dilation=1, **options):
    """(pixel, tap, output pixel, channels of x, channels of y) for each tap that falls into the output."""
    x, w = arrays["x"], arrays["w"]
    size, around = transposed_size(x.shape[1:3], w.shape[1:3], stride, dilation=dilation, **options)
    (sh, sw), (dh, dw) = both(stride), both(dilation)
    c, o = w.shape[0] // groups, w.shape[3]
    for h, v, kh, kw in np.ndindex(*x.shape[1:3], *w.shape[1:3]):
        oh, ow = h * sh + kh * dh - around[0][0], v * sw + kw * dw - around[1][0]
        if 0 <= oh < size[0] and 0 <= ow < size[1]:
            for g in range(groups):
                yield (h, v), (kh, kw), (oh, ow), slice(g * c, (g + 1) * c), slice(g * o, (g + 1) * o)


def conv_transpose2d(arrays, groups=1, relu=False, **options):
    x, w = arrays["x"], arrays["w"]
    size, _ = transposed_size(x.shape[1:3], w.shape[1:3], **options)
    y = np.zeros((len(x), *size, w.shape[3] * groups)) + arrays.get("b", 0)
    for (h, v), (kh, kw), (oh, ow), c, o in _laid(arrays, groups, **options):
        y[:, oh, ow, o] += x[:, h, v, c] @ w[c, kh, kw]
    return (np.maximum(y, 0) if relu else y,)


def conv_transpose2d_backward(dys, arrays, groups=1, relu=False, **options):
    x, w, dy = arrays["x"], arrays["w"], dys[0]
    if relu:
        dy = np.where(conv_transpose2d(arrays, groups, **options)[0] > 0, dy, 0)
    dx, dw = np.zeros(x.shape), np.zeros(w.shape)
    for (h, v), (kh, kw), (oh, ow), c, o in _laid(arrays, groups, **options):
        dx[:, h, v, c] += dy[:, oh, ow, o] @ w[c, kh, kw].T
        dw[c, kh, kw] += x[:, h, v, c].T @ dy[:, oh, ow, o]
    return {"x": dx, "w": dw} | ({"b": dy.sum(axis=(0, 1, 2))} if "b" in arrays else {})


# cases: name, shapes, options, variant -------------------------------------------------------------------
_CODES = [
    (1, 1, 1, 1),
    (3, 150, 30, 4),
    (3, 4, 7, 3),
    (4, 17, 9, 9),
    (2, 3, 70, 5),
    (20, 33, 24, 6),
    (0, 3, 5, 2),
]
K_SPARSE = [
    (f"{m}x{n}k{k}", {"x": (m, n)}, {"k": k})
    for m, n, k in [(1, 1, 1), (3, 7, 1), (3, 7, 3), (4, 17, 17), (3, 100, 30), (19, 33, 9), (0, 5, 2)]
]
K_SPARSE_LINEAR = [
    (f"{m}x{d}x{n}k{k}", {"x": (m, d), "w": (n, d), "b": (n,)}, {"k": k}) for m, d, n, k in _CODES
] + [("no_bias", {"x": (5, 6), "w": (11, 6)}, {"k": 4})]
SPARSE_LINEAR = [
    (f"{m}x{d}x{n}k{k}", {"values": (m, k), "units": (m, k), "w": (n, d), "b": (d,)}, {})
    for m, d, n, k in [*_CODES, (3, 150, 6, 4), (5, 3, 2, 7)]
] + [("no_bias", {"values": (5, 4), "units": (5, 4), "w": (11, 6)}, {})]
TIED_K_SPARSE = [
    (f"{m}x{d}x{n}k{k}", {"x": (m, d), "w": (n, d), "b": (n,), "c": (d,)}, {"k": k}) for m, d, n, k in _CODES
]
UPSAMPLE2D = [
    (f"{mode}_{name}", {"x": x}, {"scale_factor": factor, "mode": mode})
    for mode in ("nearest", "bilinear")
    for name, x, factor in [
        ("2", (2, 3, 4, 3), 2),
        ("pair", (2, 4, 3, 5), (1, 2)),
        ("3", (1, 4, 3, 2), 3),
        ("4x2", (1, 3, 2, 19), (4, 2)),
        ("one_pixel", (2, 1, 1, 3), (2, 4)),
        ("1", (2, 3, 2, 4), 1),
        ("wide", (1, 2, 3, 70), 2),
        ("empty_batch", (0, 3, 4, 2), 2),
    ]
]
MAX_UNPOOL2D = [
    (name, {"x": (*x[:1], *output, *x[3:]), "pooled": x}, {"kernel_size": kernel} | options)
    for name, x, output, kernel, options in [
        ("small", (1, 4, 6, 2), (2, 3), 2, {}),
        ("small_overlapping", (2, 3, 4, 2), (2, 3), 2, {"stride": 1}),
        ("2x2", (2, 6, 8, 3), (3, 4), 2, {}),
        ("2x2_rest", (2, 7, 5, 3), (3, 2), 2, {}),
        ("2x2_wide", (2, 4, 6, 37), (2, 3), 2, {}),
        ("overlapping", (2, 6, 7, 4), (4, 5), 3, {"stride": 1}),
        ("overlapping_pad", (2, 6, 7, 17), (6, 7), 3, {"stride": 1, "padding": 1}),
        ("stride_over_kernel", (2, 9, 8, 3), (3, 2), 2, {"stride": (3, 4)}),
        ("pad_sides", (2, 7, 8, 3), (3, 3), 4, {"stride": 2, "padding": ((0, 2), (1, 0))}),
        ("same", (2, 7, 8, 3), (4, 4), 3, {"stride": 2, "padding": "same"}),
        ("ceil", (2, 6, 8, 3), (3, 4), 3, {"stride": 2, "ceil_mode": True}),
        ("17x16", (1, 18, 16, 2), (2, 1), (17, 16), {"stride": 1}),
        ("empty_batch", (0, 6, 8, 3), (3, 4), 2, {}),
    ]
]
_TRANSPOSED = [
    ("small", (1, 2, 3, 2), 3, (2, 2), {"stride": 2}),
    ("small_groups", (1, 2, 2, 4), 4, (2, 2), {"groups": 2}),
    ("small_padded", (1, 3, 3, 2), 2, (3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    ("plain", (2, 4, 5, 3), 4, (3, 3), {}),
    ("no_bias", (2, 4, 5, 3), 4, (3, 3), {}),
    ("pad", (2, 5, 4, 4), 8, (3, 3), {"padding": 1}),
    ("1x1", (2, 5, 4, 8), 6, (1, 1), {}),
    ("2x2", (2, 4, 3, 3), 4, (2, 2), {"stride": 2}),
    ("stride", (2, 4, 5, 4), 4, (3, 3), {"stride": 2, "padding": 1}),
    ("output_padding", (2, 4, 5, 4), 4, (3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    ("output_padding_pair", (2, 3, 4, 3), 2, (3, 2), {"stride": (2, 3), "output_padding": (0, 2)}),
    ("stride_over_kernel", (2, 3, 4, 3), 4, (2, 2), {"stride": (3, 4), "output_padding": (2, 1)}),
    ("pad_pair", (2, 4, 5, 3), 4, (3, 4), {"padding": (1, 2)}),
    ("pad_sides", (2, 4, 5, 3), 4, (3, 3), {"padding": ((0, 1), (2, 0))}),
    ("same", (2, 5, 4, 3), 4, (3, 3), {"padding": "same"}),
    ("same_stride", (2, 4, 3, 3), 4, (3, 2), {"stride": (2, 3), "padding": "same"}),
    ("same_stride_over_kernel", (2, 3, 4, 3), 4, (2, 2), {"stride": 3, "padding": "same"}),
    ("same_dilated", (2, 5, 4, 3), 4, (3, 2), {"dilation": 2, "padding": "same"}),
    ("valid", (2, 4, 5, 3), 4, (3, 3), {"padding": "valid"}),
    ("dilation", (2, 4, 3, 3), 4, (3, 2), {"dilation": (2, 3), "stride": (2, 1), "padding": (1, 2)}),
    ("groups", (2, 4, 5, 4), 6, (3, 3), {"groups": 2, "padding": 1}),
    ("groups_odd", (2, 3, 4, 6), 9, (3, 2), {"groups": 3, "stride": 2}),
    ("depthwise", (2, 4, 4, 5), 5, (3, 3), {"groups": 5, "padding": 1}),
    ("depthwise_twice", (2, 4, 4, 3), 6, (3, 3), {"groups": 3, "stride": 2}),
    ("one_pixel", (3, 1, 1, 7), 6, (4, 5), {}),
    ("channels_1", (2, 5, 5, 16), 1, (3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    ("channels_17", (1, 4, 5, 17), 33, (3, 3), {"padding": 1}),
    ("channels_32", (1, 4, 5, 32), 16, (3, 3), {"stride": 2, "padding": "same"}),
    ("relu", (2, 4, 5, 3), 4, (3, 3), {"padding": 1, "relu": True}),
    ("relu_no_bias", (2, 4, 5, 4), 20, (3, 3), {"stride": 2, "padding": 1, "relu": True}),
    ("relu_stride_over_kernel", (2, 3, 4, 3), 4, (2, 2), {"stride": 3, "padding": "same", "relu": True}),
    ("relu_groups", (2, 3, 4, 6), 9, (3, 2), {"groups": 3, "stride": 2, "relu": True}),
    ("relu_depthwise", (2, 4, 4, 5), 5, (3, 3), {"groups": 5, "padding": 1, "relu": True}),
    ("relu_channels_1", (2, 5, 5, 16), 1, (3, 3), {"stride": 2, "padding": 1, "relu": True}),
    ("empty_batch", (0, 4, 5, 3), 4, (3, 3), {}),
]
CONV_TRANSPOSE2D = [
    (
        name,
        {"x": x, "w": (x[3], *kernel, o // options.get("groups", 1))}
        | ({} if "no_bias" in name else {"b": (o,)}),
        options | ({"algorithm": algorithm} if algorithm else {}),
        algorithm,
    )
    for name, x, o, kernel, options in _TRANSPOSED
    for algorithm in ("", "im2col", "direct")
]

CASES = {
    "k_sparse": K_SPARSE,
    "k_sparse_linear": K_SPARSE_LINEAR,
    "sparse_linear": SPARSE_LINEAR,
    "tied_k_sparse": TIED_K_SPARSE,
    "upsample2d": UPSAMPLE2D,
    "max_unpool2d": MAX_UNPOOL2D,
    "conv_transpose2d": CONV_TRANSPOSE2D,
}
DEFINITIONS = {name: globals()[name] for op in CASES for name in (op, f"{op}_backward")}
