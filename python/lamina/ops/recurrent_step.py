"""One step of one sequence through recurrent layers and a dense layer: what writing a text repeats."""

from collections.abc import Sequence
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

    cell: "rnn_tanh", "rnn_relu", "rnn_satlin", "gru" or "lstm". layers: (w_ih, w_hh, b) of each, as the op of that name
    takes them; the first reads tokens, vectors of D with a one at their place. w (O,H) and b (O,) or None of
    the dense layer. Raises ValueError for an unknown cell, no layers and shapes that do not match, TypeError
    for other than float32 or float64 arrays.
    """
    op = "recurrent_plan"
    check.choice(op, "cell", cell, tuple(_CELLS))
    if not layers:
        raise ValueError(f"{op}: layers is empty: there must be one at least")
    gates, parts = _CELLS[cell]
    named = {
        f"{name} of layer {i}": a for i, one in enumerate(layers) for name, a in zip(_NAMES, one, strict=True)
    }
    w, *rest = check.floats(op, w=w, **named, **({} if b is None else {"b": b}))
    check.ndim(op, "w", w, "OH")
    check.not_empty(op, "w", w, "OH")
    hidden = w.shape[1]
    biases = hidden * (4 if cell == "gru" else gates)
    table, maps = None, []
    for i in range(len(layers)):
        w_ih, w_hh, bias = rest[3 * i : 3 * i + 3]
        check.ndim(op, f"w_ih of layer {i}", w_ih, "GD")
        features = hidden if i else w_ih.shape[1]
        check.shape(op, f"w_ih of layer {i}", w_ih, (gates * hidden, features), "(GH, D) with the H of w")
        check.shape(op, f"w_hh of layer {i}", w_hh, (gates * hidden, hidden), "(GH, H) with the H of w")
        check.shape(op, f"b of layer {i}", bias, (biases,), "one per gate and unit")
        of_x, of_h = bias[: gates * hidden], np.zeros(gates * hidden, w.dtype)
        if cell == "gru":
            of_h[2 * hidden :] = bias[3 * hidden :]
        if table is None:
            table = w_ih.T + of_x
        else:
            maps.append(_panels(w_ih, of_x))
        maps.append(_panels(w_hh, of_h))
    if b is not None:
        check.shape(op, "b", rest[-1], (len(w),), "one per row of w")
    maps.append(_panels(w, np.zeros(len(w), w.dtype) if b is None else rest[-1]))
    assert table is not None
    return RecurrentPlan(
        cell, np.ascontiguousarray(table), np.concatenate(maps), (len(layers), parts, hidden), len(w)
    )


_NAMES = ("w_ih", "w_hh", "b")


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
