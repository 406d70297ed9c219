"""The learning rate over a run: `lm.fit(..., schedule=optim.Cosine())`.

A schedule says by what the optimiser's own rate is multiplied when `done` epochs have passed, a fraction
within one: before every step `fit` sets `optimizer.lr` to their product. In a loop of your own:

    optimizer.lr = 0.1 * schedule.factor(step / steps_per_epoch, epochs)
"""

import math
from collections.abc import Mapping
from typing import Any

from lamina.ops import _check as check


class Schedule:
    """Base class: override `factor`, and `observe` if the measures of an epoch matter."""

    def factor(self, done: float, epochs: float) -> float:
        """What the rate is multiplied by after `done` of `epochs` epochs, 0 <= done < epochs."""
        raise NotImplementedError(f"{type(self).__name__} defines no factor()")

    def watched(self) -> str | None:
        """The measure that `observe` needs, or None."""
        return None

    def begin(self) -> None:
        """A run starts: forget any former one."""

    def observe(self, logs: Mapping[str, float]) -> None:
        """The measures of an epoch that just ended."""

    def state_dict(self) -> dict[str, Any]:
        """What `observe` has gathered, in plain numbers."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""

    def __repr__(self) -> str:
        shown = ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if not k.startswith("_"))
        return f"{type(self).__name__}({shown})"


class StepDecay(Schedule):
    """Times `gamma` (default 0.1) after every `every` epochs."""

    def __init__(self, every: int, *, gamma: float = 0.1) -> None:
        self.every = check.integer("StepDecay", "every", every, 1)
        self.gamma = check.number("StepDecay", "gamma", gamma)

    def factor(self, done: float, epochs: float) -> float:
        """gamma^floor(done / every)."""
        return float(self.gamma ** (done // self.every))


class ExponentialDecay(Schedule):
    """Times `gamma` an epoch, a little at every step."""

    def __init__(self, gamma: float) -> None:
        self.gamma = check.number("ExponentialDecay", "gamma", gamma)
        if self.gamma == 0:
            raise ValueError("ExponentialDecay: gamma must be above 0")

    def factor(self, done: float, epochs: float) -> float:
        """gamma^done."""
        return float(self.gamma**done)


class Cosine(Schedule):
    """Half a cosine wave from 1 down to `end` (default 0) at the end of the run.

    (Loshchilov & Hutter 2017, SGDR, equation 5, without restarts.)
    """

    def __init__(self, *, end: float = 0.0) -> None:
        self.end = check.number("Cosine", "end", end)

    def factor(self, done: float, epochs: float) -> float:
        """end + (1 - end) (1 + cos(pi done / epochs)) / 2."""
        return _wave(1.0, self.end, done / epochs)


class OneCycle(Schedule):
    """Up from `start` to 1 in the first `rise` of the run, then down to `end`, both half a cosine wave.

    (Smith & Topin 2018, with cosines for straight lines.) The optimiser's rate is the highest. Momentum is
    left alone. Defaults: start 0.04, rise 0.3, end 4e-6.
    """

    def __init__(self, *, start: float = 0.04, rise: float = 0.3, end: float = 4e-6) -> None:
        self.start, self.end = check.number("OneCycle", "start", start), check.number("OneCycle", "end", end)
        self.rise = check.number("OneCycle", "rise", rise, below=1)
        if self.rise == 0:
            raise ValueError("OneCycle: rise must be above 0; without one it is Cosine(end=...)")

    def factor(self, done: float, epochs: float) -> float:
        """From start over 1 to end."""
        share = done / epochs
        if share < self.rise:
            return _wave(self.start, 1.0, share / self.rise)
        return _wave(1.0, self.end, (share - self.rise) / (1 - self.rise))


class WarmUp(Schedule):
    """Up in a straight line from `start` (default 0.01) to 1 in so many epochs; then what `then` says.

    (Goyal et al. 2017, section 2.2.) `then` runs over the epochs that are left; None: the rate stays.
    """

    def __init__(self, epochs: float, then: Schedule | None = None, *, start: float = 0.01) -> None:
        self.epochs = check.number("WarmUp", "epochs", epochs)
        if self.epochs == 0:
            raise ValueError("WarmUp: epochs must be above 0")
        check_schedule("WarmUp", "then", then)
        self.then, self.start = then, check.number("WarmUp", "start", start)

    def factor(self, done: float, epochs: float) -> float:
        """From start to 1, then as `then` after done - self.epochs."""
        if done < self.epochs:
            return self.start + (1 - self.start) * done / self.epochs
        return 1.0 if self.then is None else self.then.factor(done - self.epochs, epochs - self.epochs)

    def watched(self) -> str | None:
        """That of `then`."""
        return None if self.then is None else self.then.watched()

    def begin(self) -> None:
        """Also for `then`."""
        if self.then is not None:
            self.then.begin()

    def observe(self, logs: Mapping[str, float]) -> None:
        """Also for `then`."""
        if self.then is not None:
            self.then.observe(logs)

    def state_dict(self) -> dict[str, Any]:
        """That of `then`."""
        return {} if self.then is None else self.then.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """For `then`."""
        if self.then is not None:
            self.then.load_state_dict(state)


class Plateau(Schedule):
    """Times `gamma` (default 0.1) whenever a measure has not improved for more than `patience` epochs.

    Args:
        monitor: the measure (default "val_loss"); mode: "min" or "max"; "auto": "max" for accuracies.
        patience: epochs without improvement that are borne (default 10).
        min_delta: the least change that counts as improvement (default 1e-4).
        least: the factor never falls below it (default 0).
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        gamma: float = 0.1,
        patience: int = 10,
        min_delta: float = 1e-4,
        least: float = 0.0,
        mode: str = "auto",
    ) -> None:
        if not isinstance(monitor, str):
            raise TypeError(f"Plateau: monitor must be the name of a measure, got {monitor!r}")
        self.monitor, self.gamma = monitor, check.number("Plateau", "gamma", gamma, below=1)
        self.patience = check.integer("Plateau", "patience", patience, 0)
        self.min_delta = check.number("Plateau", "min_delta", min_delta)
        self.least = check.number("Plateau", "least", least)
        self.mode = check.choice("Plateau", "mode", mode, ("auto", "min", "max"))
        self.begin()

    def factor(self, done: float, epochs: float) -> float:
        """The product of all cuts so far."""
        return self._factor

    def watched(self) -> str | None:
        """The measure that is monitored."""
        return self.monitor

    def begin(self) -> None:
        """Forget any former run."""
        self._factor, self._best, self._waited = 1.0, math.inf, 0

    def observe(self, logs: Mapping[str, float]) -> None:
        """Compare with the best so far; cut when it is time."""
        rises = self.mode == "max" or (self.mode == "auto" and self.monitor.endswith("accuracy"))
        value = -logs[self.monitor] if rises else logs[self.monitor]
        if value < self._best - self.min_delta:
            self._best, self._waited = value, 0
            return
        self._waited += 1
        if self._waited > self.patience:
            self._factor, self._waited = max(self._factor * self.gamma, self.least), 0

    def state_dict(self) -> dict[str, Any]:
        """Factor, best value and epochs waited."""
        return {"factor": self._factor, "best": self._best, "waited": self._waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take them over."""
        self._factor, self._best = float(state["factor"]), float(state["best"])
        self._waited = int(state["waited"])


def check_schedule(who: str, name: str, value: object) -> None:
    """TypeError unless `value` is a schedule or None."""
    if value is not None and not isinstance(value, Schedule):
        raise TypeError(f"{who}: {name} must be a schedule, as optim.Cosine(), got {value!r:.80}")


def _wave(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
