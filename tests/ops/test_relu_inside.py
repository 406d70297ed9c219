"""Ops that take relu of what they compute give the bits of the op and relu one after the other."""

from itertools import product

import numpy as np
import pytest

from lamina import config, ops
from tests.ops import test_winograd as winograd
from tests.ops.case import Case
from tests.ops.cases import CONV2D, LINEAR, MAX_POOL2D

pytestmark = pytest.mark.usefixtures("two_threads")
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
_NAN = np.nan


def _bits(found, right, name=""):
    """Equal, the signs of zeros too."""
    np.testing.assert_array_equal(found, right, err_msg=name)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(right), err_msg=name)


def _with(case, relu):
    return Case(case.op, case.name, case.shapes, case.options | {"relu": relu}, case.variant)


_LARGE = Case(
    "conv2d", "large", {"x": (8, 12, 12, 32), "w": (48, 3, 3, 32), "b": (48,)}, {"padding": 1}
)  # auto takes Winograd's tiles


@pytest.mark.parametrize(
    "case", [*LINEAR, *CONV2D, *winograd.CASES, _LARGE], ids=lambda case: f"{case.op}-{case.id}"
)
def test_sums(case):
    for dtype, kind in product((np.float32, np.float64), ("normal", "integers")):
        arrays = case.arrays(dtype, kind)
        (y,), ctx = _with(case, True).forward(arrays)
        (sums,), plain = _with(case, False).forward(arrays)
        right, mask = ops.relu(sums)
        _bits(y, right)
        (dy,) = case.gradients((y,), kind)
        grads, right_grads = case.backward((dy,), ctx), case.backward((ops.relu_backward(dy, mask),), plain)
        for name, right_grad in right_grads.items():
            _bits(grads[name], right_grad, name)


def _pools_alike(x, options):
    y, ctx = ops.max_pool2d(x, **options, relu=True)
    positive, mask = ops.relu(x)
    right, plain = ops.max_pool2d(positive, **options)
    _bits(y, right)
    dy = np.random.default_rng(1).standard_normal(y.shape).astype(x.dtype)
    right_dx = ops.relu_backward(ops.max_pool2d_backward(dy, plain), mask)
    _bits(ops.max_pool2d_backward(dy, ctx), right_dx)


@DTYPES
@pytest.mark.parametrize("case", MAX_POOL2D, ids=lambda case: case.id)
def test_pools(case, dtype):
    """Of few values, so that there are ties, and windows with nothing above 0."""
    options = {name: value for name, value in case.options.items() if name != "relu"}
    rng = np.random.default_rng(0)
    for values in [(-2, -1, 2), (-1, -0.0, 0.0), (-1, _NAN, 0.0, 3), (-np.inf, -1, 1, np.inf)]:
        _pools_alike(rng.choice(values, case.shapes["x"]).astype(dtype), options)


@DTYPES
def test_a_window_of_nothing_above_zero_gives_no_gradient(dtype):
    x = np.array([[-1, -2, 0, -0.0, _NAN, -1], [-3, -np.inf, -1, -5, 4, 4]], dtype)[None, :, :, None]
    y, ctx = ops.max_pool2d(x, 2, relu=True)
    _bits(y.ravel(), [0, 0, _NAN])
    dx = ops.max_pool2d_backward(np.full_like(y, 7), ctx)
    np.testing.assert_array_equal(dx[0, :, :, 0], [[0, 0, 0, 0, 7, 0], [0, 0, 0, 0, 0, 0]])


@DTYPES
@pytest.mark.parametrize("algorithm", ["auto", "im2col", "direct", "winograd2", "winograd4"])
def test_nan_stays(algorithm, dtype):
    x, w = np.zeros((1, 4, 4, 2), dtype), -np.ones((3, 3, 3, 2), dtype)
    x[0, 0, 0, 0] = _NAN
    y, ctx = ops.conv2d(x, w, algorithm=algorithm, relu=True)
    assert np.isnan(y[0, 0, 0]).all()
    (dx, *_) = ops.conv2d_backward(np.ones_like(y), ctx)
    assert dx[0, 0, 0, 0] != 0  # and lets the gradient pass
    y, _ = ops.linear(x[0, 0], w[:, 0, 0], relu=True)
    np.testing.assert_array_equal(y, [[_NAN] * 3, [0] * 3, [0] * 3, [0] * 3])


def test_auto_takes_the_tiles_of_winograd():
    arrays = _LARGE.arrays(np.float32, "normal")
    if config.build_info()["backend"] == "cpp":
        (tiles,), _ = _with(_LARGE, True).forward(arrays)
        with config.set_conv_precision("high"):
            (plain,), _ = _with(_LARGE, True).forward(arrays)
        assert not np.array_equal(tiles, plain)
