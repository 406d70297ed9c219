"""Tables for people, JSON for programs, and the picture."""

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import growth
import k_cost
import picture
import sweep
from contenders import OURS
from picture import times

Say = Callable[[str], None]


_WHERE = (30, 18)
_COLUMNS = (
    ("NumPy ms", 9),
    ("C++ ms", 8),
    ("least", 8),
    ("quartiles", 15),
    ("speed-up", 8),
    ("rate", 13),
    ("of peak", 7),
    ("error", 6),
)
LEGEND = """ms: medians; of C++ also the least and the quartiles. of peak: of the multiply-adds, of which
Winograd's convolution needs fewer, or of reading memory, which caches surpass. error: the greatest of C++
against float64, as a part of the greatest result. (..x): times the C++ time."""


class Table:
    """The rows of one op, printed as they come."""

    def __init__(self, name: str, peers: list[str], say: Say) -> None:
        self.peers, self.say = peers, say
        self.widths = [width for _, width in _COLUMNS] + [max(len(peer), 15) for peer in peers]
        header = self._line((name, "pass"), [*(title for title, _ in _COLUMNS), *peers])
        say(f"\n{header}\n{'-' * len(header)}")

    def row(self, row: dict[str, Any]) -> None:
        where = (_label(row), row["pass"])
        if "wrong" in row:
            self.say(f"{self._line(where, [])}  WRONG, not timed: {row['wrong']}")
            return
        numpy, cpp = row["times"]["numpy"], row["times"]["cpp"]
        cells = [_ms(numpy["median"]), _ms(cpp["median"]), _ms(cpp["least"])]
        cells += [
            f"{_ms(cpp['quarter'])}-{_ms(cpp['three_quarters'])}",
            f"{times(row['speedup'])}",
            _rate(row),
        ]
        cells += [f"{row['share']:.0%}", f"{row['relative_error']:.0e}"]
        self.say(self._line(where, cells + [_rival(row["times"].get(peer), cpp) for peer in self.peers]))

    def _line(self, where: tuple[str, str], cells: list[str]) -> str:
        left = [f"{text:<{width}}" for text, width in zip(where, _WHERE, strict=True)]
        return "  ".join(left + [f"{cell:>{width}}" for cell, width in zip(cells, self.widths, strict=False)])


def _label(row: dict[str, Any]) -> str:
    """Training rows stand in one table, so they name their network."""
    return f"{row['case']}, batch {row['shape'].split()[1]}" if "samples_per_second" in row else row["shape"]


def _ms(seconds: float) -> str:
    """Three digits or so."""
    ms = seconds * 1e3
    return (
        f"{ms:.0f}" if ms >= 1000 else f"{ms:.1f}" if ms >= 100 else f"{ms:.2f}" if ms >= 1 else f"{ms:.4f}"
    )


def _rate(row: dict[str, Any]) -> str:
    return f"{row['gflops']:.1f} GFLOP/s" if "gflops" in row else f"{row['gbytes']:.1f} GB/s"


def _rival(spread: dict[str, Any] | None, cpp: dict[str, Any]) -> str:
    return f"{_ms(spread['median'])} ({times(spread['median'] / cpp['median'])})" if spread else "-"


def epochs(entry: dict[str, Any], say: Say) -> None:
    """Seconds (the median of the epochs) and test accuracy after the last, of every contender."""
    count = len(entry["times"]["cpp"]["seconds"])
    say(
        f"\nLeNet-5, {count} epoch{'s' if count > 1 else ''} of {entry['data']}: {entry['samples']:,} images "
        f"in batches of {entry['batch']}, Adam {entry['lr']:g}; tested on {entry['tested_on']:,}"
    )
    ours, samples = statistics.median(entry["times"]["cpp"]["seconds"]), entry["samples"]
    for name, found in entry["times"].items():
        seconds = statistics.median(found["seconds"])
        versus = "" if name == "cpp" else f"  {times(seconds / ours)} the time of C++"
        say(
            f"  {OURS.get(name, name):<26}{seconds:>9.2f} s an epoch{samples / seconds:>10,.0f} images/s"
            f"{found['accuracy'][-1]:>9.2%} right{versus}"
        )


def write(result: dict[str, Any], path: Path, picture_path: Path | None) -> None:
    """The JSON file, and the picture if there is anything to draw."""
    path.write_text(json.dumps(result, indent=1) + "\n")
    if picture_path is None:
        return
    print(f"\nresults: {path}")
    for name, drawn in (("k_cost", k_cost), ("growth", growth)):
        if name in result:
            own = picture_path.with_name(f"{picture_path.stem}-{name}.svg")
            drawn.draw(result[name], own)
            print(f"picture: {own}")
    if rows := sweep.of(result):
        own = picture_path.with_name(f"{picture_path.stem}-sweep.svg")
        sweep.draw(rows, own)
        print(f"picture: {own}")
    if not result["rows"]:
        return
    picture.draw(result, picture_path)
    print(f"picture: {picture_path}")
