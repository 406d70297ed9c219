"""The array types of the backend's contract."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]
Pair = tuple[int, int]
Sides = tuple[int, int, int, int]  # top, bottom, left, right


def put(result: Array, out: Array | None) -> Array:
    """The result, in the array `out` if there is one."""
    if out is None:
        return result
    out[...] = result
    return out
