"""Whole sequences through one recurrent layer in one direction: RNN, GRU and LSTM.

Inside, rows are packed by time, the longest sequence first, so that steps beyond a sequence's end do not
exist: they cost nothing and touch no gradient. The other direction is the same with the steps of each
sequence, from its own last one, packed in reverse.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lamina import _hosted as hosted
from lamina.config import backend
from lamina.ops import _check as check
from lamina.ops._check import Array
from lamina.ops._into import Into, fills

_Indices = npt.NDArray[np.int64]


class Packing(NamedTuple):
    """Where each packed row comes from; all that depends on the lengths alone."""

    offset: _Indices  # (steps + 1,): packed rows of each step
    source: _Indices  # (P,): the row n T + t that is packed there
    last: _Indices  # (N,): packed row of each sequence's last step, -1 for none
    order: _Indices | None  # (N,): sequences, the longest first; None as they come


class Block(NamedTuple):
    """Which of the blocks of H columns that make up y is a direction's."""

    blocks: int = 1
    block: int = 0

    def columns(self, hidden: int) -> slice:
        """Of y."""
        return slice(self.block * hidden, (self.block + 1) * hidden)


_WHOLE = Block()


class SequenceContext(NamedTuple):
    """What the backward functions need."""

    cell: str
    shape: tuple[int, int]  # N, T
    packing: Packing
    arrays: tuple[
        Any, ...
    ]  # tokens, source, offset, h0, c0, w_ih, w_hh, masks, y, xh, kept, gates of the kernel
    block: Block

    @property
    def hidden(self) -> int:
        """H."""
        return int(self.arrays[3].shape[1])

    @property
    def y(self) -> Array:
        """The states (N T, H), a view of what may hold those of two directions."""
        found: Array = self.arrays[-4][:, self.block.columns(self.hidden)]
        return found


@lru_cache(maxsize=8)  # training, validation and the last batches of both, each way; N T numbers each
def _pack_equal(rows: int, steps: int, reverse: bool) -> Packing:
    grid = np.arange(steps)[:, None] + steps * np.arange(rows)
    index = np.ascontiguousarray((grid[::-1] if reverse else grid).ravel())
    last = np.arange((steps - 1) * rows, steps * rows) if steps else np.full(rows, -1)
    return Packing(np.arange(steps + 1) * rows, index, last, None)


def _pack_ragged(lengths: _Indices, steps: int, reverse: bool) -> Packing:
    order = np.argsort(-lengths, kind="stable")
    sizes = lengths[order]
    time = np.arange(sizes[0] if len(sizes) else 0)[:, None]
    there = time < sizes  # (steps, N): whether the sequence is that long
    rows = there.sum(axis=1)
    offset = np.concatenate([[0], np.cumsum(rows)])
    index = (order * steps + (sizes - 1 - time if reverse else time))[there]
    last = np.where(sizes > 0, offset[np.maximum(sizes - 1, 0)] + np.arange(len(sizes)), -1)
    return Packing(offset, index, last, order)


def _packing(op: str, lengths: Any, rows: int, steps: int, reverse: bool) -> Packing:
    if lengths is None:
        return _pack_equal(rows, steps, bool(reverse))
    return _pack_ragged(check.lengths(op, lengths, rows, steps), steps, bool(reverse))


def rnn(
    x: Any,
    h0: Any,
    w_ih: Any,
    w_hh: Any,
    b: Any,
    *,
    lengths: Any = None,
    reverse: bool = False,
    nonlinearity: str = "tanh",
    recurrent_mask: Any = None,
    zone_h: Any = None,
    keep: bool = True,
) -> tuple[tuple[Array, Array], SequenceContext]:
    """h_t = f(x_t w_ih^T + h_{t-1} w_hh^T + b) (Elman 1990); f is tanh, relu or satlin, min(max(a, 0), 1).

    x (N,T,D), h0 (N,H), w_ih (H,D), w_hh (H,H), b (H,), lengths (N,) in 0..T or None for T everywhere -> y
    (N,T,H), zero beyond the end of a sequence, and the state (N,H) after its last step, which is h0 if it has
    none. Tokens x (N,T), whole numbers in 0..D-1, stand for vectors with a one at their place; they cost no
    product, and dx is None. `reverse` goes from the last step to the first.

    recurrent_mask (N,H) multiplies the state on its way into the product, at every step: recurrent dropout
    (Gal & Ghahramani 2016). Where zone_h (N,T,H) is not 0, a unit keeps its state: zoneout (Krueger et al.
    2017). keep=False forgets what the way back would need a step after it was made: faster and smaller, for
    predictions, but `rnn_backward` cannot follow. ValueError for shapes, lengths, tokens and names that do
    not fit, TypeError for other than float32 or float64 arrays and integer lengths.
    """
    cell, masks = cell_of("rnn", nonlinearity=nonlinearity), (recurrent_mask, zone_h, None)
    y, h, _, ctx = forward("rnn", cell, x, h0, None, w_ih, w_hh, b, lengths, reverse, masks, keep)
    return (y, h), ctx


