"""The ops of convolutional networks: their cases, and their definitions in float64 by plain loops.

Definitions take and return what those of `oracle.py` do.
"""

import math

import numpy as np

from tests.ops.grid import Grid


# normalisations ---------------------------------------------------------------------------------------
def _scaled(xhat, arrays):
    return xhat * arrays.get("gamma", 1) + arrays.get("beta", 0)


def _parameters(d, xhat, arrays):
    axes = tuple(range(xhat.ndim - 1))
    sums = {"gamma": (d * xhat).sum(axis=axes), "beta": d.sum(axis=axes)}
    return {name: value for name, value in sums.items() if name in arrays}


def _normal(part, eps):
    return (part - part.mean()) / math.sqrt(part.var() + eps)


def _normal_backward(d, part, eps):
    """By the Jacobian of what was normalised: (1[i = j] - 1/n - xhat_i xhat_j/n) / sqrt(var + eps)."""
    xhat = _normal(part, eps)
    return (d - d.mean() - xhat * (xhat * d).mean()) / math.sqrt(part.var() + eps)


def _parts(op, shape, groups):
    """What is normalised together: index expressions into x."""
    if op == "batch_norm":
        return [(..., c) for c in range(shape[-1])]
    if op == "layer_norm":
        return list(np.ndindex(*shape[:-1]))
    width = shape[-1] // groups
    return [(n, ..., slice(g * width, (g + 1) * width)) for n in range(shape[0]) for g in range(groups)]


def hats(op, arrays, groups=1, eps=1e-5, **_):
    """What is left after normalising, before gamma and beta."""
    x = arrays["x"]
    if "mean" in arrays:
        return (x - arrays["mean"]) / np.sqrt(arrays["var"] + eps)
    xhat = np.zeros(x.shape)
    for part in _parts(op, x.shape, groups):
        xhat[part] = _normal(x[part], eps)
    return xhat


def _norm(op, arrays, groups=1, eps=1e-5, relu=False):
    y = _scaled(hats(op, arrays, groups, eps), arrays)
    return (np.maximum(y, 0) if relu else y,)


def _norm_backward(op, dys, arrays, groups=1, eps=1e-5, relu=False):
    x, xhat = arrays["x"], hats(op, arrays, groups, eps)
    dy = np.where(_scaled(xhat, arrays) > 0, dys[0], 0) if relu else dys[0]
    d = dy * arrays.get("gamma", 1)
    if "mean" in arrays:
        dx = d / np.sqrt(arrays["var"] + eps)
    else:
        dx = np.zeros(x.shape)
        for part in _parts(op, x.shape, groups):
            dx[part] = _normal_backward(d[part], x[part], eps)
    return {"x": dx} | _parameters(dy, xhat, arrays)


def batch_norm(arrays, **options):
    return _norm("batch_norm", arrays, **options)


def batch_norm_backward(dys, arrays, **options):
    return _norm_backward("batch_norm", dys, arrays, **options)


def group_norm(arrays, **options):
    return _norm("group_norm", arrays, **options)


def group_norm_backward(dys, arrays, **options):
    return _norm_backward("group_norm", dys, arrays, **options)


def layer_norm(arrays, **options):
    return _norm("layer_norm", arrays, **options)


def layer_norm_backward(dys, arrays, **options):
    return _norm_backward("layer_norm", dys, arrays, **options)


def balanced(rng, case):
    """Whole numbers of which every part has half above and half below a whole mean, by 1: variance 1."""
    x = np.zeros(case.shapes["x"])
    for part in _parts(case.op, x.shape, case.options.get("groups", 1)):
        signs = np.resize([-1.0, 1.0], x[part].size)
        x[part] = rng.integers(-3, 4) + rng.permutation(signs).reshape(x[part].shape)
    return x


