"""Memory blocks: every option against the definition, the LSTM as a special case, tokens, bad input."""

from itertools import product

import numpy as np
import pytest

from lamina import config, ops
from tests.ops import memory_blocks as definition

MACHINES = pytest.mark.usefixtures("machine")
NAMES = ("x", "u0", "c0", "w_ih", "w_hh", "b", "peepholes")


def _call(shapes, options, dtype=np.float64, seed=0):
    """-> arrays, outputs, gradients sent back, gradients by name."""
    rng = np.random.default_rng(seed)
    arrays = {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}
    y, ctx = ops.memory_blocks(**arrays, **options)
    dys = [rng.standard_normal(out.shape).astype(dtype) for out in y]
    grads = dict(zip(NAMES, ops.memory_blocks_backward(*dys, ctx), strict=True))
    return arrays, y, dys, grads


def _drawn():
    """Sixty of all combinations of options."""
    combinations = product(
        (1, 3),  # cells per block
        (True, False),  # input gate
        (True, False, "coupled"),
        (True, False),  # output gate
        ("tanh", "logistic", "identity", "1997"),
        ("tanh", "logistic", "identity", "1997"),
        ("nothing", "cells", "all"),
        ("all", "gates", None),
        (False, True),  # peepholes
        (False, True),  # truncated
    )
    possible = [c for c in combinations if (c[1] or c[2] != "coupled") and (c[1] or c[2] or c[3])]
    return [possible[i] for i in np.random.default_rng(0).choice(len(possible), 60, replace=False)]


_right_answers = {}


@pytest.mark.parametrize("drawn", _drawn(), ids=lambda drawn: "-".join(map(str, drawn)))
@pytest.mark.parametrize("backend", ["default", "numpy"])
def test_every_option_and_its_truncated_gradient(drawn, backend):
    cells, i, f, o, squash_input, squash_state, sent, bias, peepholes, truncated = drawn
    gates = {"input_gate": i, "forget_gate": f, "output_gate": o}
    options = gates | {"squash_input": squash_input, "squash_state": squash_state, "truncated": truncated}
    _, shapes, options = definition.case(
        3, 3, 2, 2, sent, bias, peepholes, cells_per_block=cells, lengths=(2, 0, 3), **options
    )
    if backend == "numpy":
        with config.use_backend("numpy"):
            arrays, y, dys, grads = _call(shapes, options)
    else:
        arrays, y, dys, grads = _call(shapes, options)
    key = str(drawn)  # the same data for both backends
    if key not in _right_answers:
        backward = definition.memory_blocks_backward(dys, arrays, **options)
        _right_answers[key] = definition.memory_blocks(arrays, **options), backward
    right_y, right_grads = _right_answers[key]
    for found, right in zip(y, right_y, strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-12, atol=1e-12)
    for name, right in right_grads.items():
        np.testing.assert_allclose(grads[name], right, rtol=1e-10, atol=1e-10, err_msg=name)


@MACHINES
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [None, (2, 5, 0, 1)])
def test_one_cell_a_block_and_all_gates_is_the_lstm(lengths, reverse, dtype):
    _, shapes, _ = definition.case(4, 5, 3, 6)
    options = {"lengths": lengths, "reverse": reverse}
    arrays, y, dys, grads = _call(shapes, options, dtype)
    right_y, ctx = ops.lstm(*arrays.values(), **options)
    near = 200 * np.finfo(dtype).eps
    for found, right in zip(y, right_y, strict=True):
        np.testing.assert_allclose(found, right, rtol=near, atol=near)
    for found, right in zip(grads.values(), ops.lstm_backward(*dys, ctx), strict=False):
        np.testing.assert_allclose(found, right, rtol=near, atol=20 * near)


@MACHINES
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("truncated", [False, True])
def test_tokens_are_one_hot_vectors(truncated, dtype):
    rng = np.random.default_rng(0)
    _, shapes, options = definition.case(4, 5, 7, 3, "all", cells_per_block=2, truncated=truncated)
    options |= {"lengths": (0, 5, 2, 1)}
    del shapes["x"]
    arrays = {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}
    tokens, results = rng.integers(0, 7, (4, 5)), []
    for x in (tokens, np.eye(7, dtype=dtype)[tokens]):
        y, ctx = ops.memory_blocks(x, **arrays, **options)
        results.append((y, ops.memory_blocks_backward(*[out + 1 for out in y], ctx)))
    near = 100 * np.finfo(dtype).eps
    (y, grads), (right_y, right) = results
    assert grads[0] is None
    for found, expected in zip((*y, *grads[1:6]), (*right_y, *right[1:6]), strict=True):
        np.testing.assert_allclose(found, expected, rtol=near, atol=near)


