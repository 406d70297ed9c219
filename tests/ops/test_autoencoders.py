"""Ring 5 of the ops of autoencoders: ties, NaN, what stays 0, and an error for each wrong argument."""

import numpy as np
import pytest

from lamina import ops
from tests.ops.refused import refused
from tests.ops.test_bad_input import f

MACHINES = pytest.mark.usefixtures("machine")
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
_NAN, _INF = np.nan, np.inf


# numbers ----------------------------------------------------------------------------------------------
@MACHINES
@DTYPES
@pytest.mark.parametrize("k", [1, 2, 7, 64, 199, 200])
def test_exactly_k_of_each_row_and_ties_to_the_lowest(k, dtype):
    x = np.random.default_rng(k).integers(1, 6, (40, 200)).astype(dtype) * np.array([1, -1], dtype)[k % 2]
    y, ctx = ops.k_sparse(x, k)
    assert (np.count_nonzero(y, axis=1) == k).all()
    right = np.zeros_like(x)
    for row, values in zip(right, x, strict=True):
        units = sorted(range(200), key=lambda i, values=values: (-values[i], i))[:k]
        row[units] = values[units]
    np.testing.assert_array_equal(y, right)
    dx = ops.k_sparse_backward(np.full_like(x, 7), ctx)
    np.testing.assert_array_equal(dx, np.where(right != 0, 7, 0))


@MACHINES
@DTYPES
def test_rows_of_one_value_keep_the_first_units(dtype):
    """All units equal, as after zero weights: still k of them, and the gradient is theirs alone."""
    x, w, b = np.ones((5, 4), dtype), np.zeros((37, 4), dtype), np.full(37, 2, dtype)
    (values, units), ctx = ops.k_sparse_linear(x, w, b, k=6)
    np.testing.assert_array_equal(values, np.full((5, 6), 2))
    np.testing.assert_array_equal(units, [range(6)] * 5)
    _, dw, db = ops.k_sparse_linear_backward(np.ones((5, 6), dtype), ctx)
    np.testing.assert_array_equal(db, [5] * 6 + [0] * 31)
    np.testing.assert_array_equal(dw, np.where(np.arange(37)[:, None] < 6, 5, 0) * np.ones((37, 4)))


@MACHINES
@DTYPES
def test_order_of_nan_infinities_and_zeros(dtype):
    x = np.array(
        [[1, 3, _NAN, 3, _INF, _NAN], [-_INF, -1, -_INF, -2, -_INF, -_INF], [-0.0, 0, -1, 0, -0.0, 5]]
    )
    y, _ = ops.k_sparse(x.astype(dtype), 4)
    np.testing.assert_array_equal(
        y, [[0, 3, _NAN, 0, _INF, _NAN], [-_INF, -1, -_INF, -2, 0, 0], [0, 0, 0, 0, 0, 5]]
    )
    (_, units), _ = ops.k_sparse_linear(np.ones((1, 1), dtype), x[2:].T.astype(dtype), k=4)
    np.testing.assert_array_equal(units, [[0, 1, 3, 5]])  # -0 is 0


@MACHINES
@DTYPES
def test_nan_stays_in_its_row(dtype):
    rng = np.random.default_rng(0)
    x, w, b, c = (rng.standard_normal(shape).astype(dtype) for shape in [(6, 9), (21, 9), (21,), (9,)])
    x[2, 3] = _NAN
    (y, values, units), _ = ops.tied_k_sparse(x, w, b, c, k=5)
    assert np.isnan(y[2]).all()
    assert np.isnan(values[2]).all()
    np.testing.assert_array_equal(units[2], range(5))
    others = np.delete(np.arange(6), 2)
    (right, _, right_units), _ = ops.tied_k_sparse(x[others], w, b, c, k=5)
    np.testing.assert_allclose(y[others], right, rtol=0, atol=1e-4 if dtype == np.float32 else 1e-12)
    np.testing.assert_array_equal(units[others], right_units)


