"""Tensor and tape: every operator against central differences, and what the tape promises."""

import copy
import pickle

import numpy as np
import pytest

import lamina as lm
from lamina.autograd import Tensor
from lamina.testing import check_gradients

RNG = np.random.default_rng(5)
A = RNG.normal(size=(2, 3, 4))
B = RNG.normal(size=(3, 4))
ROW = RNG.normal(size=(4,))
COLUMN = RNG.normal(size=(3, 1))
POSITIVE = np.abs(B) + 0.5
SCALAR = np.array(1.7)

OPERATORS = {
    "add": (lambda a, b: a + b, A, A[::-1]),
    "add, broadcast right": (lambda a, b: a + b, A, ROW),
    "add, broadcast left": (lambda a, b: a + b, COLUMN, A),
    "add, broadcast both": (lambda a, b: a + b, COLUMN, ROW),
    "add, scalar tensor": (lambda a, b: a + b, SCALAR, A),
    "add number": (lambda a: 2 + a + 1.5, A),
    "subtract": (lambda a, b: a - b, A, B),
    "subtract, broadcast left": (lambda a, b: a - b, ROW, A),
    "subtract from number": (lambda a: 2 - a, A),
    "multiply": (lambda a, b: a * b, A, B),
    "multiply, broadcast both": (lambda a, b: a * b, COLUMN, ROW),
    "multiply by itself": (lambda a: a * a * a, A),
    "multiply by array": (lambda a: a * B, A),
    "divide": (lambda a, b: a / b, B, POSITIVE),
    "divide, broadcast left": (lambda a, b: a / b, SCALAR, POSITIVE),
    "divide number": (lambda a: 2 / a, POSITIVE),
    "power 2": (lambda a: a**2, A),
    "power 3": (lambda a: a**3, A),
    "power 0.5": (lambda a: a**0.5, POSITIVE),
    "power 0": (lambda a: a**0, A),
    "power -1": (lambda a: a**-1, POSITIVE),
    "power of tensors": (lambda a, b: a**b, POSITIVE, B),
    "power, broadcast": (lambda a, b: a**b, POSITIVE, ROW),
    "number to the power": (lambda a: 2**a, A),
    "negative": (lambda a: -a, A),
    "abs": (abs, A),
    "matmul": (lambda a, b: a @ b, B, B.T),
    "matmul, matrix by vector": (lambda a, b: a @ b, B, ROW),
    "matmul, vector by matrix": (lambda a, b: a @ b, ROW, B.T),
    "matmul, vectors": (lambda a, b: a @ b, ROW, ROW[::-1]),
    "matmul, stack by matrix": (lambda a, b: a @ b, A, B.T),
    "matmul, stack by vector": (lambda a, b: a @ b, A, ROW),
    "matmul, matrix by stack": (lambda a, b: a @ b, RNG.normal(size=(5, 3)), A),
    "matmul, vector by stack": (lambda a, b: a @ b, RNG.normal(size=3), A),
    "matmul, stacks": (lambda a, b: a @ b, A, A.transpose(0, 2, 1)),
    "matmul, broadcast stacks": (lambda a, b: a @ b, A[:1], RNG.normal(size=(2, 2, 4, 3))),
    "reshape": (lambda a: a.reshape(4, -1), A),
    "reshape, tuple": (lambda a: a.reshape((6, 4)), A),
    "transpose": (lambda a: a.transpose(1, 2, 0), A),
    "transpose, negative": (lambda a: a.transpose((0, -1, 1)), A),
    "T": (lambda a: a.T, A),
    "index, integer": (lambda a: a[1], A),
    "index, slices": (lambda a: a[:, ::-2, 1:], A),
    "index, new axis and ellipsis": (lambda a: a[None, ..., 0], A),
    "index, repeated rows": (lambda a: a[[0, 2, 0, 0]], B),
    "index, repeated pairs": (lambda a: a[np.array([0, 0, 2]), np.array([1, 1, 3])], B),
    "index, mixed": (lambda a: a[:, [1, 1], 2:], A),
    "index, mask": (lambda a: a[B > 0], B),
    "index, mask and list": (lambda a: a[np.array([True, False, True]), [1, 1]], B),
    "index, tensor": (lambda a: a[Tensor(np.array([2, 2]))], B),
    "sum": (lambda a: a.sum(), A),
    "sum, axis": (lambda a: a.sum(1), A),
    "sum, axes": (lambda a: a.sum((0, -1), keepdims=True), A),
    "mean": (lambda a: a.mean(), A),
    "mean, axis": (lambda a: a.mean(-1, keepdims=True), A),
    "mean, axes": (lambda a: a.mean((0, 2)), A),
    "max": (lambda a: a.max(), A),
    "max, axis": (lambda a: a.max(1), A),
    "max, axes": (lambda a: a.max((0, 2), keepdims=True), A),
    "min": (lambda a: a.min(-1), A),
    "max of a scalar": (lambda a: a.max(), SCALAR),
    "astype": (lambda a: a.astype(np.float64) * 2, A),
    "exp": (lm.exp, A),
    "log": (lm.log, POSITIVE),
    "sqrt": (lm.sqrt, POSITIVE),
    "power, function": (lm.power, POSITIVE, SCALAR),
    "maximum": (lm.maximum, A, B),
    "maximum, number": (lambda a: lm.maximum(0.1, a), A),
    "minimum": (lm.minimum, A, ROW),
    "where": (lambda a, b: lm.where(A > 0, a, b), A, ROW),
    "where, number": (lambda a: lm.where(A > 0, a, 0), A),
    "relu": (lm.relu, A),
    "sigmoid": (lm.sigmoid, A),
    "tanh": (lm.tanh, A),
    "softmax": (lm.softmax, A),
    "log_softmax": (lambda a: lm.log_softmax(a, axis=1), A),
    "concatenate": (lambda a, b: lm.concatenate([a, b, a], axis=0), B, ROW[None]),
    "concatenate, axis": (lambda a, b: lm.concatenate([a, b], axis=-1), B, COLUMN),
    "concatenate with array": (lambda a: lm.concatenate([a, np.ones((1, 4))]), B),
    "stack": (lambda a, b: lm.stack([a, b], axis=1), B, B[::-1]),
    "iteration": (lambda a: sum(row * i for i, row in enumerate(a)), B),
    "graph with sharing": (lambda a, b: lm.exp(a) * (c := a * b) + c / (c * c + 1), B, ROW),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_gradient(name):
    f, *arrays = OPERATORS[name]
    check_gradients(f, *arrays)


REFERENCES = {
    "add": (lambda a, b: a + b, A, ROW),
    "matmul": (lambda a, b: a @ b, A, B.T),
    "max": (lambda a: a.max(axis=(0, 2), keepdims=True), A),
    "min": (lambda a: a.min(axis=1), A),
    "mean": (lambda a: a.mean(axis=1), A),
    "index": (lambda a: a[:, [1, 1], ::2], A),
    "transpose": (lambda a: a.transpose(2, 0, 1), A),
    "power": (lambda a, b: a**b, POSITIVE, B),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_value_is_numpys(name):
    f, *arrays = REFERENCES[name]
    found = f(*[Tensor(a) for a in arrays])
    expected = f(*arrays)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.data, expected, rtol=1e-14)


def test_functions_of_arrays_have_numpys_values():
    np.testing.assert_array_equal(lm.maximum(A, B).data, np.maximum(A, B))
    np.testing.assert_array_equal(lm.where(A > 0, A, 7).data, np.where(A > 0, A, 7))
    np.testing.assert_array_equal(lm.stack([ROW, ROW]).data, np.stack([ROW, ROW]))
    np.testing.assert_array_equal(lm.exp([0.0, 1.0]).data, np.exp(np.float32([0, 1])))


# dtypes -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        ([1.5, 2.5], np.float32),
        ([[1, 2], [3, 4]], np.float32),
        (3, np.float32),
        (0.5, np.float32),
        (np.arange(3), np.int64),
        (np.float64(2), np.float64),
        (np.zeros(2), np.float64),
        (np.zeros(2, np.float32), np.float32),
        (np.zeros(2, bool), np.bool_),
        (np.zeros(2, np.uint8), np.uint8),
        (np.zeros(2, ">f4"), np.float32),
    ],
)
def test_dtype_of_a_tensor(data, dtype):
    tensor = Tensor(data)
    assert tensor.dtype == dtype
    assert tensor.data.dtype.isnative


