"""What a recurrent layer computed inside, at every step: its gates and its memory."""

import numpy as np

from lamina.ops._check import Array
from lamina.ops.sequence import SequenceContext

_GATES = {"lstm": "ifgo", "gru": "rzn", "gru_before": "rzn"}


def sequence_activations(ctx: SequenceContext) -> dict[str, Array]:
    """The context of `rnn`, `gru` or `lstm` -> arrays (N,T,H) by name, zero beyond the end of a sequence.

    LSTM: gates i, f, o and candidate g after their nonlinearities, the cell state c and the output h. GRU:
    gates r and z, candidate n, h. RNN: h.
    """
    y, (kept, gates) = ctx.y, ctx.arrays[-2:]
    shape = (*ctx.shape, y.shape[1])
    rows = {}
    if ctx.cell in _GATES:
        names = _GATES[ctx.cell]
        rows = dict(zip(names, np.split(gates, len(names), axis=1), strict=True))
    if ctx.cell == "lstm":
        rows["c"] = kept
    found = {}
    for name, packed in rows.items():
        found[name] = np.zeros_like(y)
        found[name][ctx.packing.source] = packed
    return {name: array.reshape(shape) for name, array in {**found, "h": y.copy()}.items()}
