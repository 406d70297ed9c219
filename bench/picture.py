"""The picture of a run: speed-ups over NumPy, and peers beside them where there were any."""

import math
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from report import times

_COLOURS = {"forward": "#2a6f97", "predict": "#2a6f97", "training step": "#bc4b2f", "step": "#bc4b2f"}
_BACKWARD = "#e09f3e"
_MARKS = "osD^vP*X"


def draw(result: dict[str, Any], path: Path) -> None:
    """One panel of speed-ups for each run; right of it the peers' times, as multiples of lamina's."""
    rows = [row for row in result["rows"] if "speedup" in row]
    runs = list(dict.fromkeys((row["isa"], row["threads"]) for row in rows))
    isa, threads = runs[-1]  # the most threads or the last instruction set stands for the rest
    rows = [row for row in rows if (row["isa"], row["threads"]) == (isa, threads)]
    peers = list(dict.fromkeys(name for row in rows for name in row["times"] if name not in ("numpy", "cpp")))
    bars = _bars(rows, _epoch(result, isa, threads))
    compared = [row for row in rows if any(name in row["times"] for name in peers)]
    height = 1.6 + 0.27 * max(len(bars), len(compared), 4)
    width = 17 if peers else 9
    figure, axes = plt.subplots(1, 2 if peers else 1, figsize=(width, height), squeeze=False)
    _speedups(axes[0][0], bars)
    if peers:
        _rivals(axes[0][1], compared, peers)
    about = result["machine"]
    figure.suptitle(
        f"lamina {about['lamina']} on {about['cpu']}, {threads} thread{'s' if threads > 1 else ''}, {isa}, "
        f"float32; NumPy {about['numpy']} on {about['blas'].split()[0]}",
        fontsize=10,
    )
    figure.tight_layout(rect=(0, 0, 1, 0.985))
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _epoch(result: dict[str, Any], isa: str, threads: int) -> float | None:
    """Speed-up of the training epoch."""
    for entry in result["epochs"]:
        times = entry["times"]
        if (entry["isa"], entry["threads"]) == (isa, threads) and "numpy" in times:
            return sum(times["numpy"]["seconds"]) / sum(times["cpp"]["seconds"])
    return None


def _bars(rows: list[dict[str, Any]], epoch: float | None) -> list[tuple[str, str, list[float]]]:
    """(label, colour, speed-up of every shape) for each op and pass."""
    groups: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row["pass"] != "forward + backward":
            groups.setdefault((row["case"], row["pass"]), []).append(row["speedup"])
    found = [
        (f"{case}  {name}", _COLOURS.get(name, _BACKWARD), speedups)
        for (case, name), speedups in groups.items()
    ]
    return found + ([("LeNet-5  an epoch", "#bc4b2f", [epoch])] if epoch else [])


def _speedups(axes: Any, bars: list[tuple[str, str, list[float]]]) -> None:
    """A bar to the geometric mean over the shapes, a dot for each shape."""
    for y, (_, colour, speedups) in enumerate(bars):
        mean = math.exp(sum(map(math.log, speedups)) / len(speedups))
        axes.barh(y, mean - 1, left=1, color=colour, height=0.72)
        if len(speedups) > 1:
            axes.plot(speedups, [y] * len(speedups), ".", color="#222222", markersize=4, zorder=3)
        axes.annotate(
            times(mean),
            (max(mean, *speedups, 1.0), y),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    _finish(axes, [label for label, _, _ in bars], max((max(s) for _, _, s in bars), default=10))
    axes.set_title("times faster than NumPy (bar: mean of the shapes, dots: each shape)", fontsize=9)


def _rivals(axes: Any, rows: list[dict[str, Any]], peers: list[str]) -> None:
    """A mark for each peer: how many times lamina's time it takes."""
    greatest = 2.0
    for mark, peer in zip(_MARKS * 3, peers, strict=False):
        points = [
            (row["times"][peer]["median"] / row["times"]["cpp"]["median"], y)
            for y, row in enumerate(rows)
            if peer in row["times"]
        ]
        greatest = max([greatest, *(x for x, _ in points)])
        if points:
            axes.plot(*zip(*points, strict=True), mark, label=peer, markersize=6, alpha=0.85)
    short = {"forward + backward": "fwd+bwd", "training step": "training"}
    labels = [f"{row['case']} {row['shape']}  {short.get(row['pass'], row['pass'])}" for row in rows]
    _finish(axes, labels, greatest)
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.06), ncol=len(peers), frameon=False)
    axes.set_title("times lamina's time that other libraries take (right of 1: lamina is faster)", fontsize=9)


def _finish(axes: Any, labels: list[str], greatest: float) -> None:
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.5), max(high, greatest * 1.6))
    axes.axvline(1, color="#222222", linewidth=0.8)
    ticks = [
        t
        for t in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
        if low * 0.9 <= t <= greatest * 1.6
    ]
    axes.set_xticks(ticks, [f"{t:g}x" for t in ticks], fontsize=8)
    axes.minorticks_off()
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
