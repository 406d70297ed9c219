"""Spikes at gaps that differ by one step: tell which gap came before each spike (Gers & Schmidhuber 2000)."""

import numpy as np


def spike_gaps(
    rng: np.random.Generator, count: int, spikes: int, short: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """-> x (N,T,1), the steps (N,spikes) of the spikes that end a gap, whether it was long (N,spikes).

    The first spike is at step 0; then gaps of `short` or `short` + 1 steps follow at random.
    """
    long = rng.integers(0, 2, (count, spikes))
    at = np.cumsum(short + long, axis=1)
    x = np.zeros((count, spikes * (short + 1) + 1, 1), np.float32)
    x[:, 0] = x[np.arange(count)[:, None], at] = 1
    return x, at, long
