"""Spikes at constant gaps: tell gaps apart that differ by one step (Gers & Schmidhuber 2000)."""

import numpy as np


def spike_gaps(gaps: np.ndarray, count: int) -> np.ndarray:
    """x (N, T, 1) of `count` spikes each, a spike every gap steps from the first step on; the longest is T,
    the others have silence behind their last spike.
    """
    x = np.zeros((len(gaps), (count - 1) * int(max(gaps)) + 1, 1), np.float32)
    for row, gap in enumerate(gaps):
        x[row, : (count - 1) * gap + 1 : gap] = 1
    return x
