"""The cases of the ops worked out by PyTorch, in float64 and in this library's layouts."""

import numpy as np
import torch
from torch.nn import functional

from tests.ops import oracle
from tests.ops.cases import Case


def _nchw(x):
    return x.permute(0, 3, 1, 2)


def _nhwc(x):
    return x.permute(0, 2, 3, 1)


def _padded(x, sides, value=0.0):
    """x (N,C,H,W) with each side padded by itself."""
    (top, bottom), (left, right) = sides
    return functional.pad(x, (left, right, top, bottom), value=value)


def _conv2d(t, stride=1, padding=0, dilation=1, groups=1, **_):
    size, kernel = tuple(t["x"].shape[1:3]), tuple(t["w"].shape[1:3])
    sides = oracle.sides(padding, size, kernel, oracle.both(stride), oracle.both(dilation))
    x = _padded(_nchw(t["x"]), sides)
    y = functional.conv2d(x, _nchw(t["w"]), t.get("b"), stride, 0, dilation, groups)
    return (_nhwc(y),)


def _max_pool2d(t, kernel_size, stride=None, padding=0, ceil_mode=False):
    if isinstance(padding, (int, tuple)) and not isinstance(oracle.both(padding)[0], tuple):
        y = functional.max_pool2d(_nchw(t["x"]), kernel_size, stride, padding, ceil_mode=ceil_mode)
        return (_nhwc(y),)
    step = oracle.both(kernel_size if stride is None else stride)
    sides = oracle.sides(padding, tuple(t["x"].shape[1:3]), oracle.both(kernel_size), step, (1, 1))
    y = functional.max_pool2d(_padded(_nchw(t["x"]), sides, -float("inf")), kernel_size, stride)
    return (_nhwc(y),)


def _avg_pool2d(t, kernel_size, stride=None, padding=0, **options):
    padding = 0 if padding == "valid" else padding
    y = functional.avg_pool2d(_nchw(t["x"]), kernel_size, stride, padding, **options)
    return (_nhwc(y),)


def _cell(cell, t, state):
    return cell(t["x"], state, t["w_ih"], t["w_hh"], t["b"], torch.zeros_like(t["b"]))


def _sequence(op, t, lengths=None, reverse=False, nonlinearity="tanh"):
    """Sequence by sequence with PyTorch's cells, trimmed, padded with zeros."""
    (count, steps, _), size = t["x"].shape, t["h0"].shape[1]
    b = t["b"]
    b_hh = torch.cat([torch.zeros_like(b[: 2 * size]), b[3 * size :]]) if op == "gru" else torch.zeros_like(b)
    weights = (t["w_ih"], t["w_hh"], b[: 3 * size] if op == "gru" else b, b_hh)
    cells = {"lstm": torch.lstm_cell, "gru": torch.gru_cell}
    cell = cells.get(op) or (torch.rnn_relu_cell if nonlinearity == "relu" else torch.rnn_tanh_cell)
    outputs, finals = [], []
    for n in range(count):
        length = steps if lengths is None else lengths[n]
        state = (t["h0"][n : n + 1], t["c0"][n : n + 1]) if op == "lstm" else t["h0"][n : n + 1]
        row = [torch.zeros(size, dtype=torch.float64)] * steps
        for i in range(length)[:: -1 if reverse else 1]:
            state = cell(t["x"][n, i : i + 1], state, *weights)
            row[i] = (state[0] if op == "lstm" else state)[0]
        outputs.append(torch.stack(row) if steps else torch.zeros((0, size), dtype=torch.float64))
        finals.append(state if op == "lstm" else (state,))
    if not count:
        return (torch.zeros((0, steps, size)), *([t["h0"]] + ([t["c0"]] if op == "lstm" else [])))
    return (torch.stack(outputs), *(torch.cat(parts) for parts in zip(*finals, strict=True)))


_FORWARDS = {
    "rnn": lambda t, **options: _sequence("rnn", t, **options),
    "gru": lambda t, **options: _sequence("gru", t, **options),
    "lstm": lambda t, **options: _sequence("lstm", t, **options),
    "gemm": lambda t, transpose_a=False, transpose_b=False: (
        (t["a"].T if transpose_a else t["a"]) @ (t["b"].T if transpose_b else t["b"]),
    ),
    "linear": lambda t: (functional.linear(t["x"], t["w"], t.get("b")),),
    "conv2d": _conv2d,
    "max_pool2d": _max_pool2d,
    "avg_pool2d": _avg_pool2d,
    "lstm_cell": lambda t: _cell(torch.lstm_cell, t, (t["h"], t["c"])),
    "rnn_cell": lambda t: (_cell(torch.rnn_tanh_cell, t, t["h"]),),
    "embedding": lambda t: (functional.embedding(t["tokens"], t["w"]),),
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
        name: torch.from_numpy(np.array(a, np.int64 if name in ("labels", "tokens") else np.float64))
        for name, a in arrays.items()
    }
    for name, tensor in tensors.items():
        tensor.requires_grad_(name not in ("labels", "tokens", "target"))
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