@MACHINES
@DTYPES
def test_gradients_are_zero_but_for_the_chosen_units(dtype):
    rng = np.random.default_rng(1)
    x, w, b, c = (rng.standard_normal(shape).astype(dtype) for shape in [(4, 7), (60, 7), (60,), (7,)])
    (y, values, units), ctx = ops.tied_k_sparse(x, w, b, c, k=3)
    _, dw, db, _ = ops.tied_k_sparse_backward(np.ones_like(y), np.ones_like(values), ctx)
    rest = np.setdiff1d(np.arange(60), units)
    assert len(rest) >= 48
    np.testing.assert_array_equal(dw[rest], 0)
    np.testing.assert_array_equal(db[rest], 0)
    assert (dw[np.unique(units)] != 0).all()


@MACHINES
@DTYPES
def test_with_every_unit_it_is_a_dense_autoencoder(dtype):
    rng = np.random.default_rng(2)
    x, w, b, c = (rng.standard_normal(shape).astype(dtype) for shape in [(5, 8), (6, 8), (6,), (8,)])
    (y, values, _), ctx = ops.tied_k_sparse(x, w, b, c, k=6)
    z, encoder = ops.linear(x, w, b)
    right, decoder = ops.gemm(z, w)
    near = {"rtol": 0, "atol": 1e-4 if dtype == np.float32 else 1e-12}
    np.testing.assert_allclose(values, z, **near)
    np.testing.assert_allclose(y, right + c, **near)
    dy, dvalues = rng.standard_normal(y.shape).astype(dtype), rng.standard_normal(z.shape).astype(dtype)
    dz, dw = ops.gemm_backward(dy, decoder)
    dx, more, db = ops.linear_backward(dz + dvalues, encoder)
    for found, wanted in zip(
        ops.tied_k_sparse_backward(dy, dvalues, ctx), (dx, dw + more, db, dy.sum(axis=0)), strict=True
    ):
        np.testing.assert_allclose(found, wanted, **near)


@MACHINES
@DTYPES
def test_a_code_may_name_a_unit_twice(dtype):
    values, units = np.array([[2, 3]], dtype), np.array([[1, 1]])
    y, ctx = ops.sparse_linear(values, units, np.array([[9, 9], [1, 10]], dtype))
    np.testing.assert_array_equal(y, [[5, 50]])
    dvalues, dw, db = ops.sparse_linear_backward(np.array([[1, 2]], dtype), ctx)
    np.testing.assert_array_equal(dvalues, [[21, 21]])
    np.testing.assert_array_equal(dw, [[0, 0], [5, 10]])
    assert db is None


@MACHINES
@DTYPES
def test_nan_does_not_spread_while_an_image_grows(dtype):
    x = np.arange(12, dtype=dtype).reshape(1, 3, 4, 1)
    x[0, 1, 1] = _NAN
    y, _ = ops.upsample2d(x, 2)
    np.testing.assert_array_equal(np.argwhere(np.isnan(y[0, :, :, 0])), [[2, 2], [2, 3], [3, 2], [3, 3]])
    y, _ = ops.upsample2d(x, 2, mode="bilinear")
    seen = np.zeros((6, 8), bool)
    seen[1:5, 1:5] = True
    np.testing.assert_array_equal(np.isnan(y[0, :, :, 0]), seen)


@MACHINES
@DTYPES
def test_unpooling_what_was_pooled_keeps_the_maxima(dtype):
    x = np.random.default_rng(3).standard_normal((2, 6, 8, 5)).astype(dtype)
    y, switches = ops.max_pool2d(x, 2)
    back, _ = ops.max_unpool2d(y, switches)
    assert np.count_nonzero(back) == y.size
    np.testing.assert_array_equal(back, np.where(back != 0, x, 0))
    np.testing.assert_array_equal(ops.max_pool2d(np.where(back != 0, back, -_INF).astype(dtype), 2)[0], y)


@MACHINES
def test_transposed_convolution_is_the_gradient_of_convolution():
    rng = np.random.default_rng(4)
    image, w = rng.standard_normal((2, 9, 8, 4)), rng.standard_normal((6, 3, 2, 2))
    options = {"stride": (2, 3), "padding": ((1, 0), (0, 1)), "groups": 2}
    y, ctx = ops.conv2d(image, w, **options)
    dy = rng.standard_normal(y.shape)
    dx, _, _ = ops.conv2d_backward(dy, ctx)
    found, _ = ops.conv_transpose2d(dy, w, output_padding=(1, 1), **options)
    np.testing.assert_array_equal(found, dx)


