"""PyTorch: in its default layout (NCHW) and in channels_last, in training also with the fused Adam."""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from peers.torch_network import back, image, network
from peers.worker import Arrays, Epoch, Job, Unsupported, serve
from torch import nn

VARIANTS = {
    "kernels": ["", "channels_last"],
    "gradients": ["", "channels_last"],
    "training": ["", "channels_last", "channels_last fused"],
    "epoch": ["", "channels_last", "channels_last fused"],
}
Tensor = torch.Tensor


def kernel(spec: dict[str, Any], a: Arrays, variant: str) -> Job:
    """One op, forward or forward + backward."""
    op, options, last = spec["op"], spec["options"], variant == "channels_last"
    if spec["pass"].startswith("backward"):
        return gradient(spec, a, variant)
    if last and op not in ("conv2d", "max_pool2d", "avg_pool2d", "batch_norm"):
        raise Unsupported(f"{op} has no layout")
    images = {name for name in a if a[name].ndim == 4}
    t = {name: image(x, last) if name in images else torch.from_numpy(x) for name, x in a.items()}
    call, inputs, dys, names = _OPS.get(op, _unknown)(t, options)

    def forward() -> Any:
        with torch.inference_mode():
            return call()

    def both() -> Any:
        y = call()
        ys = y if isinstance(y, tuple) else (y,)
        return *ys, *torch.autograd.grad(ys, inputs, dys)

    if spec["pass"] == "forward + backward":
        for tensor in inputs:
            tensor.requires_grad_()
    run = forward if spec["pass"] == "forward" else both

    def outputs() -> Arrays:
        found = run()
        return {
            name: back(y)
            for name, y in zip(names, found if isinstance(found, tuple) else (found,), strict=False)
        }

    return Job(run, outputs)


def gradient(spec: dict[str, Any], a: Arrays, variant: str) -> Job:
    """Of a convolution, the gradient of the input or those of filters and bias, each by itself."""
    if spec["op"] != "conv2d":
        raise Unsupported("no gradient by itself")
    x, w, dy = (image(a[name], variant == "channels_last") for name in ("x", "w", "dy"))
    sizes = ([spec["options"][name]] * 2 for name in ("stride", "padding", "dilation"))
    names = ("dx",) if spec["pass"] == "backward input" else ("dw", "db")
    wanted = [name in names for name in ("dx", "dw", "db")]
    given = (dy, x, w, [len(w)], *sizes, False, [0, 0], spec["options"]["groups"], wanted)

    def run() -> list[Tensor]:
        with torch.inference_mode():
            return [t for t in torch.ops.aten.convolution_backward(*given) if t is not None]

    return Job(run, lambda: {name: back(t) for name, t in zip(names, run(), strict=True)})


Built = tuple[Callable[[], Any], list[Tensor], Sequence[Tensor], tuple[str, ...]]


def _unknown(t: dict[str, Tensor], options: dict[str, Any]) -> Built:
    raise Unsupported("no such op here")


def _conv2d(t: dict[str, Tensor], options: dict[str, Any]) -> Built:
    x, w, b = t["x"], t["w"], t["b"]
    return lambda: F.conv2d(x, w, b, **options), [x, w, b], [t["dy"]], ("y", "dx", "dw", "db")


def _pool(function: Callable[..., Tensor]) -> Callable[..., Built]:
    def build(t: dict[str, Tensor], options: dict[str, Any]) -> Built:
        sizes = (options["kernel"], options["stride"], options["padding"])
        return lambda: function(t["x"], *sizes), [t["x"]], [t["dy"]], ("y", "dx")

    return build


def _batch_norm(t: dict[str, Tensor], options: dict[str, Any]) -> Built:
    x, gamma, beta = t["x"], t["gamma"], t["beta"]

    def call() -> Tensor:
        return F.relu(F.batch_norm(x, None, None, gamma, beta, training=True))

    return call, [x, gamma, beta], [t["dy"]], ("y", "dx", "dgamma", "dbeta")