@fills
def rnn_backward(
    dy: Any, dh_last: Any, ctx: SequenceContext, needs_dx: bool = True, into: Into = (None,) * 5
) -> tuple[Array | None, Array, Array, Array, Array]:
    """dy (N,T,H), dh_last (N,H) -> dx (None of tokens or if it is not needed), dh0, dw_ih, dw_hh, db.

    into: arrays for the gradients of x, h0, w_ih, w_hh and b; None for new ones, as always for the first two.
    """
    dx, dh0, _, dw_ih, dw_hh, db = backward("rnn_backward", dy, dh_last, None, ctx, needs_dx, into[2:5])
    return dx, dh0, dw_ih, dw_hh, db


def gru(
    x: Any,
    h0: Any,
    w_ih: Any,
    w_hh: Any,
    b: Any,
    *,
    lengths: Any = None,
    reverse: bool = False,
    reset_after: bool = True,
    recurrent_mask: Any = None,
    zone_h: Any = None,
    keep: bool = True,
) -> tuple[tuple[Array, Array], SequenceContext]:
    """A gated recurrent unit (Cho et al. 2014), its reset gate behind the product, as in PyTorch and cuDNN.

    r, z = sigmoid(x w_ih^T + h w_hh^T + b), n = tanh(x w_n^T + b_n + r (h w_hn^T + b_m)), h' = (1-z) n + z h.
    w_ih (3H,D) and w_hh (3H,H) in rows r, z, n; b (4H,) for r, z, n and m. With `reset_after` False the gate
    acts before the product, as in the paper: n = tanh(x w_n^T + b_n + (r h) w_hn^T), b (3H,). The rest as for
    `rnn`.
    """
    cell, masks = cell_of("gru", reset_after=reset_after), (recurrent_mask, zone_h, None)
    y, h, _, ctx = forward("gru", cell, x, h0, None, w_ih, w_hh, b, lengths, reverse, masks, keep)
    return (y, h), ctx


@fills
def gru_backward(
    dy: Any, dh_last: Any, ctx: SequenceContext, needs_dx: bool = True, into: Into = (None,) * 5
) -> tuple[Array | None, Array, Array, Array, Array]:
    """dy (N,T,H), dh_last (N,H) -> dx (None of tokens or if it is not needed), dh0, dw_ih, dw_hh, db.

    into: arrays for the gradients of x, h0, w_ih, w_hh and b; None for new ones, as always for the first two.
    """
    dx, dh0, _, dw_ih, dw_hh, db = backward("gru_backward", dy, dh_last, None, ctx, needs_dx, into[2:5])
    return dx, dh0, dw_ih, dw_hh, db


def lstm(
    x: Any,
    h0: Any,
    c0: Any,
    w_ih: Any,
    w_hh: Any,
    b: Any,
    *,
    lengths: Any = None,
    reverse: bool = False,
    recurrent_mask: Any = None,
    zone_h: Any = None,
    zone_c: Any = None,
    keep: bool = True,
) -> tuple[tuple[Array, Array, Array], SequenceContext]:
    """An LSTM (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000).

    i, f, o = sigmoid(x w_ih^T + h w_hh^T + b), g = tanh(the same), c' = f c + i g, h' = o tanh(c').
    w_ih (4H,D), w_hh (4H,H) and b (4H,) in rows i, f, g, o. -> y and the states h and c after the last step.
    Where zone_c (N,T,H) is not 0, c stays. The rest as for `rnn`.
    """
    masks = (recurrent_mask, zone_h, zone_c)
    y, h, c, ctx = forward("lstm", "lstm", x, h0, c0, w_ih, w_hh, b, lengths, reverse, masks, keep)
    return (y, h, c), ctx


