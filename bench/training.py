"""Whole training steps and predictions of networks, on both backends and on the peers."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from checks import disagreement
from contenders import Rivals, local
from kernels import finished
from networks import Network, flops, layers
from stepping import Stepper, can_step

import lamina as lm
from lamina import config, nn, optim

_STEPS = 2  # whose losses are compared
_TOLERANCE = 1e-3
_LR = 1e-3
ANSWER = "one answer"
LARGE = 256  # images at a time, for throughput
MANY = f"predict, batch {LARGE}"
STEP = "one step"


class Trainer:
    """A model with its loss and Adam. `like` gives the weights to start from; else they are seeded with 0."""

    def __init__(
        self, network: Network, lr: float = _LR, like: nn.Module | None = None, dtype: Any = np.float32
    ) -> None:
        lm.manual_seed(0)
        self.model = network.build()
        if like is not None:
            self.model.load_state_dict(like.state_dict())
        for p in self.model.parameters():
            p.data = p.data.astype(dtype)
        self.loss = nn.CrossEntropyLoss() if network.loss == "cross_entropy" else nn.MSELoss()
        self.optimizer = optim.Adam(self.model.parameters(), lr)
        self._compiled: dict[Any, Any] = {}

    def step(self, x: np.ndarray, y: np.ndarray) -> float:
        """A step as `fit` makes it: compiled, where the backend can."""
        if not config.has_plans():
            return self._plain(x, y)
        return self.compiled(x, y)(x, y)

    def compiled(self, x: np.ndarray, y: np.ndarray) -> Any:
        """The step for batches of these shapes."""
        shapes = x.shape, y.shape
        if shapes not in self._compiled:
            self._compiled[shapes] = lm.compile(self.model, x, y, loss=self.loss, optimizer=self.optimizer)
        return self._compiled[shapes]

    def _plain(self, x: np.ndarray, y: np.ndarray) -> float:
        self.optimizer.zero_grad()
        loss = self.loss(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()


def rows_of(network: Network, seconds: float, rivals: Rivals, quick: bool = False) -> list[dict[str, Any]]:
    """A training step (forward, loss, backward, Adam), predictions, and one of a single sample.

    Of images, LARGE batches too, unless it has to be quick. Of networks that read tokens forwards, one step.
    """
    rng = np.random.default_rng(0)
    x, y = network.data(rng)
    forward, step = flops(network)
    each = forward / network.batch
    rows = [
        _row(network, "training step", x, y, step, seconds, rivals),
        _row(network, "predict", x, y, forward, seconds, rivals),
    ]
    if len(network.sample) == 3 and not quick:
        large = replace(network, batch=LARGE).data(rng)
        rows.append(_row(network, MANY, *large, LARGE * each, seconds, rivals))
    rows.append(_row(network, ANSWER, x[:1], y[:1], each, seconds, rivals))
    if can_step(network):
        rows.append(_row(network, STEP, x[:1, :1], y[:1, :1], each / network.sample[0], seconds, rivals))
    return rows


def _row(
    network: Network, what: str, x: np.ndarray, y: np.ndarray, flops: float, seconds: float, rivals: Rivals
) -> dict[str, Any]:
    shape = replace(network, batch=len(x)).shape
    if what == STEP:
        shape = "batch 1 of 1"
    row: dict[str, Any] = {"case": network.name, "shape": shape, "pass": what, "times": {}}
    start = Trainer(network)
    weights = start.model.state_dict()
    compute = losses if what == "training step" else _prediction
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
    row["relative_error"] = row["error"] * _TOLERANCE / allowed
    if wrong := [backend for backend in errors if not errors[backend][name] <= allowed]:
        return row | {"wrong": f"{' and '.join(wrong)}: {name} differ from float64: {errors}"}
    spec = described(network, what)
    jobs = rivals.enter("training", spec, {**weights, "x": x, "y": y}, lambda got: disagreement(got, exact))
    turns = {}
    for backend, trainer in trainers.items():
        with lm.use_backend(backend):
            turns[backend] = local(backend, _call(trainer, what, x, y))
    row |= finished(rivals.race(turns, jobs, seconds), flops, 0)
    return row | {"samples_per_second": len(x) / row["times"]["cpp"]["median"]}


def described(network: Network, what: str) -> dict[str, Any]:
    """For peers."""
    part = "training step" if what == "training step" else "predict"
    spec = {"op": "model", "shape": network.name, "pass": part, "layers": layers(network), "steps": _STEPS}
    return spec | {"loss": network.loss, "lr": _LR, "input": 0 if network.tokens else len(network.sample)}


def _call(trainer: Trainer, what: str, x: np.ndarray, y: np.ndarray) -> Callable[[], Any]:
    if what == "training step":
        return lambda: trainer.step(x, y)
    if what == STEP:
        step = Stepper(trainer.model)
        return lambda: step(int(x[0, 0]))
    if what == ANSWER and config.has_plans():
        answer = lm.compile(trainer.model, x, frozen=True)
        return lambda: answer(x)
    return lambda: trainer.model.predict(x)


def losses(trainer: Trainer, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Of the first steps."""
    return {"losses": np.array([trainer.step(x, y) for _ in range(_STEPS)])}


def _prediction(trainer: Trainer, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    return {"y": trainer.model.predict(x)}
