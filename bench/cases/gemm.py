"""Matrix products: a b, and the two products of its backward pass, which take transposed factors."""

from types import SimpleNamespace

import numpy as np

from cases.case import Case, Pass, normal, sum_bound
from lamina import ops


def gemm(rng: np.random.Generator, *, m: int, k: int, n: int) -> Case:
    a = SimpleNamespace(a=normal(rng, m, k), b=normal(rng, k, n), dy=normal(rng, m, n))

    def both(a):
        y, ctx = ops.gemm(a.a, a.b)
        return y, *ops.gemm_backward(a.dy, ctx)

    flops = 2.0 * m * k * n
    y, da, db = sum_bound(k, a.a, a.b), sum_bound(n, a.dy, a.b), sum_bound(m, a.dy, a.a)
    return Case(
        "gemm",
        f"{m}x{k} {k}x{n}",
        a,
        (
            Pass("forward", lambda a: (ops.gemm(a.a, a.b)[0],), ("y",), (y,), flops),
            Pass("backward a", lambda a: (ops.gemm(a.dy, a.b, transpose_b=True)[0],), ("da",), (da,), flops),
            Pass("backward b", lambda a: (ops.gemm(a.a, a.dy, transpose_a=True)[0],), ("db",), (db,), flops),
            Pass("forward + backward", both, ("y", "da", "db"), (y, da, db), 3 * flops),
        ),
    )