@fills
def lstm_backward(
    dy: Any, dh_last: Any, dc_last: Any, ctx: SequenceContext, needs_dx: bool = True, into: Into = (None,) * 6
) -> tuple[Array | None, Array, Array, Array, Array, Array]:
    """dy (N,T,H), dh_last and dc_last (N,H) -> dx (or None), dh0, dc0, dw_ih, dw_hh, db; into as of `rnn`."""
    return backward("lstm_backward", dy, dh_last, dc_last, ctx, needs_dx, into[3:6])


def cell_of(op: str, *, nonlinearity: str = "tanh", reset_after: bool = True) -> str:
    """The name that kernels know."""
    if op == "rnn":
        return f"rnn_{check.choice('rnn', 'nonlinearity', nonlinearity, ('tanh', 'relu', 'satlin'))}"
    return "gru_before" if op == "gru" and not check.flag("gru", "reset_after", reset_after) else op


_GATES = {"rnn": (1, 1), "gru": (3, 4), "gru_before": (3, 3), "lstm": (4, 4)}  # in the weights, in the bias


def forward(
    op: str,
    cell: str,
    x: Any,
    h0: Any,
    c0: Any,
    w_ih: Any,
    w_hh: Any,
    b: Any,
    lengths: Any,
    reverse: bool,
    masks: tuple[Any, Any, Any],
    keep: bool,
    block: Block = _WHOLE,
    y: Array | None = None,
) -> tuple[Array, Array, Any, SequenceContext]:
    """-> y (N,T,H) or all its blocks, the last h and c, context. y: of the direction that came before."""
    named = {"h0": h0, "w_ih": w_ih, "w_hh": w_hh, "b": b} | ({"c0": c0} if op == "lstm" else {})
    tokens = isinstance(x, np.ndarray) and x.dtype.kind in "iu"
    h0, w_ih, w_hh, b, *rest = check.floats(op, **named, **({} if tokens else {"x": x}))
    x, more = (x, rest) if tokens else (rest[-1], rest[:-1])
    _check_shapes(op, x, h0, w_ih, w_hh, b, *_GATES[cell if cell in _GATES else op])
    (n, steps), hidden = x.shape[:2], h0.shape[1]
    rows = _tokens(op, x, w_ih.shape[1]) if tokens else x.reshape(n * steps, x.shape[2])
    if more:
        check.shape(op, "c0", more[0], h0.shape, "that of h0 (N, H)")
    packing = _packing(op, lengths, n, steps, reverse)
    states = [_sorted(packing, s) for s in (h0, *more)]
    c0 = states[1] if more else None
    at, kept_out = (packing.source, packing.offset), _masks(op, h0, steps, packing, masks)
    y, xh, kept, gates = backend().sequence(
        cell, rows, *at, states[0], c0, w_ih, w_hh, b, *kept_out, check.flag(op, "keep", keep), *block, y
    )
    saved = (rows if tokens else None, *at, states[0], c0, w_ih, w_hh, *kept_out, y, xh, kept, gates)
    ctx = SequenceContext(cell, (n, steps), packing, saved, block)
    y3 = y.reshape(n, steps, block.blocks * hidden)
    if packing.order is None and steps > 0:  # all end at one step, whose rows they are
        h_last = hosted.again(_copied, y3[:, 0 if reverse else -1, block.columns(hidden)])
        return y3, h_last, hosted.again(_copied, kept[len(kept) - n :]) if more else None, ctx
    ends = packing.source[packing.last] if len(packing.source) else packing.last
    h_last = hosted.again(_last, packing, ctx.y, ends, states[0])
    c_last = hosted.again(_last, packing, kept, packing.last, c0) if more else None
    return y3, h_last, c_last, ctx


