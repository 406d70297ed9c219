"""One step of a recurrent net: the LSTM cell and the tanh RNN cell."""

from typing import Any, NamedTuple

from lamina.config import backend
from lamina.ops import _check as check
from lamina.ops._check import Array


class LSTMCellContext(NamedTuple):
    """What `lstm_cell_backward` needs."""

    x: Array
    h: Array
    c: Array
    w_ih: Array
    w_hh: Array
    c_next: Array
    gates: Array


def lstm_cell(
    x: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, b: Any
) -> tuple[tuple[Array, Array], LSTMCellContext]:
    """One step of an LSTM (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000).

    i, f, o = sigmoid(x w_ih^T + h w_hh^T + b), g = tanh(the same), c' = f c + i g, h' = o tanh(c').
    x (N,D), h and c (N,H), w_ih (4H,D), w_hh (4H,H), b (4H,), rows i, f, g, o -> (h', c'), each (N,H).

    Raises ValueError for shapes that do not match, TypeError for other than float32 or float64 arrays.
    """
    x, h, c, w_ih, w_hh, b = check.floats("lstm_cell", x=x, h=h, c=c, w_ih=w_ih, w_hh=w_hh, b=b)
    _check_shapes("lstm_cell", x, h, w_ih, w_hh, b, gates=4)
    check.shape("lstm_cell", "c", c, h.shape, "that of h (N, H)")
    h_next: Array
    c_next: Array
    gates: Array
    h_next, c_next, gates = backend().lstm_cell(x, h, c, w_ih, w_hh, b)
    return (h_next, c_next), LSTMCellContext(x, h, c, w_ih, w_hh, c_next, gates)


def lstm_cell_backward(
    dh_next: Any, dc_next: Any, ctx: LSTMCellContext
) -> tuple[Array, Array, Array, Array, Array, Array]:
    """dh_next, dc_next (N,H) -> dx, dh, dc, dw_ih, dw_hh, db."""
    dh_next = check.gradient("lstm_cell_backward", "dh_next", dh_next, ctx.c, ctx.c.shape)
    dc_next = check.gradient("lstm_cell_backward", "dc_next", dc_next, ctx.c, ctx.c.shape)
    dx, dh, dc, dw_ih, dw_hh, db = backend().lstm_cell_backward(dh_next, dc_next, *ctx)
    return dx, dh, dc, dw_ih, dw_hh, db


class RNNCellContext(NamedTuple):
    """What `rnn_cell_backward` needs."""

    x: Array
    h: Array
    w_ih: Array
    w_hh: Array
    h_next: Array


def rnn_cell(x: Any, h: Any, w_ih: Any, w_hh: Any, b: Any) -> tuple[Array, RNNCellContext]:
    """One step of an Elman net (Elman 1990): h' = tanh(x w_ih^T + h w_hh^T + b).

    x (N,D), h (N,H), w_ih (H,D), w_hh (H,H), b (H,) -> h' (N,H). Errors as in `lstm_cell`.
    """
    x, h, w_ih, w_hh, b = check.floats("rnn_cell", x=x, h=h, w_ih=w_ih, w_hh=w_hh, b=b)
    _check_shapes("rnn_cell", x, h, w_ih, w_hh, b, gates=1)
    h_next: Array = backend().rnn_cell(x, h, w_ih, w_hh, b)
    return h_next, RNNCellContext(x, h, w_ih, w_hh, h_next)


def rnn_cell_backward(dh_next: Any, ctx: RNNCellContext) -> tuple[Array, Array, Array, Array, Array]:
    """dh_next (N,H) -> dx, dh, dw_ih, dw_hh, db."""
    dh_next = check.gradient("rnn_cell_backward", "dh_next", dh_next, ctx.h, ctx.h.shape)
    dx, dh, dw_ih, dw_hh, db = backend().rnn_cell_backward(dh_next, *ctx)
    return dx, dh, dw_ih, dw_hh, db


def _check_shapes(op: str, x: Array, h: Array, w_ih: Array, w_hh: Array, b: Array, gates: int) -> None:
    check.ndim(op, "x", x, "ND")
    check.ndim(op, "h", h, "NH")
    check.not_empty(op, "x", x, "ND")
    check.not_empty(op, "h", h, "NH")
    (n, features), hidden = x.shape, h.shape[1]
    check.shape(op, "h", h, (n, hidden), "(N, H) with the N of x")
    if w_ih.ndim == 2 and w_ih.shape[1] != features:
        raise ValueError(
            f"{op}: x has {features} features {check.shown(x.shape, 'ND')} but w_ih expects {w_ih.shape[1]} "
            f"{check.shown(w_ih.shape)}"
        )
    rows = "H" if gates == 1 else f"{gates}H"
    check.shape(op, "w_ih", w_ih, (gates * hidden, features), f"({rows}, D)")
    check.shape(op, "w_hh", w_hh, (gates * hidden, hidden), f"({rows}, H)")
    check.shape(op, "b", b, (gates * hidden,), f"({rows},)")
