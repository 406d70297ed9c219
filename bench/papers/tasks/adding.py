"""The adding problem (Hochreiter & Schmidhuber 1997, experiment 4): the sum of the two marked numbers."""

import numpy as np


def adding(rng: np.random.Generator, count: int, minimum: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """-> x (N,T,2), lengths (N,) between `minimum` and a tenth more, targets (N,).

    A step is a number in [-1, 1] and a mark: 1 at one of the first ten, X1, and at another of the first half,
    X2, -1 at the ends that are not marked, else 0. The target is 0.5 + (X1 + X2) / 4; where the first step is
    X1, its number is 0.
    """
    longest = minimum + minimum // 10
    lengths = rng.integers(minimum, longest + 1, count)
    x = np.zeros((count, longest, 2), np.float32)
    x[:, :, 0] = rng.uniform(-1, 1, (count, longest))
    x[np.arange(longest) >= lengths[:, None]] = 0
    first = rng.integers(0, 10, count)
    second = rng.integers(0, minimum // 2 - 1, count)
    second += second >= first  # one that is not marked yet
    rows = np.arange(count)
    x[first == 0, 0, 0] = 0
    x[rows, 0, 1] = x[rows, lengths - 1, 1] = -1
    x[rows, first, 1] = x[rows, second, 1] = 1
    return x, lengths, 0.5 + (x[rows, first, 0] + x[rows, second, 0]) / 4
