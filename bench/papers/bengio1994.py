"""One tanh unit that must latch its first inputs: the gradient decays, descent fails, and guessing works."""

from collections.abc import Callable, Iterator
from math import log

import numpy as np

from lamina import ops
from papers.row import Effort, Row, progress

TITLE = "Bengio, Simard & Frasconi 1994, Learning long-term dependencies with gradient descent is difficult"

_LENGTHS = (5, 10, 20, 50, 100)
_TRAINABLE = 3  # inputs at the start of each class
_TARGETS = np.array([0.8, -0.8])
_FIRST_W, _NOISE, _LR, _PAIRS = 1.25, 0.2, 0.1, 500
_RIGHT = 0.95  # of the fresh sequences

_ONE, _ZERO = np.ones((1, 1)), np.zeros(1)


def run(effort: Effort) -> Iterator[Row]:
    yield _decay()
    yield from _latching(effort.pick(3, 20, 100), effort.pick(100, _PAIRS, 10 * _PAIRS), effort.quick)
    yield from _guessing(effort.pick(5, 40, 400), effort.pick(10, 100, 100), effort.quick)


def gradient_along(w: float, length: int) -> tuple[float, float]:
    """dx_T/dx_0 of x_t = tanh(w x_{t-1}) at rest, from the kernel, and (w (1 - x^2))^T."""
    x = 1.0
    for _ in range(1000):
        x = np.tanh(w * x)
    start = np.array([[x]])
    (y, _), ctx = ops.rnn(np.zeros((1, length, 1)), start, _ONE, np.array([[w]]), _ZERO)
    dh0 = ops.rnn_backward(np.zeros_like(y), np.ones((1, 1)), ctx)[1]
    return float(dh0[0, 0]), float((w * (1 - x * x)) ** length)


def _decay() -> Row:
    worst, slopes = 0.0, []
    for w in (1.1, 1.25, 1.5, 2.0):
        found = [gradient_along(w, length) for length in _LENGTHS]
        worst = max([worst, *(abs(ours / right - 1) for ours, right in found)])
        slope = np.polyfit(_LENGTHS, [log(ours) for ours, _ in found], 1)[0]
        slopes.append(f"{slope:.3f} (w = {w})")
    return Row(
        "gradient of a latched unit over T = 5..100",
        "(w (1 - x^2))^T, below 1 for each step (to 1e-10)",
        f"off by {worst:.0e} at most; slope of its logarithm {', '.join(slopes)}",
        worst < 1e-10,
    )


def _latching(seeds: int, pairs: int, quick: bool) -> Iterator[Row]:
    """Success of gradient descent, as the time to latch for grows."""
    share = {}
    with progress(seeds * len(_LENGTHS), "latching", "net") as bar:
        for length in _LENGTHS:
            share[length] = 0.0
            for seed in range(seeds):
                share[length] += (descend(length, pairs, seed) >= _RIGHT) / seeds
                bar.update()
    found = list(share.values())
    yield Row(
        f"latching by gradient descent, {seeds} seeds, {pairs} pairs of sequences, T = 5, 10, 20, 50, 100",
        "falls fast with T (wanted: over 90 % at 5, under 20 % from 50)",
        ", ".join(f"{part:.0%}" for part in found),
        None if quick else found[0] > 0.9 and max(found[3:]) < 0.2 and found == sorted(found, reverse=True),
    )


def descend(length: int, pairs: int, seed: int) -> float:
    """The share of 400 fresh sequences that end on the right side.

    x_t = tanh(w x_{t-1} + h_t); w and the first inputs h of each class are learnt, later h are noise; the
    error is (x_T - d)^2/2 with d = 0.8 or -0.8.
    """
    rng = np.random.default_rng(seed)
    w, first = np.array([[_FIRST_W]]), np.zeros((2, _TRAINABLE, 1))
    for _ in range(pairs):
        (y, last), ctx = ops.rnn(_noisy(rng, first, length), np.zeros((2, 1)), _ONE, w, _ZERO)
        dx, _, _, dw, _ = ops.rnn_backward(np.zeros_like(y), last - _TARGETS[:, None], ctx)
        w = w - _LR * dw
        first -= _LR * dx[:, :_TRAINABLE]
    x = _noisy(rng, first.repeat(200, axis=0), length)
    (_, last), _ = ops.rnn(x, np.zeros((400, 1)), _ONE, w, _ZERO)
    return float(np.mean(np.sign(last[:, 0]) == np.sign(_TARGETS).repeat(200)))


def _noisy(rng: np.random.Generator, first: np.ndarray, length: int) -> np.ndarray:
    x = rng.normal(0, _NOISE, (len(first), length, 1))
    x[:, :_TRAINABLE] = first
    return x


# Weight guessing (Hochreiter & Schmidhuber 1996; Schmidhuber, Hochreiter & Bengio 2001): all numbers uniform
# within 100, sequences of 500 to 600 steps of which the first tells the class. The noise is said to have
# variance 0.2: then one guess in 135 would do for latch II, but one in 39 with a deviation of 0.2.


def _guessing(runs: int, sequences: int, quick: bool) -> Iterator[Row]:
    for name, published, guess, bounds in (
        ("latch I: w and both first inputs", 6, _first_inputs, (3, 12)),
        ("latch II: w, input weight and bias", 22, _three_weights, (10, 45)),
    ):
        trials = []
        with progress(runs, name.partition(":")[0], "run") as bar:
            for seed in range(runs):
                trials.append(guessed(guess, sequences, seed))
                bar.update()
        mean = np.mean(trials)
        yield Row(
            f"guessing, {name}, T = 500..600",
            f"{published} trials, the mean of 40 runs (wanted: {bounds[0]} to {bounds[1]})",
            f"{mean:.1f} trials, the mean of {runs} runs",
            None if quick else bool(bounds[0] <= mean <= bounds[1]),
        )


_Net = tuple[np.ndarray, float, float, float]  # first inputs by class, weights of input and state, bias


def _first_inputs(rng: np.random.Generator) -> _Net:
    return rng.uniform(-100, 100, 2), 1.0, rng.uniform(-100, 100), 0.0


def _three_weights(rng: np.random.Generator) -> _Net:
    return np.array([1.0, -1.0]), *rng.uniform(-100, 100, 3)


def guessed(guess: Callable[[np.random.Generator], _Net], sequences: int, seed: int) -> int:
    """Trials until a guess has all sequences end near 1 or -1, by their class.

    The paper wants errors below 0.1, but no saturated unit is so near the targets of latch I, 0.8 and -0.8.
    """
    rng = np.random.default_rng(seed)
    x, lengths = rng.normal(0, _NOISE, (sequences, 600, 1)), rng.integers(500, 601, sequences)
    classes = np.arange(sequences) % 2
    trials = 0
    while True:
        trials += 1
        net = guess(rng)
        # Four sequences first: they turn most guesses down.
        if all(_right(net, x[:n], lengths[:n], classes[:n]) for n in (4, sequences)):
            return trials


def _right(net: _Net, x: np.ndarray, lengths: np.ndarray, classes: np.ndarray) -> bool:
    first, w_ih, w_hh, b = net
    x[:, 0, 0] = first[classes]
    weights = np.array([[w_ih]]), np.array([[w_hh]]), np.array([b])
    (_, last), _ = ops.rnn(x, np.zeros((len(x), 1)), *weights, lengths=lengths)
    return bool(np.all(np.abs(last[:, 0] - (1 - 2 * classes)) < 0.25))
