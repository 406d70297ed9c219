"""Memory blocks over whole sequences: the LSTM of 1997, its forget gate of 2000, its peepholes of 2002."""

from typing import Any, NamedTuple

import numpy as np

from lamina.config import backend
from lamina.ops import _check as check
from lamina.ops._check import Array
from lamina.ops.sequence import Packing, _packing, _tokens, _unsorted

_SQUASHES = ("tanh", "logistic", "identity", "1997")
Options = tuple[int, bool, str, bool, str, str]  # as the kernel takes them


class BlocksContext(NamedTuple):
    """What the backward function needs."""

    shape: tuple[int, int]  # N, T
    packing: Packing
    options: Options
    truncated: bool
    biased: slice | Array | None  # which rows of the weights have a bias
    arrays: tuple[Any, ...]  # tokens, source, offset, c0, w_ih, w_hh, peepholes, xu, gates, c of the kernel


def memory_blocks(
    x: Any,
    u0: Any,
    c0: Any,
    w_ih: Any,
    w_hh: Any,
    b: Any = None,
    peepholes: Any = None,
    *,
    cells_per_block: int = 1,
    input_gate: bool = True,
    forget_gate: bool | str = True,
    output_gate: bool = True,
    squash_input: str = "tanh",
    squash_state: str = "tanh",
    truncated: bool = False,
    lengths: Any = None,
    reverse: bool = False,
) -> tuple[tuple[Array, Array, Array], BlocksContext]:
    """Blocks of cells that share their gates (Hochreiter & Schmidhuber 1997; Gers et al. 2000, 2002).

    a = x w_ih^T + u w_hh^T + b; i, f = sigmoid(a + p c), g = squash_input(a), c' = f c + i g,
    o = sigmoid(a + p c'), y = o squash_state(c'). A gate, one for the S = `cells_per_block` cells of a block,
    that is False is 1 (1997 has no forget gate); `forget_gate="coupled"` is 1 - i.

    x (N,T,D) or tokens (N,T); c0 (N,H) for B = H/S blocks; w_ih (R,D) in rows i (B), f (B), g (H), o (B),
    without those of gates that are not there. What a step sends back is told by the width M of w_hh (R,M) and
    u0 (N,M): 0 nothing, H the cells' y, H + gates also the activations of the gates i, f, o. b (R,), or for
    the gates alone (R-H,), or None. `peepholes` (gates,H), a row for each of i, f, o that is there: gates see
    the states of their own block's cells. Squashing is "tanh", "logistic", "identity" or "1997":
    4 sigmoid(a) - 2 for the input, 2 sigmoid(c) - 1 for the state.

    `truncated` is the gradient of 1997: errors that reach a or a peephole change weights and go no further
    back, so dx is 0 and the states c alone carry errors through time.

    -> y (N,T,H), zero beyond the end of a sequence, u (N,M) and c (N,H) after its last step. `lengths`,
    `reverse` and errors as for `lstm`.
    """
    op = "memory_blocks"
    options = _options(op, cells_per_block, input_gate, forget_gate, output_gate, squash_input, squash_state)
    tokens = isinstance(x, np.ndarray) and x.dtype.kind in "iu"
    named = {"u0": u0, "c0": c0, "w_ih": w_ih, "w_hh": w_hh}
    named |= {name: a for name, a in (("x", x), ("b", b), ("peepholes", peepholes)) if a is not None}
    if tokens:
        del named["x"]
    found = dict(zip(named, check.floats(op, **named), strict=True))
    u0, c0, w_ih, w_hh = (found[name] for name in ("u0", "c0", "w_ih", "w_hh"))
    x, b, peepholes = found.get("x", x), found.get("b"), found.get("peepholes")
    _check_shapes(op, x, u0, c0, w_ih, w_hh, options)
    biased = _biased(op, b, len(w_ih), c0.shape[1], options)
    full = np.zeros(len(w_ih), w_ih.dtype)
    if biased is not None:
        full[biased] = b
    if peepholes is not None:
        gates = input_gate + (forget_gate is True) + output_gate
        check.shape(op, "peepholes", peepholes, (gates, c0.shape[1]), "(gates, H)")
    n, steps = x.shape[:2]
    rows = _tokens(op, x, w_ih.shape[1]) if tokens else x.reshape(n * steps, x.shape[2])
    packing = _packing(op, lengths, n, steps, reverse)
    if packing.order is not None:
        u0, c0 = u0[packing.order], c0[packing.order]
    at = (packing.source, packing.offset)
    y, u, c, *kept = backend().memory_blocks(options, rows, *at, u0, c0, w_ih, w_hh, full, peepholes)
    saved = (rows if tokens else None, *at, c0, w_ih, w_hh, peepholes, *kept)
    ctx = BlocksContext((n, steps), packing, options, check.flag(op, "truncated", truncated), biased, saved)
    return (y.reshape(n, steps, c0.shape[1]), _unsorted(packing, u), _unsorted(packing, c)), ctx


