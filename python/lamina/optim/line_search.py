"""How far to go along a direction: the strong Wolfe conditions, by cubic interpolation."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_MARGIN = 0.1  # of an interval, at either end, where no trial is made
_NEAREST, _FURTHEST = 1.1, 10.0  # times the last trial, for one beyond it


class Point(NamedTuple):
    """A place on the line: how far along, the loss, its slope there, and the gradient, one vector a dtype.

    A loss that is not finite is kept as infinite: such a point lies too far. `loss` is what points are
    compared by, which may be the difference from the start, `measured` what was computed.
    """

    step: float
    loss: float
    slope: float
    gradient: list[npt.NDArray[Any]]
    measured: float


def strong_wolfe(
    at: Callable[[float], Point], start: Point, first: float, c1: float, c2: float, most: int
) -> Point:
    """A point where the loss has fallen by c1 of what the slope promised, and the slope by c2 in magnitude.

    at(step) evaluates; `start` is step 0, of a negative slope; `first` is tried first. After `most`
    evaluations the best point that has fallen enough, or `start` if there is none. Source: Nocedal & Wright,
    Numerical Optimization, 2nd edition 2006, algorithm 3.5.
    """
    last, step = start, first
    for count in range(1, most + 1):
        point = at(step)
        if _too_high(point, start, c1) or (count > 1 and point.loss >= last.loss):
            return _zoom(at, start, last, point, c1, c2, most - count)
        if abs(point.slope) <= -c2 * start.slope:
            return point
        if point.slope >= 0:
            return _zoom(at, start, point, last, c1, c2, most - count)
        # Downhill still: to where the cubic is least, but clearly further and not out of sight.
        guess = _cubic(last, point)
        guess = guess if guess > step else math.inf
        last, step = point, min(max(guess, _NEAREST * step), _FURTHEST * step)
    return last


def _zoom(
    at: Callable[[float], Point], start: Point, low: Point, high: Point, c1: float, c2: float, most: int
) -> Point:
    """Narrow the interval down (algorithm 3.6): `low` is its best end, and the slope there points into it."""
    for _ in range(most):
        ends = sorted((low.step, high.step))
        margin = _MARGIN * (ends[1] - ends[0])
        guess = _cubic(low, high)
        middle = (ends[0] + ends[1]) / 2
        step = min(max(guess, ends[0] + margin), ends[1] - margin) if math.isfinite(guess) else middle
        if not ends[0] < step < ends[1]:
            break  # no number lies between them
        point = at(step)
        if _too_high(point, start, c1) or point.loss >= low.loss:
            high = point
            continue
        if abs(point.slope) <= -c2 * start.slope:
            return point
        if point.slope * (high.step - low.step) >= 0:
            high = low
        low = point
    return low


def _too_high(point: Point, start: Point, c1: float) -> bool:
    return not point.loss <= start.loss + c1 * point.step * start.slope


def _cubic(a: Point, b: Point) -> float:
    """Where the cubic that has the losses and slopes of both points is least (equation 3.59), or NaN."""
    with np.errstate(all="ignore"):
        away = np.float64(b.step - a.step)
        d1 = a.slope + b.slope - 3 * (b.loss - a.loss) / away
        d2 = np.sign(away) * np.sqrt(d1 * d1 - a.slope * b.slope)
        return float(b.step - away * (b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2))
