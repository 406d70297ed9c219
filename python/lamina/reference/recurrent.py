"""One step of an LSTM (Hochreiter & Schmidhuber 1997, with forget gates: Gers et al. 2000) and of an RNN.

i, f, o = sigmoid(x w_ih^T + h w_hh^T + b)    g = tanh(the same)    c' = f c + i g    h' = o tanh(c')
"""

import numpy as np

from lamina.reference._types import Array
from lamina.reference.activations import sigmoid, sigmoid_backward, tanh_backward


def lstm_cell(x: Array, h: Array, c: Array, w_ih: Array, w_hh: Array, b: Array) -> tuple[Array, Array, Array]:
    """x (N,D), h and c (N,H), w_ih (4H,D), w_hh (4H,H), b (4H,) -> next h, next c, gates (N,4H)."""
    hidden = h.shape[1]
    gates: Array = x @ w_ih.T
    gates += h @ w_hh.T
    gates += b
    i_and_f, g, o = np.split(gates, [2 * hidden, 3 * hidden], axis=1)
    i_and_f[:] = sigmoid(i_and_f)
    np.tanh(g, out=g)
    o[:] = sigmoid(o)
    c_next = i_and_f[:, hidden:] * c + i_and_f[:, :hidden] * g
    return o * np.tanh(c_next), c_next, gates


def lstm_cell_backward(
    dh_next: Array,
    dc_next: Array,
    x: Array,
    h: Array,
    c: Array,
    w_ih: Array,
    w_hh: Array,
    c_next: Array,
    gates: Array,
) -> tuple[Array, Array, Array, Array, Array, Array]:
    """-> dx, dh, dc, dw_ih, dw_hh, db."""
    i, f, g, o = np.split(gates, 4, axis=1)
    squashed = np.tanh(c_next)
    dc = dc_next + tanh_backward(dh_next * o, squashed)
    dz = np.concatenate(
        [
            sigmoid_backward(dc * g, i),
            sigmoid_backward(dc * c, f),
            tanh_backward(dc * i, g),
            sigmoid_backward(dh_next * squashed, o),
        ],
        axis=1,
    )
    return dz @ w_ih, dz @ w_hh, dc * f, dz.T @ x, dz.T @ h, dz.sum(axis=0)


def rnn_cell(x: Array, h: Array, w_ih: Array, w_hh: Array, b: Array) -> Array:
    """tanh(x w_ih^T + h w_hh^T + b): x (N,D), h (N,H), w_ih (H,D), w_hh (H,H), b (H,) -> next h (N,H)."""
    z: Array = x @ w_ih.T
    z += h @ w_hh.T
    z += b
    return np.tanh(z, out=z)


def rnn_cell_backward(
    dh_next: Array, x: Array, h: Array, w_ih: Array, w_hh: Array, h_next: Array
) -> tuple[Array, Array, Array, Array, Array]:
    """-> dx, dh, dw_ih, dw_hh, db."""
    dz = tanh_backward(dh_next, h_next)
    return dz @ w_ih, dz @ w_hh, dz.T @ x, dz.T @ h, dz.sum(axis=0)
