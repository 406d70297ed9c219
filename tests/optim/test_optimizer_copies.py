"""Optimisers and their models through deepcopy, copy and pickle: what comes out trains on, on its own."""

import copy
import pickle

import numpy as np
import pytest

from lamina import nn, optim

X = np.random.default_rng(0).normal(size=(5, 3))
DUPLICATES = {
    "deepcopy": copy.deepcopy,
    **{
        f"pickle {protocol}": lambda thing, protocol=protocol: pickle.loads(pickle.dumps(thing, protocol))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}
OPTIMIZERS = {
    "SGD": lambda params: optim.SGD(params, 0.1),
    "momentum": lambda params: optim.SGD(params, 0.1, momentum=0.9, nesterov=True),
    "Adam": lambda params: optim.Adam(params, 0.01, betas=(0.8, 0.9)),
    "AdamW": lambda params: optim.AdamW(params, 0.01, weight_decay=0.1),
    "RMSprop": lambda params: optim.RMSprop(params, 0.01, alpha=0.9),
    "Adagrad": lambda params: optim.Adagrad(params, 0.01),
}


class Mixed(nn.Module):
    """float64, then float32: an optimiser keeps its parameters in two groups."""

    def __init__(self):
        self.first, self.second = nn.Linear(3, 4, rng=0).astype(np.float64), nn.Linear(4, 2, rng=1)

    def forward(self, x):
        return self.second(self.first(x).astype(np.float32))


def train(model, optimizer, steps=3):
    for step in range(steps):
        optimizer.zero_grad()
        (model(X + step) ** 2).mean().backward()
        optimizer.step()


def values(model):
    return [p.data.copy() for p in model.parameters()]


def assert_same(found, wanted):
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("duplicate", DUPLICATES)
@pytest.mark.parametrize("make", OPTIMIZERS)
@pytest.mark.parametrize("network", [lambda: nn.Linear(3, 2, rng=0), Mixed])
@pytest.mark.parametrize("optimizer_first", [False, True])
def test_a_pair_copied_together_trains_on(network, make, duplicate, optimizer_first):
    model = network()
    optimizer = OPTIMIZERS[make](model.parameters())
    train(model, optimizer)
    pair = (optimizer, model) if optimizer_first else (model, optimizer)
    first, second = DUPLICATES[duplicate](pair)
    model2, optimizer2 = (second, first) if optimizer_first else (first, second)
    assert repr(optimizer2) == repr(optimizer)
    assert [id(p) for p in optimizer2.parameters] == [id(p) for p in model2.parameters()]
    before = values(model)
    train(model2, optimizer2)
    assert_same(values(model), before)
    train(model, optimizer)
    assert_same(values(model2), values(model))
    ours, theirs = optimizer.state_dict(), optimizer2.state_dict()
    assert theirs["options"] == ours["options"]
    assert theirs["steps"] == ours["steps"]
    for key, each in ours["buffers"].items():
        assert_same(theirs["buffers"][key], each)


@pytest.mark.parametrize("duplicate", DUPLICATES)
def test_the_copy_lies_in_flat_memory_too(duplicate):
    model = nn.Linear(3, 2)
    model2, optimizer2 = DUPLICATES[duplicate]((model, optim.Adam(model.parameters())))
    (group,) = optimizer2._groups
    model2(X).sum().backward()
    for p in model2.parameters():
        assert np.shares_memory(p.data, group.data)
        assert np.shares_memory(p.grad, group.grad)
        assert p.data.dtype is np.dtype(np.float32)  # the object itself: ops take a slower way with others


@pytest.mark.parametrize("duplicate", DUPLICATES)
def test_gradients_are_copied_and_count(duplicate):
    model = nn.Linear(3, 2, rng=0)
    optimizer = optim.SGD(model.parameters(), 0.1)
    model(X).sum().backward()
    model2, optimizer2 = DUPLICATES[duplicate]((model, optimizer))
    assert not any(
        np.shares_memory(p.grad, q.grad) for p, q in zip(model.parameters(), model2.parameters(), strict=True)
    )
    optimizer.step()
    optimizer2.step()
    assert_same(values(model2), values(model))


@pytest.mark.parametrize("duplicate", DUPLICATES)
def test_an_optimizer_copied_alone_has_parameters_of_its_own(duplicate):
    model = nn.Linear(3, 2, rng=0)
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9)
    train(model, optimizer)
    optimizer2 = DUPLICATES[duplicate](optimizer)
    before = values(model)
    for p in optimizer2.parameters:
        (p * 3).sum().backward()
    optimizer2.step()
    assert_same(values(model), before)
    assert all((p.data != q).any() for p, q in zip(optimizer2.parameters, before, strict=True))


