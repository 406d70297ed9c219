"""Learning to Forget (Gers, Schmidhuber & Cummins 2000), and peepholes (Gers & Schmidhuber 2000).

Continual embedded Reber strings, with no mark between and no reset. By default 4 blocks of 2 cells learn 16
streams at once by Adam through 40 steps, with forget gates and without: a quick stand-in for the paper's tens
of thousands of streams. With `long` also the paper's own algorithm and criterion: one stream at a time, a
change of weights at each symbol, until the first error. Then gaps between spikes that differ by one step.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

import lamina as lm
from lamina import nn, optim
from papers.online import KIND_1997
from papers.row import Effort, Row, progress
from papers.tasks import reber
from papers.tasks.spikes import spike_gaps
from papers.traces import TraceNet

TITLE = "Learning to Forget: Continual Prediction with LSTM (Gers, Schmidhuber & Cummins 2000)"
_CURVES = {"squash_input": "1997", "squash_state": "1997"}


# Continual embedded Reber grammar ---------------------------------------------------------------------
class Predictor(nn.Module):
    """4 blocks of 2 cells; the next symbol from the cells and the present one: the paper's 424 weights."""

    def __init__(self, forget_gate: bool, seed: int) -> None:
        self.blocks = nn.MemoryBlocks(7, 4, 2, forget_gate=forget_gate, biased="gates", rng=seed, **_CURVES)
        self.out = nn.Linear(15, 7, rng=seed)

    def forward(self, tokens: Any, state: Any = None) -> Any:
        """Tokens (N,T) -> logits (N,T,7), state."""
        y, state = self.blocks(tokens, state)
        symbols = np.eye(7, dtype=np.float32)[tokens.data]
        return self.out(lm.concatenate([y, symbols], axis=2)), state


def predictor(forget_gate: bool, seed: int, updates: int) -> Predictor:
    """Learn 16 endless streams, 40 steps at a time, the states handed on."""
    streams, steps = 16, 40
    rng = np.random.default_rng(seed)
    texts = np.stack([reber.continual(rng, updates * steps + 1).tokens for _ in range(streams)])
    net, loss, state = Predictor(forget_gate, seed), nn.CrossEntropyLoss(), None
    optimizer = optim.Adam(net.parameters(), 0.01)
    with progress(updates, "CERG", "update") as bar:
        for n in range(updates):
            part = texts[:, n * steps : (n + 1) * steps + 1]
            logits, state = net(part[:, :-1], state)
            state = tuple(s.detach() for s in state)
            optimizer.zero_grad()
            loss(logits, part[:, 1:]).backward()
            optim.clip_grad_norm(net.parameters(), 5.0)
            optimizer.lr = 0.01 * (1 - n / updates)
            optimizer.step()
            bar.update()
    return net


def on_fresh_stream(net: Predictor, seed: int, length: int) -> tuple[float, float, float]:
    """-> the share of second T or P that is right, that of all steps whose greatest output is legal, and the
    mean size of the cells' states.
    """
    text = reber.continual(np.random.default_rng(10_000 + seed), length)
    with lm.no_grad():
        logits, (_, c) = net(text.tokens[None])
    best = logits.data[0].argmax(axis=1)
    legal = text.legal[np.arange(length), best]
    outer = (text.legal.sum(axis=1) == 1) & text.legal[:, [1, 2]].any(axis=1)
    return float(legal[outer].mean()), float(legal.mean()), float(np.abs(c.data).mean())


def _continual(nets: int, updates: int, length: int, judged: bool) -> Iterator[Row]:
    found = {
        forget: np.array(
            [on_fresh_stream(predictor(forget, seed, updates), seed, length) for seed in range(nets)]
        )
        for forget in (True, False)
    }
    with_gates, without = found[True], found[False]
    for published, values, met in (
        ("62 % of nets perfect, with decay", with_gates, bool((with_gates[:, 0] >= 0.98).all())),
        ("0 % of nets perfect", without, bool((without[:, 0] < 0.98).all())),
    ):
        outer, all_symbols, size = values.mean(axis=0)
        yield Row(
            f"CERG, {'forget gates' if values is with_gates else 'no forget gates'}, Adam, nets: {nets}",
            published,
            f"second T or P right {outer:.1%} (worst {values[:, 0].min():.1%}), legal {all_symbols:.1%}, "
            f"mean state {size:.1f}, on a fresh stream of {length:,}",
            met if judged else None,
        )


# The paper's own way ----------------------------------------------------------------------------------
def _errorless(net: TraceNet, rng: np.random.Generator, length: int, lr: float) -> int:
    """Run a stream, learning where lr is above 0, until an output is 0.49 or more off -> symbols before.

    Targets are 1 for every symbol that may follow. The rate falls by a hundredth each symbol.
    """
    net.begin()
    for n, (token, legal) in enumerate(islice(reber.stream(rng), length)):
        wrong = np.abs(net.step(token) - legal).max() >= 0.49
        if lr:
            net.correct(legal, lr)
            lr *= 0.99
        if wrong:
            return n
    return length


