"""Whole sequences through one recurrent layer, packed by time: a step is a matrix product on its rows.

RNN   h = tanh(a), max(a, 0) or min(max(a, 0), 1), a = x w_ih^T + b + h w_hh^T
LSTM  i, f, o = sigmoid(a), g = tanh(a);  c' = f c + i g;  h = o tanh(c')
GRU   r, z = sigmoid(a);  n = tanh(a_n + r m), m = h w_hn^T + b_m;  h' = n + z (h - n)
GRU, reset before   n = tanh(a_n + m w_hn^T), m = r h
mask multiplies h where it enters a product; where a zone is not 0, the state stays.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.reference._types import Array, put
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


_RNN: dict[str, Callable[[Array], Array]] = {
    "rnn_tanh": np.tanh,
    "rnn_relu": lambda a: np.maximum(a, 0),
    "rnn_satlin": lambda a: np.clip(a, 0, 1),
}


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
    mask: Array | None,
    zone_h: Array | None,
    zone_c: Array | None,
    keep: bool = True,
    blocks: int = 1,
    block: int = 0,
    y: Array | None = None,
) -> tuple[Array, Array, Array | None, Array]:
    """x (R,D) or tokens (R,) -> y (R,H), [x|h before|1] (P,K), of tokens [h before|1]; c or m (P,H) if the
    cell has one, activated gates (P,GH). Of two blocks of y, one is written.
    """
    features, hidden, dtype = x.shape[1] if x.ndim == 2 else 0, h0.shape[1], w_ih.dtype
    xh = np.zeros((len(source), _padded(features + hidden + 1, dtype)), dtype)
    xh[:, features + hidden] = 1
    gates: Array
    if x.ndim == 2:
        xh[:, :features] = x[source]
        gates = xh[:, :features] @ w_ih.T
    else:
        gates = w_ih.T[x[source]]
    gates += b[: gates.shape[1]]
    h = np.empty((len(source), hidden), dtype)
    kept = None if cell.startswith("rnn") else np.empty_like(h)
    h_now, c_now = h0, c0
    for at, rows in _steps(offset):
        a, before = gates[at], h_now[:rows]
        entering = before if mask is None else before * mask[:rows]
        xh[at, features : features + hidden] = entering
        if cell == "lstm":
            assert kept is not None
            assert c_now is not None
            a += entering @ w_hh.T
            i, f, g, o = np.split(a, 4, axis=1)
            for gate in (i, f, o):
                gate[:] = sigmoid(gate)
            np.tanh(g, out=g)
            c = f * c_now[:rows] + i * g
            kept[at] = c if zone_c is None else np.where(zone_c[source[at]] != 0, c_now[:rows], c)
            c_now = kept[at]
            h[at] = o * np.tanh(c)
        elif kept is not None:
            r, z, n = np.split(a, 3, axis=1)
            a[:, : 2 * hidden] += entering @ w_hh[: 2 * hidden].T
            for gate in (r, z):
                gate[:] = sigmoid(gate)
            if cell == "gru":
                kept[at] = entering @ w_hh[2 * hidden :].T + b[3 * hidden :]
                n += r * kept[at]
            else:
                kept[at] = r * entering
                n += kept[at] @ w_hh[2 * hidden :].T
            np.tanh(n, out=n)
            h[at] = n + z * (before - n)
        else:
            a += entering @ w_hh.T
            h[at] = a[:] = _RNN[cell](a)
        if zone_h is not None:
            h[at] = np.where(zone_h[source[at]] != 0, before, h[at])
        h_now = h[at]
    y = np.empty((len(x), blocks * hidden), dtype) if y is None else y
    _block(y, blocks, block)[:] = 0
    _block(y, blocks, block)[source] = h
    return y, xh, kept, gates


def _block(y: Array, blocks: int, block: int) -> Array:
    """The columns of one of the blocks of y: a view."""
    return np.split(y, blocks, axis=1)[block]


_SLOPES: dict[str, Callable[[Array], npt.NDArray[Any]]] = {
    "rnn_tanh": lambda h: 1 - h * h,
    "rnn_relu": lambda h: ~(h <= 0),
    "rnn_satlin": lambda h: ~((h <= 0) | (h >= 1)),
}


def sequence_backward(
    cell: str,
    dy: Array,
    dh_last: Array,
    dc_last: Array | None,
    tokens: _Indices | None,
    source: _Indices,
    offset: _Indices,
    h0: Array,
    c0: Array | None,
    w_ih: Array,
    w_hh: Array,
    mask: Array | None,
    zone_h: Array | None,
    zone_c: Array | None,
    y: Array,
    xh: Array,
    kept: Array | None,
    gates: Array,
    needs_dx: bool = True,
    blocks: int = 1,
    block: int = 0,
    dw_ih: Array | None = None,
    dw_hh: Array | None = None,
    db: Array | None = None,
) -> tuple[Array | None, Array, Array | None, Array, Array, Array]:
    """-> dx (of tokens, or if not needed, None), dh0, dc0, dw_ih, dw_hh, db."""
    dy, y = _block(dy, blocks, block), _block(y, blocks, block)
    features, hidden, steps = w_ih.shape[1] if tokens is None else 0, w_hh.shape[1], list(_steps(offset))
    x, earlier = xh[:, :features], xh[:, features : features + hidden]
    dh0, dc0 = dh_last.copy(), None if dc_last is None else dc_last.copy()
    da = np.empty_like(gates)
    dm = np.empty((len(source), hidden), dy.dtype) if cell == "gru" else None
    for step, (at, rows) in reversed(list(enumerate(steps))):
        entering = earlier[at]
        before = h0[:rows] if step == 0 else y[source[steps[step - 1][0]]][:rows]
        dh = dy[source[at]] + dh0[:rows]
        past: Array | float = 0.0  # what reaches the state before past the products
        if zone_h is not None:
            past = np.where(zone_h[source[at]] != 0, dh, 0)
            dh = np.where(zone_h[source[at]] != 0, 0, dh)
        if cell == "lstm":
            assert kept is not None
            assert c0 is not None
            assert dc0 is not None
            i, f, g, o = np.split(gates[at], 4, axis=1)
            c_before = c0[:rows] if step == 0 else kept[steps[step - 1][0]][:rows]
            squashed = np.tanh(kept[at] if zone_c is None else f * c_before + i * g)
            dc, held = dc0[:rows], np.zeros((), dy.dtype)
            if zone_c is not None:
                held = np.where(zone_c[source[at]] != 0, dc, 0)
                dc = np.where(zone_c[source[at]] != 0, 0, dc)
            dc = dc + tanh_backward(dh * o, squashed)
            parts = (
                sigmoid_backward(dc * g, i),
                sigmoid_backward(dc * c_before, f),
                tanh_backward(dc * i, g),
                sigmoid_backward(dh * squashed, o),
            )
            np.concatenate(parts, axis=1, out=da[at])
            dc0[:rows] = dc * f + held
            back = da[at] @ w_hh
        elif kept is not None:
            r, z, n = np.split(gates[at], 3, axis=1)
            dn, dz = tanh_backward(dh * (1 - z), n), sigmoid_backward(dh * (before - n), z)
            if dm is not None:
                dr = sigmoid_backward(dn * kept[at], r)
                dm[at] = dn * r
                back = np.concatenate([dr, dz, dm[at]], axis=1) @ w_hh
            else:
                d_kept = dn @ w_hh[2 * hidden :]
                dr = sigmoid_backward(d_kept * entering, r)
                back = np.concatenate([dr, dz], axis=1) @ w_hh[: 2 * hidden] + d_kept * r
            np.concatenate([dr, dz, dn], axis=1, out=da[at])
            past = past + dh * z
        else:
            da[at] = dh * _SLOPES[cell](gates[at])
            back = da[at] @ w_hh
        dh0[:rows] = past + (back if mask is None else back * mask[:rows])
    d_b = da.sum(axis=0)
    d_hh = da.T @ earlier
    if cell == "gru_before":
        assert kept is not None
        d_hh[2 * hidden :] = da[:, 2 * hidden :].T @ kept
    if dm is not None:
        d_hh[2 * hidden :] = dm.T @ earlier
        d_b = np.concatenate([d_b, dm.sum(axis=0)])
    dx = None
    if tokens is not None:
        by_token = np.zeros((w_ih.shape[1], w_ih.shape[0]), dy.dtype)
        np.add.at(by_token, tokens[source], da)
        d_ih = np.ascontiguousarray(by_token.T)
    else:
        d_ih = da.T @ x
        if needs_dx:
            dx = np.zeros((len(y), features), dy.dtype)
            dx[source] = da @ w_ih
    return dx, dh0, dc0, put(d_ih, dw_ih), put(d_hh, dw_hh), put(d_b, db)
