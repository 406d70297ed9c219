"""The last lines of a run with peers: ours beside the fastest of them, network by network."""

import math
from collections.abc import Callable
from typing import Any

from picture import times
from training import ANSWER, MANY, STEP

_PASSES = ("training step", "predict", MANY, ANSWER, STEP)
_RATES = ("predict", MANY)  # whole batches: samples a second stand there, too


def show(rows: list[dict[str, Any]], say: Callable[[str], None]) -> None:
    """A table for each pass that a peer took part in: medians, the fastest peer, and the geometric mean."""
    for what in _PASSES:
        compared = [(row, found) for row in rows if row["pass"] == what and (found := fastest(row))]
        if not compared:
            continue
        unit = "samples/s" if what in _RATES else "ms"
        say(f"\n{what + ', ' + unit:<30}{'lamina':>12}{'fastest peer':>14}{'ratio':>8}")
        ratios = []
        for row, (name, theirs) in compared:
            ours = row["times"]["cpp"]["median"]
            ratios.append(theirs / ours)
            cells = [_cell(seconds, row, unit) for seconds in (ours, theirs)]
            say(f"  {row['case']:<28}{cells[0]:>12}{cells[1]:>14}{times(ratios[-1]):>8}  {name}")
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        say(f"  {'geometric mean':<54}{times(mean):>8}  of {len(ratios)}; above 1: lamina is faster")


def fastest(row: dict[str, Any]) -> tuple[str, float] | None:
    """Name and median of the fastest peer, in the fastest of its variants; None where there was none."""
    peers = {name: spread["median"] for name, spread in row["times"].items() if name not in ("numpy", "cpp")}
    return min(peers.items(), key=lambda peer: peer[1]) if peers else None


def _cell(seconds: float, row: dict[str, Any], unit: str) -> str:
    if unit == "ms":
        return f"{seconds * 1e3:.3g}" if seconds < 1 else f"{seconds * 1e3:.0f}"
    return f"{int(row['shape'].split()[1]) / seconds:,.0f}"
