"""The sheet that every picture is drawn on."""

from __future__ import annotations

from typing import Any


def new_figure(width: float, height: float) -> Any:
    """An empty matplotlib Figure of so many inches, or ImportError that says what to install."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('lamina.viz needs matplotlib: pip install "lamina[plot]"') from error
    return Figure(figsize=(width, height), layout="constrained")
