"""How the time of a step grows with the batch, the side of the images, the channels and the length.

Beside each time stands its share for one unit of work: a number that stays where time is in proportion to
work, and changes at a knee.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cases
import numpy as np
import picture
import training
from contenders import Rivals, local
from networks import NETWORKS, Network

from lamina import nn

KNEE = 1.5  # times more or less for a unit of work than at the neighbour
_QUICK = 3  # sizes
_LEFT, _TOP, _WIDTH, _HEIGHT, _APART = 80, 70, 400, 260, (540, 370)  # pixels, of a panel and to the next

Call = Callable[[], Any]


@dataclass(frozen=True)
class Growth:
    """call: makes the step of a size. A size has size**power units of work, some of them a step's `times`."""

    name: str
    unit: str
    sizes: tuple[int, ...]
    call: Callable[[int], Call]
    times: int = 1
    power: int = 1

    def work(self, size: int) -> int:
        """In units."""
        return self.times * size**self.power


def _training(network: Network) -> Call:
    x, y = network.data(np.random.default_rng(0))
    trainer = training.Trainer(network)
    return lambda: trainer.step(x, y)


def _small_net() -> nn.Sequential:
    """Two convolutions and the mean of what they find."""
    first, second = nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(32, 32, 3, padding=1)
    pooled = [nn.MaxPool2d(2), nn.GlobalAvgPool2d(), nn.Linear(32, 10)]
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), *pooled)


def _images(batch: int) -> Call:
    return _training(replace(NETWORKS["lenet5"], batch=batch))


def _sides(side: int) -> Call:
    return _training(Network("small_net", _small_net, (side, side, 3), 8, "cross_entropy"))


def _channels(channels: int) -> Call:
    options = {"n": 16, "h": 16, "w": 16, "c": channels, "o": channels, "padding": 1}
    case = cases.BUILDERS["conv2d"](np.random.default_rng(0), **options)
    both = case.passes[-1]
    return lambda: both.run(case.arrays)


def _lengths(steps: int) -> Call:
    return _training(replace(NETWORKS["many_to_one"], sample=(steps, 32), batch=16))


def _doubled(first: int, last: int) -> tuple[int, ...]:
    return tuple(first << i for i in range((last // first).bit_length()))


_LONG = (10, 20, 50, 100, 200, 500, 1000, 2000)
GROWTHS = (
    Growth("batch, LeNet-5, a training step", "image", _doubled(1, 512), _images),
    Growth("side of 8 images, two convolutions, a training step", "pixel", _doubled(8, 256), _sides, 8, 2),
    Growth("channels, 3x3 on 16 x 16x16, both ways", "pair of channels", _doubled(8, 512), _channels, 1, 2),
    Growth("length, LSTM 32 -> 128, batch 16, a training step", "time step", _LONG, _lengths),
)


def measure(quick: bool, seconds: float, rivals: Rivals, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Print a table for each growth, and return them: {"name", "unit", "sizes", "work", "seconds"}."""
    found = []
    for growth in GROWTHS:
        sizes = growth.sizes[:_QUICK] if quick else growth.sizes
        say(f"\n{growth.name}")
        row: dict[str, Any] = {"name": growth.name, "unit": growth.unit, "sizes": list(sizes)}
        row |= {"work": [growth.work(size) for size in sizes], "seconds": []}
        for i, size in enumerate(sizes):
            taken = rivals.race({"cpp": local("cpp", growth.call(size))}, {}, seconds)["cpp"].median
            row["seconds"].append(taken)
            each = f"{taken / row['work'][i] * 1e6:>11.4g} us per {growth.unit}"
            changed = f"   knee: {change:.2f}x" if (change := dict(knees(row)).get(size)) else ""
            say(f"  {size:>5}{taken * 1e3:>11.4g} ms{each}{changed}")
        found.append(row)
    return found


def knees(row: dict[str, Any]) -> Iterator[tuple[int, float]]:
    """Sizes at which a unit of work takes KNEE times more, or less, than before, and how many times."""
    each = [seconds / work for seconds, work in zip(row["seconds"], row["work"], strict=False)]
    for size, before, after in zip(row["sizes"][1:], each, each[1:], strict=False):
        if not 1 / KNEE <= after / before <= KNEE:
            yield size, after / before


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """A panel each, both axes logarithmic; dashed: every unit of work at the least that one has cost."""
    parts = [picture.text(_APART[0], 28, "a step's time; dashed: in proportion to the work", 14, "middle")]
    for i, row in enumerate(rows):
        at = f"translate({i % 2 * _APART[0]} {i // 2 * _APART[1]})"
        parts.append(f'<g transform="{at}">{"".join(_panel(row))}</g>')
    path.write_text(picture.page(2 * _APART[0], (len(rows) + 1) // 2 * _APART[1], parts))


def _panel(row: dict[str, Any]) -> list[str]:
    sizes, taken, work = row["sizes"], row["seconds"], row["work"]
    least = min(seconds / units for seconds, units in zip(taken, work, strict=True))
    line = [least * units for units in work]
    low, high = math.floor(math.log10(min(line))), math.ceil(math.log10(max(taken)))

    def at(size: int, seconds: float) -> tuple[float, float]:
        along, up = math.log(size / sizes[0]) / math.log(sizes[-1] / sizes[0]), math.log10(seconds)
        return _LEFT + _WIDTH * along, _TOP + _HEIGHT * (high - up) / (high - low)

    parts = [picture.text(_LEFT + _WIDTH / 2, _TOP - 14, row["name"], 12, "middle")]
    for size in sizes:
        x, bottom = at(size, 10.0**low)
        parts.append(f'<path d="M{x:.1f} {_TOP}V{bottom:.1f}" stroke="#eeeeee"/>')
        parts.append(picture.text(x, bottom + 16, str(size), anchor="middle"))
    for power in range(low, high + 1):
        x, y = at(sizes[0], 10.0**power)
        parts.append(f'<path d="M{x:.1f} {y:.1f}h{_WIDTH}" stroke="#dddddd"/>')
        parts.append(picture.text(x - 8, y + 4, f"{10.0 ** (power + 3):g} ms", anchor="end"))
    for values, look in ((line, 'stroke="#999999" stroke-dasharray="5 4"'), (taken, 'stroke="#2a6f97"')):
        points = [at(size, value) for size, value in zip(sizes, values, strict=True)]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{joined}" fill="none" {look} stroke-width="2"/>')
    knee = dict(knees(row))
    for size, (x, y) in zip(sizes, points, strict=True):
        colour = "#bc4b2f" if size in knee else "#2a6f97"
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
        if size in knee:
            parts.append(picture.text(x + 8, y + 14, f"{knee[size]:.2f}x per {row['unit']}", 9))
    return parts
