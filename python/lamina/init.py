"""Initial values of parameters, as new arrays.

Every function takes the shape, and `rng`: a `numpy.random.Generator`, a seed, or None for the library's own
generator, which `manual_seed` restarts. Weights are (out, in) or (O, KH, KW, I): fan_in counts the inputs
that reach one output, in or KH KW I, and fan_out the outputs that one input reaches, out or KH KW O.

Every function raises TypeError for a dtype other than float32 and float64 and for a shape that is none, and
ValueError for numbers that are not finite.
"""

import math
import operator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from lamina import config

Array = npt.NDArray[Any]
Shape = int | tuple[int, ...]
Rng: TypeAlias = "np.random.Generator | int | None"  # a string: numpy.random is slow to import


def generator(rng: Rng = None) -> "np.random.Generator":
    """The generator that `rng` stands for. TypeError for anything else, ValueError for a negative seed."""
    if rng is None:
        return config.rng()
    if isinstance(rng, np.random.Generator):
        return rng
    if isinstance(rng, bool) or not isinstance(rng, (int, np.integer)):
        raise TypeError(f"rng must be a numpy.random.Generator, an int or None, got {type(rng).__name__}")
    return config.seeded("rng", rng)


def _lengths(shape: Any) -> tuple[int, ...]:
    """A shape as a tuple. TypeError unless it is ints, ValueError if one is negative."""
    lengths = (shape,) if isinstance(shape, (int, np.integer)) else shape
    try:
        found = tuple(operator.index(n) for n in lengths)
    except TypeError:
        raise TypeError(f"init: shape must be an int or a sequence of ints, got {shape!r}") from None
    if min(found, default=0) < 0:
        raise ValueError(f"init: shape {shape} has a negative length")
    return found


def fans(shape: Shape) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight. ValueError for fewer than two axes or an empty one."""
    shape = _lengths(shape)
    if len(shape) < 2 or min(shape) < 1:
        raise ValueError(
            f"init: shape {shape} has no fan-in and fan-out; expected (out, in) or (O, KH, KW, I)"
        )
    window = math.prod(shape[1:-1])
    return window * shape[-1], window * shape[0]


def _checked(op: str, dtype: npt.DTypeLike, **numbers: float) -> np.dtype[Any]:
    """`dtype` as an object. TypeError unless float32 or float64, ValueError for numbers not finite."""
    found = np.dtype(dtype)
    if found not in (np.float32, np.float64):
        raise TypeError(f"init.{op}: dtype must be float32 or float64, got {found}")
    for name, value in numbers.items():
        _finite(op, name, value)
    return found


def _finite(op: str, name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"init.{op}: {name} must be a number, got {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"init.{op}: {name} must be finite, got {value}")


def zeros(shape: Shape, *, dtype: npt.DTypeLike = np.float32) -> Array:
    """0 everywhere."""
    return np.zeros(_lengths(shape), _checked("zeros", dtype))


def constant(shape: Shape, value: float, *, dtype: npt.DTypeLike = np.float32) -> Array:
    """`value` everywhere."""
    return np.full(_lengths(shape), value, _checked("constant", dtype, value=value))


def uniform(
    shape: Shape, low: float, high: float, *, rng: Rng = None, dtype: npt.DTypeLike = np.float32
) -> Array:
    """Uniform in [low, high). ValueError unless low <= high and both are finite."""
    target = _checked("uniform", dtype, low=low, high=high)
    if low > high:
        raise ValueError(f"init.uniform: expected low <= high, got low {low} and high {high}")
    return generator(rng).uniform(low, high, _lengths(shape)).astype(target)


def normal(
    shape: Shape, mean: float = 0.0, std: float = 1.0, *, rng: Rng = None, dtype: npt.DTypeLike = np.float32
) -> Array:
    """Normal with a mean and a standard deviation. ValueError unless std >= 0 and both are finite."""
    target = _checked("normal", dtype, mean=mean, std=std)
    if std < 0:
        raise ValueError(f"init.normal: std must be at least 0, got {std}")
    return generator(rng).normal(mean, std, _lengths(shape)).astype(target)


def glorot_uniform(
    shape: Shape, *, gain: float = 1.0, rng: Rng = None, dtype: npt.DTypeLike = np.float32
) -> Array:
    """Uniform within gain sqrt(6/(fan_in + fan_out)) (Glorot & Bengio 2010, equation 16)."""
    target = _checked("glorot_uniform", dtype, gain=gain)
    bound = gain * math.sqrt(6 / sum(fans(shape)))
    return uniform(shape, -bound, bound, rng=rng, dtype=target)


def glorot_normal(
    shape: Shape, *, gain: float = 1.0, rng: Rng = None, dtype: npt.DTypeLike = np.float32
) -> Array:
    """Normal with standard deviation gain sqrt(2/(fan_in + fan_out)) (Glorot & Bengio 2010, equation 12)."""
    target = _checked("glorot_normal", dtype, gain=gain)
    return normal(shape, 0.0, gain * math.sqrt(2 / sum(fans(shape))), rng=rng, dtype=target)


def he_uniform(
    shape: Shape, *, gain: float = math.sqrt(2), rng: Rng = None, dtype: npt.DTypeLike = np.float32
) -> Array:
    """Uniform within gain sqrt(3/fan_in) (He et al. 2015, equation 10: sqrt(2) is the gain for ReLU)."""
    target = _checked("he_uniform", dtype, gain=gain)
    bound = gain * math.sqrt(3 / fans(shape)[0])
    return uniform(shape, -bound, bound, rng=rng, dtype=target)


def he_normal(
    shape: Shape, *, gain: float = math.sqrt(2), rng: Rng = None, dtype: npt.DTypeLike = np.float32
) -> Array:
    """Normal with standard deviation gain/sqrt(fan_in) (He et al. 2015, equation 10)."""
    target = _checked("he_normal", dtype, gain=gain)
    return normal(shape, 0.0, gain / math.sqrt(fans(shape)[0]), rng=rng, dtype=target)


def orthogonal(
    shape: Shape, *, gain: float = 1.0, rng: Rng = None, dtype: npt.DTypeLike = np.float32
) -> Array:
    """A random orthogonal matrix times gain (Saxe et al. 2014).

    All axes but the first count as one; the rows are orthonormal, or the columns where they are fewer.
    """
    fans(shape)
    shape = _lengths(shape)
    target = _checked("orthogonal", dtype, gain=gain)
    rows, columns = shape[0], math.prod(shape[1:])
    q, r = np.linalg.qr(generator(rng).normal(size=(max(rows, columns), min(rows, columns))))
    q *= np.sign(np.diag(r))  # without this QR's choice of signs makes the distribution lopsided
    return (gain * (q if rows >= columns else q.T)).reshape(shape).astype(target)
