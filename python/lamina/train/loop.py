"""What a run does: epochs, and steps of one or several batches."""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from lamina.autoencoders import Autoencoder
from lamina.autograd import Tensor
from lamina.optim import Schedule
from lamina.train.callbacks import Callback, Run
from lamina.train.diagnosis import Diverged, diagnose
from lamina.train.evaluate import Averages, Loss, compared, evaluate_feed, own_loss, scalar
from lamina.train.feed import Batch, Feed
from lamina.train.metrics import Metric
from lamina.train.progress import Progress
from lamina.train.steps import Steps


@dataclass
class Loop:
    """A run with everything that callbacks need not see. `rate`: what the schedule multiplies."""

    run: Run
    feed: Feed
    held_out: Feed | None
    loss: Loss
    metrics: dict[str, Metric]
    callbacks: Sequence[Callback]
    schedule: Schedule | None
    rate: float
    accumulate: int
    rng: np.random.Generator
    progress: Progress
    steps: Steps

    def epoch(self) -> None:
        """One pass over the data, then validation and the callbacks."""
        run, start = self.run, time.perf_counter()
        if isinstance(run.model, Autoencoder):
            run.model.schedule((run.epoch - 1) / run.epochs)
        run.model.train()
        self.progress.begin_epoch(run.epoch)
        for callback in self.callbacks:
            callback.on_epoch_begin(run)
        averages = Averages(self.metrics)
        samples = self._steps(averages)
        for callback in self.callbacks:
            callback.on_steps_end(run)
        run.logs = averages.means()
        if self.schedule is not None:
            run.logs["lr"] = run.optimizer.lr
        seconds = time.perf_counter() - start
        if self.held_out is not None:
            measured = evaluate_feed("fit", run.model, self.held_out, self.loss, self.metrics)
            run.logs.update({f"val_{name}": value for name, value in measured.items()})
        run.history.record(run.logs, seconds)
        self.progress.end_epoch(run.epoch, run.logs, seconds, samples)
        for callback in self.callbacks:
            callback.on_epoch_end(run)
        if self.schedule is not None:
            self.schedule.observe(run.logs)

    def _steps(self, averages: Averages) -> int:
        """All steps of an epoch -> how many samples they saw."""
        run, seen, batches = self.run, 0, self.feed.batches
        with contextlib.closing(self.feed.epoch(self.rng)) as stream:
            groups = iter(lambda: list(islice(stream, self.accumulate)), [])
            for number, group in enumerate(groups):
                done = 0.0 if batches is None else min(number * self.accumulate / max(batches, 1), 1.0)
                self._set_rate(run.epoch - 1 + done)
                self._step(group, averages)
                count = sum(len(batch.x) for batch in group)
                seen += count
                self.progress.advance(count, averages.means)
                for callback in self.callbacks:
                    callback.on_batch_end(run)
                if run.stop_reason is not None:
                    break
        if not seen:
            raise ValueError(f"fit: there were no samples in epoch {run.epoch}")
        return seen

    def _set_rate(self, done: float) -> None:
        if self.schedule is not None:
            self.run.optimizer.lr = self.rate * self.schedule.factor(done, self.run.epochs)

    def _step(self, group: Sequence[Batch], averages: Averages) -> None:
        """Forward and backward for each batch, then one update with the gradient of all their samples."""
        run, total = self.run, sum(len(batch.x) for batch in group)
        run.optimizer.zero_grad()
        loss = 0.0
        for batch in group:
            share = len(batch.x) / total
            number, y_pred = self._gradients(batch, share)
            loss += share * number
            averages.add(number, y_pred, batch.y)
        run.optimizer.step()
        run.step += 1
        run.loss = loss

    def _gradients(self, batch: Batch, share: float) -> tuple[float, np.ndarray]:
        """The loss of a batch and what the model makes of it; the gradient, times its share, is added."""
        step = self.steps.of(batch.x, batch.y) if share == 1 and batch.weight is None else None
        if step is not None:
            number, found = step.gradients(batch.x, batch.y)
            if not math.isfinite(number):
                self._diverged(number, batch, found)
            return number, found
        y_pred, value = self._compared(batch)
        number = scalar("fit", value)
        if not math.isfinite(number):
            self._diverged(number, batch, y_pred.data)
        (value if share == 1 else value * share).backward()
        return number, y_pred.data

    def _compared(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What the model makes of a batch, and its loss: weighted, where samples have weights."""
        if batch.weight is None:
            y_pred, value = compared("fit", self.run.model, self.loss, batch.x, batch.y)
            assert value is not None
            return y_pred, value
        loss = one_by_one(self.run.model, self.loss)
        y_pred, each = compared("fit", self.run.model, loss, batch.x, batch.y)
        if not isinstance(each, Tensor) or each.ndim == 0 or len(each.data) != len(batch.x):
            got = f"shape {each.shape}" if isinstance(each, Tensor) else type(each).__name__
            raise ValueError(
                f"fit: with weights, loss must return one loss for each of {len(batch.x)} samples, got {got}"
            )
        weight = batch.weight.astype(each.dtype).reshape(-1, *[1] * (each.ndim - 1))
        return y_pred, (each * weight).mean()

    def _diverged(self, number: float, batch: Batch, y_pred: np.ndarray) -> None:
        run = self.run
        run.loss, run.history.stopped = number, "diverged"
        where = f"fit: the loss became {number} in epoch {run.epoch}, step {run.step + 1}"
        raise Diverged(f"{where}: {diagnose(run.model, batch.x, batch.y, y_pred)}", run.history)


def one_by_one(model: Any, loss: Any) -> Any:
    """The loss with one result for each sample: that of `nn` with reduction "none", a function as it is."""
    if loss == own_loss(model):
        raise TypeError("fit: an autoencoder's own loss cannot be weighted; give loss=nn.MSELoss()")
    if not hasattr(loss, "reduction"):
        return loss
    found = copy.copy(loss)
    found.reduction = "none"
    return found
