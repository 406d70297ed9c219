"""The cases of the ops worked out by PyTorch, in float64 and in this library's layouts."""

import numpy as np
import torch
from torch.nn import functional

from tests.ops.autoencoders import transposed_size
from tests.ops.case import OPS, Case
from tests.ops.grid import both, sides
from tests.ops.memory_blocks import layout


def _nchw(x):
    return x.permute(0, 3, 1, 2)


def _nhwc(x):
    return x.permute(0, 2, 3, 1)


def _padded(x, sides, value=0.0):
    """x (N,C,H,W) with each side padded by itself."""
    (top, bottom), (left, right) = sides
    return functional.pad(x, (left, right, top, bottom), value=value)


def _linear(t, relu=False):
    y = functional.linear(t["x"], t["w"], t.get("b"))
    return (torch.relu(y) if relu else y,)


def _conv2d(t, stride=1, padding=0, dilation=1, groups=1, relu=False, **_):
    size, kernel = tuple(t["x"].shape[1:3]), tuple(t["w"].shape[1:3])
    around = sides(padding, size, kernel, both(stride), both(dilation))
    x = _padded(_nchw(t["x"]), around)
    y = functional.conv2d(x, _nchw(t["w"]), t.get("b"), stride, 0, dilation, groups)
    return (_nhwc(torch.relu(y) if relu else y),)


def _max_pool2d(t, kernel_size, stride=None, padding=0, ceil_mode=False, relu=False):
    y, _, _ = _pooled(torch.relu(t["x"]) if relu else t["x"], kernel_size, stride, padding, ceil_mode)
    return (_nhwc(y),)


def _pooled(x, kernel_size, stride, padding, ceil_mode=False):
    """-> y, places in the image that was pooled, padded by itself where PyTorch cannot; that padding."""
    x, around = _nchw(x), [(0, 0), (0, 0)]
    if isinstance(padding, str) or isinstance(both(padding)[0], tuple):
        step = both(kernel_size if stride is None else stride)
        around = sides(padding, tuple(x.shape[2:]), both(kernel_size), step, (1, 1))
        x, padding = _padded(x, around, -float("inf")), 0
    return *functional.max_pool2d(x, kernel_size, stride, padding, 1, ceil_mode, return_indices=True), around


def _max_unpool2d(t, kernel_size, stride=None, padding=0, ceil_mode=False):
    """PyTorch's `max_unpool2d` writes where windows overlap; adding up is the gradient of pooling."""
    (count, height, width, channels), x = t["pooled"].shape, _nchw(t["x"])
    _, places, ((top, bottom), (left, right)) = _pooled(t["pooled"], kernel_size, stride, padding, ceil_mode)
    size = (height + top + bottom, width + left + right)
    if stride is None and padding == 0 and not ceil_mode:
        return (_nhwc(functional.max_unpool2d(x, places, kernel_size, output_size=size)),)
    flat = torch.zeros((count, channels, size[0] * size[1]), dtype=x.dtype)
    y = flat.scatter_add(2, places.flatten(2), x.flatten(2)).reshape(count, channels, *size)
    return (_nhwc(y[:, :, top : top + height, left : left + width]),)


def _avg_pool2d(t, kernel_size, stride=None, padding=0, **options):
    padding = 0 if padding == "valid" else padding
    y = functional.avg_pool2d(_nchw(t["x"]), kernel_size, stride, padding, **options)
    return (_nhwc(y),)


def _conv_transpose2d(
    t, stride=1, padding=0, output_padding=0, dilation=1, groups=1, relu=False, algorithm=""
):
    x, w, b = _nchw(t["x"]), _nchw(t["w"]), t.get("b")
    if isinstance(padding, int) or isinstance(padding[0], int):
        y = functional.conv_transpose2d(x, w, b, stride, padding, output_padding, groups, dilation)
        return (_nhwc(torch.relu(y) if relu else y),)
    options = {"stride": stride, "output_padding": output_padding, "dilation": dilation}
    (oh, ow), around = transposed_size(x.shape[2:], w.shape[2:], padding=padding, **options)
    y = functional.conv_transpose2d(x, w, None, **options, groups=groups)
    rest = [(0, max(0, n + a[0] - m)) for n, a, m in zip((oh, ow), around, y.shape[2:], strict=True)]
    (top, _), (left, _) = around
    y = _nhwc(_padded(y, rest)[:, :, top : top + oh, left : left + ow])
    y = y if b is None else y + b
    return (torch.relu(y) if relu else y,)


