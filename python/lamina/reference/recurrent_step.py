"""One step of one sequence through a stack of recurrent layers and a dense layer."""

from collections.abc import Iterator

import numpy as np

from lamina.reference._types import Array
from lamina.reference.activations import sigmoid

_PANEL = 64


def recurrent_step(
    cell: str, token: int, table: Array, panels: Array, state: Array, outputs: int
) -> tuple[Array, Array]:
    """Row `token` of table (V,GH), panels (M,H+1,64), state (layers,parts,H) -> logits (outputs,), state."""
    maps = _maps(panels, table.shape[1], 2 * len(state) - 1)
    gates, following = table[token], np.empty_like(state)
    for layer, before in enumerate(state):
        if layer > 0:
            gates = next(maps)(following[layer - 1, 0])
        following[layer] = _unit(cell, gates, next(maps)(before[0]), before)
    return next(maps)(following[-1, 0])[:outputs], following


class _Map:
    """An affine map in panels: the bias in row 0 of each, then the weights."""

    def __init__(self, panels: Array, columns: int) -> None:
        self.rows = panels.transpose(1, 0, 2).reshape(panels.shape[1], -1)[:, :columns]

    def __call__(self, x: Array) -> Array:
        y: Array = self.rows[0] + x @ self.rows[1:]
        return y


def _maps(panels: Array, columns: int, recurrent: int) -> Iterator[_Map]:
    """The maps of the recurrent layers, of `columns` each, and then that of the dense layer."""
    count = -(-columns // _PANEL)
    for i in range(recurrent):
        yield _Map(panels[i * count : (i + 1) * count], columns)
    yield _Map(panels[recurrent * count :], panels.shape[0] * _PANEL)


def _unit(cell: str, of_x: Array, of_h: Array, before: Array) -> Array:
    """The next h, and c of an LSTM, (parts,H)."""
    if cell == "lstm":
        i, f, g, o = np.split(of_x + of_h, 4)
        c = sigmoid(f) * before[1] + sigmoid(i) * np.tanh(g)
        return np.stack([sigmoid(o) * np.tanh(c), c])
    if cell == "gru":
        (r, z, n), (r_h, z_h, m) = np.split(of_x, 3), np.split(of_h, 3)
        n = np.tanh(n + sigmoid(r + r_h) * m)
        return n + sigmoid(z + z_h) * (before - n)
    a = of_x + of_h
    h: Array = np.tanh(a) if cell == "rnn_tanh" else np.maximum(a, 0)
    return h[None]
