"""Recurrent networks as boxes and arrows: folded and unfolded, and the five types of sequences in and out."""

from __future__ import annotations

import os
from typing import Any

from lamina.viz._canvas import new_figure, saved

# Okabe and Ito's colours, lightened: inputs, states, outputs.
_INPUT, _STATE, _OUTPUT = "#bfe1f6", "#a6dccb", "#f7d79b"
_EDGE, _WEIGHT = "#333333", "#b34a00"
_WIDE, _HIGH = 1.0, 0.62  # of a box
_STEP, _FLOOR = 2.1, 1.45  # from one box to the next


def unrolled(
    *, cell: str = "rnn", layers: int = 1, steps: int = 3, path: str | os.PathLike[str] | None = None
) -> Any:
    """Draw a recurrent network folded, with its loop, and unfolded over `steps` steps.

    cell: "rnn", "gru" or "lstm", whose boxes hand on two states, c above a. The names are those of Stanford's
    CS230: a for the state, W_ax, W_aa and W_ya for the weights, which every step shares; with several layers,
    [l] is the layer. Returns the matplotlib Figure, also saved to `path` if given. ValueError for an unknown
    cell and numbers below 1. Needs `pip install "lamina[plot]"`.
    """
    if cell not in ("rnn", "gru", "lstm"):
        raise ValueError(f"unrolled: unknown cell {cell!r}: expected 'rnn', 'gru' or 'lstm'")
    for name, number in (("layers", layers), ("steps", steps)):
        if number < 1:
            raise ValueError(f"unrolled: {name} must be at least 1, got {number}")
    width, height = _STEP * (steps + 2) + 1.6, _FLOOR * (layers + 1) + 1.4
    figure, axes = _sheet(width, height, 0.85)
    _column(axes, 0.9, "t", cell, layers, "folded")
    for layer in range(1, layers + 1):
        _loop(axes, 0.9, layer * _FLOOR, _weight("aa", layer, layers))
    axes.text(2.75, _FLOOR * (layers + 1) / 2, "=", fontsize=26, ha="center", va="center")
    first = 5.0
    for t in range(1, steps + 1):
        _column(axes, first + (t - 1) * _STEP, str(t), cell, layers, None)
    for layer in range(1, layers + 1):
        for t in range(steps + 1):
            ends = first + (t - 1) * _STEP, first + t * _STEP
            _hand_on(axes, *ends, layer, layers, cell, start=t == 0, end=t == steps)
    axes.text(first + (steps - 1) * _STEP / 2, -0.75, "unfolded", ha="center", fontsize=12, style="italic")
    axes.set(xlim=(-0.5, first + steps * _STEP - 0.35), ylim=(-1.0, _FLOOR * (layers + 1) + 0.5))
    return saved(figure, path)


def architecture_types(*, path: str | os.PathLike[str] | None = None) -> Any:
    """Draw the five types of recurrent networks, by the lengths Tx and Ty of what goes in and comes out.

    A dashed arrow is an output that is fed back. Returns the matplotlib Figure, also saved to `path` if
    given. Needs `pip install "lamina[plot]"`. Source of the types: A. Karpathy, The Unreasonable
    Effectiveness of Recurrent Neural Networks, 2015, and Stanford's CS230.
    """
    # title, lengths, steps, steps with an input, steps with an output, whether outputs are fed back
    types = [
        ("one to one", "Tx = Ty = 1", 1, [0], [0], False),
        ("one to many", "Tx = 1, Ty > 1", 3, [0], [0, 1, 2], True),
        ("many to one", "Tx > 1, Ty = 1", 3, [0, 1, 2], [2], False),
        ("many to many", "Tx = Ty", 3, [0, 1, 2], [0, 1, 2], False),
        ("many to many", "Tx ≠ Ty", 5, [0, 1, 2], [3, 4], True),
    ]
    pitch, gap, x = 1.25, 1.3, 0.0
    total = sum((kind[2] - 1) * pitch + gap + 0.8 for kind in types)
    figure, axes = _sheet(total, 5.0, 0.6)
    for title, lengths, steps, inputs, outputs, fed_back in types:
        places = [x + t * pitch for t in range(steps)]
        for t, place in enumerate(places):
            _box(axes, place, _FLOOR, "$a$", _STATE, 0.8)
            if t > 0:
                _arrow(axes, places[t - 1] + 0.4, _FLOOR, place - 0.4, _FLOOR)
        for t in inputs:
            _box(axes, places[t], 0, _named("x", inputs.index(t) + 1), _INPUT, 0.8)
            _arrow(axes, places[t], _HIGH / 2, places[t], _FLOOR - _HIGH / 2)
        for t in outputs:
            _box(axes, places[t], 2 * _FLOOR, _named(r"\hat{y}", outputs.index(t) + 1), _OUTPUT, 0.8)
            _arrow(axes, places[t], _FLOOR + _HIGH / 2, places[t], 2 * _FLOOR - _HIGH / 2)
        for t in outputs[:-1] if fed_back else []:
            _feed_back(axes, places[t], places[t + 1])
        middle = (places[0] + places[-1]) / 2
        axes.text(middle, 2 * _FLOOR + 1.15, title, ha="center", fontsize=13, weight="bold")
        axes.text(middle, 2 * _FLOOR + 0.65, lengths, ha="center", fontsize=12)
        x = places[-1] + gap + 0.8
    axes.set(xlim=(-0.9, x - gap - 0.8 + 0.9), ylim=(-0.5, 2 * _FLOOR + 1.6))
    return saved(figure, path)


