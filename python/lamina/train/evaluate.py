"""Loss and metrics of a model on data it is not trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.autoencoders import Autoencoder
from lamina.autograd import Tensor, no_grad
from lamina.data.loader import Loader
from lamina.nn import Module
from lamina.nn.modes import evaluating
from lamina.train.checks import check_loss, check_model
from lamina.train.feed import Feed, feed_of
from lamina.train.metrics import Metric, resolve

Loss = Callable[[Tensor, Any], Tensor]


class Averages:
    """Running means of the loss and of metrics, weighted by the sizes of the batches."""

    def __init__(self, metrics: dict[str, Metric], *, with_loss: bool = True) -> None:
        self.metrics = metrics
        self._sums = dict.fromkeys((*(["loss"] if with_loss else []), *metrics), 0.0)
        self.count = 0

    def add(self, loss: float | None, y_pred: npt.NDArray[Any], y_true: npt.NDArray[Any]) -> None:
        """Take in one batch."""
        n = len(y_true)
        self.count += n
        if loss is not None:
            self._sums["loss"] += n * loss
        for name, metric in self.metrics.items():
            value = metric(y_pred, y_true)
            try:
                self._sums[name] += n * float(value)
            except (TypeError, ValueError):
                raise TypeError(f"the metric {name} must return one number, got {value!r:.80}") from None

    def means(self) -> dict[str, float]:
        """The means so far."""
        return {name: value / max(self.count, 1) for name, value in self._sums.items()}


def evaluate(
    model: Module,
    x: npt.ArrayLike | Loader,
    y: npt.ArrayLike | None = None,
    *,
    loss: Loss | None = None,
    metrics: Sequence[str | Metric] = (),
    batch_size: int | None = None,
) -> dict[str, float]:
    """Mean loss and metrics over x and y, in evaluation mode and without gradients.

    Args:
        model: the module; the modes of all inside are put back afterwards.
        x, y: samples and targets, first axis N of both (N > 0); y None: x, for an autoencoder. Or x a
            `data.Loader`, which then draws from the same seed at every call.
        loss: as for `fit`, a mean over the batch; left out of the answer if None, but for an `Autoencoder`,
            whose own loss is meant.
        metrics: names ("accuracy", ...) or functions (y_pred, y_true) -> float on arrays.
        batch_size: samples at a time (default 256).

    Returns:
        {"loss": ..., "accuracy": ..., ...}.

    Raises:
        TypeError: options of the wrong kind, a class where an instance is due, masked arrays.
        ValueError: no samples, lengths that differ, nothing to compute.
    """
    check_model("evaluate", model)
    loss = own_loss(model) if loss is None else loss
    if loss is not None:
        check_loss("evaluate", loss)
    named = resolve(metrics)
    if loss is None and not named:
        raise ValueError("evaluate: give loss=, metrics= or both")
    return evaluate_feed("evaluate", model, feed_of("evaluate", x, y, batch_size, 256), loss, named)


def evaluate_feed(
    who: str, model: Module, feed: Feed, loss: Loss | None, metrics: dict[str, Metric]
) -> dict[str, float]:
    """As `evaluate`, with everything checked and resolved."""
    averages = Averages(metrics, with_loss=loss is not None)
    with evaluating(model), no_grad():
        for x, y, _ in feed.in_order():
            y_pred, value = compared(who, model, loss, x, y)
            averages.add(None if value is None else scalar(who, value), y_pred.data, y)
    if not averages.count:
        raise ValueError(f"{who}: there were no samples to measure on")
    return averages.means()


def own_loss(model: Module) -> Any:
    """An autoencoder's `objective`, which `compared` knows; None for other models."""
    return model.objective if isinstance(model, Autoencoder) else None


def compared(
    who: str, model: Module, loss: Any, x: npt.NDArray[Any], y: npt.NDArray[Any]
) -> tuple[Tensor, Tensor | None]:
    """What the model makes of a batch, and its loss. TypeError unless the former is one tensor."""
    if isinstance(model, Autoencoder) and loss == model.objective:  # which needs x, for its code
        return model.objective(x, y)
    y_pred = model(x)
    if not isinstance(y_pred, Tensor):
        raise TypeError(f"{who}: the model must return one lamina Tensor, got {type(y_pred).__name__}")
    return y_pred, None if loss is None else loss(y_pred, y)


def scalar(who: str, loss: Tensor) -> float:
    """The number in a loss; raises unless it is a Tensor of one element."""
    if not isinstance(loss, Tensor):
        raise TypeError(f"{who}: loss must return a lamina Tensor, got {type(loss).__name__}")
    if loss.data.size != 1:
        raise ValueError(f"{who}: loss must return one number, got shape {loss.shape}; take its mean()")
    return float(np.asarray(loss.data).reshape(()))
