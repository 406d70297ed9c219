"""The definition of every op in float64, by plain loops over windows, taps and elements.

Nothing here comes from the library: padding rules and output sizes are counted out anew. Each forward takes
the arrays and options of the op; each backward takes (dys, arrays, options) and returns gradients by name.
"""

from functools import partial
from typing import Any

import numpy as np

from tests.ops import autoencoders, convnets
from tests.ops import memory_blocks as blocks
from tests.ops.grid import Grid, chosen, pool_grid

Arrays = dict[str, np.ndarray]

# Definitions are found here by their op's name; these have files of their own.
memory_blocks, memory_blocks_backward = blocks.memory_blocks, blocks.memory_blocks_backward
globals().update(autoencoders.DEFINITIONS | convnets.DEFINITIONS)


def gemm(arrays, transpose_a=False, transpose_b=False):
    a, b = arrays["a"], arrays["b"]
    a, b = (a.T if transpose_a else a), (b.T if transpose_b else b)
    y = np.zeros((a.shape[0], b.shape[1]))
    for k in range(a.shape[1]):
        y += np.outer(a[:, k], b[k])
    return (y,)


def gemm_backward(dys, arrays, transpose_a=False, transpose_b=False):
    a, b = arrays["a"], arrays["b"]
    a, b = (a.T if transpose_a else a), (b.T if transpose_b else b)
    (da,) = gemm({"a": dys[0], "b": b.T})
    (db,) = gemm({"a": a.T, "b": dys[0]})
    return {"a": da.T if transpose_a else da, "b": db.T if transpose_b else db}


def linear(arrays, relu=False):
    x, w = arrays["x"], arrays["w"]
    (y,) = gemm({"a": x.reshape(-1, x.shape[-1]), "b": w.T})
    y = y.reshape(*x.shape[:-1], w.shape[0]) + arrays.get("b", 0)
    return (np.maximum(y, 0) if relu else y,)


def linear_backward(dys, arrays, relu=False):
    x, w = arrays["x"], arrays["w"]
    dy = np.where(linear(arrays)[0] > 0, dys[0], 0) if relu else dys[0]
    dy = dy.reshape(-1, w.shape[0])
    found = gemm_backward((dy,), {"a": x.reshape(-1, x.shape[-1]), "b": w.T})
    grads = {"x": found["a"].reshape(x.shape), "w": found["b"].T}
    return grads | ({"b": dy.sum(axis=0)} if "b" in arrays else {})


def _conv_grid(arrays, stride=1, padding=0, dilation=1, **_):
    return Grid(arrays["x"].shape[1:3], arrays["w"].shape[1:3], stride, padding, dilation)


def _channels(arrays, groups):
    """(slice of channels, slice of filters) for each group."""
    c, o = arrays["w"].shape[3], arrays["w"].shape[0] // groups
    return [(slice(g * c, (g + 1) * c), slice(g * o, (g + 1) * o)) for g in range(groups)]


def conv2d(arrays, groups=1, relu=False, **options):
    x, w = arrays["x"], arrays["w"]
    grid = _conv_grid(arrays, **options)
    y = np.zeros((x.shape[0], *grid.output, w.shape[0])) + arrays.get("b", 0)
    for oh, ow in grid.windows():
        for kh, kw, ih, iw in grid.taps(oh, ow):
            for c, o in _channels(arrays, groups):
                y[:, oh, ow, o] += x[:, ih, iw, c] @ w[o, kh, kw].T
    return (np.maximum(y, 0) if relu else y,)


def conv2d_backward(dys, arrays, groups=1, relu=False, **options):
    x, w, dy = arrays["x"], arrays["w"], dys[0]
    if relu:
        dy = np.where(conv2d(arrays, groups, **options)[0] > 0, dy, 0)
    grid = _conv_grid(arrays, **options)
    dx, dw = np.zeros(x.shape), np.zeros(w.shape)
    for oh, ow in grid.windows():
        for kh, kw, ih, iw in grid.taps(oh, ow):
            for c, o in _channels(arrays, groups):
                dx[:, ih, iw, c] += dy[:, oh, ow, o] @ w[o, kh, kw]
                dw[o, kh, kw] += dy[:, oh, ow, o].T @ x[:, ih, iw, c]
    return {"x": dx, "w": dw} | ({"b": dy.sum(axis=(0, 1, 2))} if "b" in arrays else {})


def max_pool2d(arrays, relu=False, **options):
    x, grid = arrays["x"], pool_grid(arrays, **options)
    y = np.zeros((x.shape[0], *grid.output, x.shape[3]))
    for place, (ih, iw) in chosen(x, grid):
        y[place] = x[place[0], ih, iw, place[3]]
    return (np.maximum(y, 0) if relu else y,)


