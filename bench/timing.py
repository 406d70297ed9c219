"""Taking times: contenders in turn, each turn from a quiet machine. Standard library only; peers use it too.

A turn begins with calls that are not counted: they wake threads and fill caches, and a system that wakes a
thread on its waker's processor takes some milliseconds to move it. It goes on for its share of the time, and
ends when the threads it woke have stopped spinning, so that nobody is timed beside a rival's busy waiting.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

_LEAST = 3  # rounds, and samples
_ROUNDS = 5  # that the time is cut into, if every call is short
_WARM = 0.025  # seconds of calls before any is counted
_SLOW = 0.05  # seconds: beside a call that long, waking up costs nothing

Turn = Callable[[float], list[float]]


class Dropped(Exception):
    """A contender that cannot go on; the others do."""


@dataclass(frozen=True)
class Spread:
    """Seconds per call."""

    median: float
    least: float
    quarter: float
    three_quarters: float
    calls: int

    @classmethod
    def of(cls, samples: list[float]) -> "Spread":
        quarters = statistics.quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else samples * 3
        return cls(statistics.median(samples), min(samples), quarters[0], quarters[2], len(samples))

    def json(self) -> dict[str, Any]:
        return asdict(self)


def settle(limit: float = 0.5) -> None:
    """Wait until no thread of this process runs, at most `limit` seconds (OpenBLAS spins for 0.1)."""
    end = time.perf_counter() + limit
    while time.perf_counter() < end:
        before = time.process_time()
        time.sleep(0.012)  # Linux counts the time of other threads at its ticks, as rarely as every 10 ms
        if time.process_time() - before < 0.001:
            return


def take_turn(call: Callable[[], Any], seconds: float) -> list[float]:
    """Seconds of each call, one call at least."""
    samples: list[float] = []
    warm = time.perf_counter() + _WARM
    while True:
        start = time.perf_counter()
        call()
        now = time.perf_counter()
        if now > warm:
            break
    if now - start > _SLOW:
        samples.append(now - start)
    end = now + seconds
    while not samples or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        samples.append(time.perf_counter() - start)
    settle()
    return samples


def race(
    turns: dict[str, Turn], seconds: float, dropped: Callable[[str, Dropped], None]
) -> dict[str, Spread]:
    """Time all contenders round by round, for about `seconds` in all, but with three samples each at least.

    Who is slow and has used up its share of the time sits the later rounds out. A contender that raises
    Dropped is reported to `dropped` and leaves the race.
    """
    samples: dict[str, list[float]] = {name: [] for name in turns}
    share = seconds / len(turns)
    end, rounds = 0.0, -1  # round -1 warms up
    while rounds < _LEAST or time.perf_counter() < end:
        for name, found in list(samples.items()):
            if len(found) >= _LEAST and sum(found) > share:
                continue
            try:
                new = turns[name](share / _ROUNDS if rounds >= 0 else 0.0)
            except Dropped as reason:
                dropped(name, reason)
                del samples[name]
                continue
            if rounds >= 0 or min(new) > _SLOW:
                found += new
        if rounds < 0:
            end = time.perf_counter() + seconds
        rounds += 1
        if all(len(found) >= _LEAST and sum(found) > share for found in samples.values()):
            break
    return {name: Spread.of(found) for name, found in samples.items()}