def _sheet(width: float, height: float, inches: float) -> tuple[Any, Any]:
    figure = new_figure(width * inches, height * inches)
    axes = figure.add_subplot(aspect="equal")
    axes.set_axis_off()
    return figure, axes


def _named(letter: str, time: str | int, layer: str = "") -> str:
    return rf"${letter}^{{{layer}\langle {time}\rangle}}$"


def _weight(name: str, layer: int, layers: int) -> str:
    return rf"$W_{{{name}}}^{{[{layer}]}}$" if layers > 1 else rf"$W_{{{name}}}$"


def _column(axes: Any, x: float, time: str, cell: str, layers: int, title: str | None) -> None:
    """One step: the input below, a box for each layer, the output above, and the weights between them."""
    top = _FLOOR * (layers + 1)
    _box(axes, x, 0, _named("x", time), _INPUT)
    for layer in range(1, layers + 1):
        _box(axes, x, layer * _FLOOR, cell.upper(), _STATE)
        _rise(axes, x, layer - 1, _weight("ax", layer, layers))
    _rise(axes, x, layers, "$W_{ya}$")
    _box(axes, x, top, _named(r"\hat{y}", time), _OUTPUT)
    if title is not None:
        axes.text(x, -0.75, title, ha="center", fontsize=12, style="italic")


def _rise(axes: Any, x: float, floor: int, weight: str) -> None:
    _arrow(axes, x, floor * _FLOOR + _HIGH / 2, x, (floor + 1) * _FLOOR - _HIGH / 2)
    axes.text(x + 0.08, (floor + 0.5) * _FLOOR, weight, color=_WEIGHT, fontsize=12, ha="left", va="center")


def _hand_on(
    axes: Any, x: float, to: float, layer: int, layers: int, cell: str, *, start: bool, end: bool
) -> None:
    """The state from one step to the next, with its name above and the weight below; of an LSTM c too."""
    y, mark = layer * _FLOOR, f"[{layer}]" if layers > 1 else ""
    begin, finish = x + _WIDE / 2, to - _WIDE / 2
    if start:
        begin += 0.35
    if end:
        finish -= 0.35
    time = round((x - 5.0) / _STEP) + 1
    lift = 0.16 if cell == "lstm" else 0.0
    middle = (begin + finish) / 2
    _arrow(axes, begin, y - lift, finish, y - lift)
    if cell == "lstm":
        _arrow(axes, begin, y + lift, finish, y + lift)
        axes.text(middle, y + lift + 0.08, _named("c", time, mark), fontsize=11, ha="center", va="bottom")
        axes.text(middle, y - lift - 0.08, _named("a", time, mark), fontsize=11, ha="center", va="top")
        return
    axes.text(middle, y + 0.08, _named("a", time, mark), fontsize=11, ha="center", va="bottom")
    if not end:
        weight = _weight("aa", layer, layers)
        axes.text(middle, y - 0.08, weight, color=_WEIGHT, fontsize=12, ha="center", va="top")


def _loop(axes: Any, x: float, y: float, weight: str) -> None:
    """From the right of a box around its corner back to the left of it: what it says, it hears."""
    from matplotlib.patches import FancyArrowPatch

    right, height = x + _WIDE / 2, _HIGH / 2
    style: dict[str, Any] = {
        "arrowstyle": "-|>",
        "mutation_scale": 14,
        "color": _EDGE,
        "linewidth": 1.4,
        "shrinkA": 0,
    }
    ends = (right, y + height * 0.5), (right, y - height * 0.5)
    axes.add_patch(FancyArrowPatch(*ends, connectionstyle="arc3,rad=-2.2", shrinkB=0, **style))
    axes.text(right + 0.47, y, weight, color=_WEIGHT, fontsize=12, ha="left", va="center")


def _feed_back(axes: Any, x: float, to: float) -> None:
    """From beside an output down to the next state."""
    from matplotlib.patches import FancyArrowPatch

    ends = (x + 0.4, 2 * _FLOOR), (to - 0.2, _FLOOR + _HIGH / 2)
    style: dict[str, Any] = {
        "arrowstyle": "-|>",
        "mutation_scale": 12,
        "color": _WEIGHT,
        "linestyle": "--",
        "linewidth": 1.3,
    }
    axes.add_patch(FancyArrowPatch(*ends, shrinkA=0, shrinkB=0, **style))


def _box(axes: Any, x: float, y: float, label: str, color: str, wide: float = _WIDE) -> None:
    from matplotlib.patches import FancyBboxPatch

    corner = (x - wide / 2 + 0.06, y - _HIGH / 2 + 0.06)
    size = (wide - 0.12, _HIGH - 0.12)
    style: dict[str, Any] = {
        "boxstyle": "round,pad=0.06",
        "facecolor": color,
        "edgecolor": _EDGE,
        "linewidth": 1.2,
    }
    axes.add_patch(FancyBboxPatch(corner, *size, **style))
    axes.text(x, y, label, fontsize=13, ha="center", va="center_baseline")


def _arrow(axes: Any, x: float, y: float, to_x: float, to_y: float) -> None:
    style: dict[str, Any] = {
        "arrowstyle": "-|>",
        "color": _EDGE,
        "linewidth": 1.4,
        "shrinkA": 0,
        "shrinkB": 0,
    }
    axes.annotate("", (to_x, to_y), (x, y), arrowprops=style)
