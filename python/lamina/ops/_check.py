"""Checks on the arguments of every op: each error names the op, the argument, what it needs and what came."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina import _hosted as hosted

Array = npt.NDArray[np.floating[Any]]
Pair = tuple[int, int]
Sides = tuple[int, int, int, int]  # top, bottom, left, right

_NATIVE: dict[int, np.dtype[Any]] = {4: np.dtype(np.float32), 8: np.dtype(np.float64)}
_LARGEST = 2**31 - 1  # of a kernel size, stride, padding, dilation or number of groups


def shown(shape: tuple[int, ...], letters: str = "") -> str:
    """A shape as messages print it: `(shape (8, 28, 28, 3), NHWC)`."""
    return f"(shape {shape}, {letters})" if letters else f"(shape {shape})"


def refuse_mask(who: str, name: str, value: Any) -> None:
    """Raise TypeError for a masked array, also in lists: `numpy.asarray` would drop its mask silently."""
    if isinstance(value, (list, tuple)):
        if any(issubclass(kind, (np.ma.MaskedArray, list, tuple)) for kind in set(map(type, value))):
            for item in value:
                refuse_mask(who, name, item)
    elif isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{who}: {name} is a masked array, whose mask would be lost; first call its .filled()"
        )


def array_of(who: str, name: str, value: Any, dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
    """`value` as an array. TypeError for a masked one, ValueError for lists of different lengths."""
    refuse_mask(who, name, value)
    try:
        return np.asarray(value, dtype)
    except ValueError as error:
        raise ValueError(f"{who}: {name} cannot become an array: {error}") from error


def _is_float(value: npt.NDArray[Any] | np.generic) -> bool:
    return value.dtype.kind == "f" and value.dtype.itemsize in _NATIVE


def _plain(value: npt.NDArray[Any] | np.generic) -> npt.NDArray[Any]:
    """A plain array with elements aligned and in native byte order: `value` itself, a view or a copy."""
    array, native = np.asarray(value), _NATIVE[value.dtype.itemsize]
    if not (array.dtype.isnative and array.flags.aligned):
        return array.astype(native)
    # An array that was unpickled, say, has an equal dtype that is another object.
    return array if array.dtype is native else array.view(native)


def strided(op: str, **arrays: Any) -> list[Array]:
    """The arguments as float arrays of one dtype, float32 or float64, with any strides."""
    found: dict[str, Array] = {}
    for name, value in arrays.items():
        refuse_mask(op, name, value)
        if not isinstance(value, (np.ndarray, np.generic)):
            raise TypeError(
                f"{op}: {name} must be a NumPy array, got {type(value).__name__}: "
                "convert it with numpy.asarray(..., dtype=numpy.float32)"
            )
        if not _is_float(value):
            raise TypeError(
                f"{op}: {name} must be float32 or float64, got {value.dtype}: "
                "convert it with .astype(numpy.float32)"
            )
        found[name] = _plain(value)
    if len({value.dtype for value in found.values()}) > 1:
        dtypes = ", ".join(f"{name} {value.dtype}" for name, value in found.items())
        raise TypeError(f"{op}: the arrays must share one dtype, got {dtypes}: convert with .astype")
    return list(found.values())


def _ready(values: list[Any]) -> bool:
    """Whether every array is as kernels take it: the usual case, told quickly."""
    dtype = getattr(values[0], "dtype", None)
    if dtype is not _NATIVE[4] and dtype is not _NATIVE[8]:
        return False
    return all(v.__class__ is np.ndarray and v.dtype is dtype and v.flags.carray for v in values)


def floats(op: str, **arrays: Any) -> list[Array]:
    """As `strided`, and C-contiguous."""
    values = list(arrays.values())
    if _ready(values):
        return values
    return [
        value if value.flags.c_contiguous else hosted.again(np.ascontiguousarray, value)
        for value in strided(op, **arrays)
    ]


def in_place(op: str, **arrays: Any) -> list[Array]:
    """As `floats`, for arrays that the op writes: those cannot be copied, so they must already fit."""
    for name, value in arrays.items():
        if isinstance(value, np.ndarray) and _is_float(value):
            flags = value.flags
            if not (flags.c_contiguous and flags.aligned and flags.writeable and value.dtype.isnative):
                raise ValueError(
                    f"{op}: {name} is updated in place and so must be writeable, C-contiguous, aligned "
                    "and in native byte order"
                )
    return floats(op, **arrays)


def gradient(op: str, name: str, value: Any, like: Array, shape: tuple[int, ...]) -> Array:
    """A gradient that came back to an op: of the dtype of `like` and of the output's shape."""
    (found,) = floats(op, **{name: value})
    if found.dtype != like.dtype:
        raise TypeError(
            f"{op}: {name} is {found.dtype} but the forward pass was {like.dtype}: convert with .astype"
        )
    if found.shape != shape:
        raise ValueError(f"{op}: {name} has shape {found.shape} but the output had shape {shape}")
    return found


def ndim(op: str, name: str, value: npt.NDArray[Any], letters: str) -> None:
    """`value` must have one axis per letter of its layout."""
    if value.ndim != len(letters):
        raise ValueError(
            f"{op}: {name} must have {len(letters)} axes, {letters}, got {value.ndim} {shown(value.shape)}"
        )


