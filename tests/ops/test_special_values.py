"""Ring 5, numbers: NaN, infinities, ties and empty batches give the result that the docstrings promise."""

import math

import numpy as np
import pytest

from lamina import ops

pytestmark = pytest.mark.usefixtures("machine")
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
_NAN, _INF = np.nan, np.inf


def _image(rows, dtype):
    return np.array(rows, dtype)[None, :, :, None]


@DTYPES
def test_max_pooling_passes_nan_on(dtype):
    x = _image([[1, _NAN, 5, 2], [_NAN, 9, _INF, 3]], dtype)
    y, ctx = ops.max_pool2d(x, 2)
    np.testing.assert_array_equal(y.ravel(), [_NAN, _INF])
    dx = ops.max_pool2d_backward(np.ones_like(y), ctx)
    np.testing.assert_array_equal(dx[0, :, :, 0], [[0, 1, 0, 0], [0, 0, 1, 0]])


@DTYPES
def test_max_pooling_never_chooses_padding(dtype):
    x = np.full((1, 3, 3, 17), -_INF, dtype)
    y, ctx = ops.max_pool2d(x, 2, stride=2, padding=1)
    assert (y == -_INF).all()
    dx = ops.max_pool2d_backward(np.ones_like(y), ctx)
    np.testing.assert_array_equal(dx.sum(axis=(1, 2)), np.full((1, 17), 4))
    np.testing.assert_array_equal(dx[0, :, :, 0], [[1, 1, 0], [1, 1, 0], [0, 0, 0]])


@DTYPES
def test_max_pooling_ties_go_to_the_first(dtype):
    x = np.ones((1, 4, 6, 33), dtype)
    y, ctx = ops.max_pool2d(x, 2)
    dx = ops.max_pool2d_backward(np.ones_like(y), ctx)
    right = np.zeros((4, 6))
    right[::2, ::2] = 1
    np.testing.assert_array_equal(dx, np.broadcast_to(right[None, :, :, None], dx.shape))


@DTYPES
def test_mean_pooling_passes_nan_on_only_within_its_window(dtype):
    y, _ = ops.avg_pool2d(_image([[1, _NAN, 5, 1], [3, 9, 7, 3]], dtype), 2)
    np.testing.assert_array_equal(y.ravel(), [_NAN, 4])


@pytest.mark.parametrize("algorithm", ["auto", "im2col", "direct"])
@DTYPES
def test_nan_reaches_the_outputs_that_see_it_and_no_other(algorithm, dtype):
    x = np.ones((1, 7, 9, 5), dtype)
    x[0, 3, 4, 2] = _NAN
    y, _ = ops.conv2d(x, np.ones((19, 3, 3, 5), dtype), padding=1, algorithm=algorithm)
    right = np.zeros((7, 9), bool)
    right[2:5, 3:6] = True
    np.testing.assert_array_equal(np.isnan(y), np.broadcast_to(right[None, :, :, None], y.shape))


@DTYPES
def test_padding_is_zero_and_not_the_edge(dtype):
    y, _ = ops.conv2d(np.full((1, 2, 2, 1), 3, dtype), np.ones((1, 3, 3, 1), dtype), padding=1)
    np.testing.assert_array_equal(y.ravel(), [12, 12, 12, 12])


@DTYPES
def test_gemm_passes_nan_and_infinity_on(dtype):
    a = np.ones((40, 33), dtype)
    b = np.ones((33, 50), dtype)
    a[7, 3], b[5, 11] = _NAN, _INF
    y, _ = ops.gemm(a, b)
    assert np.isnan(y[7]).all()
    assert (np.delete(y[:, 11], 7) == _INF).all()
    assert np.isfinite(np.delete(np.delete(y, 7, 0), 11, 1)).all()


@DTYPES
def test_topk_order(dtype):
    x = np.array([[1, 3, _NAN, 3, _INF, _NAN], [2, 2, 2, -_INF, 2, 2], [-0.0, 0.0, -1, 0.0, -0.0, -2]], dtype)
    (values, indices), ctx = ops.topk(x, 4)
    np.testing.assert_array_equal(indices, [[2, 5, 4, 1], [0, 1, 2, 4], [0, 1, 3, 4]])
    np.testing.assert_array_equal(values, [[_NAN, _NAN, _INF, 3], [2, 2, 2, 2], [0, 0, 0, 0]])
    dx = ops.topk_backward(np.array([[1, 2, 3, 4]] * 3, dtype), ctx)
    np.testing.assert_array_equal(dx, [[0, 4, 1, 0, 3, 2], [1, 2, 3, 0, 4, 0], [1, 2, 0, 3, 4, 0]])


