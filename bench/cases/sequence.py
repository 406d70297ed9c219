"""Whole sequences through one layer: RNN, GRU and LSTM, all equally long or of mixed lengths."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from cases.case import EPS, Case, Pass, normal
from lamina import ops

_GATES = {"rnn": (1, 1), "gru": (3, 4), "lstm": (4, 4)}


def _case(
    rng: np.random.Generator, op: str, *, n: int, t: int, d: int, h: int, ragged: int, dropout: int
) -> Case:
    """ragged=1: lengths drawn between 1 and t. dropout=1: recurrent dropout of half the units."""
    gates, biases = _GATES[op]
    scale = np.float32(1 / np.sqrt(h))
    lengths = rng.integers(1, t + 1, n) if ragged else np.full(n, t)
    a = SimpleNamespace(x=normal(rng, n, t, d), h0=np.tanh(normal(rng, n, h)))
    if op == "lstm":
        a.c0 = normal(rng, n, h)
    a.w_ih = rng.uniform(-1, 1, (gates * h, d)).astype(np.float32) * scale
    a.w_hh = rng.uniform(-1, 1, (gates * h, h)).astype(np.float32) * scale
    a.b = rng.uniform(-1, 1, biases * h).astype(np.float32) * scale
    a.dy, a.dh_last = normal(rng, n, t, h), normal(rng, n, h)
    if op == "lstm":
        a.dc_last = normal(rng, n, h)
    a.lengths = lengths
    if dropout:
        a.recurrent_mask = rng.choice(np.array([0, 2], np.float32), (n, h))
    options: dict[str, Any] = {"ragged": bool(ragged), "dropout": bool(dropout)}
    states = ("h", "c") if op == "lstm" else ("h",)

    def inputs(a: SimpleNamespace) -> list[np.ndarray]:
        return [a.x, a.h0, *([a.c0] if op == "lstm" else []), a.w_ih, a.w_hh, a.b]

    def run(a: SimpleNamespace) -> Any:
        mask = a.recurrent_mask if dropout else None
        return getattr(ops, op)(*inputs(a), lengths=a.lengths if ragged else None, recurrent_mask=mask)

    def both(a: SimpleNamespace) -> tuple[np.ndarray, ...]:
        y, ctx = run(a)
        last = [a.dh_last, *([a.dc_last] if op == "lstm" else [])]
        return *y, *getattr(ops, f"{op}_backward")(a.dy, *last, ctx)

    outputs = ("y", *states)
    names = ("dx", *(f"d{state}0" for state in states), "dw_ih", "dw_hh", "db")
    total = int(lengths.sum())
    # The state errs by some eps a step, along which errors fade; a hundred times what was measured.
    bound, summed = 2000 * EPS, 2000 * EPS * total
    bounds = (bound,) * len(outputs)
    back = (10 * bound,) * (1 + len(states)) + (summed,) * 3
    flops = 2.0 * total * gates * h * (d + h)
    return Case(
        op,
        f"T{t} N{n} D{d} H{h}" + " ragged" * bool(ragged) + " dropout" * bool(dropout),
        a,
        (
            Pass("forward", lambda a: run(a)[0], outputs, bounds, flops),
            Pass("forward + backward", both, outputs + names, bounds + back, 3 * flops),
        ),
        options,
    )


def rnn(
    rng: np.random.Generator, *, n: int, t: int, d: int, h: int, ragged: int = 0, dropout: int = 0
) -> Case:
    return _case(rng, "rnn", n=n, t=t, d=d, h=h, ragged=ragged, dropout=dropout)


def gru(
    rng: np.random.Generator, *, n: int, t: int, d: int, h: int, ragged: int = 0, dropout: int = 0
) -> Case:
    return _case(rng, "gru", n=n, t=t, d=d, h=h, ragged=ragged, dropout=dropout)


def lstm(
    rng: np.random.Generator, *, n: int, t: int, d: int, h: int, ragged: int = 0, dropout: int = 0
) -> Case:
    return _case(rng, "lstm", n=n, t=t, d=d, h=h, ragged=ragged, dropout=dropout)
