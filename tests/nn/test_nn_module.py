"""Module: what it finds inside, modes, states, predict, summary, how it prints and copies."""

import copy
import gc
import pickle
import re
import weakref

import numpy as np
import pytest

import lamina as lm
from lamina import nn
from lamina.autoencoders import Tied

RNG = np.random.default_rng(2)


class Net(nn.Module):
    """Parameters in every place where they may be; no super().__init__()."""

    def __init__(self):
        self.first = nn.Linear(3, 4, rng=0)
        self.scale = nn.Parameter([1.0, 2.0, 3.0, 4.0])
        self.blocks = [nn.Linear(4, 4, rng=1), nn.Sequential(nn.ReLU(), nn.Linear(4, 4, bias=False, rng=2))]
        self.heads = {"a": nn.Linear(4, 2, rng=3)}
        self.again = self.first  # shared
        self.note = "nothing to learn"
        self.register_buffer("count", np.array(7.0))

    def forward(self, x):
        y = self.first(x) * self.scale
        for block in self.blocks:
            y = block(y)
        return self.heads["a"](y)


NAMES = [
    "scale",
    "first.weight",
    "first.bias",
    "blocks.0.weight",
    "blocks.0.bias",
    "blocks.1.1.weight",
    "heads.a.weight",
    "heads.a.bias",
]


def test_finds_parameters_buffers_and_modules():
    net = Net()
    assert [name for name, _ in net.named_parameters()] == NAMES
    assert [name for name, _ in net.named_buffers()] == ["count"]
    assert [name for name, _ in net.named_modules()] == [
        "",
        "first",
        "blocks.0",
        "blocks.1",
        "blocks.1.0",
        "blocks.1.1",
        "heads.a",
    ]
    assert len(list(net.parameters())) == 8
    assert net.count_parameters() == 4 + 16 + 20 + 16 + 10
    assert list(net.children()) == [net.first, *net.blocks, net.heads["a"], net.first]


def test_modules_that_hold_each_other_do_not_hang():
    a, b = nn.Module(), nn.Linear(2, 2)
    a.other, b.other = b, a
    assert len(list(a.modules())) == 2
    assert a.count_parameters() == 6


def test_parameter_is_its_own_copy():
    array = np.asfortranarray(np.ones((2, 3)))
    p = nn.Parameter(array)
    array[:] = 5
    assert p.requires_grad
    assert p.data.flags.c_contiguous
    assert (p.data == 1).all()
    assert p.dtype == np.float64
    with pytest.raises(TypeError, match="can have no gradient"):
        nn.Parameter(np.arange(3))


def test_training_reaches_everything_and_gradients_are_forgotten():
    net = Net()
    net(RNG.normal(size=(2, 3))).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    assert net.training
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    assert net.train() is net
    assert all(m.training for m in net.modules())


def test_forward_is_missing():
    with pytest.raises(NotImplementedError, match=r"Module defines no forward\(\)"):
        nn.Module()(np.zeros(2))


def test_lists_of_tensors_are_refused():
    with pytest.raises(TypeError, match=r"use lamina\.stack"):
        nn.ReLU()([lm.Tensor([1.0])])


class Outer(nn.Module):
    """Calls ops of its own, beside layers."""

    def __init__(self):
        self.inner = nn.Sequential(nn.Linear(3, 2))

    def forward(self, x):
        return lm.softmax(self.inner(x), axis=3)