def _divisors(x, size, alpha, k):
    d = np.full(x.shape, float(k))
    for c in range(x.shape[-1]):
        first, last = max(0, c - size // 2), min(x.shape[-1], c + size // 2 + 1)
        d[..., c] += alpha * (x[..., first:last] ** 2).sum(axis=-1)
    return d


def local_response_norm(arrays, size, alpha=1e-4, beta=0.75, k=2.0):
    x = arrays["x"]
    return (x / _divisors(x, size, alpha, k) ** beta,)


def local_response_norm_backward(dys, arrays, size, alpha=1e-4, beta=0.75, k=2.0):
    """By the slopes of every y of a row for every x: dy[c]/dx[j], windows being symmetric."""
    x, dy = arrays["x"], dys[0]
    d, dx = _divisors(x, size, alpha, k), np.zeros(x.shape)
    for c in range(x.shape[-1]):
        dx[..., c] += dy[..., c] / d[..., c] ** beta
        for j in range(max(0, c - size // 2), min(x.shape[-1], c + size // 2 + 1)):
            slope = -beta * x[..., c] / d[..., c] ** (beta + 1) * 2 * alpha * x[..., j]
            dx[..., j] += dy[..., c] * slope
    return {"x": dx}


# unshared weights -------------------------------------------------------------------------------------
def _grid(arrays, stride=1, padding=0):
    return Grid(arrays["x"].shape[1:3], arrays["w"].shape[3:5], stride, padding, 1)


def locally_connected2d(arrays, **options):
    x, w, grid = arrays["x"], arrays["w"], _grid(arrays, **options)
    y = np.zeros((len(x), *grid.output, w.shape[2])) + arrays.get("b", 0)
    for oh, ow in grid.windows():
        for kh, kw, ih, iw in grid.taps(oh, ow):
            y[:, oh, ow] += x[:, ih, iw] @ w[oh, ow, :, kh, kw].T
    return (y,)


def locally_connected2d_backward(dys, arrays, **options):
    x, w, dy, grid = arrays["x"], arrays["w"], dys[0], _grid(arrays, **options)
    dx, dw = np.zeros(x.shape), np.zeros(w.shape)
    for oh, ow in grid.windows():
        for kh, kw, ih, iw in grid.taps(oh, ow):
            dx[:, ih, iw] += dy[:, oh, ow] @ w[oh, ow, :, kh, kw]
            dw[oh, ow, :, kh, kw] += dy[:, oh, ow].T @ x[:, ih, iw]
    return {"x": dx, "w": dw} | ({"b": dy.sum(axis=0)} if "b" in arrays else {})


# activations: value and slope of a number -------------------------------------------------------------
def _tanh_inside(x):
    return math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)


def _gelu(x, approximate="none"):
    return x * (0.5 * math.erfc(-x / math.sqrt(2)) if approximate == "none" else _tanh_share(x))


def _tanh_share(x):
    return (1 + math.tanh(_tanh_inside(x))) / 2


def _gelu_slope(x, approximate="none"):
    if approximate == "none":
        return 0.5 * math.erfc(-x / math.sqrt(2)) + x * math.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    steep = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)
    return _tanh_share(x) + x * steep / (2 * math.cosh(_tanh_inside(x)) ** 2)


def _logistic(x):
    return 1 / (1 + math.exp(-x))


ACTIVATIONS = {
    "leaky_relu": (
        lambda x, slope=0.01: x if x > 0 else slope * x,
        lambda x, slope=0.01: 1 if x > 0 else slope,
    ),
    "elu": (
        lambda x, alpha=1.0: x if x > 0 else alpha * math.expm1(x),
        lambda x, alpha=1.0: 1 if x > 0 else alpha * math.exp(x),
    ),
    "softplus": (lambda x: math.log1p(math.exp(-abs(x))) + max(x, 0), _logistic),
    "silu": (lambda x: x * _logistic(x), lambda x: _logistic(x) * (1 + x * _logistic(-x))),
    "gelu": (_gelu, _gelu_slope),
}


def _each(f, x, **options):
    return np.array([f(value, **options) for value in x.ravel()], np.float64).reshape(x.shape)


def _activation(value, slope):
    def forward(arrays, **options):
        return (_each(value, arrays["x"], **options),)

    def backward(dys, arrays, **options):
        return {"x": dys[0] * _each(slope, arrays["x"], **options)}

    return forward, backward


# cases: name, shapes, options, variant -------------------------------------------------------------------
def _affine(x, *names):
    return {"x": x} | dict.fromkeys(names, (x[-1],))


NORMS = ("batch_norm", "group_norm", "layer_norm")
_ALL = ("gamma", "beta")
#: Of x drawn by `balanced` with eps 3, every statistic is a whole power of two.
_WHOLE = {"eps": 3.0}
BATCH_NORM = [
    ("rows", _affine((6, 5), *_ALL), {}),
    ("images", _affine((2, 4, 3, 7), *_ALL), {}),
    ("wide", _affine((5, 133), *_ALL), {}),
    ("one_channel", _affine((9, 1), *_ALL), {}),
    ("plain", _affine((8, 3)), {}),
    ("gamma", _affine((8, 3), "gamma"), {}),
    ("beta", _affine((8, 3), "beta"), {"eps": 0.1}),
    ("relu", _affine((3, 4, 5), *_ALL), {"relu": True}),
    ("relu_wide", _affine((7, 70), *_ALL), {"relu": True}),
    ("many", _affine((700, 48), *_ALL), {}),
    ("frozen", _affine((4, 3, 5), *_ALL, "mean", "var"), {}),
    ("frozen_relu", _affine((6, 20), *_ALL, "mean", "var"), {"relu": True}),
    ("frozen_empty", _affine((0, 2, 3), *_ALL, "mean", "var"), {}),
    ("whole", _affine((8, 5), *_ALL), _WHOLE),
    ("whole_images", _affine((2, 4, 4, 21), *_ALL), _WHOLE),
    ("whole_relu", _affine((16, 37), *_ALL), _WHOLE | {"relu": True}),
    ("whole_many", _affine((1024, 33), *_ALL), _WHOLE),
    ("whole_frozen", _affine((5, 9), *_ALL, "mean", "var"), _WHOLE | {"relu": True}),
]
GROUP_NORM = [
    ("rows", _affine((3, 6), *_ALL), {"groups": 2}),
    ("images", _affine((3, 4, 2, 6), *_ALL), {"groups": 3}),
    ("instance", _affine((2, 3, 5, 4), *_ALL), {"groups": 4}),
    ("one_group", _affine((2, 3, 2, 19), *_ALL), {"groups": 1}),
    ("wide", _affine((2, 3, 72), *_ALL), {"groups": 2}),
    ("plain", _affine((4, 5, 6)), {"groups": 2}),
    ("beta", _affine((4, 5, 6), "beta"), {"groups": 2, "eps": 0.1}),
    ("tall", _affine((2, 700, 4), *_ALL), {"groups": 2}),
    ("many", _affine((700, 2, 20), *_ALL), {"groups": 5}),
    ("empty_batch", _affine((0, 4, 6), *_ALL), {"groups": 2}),
    ("whole", _affine((3, 4, 2, 6), *_ALL), _WHOLE | {"groups": 3}),
    ("whole_instance", _affine((3, 8, 5), *_ALL), _WHOLE | {"groups": 5}),
    ("whole_wide", _affine((3, 2, 64), *_ALL), _WHOLE | {"groups": 2}),
]
LAYER_NORM = [
    ("vector", _affine((7,), *_ALL), {}),
    ("rows", _affine((4, 9), *_ALL), {}),
    ("sequences", _affine((2, 5, 70), *_ALL), {}),
    ("plain", _affine((3, 6)), {"eps": 0.1}),
    ("gamma", _affine((3, 6), "gamma"), {}),
    ("many", _affine((900, 33), *_ALL), {}),
    ("empty", _affine((0, 6), *_ALL), {}),
    ("whole", _affine((5, 16), *_ALL), _WHOLE),
    ("whole_wide", _affine((3, 128), *_ALL), _WHOLE),
]
LOCAL_RESPONSE_NORM = [
    (f"{'x'.join(map(str, x))}-{size}{name}", {"x": x}, {"size": size} | options)
    for x, size, name, options in [
        ((7,), 5, "", {"alpha": 0.5}),
        ((2, 3, 2, 9), 5, "", {"alpha": 0.3, "beta": 0.5, "k": 1.0}),
        ((3, 4), 9, "-over", {"alpha": 0.1}),
        ((4, 37), 3, "", {"alpha": 1.0}),
        ((3, 5), 1, "", {"alpha": 1.0, "beta": 1.5}),
        ((3, 5), 5, "-default", {}),
        ((0, 5), 5, "-empty", {}),
    ]
]
LOCALLY_CONNECTED2D = [
    (
        name,
        {"x": x, "w": (*output, o, *kernel, x[3])} | ({} if name == "no_bias" else {"b": (*output, o)}),
        more,
    )
    for name, x, o, kernel, output, more in [
        ("small", (1, 3, 3, 2), 2, (2, 2), (2, 2), {}),
        ("small_row", (2, 1, 4, 1), 2, (1, 2), (1, 3), {}),
        ("plain", (3, 4, 5, 3), 4, (3, 2), (2, 4), {}),
        ("no_bias", (2, 4, 5, 3), 4, (3, 3), (2, 3), {}),
        ("pad", (2, 4, 3, 2), 3, (3, 3), (4, 3), {"padding": 1}),
        ("pad_sides", (2, 4, 3, 2), 3, (3, 2), (4, 4), {"padding": ((2, 0), (1, 1))}),
        ("same", (2, 5, 4, 2), 3, (3, 3), (3, 2), {"stride": 2, "padding": "same"}),
        ("stride", (5, 7, 6, 3), 2, (3, 2), (3, 2), {"stride": (2, 3)}),
        ("stride_over_kernel", (2, 7, 5, 2), 3, (1, 2), (3, 2), {"stride": 3}),
        ("wide", (6, 3, 3, 19), 17, (2, 2), (2, 2), {}),
        ("one_channel", (9, 6, 5, 1), 2, (3, 3), (4, 3), {}),
        ("empty_batch", (0, 4, 5, 3), 4, (3, 3), (2, 3), {}),
    ]
]
_SHAPES = [(), (1,), (7,), (17, 3), (2, 3, 33), (0, 3)]
_OPTIONS = {"leaky_relu": {"slope": 0.25}, "elu": {"alpha": 0.5}, "gelu": {"approximate": "tanh"}}

CASES = {
    "batch_norm": BATCH_NORM,
    "group_norm": GROUP_NORM,
    "layer_norm": LAYER_NORM,
    "local_response_norm": LOCAL_RESPONSE_NORM,
    "locally_connected2d": LOCALLY_CONNECTED2D,
} | {
    name: [("x".join(map(str, shape)) or "scalar", {"x": shape}, {}) for shape in _SHAPES]
    + [("option", {"x": (5, 7)}, options) for options in [_OPTIONS.get(name)] if options]
    for name in ACTIVATIONS
}
DEFINITIONS = {name: globals()[name] for op in list(CASES)[:5] for name in (op, f"{op}_backward")}
for _name, _pair in ACTIVATIONS.items():
    DEFINITIONS[_name], DEFINITIONS[f"{_name}_backward"] = _activation(*_pair)
