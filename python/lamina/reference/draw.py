"""An index of each row, drawn with the probabilities that it stands for."""

import numpy as np
import numpy.typing as npt

from lamina.reference._types import Array


def draw(x: Array, temperature: float, u: Array) -> npt.NDArray[np.int64]:
    """x (M,V), u (M,) in [0,1) -> indices (M,), -1 for a row with NaN or without a finite greatest."""
    if not temperature >= 0:
        raise ValueError("draw: temperature must be at least 0")
    indices = np.full(len(x), -1, np.int64)
    for i, row in enumerate(x.astype(np.float64)):
        if row.size and np.isfinite(row.max()):
            indices[i] = _draw_row(row, temperature, float(u[i]))
    return indices


def _draw_row(row: npt.NDArray[np.float64], temperature: float, u: float) -> int:
    if temperature == 0:
        return int(row.argmax())
    with np.errstate(over="ignore"):
        sums = np.exp((row - row.max()) / temperature).cumsum()
    last = sums.searchsorted(sums[-1])  # the last with a weight: u * sum may be rounded up to the sum
    return int(min(sums.searchsorted(u * sums[-1], side="right"), last))
