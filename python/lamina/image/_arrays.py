"""What these functions take: arrays of finite numbers, computed with as floats."""

from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.ops import _check as check

Array = npt.NDArray[Any]


def finite(who: str, name: str, value: npt.ArrayLike, axes: tuple[int, ...], letters: str) -> Array:
    """`value` as float32 or float64, integers as float32.

    axes: how many it may have; letters: how they are called. TypeError for what are no real numbers;
    ValueError for another number of axes, an empty one, and the first element that is not finite.
    """
    array = check.array_of(who, name, value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{who}: {name} must be real numbers, got {array.dtype}")
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float32)
    if array.ndim not in axes or 0 in array.shape:
        raise ValueError(f"{who}: {name} has shape {array.shape}, expected {letters}, none of them 0")
    if not np.isfinite(array).all():
        first = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{who}: {name} must be finite, but is {array[first]} at {first}")
    return array
