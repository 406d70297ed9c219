"""Few sequences and many, with and without a way back, take other paths to the same bits."""

import numpy as np
import pytest

from lamina import config, ops
from tests.ops.case import SEQUENCES

THREADS = (1, 2, 3)
CELLS = [
    ("rnn", {"nonlinearity": "tanh"}),
    ("rnn", {"nonlinearity": "satlin"}),
    ("gru", {}),
    ("gru", {"reset_after": False}),
    ("lstm", {}),
]


def _arrays(op, options, n, t, d, h, dtype, masks):
    rng = np.random.default_rng(3)
    gates, biases = SEQUENCES[op]
    biases = biases if options.get("reset_after", True) else gates
    shapes = {"x": (n, t, d), "h0": (n, h)} | ({"c0": (n, h)} if op == "lstm" else {})
    shapes |= {"w_ih": (gates * h, d), "w_hh": (gates * h, h), "b": (biases * h,)}
    found = {name: (rng.standard_normal(shape) / 4).astype(dtype) for name, shape in shapes.items()}
    if masks:
        zones = ("zone_h", "zone_c") if op == "lstm" else ("zone_h",)
        found["recurrent_mask"] = rng.integers(0, 2, (n, h)).astype(dtype)
        found |= {zone: rng.integers(0, 2, (n, t, h)).astype(dtype) for zone in zones}
    return found


def _of(rows, arrays):
    shared = ("w_ih", "w_hh", "b")
    return {name: a if name in shared else a[rows] for name, a in arrays.items()}


def _same(found, right):
    for a, b in zip(found, right, strict=True):
        np.testing.assert_array_equal(a.view(f"u{a.itemsize}"), b.view(f"u{b.itemsize}"))


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("masks", [False, True], ids=["plain", "masks"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("size", [(5, 6, 7, 9), (6, 4, 33, 40), (5, 3, 20, 264)], ids=str)
@pytest.mark.parametrize(("op", "options"), CELLS, ids=lambda value: str(value))
def test_alone_or_among_others(op, options, size, reverse, masks, dtype):
    arrays = _arrays(op, options, *size, dtype, masks)
    call, options = getattr(ops, op), options | {"reverse": reverse}
    together, _ = call(**arrays, **options)
    for threads in THREADS:
        config.backend().set_num_threads(threads)
        for count in (1, 2, 3):
            some, _ = call(**_of(slice(count), arrays), **options)
            _same(some, [y[:count] for y in together])


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("tokens", [False, True], ids=["vectors", "tokens"])
@pytest.mark.parametrize("lengths", [None, (4, 6, 0, 1, 3)], ids=["equal", "ragged"])
@pytest.mark.parametrize("masks", [False, True], ids=["plain", "masks"])
@pytest.mark.parametrize(("op", "options"), CELLS, ids=lambda value: str(value))
def test_forgetting_changes_nothing(op, options, masks, lengths, tokens):
    arrays = _arrays(op, options, 5, 6, 7, 18, np.float32, masks)
    if tokens:
        arrays["x"] = np.random.default_rng(4).integers(0, 7, (5, 6))
    call, options = getattr(ops, op), options | {"lengths": lengths}
    kept, ctx = call(**arrays, **options)
    for threads in THREADS:
        config.backend().set_num_threads(threads)
        forgotten, less = call(**arrays, **options, keep=False)
        _same(forgotten, kept)
        assert less.arrays[-1].size < ctx.arrays[-1].size


@pytest.mark.usefixtures("isa")
def test_no_way_back_from_what_was_forgotten():
    arrays = _arrays("lstm", {}, 5, 6, 7, 18, np.float32, masks=False)
    (y, h, c), ctx = ops.lstm(**arrays, keep=False)
    with pytest.raises(ValueError, match="shape"):
        ops.lstm_backward(y, h, c, ctx)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("lengths", [None, (3, 1, 0, 2, 3)], ids=["equal", "ragged"])
@pytest.mark.parametrize(("op", "options"), CELLS, ids=lambda value: str(value))
def test_threads_share_steps_or_sequences(op, options, lengths):
    """With five large sequences, one thread walks through each by itself; two and three share every step."""
    arrays = _arrays(op, options, 5, 3, 300, 560, np.float32, masks=False)
    call, back = getattr(ops, op), getattr(ops, f"{op}_backward")
    found = []
    for threads in THREADS:
        config.backend().set_num_threads(threads)
        made, ctx = call(**arrays, **options, lengths=lengths)
        found.append([*made, *back(*made, ctx)])
    for others in found[1:]:
        _same(others, found[0])
