"""Error bounds of sigmoid and tanh in units in the last place, over the whole range of the type."""

import numpy as np
import pytest

from lamina import ops

pytestmark = pytest.mark.usefixtures("machine")


def _sweep(dtype):
    """Numbers of every exponent and sign, and a dense part where the functions bend."""
    info = np.finfo(dtype)
    unsigned = np.uint32 if dtype == np.float32 else np.uint64
    patterns = np.linspace(0, 2.0**info.bits - 2.0 ** (info.bits - 20), 60_001).astype(unsigned)
    spread = patterns.view(dtype)
    bent = np.concatenate([np.linspace(-s, s, 20_001) for s in (0.01, 0.3, 1, 3, 10, 100, 750)]).astype(dtype)
    return np.concatenate([spread[np.isfinite(spread)], bent])


def _ulps(found, right, dtype):
    """Distance in units in the last place of the right answer, or of the least normal number below it."""
    least = np.finfo(dtype).tiny
    unit = np.spacing(np.maximum(np.abs(right), least).astype(dtype)).astype(right.dtype)
    error = np.abs(found.astype(right.dtype) - right)
    # A result below the normal numbers may be flushed to 0.
    return np.where(np.abs(right) < least, np.where(error <= least, 0, error / unit), error / unit)


def _wide(dtype):
    wide = np.float64 if dtype == np.float32 else np.longdouble
    assert np.finfo(wide).nmant >= np.finfo(dtype).nmant + 10, "no wider type to compare with"
    return wide


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_within_3_ulp(dtype):
    x = _sweep(dtype)
    y, _ = ops.sigmoid(x)
    with np.errstate(over="ignore"):
        right = 1 / (1 + np.exp(-x.astype(_wide(dtype))))
    ulps = _ulps(y, right, dtype)
    assert ulps.max() <= 3, f"{ulps.max()} ulp at {x[ulps.argmax()]!r}"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tanh_within_3_ulp_or_5(dtype):
    x = _sweep(dtype)
    y, _ = ops.tanh(x)
    ulps = _ulps(y, np.tanh(x.astype(_wide(dtype))), dtype)
    assert ulps.max() <= (3 if dtype == np.float32 else 5), f"{ulps.max()} ulp at {x[ulps.argmax()]!r}"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_special_values(dtype):
    x = np.array([np.inf, -np.inf, 0.0, -0.0, np.nan], dtype)
    np.testing.assert_array_equal(ops.sigmoid(x)[0], np.array([1, 0, 0.5, 0.5, np.nan], dtype))
    np.testing.assert_array_equal(ops.tanh(x)[0], np.array([1, -1, 0, 0, np.nan], dtype))
    np.testing.assert_array_equal(np.signbit(ops.tanh(x)[0][:4]), [False, True, False, True])
    np.testing.assert_array_equal(ops.relu(x)[0], np.array([np.inf, 0, 0, 0, np.nan], dtype))


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_element_does_not_depend_on_its_place(name, dtype):
    """Vector loops and their tails compute the same function."""
    x = np.random.default_rng(0).standard_normal(133).astype(dtype) * 4
    whole, _ = getattr(ops, name)(x)
    alone = np.array([getattr(ops, name)(x[i : i + 1])[0][0] for i in range(x.size)])
    np.testing.assert_array_equal(whole, alone)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_of_huge_logits(name, dtype):
    top = np.finfo(dtype).max
    x = np.array([[top, top, -top], [1e4, 0, -1e4], [-1e4, -1e4, -1e4]], dtype)
    right = np.array([[0.5, 0.5, 0], [1, 0, 0], [1 / 3] * 3])
    y, _ = getattr(ops, name)(x)
    np.testing.assert_allclose(np.exp(y) if name == "log_softmax" else y, right, rtol=1e-6)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_of_special_values(name):
    inf, nan = np.inf, np.nan
    x = np.array([[0, nan, 1], [0, inf, 1], [-inf, -inf, -inf], [0, -inf, 0]], np.float32)
    y, _ = getattr(ops, name)(x)
    assert np.isnan(y[:3]).all()
    np.testing.assert_allclose(np.exp(y[3]) if name == "log_softmax" else y[3], [0.5, 0, 0.5], rtol=1e-6)


def test_cross_entropy_of_special_values():
    inf, nan = np.inf, np.nan
    x = np.array([[0, nan, 1], [0, inf, 1], [-inf, -inf, -inf], [0, -inf, 0], [0, -inf, 0]], np.float32)
    losses, _ = ops.softmax_cross_entropy(x, np.array([0, 1, 2, 0, 1]))
    assert np.isnan(losses[:3]).all()
    np.testing.assert_allclose(losses[3:], [np.log(2), np.inf], rtol=1e-6)


def test_cross_entropy_of_huge_logits():
    x = np.array([[3e38, -3e38], [3e38, 3e38]], np.float32)
    losses, ctx = ops.softmax_cross_entropy(x, np.array([0, 1]))
    np.testing.assert_allclose(losses, [0, np.log(2)], rtol=1e-6)
    dx = ops.softmax_cross_entropy_backward(np.ones(2, np.float32), ctx)
    np.testing.assert_allclose(dx, [[0, 0], [0.5, -0.5]], atol=1e-6)
