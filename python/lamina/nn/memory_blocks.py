"""Memory blocks: the LSTM of its sources, with the options that the field has tried since."""

import math
from typing import Any

import numpy as np

from lamina import init, ops
from lamina.autograd import Tensor, record_many
from lamina.nn._cast import floating
from lamina.nn.module import Module, Parameter
from lamina.ops import _check as check


class MemoryBlocks(Module):
    """Blocks of cells that share their gates, over whole sequences (Hochreiter & Schmidhuber 1997).

    i, f, o = sigmoid(a + peepholes), g = squash_input(a), c' = f c + i g, y = o squash_state(c'), where
    a = x w_ih^T + u w_hh^T + b. H = blocks * cells_per_block; one gate of each kind for a block. By default,
    with one cell in each block, it is `nn.LSTM`.

    - `forget_gate`: False as in 1997, True as in Gers, Schmidhuber & Cummins 2000, "coupled" for 1 - i.
      `input_gate`, `output_gate`: False for none.
    - `squash_input`, `squash_state`: "tanh", "logistic", "identity", or "1997": 4 sigmoid - 2, 2 sigmoid - 1.
    - `peepholes`: gates see the states of their block's cells (Gers & Schmidhuber 2000).
    - `recurrent`: what a step gets of the one before, "cells", "all" (cells and gates, as in 1997) or "none".
    - `biased`: "all" rows, "gates" or "none".
    - `truncated`: the gradient of 1997: errors that reach a gate or a cell's input change weights and go no
      further back; x gets none. States alone carry errors through time.

    `weight_ih` (R,D), `weight_hh` (R,M) and `bias`, rows i, f, g, o of what is there, and `peepholes`
    (gates,H) start uniform within 1/sqrt(H), biases of forget gates at 1; `rng` is a generator, a seed or
    None for the library's own.
    """

    bias: Parameter | None
    peepholes: Parameter | None

    def __init__(
        self,
        input_size: int,
        blocks: int,
        cells_per_block: int = 1,
        *,
        input_gate: bool = True,
        forget_gate: bool | str = True,
        output_gate: bool = True,
        squash_input: str = "tanh",
        squash_state: str = "tanh",
        peepholes: bool = False,
        recurrent: str = "cells",
        biased: str = "all",
        truncated: bool = False,
        rng: init.Rng = None,
    ) -> None:
        name = "MemoryBlocks"
        self.input_size = check.integer(name, "input_size", input_size, 1)
        self.blocks = check.integer(name, "blocks", blocks, 1)
        self.cells_per_block = check.integer(name, "cells_per_block", cells_per_block, 1)
        self.input_gate = check.flag(name, "input_gate", input_gate)
        self.forget_gate = (
            forget_gate if forget_gate == "coupled" else check.flag(name, "forget_gate", forget_gate)
        )
        self.output_gate = check.flag(name, "output_gate", output_gate)
        if forget_gate == "coupled" and not self.input_gate:
            raise ValueError(f"{name}: forget_gate 'coupled' is 1 - i and needs an input gate")
        curves = ("tanh", "logistic", "identity", "1997")
        self.squash_input = check.choice(name, "squash_input", squash_input, curves)
        self.squash_state = check.choice(name, "squash_state", squash_state, curves)
        self.recurrent = check.choice(name, "recurrent", recurrent, ("cells", "all", "none"))
        self.biased = check.choice(name, "biased", biased, ("all", "gates", "none"))
        self.truncated = check.flag(name, "truncated", truncated)
        self.hidden_size = self.blocks * self.cells_per_block
        kinds = self.input_gate + (self.forget_gate is True) + self.output_gate
        gates, bound, rng = kinds * self.blocks, 1 / math.sqrt(self.hidden_size), init.generator(rng)
        width = {"cells": self.hidden_size, "all": self.hidden_size + gates, "none": 0}[self.recurrent]
        rows = gates + self.hidden_size

        def drawn(*shape: int) -> Parameter:
            return Parameter(init.uniform(shape, -bound, bound, rng=rng))

        self.weight_ih, self.weight_hh = drawn(rows, self.input_size), drawn(rows, width)
        self.bias = None if self.biased == "none" else drawn(rows if self.biased == "all" else gates)
        self.peepholes = drawn(kinds, self.hidden_size) if check.flag(name, "peepholes", peepholes) else None
        if self.bias is not None and self.forget_gate is True:
            first = self.blocks * self.input_gate
            self.bias.data[first : first + self.blocks] = 1

    def forward(
        self, x: Tensor, state: Any = None, lengths: Any = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """x (N,T,D) or tokens (N,T), lengths (N,) or None for T each -> y (N,T,H), the states after each end.

        A state is a pair, or None for zeros: u (N,M), what the next step gets of this one, M = H for "cells",
        and c (N,H).
        """
        tokens = x.ndim == 2 and x.data.dtype.kind in "iu"
        x = x if tokens else floating(x, self.weight_ih.dtype)
        if not tokens and (x.ndim != 3 or x.shape[2] != self.input_size):
            raise ValueError(
                f"MemoryBlocks: x must be (N, T, {self.input_size}), or tokens (N, T), got shape {x.shape}"
            )
        inputs = [
            x,
            *self._initial(state, x.shape[0]),
            self.weight_ih,
            self.weight_hh,
            self.bias,
            self.peepholes,
        ]
        arrays, ctx = ops.memory_blocks(
            *[None if t is None else t.data for t in inputs],
            cells_per_block=self.cells_per_block,
            input_gate=self.input_gate,
            forget_gate=self.forget_gate,
            output_gate=self.output_gate,
            squash_input=self.squash_input,
            squash_state=self.squash_state,
            truncated=self.truncated,
            lengths=lengths,
        )
        y, u, c = record_many(arrays, inputs, ops.memory_blocks_backward, ctx)
        return y, (u, c)

    def _initial(self, state: Any, rows: int) -> list[Tensor]:
        widths = (self.weight_hh.shape[1], self.hidden_size)
        if state is None:
            return [Tensor(np.zeros((rows, width), self.weight_ih.dtype)) for width in widths]
        if not isinstance(state, (tuple, list)) or len(state) != 2:
            raise TypeError(f"MemoryBlocks: state must be a pair (u, c) or None, got {type(state).__name__}")
        dtype = self.weight_ih.dtype
        found = [
            s if isinstance(s, Tensor) else Tensor(check.array_of("MemoryBlocks", "state", s, dtype))
            for s in state
        ]
        for letter, part, width in zip("uc", found, widths, strict=True):
            if part.shape != (rows, width):
                raise ValueError(
                    f"MemoryBlocks: state {letter} must have shape {(rows, width)}, got {part.shape}"
                )
        return found

    def multiply_adds(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        """All weights for each step of each sequence."""
        return x_shape[0] * x_shape[1] * (self.weight_ih.size + self.weight_hh.size)