@pytest.mark.parametrize("duplicate", DUPLICATES)
def test_a_model_copied_alone_is_independent(duplicate):
    model = nn.Linear(3, 2, rng=0)
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9)
    train(model, optimizer)
    twin = DUPLICATES[duplicate](model)
    grads = [p.grad.copy() for p in model.parameters()]
    before = values(twin)
    twin(X).sum().backward()
    assert_same([p.grad for p in model.parameters()], grads)
    train(model, optimizer)
    assert_same(values(twin), before)
    before = values(model)
    twin.zero_grad()
    train(twin, optim.SGD(twin.parameters(), 0.5))
    assert_same(values(model), before)


def test_a_shallow_copy_steps_the_same_parameters_with_a_state_of_its_own():
    model = nn.Linear(3, 2, rng=0)
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9)
    train(model, optimizer, 1)
    twin = copy.copy(optimizer)
    velocity = optimizer.state_dict()["buffers"]["velocity"]
    assert_same(twin.state_dict()["buffers"]["velocity"], velocity)
    before = values(model)
    train(model, twin, 1)
    assert all((p != q).any() for p, q in zip(values(model), before, strict=True))
    assert_same(optimizer.state_dict()["buffers"]["velocity"], velocity)
    before = values(model)
    train(model, optimizer, 1)
    assert all((p != q).any() for p, q in zip(values(model), before, strict=True))


class Own(optim.Optimizer):
    """With an attribute and a reference back from the model, as in a training program's own class."""

    def __init__(self, model):
        super().__init__(model.parameters(), 0.1, ("total",))
        self.model, self.notes = model, ["a note"]

    def update(self, p, g, state, step):
        state["total"] += g
        p -= self.lr / step * state["total"]


@pytest.mark.parametrize("duplicate", DUPLICATES)
def test_an_optimizer_of_ones_own_that_holds_its_model(duplicate):
    model = nn.Linear(3, 2, rng=0)
    model.optimizer = Own(model)
    train(model, model.optimizer)
    twin = DUPLICATES[duplicate](model)
    assert twin.optimizer.model is twin
    assert twin.optimizer.notes == ["a note"]
    assert twin.optimizer.notes is not model.optimizer.notes
    train(twin, twin.optimizer)
    train(model, model.optimizer)
    assert_same(values(twin), values(model))


def test_parameters_of_another_dtype_by_now_are_refused():
    model = nn.Linear(3, 2)
    optimizer = optim.SGD(model.parameters(), 0.1)
    model.astype(np.float64)
    with pytest.raises(ValueError, match=r"made for a parameter of shape .* make a new optimiser"):
        copy.deepcopy((model, optimizer))


def test_a_gradient_lasts_beyond_zero_grad_as_a_copy():
    """As `zero_grad` says: the flat memory is written again."""
    model = nn.Linear(3, 2, rng=0)
    optimizer = optim.SGD(model.parameters(), 0.1)
    model(X).sum().backward()
    kept, copied = model.weight.grad, model.weight.grad.copy()
    optimizer.zero_grad()
    assert model.weight.grad is None
    np.testing.assert_array_equal(kept, copied)
    model(2 * X).sum().backward()
    assert model.weight.grad is kept
    np.testing.assert_allclose(kept, 2 * copied, rtol=1e-6)
