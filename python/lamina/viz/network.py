"""A network as its volumes: boxes for images, bars for rows, arrows with the layers between them."""

from __future__ import annotations

import math
import os
from typing import Any

from lamina import nn
from lamina.probe.flow import flow
from lamina.viz._canvas import new_figure, saved
from lamina.viz._layout import (
    LABEL_SIZE,
    LINE,
    RADIUS,
    SHAPE_SIZE,
    SLANT,
    Block,
    Lane,
    arrange,
    blocks_of,
    lanes_of,
    place,
    wide,
)

# Okabe and Ito's colours, lightened.
_COLORS = {
    "input": "#d9d9d9",
    "conv": "#a9d3ee",
    "pool": "#f2b99c",
    "enlarge": "#f7e58f",
    "dense": "#a6dccb",
    "recurrent": "#e3bcd3",
    "other": "#ececec",
    "join": "#ffffff",
}
_EDGE, _LINES = "#333333", {"color": "#333333", "linewidth": 1.1, "solid_joinstyle": "round"}
_ASIDE = 0.05  # that shortcuts leave right of the middle of a block, and arrive left of it


def network(
    model: nn.Module, input_shape: int | tuple[int, ...], *, path: str | os.PathLike[str] | None = None
) -> Any:
    """Draw a network as the volumes that one sample makes in it, from left to right.

    Images are boxes, of their height, width (into the page) and, in thickness, channels; rows of units are
    bars, sequences sheets of their steps and units. Each side is drawn as its square root, against the
    longest of its kind, for sizes go from 1 to thousands. Below stand the shapes, and between them the layers
    that lead from one to the next; branches lie below each other, shortcuts lead around.

    model: run once in evaluation mode, on zeros; nothing in it changes. input_shape: of one sample: (H, W,
    C), (T, D), (T,) tokens or a number of features. Returns the matplotlib Figure, also saved to `path` if
    given; needs `pip install "lamina[plot]"`. ValueError for sizes that are not positive, and as the layers.
    """
    blocks = blocks_of(flow(model, input_shape))
    arrange(blocks)
    lanes = lanes_of(blocks)
    turns = place(blocks)
    for block in blocks:
        block.y = lanes[block.lane].y
    width = max(max(block.right, block.middle + wide(block) / 2) for block in blocks) + 0.2
    top, bottom = lanes[0].y + lanes[0].above, lanes[-1].y - lanes[-1].below
    figure = new_figure(width + 0.2, top - bottom + 0.2)
    figure.set_layout_engine("none")  # the sheet is as large as what stands on it
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.2, width), ylim=(bottom - 0.1, top + 0.1), aspect="equal")
    axes.set_axis_off()
    for block in blocks:
        for source in (blocks[i] for i in block.step.sources):
            _connect(axes, source, block, lanes, turns)
    for block in blocks:
        _draw(axes, block)
        _write(axes, block, lanes[block.lane])
    return saved(figure, path)


def _connect(axes: Any, source: Block, block: Block, lanes: list[Lane], turns: dict[int, float]) -> None:
    """The line from a block to one that is made of it, around those in between."""
    span = source.column, block.column
    end = block.x - 0.03, block.y
    if source.lane != block.lane:
        turn = turns[block.column]
        way = [(source.right + 0.03, source.y), (turn, source.y), (turn, block.y), end]
    elif span in lanes[block.lane].shortcuts:
        height = block.y + lanes[block.lane].shortcuts[span]
        start, end = (source.middle + _ASIDE, _top(source)), (block.middle - _ASIDE, _top(block) + 0.02)
        way = [start, (start[0], height), (end[0], height), end]
    else:
        way = [(source.right + 0.03, source.y), end]
    axes.plot(*zip(*way[:-1], strict=True), **_LINES, zorder=4)
    arrow = {"arrowstyle": "-|>", "color": _EDGE, "linewidth": 1.1, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", way[-1], way[-2], arrowprops={**arrow, "mutation_scale": 8})


def _top(block: Block) -> float:
    """Where shortcuts begin and end: the middle of the upper face, or the circle."""
    if block.step.kind == "join":
        return block.y + math.sqrt(RADIUS**2 - _ASIDE**2)
    return block.y + (block.upright - block.depth * SLANT) / 2


def _draw(axes: Any, block: Block) -> None:
    from matplotlib.patches import Circle, Polygon

    color = _COLORS[block.step.kind]
    style: dict[str, Any] = {"edgecolor": _EDGE, "linewidth": 0.8, "joinstyle": "round", "zorder": 3}
    if block.step.kind == "join":
        axes.add_patch(Circle((block.middle, block.y), RADIUS, facecolor=color, edgecolor=_EDGE, zorder=3))
        return
    left, low = block.x, block.y - block.upright / 2
    right, high, slant = left + block.width, low + block.height, block.depth * SLANT
    front = [(left, low), (right, low), (right, high), (left, high)]
    axes.add_patch(Polygon(front, facecolor=color, **style))
    if slant:
        above = [(left, high), (right, high), (right + slant, high + slant), (left + slant, high + slant)]
        side = [(right, low), (right, high), (right + slant, high + slant), (right + slant, low + slant)]
        axes.add_patch(Polygon(above, facecolor=_mixed(color, 1.0, 0.45), **style))
        axes.add_patch(Polygon(side, facecolor=_mixed(color, 0.0, 0.13), **style))


def _mixed(color: str, with_grey: float, share: float) -> tuple[float, ...]:
    from matplotlib.colors import to_rgb

    return tuple((1 - share) * c + share * with_grey for c in to_rgb(color))


def _write(axes: Any, block: Block, lane: Lane) -> None:
    """The shape below the block, the labels a line deeper; what joins, in its circle or beside it."""
    down = lane.y - lane.half - 0.08
    style = {"ha": "center", "va": "top", "color": _EDGE}
    axes.text(block.middle, down, block.shape, fontsize=SHAPE_SIZE, weight="bold", **style)
    for i, label in enumerate(block.labels):
        axes.text(block.label_x, down - LINE * (i + 1), label, fontsize=LABEL_SIZE, **style)
    if block.step.kind == "join":
        mark = block.step.labels[0]
        size, drop = (11.0, 0.0) if len(mark) == 1 else (LABEL_SIZE, RADIUS + 0.06)
        axes.text(block.middle, block.y - drop, mark, fontsize=size, ha="center", va="center", zorder=4)
