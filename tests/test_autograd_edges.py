"""Tensors at the edges: axes that do not exist, infinite gradients, stacks, threads, odd dtypes."""

import threading

import numpy as np
import pytest

import lamina as lm
from lamina import ops
from lamina._pairs import AxisError
from lamina._tape import recording
from lamina.autograd import Tensor, is_recording
from lamina.testing import check_gradients

RNG = np.random.default_rng(7)


# axes -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", ["sum", "mean", "max", "min"])
@pytest.mark.parametrize(
    ("shape", "axis", "wrong"),
    [((2, 3), 5, 5), ((2, 3), -7, -7), ((2, 3), 2, 2), ((2, 3), -3, -3), ((2, 3), (0, 2), 2), ((), (0,), 0)],
)
def test_reducing_an_axis_that_does_not_exist(method, shape, axis, wrong):
    message = f"{method}: axis {wrong} is out of bounds for array of dimension {len(shape)}"
    with pytest.raises(AxisError, match=message):
        getattr(Tensor(np.ones(shape)), method)(axis=axis)


@pytest.mark.parametrize("method", ["sum", "mean", "max", "min"])
@pytest.mark.parametrize("axis", [(0, 0), (1, -1)])
def test_reducing_an_axis_twice(method, axis):
    with pytest.raises(ValueError, match=rf"{method}: an axis is given twice: \(.*\) of 2 axes"):
        getattr(Tensor(np.ones((2, 3))), method)(axis=axis)


@pytest.mark.parametrize(
    ("shape", "axes", "wrong"), [((2, 3), (0, 3), 3), ((2, 3), (-3, 1), -3), ((), (0,), 0), ((4,), (1,), 1)]
)
def test_transposing_an_axis_that_does_not_exist(shape, axes, wrong):
    message = f"transpose: axis {wrong} is out of bounds for array of dimension {len(shape)}"
    with pytest.raises(AxisError, match=message):
        Tensor(np.ones(shape)).transpose(*axes)


def test_transposing_needs_each_axis_once():
    x = Tensor(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"transpose: an axis is given twice: \(1, -1\) of 2 axes"):
        x.transpose(1, -1)
    with pytest.raises(ValueError, match=r"transpose: axes must name each of the 2 axes once, got \(1,\)"):
        x.transpose(1)
    with pytest.raises(TypeError, match="interpreted as an integer"):
        x.transpose(0.0, 1.0)


def test_an_axis_error_is_numpys():
    with pytest.raises((ValueError, IndexError)) as numpys:
        np.ones(2).sum(axis=1)
    assert type(numpys.value) is AxisError
    assert Tensor(1.0).transpose().shape == ()
    assert Tensor(1.0).max(axis=()).item() == 1


# stacks of matrices -----------------------------------------------------------------------------------
STACKS = {
    "stacks": ((3, 65, 513), (3, 513, 70)),
    "matrix by stack": ((50, 700), (2, 700, 60)),
    "vector by stack": ((700,), (2, 700, 60)),
    "stack by matrix": ((2, 65, 513), (513, 70)),
    "broadcast stacks": ((2, 1, 40, 513), (3, 513, 50)),
}


def _with_gradients(a, b):
    """y = a b and the gradients of sum(y^2)."""
    left, right = Tensor(a, requires_grad=True), Tensor(b, requires_grad=True)
    y = left @ right
    (y * y).sum().backward()
    return y.data, left.grad, right.grad


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", STACKS)
def test_stacks_have_the_same_bits_for_any_number_of_threads(isa, name, dtype):
    threadpoolctl = pytest.importorskip("threadpoolctl")
    a, b = (RNG.normal(size=shape).astype(dtype) for shape in STACKS[name])
    found = []
    for threads in (1, 2, 3):
        # NumPy's BLAS, which must have no part in this, gets the same number as the kernels.
        with threadpoolctl.threadpool_limits(threads, user_api="blas"):
            lm.set_num_threads(threads)
            found.append(_with_gradients(a, b))
    for arrays in found[1:]:
        for one, other in zip(found[0], arrays, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_stack_is_the_products_of_its_matrices(isa):
    a, b = RNG.normal(size=(2, 1, 40, 513)), RNG.normal(size=(3, 513, 50))
    y, _, _ = _with_gradients(a, b)
    assert y.shape == (2, 3, 40, 50)
    for i, j in np.ndindex(2, 3):
        np.testing.assert_array_equal(y[i, j], ops.gemm(a[i, 0], b[j])[0])


@pytest.mark.parametrize(("a", "b"), [((0, 2, 3), (0, 3, 4)), ((5, 0, 3), (5, 3, 4)), ((5, 2, 0), (5, 0, 4))])
def test_empty_stacks(machine, a, b):
    y, da, db = _with_gradients(np.ones(a), np.ones(b))
    np.testing.assert_array_equal(y, np.ones(a) @ np.ones(b))
    assert (da.shape, db.shape) == (a, b)


def test_stacks_of_strided_matrices(machine):
    a, b = RNG.normal(size=(4, 6, 3))[::-1, ::2], np.broadcast_to(RNG.normal(size=(5, 3)), (4, 5, 3))
    check_gradients(lambda a, b: a @ b.transpose(0, 2, 1), a, b)
    np.testing.assert_allclose((Tensor(a) @ Tensor(b.swapaxes(1, 2))).data, a @ b.swapaxes(1, 2), rtol=1e-12)


# selection --------------------------------------------------------------------------------------------
SELECTIONS = {
    "where": lambda a, b: lm.where(np.array([True, False]), a, b),
    "maximum": lm.maximum,
    "minimum": lambda a, b: lm.minimum(-a, -b),
}


@pytest.mark.parametrize("dy", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("name", SELECTIONS)
def test_what_was_not_selected_gets_no_gradient_however_large(name, dy):
    a, b = Tensor([1.0, 0.0], requires_grad=True), Tensor([0.0, 1.0], requires_grad=True)
    SELECTIONS[name](a, b).backward([dy, dy])
    sign = -1 if name == "minimum" else 1
    np.testing.assert_array_equal(a.grad, [sign * dy, 0])
    np.testing.assert_array_equal(b.grad, [0, sign * dy])


def test_where_hides_an_infinite_slope():
    x = Tensor([0.0, 4.0], requires_grad=True)
    with np.errstate(divide="ignore"):
        (1 / lm.where(x.data < 0, x, Tensor([0.0, 1.0]))).sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (1,), (2, 1)])
