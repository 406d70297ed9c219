"""The array types of the backend's contract."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]
Pair = tuple[int, int]
Sides = tuple[int, int, int, int]  # top, bottom, left, right