@DTYPES
@pytest.mark.parametrize("k", [1, 7, 64, 199, 200])
def test_topk_of_many_ties(k, dtype):
    x = np.random.default_rng(k).integers(0, 9, (5, 200)).astype(dtype)
    (values, indices), _ = ops.topk(x, k)
    right = np.argsort(-x, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(indices, right)
    np.testing.assert_array_equal(values, np.take_along_axis(x, right, 1))


@DTYPES
def test_an_empty_batch_has_zero_weight_gradients(dtype):
    w = np.ones((4, 3, 3, 2), dtype)
    y, ctx = ops.conv2d(np.empty((0, 5, 5, 2), dtype), w, np.ones(4, dtype))
    assert y.shape == (0, 3, 3, 4)
    dx, dw, db = ops.conv2d_backward(y, ctx)
    assert dx.shape == (0, 5, 5, 2)
    np.testing.assert_array_equal(dw, np.zeros(w.shape))
    np.testing.assert_array_equal(db, np.zeros(4))


@DTYPES
def test_a_product_over_no_terms_is_zero(dtype):
    y, ctx = ops.gemm(np.empty((3, 0), dtype), np.empty((0, 4), dtype))
    np.testing.assert_array_equal(y, np.zeros((3, 4)))
    da, db = ops.gemm_backward(y, ctx)
    assert (da.shape, db.shape) == ((3, 0), (0, 4))
    y, _ = ops.linear(np.empty((3, 0), dtype), np.empty((4, 0), dtype), np.arange(4, dtype=dtype))
    np.testing.assert_array_equal(y, [[0, 1, 2, 3]] * 3)


@DTYPES
def test_relu_gradient_at_zero_and_nan(dtype):
    x = np.array([-1, -0.0, 0.0, 2, _NAN], dtype)
    _, ctx = ops.relu(x)
    np.testing.assert_array_equal(ops.relu_backward(np.full(5, 3, dtype), ctx), [0, 0, 0, 3, 3])


@DTYPES
def test_optimisers_on_whole_numbers(dtype):
    p, g, v = np.array([4, -8], dtype), np.array([2, 6], dtype), np.array([8, 16], dtype)
    ops.sgd_step(p, g, v, 0.5, 0.5, True, 0.25)
    np.testing.assert_array_equal(v, [4 + 3, 8 + 4])
    np.testing.assert_array_equal(p, [4 - 0.5 * (3 + 3.5), -8 - 0.5 * (4 + 6)])
    np.testing.assert_array_equal(g, [2, 6])
    p = np.array([4, -8], dtype)
    ops.sgd_step(p, g, None, 0.5, 0, False, 0)
    np.testing.assert_array_equal(p, [3, -11])


@DTYPES
def test_rms_step_is_exact_where_numbers_are_round(dtype):
    p, g, v = np.array([4, -8], dtype), np.array([2, -6], dtype), np.array([24, 8], dtype)
    ops.rms_step(p, g, v, 0.5, 0.5, 1.0, 0.0)
    np.testing.assert_array_equal(v, [16, 40])
    np.testing.assert_array_equal(p[0], 4 - 0.5 * 2 / 4)
    ops.rms_step(p, g, v, 0.5, 1.0, 0.25, 1.0)
    np.testing.assert_array_equal(v, [17, 49])
    np.testing.assert_array_equal(g, [2, -6])


@DTYPES
def test_adadelta_step_is_exact_where_numbers_are_round(dtype):
    p, g, v, u = (np.array(a, dtype) for a in ([4, 0], [2, 0], [24, 7], [3, 8]))
    ops.adadelta_step(p, g, v, u, 0.5, 0.5, 1.0, 0.25)
    # g' = 3: v = 12 + 4.5, over which the root is not round; without a gradient only the means fade
    np.testing.assert_array_equal(v, [16.5, 3.5])
    np.testing.assert_array_equal(u[1], 4)
    assert p[1] == 0
    p, g, v, u = (np.array([a], dtype) for a in (4, 2, 12, 3))
    ops.adadelta_step(p, g, v, u, 0.5, 0.5, 1.0, 0.0)  # v = 8, d = 2 sqrt(4) / sqrt(9)
    np.testing.assert_allclose(u, 1.5 + 0.5 * (4 / 3) ** 2, rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_allclose(p, 4 - 0.5 * 4 / 3, rtol=4 * np.finfo(dtype).eps)


@DTYPES
def test_optimisers_take_any_shape_and_nothing_at_all(dtype):
    p = np.ones((2, 3), dtype)
    ops.sgd_step(p, np.ones((2, 3), dtype), None, 0.5, 0, False, 0)
    np.testing.assert_array_equal(p, np.full((2, 3), 0.5))
    none = np.empty(0, dtype)
    ops.adam_step(none, none.copy(), none.copy(), none.copy(), 0.1, 0.9, 0.99, 1e-8, 0, False, 1)


@DTYPES
def test_batch_norm_of_a_constant_is_its_shift(dtype):
    x, beta = np.full((100, 3), 0.1, dtype), np.array([1, 2, 3], dtype)
    y, ctx = ops.batch_norm(x, np.ones(3, dtype), beta)
    np.testing.assert_allclose(y, np.broadcast_to(beta, x.shape), atol=1e-3)
    dx, _, dbeta = ops.batch_norm_backward(np.ones_like(x), ctx)
    np.testing.assert_allclose(dx, 0, atol=1e-3)
    np.testing.assert_array_equal(dbeta, [100, 100, 100])


@DTYPES
def test_nan_stays_in_its_channel_or_sample(dtype):
    x = np.random.default_rng(0).normal(size=(6, 5, 40)).astype(dtype)
    x[2, 3, 7] = _NAN
    for relu in (False, True):
        y, ctx = ops.batch_norm(x, relu=relu)
        np.testing.assert_array_equal(np.isnan(y).any(axis=(0, 1)), np.arange(40) == 7)
        dx, *_ = ops.batch_norm_backward(np.ones_like(x), ctx)
        np.testing.assert_array_equal(np.isnan(dx).any(axis=(0, 1)), np.arange(40) == 7)
    y, _ = ops.group_norm(x, 4)
    assert np.isnan(y[2, :, :10]).all()
    assert np.isnan(y).sum() == 50
    assert np.isnan(ops.layer_norm(x)[0]).sum() == 40
    y, _ = ops.local_response_norm(x, 5)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(y[2, 3])), np.arange(5, 10))


