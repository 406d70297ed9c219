"""The sheet that every picture is drawn on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

# Okabe and Ito's colours, which the colour-blind tell apart, and a line style for each.
STYLES: list[tuple[str, Any]] = [
    ("#0072b2", "-"),
    ("#d55e00", "--"),
    ("#009e73", "-."),
    ("#cc79a7", ":"),
    ("#e69f00", (0, (5, 1))),
    ("#56b4e9", (0, (1, 1))),
]


def new_figure(width: float, height: float) -> Any:
    """An empty matplotlib Figure of so many inches, or ImportError that says what to install."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('lamina.viz needs matplotlib: pip install "lamina[plot]"') from error
    return Figure(figsize=(width, height), layout="constrained")


def check_curves(who: str, curves: Mapping[str, Any]) -> None:
    """Raise TypeError unless curves come by their names, ValueError unless there is a style for each."""
    if not isinstance(curves, Mapping):
        raise TypeError(f"{who}: expected a dict of curves by their names, got {type(curves).__name__}")
    if not 0 < len(curves) <= len(STYLES):
        raise ValueError(f"{who}: expected 1 to {len(STYLES)} curves, got {len(curves)}")


def saved(figure: Any, path: str | os.PathLike[str] | None) -> Any:
    """The figure, written to `path` if that is given."""
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure
