"""Drawing: an index of each row, with the probabilities that it stands for."""

from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.config import backend
from lamina.ops import _check as check


def draw(x: Any, u: Any, *, temperature: float = 1.0) -> npt.NDArray[np.int64]:
    """Indices (M,) drawn with the probabilities softmax(x / temperature) of the rows of x (M,V).

    u (M,) in [0,1) decides: the index is the first whose cumulative probability exceeds it. With a
    temperature of 0 it is that of the greatest element, the first of equals. There is no gradient.

    Raises ValueError for shapes that do not match, numbers out of range, and a row with NaN or without a
    finite greatest element, TypeError for other dtypes.
    """
    x, u = check.floats("draw", x=x, u=u)
    check.ndim("draw", "x", x, "MV")
    check.shape("draw", "u", u, x.shape[:1], "one for each row of x")
    if not all(0 <= value < 1 for value in u.tolist()):
        raise ValueError(f"draw: u must lie in [0,1), got {u.tolist()!r:.60}")
    found: npt.NDArray[np.int64] = backend().draw(x, check.number("draw", "temperature", temperature), u)
    wrong = [row for row, index in enumerate(found.tolist()) if index < 0]
    if wrong:
        raise ValueError(f"draw: row {wrong[0]} of x holds NaN, infinity or nothing to draw")
    return found
