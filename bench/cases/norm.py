"""Batch normalisation with relu, in training."""

from types import SimpleNamespace

import numpy as np

from cases.case import EPS, Case, Pass, nbytes, normal, sum_bound, top
from lamina import ops


def batch_norm(rng: np.random.Generator, *, n: int, h: int, w: int, c: int) -> Case:
    # No number lies near the mean: rounding could then decide what relu lets pass.
    far = normal(rng, n, h, w, c)
    a = SimpleNamespace(x=far + np.sign(far), dy=normal(rng, n, h, w, c), gamma=1 + 0.1 * normal(rng, c) ** 2)
    a.beta = np.zeros(c, np.float32)
    options = {"relu": True}

    def both(a):
        y, ctx = ops.batch_norm(a.x, a.gamma, a.beta, **options)
        return y, *ops.batch_norm_backward(a.dy, ctx)

    rows, size = n * h * w, nbytes(a.x)
    y, xhat = 32 * EPS * top(a.gamma) * top(a.x), a.x / 1.5  # x has a deviation of about 1.9
    bounds = (y, 64 * EPS * top(a.dy, xhat, xhat), sum_bound(rows, a.dy, xhat), sum_bound(rows, a.dy))
    return Case(
        "batch_norm",
        f"{n}x{h}x{w}x{c}",
        a,
        (
            Pass(
                "forward",
                lambda a: (ops.batch_norm(a.x, a.gamma, a.beta, **options)[0],),
                ("y",),
                (y,),
                0,
                3 * size,
            ),
            Pass("forward + backward", both, ("y", "dx", "dgamma", "dbeta"), bounds, 0, 8 * size),
        ),
        options,
    )
