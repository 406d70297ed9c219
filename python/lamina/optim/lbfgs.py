"""L-BFGS: a whole batch at a time, with the curvature of the last steps."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lamina.autograd import Tensor
from lamina.ops import _check as check
from lamina.optim.line_search import Point, strong_wolfe
from lamina.optim.optimizer import Array, Optimizer

Closure = Callable[[], Any]

_ROUNDING = 64  # times the precision of the dtype: what a loss may be wrong by, relatively
_LEAST_CURVATURE = 1e-10  # of a pair that is remembered: s y over |s| |y|


class Minimum(NamedTuple):
    """Where `LBFGS.minimize` ended.

    loss: the last of `losses`, which has the start and then one loss an iteration; they never rise by more
    than rounding.
    evaluations: calls of the closure. stopped: "tolerance" (the loss hardly fell), "gradient" (it is as good
    as flat), "line search" (no step lowers the loss), "iterations" (all done) or "interrupted" (Ctrl-C).
    """

    loss: float
    losses: list[float]
    evaluations: int
    stopped: str


class LBFGS(Optimizer):
    """Limited-memory BFGS with a strong Wolfe line search: for losses that are the same at every call.

    `minimize(closure)`, or `step(closure)` for one iteration. closure: takes nothing, computes the loss over
    all data, calls its `backward()` and returns it; gradients are cleared for it. lr: the first step that a
    search tries, which should stay 1. history_size: steps remembered, as pairs s (the step) and y (the change
    of the gradient). c1, c2: of the Wolfe conditions, 0 < c1 < c2 < 1. max_evaluations: of the closure in one
    search. Source: Nocedal & Wright, Numerical Optimization, 2nd edition 2006, algorithms 7.4, 3.5 and 3.6;
    where losses differ by no more than rounding, slopes decide, as in Hager & Zhang 2005.
    """

    options = ("lr", "history_size", "c1", "c2", "max_evaluations")
    history_size: int
    c1: float
    c2: float
    max_evaluations: int

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1.0,
        *,
        history_size: int = 10,
        c1: float = 1e-4,
        c2: float = 0.9,
        max_evaluations: int = 25,
    ) -> None:
        own = {"lr": lr, "history_size": history_size, "c1": c1, "c2": c2, "max_evaluations": max_evaluations}
        self._set_options(self._checked_options(own))
        super().__init__(params, lr, tuple(f"{v}{i}" for i in range(history_size) for v in "sy"))

    def _checked_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        found = {key: check.number("LBFGS", key, options[key], below=1) for key in ("c1", "c2")}
        if not 0 < found["c1"] < found["c2"]:
            raise ValueError(f"LBFGS: expected 0 < c1 < c2, got c1 {found['c1']} and c2 {found['c2']}")
        if check.number("LBFGS", "lr", options["lr"]) == 0:
            raise ValueError("LBFGS: lr must be above 0")
        most = {
            key: check.integer("LBFGS", key, options[key], 1) for key in ("history_size", "max_evaluations")
        }
        return {**options, **found, **most}

    def _check_together(self, name: str, options: dict[str, Any], buffers: dict[str, list[Array]]) -> None:
        if 2 * options["history_size"] != len(buffers):
            raise ValueError(f"{name}: history_size {options['history_size']} with {len(buffers)} buffers")
        for i in range(options["history_size"]):
            s, y = ([each.ravel() for each in buffers[f"{v}{i}"]] for v in "sy")
            if not _dot(s, y) > 0 and any(each.any() for each in (*s, *y)):
                raise ValueError(f"{name}: s{i} and y{i} are a pair without positive curvature")

    def step(self, closure: Closure | None = None) -> float:  # type: ignore[override]
        """One iteration -> the loss after it.

        The gradients are those of the new point. Where no step lowers the loss the parameters stay as they
        are. Raises FloatingPointError if the loss or a gradient is not finite at the outset, RuntimeError for
        a closure that does not call `backward()`, TypeError and ValueError for one that does not return a
        number; whatever it raises, the parameters are put back.
        """
        return self._iterate(closure, self._outset(closure)).measured

    def minimize(
        self,
        closure: Closure,
        iterations: int = 400,
        *,
        tolerance: float = 1e-9,
        gradient_tolerance: float = 1e-8,
        verbose: int = 1,
    ) -> Minimum:
        """Iterate until the loss falls by no more than `tolerance` of itself, or of 1 if it is smaller.

        Also until no element of the gradient is larger than `gradient_tolerance`. verbose: 1 shows a bar on
        a terminal. Raises what `step` raises. Ctrl-C ends the run cleanly, at the best point.
        """
        check.integer("LBFGS.minimize", "iterations", iterations, 1)
        check.number("LBFGS.minimize", "tolerance", tolerance)
        check.number("LBFGS.minimize", "gradient_tolerance", gradient_tolerance)
        from tqdm import tqdm

        self._evaluations = 0
        point = self._outset(closure)
        losses, stopped = [point.loss], "iterations"
        with tqdm(total=iterations, desc="L-BFGS", leave=False, disable=None if verbose else True) as bar:
            try:
                for _ in range(iterations):
                    if max(float(np.abs(g).max(initial=0)) for g in point.gradient) <= gradient_tolerance:
                        stopped = "gradient"
                        break
                    new = self._iterate(closure, point)
                    if new.step == 0:
                        stopped = "line search"
                        break
                    losses.append(new.measured)
                    bar.set_postfix_str(f"loss {new.measured:.6g}", refresh=False)
                    bar.update()
                    point = new
                    if -new.loss <= tolerance * max(abs(new.measured), 1):
                        stopped = "tolerance"
                        break
            except KeyboardInterrupt:
                stopped = "interrupted"
        return Minimum(losses[-1], losses, self._evaluations, stopped)

    _evaluations = 0

    def _outset(self, closure: Closure | None) -> Point:
        """The point where the parameters are."""
        if not callable(closure):
            raise TypeError(
                "LBFGS: expected a closure, which computes the loss over all data, calls backward() and "
                f"returns the loss, got {type(closure).__name__}"
            )
        point = self._evaluate(closure, 0.0, None)
        if not math.isfinite(point.loss):
            raise FloatingPointError("LBFGS: the loss or its gradient is not finite where the parameters are")
        return point

    def _evaluate(self, closure: Closure, step: float, direction: list[Array] | None) -> Point:
        """Loss, slope and gradient where the parameters are."""
        self.zero_grad()
        value = closure()
        self._evaluations += 1
        if not isinstance(value, (Tensor, int, float, np.number)) or isinstance(value, bool):
            raise TypeError(f"LBFGS: the closure must return the loss, got {type(value).__name__}")
        if isinstance(value, Tensor) and value.size != 1:
            raise ValueError(f"LBFGS: the closure must return one number, got shape {value.shape}")
        loss = float(value)
        if not sum(group.gather() for group in self._groups):
            raise RuntimeError(
                "LBFGS: no parameter has a gradient: the closure must call backward() on the loss"
            )
        gradient = [group.grad.copy() for group in self._groups]
        slope = 0.0 if direction is None else _dot(gradient, direction)
        if not math.isfinite(loss) or not all(np.isfinite(g).all() for g in gradient):
            loss = math.inf
        return Point(step, loss, slope, gradient, loss)

    def _iterate(self, closure: Any, now: Point) -> Point:
        """The next point, with the parameters there; step 0 if none is lower, and they stay."""
        direction = self._direction(now.gradient)
        start = now._replace(step=0.0, loss=0.0, slope=_dot(now.gradient, direction))
        fresh = not any(each["s0"].any() for each in self._buffers)
        if not start.slope < 0:  # rounding has spoilt the pairs, or the gradient is 0
            return start if fresh else self._restart(closure, now)
        first = self.lr * (min(1.0, 1 / sum(float(np.abs(g).sum()) for g in now.gradient)) if fresh else 1.0)
        origin = [group.data.copy() for group in self._groups]
        precision = max(float(np.finfo(x.dtype).eps) for x in origin)

        def at(step: float) -> Point:
            self._move(origin, direction, step)
            point = self._evaluate(closure, step, direction)
            change = point.measured - start.measured
            if abs(change) <= _ROUNDING * precision * abs(start.measured):
                change = step * (start.slope + point.slope) / 2
            return point._replace(loss=change)

        found = start
        try:
            found = strong_wolfe(at, start, first, self.c1, self.c2, self.max_evaluations)
        finally:
            self._move(origin, direction, found.step)
            for group, gradient in zip(self._groups, found.gradient, strict=True):
                np.copyto(group.grad, gradient)
        if found.step == 0:
            return found if fresh else self._restart(closure, now)
        self._remember(origin, now, found)
        return found

    def _restart(self, closure: Any, now: Point) -> Point:
        """Once more without the pairs, straight down."""
        for each in self._buffers:
            for flat in each.values():
                flat[...] = 0
        return self._iterate(closure, now)

    def _direction(self, gradient: list[Array]) -> list[Array]:
        """-H g by the two-loop recursion (algorithm 7.4); an empty pair is all zeros."""
        d = [-g for g in gradient]
        pairs, scale = [], 1.0
        for i in range(self.history_size):
            s, y = ([each[f"{v}{i}"] for each in self._buffers] for v in "sy")
            curvature = _dot(s, y)
            if curvature > 0:
                alpha = _dot(s, d) / curvature
                _add(d, -alpha, y)
                pairs.append((s, y, curvature, alpha))
        if pairs:
            s, y, curvature, _ = pairs[0]
            scale = curvature / _dot(y, y)
        for vector in d:
            vector *= vector.dtype.type(scale)
        for s, y, curvature, alpha in reversed(pairs):
            _add(d, alpha - _dot(y, d) / curvature, s)
        return d

    def _move(self, origin: list[Array], direction: list[Array], step: float) -> None:
        for group, x, d in zip(self._groups, origin, direction, strict=True):
            np.copyto(group.data, x + group.data.dtype.type(step) * d if step else x)

    def _remember(self, origin: list[Array], old: Point, new: Point) -> None:
        """Put the step and the gradient's change in front of the pairs, unless they show no curvature."""
        for group in self._groups:
            group.steps = [count + 1 for count in group.steps]
        s = [group.data - x for group, x in zip(self._groups, origin, strict=True)]
        y = [a - b for a, b in zip(new.gradient, old.gradient, strict=True)]
        if not _dot(s, y) > _LEAST_CURVATURE * math.sqrt(_dot(s, s) * _dot(y, y)):
            return
        for each, *pair in zip(self._buffers, s, y, strict=True):
            last = self.history_size - 1
            for v, newest in zip("sy", pair, strict=True):
                oldest = each[f"{v}{last}"]
                for i in range(last, 0, -1):
                    each[f"{v}{i}"] = each[f"{v}{i - 1}"]
                np.copyto(oldest, newest)
                each[f"{v}0"] = oldest


def _dot(a: Sequence[Array], b: Sequence[Array]) -> float:
    return sum(float(np.dot(u, v)) for u, v in zip(a, b, strict=True))


def _add(a: Sequence[Array], scale: float, b: Sequence[Array]) -> None:
    """In place: a += scale b."""
    for u, v in zip(a, b, strict=True):
        u += u.dtype.type(scale) * v
