"""Ring 3: every backward against central differences of its forward, in float64, over the same cases."""

import inspect

import numpy as np
import pytest

from lamina import ops
from tests.ops.case import OPS
from tests.ops.cases import ALL, CASES

_STEP = 1e-5
_SAMPLES = 8  # elements per array that are moved one by one


def _loss(case, arrays, dys):
    outputs, _ = case.forward(arrays)
    return sum(float(np.sum(y * dy)) for y, dy in zip(outputs, dys, strict=False))


def _moved(arrays, name, direction, step):
    return arrays | {name: arrays[name] + step * direction}


_slopes = {}  # of the first machine, which computes the most: the others answer as it does


def _directions(array, rng):
    """One random direction through all elements, and some elements one by one."""
    yield rng.standard_normal(array.shape)
    for flat in rng.permutation(array.size)[:_SAMPLES]:
        direction = np.zeros(array.size)
        direction[flat] = 1
        yield direction.reshape(array.shape)


def _measured(case, arrays, dys, names):
    """(name of an array, direction, slope of the loss along it)."""
    rng = np.random.default_rng(0)
    for name in names:
        for direction in _directions(arrays[name], rng):
            step = _STEP / max(float(np.abs(direction).max(initial=0)), 1)
            rise = _loss(case, _moved(arrays, name, direction, step), dys)
            fall = _loss(case, _moved(arrays, name, direction, -step), dys)
            yield name, direction, (rise - fall) / (2 * step)


# A truncated gradient is no slope of the forward pass; test_memory_blocks.py has its definition.
_WITH_SLOPES = [case for case in ALL if not case.options.get("truncated")]


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("case", _WITH_SLOPES, ids=lambda case: case.id)
def test_central_differences(case):
    # Distinct data: no step then carries an element past another (max, top-k) or past 0 (relu).
    arrays = case.arrays(np.float64, "distinct")
    outputs, ctx = case.forward(arrays)
    dys = case.gradients(outputs, "normal")
    grads = case.backward(dys, ctx)
    if case.id not in _slopes:
        _slopes[case.id] = outputs, list(_measured(case, arrays, dys, grads))
    first, slopes = _slopes[case.id]
    for found, right in zip(outputs, first, strict=True):  # so that these slopes are this machine's, too
        np.testing.assert_allclose(found, right, rtol=1e-10, atol=1e-10)
    for name, direction, slope in slopes:
        scale = 1 + float(np.sum(np.abs(grads[name] * direction)))
        assert abs(slope - float(np.sum(grads[name] * direction))) < 1e-6 * scale, f"gradient of {name}"


def _defaults(function):
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}


def _forwards_with_backward():
    return [name for name in ops.__all__ if f"{name}_backward" in ops.__all__]


def test_every_pair_has_cases():
    assert set(_forwards_with_backward()) == set(CASES) == set(OPS)
    assert all(CASES.values())


_NO_WAY_BACK = {"keep"}  # options that give it up: test_few_sequences.py


@pytest.mark.parametrize("name", _forwards_with_backward())
def test_every_option_of_a_forward_has_a_gradient_case(name):
    for option, default in _defaults(getattr(ops, name)).items():
        if option in _NO_WAY_BACK:
            continue
        used = [
            case
            for case in CASES[name]
            if option in case.shapes or case.options.get(option, default) != default
        ]
        assert used, f"no gradient case gives {name} another {option} than {default!r}"


_WITHOUT_DX = [
    *("conv2d", "conv_transpose2d", "k_sparse_linear", "linear", "locally_connected2d", "tied_k_sparse"),
    *("rnn", "gru", "lstm"),
]


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("name", _WITHOUT_DX)
def test_without_dx_the_other_gradients_are_the_same(name):
    case = CASES[name][0]
    arrays = case.arrays(np.float32, "normal")
    y, ctx = case.forward(arrays)
    backward = OPS[name].backward
    dys = y[: OPS[name].gradients]
    _, *grads = backward(*dys, ctx)
    dx, *only = backward(*dys, ctx, needs_dx=False)
    assert dx is None
    for grad, right in zip(only, grads, strict=True):
        np.testing.assert_array_equal(grad, right)


FILLING = {
    "rnn",
    "gru",
    "lstm",
    "batch_norm",
    "conv2d",
    "linear",
    "k_sparse_linear",
    "sparse_linear",
    "tied_k_sparse",
}


def test_every_option_of_a_backward_is_tested():
    options = {
        (name, option)
        for name in _forwards_with_backward()
        for option in _defaults(getattr(ops, f"{name}_backward"))
    }
    # Where gradients go, `into`, is in test_into.py.
    assert options == {(name, "needs_dx") for name in _WITHOUT_DX} | {(name, "into") for name in FILLING}
