"""Where the blocks of a drawn network stand, so that no text meets another."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from lamina.probe.flow import Step

# Inches, but for the sizes of letters, which are points.
_LEAST, _MOST = 0.16, 1.6  # sides of volumes
_THIN, _THICK = 0.06, 0.6  # of a volume, by its channels
_BAR = 0.12  # width of a row's bar
_ARROW = 0.34  # the least length of one
_GAP = 0.13  # between texts
RADIUS = 0.11  # of a join
LINE = 0.15  # height of a line of text
_SHORTCUT = 0.17  # from one shortcut to the next above it
SLANT = 0.26  # right and up, of a depth of 1
SHAPE_SIZE, LABEL_SIZE = 7.5, 7.0


@dataclass
class Block:
    """A step with its place: a box of width x height (x depth), the middle of its left side at (x, y)."""

    step: Step
    width: float
    height: float
    depth: float = 0.0
    column: int = 0
    lane: int = 0
    reach: int = 0  # the last column that lines from here pass through, before they arrive
    x: float = 0.0
    y: float = 0.0
    label_x: float = 0.0  # the middle of its labels
    targets: list[int] = field(default_factory=list)

    @property
    def across(self) -> float:
        return self.width + self.depth * SLANT

    @property
    def upright(self) -> float:
        return self.height + self.depth * SLANT

    @property
    def right(self) -> float:
        return self.x + self.across

    @property
    def middle(self) -> float:
        return self.x + self.across / 2

    @property
    def shape(self) -> str:
        return "×".join(map(str, self.step.shape)) or "1"

    @property
    def labels(self) -> list[str]:
        """What stands below the arrow that leads here; of the input and of joins, below themselves."""
        return ["input"] if self.step.kind == "input" else self.step.labels[self.step.kind == "join" :]


def blocks_of(steps: list[Step]) -> list[Block]:
    """Every step with its size."""
    images = [s.shape for s in steps if len(s.shape) > 2]
    side = max((n for shape in images for n in shape[-3:-1]), default=1)
    channels = max([64, *(shape[-1] for shape in images)])
    length = max((s.shape[0] for s in steps if len(s.shape) == 2), default=1)
    units = max([64, *(s.shape[-1] for s in steps if 0 < len(s.shape) < 3)])

    def scaled(n: int, most: int, ends: tuple[float, float] = (_LEAST, _MOST)) -> float:
        return ends[0] + (ends[1] - ends[0]) * math.sqrt(n / most)

    found = []
    for step in steps:
        shape = step.shape
        if step.kind == "join":
            found.append(Block(step, 2 * RADIUS, 2 * RADIUS))
        elif len(shape) > 2:
            thick = scaled(shape[-1], channels, (_THIN, _THICK))
            found.append(Block(step, thick, scaled(shape[-3], side), scaled(shape[-2], side)))
        else:
            wide = scaled(shape[0], length, (_BAR, 1.0)) if len(shape) == 2 else _BAR
            high = scaled(shape[-1], units) if shape else _LEAST
            found.append(Block(step, wide, high))
    return found


def arrange(blocks: list[Block]) -> None:
    """Columns by the longest way from the input; a lane for each branch, the first below what it leaves."""
    for i, block in enumerate(blocks):
        for source in block.step.sources:
            blocks[source].targets.append(i)
            block.column = max(block.column, blocks[source].column + 1)
    for block in blocks:
        block.reach = max([block.column, *(blocks[i].column - 1 for i in block.targets)])
    for i, block in enumerate(blocks[1:], 1):
        sources = [blocks[source] for source in block.step.sources]
        before = blocks[:i]
        block.lane = min(source.lane for source in sources)
        if any(b.lane == block.lane and b.column >= block.column for b in before):
            taken = {b.lane for b in before if b.reach >= block.column}
            block.lane = next(lane for lane in range(len(blocks)) if lane not in taken)


@dataclass
class Lane:
    """A row of blocks: its middle y, the room above and below it, and the heights of its shortcuts."""

    y: float = 0.0
    half: float = 0.0  # of the tallest block
    above: float = 0.0
    below: float = 0.0
    shortcuts: dict[tuple[int, int], float] = field(default_factory=dict)  # by columns: above y


def lanes_of(blocks: list[Block]) -> list[Lane]:
    lanes = [Lane() for _ in range(max(block.lane for block in blocks) + 1)]
    for k, lane in enumerate(lanes):
        row = [block for block in blocks if block.lane == k]
        lane.half = max(block.upright for block in row) / 2
        spans = sorted({s for block in row for s in _spans(block, blocks)}, key=lambda s: s[1] - s[0])
        levels: dict[tuple[int, int], int] = {}
        for a, b in spans:
            levels[a, b] = max((n + 1 for (c, d), n in levels.items() if c < b and a < d), default=0)
        lane.shortcuts = {span: lane.half + 0.12 + _SHORTCUT * n for span, n in levels.items()}
        lane.above = max([lane.half, *lane.shortcuts.values()])
        lane.below = lane.half + 0.08 + LINE * (1 + max(len(block.labels) for block in row)) + 0.06
        if k:
            lane.y = lanes[k - 1].y - lanes[k - 1].below - lane.above - 0.12
    return lanes


def _spans(block: Block, blocks: list[Block]) -> list[tuple[int, int]]:
    """The columns of the shortcuts that end here: of sources in this lane with a block in between."""
    found = []
    for source in (blocks[i] for i in block.step.sources):
        between = (b for b in blocks if b.lane == block.lane and source.column < b.column < block.column)
        if source.lane == block.lane and any(between):
            found.append((source.column, block.column))
    return found


def place(blocks: list[Block]) -> dict[int, float]:
    """Give every block its x, so that no text meets another; the x at which lines change lanes, by column.

    Such a line stands before the column that it leads to, and everything of that column right of it.
    """
    turns: dict[int, float] = {}
    ends: dict[tuple[int, str], float] = {}  # of a lane: how far its blocks, shapes and labels reach
    former = 0.0
    for column in range(max(block.column for block in blocks) + 1):
        row = [block for block in blocks if block.column == column]
        turning = any(blocks[i].lane != block.lane for block in row for i in block.step.sources)
        if turning:
            turns[column] = max([former, *ends.values()]) + 0.1
        start = turns[column] + 0.1 if turning else -math.inf
        left = max(_left(block, former, start, ends) for block in row)
        for block in row:
            block.x = left
            width = max(map(_label_width, block.labels), default=0.0)
            below = block.step.kind in ("input", "join")
            block.label_x = block.middle if below else (max(former, start) + block.x) / 2
            ends[block.lane, "shape"] = block.middle + _shape_width(block) / 2
            ends[block.lane, "label"] = block.label_x + width / 2
        former = max(block.right for block in row)
        for block in row:
            ends[block.lane, "block"] = block.right
    return turns


def _left(block: Block, former: float, start: float, ends: dict[tuple[int, str], float]) -> float:
    """The least x of a block, its shape and its label's."""
    if block.step.kind == "input":
        return max(0.0, (wide(block) - block.across) / 2)
    begin = max(former, start)
    shape, label = _shape_width(block), max(map(_label_width, block.labels), default=0.0)
    free = {kind: max(start, ends.get((block.lane, kind), -math.inf) + _GAP) for kind in ("shape", "label")}
    least = [begin + _ARROW, free["shape"] + shape / 2 - block.across / 2]
    if block.step.kind == "join":
        least.append(free["label"] + label / 2 - block.across / 2)
    else:  # the label's middle is that of the arrow
        least.append(2 * (free["label"] + label / 2) - begin)
    return max(least)


def wide(block: Block) -> float:
    """Width of the texts that stand below the block itself."""
    own = block.labels if block.step.kind in ("input", "join") else []
    return max([_shape_width(block), *map(_label_width, own)])


def _label_width(label: str) -> float:
    return _text(label, LABEL_SIZE)


def _shape_width(block: Block) -> float:
    return _text(block.shape, SHAPE_SIZE, "bold")


def _text(text: str, size: float, weight: str = "normal") -> float:
    """Width in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=size, weight=weight)
    return (
        float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]) / 72 if text else 0.0
    )
