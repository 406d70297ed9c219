"""What NumPy's own functions do with tensors: they see arrays, and may not lose a gradient unseen."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np


def array_from(data: np.ndarray[Any, Any], dtype: Any, copy: bool | None) -> np.ndarray[Any, Any]:
    """What `numpy.asarray` makes of a tensor's data. ValueError where a copy is needed and forbidden."""
    if copy is None or (copy is False and dtype in (None, data.dtype)):
        return np.asarray(data, dtype)
    if copy is False:
        raise ValueError(f"a {data.dtype} tensor cannot become a {np.dtype(dtype)} array without a copy")
    return np.array(data, dtype)


def call(tensor: Any, function: Callable[..., Any], args: Any, kwargs: Any, recording: bool) -> Any:
    """`function` of the arrays of all tensors, also of those in lists and dicts.

    Raises TypeError where a gradient would be lost: the result is a number or an array of floats, one of the
    tensors requires a gradient and operations are recorded.
    """
    found: list[Any] = []
    result = function(*_arrays(args, tensor, found), **_arrays(kwargs, tensor, found))
    if recording and any(t.requires_grad for t in found) and _has_floats(result):
        raise TypeError(
            f"numpy.{function.__name__} keeps no gradient: use the functions and methods of lamina, or "
            "tensor.data where no gradient is wanted"
        )
    return result


def _arrays(value: Any, tensor: Any, found: list[Any]) -> Any:
    """`value` with arrays in the place of tensors, which go to `found`."""
    if isinstance(value, tensor):
        found.append(value)
        return value.data
    if type(value) in (list, tuple):
        return type(value)(_arrays(each, tensor, found) for each in value)
    if isinstance(value, Mapping):
        return {name: _arrays(each, tensor, found) for name, each in value.items()}
    return value


def _has_floats(result: Any) -> bool:
    if isinstance(result, Sequence) and not isinstance(result, str):
        return any(_has_floats(each) for each in result)
    return isinstance(result, float | np.floating | np.ndarray) and np.asarray(result).dtype.kind == "f"
