"""Memory blocks over whole sequences, packed by time: B blocks of S cells that share their gates.

a = x w_ih^T + u w_hh^T + b; i, f = sigmoid(a + p c), g = squash(a), c' = f c + i g, o = sigmoid(a + p c'),
y = o squash(c'). Columns of a: i (B), f (B), g (H), o (B), without absent gates.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lamina.reference._types import Array
from lamina.reference.activations import sigmoid, sigmoid_backward
from lamina.reference.sequence import _padded, _steps

_Indices = npt.NDArray[np.int64]
_Options = tuple[int, bool, str, bool, str, str]


class _Curve(NamedTuple):
    """y = out tanh(in x), a sigmoid, or x; the slope follows from y."""

    kind: str
    scale_in: float
    scale_out: float

    def value(self, x: Array) -> Array:
        """Squash x."""
        if self.kind == "identity":
            return x
        return sigmoid(x) if self.kind == "logistic" else self.scale_out * np.tanh(self.scale_in * x)

    def slope(self, y: Array) -> Array:
        """The slope where the value is y."""
        if self.kind == "identity":
            return np.ones_like(y)
        return (
            y * (1 - y)
            if self.kind == "logistic"
            else self.scale_in * (self.scale_out - y * y / self.scale_out)
        )


def _curve(name: str, reach: float) -> _Curve:
    """1997 stands for reach (2 sigmoid(x) - 1)."""
    return _Curve("tanh", 0.5, reach) if name == "1997" else _Curve(name, 1, 1)


class _Blocks:
    """The options, and which columns of the pre-activations are whose."""

    def __init__(self, options: _Options, hidden: int, peepholes: Array | None) -> None:
        self.cells, self.input_gate, self.forget, self.output_gate, g, h = options
        self.blocks, self.hidden = hidden // self.cells, hidden
        self.input, self.state = _curve(g, 2), _curve(h, 1)
        columns = 0
        self.columns: dict[str, slice] = {}
        for name, size, there in (
            ("i", self.blocks, self.input_gate),
            ("f", self.blocks, self.forget == "gate"),
            ("g", hidden, True),
            ("o", self.blocks, self.output_gate),
        ):
            if there:
                self.columns[name] = slice(columns, columns + size)
                columns += size
        self.rows = columns
        self.gates = [name for name in self.columns if name != "g"]
        self.peepholes = {} if peepholes is None else dict(zip(self.gates, peepholes, strict=True))

    def spread(self, gate: Array) -> Array:
        """(rows, B) -> (rows, H): each cell its block's."""
        return np.repeat(gate, self.cells, axis=1)

    def gathered(self, cells: Array) -> Array:
        """(rows, H) -> (rows, B): sums over each block."""
        sums: Array = cells.reshape(len(cells), self.blocks, self.cells).sum(axis=2)
        return sums

    def peep(self, gate: str, a: Array, c: Array) -> Array:
        """What reaches a gate, with what it sees of its cells."""
        z = a[:, self.columns[gate]]
        return z + self.gathered(self.peepholes[gate] * c) if gate in self.peepholes else z

    def factors(self, a: Array) -> tuple[Array | float, Array | float]:
        """What multiplies the input and the former state of each cell."""
        i = self.spread(a[:, self.columns["i"]]) if self.input_gate else 1.0
        if self.forget == "gate":
            return i, self.spread(a[:, self.columns["f"]])
        return i, 1 - i if self.forget == "coupled" else 1.0

    def sent_back(self, y: Array, a: Array, width: int) -> Array:
        """The first `width` of cells and gates."""
        return np.concatenate([y, *(a[:, self.columns[gate]] for gate in self.gates)], axis=1)[:, :width]


def memory_blocks(
    options: _Options,
    x: Array | _Indices,
    source: _Indices,
    offset: _Indices,
    u0: Array,
    c0: Array,
    w_ih: Array,
    w_hh: Array,
    b: Array,
    peepholes: Array | None,
) -> tuple[Array, Array, Array, Array, Array, Array]:
    """x (R,D) or tokens (R,) -> y (R,H), u and c after the last steps; for backward [x|u before] (P,K), gates
    (P,rows), c (P,H).
    """
    m, features, width = (
        _Blocks(options, c0.shape[1], peepholes),
        x.shape[1] if x.ndim == 2 else 0,
        u0.shape[1],
    )
    dtype = w_ih.dtype
    xu = np.zeros((len(source), _padded(features + width, dtype)), dtype)
    if x.ndim == 2:
        xu[:, :features] = x[source]
        gates = xu[:, :features] @ w_ih.T
    else:
        gates = w_ih.T[x[source]]
    gates += b
    c, y = np.empty((len(source), m.hidden), dtype), np.zeros((len(x), m.hidden), dtype)
    u_now, c_now = u0.copy(), c0.copy()
    for at, rows in _steps(offset):
        a, before = gates[at], c_now[:rows]
        xu[at, features : features + width] = u_now[:rows]
        a += u_now[:rows] @ w_hh.T
        for gate in m.gates:
            if gate != "o":
                a[:, m.columns[gate]] = sigmoid(m.peep(gate, a, before))
        a[:, m.columns["g"]] = m.input.value(a[:, m.columns["g"]])
        i, f = m.factors(a)
        c[at] = f * before + i * a[:, m.columns["g"]]
        h = m.state.value(c[at])
        if m.output_gate:
            a[:, m.columns["o"]] = sigmoid(m.peep("o", a, c[at]))
            h = h * m.spread(a[:, m.columns["o"]])
        y[source[at]] = h
        u_now[:rows], c_now[:rows] = m.sent_back(h, a, width), c[at]
    return y, u_now, c_now, xu, gates, c


