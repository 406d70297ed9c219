"""What units do along a text: characters on colours, or rows of colours under the text."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.viz._canvas import new_figure, saved

_INCHES = (0.155, 0.27)  # of one character
_SHOWN = {"\n": "↵", "\t": "→", " ": "·"}


def text_heat(
    text: str,
    values: npt.ArrayLike,
    *,
    names: Sequence[str] | None = None,
    columns: int = 72,
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """Draw a text of T characters with the values of one unit, or of several, at each.

    values: (T,) puts each character on the colour of its value, (K,T) draws K rows of colour under every line
    of the text; each row from blue over white for 0 to red, which is the greatest magnitude in it. names:
    K labels of the rows. columns: characters a line. A newline is shown as an arrow, a space as a dot.
    Returns the matplotlib Figure, also saved to `path` if given. ValueError for an empty text and shapes that
    do not fit. Needs `pip install "lamina[plot]"`. Source: A. Karpathy, J. Johnson, L. Fei-Fei, Visualizing
    and Understanding Recurrent Networks, 2015.
    """
    rows = np.asarray(values, np.float64)
    if not text or rows.ndim not in (1, 2) or rows.shape[-1] != len(text) or 0 in rows.shape:
        raise ValueError(
            f"text_heat: values have shape {rows.shape}, expected (T,) or (K, T) with T = {len(text)}, the "
            "characters of the text, at least one"
        )
    if columns < 1:
        raise ValueError(f"text_heat: columns must be at least 1, got {columns}")
    below = rows.ndim == 2
    rows = np.atleast_2d(rows)
    if names is not None and len(names) != len(rows):
        raise ValueError(f"text_heat: {len(names)} names for {len(rows)} rows of values")
    greatest = np.abs(rows).max(axis=1, keepdims=True)
    greatest[greatest == 0] = 1
    rows = rows / greatest

    columns = min(columns, len(text))
    lines = -(-len(text) // columns)
    block = len(rows) + 2 if below else 1  # the text, its rows, a gap
    canvas = np.full((lines * block - below, columns), np.nan)
    for line in range(lines):
        part = rows[:, line * columns : (line + 1) * columns]
        canvas[line * block + below :][: len(rows), : part.shape[1]] = part
    figure = new_figure(columns * _INCHES[0] + 1.2, len(canvas) * _INCHES[1] + 1.1)
    axes = figure.add_subplot()
    shown = axes.imshow(canvas, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
    for t, character in enumerate(text):
        line, column = divmod(t, columns)
        dark = not below and abs(rows[0, t]) > 0.6
        _write(axes, column, line * block, character, "white" if dark else "black")
    _name_rows(axes, names, lines, block, below)
    bar = figure.colorbar(shown, ax=axes, location="bottom", fraction=0.05, aspect=60, ticks=[-1, 0, 1])
    if len(rows) == 1:
        bar.ax.set_xticklabels([f"{end * greatest.item():.3g}".replace("-", "−") for end in (-1, 0, 1)])
    else:
        ends = ", ".join(f"{most:.3g}" for most in greatest[:, 0])
        bar.set_label(f"parts of each row's greatest magnitude: {ends}")
    return saved(figure, path)


def _write(axes: Any, x: float, y: float, character: str, color: str) -> None:
    shown = _SHOWN.get(character, character).replace("$", r"\$")
    faint = color == "black" and character in _SHOWN
    style: dict[str, Any] = {"family": "monospace", "fontsize": 11, "ha": "center", "va": "center"}
    axes.text(x, y, shown, color="0.6" if faint else color, **style)


def _name_rows(axes: Any, names: Sequence[str] | None, lines: int, block: int, below: bool) -> None:
    labels = list(names or [])
    starts = [line * block + below for line in range(lines)] if labels else []
    axes.set_yticks([start + k for start in starts for k in range(len(labels))], labels * len(starts))
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
