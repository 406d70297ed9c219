"""The k greatest of each row."""

from types import SimpleNamespace

import numpy as np

from cases.case import Case, Pass, nbytes, normal
from lamina import ops


def topk(rng: np.random.Generator, *, m: int, n: int, k: int) -> Case:
    a = SimpleNamespace(x=normal(rng, m, n))
    forward = Pass(
        "forward", lambda a: ops.topk(a.x, k)[0], ("values", "indices"), (0.0, 0.0), 0, nbytes(a.x)
    )
    return Case("topk", f"{m}x{n} k{k}", a, (forward,), {"k": k})
