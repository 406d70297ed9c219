"""Schedules of the learning rate, by hand and against PyTorch."""

import math

import numpy as np
import pytest

from lamina import optim


def factors(schedule, epochs, steps=1):
    return [schedule.factor(i / steps, epochs) for i in range(epochs * steps)]


def test_step_decay():
    assert factors(optim.StepDecay(2, gamma=0.5), 5) == [1, 1, 0.5, 0.5, 0.25]
    assert factors(optim.StepDecay(1), 2, steps=2) == [1, 1, 0.1, 0.1]


def test_exponential_decay():
    np.testing.assert_allclose(factors(optim.ExponentialDecay(0.25), 2, steps=2), [1, 0.5, 0.25, 0.125])


def test_cosine():
    np.testing.assert_allclose(factors(optim.Cosine(), 4), [1, 0.5 + math.sqrt(0.125), 0.5, 0.5 - 8**-0.5])
    assert optim.Cosine(end=0.2).factor(5, 10) == pytest.approx(0.6)


def test_one_cycle_rises_then_falls():
    schedule = optim.OneCycle(start=0.1, rise=0.25, end=0.01)
    assert schedule.factor(0, 8) == pytest.approx(0.1)
    assert schedule.factor(1, 8) == pytest.approx(0.55)
    assert schedule.factor(2, 8) == 1
    assert schedule.factor(5, 8) == pytest.approx(0.505)
    assert schedule.factor(8 - 1e-9, 8) == pytest.approx(0.01)


def test_warm_up_then_another():
    schedule = optim.WarmUp(2, optim.Cosine(), start=0.2)
    np.testing.assert_allclose(factors(schedule, 3, steps=2), [0.2, 0.4, 0.6, 0.8, 1, 0.5])
    np.testing.assert_allclose(factors(optim.WarmUp(0.5, start=0), 1, steps=4), [0, 0.5, 1, 1])
    assert optim.WarmUp(9).factor(1.8, 2) == pytest.approx(0.01 + 0.99 * 0.2)  # longer than the run


def watch(schedule, values, name="val_loss"):
    found = []
    for value in values:
        schedule.observe({name: value})
        found.append(schedule.factor(0, 1))
    return found


def test_plateau():
    schedule = optim.Plateau(gamma=0.5, patience=1, min_delta=0.1, least=0.2)
    seen = [3, 2, 1.95, 2, 2, 2, 2, 2, float("nan"), 1]
    assert watch(schedule, seen) == [1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2, 0.2]
    schedule.begin()
    assert schedule.factor(0, 1) == 1
    assert watch(optim.Plateau("accuracy", patience=0, gamma=0.5), [0.5, 0.6, 0.6], "accuracy") == [1, 1, 0.5]
    assert watch(optim.Plateau("loss", patience=0, mode="max", gamma=0.5), [1, 0], "loss") == [1, 0.5]


def test_plateau_goes_on_from_its_state_also_within_a_warm_up():
    first, second = (optim.WarmUp(1, optim.Plateau(gamma=0.5, patience=1)) for _ in range(2))
    watch(first, [1, 2])
    second.load_state_dict(first.state_dict())
    first.observe({"val_loss": 2})
    second.observe({"val_loss": 2})
    assert first.factor(2, 5) == second.factor(2, 5) == 0.5
    assert first.watched() == "val_loss"
    second.begin()
    assert second.factor(2, 5) == 1


@pytest.mark.parametrize("name", ["step", "exponential", "cosine"])
def test_agrees_with_pytorch(name):
    torch = pytest.importorskip("torch")
    ours, theirs = {
        "step": (optim.StepDecay(3, gamma=0.3), lambda o: torch.optim.lr_scheduler.StepLR(o, 3, 0.3)),
        "exponential": (
            optim.ExponentialDecay(0.9),
            lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.9),
        ),
        "cosine": (
            optim.Cosine(end=0.1),
            lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 10, eta_min=0.1),
        ),
    }[name]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler, rates = theirs(optimizer), []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose(factors(ours, 10), rates, rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: optim.StepDecay(0), ValueError, "StepDecay: every must be at least 1, got 0"),
        (lambda: optim.StepDecay(1, gamma=-1), ValueError, "StepDecay: gamma must be finite and at least 0"),
        (lambda: optim.ExponentialDecay(0), ValueError, "ExponentialDecay: gamma must be above 0"),
        (lambda: optim.Cosine(end="x"), TypeError, "Cosine: end must be a number, got 'x'"),
        (lambda: optim.OneCycle(rise=0), ValueError, "OneCycle: rise must be above 0"),
        (lambda: optim.OneCycle(rise=1), ValueError, "OneCycle: rise must be at least 0 and less than 1"),
        (lambda: optim.WarmUp(0), ValueError, "WarmUp: epochs must be above 0"),
        (lambda: optim.WarmUp(1, optim.Cosine), TypeError, "WarmUp: then must be a schedule, as optim.Cos"),
        (lambda: optim.Plateau(patience=-1), ValueError, "Plateau: patience must be at least 0, got -1"),
        (lambda: optim.Plateau(3), TypeError, "Plateau: monitor must be the name of a measure, got 3"),
        (lambda: optim.Plateau(mode="up"), ValueError, "Plateau: unknown mode 'up'"),
    ],
)
def test_refusals(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_representation():
    shown = repr(optim.WarmUp(2, optim.Plateau()))
    assert shown.startswith("WarmUp(epochs=2.0, then=Plateau(monitor='val_loss', gamma=0.1, patience=10")
    assert "_" not in shown.replace("val_loss", "").replace("min_delta", "")