def _gemm(t: dict[str, Tensor], options: dict[str, Any]) -> Built:
    return lambda: t["a"] @ t["b"], [t["a"], t["b"]], [t["dy"]], ("y", "da", "db")


def _lstm_cell(t: dict[str, Tensor], options: dict[str, Any]) -> Built:
    cell = nn.LSTMCell(t["x"].shape[1], t["h"].shape[1])
    with torch.no_grad():
        for name, value in (("weight_ih", "w_ih"), ("weight_hh", "w_hh"), ("bias_ih", "b")):
            getattr(cell, name).copy_(t[value])
        cell.bias_hh.zero_()
    cell.bias_hh.requires_grad_(False)
    x, h, c = t["x"], t["h"], t["c"]
    names = ("h_next", "c_next", "dx", "dh", "dc", "dw_ih", "dw_hh", "db")
    inputs = [x, h, c, cell.weight_ih, cell.weight_hh, cell.bias_ih]
    return lambda: cell(x, (h, c)), inputs, [t["dh_next"], t["dc_next"]], names


def _sequence(function: Callable[..., Any], gates: int) -> Callable[..., Built]:
    """What nn.RNN, nn.GRU and nn.LSTM call, of one layer; mixed lengths as packed sequences, as they do."""

    def build(t: dict[str, Tensor], options: dict[str, Any]) -> Built:
        if options["dropout"]:
            raise Unsupported("no recurrent dropout")
        x, b, hidden = t["x"], t["b"], t["h0"].shape[1]
        states = [t[name] for name in ("h0", "c0") if name in t]
        zeros = torch.zeros(gates * hidden)

        def call() -> Any:
            # Of the two biases that PyTorch has, a GRU needs both, for what its reset gate stands before.
            b_hh = torch.cat([zeros[: 2 * hidden], b[3 * hidden :]]) if gates == 3 else zeros
            weights = [t["w_ih"], t["w_hh"], b[: gates * hidden], b_hh]
            settings = (weights, True, 1, 0.0, False, False)  # biases, layers, dropout, train, bidirectional
            initial = tuple(s[None] for s in states)
            if not options["ragged"]:
                y, *last = function(x, initial if len(initial) > 1 else initial[0], *settings, True)
                return y, *(s[0] for s in last)
            packed = nn.utils.rnn.pack_padded_sequence(
                x, t["lengths"], batch_first=True, enforce_sorted=False
            )
            order, back = packed.sorted_indices, packed.unsorted_indices
            initial = tuple(s[:, order] for s in initial)
            data, *last = function(
                packed.data, packed.batch_sizes, initial if len(initial) > 1 else initial[0], *settings
            )
            y, _ = nn.utils.rnn.pad_packed_sequence(
                packed._replace(data=data), batch_first=True, total_length=x.shape[1]
            )
            return y, *(s[0, back] for s in last)

        letters = "hc"[: len(states)]
        dys = [t[name] for name in ("dy", "dh_last", "dc_last") if name in t]
        names = ("y", *letters, "dx", *(f"d{letter}0" for letter in letters), "dw_ih", "dw_hh", "db")
        return call, [x, *states, t["w_ih"], t["w_hh"], b], dys, names

    return build


def _elementwise(function: Callable[[Tensor], Tensor]) -> Callable[..., Built]:
    def build(t: dict[str, Tensor], options: dict[str, Any]) -> Built:
        return lambda: function(t["x"]), [t["x"]], [t["dy"]], ("y", "dx")

    return build


def _cross_entropy(t: dict[str, Tensor], options: dict[str, Any]) -> Built:
    x, labels = t["x"], t["labels"]
    return lambda: F.cross_entropy(x, labels, reduction="none"), [x], [t["dy"]], ("y", "dx")


def _embedding(t: dict[str, Tensor], options: dict[str, Any]) -> Built:
    return lambda: F.embedding(t["tokens"], t["w"]), [t["w"]], [t["dy"]], ("y", "dw")


def _topk(t: dict[str, Tensor], options: dict[str, Any]) -> Built:
    return lambda: tuple(torch.topk(t["x"], options["k"])), [], [], ("values", "indices")


