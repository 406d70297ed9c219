"""The picture of a run, as SVG: speed-ups over NumPy, and peers beside them where there were any.

Written here, for it must appear after `pip install . && python bench`, which brings no plotting library.
"""

import math
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

_COLOURS = {
    "forward": "#2a6f97",
    "predict": "#2a6f97",
    "predict, batch 256": "#2a6f97",
    "one answer": "#5aa9c9",
    "training step": "#bc4b2f",
    "step": "#bc4b2f",
}
_BACKWARD = "#e09f3e"
PEERS = ("#2a6f97", "#bc4b2f", "#5a8f3c", "#8e5ea2", "#e09f3e", "#3a3a3a", "#c06c9e")
_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_LABELS, _PLOT, _ROW, _TOP = (
    330,
    430,
    21,
    74,
)  # pixels: left of the bars, the bars, a row, above the first row


def draw(result: dict[str, Any], path: Path) -> None:
    """One panel of speed-ups; right of it the peers' times, as multiples of lamina's."""
    rows = [row for row in result["rows"] if "speedup" in row]
    runs = list(dict.fromkeys((row["isa"], row["threads"]) for row in rows))
    isa, threads = runs[-1]  # the most threads or the last instruction set stands for the rest
    rows = [row for row in rows if (row["isa"], row["threads"]) == (isa, threads)]
    peers = list(dict.fromkeys(name for row in rows for name in row["times"] if name not in ("numpy", "cpp")))
    bars = _bars(rows, _epoch(result, isa, threads))
    panels = [_speedups(bars)]
    if peers:
        compared = [row for row in rows if any(name in row["times"] for name in peers)]
        panels.append(_rivals(compared, peers))
    about = result["machine"]
    title = (
        f"lamina {about['lamina']} on {about['cpu']}, {threads} thread{'s' if threads > 1 else ''}, {isa}, "
        f"float32; NumPy {about['numpy']} on {about['blas'].split()[0]}"
    )
    path.write_text(side_by_side(title, panels))


def side_by_side(title: str, panels: list["Panel"]) -> str:
    """A page of panels."""
    width, height = len(panels) * (_LABELS + _PLOT + 60), max(panel.height for panel in panels)
    parts = [text(width / 2, 24, title, size=14, anchor="middle")]
    for i, panel in enumerate(panels):
        parts.append(f'<g transform="translate({i * (_LABELS + _PLOT + 60)} 0)">{"".join(panel.parts)}</g>')
    return page(width, height, parts)


