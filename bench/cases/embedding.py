"""Rows of a table by number."""

from types import SimpleNamespace

import numpy as np

from cases.case import Case, Pass, nbytes, normal, sum_bound
from lamina import ops
from lamina.config import backend


def embedding(rng: np.random.Generator, *, m: int, v: int, d: int) -> Case:
    a = SimpleNamespace(tokens=rng.integers(0, v, m), w=normal(rng, v, d), dy=normal(rng, m, d))

    def both(a):
        y, ctx = ops.embedding(a.tokens, a.w)
        return y, ops.embedding_backward(a.dy, ctx)

    def backward(a):
        return (backend().embedding_backward(a.dy, a.tokens, a.w),)

    most = int(np.bincount(a.tokens).max())
    dw, size = sum_bound(most, a.dy), nbytes(a.dy)
    return Case(
        "embedding",
        f"{m} of {v}x{d}",
        a,
        (
            Pass("forward", lambda a: (ops.embedding(a.tokens, a.w)[0],), ("y",), (0.0,), 0, 2 * size),
            Pass("backward", backward, ("dw",), (dw,), 0, size + nbytes(a.w)),
            Pass("forward + backward", both, ("y", "dw"), (0.0, dw), 0, 3 * size + nbytes(a.w)),
        ),
    )
