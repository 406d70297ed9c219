"""What training measured, and what units do: losses over the steps, histograms of activations."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.ops import _check as check
from lamina.viz._canvas import STYLES, check_curves, new_figure, saved


def loss_curves(
    losses: Mapping[str, npt.ArrayLike],
    *,
    log: bool = False,
    label: str = "epoch",
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """Draw the losses of up to six runs in one panel, each from 1.

    losses: by the name of the run, (T,), as `history["loss"]` of `fit` or `losses` of `LBFGS.minimize`.
    log: a logarithmic scale. label: what a step is. Returns the matplotlib Figure, also saved to `path` if
    given. ValueError for no run, more than six, or one of another shape. Needs `pip install "lamina[plot]"`.
    """
    check_curves("loss_curves", losses)
    figure = new_figure(6.4, 4.2)
    axes = figure.add_subplot()
    for (name, values), (color, line) in zip(losses.items(), STYLES, strict=False):
        curve = check.array_of("loss_curves", name, values, np.float64)
        if curve.ndim != 1 or not len(curve):
            raise ValueError(f"loss_curves: {name!r} has shape {curve.shape}, expected (T,), T not 0")
        mark = "o" if len(curve) < 20 else None
        steps = range(1, len(curve) + 1)
        axes.plot(steps, curve, color=color, linestyle=line, linewidth=2, marker=mark, label=name)
    axes.set(xlabel=label, ylabel="loss", yscale="log" if log else "linear")
    axes.locator_params(axis="x", integer=True)
    axes.grid(color="0.92", which="both")
    axes.legend()
    return saved(figure, path)


def activation_histogram(
    activations: Mapping[str, npt.ArrayLike], *, bins: int = 60, path: str | os.PathLike[str] | None = None
) -> Any:
    """Draw how often units take which values, on a logarithmic scale, with the share that is exactly 0.

    activations: by the name of the curve, arrays of any shape; all have the same `bins`. Source of the idea:
    figure 2 of Makhzani & Frey 2013. Returns the matplotlib Figure, also saved to `path` if given. ValueError
    for no curve, more than six, and an array that is empty or not finite.
    """
    check_curves("activation_histogram", activations)
    bins = check.integer("activation_histogram", "bins", bins, 1)
    found = {}
    for name, values in activations.items():
        found[name] = check.array_of("activation_histogram", name, values, np.float64).ravel()
        if not found[name].size or not np.isfinite(found[name]).all():
            raise ValueError(f"activation_histogram: {name!r} is empty or has values that are not finite")
    ends = min(v.min() for v in found.values()), max(v.max() for v in found.values())
    edges = np.histogram_bin_edges([], bins, ends)
    figure = new_figure(6.4, 4.2)
    axes = figure.add_subplot()
    for (name, values), (color, line) in zip(found.items(), STYLES, strict=False):
        shares = np.histogram(values, edges)[0] / values.size
        label = f"{name}: {np.mean(values == 0):.1%} zeros"
        axes.stairs(shares, edges, color=color, linestyle=line, linewidth=2, label=label)
    axes.set(yscale="log", xlabel="activation", ylabel="share of activations")
    axes.grid(color="0.92")
    axes.legend()
    return saved(figure, path)
