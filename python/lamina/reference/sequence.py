"""Whole sequences through one recurrent layer, packed by time: a step is a matrix product on its rows.

RNN   h = tanh(a) or max(a, 0), a = x w_ih^T + b + h w_hh^T
LSTM  i, f, o = sigmoid(a), g = tanh(a);  c' = f c + i g;  h = o tanh(c')
GRU   r, z = sigmoid(a);  n = tanh(a_n + r m), m = h w_hn^T + b_m;  h' = n + z (h - n)
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lamina.reference._types import Array
from lamina.reference.activations import sigmoid, sigmoid_backward, tanh_backward

_Indices = npt.NDArray[np.int64]


def _steps(offset: _Indices) -> Iterator[tuple[slice, int]]:
    """The packed rows of each step, and how many they are."""
    for begin, end in np.stack([offset[:-1], offset[1:]], axis=1).tolist():
        yield slice(begin, end), end - begin


def _padded(n: int, dtype: np.dtype[np.floating]) -> int:
    """n rounded up to an odd number of 64-byte lines."""
    lines = -(-n * dtype.itemsize // 64) | 1
    return lines * 64 // dtype.itemsize


def sequence(
    cell: str,
    x: Array | _Indices,
    source: _Indices,
    offset: _Indices,
    h0: Array,
    c0: Array | None,
    w_ih: Array,
    w_hh: Array,
    b: Array,
) -> tuple[Array, Array, Array | None, Array]:
    """x (R,D) or tokens (R,) -> y (R,H), [x|h before] (P,K), of tokens [h before]; c or m (P,H) if the cell
    has one, activated gates (P,GH).
    """
    features, hidden, dtype = x.shape[1] if x.ndim == 2 else 0, h0.shape[1], w_ih.dtype
    xh = np.zeros((len(source), _padded(features + hidden, dtype)), dtype)
    gates: Array
    if x.ndim == 2:
        xh[:, :features] = x[source]
        gates = xh[:, :features] @ w_ih.T
    else:
        gates = w_ih.T[x[source]]
    gates += b[: gates.shape[1]]
    h = np.empty((len(source), hidden), dtype)
    kept = np.empty_like(h) if cell in ("lstm", "gru") else None
    h_now, c_now = h0, c0
    for at, rows in _steps(offset):
        a, before = gates[at], h_now[:rows]
        xh[at, features : features + hidden] = before
        if cell == "lstm":
            assert kept is not None
            assert c_now is not None
            a += before @ w_hh.T
            i, f, g, o = np.split(a, 4, axis=1)
            for gate in (i, f, o):
                gate[:] = sigmoid(gate)
            np.tanh(g, out=g)
            kept[at] = f * c_now[:rows] + i * g
            c_now = kept[at]
            h[at] = o * np.tanh(c_now)
        elif cell == "gru":
            assert kept is not None
            a[:, : 2 * hidden] += before @ w_hh[: 2 * hidden].T
            kept[at] = before @ w_hh[2 * hidden :].T + b[3 * hidden :]
            r, z, n = np.split(a, 3, axis=1)
            for gate in (r, z):
                gate[:] = sigmoid(gate)
            np.tanh(n + r * kept[at], out=n)
            h[at] = n + z * (before - n)
        else:
            a += before @ w_hh.T
            h[at] = np.tanh(a) if cell == "rnn_tanh" else np.maximum(a, 0)
        h_now = h[at]
    y = np.zeros((len(x), hidden), dtype)
    y[source] = h
    return y, xh, kept, gates


def sequence_backward(
    cell: str,
    dy: Array,
    dh_last: Array,
    dc_last: Array | None,
    tokens: _Indices | None,
    source: _Indices,
    offset: _Indices,
    c0: Array | None,
    w_ih: Array,
    w_hh: Array,
    y: Array,
    xh: Array,
    kept: Array | None,
    gates: Array,
) -> tuple[Array | None, Array, Array | None, Array, Array, Array]:
    """-> dx (of tokens None), dh0, dc0, dw_ih, dw_hh, db."""
    features, hidden, steps = w_ih.shape[1] if tokens is None else 0, w_hh.shape[1], list(_steps(offset))
    x, earlier = xh[:, :features], xh[:, features : features + hidden]
    dh0, dc0 = dh_last.copy(), None if dc_last is None else dc_last.copy()
    da = np.empty_like(gates)
    dm = np.empty((len(source), hidden), dy.dtype) if cell == "gru" else None
    for step, (at, rows) in reversed(list(enumerate(steps))):
        before, h = earlier[at], y[source[at]]
        dh = dy[source[at]] + dh0[:rows]
        if cell == "lstm":
            assert kept is not None
            assert c0 is not None
            assert dc0 is not None
            i, f, g, o = np.split(gates[at], 4, axis=1)
            c_before = c0[:rows] if step == 0 else kept[steps[step - 1][0]][:rows]
            squashed = np.tanh(kept[at])
            dc = dc0[:rows] + tanh_backward(dh * o, squashed)
            parts = (
                sigmoid_backward(dc * g, i),
                sigmoid_backward(dc * c_before, f),
                tanh_backward(dc * i, g),
                sigmoid_backward(dh * squashed, o),
            )
            np.concatenate(parts, axis=1, out=da[at])
            dc0[:rows] = dc * f
            dh0[:rows] = da[at] @ w_hh
        elif cell == "gru":
            assert kept is not None
            assert dm is not None
            r, z, n = np.split(gates[at], 3, axis=1)
            dn = tanh_backward(dh * (1 - z), n)
            dr, dz = sigmoid_backward(dn * kept[at], r), sigmoid_backward(dh * (before - n), z)
            np.concatenate([dr, dz, dn], axis=1, out=da[at])
            dm[at] = dn * r
            dh0[:rows] = dh * z + np.concatenate([dr, dz, dm[at]], axis=1) @ w_hh
        else:
            da[at] = dh * ((1 - h * h) if cell == "rnn_tanh" else ~(h <= 0))
            dh0[:rows] = da[at] @ w_hh
    db = da.sum(axis=0)
    dw_hh = da.T @ earlier
    if dm is not None:
        dw_hh[2 * hidden :] = dm.T @ earlier
        db = np.concatenate([db, dm.sum(axis=0)])
    if tokens is not None:
        dw_ih = np.zeros((w_ih.shape[1], w_ih.shape[0]), dy.dtype)
        np.add.at(dw_ih, tokens[source], da)
        return None, dh0, dc0, np.ascontiguousarray(dw_ih.T), dw_hh, db
    dx = np.zeros((len(y), features), dy.dtype)
    dx[source] = da @ w_ih
    return dx, dh0, dc0, da.T @ x, dw_hh, db
