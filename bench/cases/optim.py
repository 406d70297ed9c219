"""Steps of the optimisers, in place."""

from types import SimpleNamespace

import numpy as np

from cases.case import EPS, Case, Pass, nbytes, normal, top
from lamina import ops

_LR = 1e-3


def sgd_step(rng: np.random.Generator, *, n: int) -> Case:
    a = SimpleNamespace(p=normal(rng, n), g=normal(rng, n), v=normal(rng, n))

    def step(a):
        ops.sgd_step(a.p, a.g, a.v, _LR, 0.9, False, 0.0)
        return a.p, a.v

    v = 4 * EPS * (top(a.g) + top(a.v))
    bounds = (4 * EPS * top(a.p) + 2 * _LR * v, v)
    return Case("sgd_step", f"{n:,}", a, (Pass("step", step, ("p", "v"), bounds, 0, 5.0 * nbytes(a.p)),))


def adam_step(rng: np.random.Generator, *, n: int) -> Case:
    # v starts well above 0, or the quotient m/sqrt(v) would have no bound.
    a = SimpleNamespace(
        p=normal(rng, n), g=normal(rng, n), m=normal(rng, n), v=rng.uniform(1, 2, n).astype(np.float32)
    )
    count = 10

    def step(a):
        ops.adam_step(a.p, a.g, a.m, a.v, _LR, 0.9, 0.999, 1e-8, 0.0, False, count)
        return a.p, a.m, a.v

    m, v = 4 * EPS * (top(a.g) + top(a.m)), 4 * EPS * (top(a.g, a.g) + top(a.v))
    # sqrt(v/(1 - beta2^count)) is at least 1, and 1/(1 - beta1^count) below 2: the step is a quotient of
    # numbers that err by m and by v, times lr.
    p = 4 * EPS * top(a.p) + 2 * _LR * (m + (top(a.g) + top(a.m)) * (v + 8 * EPS))
    return Case(
        "adam_step", f"{n:,}", a, (Pass("step", step, ("p", "m", "v"), (p, m, v), 0, 7.0 * nbytes(a.p)),)
    )


def rms_step(rng: np.random.Generator, *, n: int) -> Case:
    # v starts well above 0, or the quotient g/sqrt(v) would have no bound.
    a = SimpleNamespace(p=normal(rng, n), g=normal(rng, n), v=rng.uniform(1, 2, n).astype(np.float32))

    def step(a):
        ops.rms_step(a.p, a.g, a.v, _LR, 0.95, 0.05, 1e-8)
        return a.p, a.v

    v = 4 * EPS * (top(a.g, a.g) + top(a.v))
    p = 4 * EPS * top(a.p) + _LR * top(a.g) * (v + 8 * EPS)  # the root is at least 0.97
    return Case("rms_step", f"{n:,}", a, (Pass("step", step, ("p", "v"), (p, v), 0, 5.0 * nbytes(a.p)),))


def adadelta_step(rng: np.random.Generator, *, n: int) -> Case:
    # v and u start well above 0, or the quotient of their roots would have no bound.
    a = SimpleNamespace(
        p=normal(rng, n),
        g=normal(rng, n),
        v=rng.uniform(1, 2, n).astype(np.float32),
        u=rng.uniform(1, 2, n).astype(np.float32),
    )

    def step(a):
        ops.adadelta_step(a.p, a.g, a.v, a.u, _LR, 0.9, 1e-6, 0.0)
        return a.p, a.v, a.u

    # The roots lie between 0.9 and 1.5 + |g|/3, so that the step is below 2 |g| and errs by its factors.
    v = 4 * EPS * (top(a.g, a.g) + top(a.v))
    d = 2 * top(a.g) * (v + 16 * EPS)
    u = 4 * EPS * top(a.u) + 4 * top(a.g) * d
    p = 4 * EPS * top(a.p) + _LR * d
    bounds = (p, v, u)
    return Case(
        "adadelta_step", f"{n:,}", a, (Pass("step", step, ("p", "v", "u"), bounds, 0, 7.0 * nbytes(a.p)),)
    )
