"""Optimisers against their formulas and PyTorch; flat memory; states; refusals."""

import copy

import numpy as np
import pytest

import lamina as lm
from lamina import nn, optim
from lamina.autograd import Tensor
from tests.optim.helpers import SETTINGS, give, gradients, parameters


class Formula:
    """The textbook's update of one parameter."""

    def __init__(
        self,
        cls,
        lr,
        momentum=0.0,
        nesterov=False,
        weight_decay=None,
        betas=(0.9, 0.999),
        alpha=0.99,
        rho=0.9,
        eps=None,
    ):
        self.cls, self.lr, self.momentum, self.nesterov = cls, lr, momentum, nesterov
        self.betas, self.alpha, self.rho = betas, alpha, rho
        self.eps = {optim.Adagrad: 1e-10, optim.Adadelta: 1e-6}.get(cls, 1e-8) if eps is None else eps
        self.decay = (0.01 if cls is optim.AdamW else 0.0) if weight_decay is None else weight_decay
        self.v = self.m = 0.0
        self.t = 0

    def __call__(self, p, g):
        self.t += 1
        if self.cls is not optim.AdamW:
            g = g + self.decay * p
        if self.cls is optim.SGD:
            self.v = self.momentum * self.v + g
            return p - self.lr * (g + self.momentum * self.v if self.nesterov else self.v)
        if self.cls is optim.Adadelta:
            self.v = self.rho * self.v + (1 - self.rho) * g * g
            d = np.sqrt(self.m + self.eps) / np.sqrt(self.v + self.eps) * g
            self.m = self.rho * self.m + (1 - self.rho) * d * d
            return p - self.lr * d
        if self.cls in (optim.RMSprop, optim.Adagrad):
            mean = self.cls is optim.RMSprop
            self.v = self.alpha * self.v + (1 - self.alpha) * g * g if mean else self.v + g * g
            return p - self.lr * g / (np.sqrt(self.v) + self.eps)
        if self.cls is optim.AdamW:
            p = p * (1 - self.lr * self.decay)
        b1, b2 = self.betas
        self.m = b1 * self.m + (1 - b1) * g
        self.v = b2 * self.v + (1 - b2) * g * g
        return p - self.lr * (self.m / (1 - b1**self.t)) / (np.sqrt(self.v / (1 - b2**self.t)) + self.eps)


