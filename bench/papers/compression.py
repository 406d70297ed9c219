"""Digits through a few numbers: what autoencoders lose, beside principal components of the same number.

A linear autoencoder can do as well as the components and no better (Bourlard & Kamp 1988); a deep one, each
layer trained on the codes of the one before and then all together, can. Losses are squared errors of a test
digit, summed over its pixels. The paper's 30 numbers come out of 784-1000-500-250-30. The count of weights is
that of A. Ng et al., UFLDL tutorial.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

import lamina as lm
from lamina import autoencoders, optim, train
from papers.row import Effort, Row, all_processors, progress

TITLE = "Hinton & Salakhutdinov 2006, Reducing the dimensionality of data with neural networks (Science 313)"

_PUBLISHED = {30: ("13.87", "3.00")}  # numbers in the code: components, deep autoencoder
_WIDTHS = (512, 128)  # of the deep one, before the code


def run(effort: Effort) -> Iterator[Row]:
    encoder = autoencoders.DenseAutoencoder(96 * 96, 100).hidden
    yield Row(
        "weights from 96x96 pixels to 100 features",
        "921,600",
        f"{encoder.weight.size:,}",
        encoder.weight.size == 921_600,
    )
    try:
        data = lm.datasets.mnist()
    except (FileNotFoundError, ImportError) as error:
        yield Row("all else", "MNIST", f"not run: {error}", None)
        return
    pixels = (each.reshape(len(each), -1) for each in (data.x_train, data.x_test))
    x, x_test = (each[:3000] if effort.quick else each for each in pixels)
    with all_processors():
        for size in (8, 30) if effort.quick else (8, 30, 100):
            yield from _rows(size, x, x_test, effort)


def _rows(size: int, x, x_test, effort: Effort) -> Iterator[Row]:
    published = _PUBLISHED.get(size, ("-", "-"))
    best = _components(x, x_test, size)
    yield Row(
        f"{size} principal components: squared error of a digit",
        published[0],
        f"{best:.2f}",
        abs(best - float(published[0])) < 0.5 if published[0] != "-" and not effort.quick else None,
    )
    epochs = effort.pick(2, 10, 50)
    flat = _flat(size, x, epochs)
    loss = _lost(flat, x_test)
    yield Row(
        f"{size} linear hidden units",
        "the components' at best",
        f"{loss:.2f}, {epochs} epochs",
        None if effort.quick else best - 0.05 < loss < 1.05 * best,
    )
    deep = _deep(size, x, epochs)
    loss = _lost(deep, x_test)
    yield Row(
        f"{size} units of a deep autoencoder, 784-{'-'.join(map(str, _WIDTHS))}-{size}",
        published[1] if published[1] != "-" else "- (wanted: below the components')",
        f"{loss:.2f}, {epochs} epochs",
        None if effort.quick else loss < best,
    )


def _components(x, x_test, size: int) -> float:
    """The squared error that is left by the first principal components of x."""
    mean = x.mean(axis=0, dtype=np.float64)
    _, vectors = np.linalg.eigh(np.cov(x.T, dtype=np.float64))
    left = (x_test - mean) @ vectors[:, :-size]
    return float(np.mean(np.sum(left**2, axis=1)))


def _lost(model, x_test) -> float:
    return float(np.mean(np.sum((model.reconstruct(x_test) - x_test) ** 2, axis=1, dtype=np.float64)))


def _flat(size: int, x, epochs: int):
    model = autoencoders.DenseAutoencoder(784, size, activation="linear", rng=0)
    return _fitted(model, x, epochs, f"{size} linear units")


def _deep(size: int, x, epochs: int):
    """Rectified units but for the code, sigmoid pixels."""
    lm.manual_seed(0)
    sizes = (784, *_WIDTHS, size)
    layers = [
        autoencoders.DenseAutoencoder(
            inputs,
            outputs,
            activation="linear" if outputs == size else "relu",
            output="sigmoid" if inputs == 784 else "relu",
        )
        for inputs, outputs in pairwise(sizes)
    ]
    stack = autoencoders.StackedAutoencoder(layers)
    train.pretrain(stack, x, epochs=max(1, epochs // 5), seed=0, verbose=0)
    return _fitted(stack, x, epochs, f"{size} units, deep")


def _fitted(model, x, epochs: int, name: str):
    """Adam, its steps falling in a straight line from 1e-3."""
    with progress(epochs, name, "epoch") as bar:

        def fall(run):
            run.optimizer.lr = 1e-3 * (1 - (run.epoch - 1) / run.epochs)

        watch = train.LambdaCallback(on_epoch_begin=fall, on_epoch_end=lambda run: bar.update())
        adam = optim.Adam(model.parameters(), 1e-3)
        lm.fit(model, x, epochs=epochs, optimizer=adam, callbacks=[watch], seed=0, verbose=0)
    return model