def test_selected_gradients_keep_their_dtype(dtype, shape):
    seen = []
    a, b = Tensor(np.ones(shape, dtype), requires_grad=True), Tensor(np.zeros(shape, dtype))
    probe = lm.apply(lambda x: (x, None), lambda dy, ctx: seen.append(dy.dtype) or dy, a)
    lm.maximum(probe, b).sum().backward()
    assert seen == [dtype]


@pytest.mark.parametrize("f", [lm.maximum, lm.minimum])
@pytest.mark.parametrize(
    ("x", "y", "expected"), [(np.nan, 1, (1, 0)), (1, np.nan, (0, 1)), (np.nan, np.nan, (1, 0))]
)
def test_the_gradient_goes_to_the_nan_that_wins(f, x, y, expected):
    a, b = Tensor([x], requires_grad=True), Tensor([y], requires_grad=True)
    result = f(a, b)
    assert np.isnan(result.item())
    result.sum().backward()
    assert (a.grad[0], b.grad[0]) == expected


# threads ----------------------------------------------------------------------------------------------
def _decorated():
    @lm.no_grad()
    def call(wait):
        wait()

    return call


def _shared():
    context = lm.no_grad()

    def call(wait):
        with context:
            wait()

    return call


@pytest.mark.parametrize("make", [_decorated, _shared])
def test_threads_inside_one_no_grad_keep_their_own_state(make):
    call = make()
    second_is_in, first_is_out = threading.Event(), threading.Event()
    states = {}

    def second():
        with lm.no_grad():
            call(lambda: (second_is_in.set(), first_is_out.wait(10)))
            states["second, in its own block"] = is_recording()
        states["second"] = is_recording()

    thread = threading.Thread(target=second)
    call(lambda: (thread.start(), second_is_in.wait(10)))
    states["first"] = is_recording()
    first_is_out.set()
    thread.join()
    recording.on = True  # should this fail, let the tests after it pass
    assert states == {"first": True, "second, in its own block": False, "second": True}


# dtypes and indices -----------------------------------------------------------------------------------
@pytest.mark.parametrize("data", [np.ones(2, np.float32), np.arange(2)], ids=["float32", "int64"])
@pytest.mark.parametrize("dtype", [np.float16, np.longdouble, np.complex64, object, str])
def test_astype_refuses_what_a_tensor_refuses(data, dtype):
    if np.dtype(dtype) == np.float64:
        pytest.skip("long double is double here")
    with pytest.raises(
        TypeError, match=r"astype: a tensor of dtype .* is not supported; convert it to numpy.float32"
    ):
        Tensor(data).astype(dtype)


def test_astype_gives_native_bytes():
    x = Tensor(np.ones(2), requires_grad=True)
    y = x.astype(">f4")
    assert y.dtype == np.float32
    assert y.dtype.isnative
    y.sum().backward()
    assert x.grad.dtype == np.float64


@pytest.mark.parametrize(
    "index",
    [lambda a: a[[]], lambda a: a[:, []], lambda a: a[[[]]], lambda a: a[[], 1], lambda a: a[..., []]],
)
def test_an_empty_list_selects_nothing(index):
    a = np.ones((2, 3))
    x = Tensor(a, requires_grad=True)
    y = index(x)
    assert y.shape == index(a).shape
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, np.zeros((2, 3)))


def test_an_empty_array_of_floats_is_still_no_index():
    with pytest.raises(IndexError):
        Tensor(np.ones(3))[np.array([])]


@pytest.mark.parametrize(
    "function",
    [
        lambda t, a: np.concatenate([t, a]),
        lambda t, a: np.stack((a, t)),
        lambda t, a: np.dot(a, t.transpose()),
        lambda t, a: np.mean(t),
        lambda t, a: np.split(t, 2),
        lambda t, a: np.where(a > 0, t, a),
    ],
)
def test_numpy_functions_lose_no_gradient_silently(function):
    a = np.ones((2, 2), np.float32)
    learned = lm.Tensor(a, requires_grad=True)
    with pytest.raises(TypeError, match=r"numpy\.\w+ keeps no gradient: .* tensor\.data"):
        function(learned * 2, a)
    with lm.no_grad():
        expected = function(a, a)
        np.testing.assert_array_equal(function(learned, a), expected)
    np.testing.assert_array_equal(function(lm.Tensor(a), a), expected)


def test_numpy_functions_without_a_gradient_take_any_tensor():
    x = lm.Tensor([[3.0, 1.0]], requires_grad=True)
    assert np.argmax(x) == 0
    assert np.shape(x) == (1, 2)
    assert np.array_equal(x, x)
    assert np.allclose(x, [[3, 1]])