@pytest.mark.parametrize("name", SETTINGS)
def test_follows_the_formula(name):
    cls, options = SETTINGS[name]
    params = parameters()
    expected = [p.data.copy() for p in params]
    formulas = [Formula(cls, **options) for _ in params]
    optimizer = cls(params, **options)
    for step in range(5):
        optimizer.zero_grad()
        give(params, gradients(step))
        optimizer.step()
        expected = [f(p, g) for f, p, g in zip(formulas, expected, gradients(step), strict=True)]
    for p, e in zip(params, expected, strict=True):
        np.testing.assert_allclose(p.data, e, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", SETTINGS)
def test_parameters_without_gradient_stay_as_they_are(name):
    """Each parameter follows the formula as if it were alone, whichever others have a gradient that step."""
    cls, options = SETTINGS[name]
    params = parameters()
    expected = [p.data.copy() for p in params]
    formulas = [Formula(cls, **options) for _ in params]
    optimizer = cls(params, **options)
    present = [(1, 1, 1, 1), (0, 1, 1, 0), (1, 0, 1, 1), (0, 0, 0, 0), (1, 1, 0, 1), (1, 1, 1, 1)]
    for step, mask in enumerate(present):
        optimizer.zero_grad()
        give(params, [g if here else None for g, here in zip(gradients(step), mask, strict=True)])
        optimizer.step()
        for i, g in enumerate(gradients(step)):
            if mask[i]:
                expected[i] = formulas[i](expected[i], g)
    for p, e in zip(params, expected, strict=True):
        np.testing.assert_allclose(p.data, e, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", SETTINGS)
def test_agrees_with_pytorch(name):
    torch = pytest.importorskip("torch")
    cls, options = SETTINGS[name]
    params = parameters()
    others = [torch.nn.Parameter(torch.tensor(p.data)) for p in params]
    optimizer, other = cls(params, **options), getattr(torch.optim, cls.__name__)(others, **options)
    for step in range(5):
        optimizer.zero_grad()
        give(params, gradients(step))
        for q, g in zip(others, gradients(step), strict=True):
            q.grad = torch.tensor(g)
        if step == 2:
            params[1].grad = others[1].grad = None
        if step == 3:
            optimizer.lr = other.param_groups[0]["lr"] = 0.03
        optimizer.step()
        other.step()
    for p, q in zip(params, others, strict=True):
        np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-10, atol=1e-13)


def test_float32_and_float64_side_by_side():
    params = [
        nn.Parameter(np.ones(3, np.float32)),
        nn.Parameter(np.ones(2)),
        nn.Parameter(np.ones(4, np.float32)),
    ]
    optimizer = optim.SGD(params, 0.5)
    for p in params:
        (p * 1).sum().backward()
    optimizer.step()
    for p in params:
        np.testing.assert_array_equal(p.data, 0.5)
    assert [p.dtype for p in params] == [np.float32, np.float64, np.float32]
    assert [id(p) for p in optimizer.parameters] == [id(p) for p in params]


# flat memory ------------------------------------------------------------------------------------------
def test_parameters_and_gradients_lie_in_one_buffer():
    params = parameters(np.float32)
    optimizer = optim.Adam(params)
    (group,) = optimizer._groups
    give(params, gradients(0, np.float32))
    for p in params:
        assert np.shares_memory(p.data, group.data)
        assert np.shares_memory(p.grad, group.grad)
        assert p.data.ctypes.data % 64 == 0
    calls = []
    optimizer.update = lambda p, g, state, step: calls.append((p.size, step))
    optimizer.step()
    assert calls == [(3 * 16 + 6, 1)]  # all in one call; each but the last padded to 16 floats


def test_padding_stays_zero():
    params = parameters(np.float32)
    optimizer = optim.AdamW(params, 0.1)
    for step in range(3):
        optimizer.zero_grad()
        give(params, gradients(step, np.float32))
        optimizer.step()
    (group,), (buffers,) = optimizer._groups, optimizer._buffers
    inside = np.zeros(len(group.data), bool)
    for at in group.places:
        inside[at] = True
    for flat in (group.data, group.grad, *buffers.values()):
        assert not flat[~inside].any()
        assert flat[inside].any()


def test_gradients_made_before_the_optimizer_or_set_by_hand_count():
    params = parameters()
    give(params, gradients(0))
    optimizer = optim.SGD(params, 1.0)
    former = [p.data.copy() for p in params]
    params[1].grad = np.full(5, 2.0)
    optimizer.step()
    np.testing.assert_array_equal(params[0].data, former[0] - gradients(0)[0])
    np.testing.assert_array_equal(params[1].data, former[1] - 2)
    give(params, gradients(1))
    np.testing.assert_array_equal(params[1].grad, 2 + gradients(1)[1])  # still accumulates


def test_a_second_optimizer_does_not_corrupt_the_first():
    params, single = parameters(), parameters()
    first, second = optim.SGD(params, 0.1, momentum=0.9), optim.SGD(params[1:], 0.01)
    one, two = (
        [Formula(optim.SGD, 0.1, momentum=0.9) for _ in params],
        [Formula(optim.SGD, 0.01) for _ in params],
    )
    expected = [p.data.copy() for p in single]
    for step, optimizer in enumerate([first, second, second, first, second, first]):
        for p in params:
            p.grad = None
        give(params, gradients(step))
        optimizer.step()
        formulas, start = (one, 0) if optimizer is first else (two, 1)
        for i in range(start, len(params)):
            expected[i] = formulas[i](expected[i], gradients(step)[i])
    for p, e in zip(params, expected, strict=True):
        np.testing.assert_allclose(p.data, e, rtol=1e-12)


def test_a_new_array_is_taken_over():
    (p,) = params = [nn.Parameter(np.ones(3))]
    optimizer = optim.SGD(params, 1.0)
    p.data = np.full(3, 5.0)
    (p * 2).sum().backward()
    optimizer.step()
    np.testing.assert_array_equal(p.data, 3)


def test_another_shape_or_dtype_is_refused():
    net = nn.Linear(2, 2)
    optimizer = optim.SGD(net.parameters(), 1.0)
    net.astype(np.float64)
    net(np.ones((1, 2))).sum().backward()
    former = net.weight.data.copy()
    with pytest.raises(
        ValueError, match=r"made for a parameter of shape \(2, 2\) and dtype float32, which now has"
    ):
        optimizer.step()
    np.testing.assert_array_equal(net.weight.data, former)
    (p,) = params = [nn.Parameter(np.ones(3))]
    optimizer = optim.SGD(params, 1.0)
    p.grad = np.ones(2)
    with pytest.raises(ValueError, match=r"a gradient has shape \(2,\), but its parameter \(3,\)"):
        optimizer.step()


def test_load_state_dict_of_the_module_keeps_the_views():
    net = nn.Linear(2, 2, rng=0)
    optimizer = optim.SGD(net.parameters(), 1.0)
    net.load_state_dict({"weight": np.zeros((2, 2)), "bias": np.zeros(2)})
    net(np.ones((1, 2))).sum().backward()
    optimizer.step()
    np.testing.assert_array_equal(net.weight.data, -1)


def test_copies_of_the_module_are_on_their_own():
    net = nn.Linear(2, 2, rng=0)
    optimizer = optim.SGD(net.parameters(), 1.0)
    twin = copy.deepcopy(net)
    former = twin.weight.data.copy()
    net(np.ones((1, 2))).sum().backward()
    optimizer.step()
    np.testing.assert_array_equal(twin.weight.data, former)
    assert twin.weight.grad is None


def test_plain_tensors_can_be_optimised():
    x = Tensor(np.array([3.0, -2.0]), requires_grad=True)
    optimizer = optim.Adam([x], 0.1)
    for _ in range(300):
        optimizer.zero_grad()
        ((x - np.array([1.0, 2.0])) ** 2).sum().backward()
        optimizer.step()
    np.testing.assert_allclose(x.data, [1, 2], atol=1e-3)


def test_training_lowers_the_loss():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 2))
    y = (x[:, 0] * x[:, 1] > 0).astype(int)  # exclusive or
    net = nn.Sequential(nn.Linear(2, 16, rng=0), nn.Tanh(), nn.Linear(16, 2, rng=1))
    optimizer, loss = optim.AdamW(net.parameters(), 0.05), nn.CrossEntropyLoss()
    for _ in range(150):
        optimizer.zero_grad()
        loss(net(x), y).backward()
        optimizer.step()
    assert (net.predict(x).argmax(axis=1) == y).mean() >= 0.97


