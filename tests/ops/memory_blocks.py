"""Memory blocks by their definition, cell by cell, with complex numbers for gradients.

The derivative along a direction v is the imaginary part of f(x + i h v) / h for a tiny h, without rounding of
differences; where an edge of the graph is cut, the imaginary part is dropped: that defines the truncated
gradient.
"""

import numpy as np

_TINY = 2.0**-300
_RANGE = {"in": 2, "state": 1}  # of "1997", each way


def _logistic(x):
    return 1 / (1 + np.exp(-x)) if x.real > 0 else np.exp(x) / (1 + np.exp(x))


def _squash(kind, where, x):
    if kind == "1997":
        return _RANGE[where] * (2 * _logistic(x) - 1)
    return {"tanh": np.tanh, "logistic": _logistic, "identity": complex}[kind](x)


def layout(
    hidden, cells_per_block=1, input_gate=True, forget_gate=True, output_gate=True, squash_input="", **_
):
    """Which rows of the weights are whose: {"i": [...], ...}."""
    blocks, rows, start = hidden // cells_per_block, {}, 0
    present = {"i": input_gate, "f": forget_gate is True, "g": True, "o": output_gate}
    for name in (name for name, there in present.items() if there):
        size = hidden if name == "g" else blocks
        rows[name] = list(range(start, start + size))
        start += size
    return rows


def _bias(arrays, rows):
    count = sum(map(len, rows.values()))
    b, full = arrays.get("b"), np.zeros(count, complex)
    if b is None:
        return full
    biased = range(count) if len(b) == count else [r for name in rows if name != "g" for r in rows[name]]
    full[list(biased)] = b
    return full


def _step(arrays, rows, x, u, c, options):
    cells, hidden = options.get("cells_per_block", 1), len(c)
    cut = (lambda v: v.real + 0j) if options.get("truncated") else (lambda v: v)
    a = arrays["w_ih"] @ cut(x) + arrays["w_hh"] @ cut(u) + _bias(arrays, rows)
    gates = [name for name in rows if name != "g"]
    peepholes = dict(zip(gates, arrays["peepholes"], strict=True)) if "peepholes" in arrays else {}

    def opened(name, seen):
        found = []
        for block, row in enumerate(rows[name]):
            own = slice(block * cells, (block + 1) * cells)
            found.append(_logistic(a[row] + (peepholes[name][own] @ cut(seen[own]) if peepholes else 0)))
        return np.array(found)

    one = np.ones(hidden // cells)
    i = opened("i", c) if "i" in rows else one
    f = opened("f", c) if "f" in rows else 1 - i if options.get("forget_gate") == "coupled" else one
    g = np.array([_squash(options.get("squash_input", "tanh"), "in", a[row]) for row in rows["g"]])
    c = np.array([f[k // cells] * c[k] + i[k // cells] * g[k] for k in range(hidden)])
    o = opened("o", c) if "o" in rows else one
    h = [_squash(options.get("squash_state", "tanh"), "state", c[k]) for k in range(hidden)]
    y = np.array([o[k // cells] * h[k] for k in range(hidden)])
    sent = np.concatenate([y, *({"i": i, "f": f, "o": o}[name] for name in gates)])
    return y, sent[: len(u)], c


def _outputs(arrays, lengths=None, reverse=False, **options):
    rows = layout(arrays["c0"].shape[1], **options)
    n, steps, _ = arrays["x"].shape
    y = np.zeros((n, steps, arrays["c0"].shape[1]), complex)
    u, c = arrays["u0"].astype(complex), arrays["c0"].astype(complex)
    for row in range(n):
        length = steps if lengths is None else lengths[row]
        for t in range(length)[:: -1 if reverse else 1]:
            y[row, t], u[row], c[row] = _step(arrays, rows, arrays["x"][row, t], u[row], c[row], options)
    return y, u, c


def memory_blocks(arrays, **options):
    """-> y, u, c."""
    return tuple(out.real for out in _outputs(arrays, **options))


def memory_blocks_backward(dys, arrays, **options):
    """Gradients by name, one element after the other."""
    grads = {name: np.zeros(value.shape) for name, value in arrays.items()}
    for name, value in arrays.items():
        for place in np.ndindex(value.shape):
            moved = value.astype(complex)
            moved[place] += 1j * _TINY
            outputs = _outputs(arrays | {name: moved}, **options)
            grads[name][place] = sum(np.sum(y.imag * dy) for y, dy in zip(outputs, dys, strict=True)) / _TINY
    return grads
