"""Ring 5, arguments: each unusual one gives the same result as a plain one, on every machine."""

import pickle

import numpy as np
import pytest

from lamina import ops
from tests.ops.case import OPS
from tests.ops.cases import ALL, CASES
from tests.ops.test_bad_input import W, X, f
from tests.ops.test_bad_steps import overlapping

# What arrays are made of is settled before a kernel, and so before it is known how many threads there are.
MACHINES = pytest.mark.usefixtures("two_threads")


def _every_second(array):
    spread = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    spread[..., ::2] = array
    return spread[..., ::2]


def _backwards(array):
    turned = array[tuple(slice(None, None, -1) for _ in array.shape)].copy()
    return turned[tuple(slice(None, None, -1) for _ in array.shape)]


def _unaligned(array):
    memory = np.empty(array.nbytes + 1, np.uint8)
    view = memory[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def _frozen(array):
    array = array.copy()
    array.flags.writeable = False
    return array


UNUSUAL = {
    "every_second": _every_second,
    "backwards": _backwards,
    "column_major": np.asfortranarray,
    "unaligned": _unaligned,
    "byte_swapped": lambda array: array.astype(array.dtype.newbyteorder()),
    "read_only": _frozen,
    "unpickled": lambda array: pickle.loads(pickle.dumps(array)),
    "subclass": lambda array: array.view(type("Subclass", (np.ndarray,), {})),
}

#: One case per op, without scalar arrays: those have no strides.
_ONE_EACH = {
    op: next(c for c in cases if len(c.shapes[OPS[op].inputs[0]]) > 1) for op, cases in CASES.items()
}


@MACHINES
@pytest.mark.parametrize("unusual", UNUSUAL)
@pytest.mark.parametrize("op", _ONE_EACH)
def test_unusual_memory_gives_the_same(op, unusual):
    case = _ONE_EACH[op]
    arrays = case.arrays(np.float32, "normal")
    y, ctx = case.forward(arrays)
    dys = case.gradients(y, "normal")
    grads = case.backward(dys, ctx)
    change = UNUSUAL[unusual]
    odd_y, odd_ctx = case.forward({name: change(array) for name, array in arrays.items()})
    odd_grads = case.backward(tuple(change(dy) if dy.ndim else dy for dy in dys), odd_ctx)
    for found, right in [*zip(odd_y, y, strict=True), *zip(odd_grads.values(), grads.values(), strict=True)]:
        assert type(found) is np.ndarray
        assert found.dtype == right.dtype
        assert found.dtype.isnative
        np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-5)


@MACHINES
@pytest.mark.parametrize("op", _ONE_EACH)
def test_broadcast_views(op):
    """Arrays whose strides are 0."""
    case = _ONE_EACH[op]
    value = np.float32(0.5)
    values = {name: 0 if name in ("labels", "tokens", "units") else value for name in case.shapes}
    broadcast = {name: np.broadcast_to(values[name], shape) for name, shape in case.shapes.items()}
    plain = {name: array.copy() for name, array in broadcast.items()}
    (y, ctx), (right, right_ctx) = case.forward(broadcast), case.forward(plain)
    dys = [np.broadcast_to(value, out.shape) for out in y[: OPS[op].gradients]]
    grads, right_grads = case.backward(dys, ctx), case.backward([dy.copy() for dy in dys], right_ctx)
    for found, wanted in [
        *zip(y, right, strict=True),
        *zip(grads.values(), right_grads.values(), strict=True),
    ]:
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


@MACHINES
@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (1, 1)])
def test_gemm_with_strides_that_mean_nothing(shape):
    """Along an axis of one element a stride may be anything."""
    a = np.lib.stride_tricks.as_strided(
        np.arange(1, 6, dtype=np.float32), shape, [4096 if n == 1 else 4 for n in shape]
    )
    b = np.arange(10, dtype=np.float32).reshape(5, 2)[: shape[1]]
    np.testing.assert_array_equal(ops.gemm(a, b)[0], np.array(a) @ b)


@MACHINES
@pytest.mark.parametrize("case", [c for c in ALL if not c.variant], ids=lambda case: case.id)
def test_outputs_are_new_and_inputs_unchanged(case):
    arrays = case.arrays(np.float32, "normal")
    copies = {name: array.copy() for name, array in arrays.items()}
    y, ctx = case.forward(arrays)
    dys = case.gradients(y, "normal")
    dy_copies = [dy.copy() for dy in dys]
    y_copies = [out.copy() for out in y]
    grads = case.backward(dys, ctx)
    again = case.backward(dys, ctx)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, copies[name])
    for value, copy in [*zip(dys, dy_copies, strict=True), *zip(y, y_copies, strict=True)]:
        np.testing.assert_array_equal(value, copy)
    for name, grad in grads.items():
        np.testing.assert_array_equal(grad, again[name], err_msg="a second backward pass")
    produced = [*y, *grads.values()]
    given = [*arrays.values(), *dys]
    for i, out in enumerate(produced):
        assert isinstance(out, np.ndarray)
        assert out.flags.writeable
        assert out.flags.c_contiguous
        assert not any(np.shares_memory(out, other) for other in [*given, *produced[:i]])


@MACHINES
@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint64", ">i4"])
def test_labels_of_any_integer_type(kind):
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    losses, _ = ops.softmax_cross_entropy(x, np.array([0, 3, 1], kind))
    right, _ = ops.softmax_cross_entropy(x, np.array([0, 3, 1]))
    np.testing.assert_array_equal(losses, right)


@MACHINES
def test_labels_with_strides():
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    labels = np.array([0, 9, 3, 9, 1])[::2]
    right, _ = ops.softmax_cross_entropy(x, labels.copy())
    np.testing.assert_array_equal(ops.softmax_cross_entropy(x, labels)[0], right)


@MACHINES
def test_numpy_integers_are_ints():
    y, _ = ops.conv2d(X, W, stride=np.int64(2), padding=(np.int32(1), np.uint8(1)), groups=np.int8(1))
    assert y.shape == (8, 14, 14, 16)


@MACHINES
def test_scalars_count_as_arrays():
    assert ops.relu(np.float32(-1))[0] == 0
    assert ops.mean_squared_error(np.float64(3), np.float64(1))[0] == 4


@MACHINES
def test_neighbours_do_not_overlap():
    """Arrays that touch, an empty one, and a gradient whose gaps hold the parameter are all apart."""
    overlapping("sgd_step", 0, 8, 16)()
    overlapping("adam_step", 24, 16, 8, 0)()
    overlapping("adam_step", 0, 0, 0, 0, size=0)()
    flat = f(64)
    p, g = flat[1:8], flat[::9][:7]
    ops.sgd_step(p, g, None, 0.25, 0.0, False, 0.0)
    np.testing.assert_array_equal(p, np.full(7, 0.75, np.float32))
    np.testing.assert_array_equal(g, 1)


@MACHINES
def test_a_refused_overlap_changes_nothing():
    flat = np.arange(40, dtype=np.float32)
    with pytest.raises(ValueError, match="overlap"):
        ops.sgd_step(flat[1:33], flat[:32], None, 0.5, 0.0, False, 0.0)
    np.testing.assert_array_equal(flat, np.arange(40))
