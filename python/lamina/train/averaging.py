"""Weights averaged over the steps or epochs of a run: often better than the last ones, at no cost."""

from __future__ import annotations

import math
from typing import Any

import numpy.typing as npt

from lamina import nn
from lamina.ops import _check as check
from lamina.train.callbacks import Callback, Run

Array = npt.NDArray[Any]


class _Average(Callback):
    """Lets the model hold the averages from the last step of an epoch to the first of the next.

    So validation, checkpoints and early stopping see them, and they are what remains when training ends.
    Floating buffers are averaged as parameters are; others are taken as they are.
    """

    def __init__(self) -> None:
        self._average: dict[str, Array] = {}
        self._last: dict[str, Array] = {}  # the weights that training goes on from, while averages are in
        self._count = 0

    def on_train_begin(self, run: Run) -> None:
        """Forget any former run."""
        self._average, self._last, self._count = {}, {}, 0

    def on_epoch_begin(self, run: Run) -> None:
        """Training goes on from its own weights."""
        if self._last:
            run.model.load_state_dict(self._last)
            self._last = {}

    def on_steps_end(self, run: Run) -> None:
        """Put the averages in."""
        if self._average:
            self._last = run.model.state_dict()
            run.model.load_state_dict(self._average)

    def on_train_end(self, run: Run) -> None:
        """What remains are the averages, also after an interrupt in the middle of an epoch."""
        if self._average:
            run.model.load_state_dict(self._average)
        self._average, self._last = {}, {}

    def state_dict(self) -> dict[str, Any]:
        """The averages, the weights that they stand for, and what was counted."""
        return {"average": self._average, "last": self._last, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take them over."""
        self._average, self._last, self._count = state["average"], state["last"], int(state["count"])

    def _move(self, run: Run, share: float) -> None:
        """Move the averages towards the weights by this share; the first time they are the weights."""
        state = run.model.state_dict()
        if not self._average:
            self._average = state
            return
        for name, value in state.items():
            mean = self._average[name]
            if mean.dtype.kind == "f":
                mean += (value - mean) * mean.dtype.type(share)
            else:
                mean[...] = value


class EMA(_Average):
    """Exponential moving average of the weights, a little at every step (Polyak & Juditsky 1992).

    mean += (1 - d) (weight - mean), d = min(decay, (1 + t) / (10 + t)) at step t, so that the first, random
    weights are soon forgotten. decay: default 0.999. Stands before `EarlyStopping` and `Checkpoint`.
    """

    def __init__(self, decay: float = 0.999) -> None:
        super().__init__()
        self.decay = check.number("EMA", "decay", decay, below=1)

    def on_batch_end(self, run: Run) -> None:
        """Take a step in."""
        self._count += 1
        self._move(run, 1 - min(self.decay, (1 + self._count) / (10 + self._count)))


class SWA(_Average):
    """Stochastic weight averaging: the mean of the weights at the ends of the last epochs.

    (Izmailov et al. 2018.) start: share of the epochs after which averaging begins (default 0.75). Goes well
    with a constant rate, or `OneCycle`. Stands before `EarlyStopping` and `Checkpoint`.

    update_statistics: whether, where there is batch normalisation, its running statistics become those of the
    training data under the averaged weights (default True): one more pass forward over these data at the end
    of each epoch that is averaged. False: they are averaged, too, which is not the same.
    """

    def __init__(self, start: float = 0.75, *, update_statistics: bool = True) -> None:
        super().__init__()
        self.start = check.number("SWA", "start", start, below=1)
        self.update_statistics = check.flag("SWA", "update_statistics", update_statistics)

    def on_steps_end(self, run: Run) -> None:
        """Take the epoch in, if it is one of the last."""
        if run.epoch > math.floor(self.start * run.epochs):
            self._count += 1
            self._move(run, 1 / self._count)
        super().on_steps_end(run)
        if self._average and self.update_statistics:
            nn.update_statistics(run.model, run.inputs())
            self._average.update({name: array.copy() for name, array in run.model.named_buffers()})
