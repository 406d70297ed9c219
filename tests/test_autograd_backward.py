"""The way back through the tape: leaves, freed graphs, custom pairs, and what is recorded at all."""

import gc
import threading
import weakref

import numpy as np
import pytest

import lamina as lm
from lamina.autograd import Tensor, apply, is_recording, record_many
from lamina.testing import check_gradients

B = np.random.default_rng(5).normal(size=(3, 4))


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
