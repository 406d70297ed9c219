"""lamina itself in a process of its own: for the memory that training takes."""

import sys
import time
from typing import Any

import numpy as np
from epoch import train
from networks import NETWORKS
from peers.worker import Arrays, Epoch, Job, serve
from training import Trainer, losses

import lamina as lm

VARIANTS = {"training": [""], "epoch": [""]}


def model(spec: dict[str, Any], a: Arrays) -> Job:
    """A training step; the first weights are those that everyone has."""
    trainer, x, y = Trainer(NETWORKS[spec["shape"]], spec["lr"]), a["x"], a["y"]
    return Job(lambda: trainer.step(x, y), lambda: losses(trainer, x, y))


def epoch(spec: dict[str, Any], a: Arrays) -> Epoch:
    """Passes over a whole data set, in the order given."""
    trainer = Trainer(NETWORKS["lenet5"], spec["lr"])
    white = np.float32(spec["white"])
    x, x_test = (np.divide(a[name], white, dtype=np.float32) for name in ("x", "x_test"))
    orders = iter(a["orders"])

    def one() -> float:
        start = time.perf_counter()
        train(trainer, x, a["y"], next(orders), "lamina")
        return time.perf_counter() - start

    def accuracy() -> float:
        return float(np.mean(trainer.model.predict(x_test).argmax(axis=1) == a["y_test"]))

    return Epoch(one, accuracy)


def prepare(spec: dict[str, Any], a: Arrays, variant: str) -> Job | Epoch:
    return {"model": model, "epoch": epoch}[spec["op"]](spec, a)


if __name__ == "__main__":
    lm.set_num_threads(int(sys.argv[1]))
    serve(lm.__version__, VARIANTS, prepare)
