"""Memory blocks that learn at every step, with traces instead of a way back through time: the 1997 algorithm.

With the truncated gradient, the derivative of a cell's state by a weight needs no more than itself one step
earlier: dc'/dw = f dc/dw + what w changes now. So a net can change its weights at each symbol of a stream
that never ends.
"""

from typing import Any

import numpy as np

from papers.online import Array, BlockNet, logistic


class TraceNet(BlockNet):
    """A BlockNet on one stream of tokens: `step` reads one, `correct` changes the weights by the error at it.

    `begin` forgets the stream. The learned weights are `w` (rows, inputs + sent back + 1) and `v` (outputs,
    cells + 1 + inputs), the 1 for biases; `end` copies them to where `outputs` finds them. Without peepholes.
    """

    def __init__(self, *sizes: int, **options: Any) -> None:
        super().__init__(*sizes, **options)
        blocks, start = self.cells // self.kind["cells_per_block"], 0
        self.rows: dict[str, slice] = {}
        for name in (name for name in "ifgo" if name in (*self.gates, "g")):
            self.rows[name] = slice(start, start + (self.cells if name == "g" else blocks))
            start = self.rows[name].stop
        biases = self.hidden.get("b", np.zeros(0))
        self.biased = np.ones(start, bool)
        if len(biases) < start:
            self.biased[self.rows["g"]] = False
        self.biased &= len(biases) > 0
        b = np.zeros(start)
        b[self.biased] = biases
        self.w = np.concatenate([self.hidden["w_ih"], self.hidden["w_hh"], b[:, None]], axis=1).astype(float)
        short = np.zeros((len(self.w_out), 0)) if self.w_short is None else self.w_short
        self.v = np.concatenate([self.w_out, self.b_out[:, None], short], axis=1).astype(float)
        self.begin()

    def begin(self) -> None:
        """Forget the stream: states and traces are zero."""
        self.u, self.c = np.zeros(self.width), np.zeros(self.cells)
        self.traces = {name: np.zeros((self.cells, self.w.shape[1])) for name in self.rows if name != "o"}

    def end(self) -> None:
        """Copy the weights to the arrays of the kernel."""
        first, second = self.inputs, self.inputs + self.width
        parts = {"w_ih": self.w[:, :first], "w_hh": self.w[:, first:second], "b": self.w[self.biased, -1]}
        self.hidden = {name: np.ascontiguousarray(parts[name], np.float32) for name in self.hidden}
        self.w_out, self.b_out = (
            self.v[:, : self.cells].astype(np.float32),
            self.v[:, self.cells].astype(np.float32),
        )
        if self.w_short is not None:
            self.w_short = self.v[:, self.cells + 1 :].astype(np.float32)

    def _squashed(self, which: str, x: Array) -> tuple[Array, Array]:
        """The value and the slope of a squashing function."""
        if self.kind[which] == "identity":
            return x, np.ones_like(x)
        y = logistic(x)
        if self.kind[which] == "logistic":
            return y, y * (1 - y)
        reach = 2 if which == "squash_input" else 1  # "1997"
        return reach * (2 * y - 1), 2 * reach * y * (1 - y)

    def step(self, token: int) -> Array:
        """-> outputs."""
        s, x = self.kind["cells_per_block"], np.zeros(self.inputs)
        x[token] = 1
        self.seen = np.concatenate([x, self.u, [1.0]])
        a = self.w @ self.seen
        opened = {name: logistic(a[self.rows[name]]) for name in self.gates}
        one = np.ones(self.cells)
        i, f, o = (np.repeat(opened[n], s) if n in opened else one for n in "ifo")
        g, slope = self._squashed("squash_input", a[self.rows["g"]])
        changes = {"i": g * i * (1 - i), "f": self.c * f * (1 - f), "g": i * slope}
        for name, trace in self.traces.items():
            if "f" in opened:
                trace *= f[:, None]
            trace += changes[name][:, None] * self.seen
        self.c = f * self.c + i * g
        self.h, self.slope = self._squashed("squash_state", self.c)
        self.o, y = o, o * self.h
        self.u = np.concatenate([y, *opened.values()])[: self.width]
        self.read = np.concatenate([y, [1.0], x if self.w_short is not None else x[:0]])
        self.out: Array = logistic(self.v @ self.read)
        return self.out

    def correct(self, target: Array, lr: float) -> None:
        """One step down the gradient of the error at the last token."""
        s = self.kind["cells_per_block"]
        dz = (self.out - target) * self.out * (1 - self.out)
        dy = dz @ self.v[:, : self.cells]
        dc = (dy * self.o * self.slope)[:, None]
        for name, rows in self.rows.items():
            if name == "o":
                do = (dy * self.h * self.o * (1 - self.o)).reshape(-1, s).sum(axis=1)
                change = do[:, None] * self.seen
            else:
                change = dc * self.traces[name]
                if name != "g":
                    change = change.reshape(-1, s, change.shape[1]).sum(axis=1)
            change[:, -1] *= self.biased[rows]
            self.w[rows] -= lr * change
        self.read[self.cells] = self.output_bias
        self.v -= (lr * dz)[:, None] * self.read
