"""Temporal order (Hochreiter & Schmidhuber 1997, experiment 6a): which of X, Y came first, which second."""

import numpy as np

SYMBOLS = "abcdXYEB"


def temporal_order(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """-> tokens (N,110), lengths (N,) in 100..110, classes (N,): XX, XY, YX, YY.

    E first, then a, b, c and d at random but for X or Y at a step in 10..20 and at another in 50..60, B last.
    """
    lengths = rng.integers(100, 111, count)
    tokens = rng.integers(0, 4, (count, 110))
    rows, signs = np.arange(count), rng.integers(0, 2, (count, 2))
    tokens[:, 0] = 6
    tokens[rows, rng.integers(10, 21, count)] = 4 + signs[:, 0]
    tokens[rows, rng.integers(50, 61, count)] = 4 + signs[:, 1]
    tokens[rows, lengths - 1] = 7
    tokens[np.arange(110) >= lengths[:, None]] = 0
    return tokens, lengths, 2 * signs[:, 0] + signs[:, 1]