def max_pool2d_backward(dys, arrays, relu=False, **options):
    x, grid = arrays["x"], pool_grid(arrays, **options)
    dx = np.zeros(x.shape)
    for place, (ih, iw) in chosen(x, grid):
        if not relu or x[place[0], ih, iw, place[3]] > 0:
            dx[place[0], ih, iw, place[3]] += dys[0][place]
    return {"x": dx}


def avg_pool2d(arrays, count_include_pad=True, **options):
    x, grid = arrays["x"], pool_grid(arrays, **options)
    y = np.zeros((x.shape[0], *grid.output, x.shape[3]))
    include_pad = count_include_pad and options.get("padding") != "same"
    for oh, ow in grid.windows():
        for _, _, ih, iw in grid.taps(oh, ow):
            y[:, oh, ow] += x[:, ih, iw]
        y[:, oh, ow] /= grid.divisor(oh, ow, include_pad)
    return (y,)


def avg_pool2d_backward(dys, arrays, count_include_pad=True, **options):
    x, grid = arrays["x"], pool_grid(arrays, **options)
    dx = np.zeros(x.shape)
    include_pad = count_include_pad and options.get("padding") != "same"
    for oh, ow in grid.windows():
        for _, _, ih, iw in grid.taps(oh, ow):
            dx[:, ih, iw] += dys[0][:, oh, ow] / grid.divisor(oh, ow, include_pad)
    return {"x": dx}


def _logistic(z):
    return 1 / (1 + np.exp(-z))


def _gates(arrays):
    z = arrays["x"] @ arrays["w_ih"].T + arrays["h"] @ arrays["w_hh"].T + arrays["b"]
    i, f, g, o = np.split(z, 4, axis=1)
    return _logistic(i), _logistic(f), np.tanh(g), _logistic(o)


def lstm_cell(arrays):
    i, f, g, o = _gates(arrays)
    c_next = f * arrays["c"] + i * g
    return o * np.tanh(c_next), c_next


def lstm_cell_backward(dys, arrays):
    i, f, g, o = _gates(arrays)
    c = arrays["c"]
    squashed = np.tanh(f * c + i * g)
    dc = dys[1] + dys[0] * o * (1 - squashed**2)
    do = dys[0] * squashed * o * (1 - o)
    dz = np.concatenate([dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g**2), do], axis=1)
    return _cell_gradients(dz, arrays) | {"c": dc * f}


def rnn_cell(arrays):
    return (np.tanh(arrays["x"] @ arrays["w_ih"].T + arrays["h"] @ arrays["w_hh"].T + arrays["b"]),)


def rnn_cell_backward(dys, arrays):
    return _cell_gradients(dys[0] * (1 - rnn_cell(arrays)[0] ** 2), arrays)


def _cell_gradients(dz, arrays):
    return {
        "x": dz @ arrays["w_ih"],
        "h": dz @ arrays["w_hh"],
        "w_ih": dz.T @ arrays["x"],
        "w_hh": dz.T @ arrays["h"],
        "b": dz.sum(axis=0),
    }


# Sequences: one at a time, one step at a time, without the steps that it does not have.
def _own_steps(arrays, n, lengths, reverse):
    steps = range(arrays["x"].shape[1] if lengths is None else lengths[n])
    return steps[::-1] if reverse else steps


def _unit(op, a, x, h, h_in, c, options):
    """-> h, c, and what the way back needs; h_in is h as it enters the products."""
    z, size = a["w_ih"] @ x + a["b"][: len(a["w_ih"])], len(h)
    if op == "lstm":
        i, f, g, o = np.split(z + a["w_hh"] @ h_in, 4)
        i, f, g, o = _logistic(i), _logistic(f), np.tanh(g), _logistic(o)
        c_next = f * c + i * g
        return o * np.tanh(c_next), c_next, (i, f, g, o, c_next)
    if op == "gru":
        r, u = np.split(_logistic(z[: 2 * size] + a["w_hh"][: 2 * size] @ h_in), 2)
        if options.get("reset_after", True):
            m = a["w_hh"][2 * size :] @ h_in + a["b"][3 * size :]
            new = np.tanh(z[2 * size :] + r * m)
        else:
            m = r * h_in
            new = np.tanh(z[2 * size :] + a["w_hh"][2 * size :] @ m)
        return (1 - u) * new + u * h, c, (r, u, new, m)
    z = z + a["w_hh"] @ h_in
    f = {"relu": lambda z: np.maximum(z, 0), "satlin": lambda z: np.clip(z, 0, 1)}
    h = f.get(options.get("nonlinearity"), np.tanh)(z)
    return h, c, (h,)


