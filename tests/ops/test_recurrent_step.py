"""One step through a packed stack is what the layers' own ops and a product give."""

import re

import numpy as np
import pytest

from lamina import ops

CELLS = {"rnn_tanh": (1, 1, 1), "rnn_relu": (1, 1, 1), "gru": (3, 4, 1), "lstm": (4, 4, 2)}
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def _stack(cell, v, h, count, outputs, dtype):
    """(w_ih, w_hh, b) of each layer; w, b of the dense one."""
    rng, (gates, biases, _) = np.random.default_rng(0), CELLS[cell]
    shapes = [[(gates * h, v if i == 0 else h), (gates * h, h), (biases * h,)] for i in range(count)]
    layers = [[(rng.standard_normal(s) / 2).astype(dtype) for s in one] for one in shapes]
    return layers, rng.standard_normal((outputs, h)).astype(dtype), rng.standard_normal(outputs).astype(dtype)


def _by_layers(cell, layers, w, b, tokens, state):
    """-> logits of each step (T,O), the last state."""
    op, options = getattr(ops, cell.partition("_")[0]), {}
    if cell.startswith("rnn"):
        options["nonlinearity"] = cell.partition("_")[2]
    x, last = tokens[None], []
    for layer, before in zip(layers, state, strict=True):
        (x, *parts), _ = op(x, *before[:, None], *layer, **options)
        last.append(np.concatenate(parts))
    return ops.linear(x[0], w, b)[0], np.stack(last)


@pytest.mark.usefixtures("machine")
@DTYPES
@pytest.mark.parametrize(
    ("v", "h", "count", "outputs"), [(1, 1, 1, 1), (7, 5, 2, 7), (5, 70, 3, 130), (9, 64, 1, 64)]
)
@pytest.mark.parametrize("cell", CELLS)
def test_the_layers_own_steps(cell, v, h, count, outputs, dtype):
    layers, w, b = _stack(cell, v, h, count, outputs, dtype)
    layers = [[a / h for a in layer] for layer in layers]  # or relu grows from step to step
    rng = np.random.default_rng(1)
    tokens = rng.integers(0, v, 6)
    state = rng.standard_normal((count, CELLS[cell][2], h)).astype(dtype)
    right, right_state = _by_layers(cell, layers, w, b, tokens, state)
    plan, before = ops.recurrent_plan(cell, layers, w, b), state.copy()
    for token, logits_right in zip(tokens, right, strict=True):
        given = state.copy()
        logits, following = ops.recurrent_step(plan, int(token), state)
        np.testing.assert_array_equal(state, given)
        np.testing.assert_allclose(logits, logits_right, rtol=0, atol=64 * h * np.finfo(dtype).eps)
        assert logits.dtype == following.dtype == dtype
        state = following
    np.testing.assert_allclose(state, right_state, rtol=0, atol=64 * np.finfo(dtype).eps)
    assert not np.array_equal(state, before)


@pytest.mark.usefixtures("machine")
def test_whole_numbers_are_exact():
    layers, w, b = _stack("rnn_relu", 4, 67, 2, 9, np.float32)
    layers, w, b = [[np.round(2 * a) for a in layer] for layer in layers], np.round(w), np.round(b)
    state = np.random.default_rng(1).integers(-3, 4, (2, 1, 67)).astype(np.float32)
    right, right_state = _by_layers("rnn_relu", layers, w, b, np.array([3]), state)
    logits, following = ops.recurrent_step(ops.recurrent_plan("rnn_relu", layers, w, b), 3, state)
    np.testing.assert_array_equal(logits, right[0])
    np.testing.assert_array_equal(following, right_state)
    assert np.count_nonzero(logits) > 5


def test_the_same_bits_for_any_number_of_threads(isa):
    from lamina import config

    layers, w, b = _stack("lstm", 6, 500, 2, 300, np.float32)
    plan, state = ops.recurrent_plan("lstm", layers, w, b), np.ones((2, 2, 500), np.float32)
    found = []
    for threads in (1, 2, 3, 16):
        config.set_num_threads(threads)
        found.append([a.tobytes() for a in ops.recurrent_step(plan, 4, state)])
    assert found == [found[0]] * 4