def test_errors_say_where_in_the_model_they_come_from():
    message = (
        "Linear: x has 4 features (shape (2, 4)) but weight expects 3 (shape (2, 3), OI) [layer inner.0]"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Outer()(np.zeros((2, 4)))
    for module, where in ((Outer(), ""), (nn.Sequential(nn.ReLU(), Outer()), r" \[layer 1\]")):
        with pytest.raises(ValueError, match=f"^softmax: axis must be at most 1, got 3{where}$"):
            module(np.zeros((2, 3)))


# states -----------------------------------------------------------------------------------------------
def test_state_dict_is_a_copy():
    net = Net()
    state = net.state_dict()
    assert sorted(state) == sorted([*NAMES, "count"])
    state["scale"][:] = 0
    assert net.scale.data[0] == 1


def test_load_state_dict_copies_in_place():
    net, other = Net(), Net()
    for p in other.parameters():
        p.data += 1
    other.count += 1
    arrays = {name: p.data for name, p in net.named_parameters()}
    state = {name: array.astype(np.float64) for name, array in other.state_dict().items()}
    net.load_state_dict(state)
    for name, p in net.named_parameters():
        assert p.data is arrays[name]
        assert p.dtype == np.float32
    np.testing.assert_array_equal(net.scale.data, [2, 3, 4, 5])
    assert net.count == 8
    x = RNG.normal(size=(2, 3))
    np.testing.assert_array_equal(net(x).data, other(x).data)
    state["scale"][:] = 100
    assert net.scale.data[0] == 2


def test_load_state_dict_lists_all_problems_and_changes_nothing():
    net = Net()
    state = net.state_dict()
    former = {name: array.copy() for name, array in state.items()}
    del state["scale"]
    state["first.weigth"] = np.zeros(1)
    state["first.weight"] = np.zeros((3, 4))
    state["first.bias"] = np.zeros(4, complex)
    state["blocks.0.bias"] = np.full(4, 9.0)
    message = (
        "load_state_dict of Net: scale is missing (shape (4,) of Net); "
        "first.weigth is unknown (shape (1,), here Linear has none); "
        "first.weight has shape (3, 4), expected (4, 3) of Linear; first.bias is complex128, expected float32"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        net.load_state_dict(state)
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, former[name])


def test_a_state_of_another_architecture_names_layers_and_both_shapes():
    saved = nn.Sequential(nn.Conv2d(1, 6, 5), nn.ReLU(), nn.Flatten(), nn.Linear(96, 10), nn.Linear(10, 2))
    model = nn.Sequential(nn.Conv2d(3, 6, 5), nn.ReLU(), nn.Flatten(), nn.BatchNorm1d(96))
    with pytest.raises(ValueError, match=r"^load_state_dict of Sequential: ") as caught:
        model.load_state_dict(saved.state_dict())
    assert str(caught.value).partition(": ")[2].split("; ") == [
        "3.running_mean is missing (shape (96,) of BatchNorm1d)",
        "3.running_var is missing (shape (96,) of BatchNorm1d)",
        "4.weight is unknown (shape (2, 10), here Sequential has none)",
        "4.bias is unknown (shape (2,), here Sequential has none)",
        "0.weight has shape (6, 5, 5, 1), expected (6, 5, 5, 3) of Conv2d",
        "3.weight has shape (10, 96), expected (96,) of BatchNorm1d",
        "3.bias has shape (10,), expected (96,) of BatchNorm1d",
    ]


def test_load_state_dict_not_strict():
    net = Net()
    net.load_state_dict({"scale": np.zeros(4), "unknown": np.zeros(1)}, strict=False)
    np.testing.assert_array_equal(net.scale.data, 0)
    with pytest.raises(ValueError, match=r"scale has shape \(5,\), expected \(4,\)"):
        net.load_state_dict({"scale": np.zeros(5)}, strict=False)


def test_astype():
    net = Net()
    net(np.zeros((1, 3))).sum().backward()
    assert net.astype(np.float64) is net
    assert {p.dtype for p in net.parameters()} == {np.dtype(np.float64)}
    assert all(p.grad is None for p in net.parameters())
    assert net(RNG.normal(size=(2, 3))).dtype == np.float64
    with pytest.raises(TypeError, match="astype: dtype must be float32 or float64, got int64"):
        net.astype(np.int64)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies(duplicate):
    net = Net().eval()
    x = RNG.normal(size=(2, 3))
    twin = duplicate(net)
    np.testing.assert_array_equal(twin(x).data, net(x).data)
    assert not twin.training
    assert twin.again is twin.first
    for p in twin.parameters():
        p.data += 1
    np.testing.assert_array_equal(net.scale.data, [1, 2, 3, 4])


def test_modules_make_no_reference_cycles():
    gc.collect()
    gc.disable()
    try:
        net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
        weight = weakref.ref(net[0].weight)
        loss = nn.CrossEntropyLoss()(net(np.zeros((2, 4, 4, 1))), [0, 1])
        loss.backward()
        del net, loss
        assert weight() is None
    finally:
        gc.enable()


# Sequential -------------------------------------------------------------------------------------------
def test_sequential_is_a_sequence():
    layers = [nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)]
    net = nn.Sequential(*layers)
    assert list(net) == layers
    assert len(net) == 3
    assert net[1] is layers[1]
    assert net[-1] is layers[2]
    assert list(net[:2]) == layers[:2]
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    with pytest.raises(IndexError):
        net[3]
    x = RNG.normal(size=(2, 2)).astype(np.float32)
    np.testing.assert_array_equal(nn.Sequential()(x).data, x)
    assert len(nn.Sequential(*[nn.ReLU()] * 12)) == 12


def test_summary_of_any_module():
    net = Net()
    found = net.summary(3)
    assert [row.name for row in found.rows] == ["first", "blocks.0", "blocks.1.0", "blocks.1.1", "heads.a"]
    assert found.parameters == net.count_parameters()
    assert found.multiply_adds == 12 + 16 + 16 + 8
    cell = nn.LSTMCell(5, 4).summary(5)
    assert (cell.rows[0].volume, cell.parameters, cell.multiply_adds) == ("5 -> 4", 160, 144)
    assert nn.Linear(5, 2).summary((7, 5)).multiply_adds == 70


# how modules print ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nn.Linear(3, 4), "Linear(3, 4)"),
        (lambda: nn.Linear(3, 4, bias=False, rng=0), "Linear(3, 4, bias=False)"),
        (lambda: nn.Conv2d(3, 4, (3, 5), padding="same"), "Conv2d(3, 4, (3, 5), padding='same')"),
        (lambda: nn.MaxPool2d(3, 2), "MaxPool2d(3, stride=2)"),
        (lambda: nn.ReLU(), "ReLU()"),
        (lambda: nn.Dropout(0.1), "Dropout(p=0.1)"),
        (lambda: nn.LSTMCell(3, 4), "LSTMCell(3, 4)"),
        (lambda: nn.LSTM(3, 4), "LSTM(3, 4)"),
        (lambda: nn.GRU(3, 4, 2, dropout=0.1), "GRU(3, 4, num_layers=2, dropout=0.1)"),
        (lambda: Tied(nn.Linear(3, 4)), "Tied(Linear(3, 4))"),
        (
            lambda: nn.Sequential(nn.ReLU(), nn.Sequential(nn.Tanh())),
            "Sequential(\n  (0): ReLU()\n  (1): Sequential(\n    (0): Tanh()\n  )\n)",
        ),
    ],
)
def test_repr(make, text):
    assert repr(make()) == text
