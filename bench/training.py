"""Whole training steps and predictions of three networks, on both backends and on the peers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from checks import disagreement
from contenders import Rivals, local
from kernels import finished

import lamina as lm
from lamina import nn, optim
from lamina.nn.summary import summarize

_STEPS = 2  # whose losses are compared
_TOLERANCE = 1e-3
_LR = 1e-3


@dataclass(frozen=True)
class Network:
    """sample: the shape of one; batch: how many at a time."""

    name: str
    build: Callable[[], nn.Sequential]
    sample: tuple[int, ...]
    batch: int
    loss: str

    @property
    def shape(self) -> str:
        return f"batch {self.batch} of {'x'.join(map(str, self.sample))}"


NETWORKS = {
    "lenet5": Network("lenet5", lm.models.lenet5, (28, 28, 1), 64, "cross_entropy"),
    "vgg_small": Network("vgg_small", lm.models.vgg_small, (32, 32, 3), 64, "cross_entropy"),
    "autoencoder": Network("autoencoder", lm.models.autoencoder, (784,), 100, "mse"),
}


class Trainer:
    """A model with its loss and Adam. `like` gives the weights to start from; else they are seeded with 0."""

    def __init__(
        self, network: Network, lr: float = _LR, like: nn.Sequential | None = None, dtype: Any = np.float32
    ) -> None:
        lm.manual_seed(0)
        self.model = network.build()
        if like is not None:
            self.model.load_state_dict(like.state_dict())
        for p in self.model.parameters():
            p.data = p.data.astype(dtype)
        self.loss = nn.CrossEntropyLoss() if network.loss == "cross_entropy" else nn.MSELoss()
        self.optimizer = optim.Adam(self.model.parameters(), lr)

    def step(self, x: np.ndarray, y: np.ndarray) -> float:
        self.optimizer.zero_grad()
        loss = self.loss(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()


def layers(network: Network) -> list[dict[str, Any]]:
    """The network for peers; weights are named as in its state dict."""
    described: list[dict[str, Any]] = []
    model = network.build()
    volumes = {row.name: row.x_shape for row in summarize(model, network.sample).rows}
    for i, layer in enumerate(model):
        names = {"weight": f"{i}.weight", "bias": f"{i}.bias"}
        if isinstance(layer, nn.Conv2d):
            described.append({"kind": "conv2d", "padding": layer.padding, **names})
        elif isinstance(layer, nn.Linear):
            described.append({"kind": "linear", **names})
        elif isinstance(layer, nn.MaxPool2d):
            described.append({"kind": "max_pool2d", "size": layer.kernel_size})
        elif isinstance(layer, nn.Flatten):
            described.append({"kind": "flatten", "volume": volumes[str(i)]})
        elif isinstance(layer, nn.ReLU):
            described.append({"kind": "relu"})
        else:
            raise TypeError(f"{network.name}: no words for {layer!r}")
    return described


def rows_of(network: Network, seconds: float, rivals: Rivals) -> list[dict[str, Any]]:
    """A training step (forward, loss, backward, Adam) and a prediction."""
    rng = np.random.default_rng(0)
    x = rng.random((network.batch, *network.sample), np.float32)
    y = x if network.loss == "mse" else rng.integers(0, 10, network.batch)
    forward, step = _flops(network)
    return [
        _row(network, "training step", x, y, step, seconds, rivals),
        _row(network, "predict", x, y, forward, seconds, rivals),
    ]


def _flops(network: Network) -> tuple[float, float]:
    """Forward, and a training step: thrice that, but for the gradient of the images, which nobody needs."""
    rows = summarize(network.build(), network.sample).rows
    total = sum(row.multiply_adds for row in rows)
    first = next(row.multiply_adds for row in rows if row.multiply_adds)
    return 2.0 * network.batch * total, 2.0 * network.batch * (3 * total - first)


def _row(
    network: Network, what: str, x: np.ndarray, y: np.ndarray, flops: float, seconds: float, rivals: Rivals
) -> dict[str, Any]:
    row: dict[str, Any] = {"case": network.name, "shape": network.shape, "pass": what, "times": {}}
    start = Trainer(network)
    weights = start.model.state_dict()
    compute = _losses if what == "training step" else _prediction
    with lm.use_backend("numpy"):
        exact = compute(Trainer(network, like=start.model, dtype=np.float64), x, y)
    ((name, right),) = exact.items()
    allowed = _TOLERANCE * float(np.abs(right).max())
    errors, trainers = {}, {}
    for backend in ("numpy", "cpp"):
        trainers[backend] = Trainer(network, like=start.model)
        with lm.use_backend(backend):
            found = compute(trainers[backend], x, y)
        errors[backend] = {name: float(np.abs(found[name] - right).max())}
    row |= {"error": errors["cpp"][name], "errors": errors, "bounds": {name: allowed}}
    if wrong := [backend for backend in errors if not errors[backend][name] <= allowed]:
        return row | {"wrong": f"{' and '.join(wrong)}: {name} differ from float64: {errors}"}
    spec = {"op": "model", "shape": network.name, "pass": what, "layers": layers(network), "steps": _STEPS}
    spec |= {"loss": network.loss, "lr": _LR, "input": len(network.sample)}
    jobs = rivals.enter("training", spec, {**weights, "x": x, "y": y}, lambda got: disagreement(got, exact))
    turns = {backend: local(backend, _call(trainers[backend], what, x, y)) for backend in trainers}
    row |= finished(rivals.race(turns, jobs, seconds), flops, 0)
    return row | {"samples_per_second": network.batch / row["times"]["cpp"]["median"]}


def _call(trainer: Trainer, what: str, x: np.ndarray, y: np.ndarray) -> Callable[[], Any]:
    if what == "predict":
        return lambda: trainer.model.predict(x)
    return lambda: trainer.step(x, y)


def _losses(trainer: Trainer, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    return {"losses": np.array([trainer.step(x, y) for _ in range(_STEPS)])}


def _prediction(trainer: Trainer, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    return {"y": trainer.model.predict(x)}
