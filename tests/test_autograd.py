"""Tensor and tape: every operator against central differences, and what the tape promises."""

import copy
import gc
import pickle
import threading
import weakref

import numpy as np
import pytest

import lamina as lm
from lamina.autograd import Tensor, apply, is_recording, record_many
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


# backward ---------------------------------------------------------------------------------------------
def test_gradients_accumulate_in_leaves():
    x = Tensor([1.0, 2.0], requires_grad=True)
    (x * 3).sum().backward()
    first = x.grad
    (x * 4).sum().backward()
    np.testing.assert_array_equal(x.grad, [7, 7])
    assert x.grad is first


def test_leaves_do_not_share_their_gradients():
    a, b = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0], requires_grad=True)
    (a + b).backward([1.0, 1.0])
    a.grad += 5
    np.testing.assert_array_equal(b.grad, [1, 1])


def test_backward_does_not_change_the_gradient_it_is_given():
    x, grad = Tensor([1.0, 2.0], requires_grad=True), np.ones(2, np.float32)
    y = x + 0
    (y + y + y).backward(grad)
    np.testing.assert_array_equal(grad, [1, 1])
    np.testing.assert_array_equal(x.grad, [3, 3])


def test_backward_of_a_leaf():
    x = Tensor(2.0, requires_grad=True)
    x.backward()
    assert x.grad == 1


def test_second_backward_over_a_freed_graph():
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    loss = y.sum()
    loss.backward()
    former = x.grad.copy()
    for again in (loss, y.mean()):
        with pytest.raises(RuntimeError, match="freed by an earlier backward"):
            again.backward()
    np.testing.assert_array_equal(x.grad, former)  # nothing was added before the error


def test_backward_without_history():
    for tensor in (Tensor(1.0), Tensor(1.0) * 2, Tensor(1.0, requires_grad=True).detach()):
        with pytest.raises(
            RuntimeError, match="nothing that this tensor was computed from has requires_grad"
        ):
            tensor.backward()


def test_backward_wants_one_number_or_a_gradient():
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    with pytest.raises(ValueError, match=r"the tensor has shape \(2, 3\); reduce it to one number first"):
        (x * 2).backward()
    with pytest.raises(ValueError, match=r"grad has shape \(3,\), expected \(2, 3\)"):
        (x * 2).backward(np.ones(3))


def test_wrong_gradient_shape_from_a_custom_pair_is_noticed():
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    y = apply(lambda a: (a.sum(axis=0), None), lambda dy, ctx: dy, x)
    with pytest.raises(RuntimeError, match=r"a gradient of shape \(3,\) came for a tensor of shape \(2, 3\)"):
        y.sum().backward()


def test_apply_runs_a_pair_with_options():
    def forward(a, b, *, scale):
        return scale * a * b, (a, b, scale)

    def backward(dy, ctx):
        a, b, scale = ctx
        return dy * scale * b, dy * scale * a

    check_gradients(lambda a, b: apply(forward, backward, a, b, scale=3.0), B, B[::-1])


def test_several_results_with_one_unused():
    def two(x):
        return record_many(
            [x.data * 2, x.data.sum(axis=0)],
            (x,),
            lambda da, db, ctx: 2 * da + np.broadcast_to(db, x.shape),
            None,
        )

    check_gradients(lambda x: two(x)[0], B)
    check_gradients(lambda x: two(x)[1], B)
    check_gradients(lambda x: two(x)[0] * two(x)[1] + two(x)[1], B)

    def shared(x):
        first, second = two(x)
        return first * second + second * second

    check_gradients(shared, B)


def test_gradient_goes_into_the_view():
    flat = np.full(4, 9, np.float32)
    x = Tensor(np.ones(2, np.float32), requires_grad=True)
    x._grad_view = flat[1:3]
    y = x * 3
    (y + y * 2).sum().backward()
    assert x.grad is x._grad_view
    np.testing.assert_array_equal(flat, [9, 9, 9, 9])
    (x * 1).sum().backward()
    np.testing.assert_array_equal(flat, [9, 10, 10, 9])
    x.grad = None
    (x * 1).sum().backward()
    np.testing.assert_array_equal(flat, [9, 1, 1, 9])


