"""States of optimisers: what they hold, runs that go on from them, and those that do not fit."""

import copy

import numpy as np
import pytest

from lamina import optim
from tests.optim.helpers import SETTINGS, SHAPES, give, gradients, parameters


@pytest.mark.parametrize("name", SETTINGS)
def test_a_run_goes_on_from_a_state(name):
    cls, options = SETTINGS[name]
    params = parameters()
    optimizer = cls(params, **options)
    for step in range(4):
        if step == 2:
            optimizer.lr = 0.02
            state = copy.deepcopy(optimizer.state_dict())
            twins = [copy.deepcopy(p) for p in params]
        optimizer.zero_grad()
        give(params, [None if i == 1 and step == 0 else g for i, g in enumerate(gradients(step))])
        optimizer.step()
    again = cls(twins, **{**options, "lr": 0.7})
    again.load_state_dict(state)
    assert again.lr == 0.02
    for step in (2, 3):
        again.zero_grad()
        give(twins, gradients(step))
        again.step()
    for p, q in zip(params, twins, strict=True):
        np.testing.assert_array_equal(p.data, q.data)


def test_state_dict():
    optimizer = optim.SGD(parameters(), 0.1, momentum=0.9)
    state = optimizer.state_dict()
    assert state["optimizer"] == "SGD"
    assert state["options"] == {"lr": 0.1, "momentum": 0.9, "nesterov": False, "weight_decay": 0.0}
    assert state["steps"] == [0, 0, 0, 0]
    assert [a.shape for a in state["buffers"]["velocity"]] == SHAPES
    state["buffers"]["velocity"][0][:] = 9
    assert not optimizer.state_dict()["buffers"]["velocity"][0].any()


def _broken(change):
    state = optim.SGD(parameters(), 0.1, momentum=0.9).state_dict()
    change(state)
    return state


def _velocity(value):
    return _broken(lambda s: s["buffers"]["velocity"].__setitem__(3, value))


