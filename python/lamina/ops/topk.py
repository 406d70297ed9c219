"""The k greatest elements of each row."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lamina.config import backend
from lamina.ops import _check as check
from lamina.ops._check import Array


class TopKContext(NamedTuple):
    """What `topk_backward` needs."""

    values: Array
    indices: npt.NDArray[np.int64]
    columns: int


def topk(x: Any, k: int) -> tuple[tuple[Array, npt.NDArray[np.int64]], TopKContext]:
    """The k greatest of each row of x (M,N) -> (values (M,k) in falling order, indices (M,k)).

    Equal elements come by rising index; NaN counts as greater than every number. Raises ValueError for k
    outside 1..N or x without two axes, TypeError for other than float32 or float64.
    """
    (x,) = check.floats("topk", x=x)
    check.ndim("topk", "x", x, "MN")
    k = check.integer("topk", "k", k, 1)
    if k > x.shape[1]:
        raise ValueError(f"topk: k = {k} is more than the {x.shape[1]} columns of x {check.shown(x.shape)}")
    values: Array
    indices: npt.NDArray[np.int64]
    values, indices = backend().topk(x, k)
    return (values, indices), TopKContext(values, indices, x.shape[1])


def topk_backward(dvalues: Any, ctx: TopKContext) -> Array:
    """dvalues (M,k) -> dx (M,N): each gradient at the index that was chosen, 0 elsewhere."""
    dvalues = check.gradient("topk_backward", "dvalues", dvalues, ctx.values, ctx.values.shape)
    dx: Array = np.zeros((dvalues.shape[0], ctx.columns), dvalues.dtype)
    np.put_along_axis(dx, ctx.indices, dvalues, axis=1)
    return dx
