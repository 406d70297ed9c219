"""Which learning rate to begin with, by trying them all."""

from __future__ import annotations

import contextlib
import copy
import math
import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina import config
from lamina.data.loader import Loader
from lamina.nn import Module
from lamina.ops import _check as check
from lamina.train.checks import check_loss, check_model, check_optimizer, rate_of
from lamina.train.evaluate import Loss, compared, own_loss, scalar
from lamina.train.feed import Batch, Feed, feed_of

_SMOOTH = 0.9  # share of the running mean that a new loss leaves
_BLOWN = 4.0  # times the least loss: from there on it only gets worse


@dataclass(frozen=True)
class Rates:
    """The rates that were tried, and the loss, smoothed, at each."""

    rates: npt.NDArray[np.float64]
    losses: npt.NDArray[np.float64]

    @property
    def suggestion(self) -> float:
        """The rate at which the loss falls most steeply over the logarithm of the rate.

        Of the rates after which a tenth of the whole fall is done, for before that the losses of different
        batches differ more than steps change them. At most a third of the rate with the least loss, near
        which training is about to blow up. ValueError if the loss never fell.
        """
        early = len(self.losses) // 10  # a mean of few losses is that of their batches
        least = early + int(np.argmin(self.losses[early:]))  # behind it, the mean swings
        start = float(np.median(self.losses[early : early + max(1, (least - early) // 3)]))
        fall = start - self.losses[least]
        if not fall > 0:
            raise ValueError(
                "find_lr: the loss fell at no rate; try others with least= and most=, or look at lm.doctor"
            )
        slope = np.gradient(self.losses, np.log(self.rates))[: least + 1]
        begun = int(np.flatnonzero(self.losses[: least + 1] > start - fall / 10)[-1])
        steepest = begun + int(np.argmin(slope[begun:]))
        return float(min(self.rates[steepest], self.rates[least] / 3))

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw the loss over the rate, with the suggestion; returns the matplotlib Figure.

        Also saved to `path` if given. Needs matplotlib (`pip install "lamina[plot]"`).
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError('Rates.plot needs matplotlib: pip install "lamina[plot]"') from error
        figure = Figure(figsize=(5, 3.2), layout="constrained")
        axes = figure.add_subplot()
        axes.semilogx(self.rates, self.losses)
        axes.axvline(self.suggestion, linestyle="--", color="grey", label=f"{self.suggestion:.1e}")
        axes.set(xlabel="learning rate", ylabel="loss")
        axes.legend()
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure


def find_lr(
    model: Module,
    x: npt.ArrayLike | Loader,
    y: npt.ArrayLike | None = None,
    *,
    loss: Loss | None = None,
    optimizer: Any,
    least: float = 1e-6,
    most: float = 10.0,
    steps: int = 100,
    batch_size: int | None = None,
    seed: int | None = None,
) -> Rates:
    """Train copies of model and optimiser for some steps, each with a higher rate, until the loss blows up.

    (Smith 2017, section 3.3.) Nothing that is given changes, the library's random numbers neither.

    Args:
        model, x, y, loss, optimizer, batch_size, seed: as for `fit`.
        least, most: the first and the last rate, by equal factors (defaults 1e-6 and 10).
        steps: how many rates at most (default 100).

    Returns:
        The rates and losses; `suggestion` is one to begin with, `plot()` shows them.

    Raises:
        TypeError, ValueError: as `fit`; unless 0 < least < most.
    """
    check_model("find_lr", model)
    loss = own_loss(model) if loss is None else loss
    check_loss("find_lr", loss)
    check_optimizer("find_lr", optimizer, model, loss)
    rate_of("find_lr", optimizer)
    least, most = check.number("find_lr", "least", least), check.number("find_lr", "most", most)
    if not 0 < least < most:
        raise ValueError(f"find_lr: expected 0 < least < most, got {least:g} and {most:g}")
    rates = np.geomspace(least, most, check.integer("find_lr", "steps", steps, 2))
    feed = feed_of("find_lr", x, y, batch_size, 128)
    former = copy.deepcopy(config.rng().bit_generator.state)
    try:
        rng = config.rng() if seed is None else config.seeded("find_lr: seed", seed)
        twin, step, cost = copy.deepcopy((model, optimizer, loss))
        with contextlib.closing(_endless(feed, rng)) as batches:
            losses = _losses(twin.train(), step, cost, rates, batches)
    finally:
        config.rng().bit_generator.state = former
    return Rates(rates[: len(losses)], losses)


def _losses(
    model: Module, optimizer: Any, loss: Any, rates: npt.NDArray[Any], batches: Iterator[Batch]
) -> npt.NDArray[np.float64]:
    """The smoothed loss before the step with each rate, as far as it stays near the least one."""
    found: list[float] = []
    mean = 0.0
    for i, (rate, batch) in enumerate(zip(rates, batches, strict=False), 1):
        optimizer.lr = float(rate)
        optimizer.zero_grad()
        with np.errstate(all="ignore"):
            _, value = compared("find_lr", model, loss, batch.x, batch.y)
            assert value is not None
            number = scalar("find_lr", value)
            mean = _SMOOTH * mean + (1 - _SMOOTH) * number
            smooth = mean / (1 - _SMOOTH**i)
            if not math.isfinite(number) or (found and smooth > _BLOWN * max(min(found), 1e-12)):
                break
            found.append(smooth)
            value.backward()
            optimizer.step()
    if not found:
        raise ValueError("find_lr: the loss is not finite before any step; lm.doctor may say why")
    return np.array(found)


def _endless(feed: Feed, rng: np.random.Generator) -> Generator[Batch, None, None]:
    """Batches, epoch after epoch. ValueError if there are none."""
    while True:
        empty = True
        with contextlib.closing(feed.epoch(rng)) as stream:
            for batch in stream:
                empty = False
                yield batch
        if empty:
            raise ValueError("find_lr: there were no samples")