def _unit_backward(op, a, kept, h, h_in, c, dh, dc, options):
    """-> dz of x's product, gradients of w_hh, what reaches h_in, what reaches h past it, dc."""
    if op == "lstm":
        i, f, g, o, c_next = kept
        squashed = np.tanh(c_next)
        dc = dc + dh * o * (1 - squashed**2)
        parts = (dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g**2))
        dz = np.concatenate([*parts, dh * squashed * o * (1 - o)])
        return dz, np.outer(dz, h_in), dz @ a["w_hh"], 0, dc * f
    if op == "gru":
        r, u, new, m = kept
        u_n = a["w_hh"][2 * len(h) :]
        dnew, du = dh * (1 - u) * (1 - new**2), dh * (h - new) * u * (1 - u)
        if options.get("reset_after", True):
            dz_h = np.concatenate([dnew * m * r * (1 - r), du, dnew * r])
            dz = np.concatenate([dz_h[: 2 * len(h)], dnew, dz_h[2 * len(h) :]])  # the last: of b alone
            return dz, np.outer(dz_h, h_in), dz_h @ a["w_hh"], dh * u, dc
        dm = dnew @ u_n
        dz = np.concatenate([dm * h_in * r * (1 - r), du, dnew])
        dw = np.concatenate([np.outer(dz[: 2 * len(h)], h_in), np.outer(dnew, m)])
        return dz, dw, dz[: 2 * len(h)] @ a["w_hh"][: 2 * len(h)] + dm * r, dh * u, dc
    f = options.get("nonlinearity", "tanh")
    slope = 1 - kept[0] ** 2 if f == "tanh" else (kept[0] > 0) & ((f == "relu") | (kept[0] < 1))
    dz = dh * slope
    return dz, np.outer(dz, h_in), dz @ a["w_hh"], 0, dc


def _held(a, name, n, t):
    """Whether zoneout keeps each unit of a state as it was."""
    return a[name][n, t] != 0 if name in a else np.zeros(a["h0"].shape[1], bool)


def _walk(op, a, n, options):
    """Every step of sequence n: (t, h, h_in, c before, h, c after, kept)."""
    h, c, found = a["h0"][n], a["c0"][n] if op == "lstm" else np.zeros(a["h0"].shape[1]), []
    for t in _own_steps(a, n, options.get("lengths"), options.get("reverse", False)):
        before = h, h * a["recurrent_mask"][n] if "recurrent_mask" in a else h, c
        h_next, c_next, kept = _unit(op, a, a["x"][n, t], *before, options)
        h = np.where(_held(a, "zone_h", n, t), h, h_next)
        c = np.where(_held(a, "zone_c", n, t), c, c_next)
        found.append((t, *before, h, c, kept))
    return found


def _sequence(op, arrays, **options):
    y = np.zeros((*arrays["x"].shape[:2], arrays["h0"].shape[1]))
    last = {"h0": arrays["h0"].copy()} | ({"c0": arrays["c0"].copy()} if op == "lstm" else {})
    for n in range(len(y)):
        for t, _, _, _, h, c, _ in _walk(op, arrays, n, options):
            y[n, t] = h
            for name, value in zip(last, (h, c), strict=False):
                last[name][n] = value
    return (y, *last.values())


def _sequence_backward(op, dys, arrays, **options):
    grads = {name: np.zeros(value.shape) for name, value in arrays.items()}
    rows = len(arrays["w_ih"])
    for n in range(len(dys[0])):
        dh, dc = dys[1][n], dys[2][n] if op == "lstm" else 0
        for t, h, h_in, c, _, _, kept in reversed(_walk(op, arrays, n, options)):
            dh = dh + dys[0][n, t]
            held = _held(arrays, "zone_h", n, t), _held(arrays, "zone_c", n, t)
            new = np.where(held[0], 0, dh), np.where(held[1], 0, dc)
            dz, dw_hh, into, past, dc_past = _unit_backward(op, arrays, kept, h, h_in, c, *new, options)
            grads["x"][n, t] = dz[:rows] @ arrays["w_ih"]
            grads["w_ih"] += np.outer(dz[:rows], arrays["x"][n, t])
            grads["w_hh"] += dw_hh
            grads["b"] += dz
            into = into * arrays["recurrent_mask"][n] if "recurrent_mask" in arrays else into
            dh, dc = np.where(held[0], dh, 0) + past + into, np.where(held[1], dc, 0) + dc_past
        grads["h0"][n] = dh
        if op == "lstm":
            grads["c0"][n] = dc
    return grads


