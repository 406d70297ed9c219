"""What a run shows: a bar while an epoch lasts (on a terminal only) and one line when it ends."""

from __future__ import annotations

import sys
from typing import Any


class Progress:
    """Prints nothing if verbose is 0, lines if 2, lines and a bar on a terminal if 1."""

    def __init__(self, epochs: int, samples: int | None, verbose: int) -> None:
        self.epochs, self.samples = epochs, samples
        self.lines = verbose > 0
        self.bars = verbose == 1 and sys.stderr.isatty()
        self._bar: Any = None
        self._widths: dict[str, int] = {}

    def begin_epoch(self, epoch: int) -> None:
        """Start the bar of an epoch."""
        if self.bars:
            from tqdm import tqdm

            self._bar = tqdm(
                total=self.samples,
                desc=f"epoch {epoch}/{self.epochs}",
                unit=" samples",
                leave=False,
                unit_scale=True,
            )

    def advance(self, samples: int, means: Any) -> None:
        """Move the bar; `means()` is asked for what to show only when the bar is drawn."""
        if self._bar is not None and self._bar.update(samples):
            self._bar.set_postfix_str("  ".join(f"{k} {v:.4f}" for k, v in means().items()), refresh=False)

    def end_epoch(self, epoch: int, logs: dict[str, float], seconds: float, samples: int) -> None:
        """Replace the bar by a line of the table; the first line brings the header."""
        self.close()
        if not self.lines:
            return
        if not self._widths:
            self._widths = {name: max(len(name), 9) for name in logs}
            names = "  ".join(name.rjust(width) for name, width in self._widths.items())
            print(f"{'epoch':>9}  {names}  {'seconds':>8}  samples/s", flush=True)
        values = "  ".join(_number(logs[name]).rjust(width) for name, width in self._widths.items())
        rate = samples / max(seconds, 1e-9)
        print(f"{f'{epoch}/{self.epochs}':>9}  {values}  {seconds:8.1f}  {rate:9,.0f}", flush=True)

    def say(self, text: str) -> None:
        """A line of its own."""
        self.close()
        if self.lines:
            print(text, flush=True)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _number(value: float) -> str:
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.3e}"