def _k_sparse(t, k):
    units = torch.topk(t["x"], k).indices
    return (torch.zeros_like(t["x"]).scatter(1, units, t["x"].gather(1, units)),)


def _k_sparse_linear(t, k):
    z = functional.linear(t["x"], t["w"], t.get("b"))
    units = torch.topk(z, k).indices.sort().values
    return z.gather(1, units), units


def _sparse_linear(t):
    y = torch.einsum("mk,mkd->md", t["values"], t["w"][t["units"]])
    return (y + t["b"] if "b" in t else y,)


def _tied_k_sparse(t, k):
    values, units = _k_sparse_linear(t, k)
    (y,) = _sparse_linear({"values": values, "units": units, "w": t["w"], "b": t["c"]})
    return y, values, units


def _upsample2d(t, scale_factor, mode="nearest"):
    options = {"align_corners": False} if mode == "bilinear" else {}
    factors = tuple(float(factor) for factor in both(scale_factor))
    return (_nhwc(functional.interpolate(_nchw(t["x"]), scale_factor=factors, mode=mode, **options)),)


def _channels_first(x):
    return x.movedim(-1, 1) if x.ndim > 1 else x


def _batch_norm(t, eps=1e-5, relu=False):
    x, gamma, beta, mean, var = (t.get(name) for name in ("x", "gamma", "beta", "mean", "var"))
    y = functional.batch_norm(_channels_first(x), mean, var, gamma, beta, mean is None, 0.0, eps)
    y = y.movedim(1, -1)
    return (torch.relu(y) if relu else y,)


def _group_norm(t, groups, eps=1e-5):
    gamma = t.get("gamma", torch.ones(t["x"].shape[-1], dtype=torch.float64))  # it takes no beta alone
    y = functional.group_norm(_channels_first(t["x"]), groups, gamma, t.get("beta"), eps)
    return (y.movedim(1, -1),)


def _local_response_norm(t, size, alpha=1e-4, beta=0.75, k=2.0):
    rows = t["x"].reshape(-1, t["x"].shape[-1], 1)
    return (functional.local_response_norm(rows, size, alpha * size, beta, k).reshape(t["x"].shape),)


def _locally_connected2d(t, stride=1, padding=0):
    """PyTorch has none: a product for each place, of its own windows."""
    oh, ow, _, kh, kw, c = t["w"].shape
    around = sides(padding, tuple(t["x"].shape[1:3]), (kh, kw), both(stride), (1, 1))
    col = functional.unfold(_padded(_nchw(t["x"]), around), (kh, kw), stride=stride)
    col = col.reshape(-1, c, kh, kw, oh, ow)
    y = torch.einsum("ncrshw,hworsc->nhwo", col, t["w"])
    return (y + t["b"] if "b" in t else y,)


def _cell(cell, t, state):
    return cell(t["x"], state, t["w_ih"], t["w_hh"], t["b"], torch.zeros_like(t["b"]))


def _plain_cell(op, t, options):
    """PyTorch's own cell: x, state -> state."""
    b, size = t["b"], t["h0"].shape[1]
    b_hh = torch.cat([torch.zeros_like(b[: 2 * size]), b[3 * size :]]) if op == "gru" else torch.zeros_like(b)
    weights = (t["w_ih"], t["w_hh"], b[: 3 * size] if op == "gru" else b, b_hh)
    cells = {"lstm": torch.lstm_cell, "gru": torch.gru_cell}
    rnn = torch.rnn_relu_cell if options.get("nonlinearity") == "relu" else torch.rnn_tanh_cell
    return lambda x, state: cells.get(op, rnn)(x, state, *weights)