def own_way(forget_gate: bool, seed: int, streams: int, length: int) -> tuple[int | None, float]:
    """-> streams until one had no error, and the mean length without one in 10 tests of the net."""
    rng = np.random.default_rng(seed)
    start = {"i": (-0.5, -1.0, -1.5, -2.0), "o": (-0.5, -1.0, -1.5, -2.0)}
    start |= {"f": (0.5, 1.0, 1.5, 2.0)} if forget_gate else {}
    net = TraceNet(
        *(7, 4, 2, 7),
        biased="gates",
        recurrent="cells",
        shortcut=True,
        gate_biases=start,
        kind=KIND_1997 | {"forget_gate": forget_gate},
        rng=rng,
        scale=0.2,
    )
    solved = None
    with progress(streams, "CERG, online", "stream") as bar:
        for n in range(1, streams + 1):
            bar.update()
            if _errorless(net, rng, length, 0.5) == length:
                solved = n
                break
    return solved, float(np.mean([_errorless(net, rng, length, 0) for _ in range(10)]))


def _own_way(nets: int, streams: int, length: int) -> Iterator[Row]:
    for forget, published in ((True, "62 % perfect (14,087 streams)"), (False, "0 % perfect")):
        trials = [own_way(forget, seed, streams, length) for seed in range(nets)]
        perfect = [n for n, mean in trials if n is not None and mean == length]
        ours = f"{len(perfect)} of {nets} perfect in {streams:,} streams of {length:,}"
        ours += f" ({np.mean(perfect):,.0f} streams)" if perfect else ""
        ours += f"; mean length without error {np.mean([mean for _, mean in trials]):,.0f}"
        met = len(perfect) >= nets / 2 if forget else not perfect
        yield Row(f"CERG, {'forget' if forget else 'no forget'} gates, own algorithm", published, ours, met)


# Spikes -----------------------------------------------------------------------------------------------
class Timer(nn.Module):
    """2 blocks of one cell, and whether the gap that ends was long."""

    def __init__(self, peepholes: bool, seed: int) -> None:
        self.blocks = nn.MemoryBlocks(1, 2, peepholes=peepholes, rng=seed)
        self.out = nn.Linear(2, 1, rng=seed)

    def forward(self, x: Any) -> Any:
        """x (N,T,1) -> logits (N,T)."""
        return self.out(self.blocks(x)[0])[:, :, 0]


def timer(peepholes: bool, seed: int, short: int, updates: int) -> tuple[float, int]:
    """-> the share of 2,560 gaps that are told right, and the updates it took."""
    rng, net, loss = np.random.default_rng(seed), Timer(peepholes, seed), nn.BCEWithLogitsLoss()
    optimizer, rows = optim.Adam(net.parameters(), 0.01), np.arange(32)[:, None]

    def right(count: int) -> float:
        x, at, long = spike_gaps(rng, count, 8, short)
        return float(((net.predict(x)[np.arange(count)[:, None], at] > 0) == long).mean())

    with progress(updates, "spikes", "update") as bar:
        for n in range(1, updates + 1):
            x, at, long = spike_gaps(rng, 32, 8, short)
            optimizer.zero_grad()
            loss(net(x)[rows, at], long.astype(np.float32)).backward()
            optim.clip_grad_norm(net.parameters(), 1.0)
            optimizer.step()
            bar.update()
            if n % 100 == 0 and right(32) == 1 and right(320) == 1:
                break
    return right(320), n


def _gaps(nets: int, short: int, updates: int) -> Iterator[Row]:
    for peepholes in (True, False):
        found = [timer(peepholes, seed, short, updates) for seed in range(nets)]
        shares, needed = zip(*found, strict=True)
        solved = sum(share == 1 for share in shares)
        yield Row(
            f"Spike gaps of {short} and {short + 1}, {'peepholes' if peepholes else 'no peepholes'}",
            "solved" if peepholes else "",
            f"{solved} of {nets} nets, {np.mean(shares):.1%} right after {np.mean(needed):,.0f} updates",
            solved == nets if peepholes else None,
        )


def run(effort: Effort) -> Iterator[Row]:
    """Quick: one net of each kind on less."""
    nets = effort.pick(1, 3, 10)
    updates, length = effort.pick(500, 3000, 3000), effort.pick(2_000, 10_000, 100_000)
    yield from _continual(nets, updates, length, judged=not effort.quick)
    yield from _gaps(nets, 9, effort.pick(3000, 5000, 5000))
    if effort.long:
        yield from _gaps(nets, 49, 20_000)
        yield from _own_way(5, 30_000, 100_000)