def memory_blocks_backward(
    options: _Options,
    truncated: bool,
    dy: Array,
    du_last: Array,
    dc_last: Array,
    tokens: _Indices | None,
    source: _Indices,
    offset: _Indices,
    c0: Array,
    w_ih: Array,
    w_hh: Array,
    peepholes: Array | None,
    xu: Array,
    gates: Array,
    c: Array,
) -> tuple[Array | None, Array, Array, Array, Array, Array, Array | None]:
    """-> dx (of tokens None), du0, dc0, dw_ih, dw_hh, db, dpeepholes."""
    m, width = _Blocks(options, c0.shape[1], peepholes), w_hh.shape[1]
    du0, dc0, da = du_last.copy(), dc_last.copy(), np.empty_like(gates)
    earlier, steps = np.empty_like(c), list(_steps(offset))
    for step, (at, rows) in reversed(list(enumerate(steps))):
        earlier[at] = c0[:rows] if step == 0 else c[steps[step - 1][0]][:rows]
        du, dc = du0[:rows], dc0[:rows]
        _step_backward(m, dy[source[at]], du, dc, gates[at], c[at], earlier[at], da[at], truncated)
        du[:] = 0 if truncated else da[at] @ w_hh
    seen = {"i": earlier, "f": earlier, "o": c}
    dpeepholes = [(m.spread(da[:, m.columns[gate]]) * seen[gate]).sum(axis=0) for gate in m.peepholes]
    features = w_ih.shape[1] if tokens is None else 0
    dw_hh, db = da.T @ xu[:, features : features + width], da.sum(axis=0)
    out = (dw_hh, db, None if peepholes is None else np.reshape(dpeepholes, peepholes.shape).astype(dy.dtype))
    if tokens is not None:
        dw_ih = np.zeros((w_ih.shape[1], w_ih.shape[0]), dy.dtype)
        np.add.at(dw_ih, tokens[source], da)
        return None, du0, dc0, np.ascontiguousarray(dw_ih.T), *out
    dx = np.zeros((len(dy), features), dy.dtype)
    if not truncated:
        dx[source] = da @ w_ih
    return dx, du0, dc0, da.T @ xu[:, :features], *out


def _step_backward(
    m: _Blocks, dy: Array, du: Array, dc: Array, a: Array, c: Array, before: Array, da: Array, truncated: bool
) -> None:
    """Write da, and dc for the step before, from those for the step after."""
    sent = du[:, : m.hidden] if du.shape[1] else 0
    places = np.cumsum([0] + [m.blocks] * len(m.gates)) + m.hidden
    to_gates = {
        gate: du[:, start : start + m.blocks] if du.shape[1] > m.hidden else 0
        for gate, start in zip(m.gates, places[:-1].tolist(), strict=True)
    }
    h, dh = m.state.value(c), dy + sent
    through = {} if truncated else m.peepholes
    if m.output_gate:
        o = a[:, m.columns["o"]]
        do = sigmoid_backward(m.gathered(dh * h) + to_gates["o"], o)
        da[:, m.columns["o"]] = do
        dh = dh * m.spread(o)
        if "o" in through:
            dc += through["o"] * m.spread(do)
    dc += dh * m.state.slope(h)
    g, (i, f) = a[:, m.columns["g"]], m.factors(a)
    da[:, m.columns["g"]] = dc * i * m.input.slope(g)
    sources = {"i": dc * (g - before if m.forget == "coupled" else g), "f": dc * before}
    dc *= f
    for gate in m.gates:
        if gate == "o":
            continue
        dz = sigmoid_backward(m.gathered(sources[gate]) + to_gates[gate], a[:, m.columns[gate]])
        da[:, m.columns[gate]] = dz
        if gate in through:
            dc += through[gate] * m.spread(dz)