# arguments --------------------------------------------------------------------------------------------
X, W, B = f(8, 14, 14, 16), f(16, 3, 3, 4), f(4)
POOLED, SWITCHES = ops.max_pool2d(f(2, 4, 6, 3), 2)


def _transposed(x=X, w=W, b=None, **options):
    return lambda: ops.conv_transpose2d(x, w, b, **options)


def _encode(x=None, w=None, b=None, k=2):
    x, w = f(4, 5) if x is None else x, f(7, 5) if w is None else w
    return lambda: ops.k_sparse_linear(x, w, b, k=k)


def _tied(x=None, w=None, b=None, c=None, k=2):
    x, w = f(4, 5) if x is None else x, f(7, 5) if w is None else w
    b, c = f(7) if b is None else b, f(5) if c is None else c
    return lambda: ops.tied_k_sparse(x, w, b, c, k=k)


def _decode(values=None, units=None, w=None, b=None):
    values, w = f(4, 2) if values is None else values, f(7, 5) if w is None else w
    units = np.zeros((4, 2), int) if units is None else units
    return lambda: ops.sparse_linear(values, units, w, b)


def _units(*, at, unit, dtype=np.int64):
    units = np.zeros((4, 2), dtype)
    units[at] = unit
    return units


TYPE_ERRORS = {
    "k_float": (lambda: ops.k_sparse(f(2, 3), 2.0), "k_sparse: k must be an int, got 2.0"),
    "k_bool": (lambda: ops.k_sparse(f(2, 3), True), "k_sparse: k must be an int, got True"),
    "k_none": (_encode(k=None), "k_sparse_linear: k must be an int, got None"),
    "k_text": (_tied(k="2"), "tied_k_sparse: k must be an int, got '2'"),
    "float_units": (
        _decode(units=f(4, 2)),
        "sparse_linear: units must be a NumPy array of integers, got an array of float32",
    ),
    "bool_units": (_decode(units=np.ones((4, 2), bool)), "of integers, got an array of bool"),
    "list_units": (_decode(units=[[0, 1]] * 4), "of integers, got list"),
    "mixed_code": (
        _decode(values=f(4, 2, dtype=np.float64)),
        "sparse_linear: the arrays must share one dtype, got values float64, w float32",
    ),
    "integer_code": (_decode(values=np.ones((4, 2), int)), "sparse_linear: values must be float32 or"),
    "factor_float": (
        lambda: ops.upsample2d(X, 1.5),
        "upsample2d: scale_factor must be an int, got 1.5",
    ),
    "factor_bool": (lambda: ops.upsample2d(X, True), "upsample2d: scale_factor must be an int, got True"),
    "switches": (
        lambda: ops.max_unpool2d(POOLED, np.zeros((2, 2, 3, 3), int)),
        "max_unpool2d: switches must be the context of max_pool2d, got ndarray",
    ),
    "switches_of_mean": (
        lambda: ops.max_unpool2d(POOLED, ops.avg_pool2d(f(2, 4, 6, 3), 2)[1]),
        "max_unpool2d: switches must be the context of max_pool2d, got AvgPool2dContext",
    ),
    "unpool_dtype": (
        lambda: ops.max_unpool2d(POOLED.astype(np.float64), SWITCHES),
        "max_unpool2d: x is float64 but float32 was pooled: convert with .astype",
    ),
    "transposed_float_stride": (_transposed(stride=2.0), "conv_transpose2d: stride must be an int, got 2.0"),
    "transposed_padding": (_transposed(padding=0.5), "conv_transpose2d: padding must be an int, a pair"),
    "transposed_more": (
        _transposed(output_padding=True),
        "conv_transpose2d: output_padding must be an int, got True",
    ),
    "transposed_integers": (_transposed(x=X.astype(int)), "conv_transpose2d: x must be float32 or float64"),
}


