"""Ring 4: the same outputs and gradients as PyTorch: live where it is installed, and as stored by it."""

import importlib.util
import json
import math
import pathlib

import numpy as np
import pytest

from lamina import ops
from tests.ops import tolerance
from tests.ops.cases import ALL

pytestmark = pytest.mark.usefixtures("machine")

_FIXTURES = pathlib.Path(__file__).with_name("fixtures.npz")
_by_torch = {}
_CASES = {case.id: case for case in ALL}


def _compare(case, arrays, dys, right_y, right_grads):
    y, ctx = case.forward(arrays)
    grads = case.backward(dys, ctx)
    y_bounds, grad_bounds = tolerance.bounds(case, arrays, dys)
    for found, right, bound in zip(y, right_y, y_bounds, strict=True):
        np.testing.assert_allclose(found, right, rtol=0, atol=bound)
    for name, found in grads.items():
        np.testing.assert_allclose(found, right_grads[name], rtol=0, atol=grad_bounds[name], err_msg=name)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="could not import 'torch'")
@pytest.mark.parametrize(
    "case", [case for case in ALL if case.exists_in_torch and not case.variant], ids=lambda case: case.id
)
def test_live(case):
    from tests.ops.parity import by_torch

    # Distinct data: where values are equal, PyTorch's top-k may choose any of them.
    arrays = case.arrays(np.float64, "distinct")
    y, _ = case.forward(arrays)
    dys = case.gradients(y, "normal")
    if case.key not in _by_torch:  # the same data on every machine
        _by_torch[case.key] = by_torch(case, arrays, dys)
    _compare(case, arrays, dys, *_by_torch[case.key])


def _stored():
    found: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    with np.load(_FIXTURES) as file:
        values, start = file["values"], 0
        for case, kind, name, shape, dtype in json.loads(str(file["index"])):
            stop = start + math.prod(shape)
            found.setdefault(case, {}).setdefault(kind, {})[name] = (
                values[start:stop].reshape(shape).astype(dtype)
            )
            start = stop
    return found


_STORED = _stored()


@pytest.mark.parametrize("name", _STORED)
def test_stored(name):
    parts = _STORED[name]
    case = _CASES[name]
    arrays = {key: parts["input"][key] for key in case.shapes}
    dys, right_y = tuple(parts["dy"].values()), tuple(parts["output"].values())
    _compare(case, arrays, dys, right_y, parts["gradient"])


def test_fixtures_are_small_and_cover_every_op():
    assert _FIXTURES.stat().st_size < 50_000
    assert {_CASES[name].op for name in _STORED} == {case.op for case in ALL}


def _walk(step, state, gradients):
    """Take one step per gradient from a fixed start."""
    p = np.linspace(-2, 2, 37)
    memory = [np.zeros_like(p) for _ in range(state)]
    for number, g in enumerate(gradients, start=1):
        step(p, g, memory, number)
    return p


def _walk_torch(optimizer, gradients):
    torch = pytest.importorskip("torch")
    p = torch.linspace(-2, 2, 37, dtype=torch.float64, requires_grad=True)
    chosen = optimizer(torch.optim, [p])
    for g in gradients:
        p.grad = torch.from_numpy(g.copy())
        chosen.step()
    return p.detach().numpy()


_GRADIENTS = np.random.default_rng(5).standard_normal((4, 37))


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_sgd(momentum, nesterov, weight_decay):
    def step(p, g, memory, _):
        ops.sgd_step(p, g, memory[0] if momentum else None, 0.1, momentum, nesterov, weight_decay)

    options = {"lr": 0.1, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
    right = _walk_torch(lambda optim, p: optim.SGD(p, **options), _GRADIENTS)
    np.testing.assert_allclose(_walk(step, 1, _GRADIENTS), right, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("decoupled", [False, True])
def test_adam(decoupled, weight_decay):
    def step(p, g, memory, number):
        ops.adam_step(p, g, *memory, 0.01, 0.8, 0.99, 1e-7, weight_decay, decoupled, number)

    def optimizer(optim, p):
        kind = optim.AdamW if decoupled else optim.Adam
        return kind(p, lr=0.01, betas=(0.8, 0.99), eps=1e-7, weight_decay=weight_decay)

    right = _walk_torch(optimizer, _GRADIENTS)
    np.testing.assert_allclose(_walk(step, 2, _GRADIENTS), right, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("alpha", [0.9, None])
def test_rmsprop_and_adagrad(alpha):
    """alpha None: Adagrad."""
    keep, add = (1, 1) if alpha is None else (alpha, 1 - alpha)

    def step(p, g, memory, _):
        ops.rms_step(p, g, memory[0], 0.01, keep, add, 1e-7)

    def optimizer(optim, p):
        if alpha is None:
            return optim.Adagrad(p, lr=0.01, eps=1e-7)
        return optim.RMSprop(p, lr=0.01, alpha=alpha, eps=1e-7)

    right = _walk_torch(optimizer, _GRADIENTS)
    np.testing.assert_allclose(_walk(step, 1, _GRADIENTS), right, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adadelta(weight_decay):
    def step(p, g, memory, _):
        ops.adadelta_step(p, g, *memory, 0.7, 0.8, 1e-5, weight_decay)

    options = {"lr": 0.7, "rho": 0.8, "eps": 1e-5, "weight_decay": weight_decay}
    right = _walk_torch(lambda optim, p: optim.Adadelta(p, **options), _GRADIENTS)
    np.testing.assert_allclose(_walk(step, 2, _GRADIENTS), right, rtol=1e-13, atol=1e-13)
