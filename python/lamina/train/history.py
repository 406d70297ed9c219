"""What a training run measured, epoch by epoch."""

from __future__ import annotations

import math
import os
from typing import Any, NamedTuple


class Best(NamedTuple):
    """The best epoch (from 1) by some measure, and its value there."""

    epoch: int
    value: float


class History(dict[str, list[float]]):
    """The measures of each epoch: history["loss"], ["accuracy"], ["val_loss"], ... are lists.

    Attributes:
        seconds: the duration of each epoch.
        stopped: why the run ended: "epochs" (all done), "interrupted" (Ctrl-C), "diverged", or what a
            callback gave as its reason, as "EarlyStopping".
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self.stopped = "epochs"

    @property
    def epochs(self) -> int:
        """Number of whole epochs recorded."""
        return len(self.seconds)

    def record(self, values: dict[str, float], seconds: float) -> None:
        """Append one epoch."""
        for name, value in values.items():
            self.setdefault(name, []).append(value)
        self.seconds.append(seconds)

    def best(self, monitor: str | None = None, *, mode: str = "auto") -> Best:
        """The best epoch by `monitor` (default: val_loss if there is one, else loss); NaN never wins.

        mode: "min", "max" or "auto", which knows losses, errors and accuracies by their names.
        Raises ValueError for an unknown measure, or if no epoch has a value other than NaN.
        """
        monitor = monitor or ("val_loss" if "val_loss" in self else "loss")
        check_monitor("History.best", monitor, self)
        sign = direction(monitor, mode)
        ranked = [(sign * v, i) for i, v in enumerate(self[monitor]) if not math.isnan(v)]
        if not ranked:
            raise ValueError(f"History.best: {monitor} has no value that is a number")
        index = min(ranked)[1]
        return Best(index + 1, self[monitor][index])

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw every measure against the epochs, training and validation in one panel.

        Returns the matplotlib Figure, also saved to `path` if given. Needs matplotlib
        (`pip install "lamina[plot]"`).
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError('History.plot needs matplotlib: pip install "lamina[plot]"') from error
        panels = [name for name in self if not (name.startswith("val_") and name[4:] in self)]
        figure = Figure(figsize=(4.5 * max(len(panels), 1), 3.2), layout="constrained")
        for place, name in enumerate(panels):
            axes = figure.add_subplot(1, len(panels), place + 1)
            for key, label in ((name, "training"), (f"val_{name}", "validation")):
                if key in self:
                    axes.plot(range(1, len(self[key]) + 1), self[key], marker="o", markersize=3, label=label)
            axes.set(xlabel="epoch", title=name.replace("_", " "))
            axes.locator_params(axis="x", integer=True)
            axes.grid(alpha=0.3)
            axes.legend()
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure


def direction(monitor: object, mode: str) -> int:
    """1 if smaller is better, -1 if greater is: what to multiply values by before comparing."""
    if not isinstance(monitor, str):
        raise TypeError(f"monitor must be the name of a measure, got {monitor!r}")
    if mode in ("min", "max"):
        return 1 if mode == "min" else -1
    if mode != "auto":
        raise ValueError(f'mode is {mode!r}, expected "min", "max" or "auto"')
    if monitor.endswith(("loss", "error")):
        return 1
    if monitor.endswith("accuracy"):
        return -1
    raise ValueError(
        f'whether {monitor!r} should rise or fall is not known by its name: say mode="min" or "max"'
    )


def check_monitor(who: str, monitor: str, values: dict[str, Any]) -> None:
    """Raise ValueError unless `monitor` is among the measures."""
    if monitor not in values:
        hint = "; give fit validation=..." if monitor.startswith("val_") else ""
        raise ValueError(f"{who}: no measure {monitor!r}, there are {', '.join(values) or 'none'}{hint}")