rnn, rnn_backward = partial(_sequence, "rnn"), partial(_sequence_backward, "rnn")
gru, gru_backward = partial(_sequence, "gru"), partial(_sequence_backward, "gru")
lstm, lstm_backward = partial(_sequence, "lstm"), partial(_sequence_backward, "lstm")


def add(arrays):
    return (arrays["a"] + arrays["b"],)


def add_backward(dys, arrays):
    return {"a": dys[0], "b": dys[0]}


def relu(arrays):
    return (np.where(arrays["x"] > 0, arrays["x"], 0),)


def relu_backward(dys, arrays):
    return {"x": np.where(arrays["x"] > 0, dys[0], 0)}


def sigmoid(arrays):
    return (_logistic(arrays["x"]),)


def sigmoid_backward(dys, arrays):
    return {"x": dys[0] * _logistic(arrays["x"]) * _logistic(-arrays["x"])}


def tanh(arrays):
    return (np.tanh(arrays["x"]),)


def tanh_backward(dys, arrays):
    return {"x": dys[0] / np.cosh(arrays["x"]) ** 2}


def softmax(arrays, axis=-1):
    e = np.exp(arrays["x"])
    return (e / e.sum(axis=axis, keepdims=True),)


def softmax_backward(dys, arrays, axis=-1):
    (y,) = softmax(arrays, axis)
    return {"x": y * (dys[0] - (dys[0] * y).sum(axis=axis, keepdims=True))}


def log_softmax(arrays, axis=-1):
    return (np.log(softmax(arrays, axis)[0]),)


def log_softmax_backward(dys, arrays, axis=-1):
    return {"x": dys[0] - softmax(arrays, axis)[0] * dys[0].sum(axis=axis, keepdims=True)}


def softmax_cross_entropy(arrays):
    (logs,) = log_softmax(arrays)
    losses = np.zeros(arrays["labels"].shape)
    for place in np.ndindex(losses.shape):
        losses[place] = -logs[(*place, arrays["labels"][place])]
    return (losses,)


def softmax_cross_entropy_backward(dys, arrays):
    (dx,) = softmax(arrays)
    for place in np.ndindex(arrays["labels"].shape):
        dx[(*place, arrays["labels"][place])] -= 1
    return {"x": dx * dys[0][..., None]}


def mean_squared_error(arrays):
    return (np.mean((arrays["x"] - arrays["target"]) ** 2),)


def mean_squared_error_backward(dys, arrays):
    return {"x": dys[0] * 2 * (arrays["x"] - arrays["target"]) / arrays["x"].size}


def topk(arrays, k):
    indices = [sorted(range(row.size), key=lambda i, row=row: (-row[i], i))[:k] for row in arrays["x"]]
    chosen = np.array(indices, np.int64).reshape(-1, k)
    return np.take_along_axis(arrays["x"], chosen, 1), chosen


def topk_backward(dys, arrays, k):
    dx = np.zeros(arrays["x"].shape)
    for row, columns in enumerate(topk(arrays, k)[1]):
        for column, dy in zip(columns, dys[0][row], strict=True):
            dx[row, column] = dy
    return {"x": dx}


def embedding(arrays):
    tokens, w = arrays["tokens"], arrays["w"]
    y = np.zeros((*tokens.shape, w.shape[1]))
    for place in np.ndindex(tokens.shape):
        y[place] = w[tokens[place]]
    return (y,)


def embedding_backward(dys, arrays):
    dw = np.zeros(arrays["w"].shape)
    for place in np.ndindex(arrays["tokens"].shape):
        dw[arrays["tokens"][place]] += dys[0][place]
    return {"w": dw}


_right_answers: dict[Any, Any] = {}


def answer(case, arrays, dys, kind):
    """Outputs and gradients in float64, worked out once per case, dtype and kind of data."""
    key = case.key, kind, dys[0].dtype
    if key not in _right_answers:
        wide = {name: a if a.dtype.kind == "i" else a.astype(np.float64) for name, a in arrays.items()}
        options = {name: value for name, value in case.options.items() if name not in ("algorithm", "fit")}
        outputs = globals()[case.op](wide, **options)
        wide_dys = tuple(dy.astype(np.float64) for dy in dys)
        _right_answers[key] = outputs, globals()[f"{case.op}_backward"](wide_dys, wide, **options)
    return _right_answers[key]