def _masks(op: str, h0: Array, steps: int, packing: Packing, given: tuple[Any, Any, Any]) -> tuple[Any, ...]:
    """recurrent_mask in the order of the packed sequences, and the zones with a row for each step."""
    (n, hidden), names = h0.shape, ("recurrent_mask", "zone_h", "zone_c")
    found: list[Any] = [None, None, None]
    for i, (name, mask) in enumerate(zip(names, given, strict=True)):
        if mask is not None:
            shape, meaning = ((n, hidden), "(N, H)") if i == 0 else ((n, steps, hidden), "(N, T, H)")
            _, found[i] = check.floats(op, h0=h0, **{name: mask})
            check.shape(op, name, found[i], shape, meaning)
            found[i] = found[i].reshape(-1, hidden)
    mask, zone_h, zone_c = found
    if mask is not None:
        mask = _sorted(packing, mask)
    if op == "lstm" and (zone_h is None) != (zone_c is None):
        nowhere = np.zeros((n * steps, hidden), h0.dtype)
        zone_h, zone_c = (nowhere if zone is None else zone for zone in (zone_h, zone_c))
    return mask, zone_h, zone_c


def backward(
    op: str, dy: Any, dh_last: Any, dc_last: Any, ctx: SequenceContext, needs_dx: bool, into: Into
) -> tuple[Any, Array, Any, Array, Array, Array]:
    """into: arrays for dw_ih, dw_hh and db."""
    (n, steps), packing, y, hidden = ctx.shape, ctx.packing, ctx.arrays[-4], ctx.hidden
    width = ctx.block.blocks * hidden
    dy = check.gradient(op, "dy", dy, y, (n, steps, width))
    last = [check.gradient(op, "dh_last", dh_last, y, (n, hidden))]
    if ctx.cell == "lstm":
        last.append(check.gradient(op, "dc_last", dc_last, y, (n, hidden)))
    if packing.order is not None:
        last = [_sorted(packing, d) for d in last]
    dx, dh0, dc0, dw_ih, dw_hh, db = backend().sequence_backward(
        *(ctx.cell, dy.reshape(n * steps, width), last[0], (*last, None)[1], *ctx.arrays),
        *(needs_dx, *ctx.block, *into),
    )
    if packing.order is not None:
        dh0 = hosted.again(_unsorted, packing, dh0)
        dc0 = hosted.again(_unsorted, packing, dc0) if ctx.cell == "lstm" else None
    dx = None if dx is None else dx.reshape(n, steps, dw_ih.shape[1])
    return dx, dh0, dc0, dw_ih, dw_hh, db


def _tokens(op: str, x: npt.NDArray[Any], least_above: int) -> _Indices:
    """Whole numbers (N,T) in 0..D-1 as a vector."""
    return check.tokens(op, "x", x, least_above, "w_ih").reshape(-1)


@hosted.refilled(np.copyto)
def _copied(rows: Array) -> Array:
    found: Array = rows.copy()
    return found


def _last(packing: Packing, rows: Array, at: _Indices, initial: Any) -> Array:
    """The state of each sequence after its last step, `initial` where there is none."""
    found: Array = initial.copy()
    some = packing.last >= 0
    found[some] = rows[at[some]]
    return _unsorted(packing, found)


def _sorted(packing: Packing, values: Array) -> Array:
    """Rows in the order of the packed sequences."""
    found: Array = values if packing.order is None else hosted.again(np.take, values, packing.order, 0)
    return found


def _unsorted(packing: Packing, values: Array) -> Array:
    if packing.order is None:
        return values
    out = np.empty_like(values)
    out[packing.order] = values
    return out


def _check_shapes(
    op: str, x: Array, h0: Array, w_ih: Array, w_hh: Array, b: Array, gates: int, biases: int
) -> None:
    tokens = x.dtype.kind in "iu"
    check.ndim(op, "x", x, "NT" if tokens else "NTD")
    check.ndim(op, "h0", h0, "NH")
    n, features, hidden = len(x), w_ih.shape[-1] if tokens else x.shape[2], h0.shape[1]
    if features == 0 or hidden == 0:
        raise ValueError(f"{op}: features and units cannot be 0, got x {x.shape} and h0 {h0.shape}")
    check.shape(op, "h0", h0, (n, hidden), "(N, H) with the N of x")
    rows = "H" if gates == 1 else f"{gates}H"
    check.shape(op, "w_ih", w_ih, (gates * hidden, features), f"({rows}, D)")
    check.shape(op, "w_hh", w_hh, (gates * hidden, hidden), f"({rows}, H)")
    check.shape(op, "b", b, (biases * hidden,), "(H,)" if biases == 1 else f"({biases}H,)")
