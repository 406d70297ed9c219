"""Shapes and options that Hypothesis draws: exact on whole numbers, against the definition."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lamina import config
from tests.ops import oracle
from tests.ops.autoencoders import transposed_size
from tests.ops.case import Case
from tests.ops.grid import Grid, pool_grid, sides

pytestmark = pytest.mark.usefixtures("machine")


@pytest.fixture(autouse=True, scope="module")
def _plain_sums():
    """Winograd's tiles round even whole numbers; test_winograd.py is their ring."""
    with config.set_conv_precision("high"):
        yield


_right_answers = {}


def _check(case, dtype):
    arrays = case.arrays(dtype, "integers")
    y, ctx = case.forward(arrays)
    dys = case.gradients(y, "integers")
    options = {name: value for name, value in case.options.items() if name != "algorithm"}
    wide = {name: a if a.dtype.kind == "i" else a.astype(np.float64) for name, a in arrays.items()}
    key = f"{case.key} {case.options} {dtype}"  # the same are drawn on every machine
    if key not in _right_answers:
        right_y = getattr(oracle, case.op)(wide, **options)
        wide_dys = tuple(dy.astype(np.float64) for dy in dys)
        _right_answers[key] = right_y, getattr(oracle, f"{case.op}_backward")(wide_dys, wide, **options)
    right_y, right_grads = _right_answers[key]
    # Means are the only results that may need rounding: one of the sum, one of the quotient.
    near = 4 * np.finfo(dtype).eps * 100 if case.op == "avg_pool2d" else 0
    for found, right in zip(y, right_y, strict=True):
        np.testing.assert_allclose(found, right, rtol=0, atol=near)
    for name, found in case.backward(dys, ctx).items():
        np.testing.assert_allclose(found, right_grads[name], rtol=0, atol=near, err_msg=name)


_DTYPES = st.sampled_from([np.float32, np.float64])
_PAIRS = st.tuples(st.integers(1, 3), st.integers(1, 3))


@given(_DTYPES, st.tuples(*[st.integers(0, 70)] * 3), st.booleans(), st.booleans())
def test_gemm(dtype, sizes, transpose_a, transpose_b):
    m, n, k = sizes
    shapes = {"a": (k, m) if transpose_a else (m, k), "b": (n, k) if transpose_b else (k, n)}
    options = {"transpose_a": transpose_a, "transpose_b": transpose_b}
    _check(Case("gemm", str(shapes), shapes, options), dtype)


@st.composite
def _images(draw):
    return draw(st.integers(1, 2)), draw(st.integers(1, 8)), draw(st.integers(1, 8))


def _fits(size, kernel, stride, dilation, padding):
    if padding == "same":
        return True
    around = sides(padding, size, kernel, stride, dilation)
    return all(
        n + sum(a) >= d * (k - 1) + 1 for n, k, d, a in zip(size, kernel, dilation, around, strict=True)
    )


_SIDES = st.tuples(st.integers(0, 2), st.integers(0, 2))
_PADDINGS = st.one_of(st.just("same"), st.just("valid"), st.integers(0, 2), st.tuples(_SIDES, _SIDES))


@given(
    dtype=_DTYPES,
    image=_images(),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 18), st.integers(1, 18)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=_PAIRS,
    dilation=_PAIRS,
    padding=_PADDINGS,
    algorithm=st.sampled_from(["auto", "im2col", "direct"]),
)
def test_conv2d(dtype, image, channels, kernel, stride, dilation, padding, algorithm):
    groups, c, o = channels
    assume(_fits(image[1:], kernel, stride, dilation, padding))
    options = {
        "stride": stride,
        "dilation": dilation,
        "padding": padding,
        "groups": groups,
        "algorithm": algorithm,
    }
    shapes = {"x": (*image, c * groups), "w": (o * groups, *kernel, c), "b": (o * groups,)}
    _check(Case("conv2d", str(shapes), shapes, options), dtype)


@given(
    op=st.sampled_from(["max_pool2d", "avg_pool2d"]),
    dtype=_DTYPES,
    image=_images(),
    channels=st.integers(1, 20),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.one_of(st.none(), _PAIRS),
    padding=_PADDINGS,
    ceil_mode=st.booleans(),
    count_include_pad=st.booleans(),
)
def test_pooling(op, dtype, image, channels, kernel, stride, padding, ceil_mode, count_include_pad):
    size, step = image[1:], kernel if stride is None else stride
    assume(_fits(size, kernel, step, (1, 1), padding))
    if padding != "same":
        around = sides(padding, size, kernel, step, (1, 1))
        assume(all(2 * max(a) <= k for a, k in zip(around, kernel, strict=True)))
    options = {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil_mode}
    if op == "avg_pool2d":
        options["count_include_pad"] = count_include_pad
    shapes = {"x": (*image, channels)}
    _check(Case(op, str(shapes) + str(options), shapes, options), dtype)


