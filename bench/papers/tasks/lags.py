"""Sequences whose last symbol repeats an early one, among symbols that tell nothing (Hochreiter & Schmidhuber
1997, experiment 2).
"""

import numpy as np


def noise_free(which: int, p: int) -> np.ndarray:
    """Experiment 2a: (s, a_1, ..., a_{p-1}, s) of p + 1 symbols, s = p - 1 or p as `which` is 0 or 1."""
    return np.array([p - 1 + which, *range(p - 1), p - 1 + which])


def distractors(rng: np.random.Generator, p: int, q: int) -> tuple[np.ndarray, int]:
    """Experiment 2c: b, s, q + k of p distractors, e and then s again; k is geometric, of mean 9.

    -> tokens up to e, in 0..p+3: the p distractors, then x, y, b, e; and whether s is x (0) or y (1).
    """
    which, k = int(rng.integers(2)), int(rng.geometric(0.1)) - 1
    return np.array([p + 2, p + which, *rng.integers(0, p, q + k), p + 3]), which