@DTYPES
def test_curves_at_the_ends(dtype):
    ends = np.array([_NAN, _INF, -_INF, 0], dtype)
    np.testing.assert_array_equal(ops.leaky_relu(ends, slope=0.5)[0], [_NAN, _INF, -_INF, 0])
    np.testing.assert_array_equal(ops.elu(ends)[0], [_NAN, _INF, -1, 0])
    np.testing.assert_allclose(ops.softplus(ends)[0], [_NAN, _INF, 0, np.log(2)], rtol=1e-6)
    far = np.array([-50, 50], dtype)
    for op in (ops.silu, ops.gelu):
        np.testing.assert_allclose(op(far)[0], [0, 50], atol=1e-15)
        np.testing.assert_allclose(op(np.array([_NAN, _INF], dtype))[0], [_NAN, _INF])


@DTYPES
def test_curves_to_a_few_units_in_the_last_place(dtype):
    """Of values at least as large as those near 0; far below it, gelu has small absolute errors alone."""
    x = np.concatenate([np.linspace(-6, 6, 4001), np.geomspace(1e-20, 80, 500)]).astype(dtype)
    w, near = x.astype(np.float64), 4 * np.finfo(dtype).eps
    normal = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in w])
    rights = {
        ops.elu: np.where(w > 0, w, np.expm1(np.minimum(w, 0))),
        ops.softplus: np.maximum(w, 0) + np.log1p(np.exp(-np.abs(w))),
        ops.silu: w / (1 + np.exp(-w)),
    }
    for op, right in rights.items():
        np.testing.assert_allclose(op(x)[0], right, rtol=near, err_msg=op.__name__)
    np.testing.assert_allclose(ops.gelu(x)[0], w * normal, rtol=near, atol=near / 4)