SCALARS = [2, 0.3, np.float64(0.3), np.array(2), np.float64([0.1, 0.2]), True]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("other", SCALARS, ids=repr)
@pytest.mark.parametrize("shape", [(), (2,), (3, 2)])
def test_numbers_and_arrays_take_the_tensors_dtype(dtype, other, shape):
    x = Tensor(np.ones(shape, dtype), requires_grad=True)
    for y in (x + other, other - x, x * other, other / x, x**other, other**x, lm.maximum(x, other)):
        assert y.dtype == dtype
        x.grad = None
        y.sum().backward()
        assert x.grad.dtype == dtype
        assert isinstance(y.data, np.ndarray)
    for y in (x.mean(), x.sum(), x.max(), -x, lm.exp(x), lm.sqrt(x)):
        assert y.dtype == dtype


def test_array_on_the_left_gives_a_tensor():
    x = Tensor(np.ones((2, 2), np.float32), requires_grad=True)
    array = np.full((2, 2), 3.0)
    for y in (array + x, array - x, array * x, array / x, array**x, array @ x, np.float64(3) * x):
        assert isinstance(y, Tensor)
        assert y.requires_grad
    with pytest.raises(TypeError, match="__array_ufunc__"):
        np.exp(x)


@pytest.mark.parametrize(
    "data", [np.zeros(2, complex), np.zeros(2, np.float16), np.array([None]), "text", None]
)
def test_unsupported_dtypes_are_refused(data):
    with pytest.raises(
        TypeError, match=r"Tensor: data of dtype .* is not supported; convert it to numpy.float32"
    ):
        Tensor(data)