VALUE_ERRORS = {
    "k_zero": (lambda: ops.k_sparse(f(2, 3), 0), "k_sparse: k must be at least 1, got 0"),
    "k_negative": (_encode(k=-1), "k_sparse_linear: k must be at least 1, got -1"),
    "k_many": (lambda: ops.k_sparse(f(2, 3), 4), "k_sparse: k = 4 is more than the 3 units"),
    "k_many_linear": (_encode(k=8), "k_sparse_linear: k = 8 is more than the 7 units"),
    "k_many_tied": (_tied(k=8), "tied_k_sparse: k = 8 is more than the 7 units"),
    "k_sparse_axes": (
        lambda: ops.k_sparse(f(3), 1),
        "k_sparse: x must have 2 axes, MN, got 1 (shape (3,))",
    ),
    "k_sparse_gradient": (
        lambda: ops.k_sparse_backward(f(2, 2), ops.k_sparse(f(2, 3), 1)[1]),
        "k_sparse_backward: dy has shape (2, 2) but the output had shape (2, 3)",
    ),
    "encode_axes": (_encode(x=f(5)), "k_sparse_linear: x must have 2 axes, MD, got 1 (shape (5,))"),
    "encode_w": (
        _encode(w=f(7, 6)),
        "k_sparse_linear: w must have shape (7, 5), (N, D) with the D of x, got (7, 6)",
    ),
    "encode_b": (_encode(b=f(5)), "k_sparse_linear: b must have shape (7,), one per row of w, got (5,)"),
    "encode_gradient": (
        lambda: ops.k_sparse_linear_backward(f(4, 7), _encode()()[1]),
        "k_sparse_linear_backward: dvalues has shape (4, 7) but the output had shape (4, 2)",
    ),
    "unit_high": (
        _decode(units=_units(at=(3, 1), unit=7)),
        "sparse_linear: unit 7 at (3, 1) is out of range: w takes 0..6",
    ),
    "unit_low": (_decode(units=_units(at=(0, 1), unit=-1)), "sparse_linear: unit -1 at (0, 1) is out of"),
    "unit_huge": (
        _decode(units=_units(at=(0, 0), unit=2**64 - 1, dtype=np.uint64)),
        "sparse_linear: unit 18446744073709551615 at (0, 0)",
    ),
    "units_shape": (
        _decode(units=np.zeros((4, 3), int)),
        "sparse_linear: units must have shape (4, 2), that of values (M, K), got (4, 3)",
    ),
    "decode_axes": (_decode(values=f(2)), "sparse_linear: values must have 2 axes, MK, got 1"),
    "decode_w": (_decode(w=f(7)), "sparse_linear: w must have 2 axes, ND, got 1 (shape (7,))"),
    "decode_b": (_decode(b=f(7)), "sparse_linear: b must have shape (5,), one per column of w, got (7,)"),
    "decode_gradient": (
        lambda: ops.sparse_linear_backward(f(4, 7), _decode()()[1]),
        "sparse_linear_backward: dy has shape (4, 7) but the output had shape (4, 5)",
    ),
    "tied_b": (_tied(b=f(5)), "tied_k_sparse: b must have shape (7,), one per row of w, got (5,)"),
    "tied_c": (_tied(c=f(7)), "tied_k_sparse: c must have shape (5,), one per column of w, got (7,)"),
    "tied_gradient": (
        lambda: ops.tied_k_sparse_backward(f(4, 7), f(4, 2), _tied()()[1]),
        "tied_k_sparse_backward: dy has shape (4, 7) but the output had shape (4, 5)",
    ),
    "tied_code_gradient": (
        lambda: ops.tied_k_sparse_backward(f(4, 5), f(4, 7), _tied()()[1]),
        "tied_k_sparse_backward: dvalues has shape (4, 7) but the output had shape (4, 2)",
    ),
    "factor_zero": (lambda: ops.upsample2d(X, 0), "upsample2d: scale_factor must be at least 1, got 0"),
    "factor_triple": (
        lambda: ops.upsample2d(X, (1, 2, 3)),
        "upsample2d: scale_factor must be an int or a pair (vertical, horizontal), got (1, 2, 3)",
    ),
    "upsample_mode": (
        lambda: ops.upsample2d(X, 2, mode="cubic"),
        "upsample2d: unknown mode 'cubic': expected one of 'nearest', 'bilinear'",
    ),
    "upsample_axes": (lambda: ops.upsample2d(f(3, 3), 2), "upsample2d: x must have 4 axes, NHWC, got 2"),
    "upsample_empty": (lambda: ops.upsample2d(f(1, 0, 3, 2), 2), "upsample2d: x has an empty axis"),
    "upsample_impossible": (
        lambda: ops.upsample2d(X, 2**31 - 1),
        "upsample2d: an output of shape (8, 30064771058, 30064771058, 16) is too large for any memory",
    ),
    "upsample_gradient": (
        lambda: ops.upsample2d_backward(X, ops.upsample2d(X, 2)[1]),
        "upsample2d_backward: dy has shape (8, 14, 14, 16) but the output had shape (8, 28, 28, 16)",
    ),
    "unpool_shape": (
        lambda: ops.max_unpool2d(f(2, 4, 6, 3), SWITCHES),
        "max_unpool2d: x must have shape (2, 2, 3, 3), that of what was pooled, got (2, 4, 6, 3)",
    ),
    "unpool_gradient": (
        lambda: ops.max_unpool2d_backward(POOLED, ops.max_unpool2d(POOLED, SWITCHES)[1]),
        "max_unpool2d_backward: dy has shape (2, 2, 3, 3) but the output had shape (2, 4, 6, 3)",
    ),
    "transposed_axes": (_transposed(x=f(3, 3, 1)), "conv_transpose2d: x must have 4 axes, NHWC, got 3"),
    "transposed_w_axes": (_transposed(w=f(3, 3)), "conv_transpose2d: w must have 4 axes, CHWO, got 2"),
    "transposed_channels": (
        _transposed(w=f(4, 3, 3, 16)),
        "conv_transpose2d: x has 16 channels (shape (8, 14, 14, 16), NHWC) but w expects 4 "
        "(shape (4, 3, 3, 16), CHWO)",
    ),
    "transposed_groups": (
        _transposed(groups=3),
        "conv_transpose2d: groups = 3 must divide the 16 channels of x",
    ),
    "transposed_no_groups": (_transposed(groups=0), "conv_transpose2d: groups must be at least 1, got 0"),
    "transposed_b": (
        _transposed(b=f(16)),
        "conv_transpose2d: b must have shape (4,), one per channel of y, got (16,)",
    ),
    "transposed_b_groups": (
        _transposed(b=f(4), groups=2),
        "conv_transpose2d: b must have shape (8,), one per channel of y, got (4,)",
    ),
    "transposed_stride": (_transposed(stride=0), "conv_transpose2d: stride must be at least 1, got 0"),
    "transposed_dilation": (
        _transposed(dilation=(1, 0)),
        "conv_transpose2d: dilation must be at least 1, got 0",
    ),
    "transposed_negative": (_transposed(padding=-1), "conv_transpose2d: padding must be at least 0, got -1"),
    "transposed_unknown": (
        _transposed(padding="SAME"),
        "conv_transpose2d: unknown padding 'SAME': expected one of 'same', 'valid'",
    ),
    "transposed_more": (
        _transposed(stride=(2, 3), output_padding=2),
        "conv_transpose2d: output_padding (2, 2) must be less than the stride (2, 3)",
    ),
    "transposed_same_more": (
        _transposed(stride=2, padding="same", output_padding=(0, 1)),
        "conv_transpose2d: padding 'same' leaves no choice: output_padding must be 0, got (0, 1)",
    ),
    "transposed_nothing": (
        _transposed(x=f(1, 1, 2, 16), padding=(2, 0)),
        "conv_transpose2d: padding (2, 0) leaves nothing of the 3 x 4 pixels that the kernel 3 x 3 makes "
        "of 1 x 2 (H x W)",
    ),
    "transposed_algorithm": (
        _transposed(algorithm="fft"),
        "conv_transpose2d: unknown algorithm 'fft': expected one of 'auto', 'im2col', 'direct'",
    ),
    "transposed_empty": (_transposed(x=f(1, 0, 3, 16)), "conv_transpose2d: x has an empty axis"),
    "transposed_no_taps": (_transposed(w=f(16, 0, 3, 4)), "conv_transpose2d: w has an empty axis"),
    "transposed_impossible": (
        _transposed(stride=2**31 - 1, x=f(1, 9, 9, 16)),
        "conv_transpose2d: an output of shape (1, 17179869179, 17179869179, 4) is too large for any memory",
    ),
    "transposed_gradient": (
        lambda: ops.conv_transpose2d_backward(X, _transposed()()[1]),
        "conv_transpose2d_backward: dy has shape (8, 14, 14, 16) but the output had shape (8, 16, 16, 4)",
    ),
}


test_type_error = refused(TypeError, TYPE_ERRORS)
test_value_error = refused(ValueError, VALUE_ERRORS)