# refusals ---------------------------------------------------------------------------------------------
P = parameters()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: optim.SGD(P, -0.1), ValueError, "SGD: lr must be finite and at least 0, got -0.1"),
        (lambda: optim.SGD(P, float("nan")), ValueError, "SGD: lr must be finite and at least 0, got nan"),
        (lambda: optim.Adam(P, float("inf")), ValueError, "Adam: lr must be finite and at least 0, got inf"),
        (lambda: optim.SGD(P, "0.1"), TypeError, "SGD: lr must be a number, got '0.1'"),
        (lambda: optim.SGD(P, 0.1, 0.9), TypeError, "positional"),
        (
            lambda: optim.SGD(P, 0.1, momentum=1),
            ValueError,
            "SGD: momentum must be at least 0 and less than 1",
        ),
        (lambda: optim.SGD(P, 0.1, nesterov=True), ValueError, "SGD: nesterov=True needs a momentum above 0"),
        (
            lambda: optim.SGD(P, 0.1, weight_decay=-1),
            ValueError,
            "SGD: weight_decay must be finite and at least 0",
        ),
        (
            lambda: optim.Adam(P, betas=(0.9, 1.0)),
            ValueError,
            r"Adam: betas\[1\] must be at least 0 and less than 1",
        ),
        (lambda: optim.Adam(P, betas=0.9), ValueError, "Adam: betas must be a pair, got 0.9"),
        (lambda: optim.AdamW(P, eps=-1e-8), ValueError, "AdamW: eps must be finite and at least 0"),
        (lambda: optim.SGD([], 0.1), ValueError, "SGD: params is empty"),
        (lambda: optim.SGD([P[0], P[1], P[0]], 0.1), ValueError, "SGD: a parameter is in params twice"),
        (
            lambda: optim.SGD(nn.Linear(2, 2), 0.1),
            TypeError,
            r"SGD: params must be parameters, e.g. model.parameters",
        ),
        (lambda: optim.SGD(P[0], 0.1), TypeError, "SGD: params must be parameters"),
        (
            lambda: optim.SGD([np.ones(2)], 0.1),
            TypeError,
            r"SGD: params\[0\] must be a Parameter, got ndarray",
        ),
        (lambda: optim.SGD([P[0] * 2], 0.1), ValueError, r"SGD: params\[0\] is computed from other tensors"),
    ],
)
def test_constructor_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_learning_rate_can_be_set():
    optimizer = optim.SGD(parameters(), 0.1)
    optimizer.lr = 0
    assert optimizer.lr == 0
    with pytest.raises(ValueError, match="SGD: lr must be finite and at least 0, got -1"):
        optimizer.lr = -1
    assert optimizer.lr == 0