@pytest.mark.usefixtures("machine")
def test_without_a_bias_and_with_nan():
    layers, w, _ = _stack("gru", 4, 5, 1, 3, np.float32)
    plan = ops.recurrent_plan("gru", layers, w)
    state = np.zeros((1, 1, 5), np.float32)
    zero = ops.recurrent_plan("gru", layers, w, np.zeros(3, np.float32))
    np.testing.assert_array_equal(
        ops.recurrent_step(plan, 1, state)[0], ops.recurrent_step(zero, 1, state)[0]
    )
    state[0, 0, 2] = np.nan
    assert np.isnan(ops.recurrent_step(plan, 1, state)[0]).all()


def test_the_plan_is_a_copy():
    layers, w, b = _stack("lstm", 4, 5, 2, 3, np.float32)
    plan, state = ops.recurrent_plan("lstm", layers, w, b), np.zeros((2, 2, 5), np.float32)
    before, _ = ops.recurrent_step(plan, 0, state)
    for array in (*layers[0], *layers[1], w, b):
        array += 1
    np.testing.assert_array_equal(ops.recurrent_step(plan, 0, state)[0], before)


def _plan(cell="lstm", **changed):
    layers, w, b = _stack("lstm", 4, 5, 2, 3, np.float32)
    given = {"layers": layers, "w": w, "b": b} | changed
    return ops.recurrent_plan(cell, given["layers"], given["w"], given["b"])


_GOOD = _stack("lstm", 4, 5, 2, 3, np.float32)[0]
_STATE = np.zeros((2, 2, 5), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: _plan("elman"),
            ValueError,
            "recurrent_plan: unknown cell 'elman': expected one of 'rnn_tanh'",
        ),
        (lambda: _plan(layers=[]), ValueError, "recurrent_plan: layers is empty"),
        (
            lambda: _plan(layers=[_GOOD[0], _GOOD[0]]),
            ValueError,
            "recurrent_plan: w_ih of layer 1 must have shape (20, 5), (GH, D) with the H of w, got (20, 4)",
        ),
        (
            lambda: _plan(layers=[[_GOOD[0][0], _GOOD[0][1][:, 1:], _GOOD[0][2]]]),
            ValueError,
            "recurrent_plan: w_hh of layer 0 must have shape (20, 5)",
        ),
        (lambda: _plan("gru"), ValueError, "recurrent_plan: w_ih of layer 0 must have shape (15, 4)"),
        (
            lambda: _plan(layers=[[*_GOOD[0][:2], _GOOD[0][2][1:]]]),
            ValueError,
            "recurrent_plan: b of layer 0 must have shape (20,), one per gate and unit, got (19,)",
        ),
        (lambda: _plan(b=np.zeros(4, np.float32)), ValueError, "recurrent_plan: b must have shape (3,)"),
        (lambda: _plan(w=np.zeros(4, np.float32)), ValueError, "recurrent_plan: w must have 2 axes, OH"),
        (lambda: _plan(w=np.zeros((3, 5))), TypeError, "recurrent_plan: the arrays must share one dtype"),
        (
            lambda: ops.recurrent_step(_plan(), 4, _STATE),
            ValueError,
            "recurrent_step: token 4 is out of range: the first layer takes 0..3",
        ),
        (
            lambda: ops.recurrent_step(_plan(), -1, _STATE),
            ValueError,
            "recurrent_step: token -1 is out of range",
        ),
        (
            lambda: ops.recurrent_step(_plan(), 0, _STATE[:, :1]),
            ValueError,
            "recurrent_step: state must have shape (2, 2, 5), (layers, parts, H), got (2, 1, 5)",
        ),
        (
            lambda: ops.recurrent_step(_plan(), 0, _STATE.astype(np.float64)),
            TypeError,
            "recurrent_step: the arrays must share one dtype",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()
