"""Ring 5, arguments: each wrong one gives its error. One table of mistakes, a line or two for each."""

import numpy as np

from lamina import ops
from tests.ops.refused import refused

# Arguments are checked before any backend sees them, so one machine is enough.


def f(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


X, W, B = f(8, 28, 28, 3), f(16, 3, 3, 3), f(16)
_CELL = {"x": f(2, 5), "h": f(2, 3), "c": f(2, 3), "w_ih": f(12, 5), "w_hh": f(12, 3), "b": f(12)}
_RNN = {"x": f(2, 5), "h": f(2, 3), "w_ih": f(3, 5), "w_hh": f(3, 3), "b": f(3)}


def _lstm(**changed):
    return lambda: ops.lstm_cell(**(_CELL | changed))


def _rnn(**changed):
    return lambda: ops.rnn_cell(**(_RNN | changed))


def _conv(x=X, w=W, b=None, **options):
    return lambda: ops.conv2d(x, w, b, **options)


def _pool(*args, **options):
    return lambda: ops.max_pool2d(*(args or (X, 2)), **options)


def _cross_entropy(labels, x=None):
    return lambda: ops.softmax_cross_entropy(f(2, 10) if x is None else x, labels)


def read_only(*shape):
    array = f(*shape)
    array.flags.writeable = False
    return array


TYPE_ERRORS = {
    "list": (
        lambda: ops.relu([1.0]),
        "relu: x must be a NumPy array, got list: convert it with numpy.asarray",
    ),
    "masked": (lambda: ops.relu(np.ma.ones(3)), "relu: x is a masked array, whose mask would be"),
    "none": (_conv(w=None), "conv2d: w must be a NumPy array, got NoneType"),
    "integers": (
        _conv(x=X.astype(int)),
        "conv2d: x must be float32 or float64, got int64: convert it with .astype",
    ),
    "bool": (lambda: ops.relu(f(3) > 0), "relu: x must be float32 or float64, got bool"),
    "half": (lambda: ops.relu(f(3, dtype=np.float16)), "relu: x must be float32 or float64, got float16"),
    "long": (lambda: ops.relu(f(3, dtype=np.longdouble)), "relu: x must be float32 or float64, got "),
    "complex": (lambda: ops.gemm(f(2, 2) * 1j, f(2, 2)), "gemm: a must be float32 or float64, got complex64"),
    "object": (lambda: ops.relu(f(3).astype(object)), "relu: x must be float32 or float64, got object"),
    "text": (lambda: ops.relu(np.array(["a"])), "relu: x must be float32 or float64, got <U1"),
    "float_tokens": (
        lambda: ops.embedding(f(2), f(3, 4)),
        "embedding: tokens must be a NumPy array of integers, got an array of float32",
    ),
    "list_tokens": (
        lambda: ops.embedding([1], f(3, 4)),
        "embedding: tokens must be a NumPy array of integers",
    ),
    "bool_tokens": (lambda: ops.embedding(np.array([True]), f(3, 4)), "got an array of bool"),
    "integer_table": (
        lambda: ops.embedding(np.arange(2), np.ones((3, 4), int)),
        "embedding: w must be float32 or float64, got int64",
    ),
    "embedding_gradient": (
        lambda: ops.embedding_backward(f(2, 4, dtype=np.float64), ops.embedding(np.arange(2), f(3, 4))[1]),
        "embedding_backward: dy is float64 but the forward pass was float32",
    ),
    "mixed": (
        _conv(b=B.astype(np.float64)),
        "conv2d: the arrays must share one dtype, got x float32, w float32, b float64: convert with .astype",
    ),
    "gradient_dtype": (
        lambda: ops.relu_backward(f(3, dtype=np.float64), ops.relu(f(3))[1]),
        "relu_backward: dy is float64 but the forward pass was float32: convert with .astype",
    ),
    "float_stride": (_conv(stride=1.0), "conv2d: stride must be an int, got 1.0"),
    "bool_stride": (_conv(stride=True), "conv2d: stride must be an int, got True"),
    "text_stride": (_conv(stride="2"), "conv2d: stride must be an int, got '2'"),
    "array_stride": (_conv(stride=np.array([1, 2])), "conv2d: stride must be an int, got array([1, 2])"),
    "float_padding": (
        _conv(padding=0.5),
        "conv2d: padding must be an int, a pair (vertical, horizontal), two pairs",
    ),
    "long_padding": (_conv(padding=(1, 1, 1, 1)), "'same' or 'valid', got (1, 1, 1, 1)"),
    "half_padding": (_conv(padding=(1, 0.5)), "conv2d: padding must be an int, got 0.5"),
    "float_groups": (_conv(groups=1.0), "conv2d: groups must be an int, got 1.0"),
    "transpose": (
        lambda: ops.gemm(f(2, 2), f(2, 2), transpose_a=1),
        "gemm: transpose_a must be True or False, got 1",
    ),
    "ceil_mode": (_pool(ceil_mode="yes"), "max_pool2d: ceil_mode must be True or False, got 'yes'"),
    "pool_relu": (_pool(relu=1), "max_pool2d: relu must be True or False, got 1"),
    "conv_relu": (_conv(relu="yes"), "conv2d: relu must be True or False, got 'yes'"),
    "linear_relu": (
        lambda: ops.linear(f(2, 3), f(4, 3), relu=None),
        "linear: relu must be True or False, got None",
    ),
    "count_include_pad": (
        lambda: ops.avg_pool2d(X, 2, count_include_pad=0),
        "avg_pool2d: count_include_pad must be True or False, got 0",
    ),
    "axis": (lambda: ops.softmax(f(2, 3), axis=1.0), "softmax: axis must be an int, got 1.0"),
    "float_labels": (
        _cross_entropy(f(2)),
        "softmax_cross_entropy: labels must be a NumPy array of integers, got an",
    ),
    "list_labels": (_cross_entropy([1, 2]), "labels must be a NumPy array of integers, got list"),
    "k": (lambda: ops.topk(f(2, 3), 1.0), "topk: k must be an int, got 1.0"),
}

VALUE_ERRORS = {
    "gemm_axes": (
        lambda: ops.gemm(f(2, 3), f(4, 5)),
        "gemm: a has K = 3 (shape (2, 3), MK) but b has K = 4 (shape (4, 5), KN)",
    ),
    "gemm_transposed": (
        lambda: ops.gemm(f(2, 3), f(4, 5), transpose_a=True, transpose_b=True),
        "gemm: a has K = 2 (shape (2, 3), KM) but b has K = 5 (shape (4, 5), NK)",
    ),
    "gemm_vector": (lambda: ops.gemm(f(3), f(3, 2)), "gemm: a must have 2 axes, MK, got 1 (shape (3,))"),
    "gemm_gradient": (
        lambda: ops.gemm_backward(f(2, 3), ops.gemm(f(2, 3), f(3, 4))[1]),
        "gemm_backward: dy has shape (2, 3) but the output had shape (2, 4)",
    ),
    "linear_features": (
        lambda: ops.linear(f(5, 7), f(3, 6)),
        "linear: x has 7 features (shape (5, 7)) but w expects 6 (shape (3, 6), OI)",
    ),
    "linear_scalar": (
        lambda: ops.linear(f(), f(3, 1)),
        "linear: x must have at least one axis, got a scalar array",
    ),
    "linear_w": (lambda: ops.linear(f(5, 7), f(7)), "linear: w must have 2 axes, OI, got 1 (shape (7,))"),
    "linear_b": (
        lambda: ops.linear(f(5, 7), f(3, 7), f(7)),
        "linear: b must have shape (3,), one per row of w, got (7,)",
    ),
    "linear_gradient": (
        lambda: ops.linear_backward(f(5, 7), ops.linear(f(5, 7), f(3, 7))[1]),
        "linear_backward: dy has shape (5, 7) but the output had shape (5, 3)",
    ),
    "conv_channels": (
        _conv(w=f(16, 3, 3, 1)),
        "conv2d: x has 3 channels (shape (8, 28, 28, 3), NHWC) but w expects 1 (shape (16, 3, 3, 1), OHWI)",
    ),
    "conv_group_channels": (
        _conv(x=f(1, 5, 5, 4), w=f(2, 3, 3, 4), groups=2),
        "conv2d: x has 4 channels (shape (1, 5, 5, 4), NHWC) "
        "but w expects 4 x 2 groups (shape (2, 3, 3, 4), OHWI)",
    ),
    "conv_groups": (
        _conv(groups=2),
        "conv2d: groups = 2 must divide the 3 channels of x (shape (8, 28, 28, 3), NHWC) "
        "and the 16 filters of w (shape (16, 3, 3, 3), OHWI)",
    ),
    "conv_no_groups": (_conv(groups=0), "conv2d: groups must be at least 1, got 0"),
    "conv_axes": (_conv(x=f(28, 28, 3)), "conv2d: x must have 4 axes, NHWC, got 3 (shape (28, 28, 3))"),
    "conv_w_axes": (_conv(w=f(3, 3)), "conv2d: w must have 4 axes, OHWI, got 2 (shape (3, 3))"),
    "conv_b": (_conv(b=f(3)), "conv2d: b must have shape (16,), one per filter of w, got (3,)"),
    "conv_empty_image": (
        _conv(x=f(8, 0, 28, 3), padding=4),
        "conv2d: x has an empty axis (shape (8, 0, 28, 3), NHWC); only N may be empty",
    ),
    "conv_no_channels": (
        _conv(x=f(8, 9, 9, 0), w=f(4, 3, 3, 0)),
        "conv2d: x has an empty axis (shape (8, 9, 9, 0)",
    ),
    "conv_no_filters": (_conv(w=f(0, 3, 3, 3)), "conv2d: w has an empty axis (shape (0, 3, 3, 3), OHWI)"),
    "conv_no_taps": (_conv(w=f(4, 0, 3, 3)), "conv2d: w has an empty axis (shape (4, 0, 3, 3), OHWI)"),
    "conv_zero_stride": (_conv(stride=0), "conv2d: stride must be at least 1, got 0"),
    "conv_negative_stride": (_conv(stride=(1, -2)), "conv2d: stride must be at least 1, got -2"),
    "conv_stride_triple": (
        _conv(stride=(1, 1, 1)),
        "conv2d: stride must be an int or a pair (vertical, horizontal), got (1, 1, 1)",
    ),
    "conv_huge_stride": (_conv(stride=2**31), "conv2d: stride must be at most 2147483647, got 2147483648"),
    "conv_dilation": (_conv(dilation=0), "conv2d: dilation must be at least 1, got 0"),
    "conv_negative_padding": (_conv(padding=-1), "conv2d: padding must be at least 0, got -1"),
    "conv_negative_side": (_conv(padding=((0, 0), (0, -1))), "conv2d: padding must be at least 0, got -1"),
    "conv_unknown_padding": (
        _conv(padding="SAME"),
        "conv2d: unknown padding 'SAME': expected one of 'same', 'valid'",
    ),
    "conv_algorithm": (
        _conv(algorithm="fft"),
        "conv2d: unknown algorithm 'fft': expected one of 'auto', 'im2col', 'direct', 'winograd2', "
        "'winograd4'",
    ),
    "conv_winograd_stride": (
        _conv(stride=(1, 2), algorithm="winograd4"),
        "conv2d: algorithm 'winograd4' needs 3 x 3 filters, stride 1, dilation 1 and groups 1, got 3 x 3, "
        "stride (1, 2), dilation (1, 1) and groups 1",
    ),
    "conv_winograd_kernel": (
        _conv(w=f(4, 3, 5, 3), algorithm="winograd2"),
        "conv2d: algorithm 'winograd2' needs 3 x 3 or 5 x 5 filters, stride 1, dilation 1 and groups 1, got "
        "3 x 5",
    ),
    "conv_algorithm_none": (_conv(algorithm=None), "conv2d: unknown algorithm None: expected one of 'auto'"),
    "conv_unknown_fit": (_conv(fit="round"), "conv2d: unknown fit 'round': expected one of 'floor', 'exact'"),
    "conv_kernel": (
        _conv(w=f(4, 31, 3, 3), padding=1),
        "conv2d: the kernel 31 x 3 is larger than the padded image 30 x 30 (H x W)",
    ),
    "conv_dilated_kernel": (
        _conv(dilation=(1, 14)),
        "conv2d: the kernel 3 x 3 (dilated 3 x 29) is larger than the padded image 28 x 28 (H x W)",
    ),
    "conv_fit": (
        _conv(x=f(1, 11, 10, 3), stride=2, fit="exact"),
        "conv2d: width 10 does not fit: (W - F + 2P)/S + 1 = (10 - 3 + 0)/2 + 1 = 4.5 is not whole "
        "(fit='exact'); "
        "nearest that fit: 9 and 11",
    ),
    "conv_fit_only_larger": (
        _conv(x=f(1, 1, 1, 3), w=f(2, 2, 1, 3), stride=3, padding=((2, 0), (0, 0)), fit="exact"),
        "conv2d: height 1 does not fit: (H - F + 2P)/S + 1 = (1 - 2 + 2)/3 + 1 = 1.33333 is not whole "
        "(fit='exact'); "
        "nearest that fit: 3",
    ),
    "conv_impossible": (
        _conv(padding=2**31 - 1),
        "conv2d: an output of shape (8, 4294967320, 4294967320, 16) is too large for any memory",
    ),
    "conv_gradient": (
        lambda: ops.conv2d_backward(f(8, 26, 26, 3), ops.conv2d(X, W)[1]),
        "conv2d_backward: dy has shape (8, 26, 26, 3) but the output had shape (8, 26, 26, 16)",
    ),
    "pool_axes": (_pool(f(28, 28), 2), "max_pool2d: x must have 4 axes, NHWC, got 2 (shape (28, 28))"),
    "pool_empty": (_pool(f(1, 4, 0, 3), 2), "max_pool2d: x has an empty axis (shape (1, 4, 0, 3), NHWC)"),
    "pool_size": (_pool(X, 0), "max_pool2d: kernel_size must be at least 1, got 0"),
    "pool_stride": (_pool(X, 2, stride=-1), "max_pool2d: stride must be at least 1, got -1"),
    "pool_padding": (
        _pool(X, 3, padding=2),
        "max_pool2d: padding 2 must be at most half of the window 3 x 3, "
        "or some windows would hold nothing but padding",
    ),
    "pool_padding_side": (
        _pool(X, (4, 2), padding=((0, 0), (0, 2))),
        "must be at most half of the window 4 x 2",
    ),
    "pool_window": (
        lambda: ops.avg_pool2d(X, (2, 29)),
        "avg_pool2d: the kernel 2 x 29 is larger than the padded image 28 x 28 (H x W)",
    ),
    "pool_gradient": (
        lambda: ops.avg_pool2d_backward(X, ops.avg_pool2d(X, 2)[1]),
        "avg_pool2d_backward: dy has shape (8, 28, 28, 3) but the output had shape (8, 14, 14, 3)",
    ),
    "max_pool_gradient": (
        lambda: ops.max_pool2d_backward(X, ops.max_pool2d(X, 2)[1]),
        "max_pool2d_backward: dy has shape (8, 28, 28, 3) but the output had shape (8, 14, 14, 3)",
    ),
    "token_high": (
        lambda: ops.embedding(np.array([[0, 1], [2, 3]]), f(3, 4)),
        "embedding: token 3 at (1, 1) is out of range: w takes 0..2",
    ),
    "token_low": (
        lambda: ops.embedding(np.array([-1]), f(3, 4)),
        "embedding: token -1 at (0,) is out of range: w takes 0..2",
    ),
    "token_huge": (
        lambda: ops.embedding(np.array([2**64 - 1], np.uint64), f(3, 4)),
        "token 18446744073709551615",
    ),
    "embedding_axes": (
        lambda: ops.embedding(np.arange(2), f(3)),
        "embedding: w must have 2 axes, VD, got 1 (shape (3,))",
    ),
    "embedding_no_rows": (
        lambda: ops.embedding(np.arange(0), f(0, 3)),
        "embedding: w has an empty axis (shape (0, 3)",
    ),
    "embedding_no_columns": (
        lambda: ops.embedding(np.arange(2), f(3, 0)),
        "embedding: w has an empty axis (shape (3, 0)",
    ),
    "embedding_dy": (
        lambda: ops.embedding_backward(f(3, 4), ops.embedding(np.arange(2), f(3, 4))[1]),
        "embedding_backward: dy has shape (3, 4) but the output had shape (2, 4)",
    ),
    "lstm_x": (_lstm(x=f(5)), "lstm_cell: x must have 2 axes, ND, got 1 (shape (5,))"),
    "lstm_batch": (
        _lstm(h=f(3, 3)),
        "lstm_cell: h must have shape (2, 3), (N, H) with the N of x, got (3, 3)",
    ),
    "lstm_c": (_lstm(c=f(2, 4)), "lstm_cell: c must have shape (2, 3), that of h (N, H), got (2, 4)"),
    "lstm_w_ih": (_lstm(w_ih=f(3, 5)), "lstm_cell: w_ih must have shape (12, 5), (4H, D), got (3, 5)"),
    "lstm_w_hh": (_lstm(w_hh=f(12, 4)), "lstm_cell: w_hh must have shape (12, 3), (4H, H), got (12, 4)"),
    "lstm_b": (_lstm(b=f(3)), "lstm_cell: b must have shape (12,), (4H,), got (3,)"),
    "lstm_no_state": (_lstm(h=f(2, 0), c=f(2, 0)), "lstm_cell: h has an empty axis (shape (2, 0), NH)"),
    "lstm_gradient": (
        lambda: ops.lstm_cell_backward(f(2, 3), f(2, 4), ops.lstm_cell(**_CELL)[1]),
        "lstm_cell_backward: dc_next has shape (2, 4) but the output had shape (2, 3)",
    ),
    "rnn_w_ih": (_rnn(w_ih=f(12, 5)), "rnn_cell: w_ih must have shape (3, 5), (H, D), got (12, 5)"),
    "rnn_b": (_rnn(b=f(4)), "rnn_cell: b must have shape (3,), (H,), got (4,)"),
    "rnn_gradient": (
        lambda: ops.rnn_cell_backward(f(3, 2), ops.rnn_cell(**_RNN)[1]),
        "rnn_cell_backward: dh_next has shape (3, 2) but the output had shape (2, 3)",
    ),
    "softmax_scalar": (
        lambda: ops.softmax(f()),
        "softmax: x must have at least one axis, got a scalar array",
    ),
    "softmax_axis": (lambda: ops.softmax(f(2, 3), axis=2), "softmax: axis must be at most 1, got 2"),
    "softmax_low_axis": (
        lambda: ops.log_softmax(f(2), axis=-2),
        "log_softmax: axis must be at least -1, got -2",
    ),
    "softmax_empty": (lambda: ops.softmax(f(2, 0)), "softmax: axis 1 of x is empty (shape (2, 0))"),
    "label_high": (
        _cross_entropy(np.array([3, 10])),
        "softmax_cross_entropy: labels[1] is 10, but x has 10 classes: labels go from 0 to 9",
    ),
    "label_low": (
        _cross_entropy(np.array([-1, 3])),
        "softmax_cross_entropy: labels[0] is -1, but x has 10 classes",
    ),
    "label_huge": (_cross_entropy(np.array([2**64 - 1, 0], np.uint64)), "labels[0] is 18446744073709551615"),
    "label_place": (
        _cross_entropy(np.array([[0, 1, 2], [3, 4, 9]]), f(2, 3, 5)),
        "softmax_cross_entropy: labels[1, 2] is 9, but x has 5 classes: labels go from 0 to 4",
    ),
    "labels_shape": (
        _cross_entropy(np.zeros((2, 1), int)),
        "softmax_cross_entropy: labels must have shape (2,), that of x without its last axis, got (2, 1)",
    ),
    "no_classes": (
        _cross_entropy(np.zeros(2, int), f(2, 0)),
        "x must have at least one class (shape (2, 0))",
    ),
    "mse_shape": (
        lambda: ops.mean_squared_error(f(3, 1), f(3)),
        "mean_squared_error: target must have shape (3, 1), that of x, got (3,)",
    ),
    "mse_empty": (
        lambda: ops.mean_squared_error(f(0, 3), f(0, 3)),
        "mean_squared_error: x is empty (shape (0, 3)), so it has no mean",
    ),
    "topk_axes": (lambda: ops.topk(f(3), 1), "topk: x must have 2 axes, MN, got 1 (shape (3,))"),
    "topk_zero": (lambda: ops.topk(f(2, 3), 0), "topk: k must be at least 1, got 0"),
    "topk_many": (lambda: ops.topk(f(2, 3), 4), "topk: k = 4 is more than the 3 columns of x (shape (2, 3))"),
}


test_type_error = refused(TypeError, TYPE_ERRORS)
test_value_error = refused(ValueError, VALUE_ERRORS)
