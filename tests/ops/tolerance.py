"""How far a result may lie from the exact one.

For sums of K products the bound is 2 eps (K + 1) max|a| max|b|: each of the K products and K - 1 additions
errs by at most eps/2 of what has been summed so far, in any order, so this leaves a factor of 4. Functions of
such sums carry the error on by their greatest slope. Where nothing is computed the bound is 0.
"""

import numpy as np

from tests.ops import memory_blocks as oracle


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


def linear(eps, a, dys):
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


def _sequence(eps, a, dys, gates, **_):
    """As `_cell`, for each step on top of what the step before brought along.

    An error e of the state moves the pre-activations by at most L e, L the greatest sum along a row of w_hh,
    and the next state, of slopes of at most `state`, by (1 + gates * state * L) e.
    """
    n, steps, d = a["x"].shape
    h = a["h0"].shape[1]
    state = 1 + max(_top(a["h0"]), _top(a.get("c0", 0))) + steps  # c grows by 1 a step at most
    activation = 8 * eps + _sum(eps, d + 1, a["x"], a["w_ih"]) + _sum(eps, h + 1, a["w_hh"]) * state
    activation += 4 * eps * _top(a["b"])
    along = float(np.abs(a["w_hh"]).sum(axis=1).max(initial=0))
    growth = sum((1 + gates * state * along) ** s for s in range(steps))
    y = 4 * state * activation * growth
    back = (1 + gates * state * float(np.abs(a["w_hh"]).sum(axis=0).max(initial=0))) ** steps
    dy = sum(_top(dy) for dy in dys) * back * max(steps, 1)
    dz, dz_error = dy * state, 16 * dy * state**2 * (y + activation)
    before = back * dz_error + 2 * eps * gates * h * dz
    across = n * steps * dz_error + 2 * eps * (n * steps + 1) * dz
    grads = {"x": gates * h * (dz_error + 2 * eps * dz) * _top(a["w_ih"]), "h0": before, "c0": before}
    grads |= {"w_ih": across * _top(a["x"]), "w_hh": across * state, "b": across}
    return y, grads


def rnn(eps, a, dys, **options):
    y, grads = _sequence(eps, a, dys, 1, **options)
    return [y, y], grads


def gru(eps, a, dys, **options):
    y, grads = _sequence(eps, a, dys, 3, **options)
    return [y, y], grads


def lstm(eps, a, dys, **options):
    y, grads = _sequence(eps, a, dys, 4, **options)
    return [y, y, y], grads


def memory_blocks(eps, a, dys, **options):
    """Each step rounds the sums that make its pre-activations, of which slopes pass on 1 or less.

    Weights are drawn so that errors of what goes back fade from step to step, and those of the states stay:
    they add up over T steps, and on the way back again. Values and products are at most `size`.
    """
    (n, steps, d), width = a["x"].shape, a["w_hh"].shape[1]
    outputs = oracle.memory_blocks({name: v.astype(np.float64) for name, v in a.items()}, **options)
    size = (1 + max(_top(v) for v in (*a.values(), *outputs))) ** 2
    y = 2 * eps * (d + width + a["c0"].shape[1] + 2) * (steps + 1) * size
    back = y * (1 + sum(_top(dy) for dy in dys))
    across = back * (n * steps + 1)
    grads = dict.fromkeys(("w_ih", "w_hh", "b", "peepholes"), across)
    return [y, y, y], grads | {"x": back, "u0": back, "c0": back * (1 + _top(a.get("peepholes", 0)))}


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


def bounds(case, arrays, dys):
    """Greatest errors allowed: of each output, and of each gradient by name."""
    eps = float(np.finfo(dys[0].dtype).eps)
    return globals()[case.op](eps, arrays, dys, **case.options)
