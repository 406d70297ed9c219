"""What `fit` and `evaluate` are given, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lamina.nn import Module
from lamina.nn._errors import kind
from lamina.optim import LBFGS, Optimizer, Schedule
from lamina.optim.schedules import check_schedule
from lamina.train.averaging import EMA, SWA
from lamina.train.callbacks import Callback, Checkpoint, CSVLogger, EarlyStopping
from lamina.train.history import check_monitor
from lamina.train.loggers import LivePlot, TensorBoard

# What happens there when an epoch ends adds no measures to `run.logs`.
_QUIET = (Callback, Checkpoint, CSVLogger, EarlyStopping, LivePlot, TensorBoard)
_ADD_NOTHING = [cls.on_epoch_end for cls in _QUIET]


def check_model(who: str, model: object) -> None:
    """Raise TypeError unless `model` is a module."""
    if not isinstance(model, Module):
        raise TypeError(f"{who}: model must be a lamina.nn.Module, got {kind(model)}")


def check_loss(who: str, loss: object) -> None:
    """Raise TypeError unless `loss` can be called with a prediction and a target."""
    if isinstance(loss, type) or not callable(loss):
        raise TypeError(
            f"{who}: loss must be a function of prediction and target, as nn.MSELoss() is, got {kind(loss)}"
        )


def check_optimizer(who: str, optimizer: Any, model: Module, loss: Any) -> None:
    """Raise TypeError unless it is an optimiser of steps, ValueError if it trains nothing here.

    Some of the model's parameters will do: the others are frozen. A loss may have parameters of its own.
    """
    step, zero_grad = getattr(optimizer, "step", None), getattr(optimizer, "zero_grad", None)
    if isinstance(optimizer, type) or not (callable(step) and callable(zero_grad)):
        raise TypeError(
            f"{who}: optimizer must be an optimiser, such as optim.Adam(model.parameters(), 1e-3), "
            f"got {kind(optimizer)}"
        )
    if isinstance(optimizer, LBFGS):
        raise TypeError(
            f"{who}: LBFGS needs the same loss at every call, not one of each batch: call its "
            "minimize(closure)"
        )
    if not isinstance(optimizer, Optimizer):
        return  # one of your own, which need not say what it changes
    own = {id(p) for part in (model, loss) if isinstance(part, Module) for p in part.parameters()}
    if not any(id(p) in own for p in optimizer.parameters):
        raise ValueError(
            f"{who}: none of the optimiser's parameters are the model's, so nothing would be trained; make "
            f"the optimiser with this model, as optim.{type(optimizer).__name__}(model.parameters(), ...)"
        )


def check_rate(schedule: Any, optimizer: Any) -> float:
    """The rate that the schedule multiplies. TypeError unless it is one, and the optimiser has a rate."""
    check_schedule("fit", "schedule", schedule)
    if schedule is None and not hasattr(optimizer, "lr"):
        return 0.0
    return rate_of("fit: schedule", optimizer)


def rate_of(who: str, optimizer: Any) -> float:
    """The optimiser's learning rate. TypeError unless it has one that can be set."""
    rate = getattr(optimizer, "lr", None)
    if not isinstance(rate, (int, float)):
        raise TypeError(f"{who} sets optimizer.lr, which {kind(optimizer)} does not have")
    return float(rate)


def checked_callbacks(callbacks: object) -> list[Callback]:
    """The callbacks as a list; TypeError unless all are instances of `Callback`."""
    if isinstance(callbacks, (Callback, type)) or not isinstance(callbacks, Iterable):
        raise TypeError(f"fit: callbacks must be a sequence, as [EarlyStopping()], got {kind(callbacks)}")
    found = list(callbacks)
    for i, callback in enumerate(found):
        if not isinstance(callback, Callback):
            raise TypeError(
                f"fit: callbacks[{i}] must be an instance of lamina.train.Callback, got {kind(callback)}"
            )
        if isinstance(callback, (EMA, SWA)) and any(isinstance(c, EarlyStopping) for c in found[:i]):
            raise ValueError(
                f"fit: {kind(callback)} must stand before EarlyStopping in callbacks, or training would end "
                "with the last averages, not the best"
            )
    return found


def check_watched(
    callbacks: Sequence[Callback], measures: Sequence[str], *, validated: bool, schedule: Schedule | None
) -> None:
    """Raise ValueError if a callback monitors what no epoch will measure.

    `measures` are those of the training data. After a callback that may add its own to `run.logs`, the rest
    can only be checked when an epoch ends.
    """
    names = dict.fromkeys([*measures, *(f"val_{name}" for name in measures if validated)])
    for callback in callbacks:
        # A function that was set on the instance, as LambdaCallback does, is no method and has no __func__.
        if getattr(callback.on_epoch_end, "__func__", None) not in _ADD_NOTHING:
            return
        watched = callback._watched()
        if watched is not None:
            check_monitor(type(callback).__name__, watched, names)
    watched = None if schedule is None else schedule.watched()
    if watched is not None:
        check_monitor(type(schedule).__name__, watched, names)
