"""Greedy training: one autoencoder of a stack after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy.typing as npt

from lamina.autoencoders import StackedAutoencoder
from lamina.autograd import Tensor
from lamina.nn._errors import kind
from lamina.train.fit import fit
from lamina.train.history import History


def pretrain(
    model: StackedAutoencoder,
    x: npt.ArrayLike,
    *,
    epochs: int,
    batch_size: int = 128,
    optimizer: Callable[[Iterable[Tensor]], Any] | None = None,
    seed: int | None = None,
    verbose: int = 1,
) -> list[History]:
    """Train each layer of a stack, from the first to the last, on the codes of the one before it.

    (Hinton et al. 2006; Bengio et al. 2007.)

    Args:
        model: the stack; its layers are trained in place, each on its own loss.
        x: samples, first axis N (N > 0).
        optimizer: makes that of each layer of its parameters, as `lambda p: optim.SGD(p, 0.1)` does; None:
            Adam at 1e-3.
        epochs, batch_size, seed, verbose: for each layer, as in `fit`.

    Returns:
        The history of each layer. If one was interrupted, it is the last.

    Raises:
        TypeError: a model that is no stack, and what `fit` refuses.
    """
    if not isinstance(model, StackedAutoencoder):
        raise TypeError(f"pretrain: model must be a StackedAutoencoder, got {kind(model)}")
    histories: list[History] = []
    for i, layer in enumerate(model.layers):
        own = None if optimizer is None else optimizer(layer.parameters())
        options: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size, "seed": seed}
        histories.append(fit(layer, x, optimizer=own, verbose=verbose, **options))
        if histories[-1].stopped == "interrupted":
            break
        if i + 1 < len(model.layers):
            x = layer.encoder.predict(x)
    return histories