def memory_blocks_backward(
    dy: Any, du_last: Any, dc_last: Any, ctx: BlocksContext
) -> tuple[Array | None, Array, Array, Array, Array, Array | None, Array | None]:
    """dy (N,T,H), du_last (N,M), dc_last (N,H) -> dx, du0, dc0, dw_ih, dw_hh, db, dpeepholes.

    None for the gradient of what was not given, and of tokens.
    """
    op, (n, steps), packing, arrays = "memory_blocks_backward", ctx.shape, ctx.packing, ctx.arrays
    c0, w_ih, w_hh = arrays[3:6]
    dy = check.gradient(op, "dy", dy, c0, (n, steps, c0.shape[1]))
    into = [
        check.gradient(op, "du_last", du_last, c0, (n, w_hh.shape[1])),
        check.gradient(op, "dc_last", dc_last, c0, c0.shape),
    ]
    if packing.order is not None:
        into = [d[packing.order] for d in into]
    dx, du0, dc0, dw_ih, dw_hh, db, dpeepholes = backend().memory_blocks_backward(
        ctx.options, ctx.truncated, dy.reshape(n * steps, c0.shape[1]), *into, *arrays
    )
    dx = None if dx is None else dx.reshape(n, steps, w_ih.shape[1])
    db = None if ctx.biased is None else db[ctx.biased]
    return dx, _unsorted(packing, du0), _unsorted(packing, dc0), dw_ih, dw_hh, db, dpeepholes


def _options(
    op: str, cells: Any, input_gate: Any, forget_gate: Any, output_gate: Any, squash_in: Any, squash_out: Any
) -> Options:
    if forget_gate != "coupled":
        forget = "gate" if check.flag(op, "forget_gate", forget_gate) else "none"
    elif input_gate:
        forget = "coupled"
    else:
        raise ValueError(f"{op}: forget_gate 'coupled' is 1 - i and needs an input gate")
    return (
        check.integer(op, "cells_per_block", cells, 1),
        check.flag(op, "input_gate", input_gate),
        forget,
        check.flag(op, "output_gate", output_gate),
        check.choice(op, "squash_input", squash_in, _SQUASHES),
        check.choice(op, "squash_state", squash_out, _SQUASHES),
    )


def _gate_rows(options: Options, hidden: int) -> tuple[int, int]:
    """Rows of the weights before those of g, and after."""
    blocks = hidden // options[0]
    return blocks * (options[1] + (options[2] == "gate")), blocks * options[3]


def _biased(op: str, b: Any, rows: int, hidden: int, options: Options) -> Any:
    if b is None or b.shape == (rows,):
        return None if b is None else slice(None)
    check.shape(op, "b", b, (rows - hidden,), f"({rows},) for all rows or that for the gates alone")
    before, after = _gate_rows(options, hidden)
    return np.r_[:before, rows - after : rows]


def _check_shapes(
    op: str, x: Array, u0: Array, c0: Array, w_ih: Array, w_hh: Array, options: Options
) -> None:
    tokens = x.dtype.kind in "iu"
    check.ndim(op, "x", x, "NT" if tokens else "NTD")
    for name, value in (("u0", u0), ("c0", c0)):
        check.ndim(op, name, value, "NM" if name == "u0" else "NH")
        if len(value) != len(x):
            raise ValueError(f"{op}: {name} must have as many rows as x, {len(x)}, got {value.shape}")
    hidden, features = c0.shape[1], w_ih.shape[-1] if tokens else x.shape[2]
    if features == 0 or hidden == 0:
        raise ValueError(f"{op}: features and cells cannot be 0, got x {x.shape} and c0 {c0.shape}")
    if hidden % options[0]:
        raise ValueError(f"{op}: {hidden} cells do not make blocks of {options[0]} (cells_per_block)")
    gates = sum(_gate_rows(options, hidden))
    if u0.shape[1] not in (0, hidden, hidden + gates):
        raise ValueError(
            f"{op}: u0 must have 0, {hidden} (cells) or {hidden + gates} (cells and gates) columns, "
            f"got {u0.shape}"
        )
    check.shape(op, "w_ih", w_ih, (hidden + gates, features), "(rows i, f, g, o, D)")
    check.shape(op, "w_hh", w_hh, (hidden + gates, u0.shape[1]), "(rows i, f, g, o, M) with the M of u0")
