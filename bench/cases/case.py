"""A case: an op at one shape, its inputs, and the passes that are timed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from lamina import config

EPS = float(np.finfo(np.float32).eps)
PUBLIC = ("forward", "forward + backward")  # passes that other libraries have too


@dataclass(frozen=True)
class Pass:
    """One thing to time. `run` computes it from the inputs on the backend that is active.

    outputs: their names, in order; bounds: the greatest error allowed of each. A pass is limited by its
    multiply-adds (flops > 0) or by the memory that it must read and write (nbytes).
    """

    name: str
    run: Callable[[SimpleNamespace], tuple[Any, ...]]
    outputs: tuple[str, ...]
    bounds: tuple[float, ...]
    flops: float = 0.0
    nbytes: float = 0.0


@dataclass(frozen=True)
class Case:
    """options: what a peer needs to know beside the arrays."""

    op: str
    shape: str
    arrays: SimpleNamespace
    passes: tuple[Pass, ...]
    options: dict[str, Any] = field(default_factory=dict)


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Normal random numbers in float32."""
    return rng.standard_normal(shape, dtype=np.float32)


def widened(arrays: SimpleNamespace) -> SimpleNamespace:
    """Copies, floats in float64."""
    return _converted(arrays, np.float64)


def copied(arrays: SimpleNamespace) -> SimpleNamespace:
    """Copies, for a check of a pass that works in place."""
    return _converted(arrays, None)


def _converted(arrays: SimpleNamespace, dtype: Any) -> SimpleNamespace:
    return SimpleNamespace(
        **{
            name: a.astype(dtype if dtype and a.dtype.kind == "f" else a.dtype)
            for name, a in vars(arrays).items()
        }
    )


def exactly(compute: Callable[..., Any], *inputs: np.ndarray) -> Any:
    """What NumPy computes in float64, rounded to float32: inputs of backward passes that forward keeps."""
    with config.use_backend("numpy"):
        found = compute(*(a.astype(np.float64) if a.dtype.kind == "f" else a for a in inputs))
    return tuple(map(_rounded, found)) if isinstance(found, tuple) else _rounded(found)


def _rounded(a: np.ndarray) -> np.ndarray:
    return a.astype(np.float32) if a.dtype.kind == "f" else a


def top(*arrays: np.ndarray) -> float:
    """The product of the greatest magnitudes."""
    product = 1.0
    for a in arrays:
        product *= float(np.abs(a).max())
    return product


def sum_bound(terms: int, *factors: np.ndarray) -> float:
    """Of a sum of so many products: 2 eps (terms + 1) times the greatest product.

    Each product and each addition errs by at most eps/2 of what has been summed so far, in any order, so
    this leaves a factor of 4.
    """
    return 2 * EPS * (terms + 1) * top(*factors)


def nbytes(*arrays: np.ndarray) -> float:
    """Bytes of all of them."""
    return float(sum(a.nbytes for a in arrays))
