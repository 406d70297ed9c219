"""A classifier of images trained with a bar, and the time that it took."""

import math
import time

import numpy as np

import lamina as lm
from lamina import data, nn, optim, train
from papers.row import Effort, progress


def images(name: str, effort: Effort) -> tuple[str, lm.datasets.Images]:
    """A set of images and its name; in a quick run the shipped digits, enlarged to their size."""
    if not effort.quick:
        return name, getattr(lm.datasets, name)()
    side, channels = (32, 3) if name == "cifar10" else (28, 1)
    shipped, border = lm.datasets.digits(), ((0, 0), *[((side - 24) // 2,) * 2] * 2, (0, 0))
    x, x_test = (
        np.pad(each.repeat(3, axis=1).repeat(3, axis=2), border).repeat(channels, axis=3)
        for each in (shipped.x_train, shipped.x_test)
    )
    return "shipped digits", shipped._replace(x_train=x, x_test=x_test)


def trained(
    model: nn.Module,
    x: np.ndarray,
    y: np.ndarray,
    name: str,
    *,
    epochs: int,
    batch_size: int,
    optimizer: optim.Optimizer,
    schedule: optim.Schedule,
    augment: data.Augmentation | None = None,
    label_smoothing: float = 0.0,
) -> str:
    """Train in place; -> the epochs and the time, as "3 epochs, 1:23 min"."""
    batches = data.Loader(x, y, batch_size=batch_size, augment=augment)
    start = time.perf_counter()
    with progress(epochs * math.ceil(len(x) / batch_size), name, "batch") as bar:
        lm.fit(
            model,
            batches,
            loss=nn.CrossEntropyLoss(label_smoothing=label_smoothing),
            optimizer=optimizer,
            epochs=epochs,
            schedule=schedule,
            callbacks=[train.LambdaCallback(on_batch_end=lambda run: bar.update())],
            seed=0,
            verbose=0,
        )
    seconds = round(time.perf_counter() - start)
    return f"{epochs} epoch{'s' if epochs > 1 else ''}, {seconds // 60}:{seconds % 60:02d} min"


def accuracy(model: nn.Module, x: np.ndarray, y: np.ndarray) -> float:
    """The share of labels that the model gives the highest score."""
    return float(train.accuracy(model.predict(x), y))