def _own_cell(op, t, options, n):
    """The equations in PyTorch, where it has no such cell: x, state -> state before zoneout."""
    size, w_hh, b = t["h0"].shape[1], t["w_hh"], t["b"]
    mask = t["recurrent_mask"][n] if "recurrent_mask" in t else 1

    def step(x, state):
        h, c = state if op == "lstm" else (state, None)
        a, into = x @ t["w_ih"].T + b[: len(w_hh)], h * mask
        if op == "lstm":
            i, f, g, o = (a + into @ w_hh.T).split(size, dim=1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            return o.sigmoid() * c.tanh(), c
        if op == "gru":
            r, z = (a[:, : 2 * size] + into @ w_hh[: 2 * size].T).sigmoid().split(size, dim=1)
            u = w_hh[2 * size :].T
            past = r * (into @ u + b[3 * size :]) if options.get("reset_after", True) else (r * into) @ u
            return (1 - z) * (a[:, 2 * size :] + past).tanh() + z * h
        functions = {"relu": torch.relu, "satlin": lambda a: a.clamp(0, 1)}
        return functions.get(options.get("nonlinearity"), torch.tanh)(a + into @ w_hh.T)

    return step


def _sequence(op, t, lengths=None, reverse=False, **options):
    """Sequence by sequence with PyTorch's cells, trimmed, padded with zeros."""
    (count, steps, _), size = t["x"].shape, t["h0"].shape[1]
    plain = set(t) <= {"x", "h0", "c0", "w_ih", "w_hh", "b"} and options.get("nonlinearity") != "satlin"
    plain = plain and options.get("reset_after", True)
    outputs, finals = [], []
    for n in range(count):
        cell = _plain_cell(op, t, options) if plain else _own_cell(op, t, options, n)
        length = steps if lengths is None else lengths[n]
        state = (t["h0"][n : n + 1], t["c0"][n : n + 1]) if op == "lstm" else t["h0"][n : n + 1]
        row = [torch.zeros(size, dtype=torch.float64)] * steps
        for i in range(length)[:: -1 if reverse else 1]:
            state = _zoned(t, (n, i), state, cell(t["x"][n, i : i + 1], state))
            row[i] = (state[0] if op == "lstm" else state)[0]
        outputs.append(torch.stack(row) if steps else torch.zeros((0, size), dtype=torch.float64))
        finals.append(state if op == "lstm" else (state,))
    if not count:
        return (torch.zeros((0, steps, size)), *([t["h0"]] + ([t["c0"]] if op == "lstm" else [])))
    return (torch.stack(outputs), *(torch.cat(parts) for parts in zip(*finals, strict=True)))


def _zoned(t, at, before, after):
    """Where a zone is not 0, the state before."""
    if not isinstance(after, tuple):
        return torch.where(t["zone_h"][at] != 0, before, after) if "zone_h" in t else after
    pairs = zip(("zone_h", "zone_c"), before, after, strict=True)
    return tuple(torch.where(t[name][at] != 0, old, new) if name in t else new for name, old, new in pairs)


def _curve(kind, x, reach):
    return reach * (2 * torch.sigmoid(x) - 1) if kind == "1997" else _CURVES[kind](x)


_CURVES = {"tanh": torch.tanh, "logistic": torch.sigmoid, "identity": lambda x: x}


def _blocks_step(t, rows, x, u, c, options):
    """One sequence, one step; where the gradient is truncated, inputs are detached."""
    cells = options.get("cells_per_block", 1)
    cut = torch.detach if options.get("truncated") else lambda v: v
    a = t["w_ih"] @ cut(x) + t["w_hh"] @ cut(u)
    gates = [name for name in rows if name != "g"]
    parts = {name: a[rows[name]] for name in rows}
    biased, start = list(rows) if "b" in t and len(t["b"]) == len(a) else gates, 0
    for name in biased if "b" in t else []:
        parts[name] = parts[name] + t["b"][start : start + len(rows[name])]
        start += len(rows[name])

    def opened(name, seen):
        if name not in parts:
            return torch.ones(len(c), dtype=c.dtype)
        z = parts[name]
        if "peepholes" in t:
            z = z + (t["peepholes"][gates.index(name)] * cut(seen)).reshape(-1, cells).sum(1)
        parts[name] = torch.sigmoid(z)
        return parts[name].repeat_interleave(cells)

    i = opened("i", c)
    f = 1 - i if options.get("forget_gate") == "coupled" else opened("f", c)
    c = f * c + i * _curve(options.get("squash_input", "tanh"), parts["g"], 2)
    y = opened("o", c) * _curve(options.get("squash_state", "tanh"), c, 1)
    return y, torch.cat([y, *(parts[name] for name in gates)])[: len(u)], c


def _memory_blocks(t, lengths=None, reverse=False, **options):
    (count, steps, _), hidden = t["x"].shape, t["c0"].shape[1]
    rows = layout(hidden, **options)
    y, last_u, last_c = [], [], []
    for n in range(count):
        u, c = t["u0"][n], t["c0"][n]
        row = [torch.zeros(hidden, dtype=torch.float64)] * steps
        for i in range(steps if lengths is None else lengths[n])[:: -1 if reverse else 1]:
            row[i], u, c = _blocks_step(t, rows, t["x"][n, i], u, c, options)
        y.append(torch.stack(row) if steps else torch.zeros((0, hidden), dtype=torch.float64))
        last_u.append(u)
        last_c.append(c)
    if not count:
        return torch.zeros((0, steps, hidden)), t["u0"], t["c0"]
    return torch.stack(y), torch.stack(last_u), torch.stack(last_c)


_FORWARDS = {
    "memory_blocks": _memory_blocks,
    "rnn": lambda t, **options: _sequence("rnn", t, **options),
    "gru": lambda t, **options: _sequence("gru", t, **options),
    "lstm": lambda t, **options: _sequence("lstm", t, **options),
    "gemm": lambda t, transpose_a=False, transpose_b=False: (
        (t["a"].T if transpose_a else t["a"]) @ (t["b"].T if transpose_b else t["b"]),
    ),
    "linear": _linear,
    "conv2d": _conv2d,
    "max_pool2d": _max_pool2d,
    "avg_pool2d": _avg_pool2d,
    "conv_transpose2d": _conv_transpose2d,
    "k_sparse": _k_sparse,
    "k_sparse_linear": _k_sparse_linear,
    "sparse_linear": _sparse_linear,
    "tied_k_sparse": _tied_k_sparse,
    "upsample2d": _upsample2d,
    "max_unpool2d": _max_unpool2d,
    "batch_norm": _batch_norm,
    "group_norm": _group_norm,
    "layer_norm": lambda t, eps=1e-5: (
        functional.layer_norm(t["x"], t["x"].shape[-1:], t.get("gamma"), t.get("beta"), eps),
    ),
    "local_response_norm": _local_response_norm,
    "locally_connected2d": _locally_connected2d,
    "leaky_relu": lambda t, slope=0.01: (functional.leaky_relu(t["x"], slope),),
    "elu": lambda t, alpha=1.0: (functional.elu(t["x"], alpha),),
    "softplus": lambda t: (functional.softplus(t["x"], threshold=1e9),),
    "silu": lambda t: (functional.silu(t["x"]),),
    "gelu": lambda t, approximate="none": (functional.gelu(t["x"], approximate=approximate),),
    "lstm_cell": lambda t: _cell(torch.lstm_cell, t, (t["h"], t["c"])),
    "rnn_cell": lambda t: (_cell(torch.rnn_tanh_cell, t, t["h"]),),
    "embedding": lambda t: (functional.embedding(t["tokens"], t["w"]),),
    "add": lambda t: (t["a"] + t["b"],),
    "relu": lambda t: (torch.relu(t["x"]),),
    "sigmoid": lambda t: (torch.sigmoid(t["x"]),),
    "tanh": lambda t: (torch.tanh(t["x"]),),
    "softmax": lambda t, axis=-1: (torch.softmax(t["x"], axis),),
    "log_softmax": lambda t, axis=-1: (torch.log_softmax(t["x"], axis),),
    "softmax_cross_entropy": lambda t: (
        functional.cross_entropy(
            t["x"].reshape(-1, t["x"].shape[-1]), t["labels"].reshape(-1), reduction="none"
        ).reshape(t["labels"].shape),
    ),
    "mean_squared_error": lambda t: (functional.mse_loss(t["x"], t["target"]),),
    "topk": lambda t, k: torch.topk(t["x"], k),
}


def by_torch(case: Case, arrays: dict[str, np.ndarray], dys: tuple[np.ndarray, ...]):
    """-> outputs, and gradients by name."""
    tensors = {
        name: torch.from_numpy(np.array(a, np.int64 if a.dtype.kind == "i" else np.float64))
        for name, a in arrays.items()
    }
    for name, tensor in tensors.items():
        tensor.requires_grad_(name in OPS[case.op].inputs)
    y = _FORWARDS[case.op](tensors, **case.options)
    loss = sum(
        (out * torch.from_numpy(np.array(dy, np.float64))).sum() for out, dy in zip(y, dys, strict=False)
    )
    loss.backward()
    grads = {
        name: np.zeros(tensor.shape) if tensor.grad is None else tensor.grad.numpy()
        for name, tensor in tensors.items()
        if tensor.requires_grad
    }
    return tuple(out.detach().numpy() for out in y), grads
