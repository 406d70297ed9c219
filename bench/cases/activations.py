"""Elementwise activations, softmax and log-softmax."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from cases.case import EPS, Case, Pass, exactly, normal, top
from lamina import ops
from lamina.config import backend


def _case(rng: np.random.Generator, op: str, m: int, n: int, y_bound: Callable, dx_bound: Callable) -> Case:
    a = SimpleNamespace(x=normal(rng, m, n), dy=normal(rng, m, n))
    forward: Any = getattr(ops, op)
    forward_backward = getattr(ops, f"{op}_backward")
    a.y = exactly(lambda x: forward(x)[0], a.x)

    def both(a):
        y, ctx = forward(a.x)
        return y, forward_backward(a.dy, ctx)

    def backward(a):
        return (getattr(backend(), f"{op}_backward")(a.dy, a.y),)

    y, dx, size = y_bound(a), dx_bound(a), float(a.x.nbytes)
    return Case(
        op,
        f"{m}x{n}",
        a,
        (
            Pass("forward", lambda a: (forward(a.x)[0],), ("y",), (y,), 0, 2 * size),
            Pass("backward", backward, ("dx",), (dx,), 0, 3 * size),
            Pass("forward + backward", both, ("y", "dx"), (y, dx), 0, 5 * size),
        ),
    )


def relu(rng: np.random.Generator, *, m: int, n: int) -> Case:
    return _case(rng, "relu", m, n, lambda a: 0.0, lambda a: 0.0)


def sigmoid(rng: np.random.Generator, *, m: int, n: int) -> Case:
    return _case(rng, "sigmoid", m, n, lambda a: 4 * EPS, lambda a: 8 * EPS * top(a.dy))


def tanh(rng: np.random.Generator, *, m: int, n: int) -> Case:
    return _case(rng, "tanh", m, n, lambda a: 6 * EPS, lambda a: 16 * EPS * top(a.dy))


def _softmax_bound(a: SimpleNamespace) -> float:
    return 2 * EPS * (a.x.shape[1] + 2 * top(a.x) + 4)  # relative, of values of at most 1


def softmax(rng: np.random.Generator, *, m: int, n: int) -> Case:
    return _case(rng, "softmax", m, n, _softmax_bound, lambda a: 4 * _softmax_bound(a) * top(a.dy))


def log_softmax(rng: np.random.Generator, *, m: int, n: int) -> Case:
    return _case(rng, "log_softmax", m, n, _softmax_bound, lambda a: 4 * _softmax_bound(a) * n * top(a.dy))
