"""How far a result may lie from the exact one.

For sums of K products the bound is 2 eps (K + 1) max|a| max|b|: each of the K products and K - 1 additions
errs by at most eps/2 of what has been summed so far, in any order, so this leaves a factor of 4. Functions of
such sums carry the error on by their greatest slope. Where nothing is computed the bound is 0.
"""

from functools import partial

import numpy as np

from tests.ops import convnets, oracle


def _top(array):
    return float(np.abs(array).max(initial=0))


def _sum(eps, terms, *factors):
    bound = 2 * eps * (terms + 1)
    for factor in factors:
        bound *= _top(factor)
    return bound


def gemm(eps, a, dys, transpose_a=False, transpose_b=False):
    k, m = a["a"].shape if transpose_a else a["a"].shape[::-1]
    n = a["b"].shape[0 if transpose_b else 1]
    return [_sum(eps, k, a["a"], a["b"])], {
        "a": _sum(eps, n, dys[0], a["b"]),
        "b": _sum(eps, m, dys[0], a["a"]),
    }


def linear(eps, a, dys, **_):
    outputs, inputs = a["w"].shape
    rows = a["x"].size // inputs
    y = _sum(eps, inputs + 1, a["x"], a["w"]) + 2 * eps * _top(a.get("b", 0))
    grads = {"x": _sum(eps, outputs, dys[0], a["w"]), "w": _sum(eps, rows, dys[0], a["x"])}
    return [y], grads | {"b": _sum(eps, rows, dys[0])}


def conv2d(eps, a, dys, **_):
    o, kh, kw, c = a["w"].shape
    windows = dys[0].size // o
    y = _sum(eps, kh * kw * c + 1, a["x"], a["w"]) + 2 * eps * _top(a.get("b", 0))
    # Every filter of every tap sees a pixel at most once; groups see fewer.
    grads = {"x": _sum(eps, kh * kw * o, dys[0], a["w"]), "w": _sum(eps, windows, dys[0], a["x"])}
    return [y], grads | {"b": _sum(eps, windows, dys[0])}


def _window(kernel_size):
    return int(np.prod(kernel_size)) * (1 if isinstance(kernel_size, tuple) else int(kernel_size))


def max_pool2d(eps, a, dys, kernel_size, **_):
    return [0.0], {"x": _sum(eps, _window(kernel_size), dys[0])}


def avg_pool2d(eps, a, dys, kernel_size, **_):
    # The terms are divided by their number, so the error of the sum shrinks as much as it grew.
    return [_sum(eps, 2, a["x"])], {"x": _sum(eps, _window(kernel_size), dys[0])}


def _cell(eps, a, dys, gates):
    """The pre-activations z err by a sum; sigmoid and tanh have slope 1 at most and err by 8 eps."""
    (n, d), h = a["x"].shape, a["h"].shape[1]
    activation = 8 * eps + _sum(eps, d + 1, a["x"], a["w_ih"]) + _sum(eps, h + 1, a["h"], a["w_hh"])
    activation += 2 * eps * _top(a["b"])
    state = 1 + _top(a.get("c", 0))
    dy = sum(_top(dy) for dy in dys)
    # dz is a product of at most four values below `state`, each with an error of at most 3 activations.
    dz, dz_error = dy * state, 12 * dy * state**2 * activation
    back = gates * h * dz_error + 2 * eps * (gates * h + 1) * dz
    across = n * dz_error + 2 * eps * (n + 1) * dz
    grads = {"x": back * _top(a["w_ih"]), "h": back * _top(a["w_hh"]), "c": dz_error}
    grads |= {"w_ih": across * _top(a["x"]), "w_hh": across * _top(a["h"]), "b": across}
    return 3 * state * activation, grads


def lstm_cell(eps, a, dys):
    y, grads = _cell(eps, a, dys, 4)
    return [2 * y, y], grads


def rnn_cell(eps, a, dys):
    y, grads = _cell(eps, a, dys, 1)
    return [y], grads


_moved = {}  # bounds by the data they belong to: the definition's loops are slow


