"""Softmax cross-entropy and mean squared error."""

from types import SimpleNamespace

import numpy as np

from cases.case import EPS, Case, Pass, exactly, nbytes, normal, sum_bound, top
from lamina import ops
from lamina.config import backend


def softmax_cross_entropy(rng: np.random.Generator, *, m: int, n: int) -> Case:
    a = SimpleNamespace(x=normal(rng, m, n), labels=rng.integers(0, n, m), dy=normal(rng, m))
    a.probabilities = exactly(lambda x, labels: backend().softmax_cross_entropy(x, labels)[1], a.x, a.labels)

    def both(a):
        losses, ctx = ops.softmax_cross_entropy(a.x, a.labels)
        return losses, ops.softmax_cross_entropy_backward(a.dy, ctx)

    def backward(a):
        return (backend().softmax_cross_entropy_backward(a.dy, a.probabilities, a.labels),)

    y = 2 * EPS * (n + 2 * top(a.x) + 4)
    dx, size = 4 * y * top(a.dy), nbytes(a.x, a.probabilities)
    return Case(
        "softmax_cross_entropy",
        f"{m}x{n}",
        a,
        (
            Pass("forward", lambda a: (ops.softmax_cross_entropy(a.x, a.labels)[0],), ("y",), (y,), 0, size),
            Pass("backward", backward, ("dx",), (dx,), 0, size),
            Pass("forward + backward", both, ("y", "dx"), (y, dx), 0, 2 * size),
        ),
    )


def mean_squared_error(rng: np.random.Generator, *, m: int, n: int) -> Case:
    a = SimpleNamespace(x=normal(rng, m, n), target=normal(rng, m, n), dy=np.ones((), np.float32))

    def both(a):
        y, ctx = ops.mean_squared_error(a.x, a.target)
        return y, ops.mean_squared_error_backward(a.dy, ctx)

    def backward(a):
        return (backend().mean_squared_error_backward(1.0, a.x, a.target),)

    # A mean over all elements: the sum's relative error, n m eps at worst, divides out one n m.
    difference = a.x - a.target
    y = 2 * EPS * (m * n + 4) * float(np.mean(difference.astype(np.float64) ** 2))
    dx, size = sum_bound(4, difference) / (m * n), nbytes(a.x, a.target)
    return Case(
        "mean_squared_error",
        f"{m}x{n}",
        a,
        (
            Pass("forward", lambda a: (ops.mean_squared_error(a.x, a.target)[0],), ("y",), (y,), 0, size),
            Pass("backward", backward, ("dx",), (dx,), 0, 1.5 * size),
            Pass("forward + backward", both, ("y", "dx"), (y, dx), 0, 2.5 * size),
        ),
    )
