"""Convolutions of many shapes, every pass by itself, beside PyTorch's: a picture, and where it is faster."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cases
import kernels
import picture
import summary
from contenders import Rivals
from picture import times

_FOLDER = cases.SHAPES / "sweep"
_OP, _PASSES = "conv2d", 3  # without the last, which is the sum of these


def count(quick: bool) -> int:
    """Shapes."""
    return len(cases.shapes(_OP, quick, _FOLDER))


def rows_of(quick: bool, seconds: float, rivals: Rivals) -> Iterator[list[dict[str, Any]]]:
    """The rows of each shape, marked as the sweep's."""
    for case in cases.build(_OP, quick, _FOLDER):
        alone = replace(case, passes=case.passes[:_PASSES])
        yield [row | {"sweep": True} for row in kernels.rows_of(alone, seconds, rivals)]


def of(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The timed rows of a result, those of the last instruction set and number of threads."""
    rows = [row for row in result["rows"] if row.get("sweep") and "speedup" in row]
    return [row for row in rows if all(row[key] == rows[-1][key] for key in ("isa", "threads"))]


def slower(rows: list[dict[str, Any]], say: Callable[[str], None]) -> None:
    """Name the shapes and passes of which a peer is faster; nothing where there was no peer."""
    compared = [(row, found) for row in rows if (found := summary.fastest(row))]
    lost = [(row, name, row["times"]["cpp"]["median"] / theirs) for row, (name, theirs) in compared]
    lost = [entry for entry in lost if entry[2] > 1]
    if compared:
        say(f"\nothers are faster in {len(lost)} of {len(compared)} lines{':' * bool(lost)}")
    for row, name, ratio in sorted(lost, key=lambda entry: -entry[2]):
        say(f"  {row['shape']:<36}{row['pass']:<18}{times(ratio):>6}  {name}")


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """A panel for each pass: GFLOP/s of every shape, joined by a line for each contender."""
    rate = {
        (row["pass"], row["shape"], name): row["gflops"] * row["times"]["cpp"]["median"] / taken["median"]
        for row in rows
        for name, taken in row["times"].items()
        if name != "numpy"
    }
    passes, shapes, names = (list(dict.fromkeys(key[i] for key in rate)) for i in range(3))
    colours = dict(zip(names, picture.PEERS * 3, strict=False))
    panels = []
    for one in passes:
        panel = picture.Panel(f"GFLOP/s, {one}", shapes, min(rate.values()), max(rate.values()), "")
        for name, colour in colours.items():
            found = [(i, rate.get((one, shape, name))) for i, shape in enumerate(shapes)]
            panel.line([(i, value) for i, value in found if value], colour)
        panel.key({"lamina" if name == "cpp" else name: colour for name, colour in colours.items()})
        panels.append(panel)
    path.write_text(picture.side_by_side(f"convolutions, {rows[-1]['isa']}, float32", panels))
