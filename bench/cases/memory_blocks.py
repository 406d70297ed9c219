"""Memory blocks of 1997 over sequences of one length, with the truncated gradient or the whole one."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from cases.case import EPS, Case, Pass, normal
from lamina import ops


def memory_blocks(
    rng: np.random.Generator, *, n: int, t: int, d: int, b: int, s: int, truncated: int = 0
) -> Case:
    """b blocks of s cells without forget gates; cells and gates go back."""
    h, rows = b * s, b * (s + 2)
    a = SimpleNamespace(x=normal(rng, n, t, d), u0=np.zeros((n, rows), np.float32), c0=normal(rng, n, h))
    for name, shape in (("w_ih", (rows, d)), ("w_hh", (rows, rows)), ("b", (rows,))):
        setattr(a, name, rng.uniform(-0.2, 0.2, shape).astype(np.float32))
    a.dy, a.du_last, a.dc_last = normal(rng, n, t, h), normal(rng, n, rows), normal(rng, n, h)

    def run(a: SimpleNamespace) -> Any:
        return ops.memory_blocks(
            *(a.x, a.u0, a.c0, a.w_ih, a.w_hh, a.b),
            cells_per_block=s,
            forget_gate=False,
            squash_input="1997",
            squash_state="1997",
            truncated=bool(truncated),
        )

    def both(a: SimpleNamespace) -> tuple[np.ndarray, ...]:
        y, ctx = run(a)
        return *y, *ops.memory_blocks_backward(a.dy, a.du_last, a.dc_last, ctx)[:6]

    outputs, names = ("y", "u", "c"), ("dx", "du0", "dc0", "dw_ih", "dw_hh", "db")
    # Without forgetting, errors of the state add up over its t steps.
    bound = 200 * EPS * t
    bounds, back = (bound,) * 3, (10 * bound,) * 3 + (bound * n * t,) * 3
    flops = 2.0 * n * t * rows * (d + rows)
    return Case(
        "memory_blocks",
        f"T{t} N{n} D{d} {b}x{s}" + (" truncated" if truncated else ""),
        a,
        (
            Pass("forward", lambda a: run(a)[0], outputs, bounds, flops),
            Pass("with backward", both, outputs + names, bounds + back, (2 if truncated else 3) * flops),
        ),
    )
