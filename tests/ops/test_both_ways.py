"""Two directions at once give the bits of one and then the other, side by side."""

import numpy as np
import pytest

from lamina import config, ops
from lamina.ops.both_ways import both_ways, both_ways_backward
from tests.ops.case import SEQUENCES

CELLS = [
    ("rnn", {"nonlinearity": "relu"}),
    ("gru", {}),
    ("gru", {"reset_after": False}),
    ("lstm", {}),
]
N, T, D, H = 7, 5, 6, 34


def _states(op, rng, rows):
    return [rng.standard_normal((rows, H)).astype(np.float32) for _ in range(1 + (op == "lstm"))]


def _weights(op, options, rng):
    gates, biases = SEQUENCES[op]
    biases = biases if options.get("reset_after", True) else gates
    shapes = (gates * H, D), (gates * H, H), (biases * H,)
    return [(rng.standard_normal(shape) / 4).astype(np.float32) for shape in shapes]


def _masks(op, rng, rows):
    names = {"recurrent_mask": (rows, H), "zone_h": (rows, T, H)}
    names |= {"zone_c": (rows, T, H)} if op == "lstm" else {}
    return {name: rng.integers(0, 2, shape).astype(np.float32) for name, shape in names.items()}


def _equal(found, right):
    for a, b in zip(found, right, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("rows", [1, N])
@pytest.mark.parametrize("masked", [False, True], ids=["plain", "masked"])
@pytest.mark.parametrize("lengths", [None, (3, 5, 0, 1, 5, 2, 2)], ids=["equal", "ragged"])
@pytest.mark.parametrize("tokens", [False, True], ids=["vectors", "tokens"])
@pytest.mark.parametrize(("op", "options"), CELLS, ids=lambda value: str(value))
def test_the_bits_of_each_way(op, options, tokens, lengths, masked, rows):
    rng = np.random.default_rng(5)
    shape = (rows, T) if tokens else (rows, T, D)
    x = rng.integers(0, D, shape) if tokens else rng.standard_normal(shape).astype(np.float32)
    lengths = None if lengths is None else lengths[:rows]
    given = [[*_states(op, rng, rows), *_weights(op, options, rng)] for _ in range(2)]
    masks = [_masks(op, rng, rows) if masked else {} for _ in range(2)]
    (y, *last), ctx = both_ways(op, x, *given, lengths=lengths, masks=masks, **options)
    dy = rng.standard_normal(y.shape).astype(np.float32)
    d_last = [rng.standard_normal(a.shape).astype(np.float32) for a in last]
    dx, *grads = both_ways_backward(dy, *d_last, ctx, True)
    half, count = len(last) // 2, len(grads) // 2
    dxs = []
    for i in range(2):
        columns = slice(i * H, (i + 1) * H)
        made, one = getattr(ops, op)(x, *given[i], lengths=lengths, reverse=i == 1, **masks[i], **options)
        _equal([y[..., columns], *last[i * half : (i + 1) * half]], made)
        back = getattr(ops, f"{op}_backward")
        d = np.ascontiguousarray(dy[..., columns]), *d_last[i * half : (i + 1) * half]
        part, *right = back(*d, one)
        dxs.append(part)
        _equal(grads[i * count : (i + 1) * count], right)
    if tokens:
        assert dx is None
        assert dxs == [None, None]
    else:
        np.testing.assert_array_equal(dx, dxs[0] + dxs[1])
        assert both_ways_backward(dy, *d_last, ctx, False)[0] is None


@pytest.mark.usefixtures("two_threads")
def test_forgetting_changes_nothing():
    rng = np.random.default_rng(6)
    x = rng.standard_normal((N, T, D)).astype(np.float32)
    given = [[*_states("lstm", rng, N), *_weights("lstm", {}, rng)] for _ in range(2)]
    kept, _ = both_ways("lstm", x, *given)
    forgotten, _ = both_ways("lstm", x, *given, keep=False)
    _equal(forgotten, kept)


@pytest.mark.skipif(not config.has_plans(), reason="the NumPy backend refuses by NumPy's own errors")
def test_blocks_that_do_not_exist():
    core, x = config.backend(), np.zeros((2, 3), np.float32)
    place, h, w = (np.arange(2), np.arange(3)), np.zeros((1, 4), np.float32), np.zeros((4, 4), np.float32)
    call = ("rnn_tanh", x, *place, h, None, w[:, :3].copy(), w, w[0], None, None, None, True)
    for blocks, block in ((0, 0), (3, 0), (2, 2), (2, -1), (2**62, 1)):
        with pytest.raises(ValueError, match="blocks must be 1 or 2"):
            core.sequence(*call, blocks, block)
    with pytest.raises(ValueError, match=r"y must have shape \(2, 8\)"):
        core.sequence(*call, 2, 1, np.zeros((2, 4), np.float32))
