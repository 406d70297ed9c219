"""One step of one sequence through recurrent layers and a dense layer: what writing a text repeats."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from lamina.config import backend
from lamina.ops import _check as check
from lamina.ops._check import Array

_PANEL = 64  # columns of a panel, as the kernel reads them
_CELLS = {"rnn_tanh": (1, 1), "rnn_relu": (1, 1), "rnn_satlin": (1, 1), "gru": (3, 1), "lstm": (4, 2)}
# of each: gates, parts of the state


class RecurrentPlan(NamedTuple):
    """The weights of a stack as `recurrent_step` reads them: copies, which follow no later change."""

    cell: str
    table: Array  # (V, GH): what each token adds to the pre-activations of the first layer, with the bias
    panels: Array  # (M, H + 1, 64): all other maps, each in panels of columns, the bias in the first row
    shape: tuple[int, int, int]  # of the state: layers, parts, H
    outputs: int


def recurrent_plan(cell: str, layers: Sequence[Sequence[Any]], w: Any, b: Any = None) -> RecurrentPlan:
    """Pack a stack of recurrent layers under a dense layer.

    cell: "rnn_tanh", "rnn_relu", "rnn_satlin", "gru" or "lstm". layers: (w_ih, w_hh, b) of each, as the op of
    that name takes them; the first reads tokens, vectors of D with a one at their place. w (O,H) and b (O,)
    or None of the dense layer. Raises ValueError for an unknown cell, no layers and shapes that do not match,
    TypeError for other than float32 or float64 arrays.
    """
    op = "recurrent_plan"
    check.choice(op, "cell", cell, tuple(_CELLS))
    if not layers:
        raise ValueError(f"{op}: layers is empty: there must be one at least")
    named = {f"{name} of layer {i}": a for i, one in enumerate(layers) for name, a in _named(one)}
    w, *rest = check.floats(op, w=w, **named, **({} if b is None else {"b": b}))
    check.ndim(op, "w", w, "OH")
    check.not_empty(op, "w", w, "OH")
    if b is not None:
        check.shape(op, "b", rest[-1], (len(w),), "one per row of w")
    table, maps = np.empty(0, w.dtype), []
    for i in range(len(layers)):
        w_ih, w_hh, bias = rest[3 * i : 3 * i + 3]
        _check_layer(op, i, cell, w.shape[1], w_ih, w_hh, bias)
        of_x, of_h = _two_biases(cell, w.shape[1], bias)
        if i == 0:
            table = np.ascontiguousarray(w_ih.T + of_x)
        else:
            maps.append(_panels(w_ih, of_x))
        maps.append(_panels(w_hh, of_h))
    maps.append(_panels(w, np.zeros(len(w), w.dtype) if b is None else rest[-1]))
    shape = (len(layers), _CELLS[cell][1], w.shape[1])
    return RecurrentPlan(cell, table, np.concatenate(maps), shape, len(w))


def _named(layer: Sequence[Any]) -> Iterable[tuple[str, Any]]:
    return zip(("w_ih", "w_hh", "b"), layer, strict=True)


def _check_layer(op: str, i: int, cell: str, hidden: int, w_ih: Array, w_hh: Array, b: Array) -> None:
    rows = _CELLS[cell][0] * hidden
    check.ndim(op, f"w_ih of layer {i}", w_ih, "GD")
    features = hidden if i else w_ih.shape[1]
    check.shape(op, f"w_ih of layer {i}", w_ih, (rows, features), "(GH, D) with the H of w")
    check.shape(op, f"w_hh of layer {i}", w_hh, (rows, hidden), "(GH, H) with the H of w")
    biases = 4 * hidden if cell == "gru" else rows
    check.shape(op, f"b of layer {i}", b, (biases,), "one per gate and unit")


def _two_biases(cell: str, hidden: int, b: Array) -> tuple[Array, Array]:
    """Those of x's product and of h's: all on x's side, but for a GRU's m."""
    of_x = b[: _CELLS[cell][0] * hidden]
    of_h = np.zeros_like(of_x)
    if cell == "gru":
        of_h[2 * hidden :] = b[3 * hidden :]
    return of_x, of_h


def _panels(w: Array, b: Array) -> Array:
    """w (rows, H) and b (rows,) -> (panels, H + 1, 64), zeros beyond the last row."""
    rows, hidden = w.shape
    whole = np.zeros((-(-rows // _PANEL) * _PANEL, hidden + 1), w.dtype)
    whole[:rows, 0], whole[:rows, 1:] = b, w
    return np.ascontiguousarray(whole.reshape(-1, _PANEL, hidden + 1).transpose(0, 2, 1))


def recurrent_step(plan: RecurrentPlan, token: int, state: Any) -> tuple[Array, Array]:
    """One token and the state before it -> logits (O,) and the state behind it; no gradients.

    state (layers, parts, H) holds h, and for an LSTM c as the second part. The same as the layers on a
    sequence of one step, up to rounding. Raises ValueError for a token out of range and a state of another
    shape, TypeError for one of another dtype than the plan's.
    """
    if not 0 <= token < len(plan.table):
        raise ValueError(
            f"recurrent_step: token {token} is out of range: the first layer takes 0..{len(plan.table) - 1}"
        )
    state, _ = check.floats("recurrent_step", state=state, weights=plan.table)
    check.shape("recurrent_step", "state", state, plan.shape, "(layers, parts, H)")
    logits: Array
    following: Array
    logits, following = backend().recurrent_step(
        plan.cell, token, plan.table, plan.panels, state, plan.outputs
    )
    return logits, following
