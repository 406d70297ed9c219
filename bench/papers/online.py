"""Online gradient descent as the papers on memory blocks do it: one sequence, one step down its gradient."""

from typing import Any

import numpy as np

from lamina import ops

Array = np.ndarray
KIND_1997: dict[str, Any] = {
    "forget_gate": False,
    "squash_input": "1997",
    "squash_state": "1997",
    "truncated": True,
}


def logistic(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    y, _ = ops.sigmoid(x)
    return y


class OnlineNet:
    """A hidden layer, and logistic outputs that see its cells, with `shortcut` the inputs too.

    A subclass makes `hidden`, the arrays of its op. Every array starts uniform within `scale`. Inputs are
    vectors x (N,T,D) or tokens (N,T); the error is half the sum of squares.
    """

    hidden: dict[str, Array]

    def __init__(
        self,
        inputs: int,
        cells: int,
        outputs: int,
        *,
        rng: np.random.Generator,
        scale: float,
        output_bias: bool = True,
        shortcut: bool = False,
    ) -> None:
        self.inputs, self.cells, self.output_bias = inputs, cells, output_bias
        self.rng, self.scale = rng, scale
        self.w_out = self.drawn(outputs, cells)
        self.b_out = self.drawn(outputs) if output_bias else np.zeros(outputs, np.float32)
        self.w_short = self.drawn(outputs, inputs) if shortcut else None

    def drawn(self, *shape: int) -> Array:
        """Uniform within the scale."""
        return self.rng.uniform(-self.scale, self.scale, shape).astype(np.float32)

    def size(self) -> int:
        """The number of weights."""
        short = 0 if self.w_short is None else self.w_short.size
        biases = self.b_out.size if self.output_bias else 0
        return sum(w.size for w in self.hidden.values()) + self.w_out.size + biases + short

    def run_hidden(self, x: Array, **options: Any) -> tuple[Array, Any]:
        """-> y (N,T,cells), context."""
        raise NotImplementedError

    def hidden_gradients(self, dy: Array, ctx: Any) -> tuple[Array, ...]:
        """dy (N,T,cells) -> the gradient of each of `hidden`."""
        raise NotImplementedError

    def _net_out(self, x: Array, y: Array) -> Array:
        z = y @ self.w_out.T
        z += self.b_out
        if self.w_short is not None:
            z += self.w_short.T[x] if x.dtype.kind == "i" else x @ self.w_short.T
        return z

    def outputs(self, x: Array, lengths: Array | None = None) -> Array:
        """x -> (N,T,O), or of the last step alone where `lengths` are given, (N,O)."""
        y, _ = self.run_hidden(x, lengths=lengths)
        if lengths is not None:
            rows = np.arange(len(x))
            x, y = x[rows, lengths - 1], y[rows, lengths - 1]
        return logistic(self._net_out(x, y))

    def learn(self, x: Array, target: Array, lr: float) -> Array:
        """One step on a sequence x (1,T,...) with target (T,O), or (O,) at its end -> outputs before."""
        y, ctx = self.run_hidden(x)
        first = 0 if target.ndim == 2 else y.shape[1] - 1
        seen, target = y[0, first:], target.reshape(-1, len(self.w_out))
        out = logistic(self._net_out(x[0, first:], seen))
        dz = (out - target) * out * (1 - out)
        dy = np.zeros_like(y)
        dy[0, first:] = dz @ self.w_out
        for name, gradient in zip(self.hidden, self.hidden_gradients(dy, ctx), strict=True):
            self.hidden[name] -= lr * gradient
        self.w_out -= lr * (dz.T @ seen)
        if self.output_bias:
            self.b_out -= lr * dz.sum(axis=0)
        if self.w_short is not None and x.dtype.kind == "i":
            np.subtract.at(self.w_short.T, x[0, first:], lr * dz)
        elif self.w_short is not None:
            self.w_short -= lr * (dz.T @ x[0, first:])
        return out


class BlockNet(OnlineNet):
    """Memory blocks, by default those of 1997 with their truncated gradient.

    `biased` "all", "gates" or "none"; `recurrent` what goes back, "all", "cells" or "none"; `gate_biases`
    starts the biases of a gate: {"o": (-1, -2, -3)}.
    """

    def __init__(
        self,
        inputs: int,
        blocks: int,
        cells: int,
        outputs: int,
        *,
        biased: str = "all",
        recurrent: str = "all",
        gate_biases: dict[str, tuple[float, ...]] | None = None,
        kind: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(inputs, blocks * cells, outputs, **options)
        self.kind = (KIND_1997 if kind is None else kind) | {"cells_per_block": cells}
        names = {"i": "input_gate", "f": "forget_gate", "o": "output_gate"}
        self.gates = [gate for gate, name in names.items() if self.kind.get(name, True)]
        rows = len(self.gates) * blocks + self.cells
        self.width = {"all": rows, "cells": self.cells, "none": 0}[recurrent]
        self.hidden = {"w_ih": self.drawn(rows, inputs), "w_hh": self.drawn(rows, self.width)}
        if biased != "none":
            self.hidden["b"] = self.drawn(rows if biased == "all" else rows - self.cells)
        for gate, values in (gate_biases or {}).items():
            after_cells = self.cells if gate == "o" and biased == "all" else 0
            start = self.gates.index(gate) * blocks + after_cells
            self.hidden["b"][start : start + blocks] = values

    def run_hidden(self, x: Array, **options: Any) -> tuple[Array, Any]:
        u0, c0 = (np.zeros((len(x), width), np.float32) for width in (self.width, self.cells))
        (y, *self.last), ctx = ops.memory_blocks(x, u0, c0, **self.hidden, **self.kind, **options)
        return y, ctx

    def hidden_gradients(self, dy: Array, ctx: Any) -> tuple[Array, ...]:
        n = len(dy)
        zeros = (np.zeros((n, width), np.float32) for width in (self.width, self.cells))
        return ops.memory_blocks_backward(dy, *zeros, ctx)[3 : 3 + len(self.hidden)]


class PlainNet(OnlineNet):
    """A plain recurrent layer of tanh units, by the whole gradient: what LSTM is compared with."""

    def __init__(self, inputs: int, cells: int, outputs: int, **options: Any) -> None:
        super().__init__(inputs, cells, outputs, **options)
        self.hidden = {
            "w_ih": self.drawn(cells, inputs),
            "w_hh": self.drawn(cells, cells),
            "b": self.drawn(cells),
        }

    def run_hidden(self, x: Array, **options: Any) -> tuple[Array, Any]:
        (y, _), ctx = ops.rnn(x, np.zeros((len(x), self.cells), np.float32), **self.hidden, **options)
        return y, ctx

    def hidden_gradients(self, dy: Array, ctx: Any) -> tuple[Array, ...]:
        return ops.rnn_backward(dy, np.zeros((len(dy), self.cells), np.float32), ctx)[2:]