def shape(op: str, name: str, value: npt.NDArray[Any], expected: tuple[int, ...], meaning: str) -> None:
    """`value` must have exactly the shape `expected`, which `meaning` explains."""
    if value.shape != expected:
        raise ValueError(f"{op}: {name} must have shape {expected}, {meaning}, got {value.shape}")


def not_empty(op: str, name: str, value: npt.NDArray[Any], letters: str) -> None:
    """Only a batch, N, may be empty."""
    if any(n == 0 for n, letter in zip(value.shape, letters, strict=True) if letter != "N"):
        allowed = "; only N may be empty" if "N" in letters else ""
        raise ValueError(f"{op}: {name} has an empty axis {shown(value.shape, letters)}{allowed}")


def integer(op: str, name: str, value: Any, least: int, most: int = _LARGEST) -> int:
    """`value` as an int between `least` and `most`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{op}: {name} must be an int, got {value!r}")
    number = int(value)
    if not least <= number <= most:
        bound = f"at least {least}" if number < least else f"at most {most}"
        raise ValueError(f"{op}: {name} must be {bound}, got {number}")
    return number


def pair(op: str, name: str, value: Any, least: int) -> Pair:
    """An int for both directions, or a pair (vertical, horizontal)."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ValueError(f"{op}: {name} must be an int or a pair (vertical, horizontal), got {value!r}")
        return integer(op, name, value[0], least), integer(op, name, value[1], least)
    both = integer(op, name, value, least)
    return both, both


def flag(op: str, name: str, value: Any) -> bool:
    """`value` as a bool: only True and False will do, so that a misplaced argument is not taken for one."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{op}: {name} must be True or False, got {value!r}")
    return bool(value)


def choice(op: str, name: str, value: Any, values: tuple[str, ...]) -> str:
    """`value` as one of the strings `values`."""
    if not isinstance(value, str) or value not in values:
        raise ValueError(f"{op}: unknown {name} {value!r}: expected one of {', '.join(map(repr, values))}")
    return value


def number(op: str, name: str, value: Any, below: float = math.inf) -> float:
    """`value` as a finite float, at least 0 and smaller than `below`."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{op}: {name} must be a number, got {value!r}")
    found = float(value)
    if not 0 <= found < below:
        limit = "finite and at least 0" if below == math.inf else f"at least 0 and less than {below:g}"
        raise ValueError(f"{op}: {name} must be {limit}, got {found}")
    return found


def lengths(op: str, value: Any, rows: int, steps: int) -> npt.NDArray[np.int64]:
    """Steps of each of `rows` sequences, 0..steps."""
    found = array_of(op, "lengths", value)
    if found.dtype.kind not in "iu":
        raise TypeError(f"{op}: lengths must be integers, got {found.dtype}")
    if found.shape != (rows,):
        raise ValueError(f"{op}: lengths must have shape ({rows},), one for each sequence, got {found.shape}")
    wrong = np.flatnonzero((found < 0) | (found > steps))
    if len(wrong):
        raise ValueError(
            f"{op}: lengths must lie in 0..{steps}, the steps of x; sequence {wrong[0]} has {found[wrong[0]]}"
        )
    return found.astype(np.int64)


def tokens(
    op: str, name: str, value: Any, count: int, table: str, one: str = "token"
) -> npt.NDArray[np.int64]:
    """Whole numbers 0..count-1 of any shape, as contiguous int64; `table` is what `one` of them numbers."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iu":
        got = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
        raise TypeError(f"{op}: {name} must be a NumPy array of integers, got {got}")
    wrong = (value < 0) | (value >= count)
    if wrong.any():
        first = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(
            f"{op}: {one} {value[first]} at {first} is out of range: {table} takes 0..{count - 1}"
        )
    return np.require(value, np.int64, ["C", "A"]).view(np.dtype(np.int64))


def labels(op: str, value: Any, expected: tuple[int, ...], classes: int) -> npt.NDArray[np.int64]:
    """Class numbers 0..classes-1 of the shape `expected`, as contiguous int64."""
    refuse_mask(op, "labels", value)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iu":
        got = type(value).__name__
        if isinstance(value, np.ndarray):
            hint = ": convert them with .astype(numpy.int64)" * (value.dtype.kind in "fb")
            hint += ": number them with lm.data.encode_labels" * (value.dtype.kind in "US")
            got = f"an array of {value.dtype}{hint}"
        raise TypeError(f"{op}: labels must be a NumPy array of integers, got {got}")
    shape(op, "labels", value, expected, "that of x without its last axis")
    wrong = (value < 0) | (value >= classes)
    if wrong.any():
        first = tuple(int(i) for i in np.argwhere(wrong)[0])
        place = ", ".join(map(str, first))
        raise ValueError(
            f"{op}: labels[{place}] is {value[first]}, but x has {classes} classes: "
            f"labels go from 0 to {classes - 1}"
        )
    return np.require(value, np.int64, ["C", "A"]).view(np.dtype(np.int64))
