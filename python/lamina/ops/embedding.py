"""Embedding: rows of a table by number."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lamina.config import backend
from lamina.ops import _check as check
from lamina.ops._check import Array


class EmbeddingContext(NamedTuple):
    """What `embedding_backward` needs."""

    tokens: npt.NDArray[np.int64]  # (P,)
    w: Array
    shape: tuple[int, ...]  # of y


def embedding(tokens: Any, w: Any) -> tuple[Array, EmbeddingContext]:
    """y = w[tokens]: tokens of any shape, whole numbers in 0..V-1, and w (V,D) -> y (..., D).

    Raises ValueError for a token out of range and for a w without rows or columns, TypeError for tokens that
    are not an array of integers and for a w of other than float32 or float64.
    """
    (w,) = check.floats("embedding", w=w)
    check.ndim("embedding", "w", w, "VD")
    check.not_empty("embedding", "w", w, "VD")
    flat = check.tokens("embedding", "tokens", tokens, len(w), "w").reshape(-1)
    y: Array = backend().embedding(flat, w)
    shape = (*tokens.shape, w.shape[1])
    return y.reshape(shape), EmbeddingContext(flat, w, shape)


def embedding_backward(dy: Any, ctx: EmbeddingContext) -> Array:
    """dy (..., D) -> dw (V,D): each row the sum of the gradients of its token, in the order of the tokens."""
    dy = check.gradient("embedding_backward", "dy", dy, ctx.w, ctx.shape)
    dw: Array = backend().embedding_backward(dy.reshape(len(ctx.tokens), ctx.shape[-1]), ctx.tokens, ctx.w)
    return dw
