"""Tokens into recurrent layers are vectors with a one at their place."""

import numpy as np
import pytest

from lamina import ops

pytestmark = pytest.mark.usefixtures("machine")
GATES = {"rnn": (1, 1), "gru": (3, 4), "lstm": (4, 4)}


def _call(op, x, rng, v, h, dtype, **options):
    gates, biases = GATES[op]
    n = len(x)
    states = [rng.standard_normal((n, h)).astype(dtype) for _ in range(1 + (op == "lstm"))]
    shapes = [(gates * h, v), (gates * h, h), (biases * h,)]
    weights = [(rng.standard_normal(shape) / 2).astype(dtype) for shape in shapes]
    outputs, ctx = getattr(ops, op)(x, *states, *weights, **options)
    dys = [rng.standard_normal(y.shape).astype(dtype) for y in outputs]
    return outputs, getattr(ops, f"{op}_backward")(*dys, ctx)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((1, 1, 1, 1), {}),
        ((3, 7, 5, 9), {}),
        ((4, 5, 30, 17), {"reverse": True}),
        ((4, 5, 3, 6), {"lengths": (0, 5, 2, 1)}),
        ((2, 0, 3, 4), {}),
    ],
)
@pytest.mark.parametrize("op", GATES)
def test_tokens_are_one_hot_vectors(op, size, options, dtype):
    """The same states bit for bit; the gradient of w_ih adds up in another order."""
    n, t, v, h = size
    tokens = np.random.default_rng(1).integers(0, v, (n, t))
    vectors = np.eye(v, dtype=dtype)[tokens]
    y, (dx, *grads) = _call(op, tokens, np.random.default_rng(0), v, h, dtype, **options)
    right_y, (_, *right) = _call(op, vectors, np.random.default_rng(0), v, h, dtype, **options)
    assert dx is None
    for found, expected in zip(y, right_y, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=8 * np.finfo(dtype).eps)
    for found, expected in zip(grads, right, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4 if dtype == np.float32 else 1e-11, atol=1e-5)


def test_tokens_of_other_integer_dtypes():
    x = np.array([[0, 2, 1]])
    for dtype in (np.uint8, np.int32, ">i8"):
        y, _ = _call("rnn", x.astype(dtype), np.random.default_rng(0), 3, 4, np.float32)
        right, _ = _call("rnn", x, np.random.default_rng(0), 3, 4, np.float32)
        np.testing.assert_array_equal(y[0], right[0])


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([[0, 3]], r"rnn: token 3 at \(0, 1\) is out of range: w_ih takes 0..2"),
        ([[-1, 0]], r"rnn: token -1 at \(0, 0\)"),
        ([[[0, 1]]], r"rnn: x must have 2 axes, NT"),
    ],
)
def test_bad_tokens(tokens, message):
    with pytest.raises(ValueError, match=message):
        _call("rnn", np.array(tokens), np.random.default_rng(0), 3, 4, np.float32)