def _options(**changed):
    return _broken(lambda s: s["options"].update(changed))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (optim.Adam(parameters()).state_dict(), "load_state_dict of SGD: the state is of 'Adam'"),
        (optim.SGD(parameters(), 0.1).state_dict(), r"expected options .* and buffers \['velocity'\]"),
        (optim.SGD(parameters()[:2], 0.1, momentum=0.9).state_dict(), "the state is not of 4 parameters"),
        (
            _broken(lambda s: s["buffers"]["velocity"].__setitem__(1, np.zeros(6))),
            r"velocity\[1\] has shape \(6,\)",
        ),
        (_broken(lambda s: s["options"].update(lr=-1.0)), "SGD: lr must be finite and at least 0, got -1.0"),
        (_broken(lambda s: s.pop("steps")), "the state is of 'SGD', with"),
        (_broken(lambda s: s.update(steps=[1, 2, -5, 1])), r"steps\[2\] must be at least 0, got -5"),
        (_broken(lambda s: s.update(steps=[1, 2.0, 5, 1])), r"steps\[1\] must be an int, got 2.0"),
        (_broken(lambda s: s.update(steps=[True] * 4)), r"steps\[0\] must be an int, got True"),
        (_broken(lambda s: s.update(steps=4)), "the state is not of 4 parameters"),
        (_broken(lambda s: s.update(options=["lr"])), r"expected options \['lr'"),
        (_options(momentum=5), "SGD: momentum must be at least 0 and less than 1, got 5"),
        (_options(momentum="0.9"), "SGD: momentum must be a number, got '0.9'"),
        (_options(momentum=0.0), r"momentum 0.0 does not go with the buffers \['velocity'\]"),
        (_options(momentum=0.0, nesterov=True), "SGD: nesterov=True needs a momentum above 0"),
        (_options(nesterov=1), "SGD: nesterov must be True or False, got 1"),
        (_options(weight_decay=np.nan), "SGD: weight_decay must be finite and at least 0, got nan"),
        (_velocity(np.ones((2, 1, 3)) * 1j), r"velocity\[3\] is complex128, expected float64"),
        (_velocity(np.full((2, 1, 3), "a")), r"velocity\[3\] is <U1, expected float64"),
        (_velocity(np.full((2, 1, 3), None)), r"velocity\[3\] is object, expected float64"),
        ([], "the state must be a dict, got list"),
    ],
)
def test_states_that_do_not_fit_change_nothing(state, message):
    optimizer = optim.SGD(parameters(), 0.2, momentum=0.8)
    with pytest.raises((TypeError, ValueError), match=message):
        optimizer.load_state_dict(state)
    after = optimizer.state_dict()
    assert after["options"] == {"lr": 0.2, "momentum": 0.8, "nesterov": False, "weight_decay": 0.0}
    assert after["steps"] == [0, 0, 0, 0]
    assert not any(a.any() for a in after["buffers"]["velocity"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["options"].update(betas=(0.9, 1.0)), r"AdamW: betas\[1\] must be at least 0 and less"),
        (lambda s: s["options"].update(betas=0.9), "AdamW: betas must be a pair, got 0.9"),
        (lambda s: s["options"].update(eps=-1.0), "AdamW: eps must be finite and at least 0"),
        (lambda s: s["options"].update(lr="fast"), "AdamW: lr must be a number, got 'fast'"),
        (lambda s: s["buffers"]["square"][1].fill(-1), r"square\[1\] is a mean of squares but has negative"),
        (
            lambda s: s["buffers"]["mean"].__setitem__(1, np.full(5, 1e300)),
            r"mean\[1\] has numbers too large",
        ),
    ],
)
def test_states_of_adam_that_do_not_fit_change_nothing(change, message):
    optimizer = optim.AdamW(parameters(np.float32), 0.2)
    before, state = optimizer.state_dict(), optimizer.state_dict()
    state["steps"] = [3, 3, 3, 3]
    state["buffers"]["mean"][0][:] = 1
    change(state)
    with pytest.raises((TypeError, ValueError), match=message):
        optimizer.load_state_dict(state)
    after = optimizer.state_dict()
    assert after["options"] == before["options"]
    assert after["steps"] == [0, 0, 0, 0]
    assert not any(a.any() for each in after["buffers"].values() for a in each)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["options"].update(alpha=1.0), "RMSprop: alpha must be at least 0 and less than 1"),
        (lambda s: s["options"].update(eps=-1.0), "RMSprop: eps must be finite and at least 0"),
        (lambda s: s["options"].update(lr="fast"), "RMSprop: lr must be a number, got 'fast'"),
        (lambda s: s["buffers"]["square"][1].fill(-1), r"square\[1\] is of squares but has negative"),
    ],
)
def test_states_of_rmsprop_that_do_not_fit_change_nothing(change, message):
    optimizer = optim.RMSprop(parameters(), 0.2)
    before, state = optimizer.state_dict(), optimizer.state_dict()
    state["buffers"]["square"][0][:] = 1
    change(state)
    with pytest.raises((TypeError, ValueError), match=message):
        optimizer.load_state_dict(state)
    after = optimizer.state_dict()
    assert after["options"] == before["options"]
    assert not any(a.any() for a in after["buffers"]["square"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: optim.RMSprop(p, alpha=1.0), "RMSprop: alpha must be at least 0 and less than 1, got 1.0"),
        (lambda p: optim.RMSprop(p, -0.1), "RMSprop: lr must be finite and at least 0, got -0.1"),
        (lambda p: optim.Adagrad(p, eps=np.nan), "Adagrad: eps must be finite and at least 0, got nan"),
    ],
)
def test_numbers_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make(parameters())


def test_a_momentum_needs_a_velocity_in_the_state():
    optimizer = optim.SGD(parameters(), 0.1)
    state = optimizer.state_dict()
    state["options"]["momentum"] = 0.5
    with pytest.raises(ValueError, match=r"momentum 0.5 does not go with the buffers \[\]"):
        optimizer.load_state_dict(state)
    assert optimizer.momentum == 0


def test_a_state_may_come_as_lists_and_of_another_precision():
    """As JSON gives it back, say; and a float64 state, or one with NaN, goes into float32 parameters."""
    optimizer = optim.Adam(parameters(np.float32))
    state = optim.Adam(parameters(), betas=(0.5, 0.6)).state_dict()
    state["options"]["betas"] = [0.5, 0.6]
    state["steps"] = np.arange(4)
    state["buffers"]["mean"][1] = [0.1, 1, np.nan, np.inf, 2]
    optimizer.load_state_dict(state)
    assert optimizer.betas == (0.5, 0.6)
    after = optimizer.state_dict()
    assert after["steps"] == [0, 1, 2, 3]
    assert after["buffers"]["mean"][1].dtype == np.float32
    np.testing.assert_array_equal(after["buffers"]["mean"][1], np.float32([0.1, 1, np.nan, np.inf, 2]))


def test_an_option_that_refuses_leaves_the_others():
    class Own(optim.Optimizer):
        options = ("lr", "even")
        even = property(lambda self: self._even)

        @even.setter
        def even(self, value):
            if value % 2:
                raise RuntimeError("odd")
            self._even = value

    optimizer = Own(parameters(), 0.1, ())
    optimizer.even = 2
    state = optimizer.state_dict()
    state["options"] = {"lr": 0.7, "even": 3}
    with pytest.raises(RuntimeError, match="odd"):
        optimizer.load_state_dict(state)
    assert (optimizer.lr, optimizer.even) == (0.1, 2)
