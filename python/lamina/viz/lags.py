"""Curves over the time lag."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.viz._canvas import STYLES, check_curves, new_figure, saved


def gradient_lags(norms: Mapping[str, npt.ArrayLike], *, path: str | os.PathLike[str] | None = None) -> Any:
    """Draw how gradients grow or vanish over the time lag, on a logarithmic scale.

    norms: by the name of the curve, (T,) or (S,T) of S seeds, as `probe.gradient_by_lag` gives them. A line
    is the geometric mean over the seeds relative to lag 0, its band their range; where one of them is 0 or
    not finite, the line ends. Returns the matplotlib Figure, also saved to `path` if given. ValueError for no
    curve, more than six, or one of another shape.
    """
    check_curves("gradient_lags", norms)
    figure = new_figure(8, 4.6)
    axes = figure.add_subplot()
    for (name, values), (color, line) in zip(norms.items(), STYLES, strict=False):
        curves = np.atleast_2d(np.asarray(values, np.float64))
        if curves.ndim != 2 or 0 in curves.shape:
            raise ValueError(
                f"gradient_lags: {name!r} has shape {curves.shape}, expected (T,) or (S, T), none of them 0"
            )
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log10(curves / curves[:, :1])
        logs = np.where(np.isfinite(logs).all(axis=0), logs, np.nan)
        lags = np.arange(curves.shape[1])
        axes.plot(lags, 10 ** logs.mean(axis=0), color=color, linestyle=line, linewidth=2, label=name)
        axes.fill_between(lags, 10 ** logs.min(axis=0), 10 ** logs.max(axis=0), color=color, alpha=0.15, lw=0)
    axes.set(yscale="log", xlabel="time lag T − t, in steps", ylabel="gradient at lag, relative to lag 0")
    axes.set_xlim(left=0)
    axes.grid(color="0.92")
    axes.legend()
    return saved(figure, path)
