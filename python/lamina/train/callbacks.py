"""Things that happen around the training loop: stopping early, checkpoints, logs."""

from __future__ import annotations

import contextlib
import csv
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TextIO

import numpy as np
import numpy.typing as npt

from lamina import io
from lamina.nn import Module
from lamina.train.history import History, check_monitor, direction


@dataclass
class Run:
    """What a callback sees of a training run.

    epoch counts from 1 (0 before the first), step counts optimiser steps from 1 over the whole run, loss is
    that of the last batch. logs holds the measures of the epoch that just ended. inputs gives the training
    samples once more, batch by batch as they stand.
    """

    model: Module
    optimizer: Any
    epochs: int
    history: History = field(default_factory=History)
    epoch: int = 0
    step: int = 0
    loss: float = math.nan
    logs: dict[str, float] = field(default_factory=dict)
    stop_reason: str | None = None
    inputs: Callable[[], Iterable[npt.NDArray[Any]]] = tuple

    def stop(self, reason: str) -> None:
        """End the run after this batch, or after this epoch's callbacks; goes to `history.stopped`."""
        self.stop_reason = reason


class Callback:
    """Base class: override what you need. All methods get the `Run`."""

    def _watched(self) -> str | None:
        """The measure that must be in `run.logs` when an epoch ends, or None."""
        return None

    def on_train_begin(self, run: Run) -> None:
        """Before the first epoch."""

    def on_epoch_begin(self, run: Run) -> None:
        """Before each epoch."""

    def on_batch_end(self, run: Run) -> None:
        """After each optimiser step."""

    def on_steps_end(self, run: Run) -> None:
        """After the last step of each epoch, before validation."""

    def on_epoch_end(self, run: Run) -> None:
        """After each whole epoch, with `run.logs`."""

    def on_train_end(self, run: Run) -> None:
        """Once, however the run ended: also after Ctrl-C or an error."""

    def state_dict(self) -> dict[str, Any]:
        """What `fit(resume=...)` has to keep: numbers, texts and arrays, in dicts and lists."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave; called after `on_train_begin`."""


class NotSaved(OSError):
    """A file could not be written. `history` has the whole epochs until then; a former file is whole."""

    def __init__(self, error: OSError, path: Path, history: History) -> None:
        super().__init__(error.errno, error.strerror, str(path))
        self.history = history


def abandon(file: IO[Any]) -> None:
    """Close a file that could not be written: what it still holds would fail once more."""
    with contextlib.suppress(OSError):
        file.close()


class EarlyStopping(Callback):
    """Stop when a measure has not improved for some epochs; keep the best weights.

    Args:
        monitor: the measure (default "val_loss").
        patience: epochs without improvement that are borne (default 5; an int, at least 1).
        min_delta: the least change that counts as improvement (default 0).
        restore_best: give the model its best weights when training ends, however it ends (default True).
        mode: "min", "max" or "auto" (by the measure's name).
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        patience: int = 5,
        min_delta: float = 0.0,
        restore_best: bool = True,
        mode: str = "auto",
    ) -> None:
        if isinstance(patience, bool) or not isinstance(patience, (int, np.integer)):
            raise TypeError(f"EarlyStopping: patience must be an int, got {patience!r}")
        if patience < 1:
            raise ValueError(f"EarlyStopping: patience is {patience}, expected at least 1")
        if not 0 <= min_delta < math.inf:
            raise ValueError(f"EarlyStopping: min_delta is {min_delta}, expected at least 0 and finite")
        self.monitor, self.patience, self.min_delta = monitor, patience, min_delta
        self.restore_best = restore_best
        self._sign = direction(monitor, mode)
        self._best, self._best_epoch, self._waited = math.inf, 0, 0
        self._weights: dict[str, npt.NDArray[Any]] = {}

    def _watched(self) -> str | None:
        """The measure that is monitored."""
        return self.monitor

    def on_train_begin(self, run: Run) -> None:
        """Forget any former run."""
        self._best, self._best_epoch, self._waited = math.inf, 0, 0
        self._weights = {}

    def on_epoch_end(self, run: Run) -> None:
        """Compare with the best so far."""
        check_monitor("EarlyStopping", self.monitor, run.logs)
        value = self._sign * run.logs[self.monitor]
        if value < self._best - self.min_delta:
            self._best, self._best_epoch, self._waited = value, run.epoch, 0
            if self.restore_best:
                self._weights = {k: np.array(v) for k, v in run.model.state_dict().items()}
            return
        self._waited += 1
        if self._waited >= self.patience:
            run.stop("EarlyStopping")

    def on_train_end(self, run: Run) -> None:
        """Give the best weights back."""
        if self._weights:
            run.model.load_state_dict(self._weights)
            self._weights = {}

    def state_dict(self) -> dict[str, Any]:
        """The best epoch, its value and weights, and the epochs waited since."""
        return {
            "best": self._best,
            "best_epoch": self._best_epoch,
            "waited": self._waited,
            "weights": self._weights,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take them over."""
        self._best, self._best_epoch = float(state["best"]), int(state["best_epoch"])
        self._waited, self._weights = int(state["waited"]), state["weights"]

    @property
    def best_epoch(self) -> int:
        """The epoch (from 1) with the best value; 0 before any."""
        return self._best_epoch