def test_lists_of_tensors_are_refused():
    with pytest.raises(TypeError, match=r"list of tensors, whose gradients would be lost; use lamina\.stack"):
        Tensor([Tensor(1.0), Tensor(2.0)])


def test_integers_have_no_gradient_and_no_arithmetic():
    with pytest.raises(TypeError, match="int64 data can have no gradient"):
        Tensor(np.arange(3), requires_grad=True)
    labels = Tensor(np.arange(3))
    for f in (lambda: labels + 1, lambda: labels.sum(), lambda: lm.exp(labels)):
        with pytest.raises(TypeError, match="no arithmetic on int64 tensors"):
            f()
    assert labels.astype(np.float32).sum().item() == 3


def test_mixed_tensors_are_refused():
    with pytest.raises(TypeError, match=r"a float32 tensor meets a float64 tensor: convert one of them"):
        Tensor([1.0]) + Tensor(np.ones(1))
    with pytest.raises(TypeError, match="a tensor meets NoneType"):
        Tensor([1.0]) + None
    with pytest.raises(TypeError, match="a tensor meets str"):
        Tensor([1.0]) * "2"


# shapes and errors ------------------------------------------------------------------------------------
@pytest.mark.parametrize(("a", "b"), [((2, 3), (2, 3)), ((), (2,)), ((2,), ()), ((4, 2, 3), (2, 2))])
def test_matmul_shapes_that_do_not_fit(a, b):
    with pytest.raises(ValueError, match=r"matmul: shapes \(.*\) and \(.*\) do not fit"):
        Tensor(np.zeros(a)) @ Tensor(np.zeros(b))


def test_shapes_that_do_not_broadcast():
    with pytest.raises(ValueError, match=r"\(2,3\) ?\(4,\)"):
        Tensor(np.zeros((2, 3))) + Tensor(np.zeros(4))


def test_where_wants_a_condition():
    with pytest.raises(TypeError, match="where: condition must be boolean, got float64"):
        lm.where(np.ones(2), Tensor([1.0, 2.0]), 0)


@pytest.mark.parametrize("join", [lm.concatenate, lm.stack])
@pytest.mark.parametrize("wrong", [[], Tensor([1.0]), np.zeros(3)])
def test_joining_wants_a_list(join, wrong):
    with pytest.raises(TypeError, match=f"{join.__name__}: expected a list or tuple of at least one tensor"):
        join(wrong)


def test_empty_tensors():
    x = Tensor(np.zeros((0, 3)), requires_grad=True)
    (x @ np.ones((3, 2)) + 1).sum().backward()
    assert x.grad.shape == (0, 3)


# the object -------------------------------------------------------------------------------------------
def test_attributes_and_conversions():
    x = Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    assert (x.shape, x.ndim, x.size, len(x), x.dtype) == ((2, 3), 2, 6, 2, np.float64)
    assert x.numpy() is x.data
    assert np.asarray(x) is x.data
    assert np.asarray(x, np.float32).dtype == np.float32
    assert np.array(x) is not x.data
    assert Tensor(x).data is x.data
    assert x.detach().data is x.data
    assert not x.detach().requires_grad
    assert x[0, 1].item() == 1
    assert float(x[1, 2]) == 5
    assert int(x[1, 2]) == 5
    assert f"{x[1, 1]:.2f}" == "4.00"
    assert [row.data.tolist() for row in x] == [[0, 1, 2], [3, 4, 5]]
    np.testing.assert_array_equal(x.argmax(axis=1), [2, 2])
    with pytest.raises(ValueError, match=r"item: the tensor has shape \(2, 3\), expected one element"):
        x.item()
    with pytest.raises(TypeError, match="no axes"):
        len(Tensor(1.0))


def test_comparisons_give_arrays():
    x = Tensor([1.0, 2.0, 3.0])
    for found, expected in [
        (x > 2, [0, 0, 1]),
        (x >= 2, [0, 1, 1]),
        (x < 2, [1, 0, 0]),
        (x <= Tensor(2.0), [1, 1, 0]),
        (x == [1, 2, 0], [1, 1, 0]),
        (x != 2, [1, 0, 1]),
    ]:
        assert isinstance(found, np.ndarray)
        np.testing.assert_array_equal(found, np.array(expected, bool))
    assert len({x, Tensor([1.0])}) == 2
    assert bool(Tensor(1.0))


def test_repr():
    assert repr(Tensor([1.0, 2.0])) == "Tensor([1., 2.])"
    assert repr(Tensor(np.zeros(1), requires_grad=True)) == "Tensor([0.], dtype=float64, requires_grad=True)"
    assert f"{Tensor(1.0)}" == "Tensor(1.)"


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_copies_leave_the_history_behind(duplicate):
    x = Tensor([1.0, 2.0], requires_grad=True)
    x._grad_view = np.zeros(2, np.float32)
    y = x * 2
    y.sum().backward()
    twin = duplicate(x)
    assert twin.requires_grad
    assert twin._grad_view is None
    np.testing.assert_array_equal(twin.grad, x.grad)
    twin.data[0] = 9
    twin.grad[0] = 9
    assert (x.data[0], x.grad[0]) == (1, 2)
    assert duplicate(y)._edge is None