@given(
    dtype=_DTYPES,
    image=_images(),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 18), st.integers(1, 18)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=_PAIRS,
    dilation=_PAIRS,
    padding=_PADDINGS,
    more=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    algorithm=st.sampled_from(["auto", "im2col", "direct"]),
)
def test_conv_transpose2d(dtype, image, channels, kernel, stride, dilation, padding, more, algorithm):
    groups, c, o = channels
    more = (0, 0) if padding == "same" else tuple(min(m, s - 1) for m, s in zip(more, stride, strict=True))
    options = {"stride": stride, "dilation": dilation, "padding": padding, "output_padding": more}
    size, _ = transposed_size(image[1:], kernel, **options)
    assume(min(size) >= 1)
    shapes = {"x": (*image, c * groups), "w": (c * groups, *kernel, o), "b": (o * groups,)}
    options |= {"groups": groups, "algorithm": algorithm}
    _check(Case("conv_transpose2d", str(shapes), shapes, options), dtype)


@given(_DTYPES, _images(), st.integers(1, 20), st.sampled_from([1, 2, 4]), st.integers(1, 5), st.booleans())
def test_upsampling(dtype, image, channels, height, width, bilinear):
    """Bilinear by powers of two: other weights are no whole parts."""
    factor = (height, 2 if bilinear else width)
    shapes, mode = {"x": (*image, channels)}, "bilinear" if bilinear else "nearest"
    options = {"scale_factor": factor, "mode": mode}
    _check(Case("upsample2d", str(shapes) + str(options), shapes, options), dtype)


@given(_DTYPES, _images(), st.integers(1, 20), _PAIRS, st.one_of(st.none(), _PAIRS), st.booleans())
def test_max_unpool2d(dtype, image, channels, kernel, stride, ceil_mode):
    assume(_fits(image[1:], kernel, kernel if stride is None else stride, (1, 1), 0))
    pooled = np.empty((*image, channels))
    options = {"kernel_size": kernel, "stride": stride, "ceil_mode": ceil_mode}
    output = pool_grid({"x": pooled}, **options).output
    shapes = {"x": (image[0], *output, channels), "pooled": pooled.shape}
    _check(Case("max_unpool2d", str(shapes) + str(options), shapes, options), dtype)


@given(
    dtype=_DTYPES,
    image=_images(),
    channels=st.tuples(st.integers(1, 20), st.integers(1, 5)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=_PAIRS,
    padding=_PADDINGS,
)
def test_locally_connected2d(dtype, image, channels, kernel, stride, padding):
    assume(_fits(image[1:], kernel, stride, (1, 1), padding))
    (c, o), options = channels, {"stride": stride, "padding": padding}
    output = Grid(image[1:], kernel, stride, padding, 1).output
    shapes = {"x": (*image, c), "w": (*output, o, *kernel, c), "b": (*output, o)}
    _check(Case("locally_connected2d", str(shapes) + str(options), shapes, options), dtype)


@given(
    op=st.sampled_from(["batch_norm", "group_norm", "layer_norm"]),
    dtype=_DTYPES,
    size=st.tuples(st.integers(1, 5), st.integers(0, 8), st.integers(1, 20)),
    groups=st.integers(1, 4),
)
def test_normalisations(op, dtype, size, groups):
    """Parts of 2, 4, 8, ... numbers, half of them above their mean by 1, half below: exact with eps 3."""
    power, more, channels = size
    shape, options = (2 ** (power + more), channels), {"eps": 3.0}
    if op == "layer_norm":
        shape = (more, 2**power)
    if op == "group_norm":
        shape, options = (more, 2**power, groups), options | {"groups": groups}
    shapes = {"x": shape, "gamma": shape[-1:], "beta": shape[-1:]}
    _check(Case(op, str(shapes), shapes, options), dtype)


@st.composite
def _codes(draw):
    n = draw(st.integers(1, 70))
    return draw(st.integers(0, 9)), draw(st.integers(1, 150)), n, draw(st.integers(1, n))


@given(st.sampled_from(["k_sparse_linear", "tied_k_sparse", "sparse_linear", "k_sparse"]), _DTYPES, _codes())
def test_sparse_codes(op, dtype, size):
    m, d, n, k = size
    shapes = {
        "k_sparse_linear": {"x": (m, d), "w": (n, d), "b": (n,)},
        "tied_k_sparse": {"x": (m, d), "w": (n, d), "b": (n,), "c": (d,)},
        "sparse_linear": {"values": (m, k), "units": (m, k), "w": (n, d), "b": (d,)},
        "k_sparse": {"x": (m, n)},
    }[op]
    _check(Case(op, str(size), shapes, {} if op == "sparse_linear" else {"k": k}), dtype)