class Checkpoint(Callback):
    """Save the model after each epoch, or only when a measure has improved.

    The file is written beside its place and moved there whole, so that a crash leaves the former one.

    Args:
        path: the file; may contain "{epoch}", as in "net-{epoch:03d}.safetensors", and no other field.
        monitor: the measure for save_best_only (default "val_loss").
        save_best_only: save only when `monitor` is better than ever before (default False).
        mode: "min", "max" or "auto" (by the measure's name).
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        monitor: str = "val_loss",
        save_best_only: bool = False,
        mode: str = "auto",
    ) -> None:
        self.path, self.monitor, self.save_best_only = os.fsdecode(path), monitor, save_best_only
        self._place(1)  # raises for a path that cannot be filled in
        self._sign = direction(monitor, mode) if save_best_only else 1
        self._best = math.inf

    def _watched(self) -> str | None:
        """The measure that is monitored, with save_best_only."""
        return self.monitor if self.save_best_only else None

    def on_train_begin(self, run: Run) -> None:
        """Make the folder now, so that a wrong path fails before the training, not after an epoch."""
        self._best = math.inf
        self._place(run.epoch).parent.mkdir(parents=True, exist_ok=True)

    def on_epoch_end(self, run: Run) -> None:
        """Save if it is time."""
        if self.save_best_only:
            check_monitor("Checkpoint", self.monitor, run.logs)
            value = self._sign * run.logs[self.monitor]
            if not value < self._best:
                return
            self._best = value
        place = self._place(run.epoch)
        try:
            io.save(run.model, place)
        except OSError as error:
            raise NotSaved(error, place, run.history) from error

    def state_dict(self) -> dict[str, Any]:
        """The best value so far."""
        return {"best": self._best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it over."""
        self._best = float(state["best"])

    def _place(self, epoch: int) -> Path:
        try:
            return Path(self.path.format(epoch=epoch))
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise ValueError(
                f"Checkpoint: path {self.path!r} cannot be filled in ({error!r}): the only field is "
                "{epoch}, as in 'net-{epoch:03d}.safetensors'; for a brace itself write it twice"
            ) from error


class CSVLogger(Callback):
    """Write the measures of each epoch to a CSV file, a line as soon as the epoch ends."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file: TextIO | None = None

    def on_train_begin(self, run: Run) -> None:
        """Open the file; a former one is replaced, but for the epochs of a run that goes on."""
        kept = run.history.epochs + 1 if run.history.epochs and self.path.exists() else 0
        lines = self.path.read_text(encoding="utf-8").splitlines()[:kept] if kept else []
        self._file = self.path.open("w", newline="", encoding="utf-8")
        self._file.writelines(f"{line}\r\n" for line in lines)

    def on_epoch_end(self, run: Run) -> None:
        """Append a line, after the header in the first epoch."""
        if self._file is None:
            return
        writer = csv.writer(self._file)
        try:
            if self._file.tell() == 0:
                writer.writerow(["epoch", *run.logs, "seconds"])
            writer.writerow([run.epoch, *map(repr, run.logs.values()), f"{run.history.seconds[-1]:.3f}"])
            self._file.flush()
        except OSError as error:
            abandon(self._file)
            self._file = None
            raise NotSaved(error, self.path, run.history) from error

    def on_train_end(self, run: Run) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


class LambdaCallback(Callback):
    """A callback from functions: LambdaCallback(on_epoch_end=lambda run: print(run.logs))."""

    def __init__(
        self,
        *,
        on_train_begin: Callable[[Run], object] | None = None,
        on_epoch_begin: Callable[[Run], object] | None = None,
        on_batch_end: Callable[[Run], object] | None = None,
        on_steps_end: Callable[[Run], object] | None = None,
        on_epoch_end: Callable[[Run], object] | None = None,
        on_train_end: Callable[[Run], object] | None = None,
    ) -> None:
        given = {
            "on_train_begin": on_train_begin,
            "on_epoch_begin": on_epoch_begin,
            "on_batch_end": on_batch_end,
            "on_steps_end": on_steps_end,
            "on_epoch_end": on_epoch_end,
            "on_train_end": on_train_end,
        }
        for name, function in given.items():
            if function is not None:
                setattr(self, name, function)  # shadows the method; called with the run alone