def test_ties_send_the_gradient_to_the_first():
    x = Tensor([1.0, 3.0, 3.0], requires_grad=True)
    x.max().backward()
    np.testing.assert_array_equal(x.grad, [0, 1, 0])
    a, b = Tensor([2.0], requires_grad=True), Tensor([2.0], requires_grad=True)
    lm.maximum(a, b).sum().backward()
    assert (a.grad[0], b.grad[0]) == (1, 0)


def test_power_at_zero():
    x = Tensor([0.0, 2.0], requires_grad=True)
    n = Tensor([2.0, 2.0], requires_grad=True)
    (x**n).sum().backward()
    np.testing.assert_allclose(x.grad, [0, 4])
    np.testing.assert_allclose(n.grad, [0, 4 * np.log(2)], rtol=1e-6)


def test_nan_wins():
    x = Tensor([1.0, np.nan, 3.0])
    assert np.isnan(x.max().item())
    assert np.isnan(lm.maximum(x, 5.0).data[1])
    assert np.isnan(lm.relu(x).data[1])


# recording --------------------------------------------------------------------------------------------
def test_no_grad_nests_and_decorates():
    x = Tensor([1.0], requires_grad=True)
    with lm.no_grad():
        assert not is_recording()
        with lm.no_grad():
            pass
        assert not (x * 2).requires_grad
    assert is_recording()

    @lm.no_grad()
    def f(n):
        return f(n - 1) if n else x * 2

    assert not f(3).requires_grad
    assert (x * 2).requires_grad
    with pytest.raises(ZeroDivisionError), lm.no_grad():
        1 / 0  # noqa: B018
    assert is_recording()


def test_no_grad_is_of_its_own_thread():
    seen = []
    with lm.no_grad():
        thread = threading.Thread(target=lambda: seen.append(is_recording()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_constants_are_not_recorded():
    x = Tensor([1.0])
    assert (x * 2 + 1)._edge is None
    y = Tensor([1.0], requires_grad=True)
    y.requires_grad = False
    assert not (y * x).requires_grad


@pytest.mark.parametrize("run_backward", [True, False])
def test_long_chains(run_backward):
    x = Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(100_000):
        y = y + 1.0
    if run_backward:
        y.backward()
        assert x.grad == 1
    del y  # must not exhaust the stack either


def test_wide_graph():
    x = Tensor(1.0, requires_grad=True)
    sum((x * i for i in range(1000)), Tensor(0.0)).backward()
    assert x.grad == sum(range(1000))


@pytest.mark.parametrize("run_backward", [True, False])
def test_tape_is_freed_without_the_garbage_collector(run_backward):
    x = Tensor(np.ones((50, 50)), requires_grad=True)
    gc.collect()
    gc.disable()
    try:
        hidden = lm.exp(x @ x)  # exp keeps its result for the way back
        kept = weakref.ref(hidden.data)
        loss = (hidden.reshape(-1)[[0, 0, 1]] / hidden.sum()).max()
        del hidden
        assert kept() is not None
        if run_backward:
            loss.backward()
        else:
            del loss
        assert kept() is None
    finally:
        gc.enable()


def test_activations_are_freed_while_backward_goes_on():
    alive = []
    x = Tensor(np.ones(5), requires_grad=True)
    probe = apply(lambda a: (a, None), lambda dy, ctx: alive.append(kept() is not None) or dy, x)
    hidden = lm.exp(probe)
    kept = weakref.ref(hidden.data)
    y = (hidden * 2).sum()
    del probe, hidden
    assert kept() is not None
    y.backward()
    assert alive == [False]


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