_OPS: dict[str, Callable[..., Built]] = {
    "conv2d": _conv2d,
    "max_pool2d": _pool(F.max_pool2d),
    "avg_pool2d": _pool(F.avg_pool2d),
    "batch_norm": _batch_norm,
    "gemm": _gemm,
    "lstm_cell": _lstm_cell,
    "lstm": _sequence(torch._VF.lstm, 4),
    "gru": _sequence(torch._VF.gru, 3),
    "rnn": _sequence(torch._VF.rnn_tanh, 1),
    "embedding": _embedding,
    "relu": _elementwise(F.relu),
    "sigmoid": _elementwise(torch.sigmoid),
    "tanh": _elementwise(torch.tanh),
    "softmax": _elementwise(lambda x: F.softmax(x, 1)),
    "log_softmax": _elementwise(lambda x: F.log_softmax(x, 1)),
    "softmax_cross_entropy": _cross_entropy,
    "topk": _topk,
}


def _cross_entropy_of_rows(scores: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(scores.flatten(0, -2), labels.flatten())


class Training:
    """A network, its loss and Adam."""

    def __init__(self, spec: dict[str, Any], a: Arrays, variant: str) -> None:
        self.last = variant.startswith("channels_last")
        self.model = network(spec["layers"], a)
        if self.last:
            self.model = self.model.to(memory_format=torch.channels_last)
        more = {"fused": True} if "fused" in variant else {}
        self.optimizer = torch.optim.Adam(self.model.parameters(), spec["lr"], **more)
        self.loss = _cross_entropy_of_rows if spec["loss"] == "cross_entropy" else nn.MSELoss()

    def tensor(self, x: np.ndarray) -> Tensor:
        return image(x, self.last) if x.ndim == 4 else torch.from_numpy(x)

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        self.optimizer.zero_grad()
        loss = self.loss(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss

    def predict(self, x: Tensor) -> Tensor:
        with torch.inference_mode():
            return self.model(x)


def model(spec: dict[str, Any], a: Arrays, variant: str) -> Job:
    """A whole training step, or a prediction."""
    if spec["input"] != 3 and "channels_last" in variant and variant != "channels_last fused":
        raise Unsupported("vectors have no layout")
    training = Training(spec, a, variant)
    x, y = training.tensor(a["x"]), training.tensor(a["y"])
    if spec["pass"] == "predict":
        if "fused" in variant:
            raise Unsupported("predicting takes no optimiser")
        training.model.eval()
        return Job(lambda: training.predict(x), lambda: {"y": back(training.predict(x))})

    def losses() -> Arrays:
        return {"losses": np.array([training.step(x, y).item() for _ in range(spec["steps"])])}

    return Job(lambda: training.step(x, y), losses)


def epoch(spec: dict[str, Any], a: Arrays, variant: str) -> Epoch:
    """Passes over a whole data set, in the order given."""
    training = Training(spec, a, variant)
    white, size = np.float32(spec["white"]), spec["batch"]
    x, x_test = (training.tensor(np.divide(a[name], white, dtype=np.float32)) for name in ("x", "x_test"))
    y, y_test = torch.from_numpy(a["y"]), torch.from_numpy(a["y_test"])
    orders = iter(torch.from_numpy(a["orders"]))

    def train() -> float:
        start = time.perf_counter()
        order = next(orders)
        for i in range(0, len(order), size):
            rows = order[i : i + size]
            training.step(x[rows], y[rows]).item()
        return time.perf_counter() - start

    def accuracy() -> float:
        right = 0
        for i in range(0, len(x_test), 250):
            right += int((training.predict(x_test[i : i + 250]).argmax(1) == y_test[i : i + 250]).sum())
        return right / len(x_test)

    return Epoch(train, accuracy)


def prepare(spec: dict[str, Any], a: Arrays, variant: str) -> Job | Epoch:
    return {"model": model, "epoch": epoch}.get(spec["op"], kernel)(spec, a, variant)


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    serve(torch.__version__, VARIANTS, prepare)
