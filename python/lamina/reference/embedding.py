"""Rows of a table by number."""

import numpy as np
import numpy.typing as npt

from lamina.reference._types import Array

_Indices = npt.NDArray[np.int64]


def embedding(tokens: _Indices, w: Array) -> Array:
    """tokens (P,), w (V,D) -> y (P,D)."""
    y: Array = w[tokens]
    return y


def embedding_backward(dy: Array, tokens: _Indices, w: Array) -> Array:
    """dy (P,D) -> dw (V,D)."""
    dw = np.zeros(w.shape, dy.dtype)
    np.add.at(dw, tokens, dy)
    return dw