def _conditioned(op, eps, a, dys, /, **options):
    """Sequences carry errors from step to step, so a worst case bounds nothing: the definition is asked.

    Every value that is computed errs by a few eps, as if what comes in had been moved by as much. So the
    inputs are moved, each number by eps up or down, eight times, and eight times the greatest change is
    allowed, beside eight eps of the greatest result. Of this, up to a third was seen in use.
    """
    key = (op, eps, str(options), *(array.tobytes() for array in (*a.values(), *dys)))
    if key not in _moved:
        _moved[key] = _changes(op, eps, a, dys, options)
    return _moved[key]


def _changes(op, eps, a, dys, options):
    forward, backward = getattr(oracle, op), getattr(oracle, f"{op}_backward")
    a, dys = {name: np.float64(array) for name, array in a.items()}, [np.float64(dy) for dy in dys]
    rng = np.random.default_rng(0)

    def moved(array):
        return array * (1 + eps * rng.choice([-1, 1], array.shape))

    right_y, right_grads = forward(a, **options), backward(dys, a, **options)
    bounds_y = [8 * eps * _top(y) for y in right_y]
    bounds = {name: 8 * eps * _top(grad) for name, grad in right_grads.items()}
    for _ in range(8):
        near = {name: array if name in OTHERS else moved(array) for name, array in a.items()}
        y, grads = forward(near, **options), backward([moved(dy) for dy in dys], near, **options)
        bounds_y = [max(bound, 8 * _top(u - v)) for bound, u, v in zip(bounds_y, y, right_y, strict=True)]
        bounds = {name: max(bounds[name], 8 * _top(grads[name] - right_grads[name])) for name in bounds}
    return bounds_y, bounds


OTHERS = ("recurrent_mask", "zone_h", "zone_c")  # which say what is done, and are exact
rnn, gru, lstm = partial(_conditioned, "rnn"), partial(_conditioned, "gru"), partial(_conditioned, "lstm")
memory_blocks = partial(_conditioned, "memory_blocks")


def embedding(eps, a, dys):
    return [0.0], {"w": _sum(eps, a["tokens"].size, dys[0])}


def add(eps, a, dys):
    return [eps * (_top(a["a"]) + _top(a["b"]))], {"a": 0.0, "b": 0.0}


def relu(eps, a, dys):
    return [0.0], {"x": 0.0}


def sigmoid(eps, a, dys):
    return [4 * eps], {"x": 8 * eps * _top(dys[0])}


def tanh(eps, a, dys):
    return [6 * eps], {"x": 16 * eps * _top(dys[0])}


def softmax(eps, a, dys, axis=-1):
    n = a["x"].shape[axis]
    y = 2 * eps * (n + 2 * _top(a["x"]) + 4)  # relative, of values of at most 1
    return [y], {"x": 4 * y * _top(dys[0])}


def log_softmax(eps, a, dys, axis=-1):
    n = a["x"].shape[axis]
    y = 2 * eps * (n + 2 * _top(a["x"]) + 4)
    return [y], {"x": 4 * y * n * _top(dys[0])}


def softmax_cross_entropy(eps, a, dys):
    (y,), grads = softmax(eps, a, dys)
    return [y], grads


def mean_squared_error(eps, a, dys):
    difference = a["x"] - a["target"]
    return [_sum(eps, 4, difference, difference)], {"x": 8 * eps * _top(dys[0]) * _top(difference)}


def topk(eps, a, dys, k):
    return [0.0, 0.0], {"x": 0.0}


def k_sparse(eps, a, dys, k):
    return [0.0], {"x": 0.0}


def k_sparse_linear(eps, a, dys, k):
    rows, inputs = a["x"].shape
    y = _sum(eps, inputs + 1, a["x"], a["w"]) + 2 * eps * _top(a.get("b", 0))
    grads = {"x": _sum(eps, k, dys[0], a["w"]), "w": _sum(eps, rows, dys[0], a["x"])}
    return [y, 0.0], grads | {"b": _sum(eps, rows, dys[0])}


def sparse_linear(eps, a, dys):
    (rows, k), width = a["values"].shape, a["w"].shape[1]
    y = _sum(eps, k + 1, a["values"], a["w"]) + 2 * eps * _top(a.get("b", 0))
    grads = {"values": _sum(eps, width, dys[0], a["w"]), "w": _sum(eps, rows * k, dys[0], a["values"])}
    return [y], grads | {"b": _sum(eps, rows, dys[0])}


