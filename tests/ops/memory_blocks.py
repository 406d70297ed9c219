"""Memory blocks by their definition, cell by cell, with complex numbers for gradients.

The derivative along a direction v is the imaginary part of f(x + i h v) / h for a tiny h, without rounding of
differences; where an edge of the graph is cut, the imaginary part is dropped: that defines the truncated
gradient.
"""

import numpy as np

_TINY = 2.0**-300
_RANGE = {"in": 2, "state": 1}  # of "1997", each way


def _logistic(x):
    e = np.exp(np.where(x.real > 0, -x, x))
    return np.where(x.real > 0, 1, e) / (1 + e)


def _squash(kind, where, x):
    if kind == "1997":
        return _RANGE[where] * (2 * _logistic(x) - 1)
    return {"tanh": np.tanh, "logistic": _logistic, "identity": np.positive}[kind](x)


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
    if "b" not in arrays:
        return np.zeros((1, 1, count))
    b = arrays["b"]
    full = np.zeros((len(b), count), complex)
    whole = b.shape[1] == count
    biased = range(count) if whole else [r for name in rows if name != "g" for r in rows[name]]
    full[:, list(biased)] = b
    return full[:, None]


def _step(arrays, rows, x, u, c, options):
    """One step of some sequences: x (P, N, D), u (P, N, U), c (P, N, hidden)."""
    cells, hidden = options.get("cells_per_block", 1), c.shape[2]
    cut = (lambda v: v.real + 0j) if options.get("truncated") else (lambda v: v)
    w_ih, w_hh = (arrays[name].swapaxes(1, 2) for name in ("w_ih", "w_hh"))
    a = cut(x) @ w_ih + cut(u) @ w_hh + _bias(arrays, rows)
    gates = [name for name in rows if name != "g"]

    def opened(name, seen):
        found = []
        for block, row in enumerate(rows[name]):
            own, before = slice(block * cells, (block + 1) * cells), a[..., row]
            if "peepholes" in arrays:
                weights = arrays["peepholes"][:, None, gates.index(name), own]
                before = before + (cut(seen[..., own]) * weights).sum(axis=2)
            found.append(_logistic(before))
        return np.stack(found, axis=2)

    one = np.ones((*c.shape[:2], hidden // cells))
    i = opened("i", c) if "i" in rows else one
    f = opened("f", c) if "f" in rows else 1 - i if options.get("forget_gate") == "coupled" else one
    g = [_squash(options.get("squash_input", "tanh"), "in", a[..., row]) for row in rows["g"]]
    c = np.stack([f[..., k // cells] * c[..., k] + i[..., k // cells] * g[k] for k in range(hidden)], axis=2)
    o = opened("o", c) if "o" in rows else one
    h = [_squash(options.get("squash_state", "tanh"), "state", c[..., k]) for k in range(hidden)]
    y = np.stack([o[..., k // cells] * h[k] for k in range(hidden)], axis=2)
    sent = np.concatenate([y, *({"i": i, "f": f, "o": o}[name] for name in gates)], axis=2)
    return y, sent[..., : u.shape[2]], c


def _outputs(arrays, lengths=None, reverse=False, **options):
    """y, u, c of arrays with one axis more, the first: P versions of the arrays that differ, or 1."""
    hidden, versions = arrays["c0"].shape[2], max(map(len, arrays.values()))
    rows = layout(hidden, **options)
    _, n, steps, _ = arrays["x"].shape
    lengths = np.full(n, steps) if lengths is None else np.array(lengths)
    y = np.zeros((versions, n, steps, hidden), complex)
    u, c = (np.repeat(a, versions // len(a), axis=0) + 0j for a in (arrays["u0"], arrays["c0"]))
    for step in range(steps):
        on = np.flatnonzero(step < lengths)  # sequences that have a step left
        t = lengths[on] - 1 - step if reverse else np.full(len(on), step)
        if len(on):
            x = arrays["x"][:, on, t]
            y[:, on, t], u[:, on], c[:, on] = _step(arrays, rows, x, u[:, on], c[:, on], options)
    return y, u, c


def memory_blocks(arrays, **options):
    """-> y, u, c."""
    single = {name: value[None] for name, value in arrays.items()}
    return tuple(out[0].real for out in _outputs(single, **options))


def memory_blocks_backward(dys, arrays, **options):
    """Gradients by name, one element after the other, a hundred of them at a time."""
    grads = {name: np.zeros(value.shape) for name, value in arrays.items()}
    single = {name: value[None] for name, value in arrays.items()}
    for name, value in arrays.items():
        for start in range(0, value.size, 100):
            places = np.arange(start, min(start + 100, value.size))
            moved = np.repeat(single[name] + 0j, len(places), axis=0)
            moved.reshape(len(places), -1)[np.arange(len(places)), places] += 1j * _TINY
            outputs = _outputs(single | {name: moved}, **options)
            felt = sum(np.tensordot(y.imag, dy, dy.ndim) for y, dy in zip(outputs, dys, strict=True))
            grads[name].flat[places] = felt / _TINY
    return grads


def case(n, t, d, blocks, sent="cells", bias="all", peepholes=False, **options):
    """Name, shapes and options of a case. sent: what goes back, "nothing", "cells" or "all"."""
    hidden = blocks * options.get("cells_per_block", 1)
    rows = layout(hidden, **options)
    gates = sum(len(rows[name]) for name in rows if name != "g")
    width = {"nothing": 0, "cells": hidden, "all": hidden + gates}[sent]
    shapes = {"x": (n, t, d), "u0": (n, width), "c0": (n, hidden)}
    shapes |= {"w_ih": (hidden + gates, d), "w_hh": (hidden + gates, width)}
    if bias:
        shapes["b"] = (hidden + gates if bias == "all" else gates,)
    if peepholes:
        shapes["peepholes"] = (len(rows) - 1, hidden)
    words = [f"{n}x{t}x{d}x{blocks}", sent, str(bias), *(["peepholes"] if peepholes else [])]
    words += [f"{name}={value}".replace(" ", "") for name, value in options.items()]
    return "-".join(words), shapes, options


_LINEAR = {
    "input_gate": False,
    "forget_gate": False,
    "output_gate": False,
    "squash_input": "identity",
    "squash_state": "identity",
}
# Sums alone, and small enough that every one is a whole number in float32 too.
WHOLE = [
    case(3, 3, 2, 3, **_LINEAR),
    case(2, 2, 3, 2, bias=None, cells_per_block=2, reverse=True, **_LINEAR),
    case(4, 3, 2, 2, cells_per_block=3, lengths=(1, 3, 0, 2), **_LINEAR),
    case(4, 3, 2, 4, lengths=(3, 2, 3, 3), reverse=True, truncated=True, **_LINEAR),
    case(20, 1, 5, 17, sent="nothing", **_LINEAR),
]
_1997 = {"forget_gate": False, "squash_input": "1997", "squash_state": "1997"}
BLOCKS = [
    case(1, 1, 1, 1),
    case(2, 1, 2, 2, sent="all", cells_per_block=2, peepholes=True, truncated=True, **_1997),
    case(2, 2, 3, 2, sent="all", bias="gates", cells_per_block=2, truncated=True, **_1997),
    case(1, 2, 3, 2, sent="all", peepholes=True, reverse=True),
    case(3, 4, 3, 3, sent="all", bias="gates", cells_per_block=2, **_1997),
    case(3, 4, 3, 3, cells_per_block=2, peepholes=True, lengths=(4, 0, 2)),
    case(3, 4, 3, 3, cells_per_block=2, peepholes=True, lengths=(4, 0, 2), truncated=True, reverse=True),
    case(3, 4, 2, 2, sent="all", peepholes=True, forget_gate="coupled", cells_per_block=2),
    case(3, 4, 2, 4, sent="all", bias=None, forget_gate="coupled", truncated=True, lengths=(1, 4, 3)),
    case(
        2,
        4,
        3,
        1,
        sent="nothing",
        bias=None,
        output_gate=False,
        forget_gate=False,
        squash_input="logistic",
        squash_state="identity",
        truncated=True,
    ),
    case(2, 3, 3, 2, sent="all", input_gate=False, peepholes=True, squash_state="logistic"),
    case(2, 3, 3, 2, sent="all", output_gate=False, peepholes=True, lengths=(3, 1), reverse=True),
    case(0, 3, 2, 4),
    case(3, 0, 2, 2, sent="all", cells_per_block=2, peepholes=True),
    case(17, 2, 4, 19, lengths=tuple(i % 3 for i in range(17))),
]