@MACHINES
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_without_forgetting_a_state_stays_whole(dtype):
    """Gates of exactly 0 or 1: closed input gates leave the state, open ones add 2, of either sign."""
    rng = np.random.default_rng(0)
    n, blocks, cells, steps = 3, 4, 2, 20
    hidden = blocks * cells
    w = np.zeros((2 * blocks + hidden, 2 * blocks + hidden), dtype)
    np.fill_diagonal(w, 1)
    x = (rng.choice([-2000.0, 2000.0], (n, steps, len(w)))).astype(dtype)
    c0 = rng.integers(-5, 6, (n, hidden)).astype(dtype)
    (_, _, c), _ = ops.memory_blocks(
        x,
        np.zeros((n, 0), dtype),
        c0,
        w,
        np.zeros((len(w), 0), dtype),
        cells_per_block=cells,
        forget_gate=False,
        squash_input="1997",
        squash_state="1997",
    )
    opened = np.repeat(x[:, :, :blocks] > 0, cells, axis=2)
    added = 2 * np.sign(x[:, :, blocks : blocks + hidden]) * opened
    np.testing.assert_array_equal(c, c0 + added.sum(axis=1))
    assert np.count_nonzero(c) > c.size / 2


@MACHINES
def test_nan_stays_in_its_sequence():
    _, shapes, options = definition.case(3, 4, 2, 9, "all", cells_per_block=2, peepholes=True)
    arrays = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    arrays["x"][1, 2] = np.nan
    (y, u, c), _ = ops.memory_blocks(**arrays, **options)
    for part in (y[1, 2:], u[1], c[1]):
        assert np.isnan(part).all()
    assert np.isfinite(y[[0, 2]]).all()
    assert np.isfinite(y[1, :2]).all()


def f(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


_GOOD = {"x": f(2, 4, 5), "u0": f(2, 6), "c0": f(2, 6), "w_ih": f(15, 5), "w_hh": f(15, 6), "b": f(15)}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": f(4, 5)}, r"memory_blocks: x must have 3 axes, NTD, got 2 \(shape \(4, 5\)\)"),
        ({"c0": f(6)}, r"memory_blocks: c0 must have 2 axes, NH"),
        ({"u0": f(3, 6)}, r"memory_blocks: u0 must have as many rows as x, 2, got \(3, 6\)"),
        ({"c0": f(3, 6)}, r"memory_blocks: c0 must have as many rows as x, 2, got \(3, 6\)"),
        ({"u0": f(2, 5)}, r"u0 must have 0, 6 \(cells\) or 15 \(cells and gates\) columns, got \(2, 5\)"),
        ({"c0": f(2, 7), "u0": f(2, 7)}, r"7 cells do not make blocks of 2 \(cells_per_block\)"),
        ({"w_ih": f(12, 5)}, r"w_ih must have shape \(15, 5\), \(rows i, f, g, o, D\), got \(12, 5\)"),
        ({"w_hh": f(15, 7)}, r"w_hh must have shape \(15, 6\), .* got \(15, 7\)"),
        (
            {"b": f(6)},
            r"b must have shape \(9,\), \(15,\) for all rows or that for the gates alone, got \(6,\)",
        ),
        ({"peepholes": f(2, 6)}, r"peepholes must have shape \(3, 6\), \(gates, H\), got \(2, 6\)"),
        ({"lengths": [4, 5]}, r"memory_blocks: lengths must lie in 0..4"),
        ({"cells_per_block": 0}, r"memory_blocks: cells_per_block must be at least 1, got 0"),
        ({"squash_input": "relu"}, r"memory_blocks: unknown squash_input 'relu': expected one of 'tanh', "),
        ({"squash_state": "2000"}, r"memory_blocks: unknown squash_state '2000'"),
        ({"input_gate": False, "forget_gate": "coupled"}, r"forget_gate 'coupled' is 1 - i and needs an"),
        ({"x": f(2, 4, 0), "w_ih": f(15, 0)}, r"memory_blocks: features and cells cannot be 0"),
        ({"x": np.full((2, 4), 5)}, r"memory_blocks: token 5 at \(0, 0\) is out of range: w_ih takes 0..4"),
    ],
)
def test_bad_values(changed, message):
    with pytest.raises(ValueError, match=message):
        ops.memory_blocks(**(_GOOD | {"cells_per_block": 2} | changed))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": [[[1.0]]]}, r"memory_blocks: x must be a NumPy array, got list"),
        ({"c0": f(2, 6, dtype=np.float64)}, r"memory_blocks: the arrays must share one dtype"),
        ({"input_gate": 1}, r"memory_blocks: input_gate must be True or False, got 1"),
        ({"forget_gate": "open"}, r"memory_blocks: forget_gate must be True or False, got 'open'"),
        ({"truncated": 0}, r"memory_blocks: truncated must be True or False, got 0"),
    ],
)
def test_bad_types(changed, message):
    with pytest.raises(TypeError, match=message):
        ops.memory_blocks(**(_GOOD | {"cells_per_block": 2} | changed))


def test_bad_gradients():
    y, ctx = ops.memory_blocks(**_GOOD, cells_per_block=2)
    dy, du, dc = (np.ones_like(out) for out in y)
    with pytest.raises(ValueError, match=r"dy has shape \(2, 4, 5\) but the output had shape \(2, 4, 6\)"):
        ops.memory_blocks_backward(dy[:, :, 1:], du, dc, ctx)
    with pytest.raises(ValueError, match=r"du_last has shape \(2, 5\) but the output had shape \(2, 6\)"):
        ops.memory_blocks_backward(dy, du[:, 1:], dc, ctx)
    with pytest.raises(TypeError, match=r"dc_last is float64 but the forward pass was float32"):
        ops.memory_blocks_backward(dy, du, dc.astype(float), ctx)
