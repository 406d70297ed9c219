"""A classifier of images trained with a bar, and the time that it took."""

import math
import time

import numpy as np

import lamina as lm
from lamina import data, nn, optim, train
from papers.row import progress


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
    return f"{epochs} epochs, {seconds // 60}:{seconds % 60:02d} min"


def accuracy(model: nn.Module, x: np.ndarray, y: np.ndarray) -> float:
    """The share of labels that the model gives the highest score."""
    return float(train.accuracy(model.predict(x), y))