def page(width: float, height: float, parts: list[str]) -> str:
    """A white page with what stands on it."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif"><rect width="100%" height="100%" fill="white"/>'
        f"{''.join(parts)}</svg>\n"
    )


class Panel:
    """Rows of labels; on their right a logarithmic axis on which `least` and `greatest` find room."""

    def __init__(self, title: str, labels: list[str], least: float, greatest: float, unit: str = "x") -> None:
        self._low, self._high = math.log(least / 1.3), math.log(greatest * 1.7)
        bottom = _TOP + _ROW * len(labels)
        self.height = bottom + 50
        self.parts = [text(_LABELS + _PLOT / 2, 50, title, size=12, anchor="middle")]
        for tick in _TICKS:
            if self._low <= math.log(tick) <= self._high:
                x = self.x(tick)
                colour = "#222222" if tick == 1 else "#dddddd"
                self.parts.append(f'<path d="M{x:.1f} {_TOP - 8}V{bottom}" stroke="{colour}"/>')
                self.parts.append(text(x, bottom + 15, f"{tick:g}{unit}", anchor="middle"))
        for row, label in enumerate(labels):
            self.parts.append(text(_LABELS - 8, self.y(row) + 4, label, anchor="end"))

    def x(self, value: float) -> float:
        return _LABELS + _PLOT * (math.log(value) - self._low) / (self._high - self._low)

    @staticmethod
    def y(row: int) -> float:
        return _TOP + _ROW * (row + 0.5)

    def bar(self, row: int, value: float, colour: str) -> None:
        left, right = sorted((self.x(1), self.x(value)))
        at = f'x="{left:.1f}" y="{self.y(row) - 7}" width="{right - left:.1f}"'
        self.parts.append(f'<rect {at} height="14" fill="{colour}"/>')

    def dot(self, row: int, value: float, colour: str, radius: float) -> None:
        at = f'cx="{self.x(value):.1f}" cy="{self.y(row)}"'
        self.parts.append(f'<circle {at} r="{radius}" fill="{colour}" fill-opacity="0.85"/>')

    def line(self, values: list[tuple[int, float]], colour: str) -> None:
        """From row to row, with a dot at each."""
        points = " ".join(f"{self.x(value):.1f},{self.y(row)}" for row, value in values)
        self.parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        for row, value in values:
            self.dot(row, value, colour, 3.5)

    def key(self, colours: dict[str, str]) -> None:
        """Whose colour is which, at the foot."""
        for i, (name, colour) in enumerate(colours.items()):
            x = _LABELS + i * _PLOT / len(colours)
            self.parts.append(f'<circle cx="{x:.1f}" cy="{self.height - 14}" r="4.5" fill="{colour}"/>')
            self.parts.append(text(x + 8, self.height - 10, name))


def text(x: float, y: float, words: str, size: int = 11, anchor: str = "start") -> str:
    """Words whose start, middle or end stands at x."""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">{escape(words)}</text>'


def _epoch(result: dict[str, Any], isa: str, threads: int) -> float | None:
    """Speed-up of the training epoch."""
    for entry in result["epochs"]:
        taken = entry["times"]
        if (entry["isa"], entry["threads"]) == (isa, threads) and "numpy" in taken:
            return sum(taken["numpy"]["seconds"]) / sum(taken["cpp"]["seconds"])
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


def _speedups(bars: list[tuple[str, str, list[float]]]) -> Panel:
    """A bar to the geometric mean over the shapes, a dot for each shape."""
    everything = [value for _, _, speedups in bars for value in speedups] or [1.0]
    panel = Panel(
        "times faster than NumPy (bar: mean of the shapes, dots: each shape)",
        [label for label, _, _ in bars],
        min(0.65, *everything),
        max(2.0, *everything),
    )
    for row, (_, colour, speedups) in enumerate(bars):
        mean = math.exp(sum(map(math.log, speedups)) / len(speedups))
        panel.bar(row, mean, colour)
        if len(speedups) > 1:
            for value in speedups:
                panel.dot(row, value, "#222222", 2)
        panel.parts.append(text(panel.x(max(*speedups, mean, 1.0)) + 6, panel.y(row) + 4, times(mean)))
    return panel


def _rivals(rows: list[dict[str, Any]], peers: list[str]) -> Panel:
    """A dot for each peer: how many times lamina's time it takes."""
    short = {"forward + backward": "fwd+bwd", "training step": "training"}
    ratios = {
        (r, peer): row["times"][peer]["median"] / row["times"]["cpp"]["median"]
        for r, row in enumerate(rows)
        for peer in peers
        if peer in row["times"]
    }
    panel = Panel(
        "times lamina's time that other libraries take (right of 1: lamina is faster)",
        [f"{row['case']} {row['shape']}  {short.get(row['pass'], row['pass'])}" for row in rows],
        min(0.65, *ratios.values()),
        max(2.0, *ratios.values()),
    )
    colours = dict(zip(peers, PEERS * 3, strict=False))
    for (row, peer), ratio in ratios.items():
        panel.dot(row, ratio, colours[peer], 4.5)
    panel.key(colours)
    return panel


def times(factor: float) -> str:
    """Two or three digits and an x."""
    return f"{factor:.0f}x" if factor >= 99.5 else f"{factor:.1f}x" if factor >= 1 else f"{factor:.2f}x"