def test_repr():
    optimizer = optim.SGD(nn.Linear(3, 4).parameters(), 0.1, momentum=0.9)
    assert (
        repr(optimizer)
        == "SGD(2 parameters, 16 numbers, lr=0.1, momentum=0.9, nesterov=False, weight_decay=0.0)"
    )


def test_base_class_updates_nothing():
    (p,) = params = [nn.Parameter(np.ones(2))]
    optimizer = optim.Optimizer(params, 0.1, ())
    optimizer.step()
    (p * 1).sum().backward()
    with pytest.raises(NotImplementedError):
        optimizer.step()


def test_own_optimizer_takes_a_few_lines():
    class SignDescent(optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, lr, ())

        def update(self, p, g, state, step):
            p -= self.lr * np.sign(g)

    net = nn.Linear(2, 1, rng=0)
    former = net.weight.data.copy()
    lm.exp(net(np.ones((1, 2)))).sum().backward()
    SignDescent(net.parameters(), 0.5).step()
    np.testing.assert_allclose(net.weight.data, former - 0.5)


@pytest.mark.parametrize("cls", [optim.Adam, optim.AdamW, optim.RMSprop, optim.Adagrad, optim.Adadelta])
def test_eps_is_above_zero_and_keeps_parameters_and_padding_whole(cls):
    for eps in (0, 1e-40):
        with pytest.raises(
            ValueError, match=rf"{cls.__name__}: eps must be above 0, at least 1\.18e-38, .* got"
        ):
            cls(parameters(), 0.1, eps=eps)
    optimizer = cls(parameters(), 0.1)
    state = optimizer.state_dict()
    state["options"]["eps"] = 0.0
    with pytest.raises(ValueError, match=f"{cls.__name__}: eps must be above 0"):
        optimizer.load_state_dict(state)
    least = parameters()
    optimizer = cls(least, 0.1, eps=1.2e-38)
    for p in least:  # no gradient but 0
        p.grad = np.zeros_like(p.data)
    before = [p.data.copy() for p in least]
    optimizer.step()
    for p, former in zip(least, before, strict=True):
        np.testing.assert_allclose(p.data, former, rtol=0.01)
    assert all(np.isfinite(group.data).all() for group in optimizer._groups)
