"""Recurrent cells: one step of an Elman net, a GRU or an LSTM, to be called in a loop over time."""

import math
from typing import Any

import numpy as np

from lamina import init, ops
from lamina.autograd import Tensor, record, record_many
from lamina.nn._cast import floating
from lamina.nn.module import Module, Parameter
from lamina.ops import _check as check


class _Cell(Module):
    """`weight_ih` (G H, D), `weight_hh` (G H, H) and `bias` (B H,) for G gates with B biases."""

    def __init__(self, input_size: int, hidden_size: int, gates: int, biases: int, rng: init.Rng) -> None:
        name = type(self).__name__
        self.input_size = check.integer(name, "input_size", input_size, 1)
        self.hidden_size = check.integer(name, "hidden_size", hidden_size, 1)
        rng, bound, rows = init.generator(rng), 1 / math.sqrt(hidden_size), gates * hidden_size
        self.weight_ih = Parameter(init.uniform((rows, input_size), -bound, bound, rng=rng))
        self.weight_hh = Parameter(init.uniform((rows, hidden_size), -bound, bound, rng=rng))
        self.bias = Parameter(init.uniform(biases * hidden_size, -bound, bound, rng=rng))

    def _part(self, x: Tensor, state: Any) -> Tensor:
        """One part of the state as a tensor: zeros for None."""
        if state is None:
            rows = len(x.data) if x.ndim else 0
            return Tensor(np.zeros((rows, self.hidden_size), self.bias.dtype))
        if isinstance(state, Tensor):
            return state
        return Tensor(check.array_of(type(self).__name__, "state", state, self.bias.dtype))

    def _one_step(self, op: Any, op_backward: Any, x: Tensor, state: Any, **options: Any) -> Tensor:
        """x (N,D), h (N,H) -> the next h, by an op over sequences: one of a single step."""
        name, x, h = type(self).__name__, floating(x, self.bias.dtype), self._part(x, state)
        check.ndim(name, "x", x.data, "ND")
        check.shape(name, "h", h.data, (len(x.data), self.hidden_size), "(N, H) with the N of x")
        inputs = (x[:, None], h, self.weight_ih, self.weight_hh, self.bias)
        arrays, ctx = op(*[t.data for t in inputs], **options)
        return record_many(arrays, inputs, op_backward, ctx)[1]

    def multiply_adds(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        """Both weights for each row."""
        return x_shape[0] * (self.weight_ih.size + self.weight_hh.size)


class RNNCell(_Cell):
    """One step of an Elman net (Elman 1990): h' = tanh(x w_ih^T + h w_hh^T + b).

    `nonlinearity` is "tanh" or "relu". `weight_ih` (H,D), `weight_hh` (H,H) and `bias` (H,) start uniform
    within 1/sqrt(H); `rng` is a generator, a seed or None for the library's own.
    """

    def __init__(
        self, input_size: int, hidden_size: int, *, nonlinearity: str = "tanh", rng: init.Rng = None
    ) -> None:
        self.nonlinearity = check.choice("RNNCell", "nonlinearity", nonlinearity, ("tanh", "relu"))
        super().__init__(input_size, hidden_size, 1, 1, rng)

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        """x (N,D), state h (N,H) or None for zeros -> next h (N,H)."""
        if self.nonlinearity == "relu":
            return self._one_step(ops.rnn, ops.rnn_backward, x, state, nonlinearity="relu")
        x = floating(x, self.bias.dtype)
        inputs = (x, self._part(x, state), self.weight_ih, self.weight_hh, self.bias)
        h_next, ctx = ops.rnn_cell(*[t.data for t in inputs])
        return record(h_next, inputs, ops.rnn_cell_backward, ctx)


class GRUCell(_Cell):
    """One step of a gated recurrent unit (Cho et al. 2014), the reset gate behind the product as in PyTorch.

    r, z = sigmoid(x w_ih^T + h w_hh^T + b), n = tanh(x w_n^T + b_n + r (h w_hn^T + b_m)), h' = (1-z) n + z h.
    `weight_ih` (3H,D) and `weight_hh` (3H,H) in rows r, z, n and `bias` (4H,) for r, z, n and m start uniform
    within 1/sqrt(H); `rng` is a generator, a seed or None for the library's own.
    """

    def __init__(self, input_size: int, hidden_size: int, *, rng: init.Rng = None) -> None:
        super().__init__(input_size, hidden_size, 3, 4, rng)

    def forward(self, x: Tensor, state: Any = None) -> Tensor:
        """x (N,D), state h (N,H) or None for zeros -> next h (N,H)."""
        return self._one_step(ops.gru, ops.gru_backward, x, state)


class LSTMCell(_Cell):
    """One step of an LSTM (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000).

    i, f, o = sigmoid(x w_ih^T + h w_hh^T + b), g = tanh(the same), c' = f c + i g, h' = o tanh(c').
    `weight_ih` (4H,D), `weight_hh` (4H,H) and `bias` (4H,), rows i, f, g, o, start uniform within
    1/sqrt(H), the bias of the forget gate at 1 (Gers et al. 2000; Jozefowicz et al. 2015); `rng` is a
    generator, a seed or None for the library's own.
    """

    def __init__(self, input_size: int, hidden_size: int, *, rng: init.Rng = None) -> None:
        super().__init__(input_size, hidden_size, 4, 4, rng)
        self.bias.data[hidden_size : 2 * hidden_size] = 1

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Tensor]:
        """x (N,D), state (h, c), each (N,H), or None for zeros -> next (h, c)."""
        if state is not None and (not isinstance(state, (tuple, list)) or len(state) != 2):
            raise TypeError(f"LSTMCell: state must be a pair (h, c) or None, got {type(state).__name__}")
        x = floating(x, self.bias.dtype)
        h, c = (None, None) if state is None else state
        inputs = (x, self._part(x, h), self._part(x, c), self.weight_ih, self.weight_hh, self.bias)
        arrays, ctx = ops.lstm_cell(*[t.data for t in inputs])
        h_next, c_next = record_many(arrays, inputs, ops.lstm_cell_backward, ctx)
        return h_next, c_next