def tied_k_sparse(eps, a, dys, k):
    """Values and their gradients err by a sum each, and go into one more."""
    (rows, inputs), (dy, dvalues), w = a["x"].shape, dys, _top(a["w"])
    (value_error, _), _ = k_sparse_linear(eps, {"x": a["x"], "w": a["w"], "b": a["b"]}, [dvalues], k)
    value = inputs * _top(a["x"]) * w + _top(a["b"])
    slope_error = _sum(eps, inputs + 1, dy, w) + 2 * eps * _top(dvalues)
    slope = inputs * _top(dy) * w + _top(dvalues)
    y = k * value_error * w + _sum(eps, k + 1, value, w) + 2 * eps * _top(a["c"])
    across = rows * (value_error * _top(dy) + slope_error * _top(a["x"]))
    grads = {"x": k * slope_error * w + _sum(eps, k, slope, w), "c": _sum(eps, rows, dy)}
    grads["w"] = across + _sum(eps, 2 * rows, max(value * _top(dy), slope * _top(a["x"])))
    grads["b"] = rows * slope_error + _sum(eps, rows, slope)
    return [y, value_error, 0.0], grads


def upsample2d(eps, a, dys, scale_factor, mode="nearest"):
    if mode == "nearest":
        return [0.0], {"x": _sum(eps, _window(scale_factor), dys[0])}
    # A product with weights of at most 1, which err by eps each; two of them.
    return [_sum(eps, 4 + 2, a["x"])], {"x": _sum(eps, 4 * _window(scale_factor) + 2, dys[0])}


def max_unpool2d(eps, a, dys, kernel_size, **_):
    return [_sum(eps, _window(kernel_size), a["x"])], {"x": 0.0}


def conv_transpose2d(eps, a, dys, **_):
    c, kh, kw, o = a["w"].shape
    y = _sum(eps, kh * kw * c + 1, a["x"], a["w"]) + 2 * eps * _top(a.get("b", 0))
    pixels, outputs = a["x"].size // c, dys[0].size // dys[0].shape[3]
    grads = {"x": _sum(eps, kh * kw * o, dys[0], a["w"]), "w": _sum(eps, pixels, dys[0], a["x"])}
    return [y], grads | {"b": _sum(eps, outputs, dys[0])}


def _normalised(op, eps, a, dys, /, **options):
    """Also the sums over all rows that gamma and beta get for gradients."""
    y, grads = _conditioned(op, eps, a, dys, **options)
    rows, xhat = a["x"].size // a["x"].shape[-1], convnets.hats(op, a, **options)
    more = {"gamma": _sum(eps, rows, dys[0], xhat), "beta": _sum(eps, rows, dys[0])}
    return y, {name: bound + more.get(name, 0) for name, bound in grads.items()}


batch_norm = partial(_normalised, "batch_norm")
group_norm = partial(_normalised, "group_norm")
layer_norm = partial(_normalised, "layer_norm")
local_response_norm = partial(_conditioned, "local_response_norm")


def locally_connected2d(eps, a, dys, **_):
    o, kh, kw, c = a["w"].shape[2:]
    y = _sum(eps, kh * kw * c + 1, a["x"], a["w"]) + 2 * eps * _top(a.get("b", 0))
    grads = {"x": _sum(eps, kh * kw * o, dys[0], a["w"]), "w": _sum(eps, len(a["x"]), dys[0], a["x"])}
    return [y], grads | {"b": _sum(eps, len(a["x"]), dys[0])}


def leaky_relu(eps, a, dys, slope=0.01):
    return [eps * _top(a["x"])], {"x": eps * _top(dys[0])}


def _smooth(eps, a, dys, **_):
    """Values and slopes of a few roundings, of what grows as x does; slopes of at most 1.2."""
    reach = max(1.0, _top(a["x"]))
    return [8 * eps * reach], {"x": 16 * eps * reach * _top(dys[0])}


elu = softplus = silu = gelu = _smooth


def bounds(case, arrays, dys):
    """Greatest errors allowed: of each output, and of each gradient by name."""
    eps = float(np.finfo(dys[0].dtype).eps)
    return globals()[case.op](eps, arrays, dys, **case.options)
