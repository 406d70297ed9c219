"""Codes of which only k units a row are not zero."""

import numpy as np
import numpy.typing as npt

from lamina.reference._types import Array, put

_Indices = npt.NDArray[np.int64]


def support(x: Array, k: int) -> tuple[Array, _Indices]:
    """x (M,N) -> its k greatest of each row (M,k) by rising unit, and the units; ties to the lowest."""
    n = x.shape[1]
    rising = np.argsort(x[:, ::-1], axis=1, kind="stable")  # of equals, the lowest unit is last
    units = np.sort(n - 1 - rising[:, n - k :], axis=1).astype(np.int64)
    return np.take_along_axis(x, units, axis=1), units


def _dense(values: Array, units: _Indices, n: int) -> Array:
    code = np.zeros((len(values), n), values.dtype)
    np.add.at(code, (np.arange(len(values))[:, None], units), values)
    return code


def sparse_linear(values: Array, units: _Indices, w: Array, b: Array | None) -> Array:
    """values and units (M,k), w (N,D), b (D,) or None -> (M,D)."""
    y: Array = _dense(values, units, len(w)) @ w
    return y if b is None else y + b


def sparse_dots(dy: Array, units: _Indices, w: Array) -> Array:
    """dy (M,D) -> its products with the chosen rows of w (N,D), (M,k)."""
    return np.take_along_axis(dy @ w.T, units, axis=1)


def sparse_outer(
    units: _Indices,
    values: Array,
    dy: Array,
    values2: Array | None,
    x: Array | None,
    n: int,
    out: Array | None = None,
) -> Array:
    """The sum over all (m, j) of values[m,j] dy[m] (and of values2[m,j] x[m]) in row units[m,j] of (N,D)."""
    dw: Array = _dense(values, units, n).T @ dy
    if values2 is not None and x is not None:
        dw += _dense(values2, units, n).T @ x
    return put(dw, out)
