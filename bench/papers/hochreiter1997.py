"""Long Short-Term Memory (Hochreiter & Schmidhuber 1997): experiments 1, 2a, 2c, 4 and 6a, its own way.

Memory blocks without forget gates, online gradient descent with the truncated gradient, the paper's initial
weights, learning rates and criteria. In experiments 1 and 2a, where each symbol has a target, weights change
at each symbol; in the others once a sequence. Plain nets, with the whole gradient, stand beside them.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from papers.online import Array, BlockNet, OnlineNet, PlainNet, logistic
from papers.row import Effort, Row, progress
from papers.tasks import lags, reber
from papers.tasks.adding import adding
from papers.tasks.order import temporal_order
from papers.traces import TraceNet

TITLE = "Long Short-Term Memory (Hochreiter & Schmidhuber, Neural Computation 1997)"
_TESTS = 2560


class Trial(NamedTuple):
    """How one net fared: whether the criterion held, after how many sequences, and what was wrong then."""

    solved: bool
    sequences: int
    wrong: float  # share of test sequences
    on_average: int | None = None  # sequences until the mean error alone was small enough


def _one_hot(classes: int) -> Array:
    return np.eye(classes, dtype=np.float32)


# Experiment 1: embedded Reber grammar -----------------------------------------------------------------
def reber_grammar(seed: int, limit: int) -> Trial:
    """3 blocks of 2 cells, rate 0.5. Solved: in 256 training and 256 test strings, at each step, all symbols
    that may come next are the most active.
    """
    rng = np.random.default_rng(seed)
    texts = [reber.embedded(rng) for _ in range(512)]
    start = {"o": (-1.0, -2.0, -3.0)}
    net = TraceNet(7, 3, 2, 7, biased="gates", gate_biases=start, output_bias=False, rng=rng, scale=0.2)
    tokens, legal, lengths = reber.padded(texts)
    beyond = np.arange(tokens.shape[1]) >= lengths[:, None]
    eye, wrong = _one_hot(7), 1.0
    for n in range(1, limit + 1):
        net.begin()
        for token, following in pairwise(texts[rng.integers(256)].tokens):
            net.step(token)
            net.correct(eye[following], 0.5)
        if n % 20 == 0:
            net.end()
            out = net.outputs(tokens)
            right = np.where(legal, out, 2).min(axis=2) > np.where(legal, -1, out).max(axis=2)
            wrong = 1 - float((right | beyond).all(axis=1).mean())
            if wrong == 0:
                return Trial(True, n, 0)
    return Trial(False, limit, wrong)


# Experiment 2: long lags, without and with distractors ------------------------------------------------
_KIND_2A = {
    "output_gate": False,
    "forget_gate": False,
    "squash_input": "logistic",
    "squash_state": "identity",
    "truncated": True,
}


def _worst(net: OnlineNet, texts: list[Array]) -> float:
    """The greatest error of any output at any step: after the two sequences there are no others."""
    eye = _one_hot(net.inputs)
    return max(float(np.abs(net.outputs(text[None, :-1])[0] - eye[text[1:]]).max()) for text in texts)


def _learn_shortcut(net: TraceNet, texts: list[Array], limit: int) -> int:
    """Train the weights from inputs to outputs alone, until the error of 20 sequences falls by less than a
    tenth against the 20 before -> sequences.
    """
    short, eye, errors = net.v[:, 2:], _one_hot(net.inputs), [0.0]
    for n in range(1, limit + 1):
        text = texts[net.rng.integers(2)]
        out = logistic(np.ascontiguousarray(short.T[text[:-1]]))
        error = out - eye[text[1:]]
        np.subtract.at(short.T, text[:-1], error * out * (1 - out))
        errors[-1] += float((error * error).sum())
        if n % 20 == 0:
            if n > 20 and errors[-1] > 0.9 * errors[-2]:
                return n
            errors.append(0.0)
    return limit


def noise_free(seed: int, limit: int, p: int) -> Trial:
    """One cell with an input gate alone, added once the rest learns no more; rate 1. Solved: all outputs
    within 0.25, always.
    """
    rng = np.random.default_rng(seed)
    shape = {"recurrent": "none", "biased": "none", "output_bias": False, "shortcut": True}
    net = TraceNet(p + 1, 1, 1, p + 1, kind=_KIND_2A, rng=rng, scale=0.2, **shape)
    texts, eye = [lags.noise_free(which, p) for which in (0, 1)], _one_hot(p + 1)
    for n in range(_learn_shortcut(net, texts, limit) + 1, limit + 1):
        net.begin()
        for token, following in pairwise(texts[rng.integers(2)]):
            net.step(token)
            net.correct(eye[following], 1.0)
        if n % 20 == 0:
            net.end()
            if _worst(net, texts) < 0.25:
                return Trial(True, n, 0)
    return Trial(False, limit, 1)


def plain_noise_free(seed: int, limit: int, p: int) -> Trial:
    """As `noise_free`, one plain unit in the place of the cell."""
    rng = np.random.default_rng(seed)
    net = PlainNet(p + 1, 1, p + 1, rng=rng, scale=0.2, shortcut=True)
    texts, eye = [lags.noise_free(which, p) for which in (0, 1)], _one_hot(p + 1)
    for n in range(1, limit + 1):
        text = texts[rng.integers(2)]
        net.learn(text[None, :-1], eye[text[1:]], 1.0)
        if n % 20 == 0 and _worst(net, texts) < 0.25:
            return Trial(True, n, 0)
    return Trial(False, limit, 1)


def distractors(seed: int, limit: int, p: int, q: int) -> Trial:
    """2 blocks of one cell, rate 0.01, one error at the end. Solved: 10,000 sequences within 0.2."""
    rng = np.random.default_rng(seed)
    net = BlockNet(p + 4, 2, 1, 2, biased="none", output_bias=False, rng=rng, scale=0.2)
    texts, classes = zip(*(lags.distractors(rng, p, q) for _ in range(10_000)), strict=True)
    lengths = np.array([len(text) for text in texts])
    tokens, target = np.zeros((len(texts), lengths.max()), np.int64), _one_hot(2)[list(classes)]
    for row, text in zip(tokens, texts, strict=True):
        row[: len(text)] = text

    def wrong(count: int) -> float:
        out = net.outputs(tokens[:count], lengths[:count])
        return float((np.abs(out - target[:count]) >= 0.2).any(axis=1).mean())

    for n in range(1, limit + 1):
        text, which = lags.distractors(rng, p, q)
        net.learn(text[None], _one_hot(2)[which], 0.01)
        if n % 500 == 0 and wrong(200) == 0 and wrong(10_000) == 0:
            return Trial(True, n, 0)
    return Trial(False, limit, wrong(10_000))


# Experiments 4 and 6: adding, temporal order ----------------------------------------------------------
Draw = Callable[[np.random.Generator, int], tuple[Array, Array, Array]]


def _draw_sums(rng: np.random.Generator, count: int) -> tuple[Array, Array, Array]:
    x, lengths, sums = adding(rng, count, 100)
    return x, lengths, sums[:, None]


def _draw_orders(rng: np.random.Generator, count: int) -> tuple[Array, Array, Array]:
    tokens, lengths, classes = temporal_order(rng, count)
    return tokens, lengths, _one_hot(4)[classes]


def _until(net: OnlineNet, draw: Draw, limit: int, lr: float, within: float, mean: float) -> Trial:
    """Learn until the last 2,000 errors are below `within` and, on average, below `mean`; then test."""
    worst, average, n = np.full(2000, np.inf), np.full(2000, np.inf), 0
    solved, on_average = False, None
    while n < limit and not solved:
        x, lengths, targets = draw(net.rng, 100)
        for row, length, target in zip(x, lengths, targets, strict=True):
            error = np.abs(net.learn(row[None, :length], target, lr)[0] - target)
            worst[n % 2000], average[n % 2000] = error.max(), error.mean()
            n += 1
        if on_average is None and average.mean() < mean:
            on_average = n
        solved = bool(worst.max() < within and average.mean() < mean)
    x, lengths, targets = draw(net.rng, _TESTS)
    wrong = (np.abs(net.outputs(x, lengths) - targets) >= within).any(axis=1)
    return Trial(solved, n, float(wrong.mean()), on_average)


def sums(seed: int, limit: int) -> Trial:
    """2 blocks of 2 cells, rate 0.5. Solved: mean error below 0.01 and the last 2,000 within 0.04."""
    rng = np.random.default_rng(seed)
    net = BlockNet(2, 2, 2, 1, gate_biases={"i": (-3.0, -6.0)}, rng=rng, scale=0.1)
    return _until(net, _draw_sums, limit, 0.5, 0.04, 0.01)


def orders(seed: int, limit: int) -> Trial:
    """2 blocks of 2 cells, rate 0.5. Solved: mean error below 0.1 and the last 2,000 within 0.3."""
    rng = np.random.default_rng(seed)
    net = BlockNet(8, 2, 2, 4, gate_biases={"i": (-2.0, -4.0)}, rng=rng, scale=0.1)
    return _until(net, _draw_orders, limit, 0.5, 0.3, 0.1)


def plain_sums(seed: int, limit: int) -> Trial:
    """8 plain units, rate 0.1."""
    net = PlainNet(2, 8, 1, rng=np.random.default_rng(seed), scale=0.1)
    return _until(net, _draw_sums, limit, 0.1, 0.04, 0.01)


def plain_orders(seed: int, limit: int) -> Trial:
    """8 plain units, rate 0.1."""
    net = PlainNet(8, 8, 4, rng=np.random.default_rng(seed), scale=0.1)
    return _until(net, _draw_orders, limit, 0.1, 0.3, 0.1)


# The table --------------------------------------------------------------------------------------------
def _trials(what: str, trial: Callable[..., Trial], count: int, *options: int) -> list[Trial]:
    found = []
    with progress(count, what, "net") as bar:
        for seed in range(count):
            found.append(trial(seed, *options))
            bar.update()
    return found


def _told(trials: list[Trial]) -> str:
    solved = [t.sequences for t in trials if t.solved]
    text = f"{len(solved)} of {len(trials)} nets"
    if solved:
        text += f", mean {np.mean(solved):,.0f} sequences ({min(solved):,}-{max(solved):,})"
    if len(solved) < len(trials):
        rest = [t for t in trials if not t.solved]
        text += f"; the rest, after {rest[0].sequences:,}, {np.mean([t.wrong for t in rest]):.1%} wrong"
        close = [t.on_average for t in rest if t.on_average is not None]
        text += (
            f", the mean error small enough after {np.mean(close):,.0f} ({len(close)} nets)" if close else ""
        )
    return text


def _row(what: str, published: int, more: str, trials: list[Trial], tested: bool = False) -> Row:
    """Met: all trials solved, after a mean within a factor 2, and at most 3 of 2,560 tests wrong."""
    ours = _told(trials)
    if tested and any(t.solved for t in trials):
        ours += f"; wrong of 2,560: {_TESTS * np.mean([t.wrong for t in trials if t.solved]):.1f}"
    mean = float(np.mean([t.sequences for t in trials]))
    met = all(t.solved and t.wrong * _TESTS <= 3 for t in trials) and published / 2 <= mean <= 2 * published
    return Row(what, f"{published:,} sequences{more}", ours, met)


def _control(what: str, published: str, trials: list[Trial]) -> Row:
    """Met: no plain net has solved it."""
    return Row(f"{what}, plain net", published, _told(trials), not any(t.solved for t in trials))


def run(effort: Effort) -> Iterator[Row]:
    """Each experiment as soon as its nets are trained; quick: the two fastest with one net each."""
    nets, limits = effort.pick(1, 5, 10), 2 if effort.long else 1
    p4 = _trials("2a, p = 4", noise_free, nets, 20_000, 4)
    yield Row("2a: lag of 4", "", _told(p4), all(t.solved for t in p4))
    order = _trials("6a", orders, nets, 150_000)
    yield _row("6a: temporal order", 31_390, ", 1 of 2,560 wrong", order, tested=True)
    if effort.quick:
        return
    p10 = _trials("2a, p = 10", noise_free, nets, 20_000, 10)
    yield Row("2a: lag of 10", "", _told(p10), all(t.solved for t in p10))
    plain = _trials("2a, plain", plain_noise_free, nets, 20_000 * limits, 10)
    yield _control("2a: lag of 10", "0 % after 5,000,000 (RTRL)", plain)
    if effort.long:
        p100 = _trials("2a, p = 100", noise_free, nets, 40_000, 100)
        yield _row("2a: lag of 100", 5_040, "", p100)
    noisy = _trials("2c", distractors, nets, 60_000 * limits, 50, 50)
    yield _row("2c: lag of 50, 50 distractors", 30_000, "", noisy)
    plain = _trials("6a, plain", plain_orders, nets, 20_000 * limits)
    yield _control("6a: temporal order", "not solved", plain)
    added = _trials("4", sums, nets, 150_000 * limits)
    yield _row("4: adding, T = 100", 74_000, ", 1 of 2,560 wrong", added, tested=True)
    plain = _trials("4, plain", plain_sums, nets, 20_000 * limits)
    yield _control("4: adding, T = 100", "not solved", plain)
    grammar = _trials("1", reber_grammar, nets, 15_000 * limits**2)
    yield _row("1: embedded Reber grammar", 8_440, ", 100 % of 30 nets", grammar)
