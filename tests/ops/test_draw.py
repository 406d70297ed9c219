"""Drawing: the inverse of the cumulative probabilities, at their borders, at every temperature."""

import re

import numpy as np
import pytest

from lamina import config, ops

MACHINES = pytest.mark.usefixtures("machine")
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@MACHINES
@DTYPES
def test_each_index_has_its_share_of_the_unit_interval(dtype):
    """Shares of 1/8, 1/2, 0, 1/4 and 1/8."""
    x = np.log(np.array([1, 4, 1, 2, 1], dtype))
    x[2] = -np.inf
    u = np.array([0, 0.124, 0.126, 0.624, 0.626, 0.874, 0.876, 1 - np.finfo(dtype).epsneg], dtype)
    found = ops.draw(np.repeat(x[None], len(u), axis=0), u)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, [0, 0, 1, 1, 3, 3, 4, 4])
    half = ops.draw(np.array([[0, 0, -np.inf]], dtype), np.array([0.5], dtype))  # shares that are exact
    np.testing.assert_array_equal(half, [1])


@MACHINES
def test_equal_shares_of_many():
    u = np.linspace(0, 1, 999, endpoint=False) + 1e-6
    np.testing.assert_array_equal(ops.draw(np.full((999, 1000), 7.0), u), (u * 1000).astype(int))


@MACHINES
@DTYPES
def test_never_one_without_probability(dtype):
    x = np.full((1, 40), -np.inf, dtype)
    x[0, [3, 17]] = 300, 299
    largest = 1 - np.finfo(dtype).epsneg
    for u in (0, 0.3, 0.9, largest):
        assert ops.draw(x, np.array([u], dtype))[0] in (3, 17)
    assert ops.draw(x, np.array([largest], dtype))[0] == 17


@MACHINES
@DTYPES
def test_temperature(dtype):
    rng = np.random.default_rng(0)
    x, u = np.repeat(rng.standard_normal((1, 9)).astype(dtype), 4000, axis=0), rng.random(4000, dtype)
    for temperature in (0.5, 1.0, 3.0):
        share = np.exp(x[0].astype(np.float64) / temperature)
        share /= share.sum()
        found = np.bincount(ops.draw(x, u, temperature=temperature), minlength=9) / 4000
        np.testing.assert_allclose(found, share, atol=0.03)  # four standard deviations of a share of one half
    best = x[0].argmax()
    for temperature in (0, 1e-300, 1e-3):
        assert (ops.draw(x, u, temperature=temperature) == best).all()


@MACHINES
def test_greatest_of_equals_and_empty_batches():
    assert ops.draw(
        np.array([[1, 5, 5, 0]], np.float32), np.array([0.9], np.float32), temperature=0
    ).tolist() == [1]
    assert ops.draw(np.zeros((0, 4)), np.zeros(0)).shape == (0,)


def test_the_same_for_any_number_of_threads(isa):
    rng = np.random.default_rng(0)
    x, u = rng.standard_normal((500, 401), np.float32), rng.random(500, np.float32)
    found = []
    for threads in (1, 2, 3, 16):
        config.set_num_threads(threads)
        found.append(ops.draw(x, u).tolist())
    assert found == [found[0]] * 4


X, U = np.zeros((2, 3)), np.array([0.125, 0.25])


def _with(value):
    x = X.copy()
    x[1, 0] = value
    return x


@MACHINES
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: ops.draw(_with(np.nan), U),
            ValueError,
            "draw: row 1 of x holds NaN, infinity or nothing to draw",
        ),
        (
            lambda: ops.draw(_with(np.inf), U, temperature=0),
            ValueError,
            "draw: row 1 of x holds NaN, infinity",
        ),
        (
            lambda: ops.draw(np.full((1, 2), -np.inf), U[:1]),
            ValueError,
            "draw: row 0 of x holds NaN, infinity",
        ),
        (
            lambda: ops.draw(X[:, :0], U),
            ValueError,
            "draw: row 0 of x holds NaN, infinity or nothing to draw",
        ),
        (lambda: ops.draw(X[0], U), ValueError, "draw: x must have 2 axes, MV, got 1"),
        (
            lambda: ops.draw(X, U[:1]),
            ValueError,
            "draw: u must have shape (2,), one for each row of x, got (1,)",
        ),
        (lambda: ops.draw(X, U + 0.875), ValueError, "draw: u must lie in [0,1), got [1.0, 1.125]"),
        (lambda: ops.draw(X, U - 0.25), ValueError, "draw: u must lie in [0,1), got [-0.125, 0.0]"),
        (
            lambda: ops.draw(X, U.astype(np.float32)),
            TypeError,
            "draw: the arrays must share one dtype, got x float64, u float32",
        ),
        (
            lambda: ops.draw(X, U, temperature=-1),
            ValueError,
            "draw: temperature must be finite and at least 0",
        ),
        (lambda: ops.draw(X.astype(int), U), TypeError, "draw: x must be float32 or float64, got int64"),
        (lambda: ops.draw(X, [0.1, 0.2]), TypeError, "draw: u must be a NumPy array, got list"),
        (
            lambda: ops.draw(X, U, temperature="hot"),
            TypeError,
            "draw: temperature must be a number, got 'hot'",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()
