"""The k greatest elements of each row."""

import numpy as np
import numpy.typing as npt

from lamina.reference._types import Array


def topk(x: Array, k: int) -> tuple[Array, npt.NDArray[np.int64]]:
    """x (M,N) -> values (M,k) in falling order and their indices (M,k).

    A stable rising sort of the reversed row, read from its end: equal elements come by rising index, and NaN,
    which NumPy sorts behind every number, comes first.
    """
    n = x.shape[1]
    rising = np.argsort(x[:, ::-1], axis=1, kind="stable")
    indices = (n - 1 - rising[:, : -k - 1 : -1]).astype(np.int64)
    return np.take_along_axis(x, indices, axis=1), indices
