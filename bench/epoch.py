"""LeNet-5 on real digits, epoch by epoch, the contenders in turn: seconds and test accuracy of each."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from contenders import OURS, Rivals
from networks import NETWORKS, layers
from timing import Dropped, settle
from tqdm import tqdm
from training import Trainer

import lamina as lm

BATCH, LR = 64, 2e-3
_QUICK = 1000


@dataclass(frozen=True)
class Digits:
    """x: bytes 0..white, (N,28,28,1)."""

    name: str
    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    white: int

    def floats(self, x: np.ndarray) -> np.ndarray:
        return np.divide(x, np.float32(self.white), dtype=np.float32)


def load(quick: bool, say: Callable[[str], None]) -> Digits:
    """MNIST, or the digits of the package, enlarged, where MNIST is not to be had."""
    try:
        data, name, white = lm.datasets.mnist(as_float=False), "MNIST", 255
        x, x_test = data.x_train, data.x_test
    except (ImportError, OSError, ValueError) as error:
        say(f"no MNIST ({str(error).splitlines()[0]}): the digits of the package serve instead")
        data, name, white = lm.datasets.digits(as_float=False), "the package's 8x8 digits, enlarged", 16
        x, x_test = _enlarged(data.x_train), _enlarged(data.x_test)
    most = _QUICK if quick else len(x)
    return Digits(name, x[:most], data.y_train[:most], x_test[:most], data.y_test[:most], white)


def _enlarged(x: np.ndarray) -> np.ndarray:
    """8x8 -> 28x28: each pixel thrice in both directions, and a border of 2."""
    return np.pad(x.repeat(3, axis=1).repeat(3, axis=2), ((0, 0), (2, 2), (2, 2), (0, 0)))


def run(
    digits: Digits, epochs: int, rivals: Rivals, names: tuple[str, ...] = tuple(OURS), kind: str = "epoch"
) -> dict[str, Any]:
    """{"seconds": [...], "accuracy": [...]} of every contender, one entry an epoch.

    names: our backends that take part; kind: which variants of the peers do.
    """
    network = NETWORKS["lenet5"]
    rng = np.random.default_rng(0)
    orders = np.stack([rng.permutation(len(digits.x)) for _ in range(epochs)])
    weights = Trainer(network).model.state_dict()
    spec = describe(digits)
    arrays = {
        "x": digits.x,
        "y": digits.y,
        "x_test": digits.x_test,
        "y_test": digits.y_test,
        "orders": orders,
    }
    jobs = rivals.enter(kind, spec, {**weights, **arrays}, lambda outputs: "")
    runs: dict[str, Callable[[], tuple[float, float]]] = {}
    for name in names:
        runs[name] = _ours(name, digits, iter(orders))
    runs |= {name: job.epoch for name, job in jobs.items()}
    found: dict[str, Any] = {name: {"seconds": [], "accuracy": []} for name in runs}
    for _ in range(epochs):
        for name in list(found):
            try:
                seconds, accuracy = runs[name]()
            except Dropped as reason:
                rivals.lost(jobs[name].peer, reason)
                del found[name]
                continue
            found[name]["seconds"].append(seconds)
            found[name]["accuracy"].append(accuracy)
    rivals.forget(jobs)
    return found


def describe(digits: Digits) -> dict[str, Any]:
    """For peers."""
    network = NETWORKS["lenet5"]
    spec = {"op": "epoch", "layers": layers(network), "loss": network.loss}
    return spec | {"lr": LR, "batch": BATCH, "white": digits.white}


def _ours(backend: str, digits: Digits, orders: Any) -> Callable[[], tuple[float, float]]:
    trainer = Trainer(NETWORKS["lenet5"], LR)
    x, x_test = digits.floats(digits.x), digits.floats(digits.x_test)

    def epoch() -> tuple[float, float]:
        with lm.use_backend(backend):
            start = time.perf_counter()
            train(trainer, x, digits.y, next(orders), OURS[backend])
            seconds = time.perf_counter() - start
            guesses = trainer.model.predict(x_test).argmax(axis=1)
        settle()
        return seconds, float(np.mean(guesses == digits.y_test))

    return epoch


def train(trainer: Trainer, x: np.ndarray, y: np.ndarray, order: np.ndarray, who: str) -> None:
    """One pass over the data in `order`."""
    starts = range(0, len(order), BATCH)
    for i in tqdm(starts, desc=f"epoch, {who}", leave=False, disable=None, position=1):
        rows = order[i : i + BATCH]
        trainer.step(x[rows], y[rows])
