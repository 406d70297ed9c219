"""The learning-rate finder."""

import numpy as np
import pytest

import lamina as lm
from lamina import nn, optim

DIGITS = lm.datasets.digits()
X, Y = DIGITS.x_train, DIGITS.y_train


def network():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32, rng=0), nn.ReLU(), nn.Linear(32, 10, rng=1))


def find(model=None, cls=optim.SGD, x=X, y=Y, **options):
    model = model or network()
    given = {"loss": nn.CrossEntropyLoss(), "optimizer": cls(model.parameters(), 0.1), "seed": 0, **options}
    return lm.find_lr(model, x, y, **given)


@pytest.mark.parametrize("cls", [optim.SGD, optim.Adam])
def test_the_suggestion_trains_and_the_blown_up_rate_does_not(cls):
    found = find(cls=cls, batch_size=64)
    assert 1e-4 < found.suggestion < 3
    assert found.losses[-1] > 1.3 * found.losses.min()
    ends = []
    for rate in (found.suggestion, 30 * found.rates[-1], 1e-6):
        model = network()
        try:
            with np.errstate(all="ignore"):
                history = lm.fit(
                    model,
                    X,
                    Y,
                    loss=nn.CrossEntropyLoss(),
                    optimizer=cls(model.parameters(), rate),
                    epochs=2,
                    seed=0,
                    verbose=0,
                )
            ends.append(history["loss"][-1])
        except lm.train.Diverged:
            ends.append(np.inf)
    assert ends[0] < 0.6 * min(ends[1], ends[2])


def test_rates_rise_by_equal_factors_and_the_first_loss_is_the_models():
    found = find(least=1e-5, most=1e-2, steps=4, batch_size=len(X))
    np.testing.assert_allclose(found.rates, [1e-5, 1e-4, 1e-3, 1e-2])
    loss = lm.evaluate(network(), X, Y, loss=nn.CrossEntropyLoss())["loss"]
    assert found.losses[0] == pytest.approx(loss, rel=1e-5)


def test_the_steepest_fall_well_before_the_least_loss():
    rates = np.geomspace(1e-4, 1, 5)
    assert lm.train.Rates(rates, np.array([3.0, 2.0, 1.9, 1.8, 5.0])).suggestion == rates[0]
    assert lm.train.Rates(rates, np.array([3.0, 2.9, 2.8, 1.0, 5.0])).suggestion == rates[2]
    assert lm.train.Rates(rates, np.array([3.0, 2.9, 1.0, 2.0, 5.0])).suggestion == rates[1]
    assert lm.train.Rates(rates, np.array([3.0, 2.9, 2.8, 2.7, 1.0])).suggestion == rates[4] / 3
    with pytest.raises(ValueError, match="the loss fell at no rate"):
        _ = lm.train.Rates(rates, np.array([1.0, 2, 3, 4, 5])).suggestion


def test_nothing_changes():
    lm.manual_seed(4)
    model = nn.Sequential(nn.Dropout(0.2), network())
    adam = optim.Adam(model.parameters(), 0.1)
    former, state, random = model.state_dict(), adam.state_dict(), lm.config.rng().bit_generator.state
    first = lm.find_lr(model, X, Y, loss=nn.CrossEntropyLoss(), optimizer=adam, steps=20)
    second = lm.find_lr(model, X, Y, loss=nn.CrossEntropyLoss(), optimizer=adam, steps=20)
    np.testing.assert_array_equal(first.losses, second.losses)
    assert lm.config.rng().bit_generator.state == random
    assert adam.lr == 0.1
    assert adam.state_dict()["steps"] == state["steps"]
    assert all((former[name] == array).all() for name, array in model.state_dict().items())


def test_autoencoders_and_loaders():
    rows = X.reshape(len(X), -1)
    model = lm.autoencoders.DenseAutoencoder(64, 16)
    found = lm.find_lr(model, rows, optimizer=optim.Adam(model.parameters()), batch_size=50, seed=0)
    assert found.suggestion > 1e-5
    loader = lm.data.Loader(X, Y, batch_size=50)
    assert find(x=loader, y=None, steps=40).suggestion > 1e-4  # more than one epoch


def test_plot(tmp_path):
    pytest.importorskip("matplotlib")
    figure = find(steps=30, batch_size=64).plot(tmp_path / "rates.png")
    assert (tmp_path / "rates.png").stat().st_size > 1000
    assert figure.axes[0].get_xscale() == "log"


class WithoutRate:
    def zero_grad(self): ...
    def step(self): ...


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"least": 0}, ValueError, "find_lr: expected 0 < least < most, got 0 and 10"),
        ({"least": 2, "most": 1}, ValueError, "expected 0 < least < most, got 2 and 1"),
        ({"steps": 1}, ValueError, "find_lr: steps must be at least 2, got 1"),
        ({"optimizer": "adam"}, TypeError, "find_lr: optimizer must be an optimiser"),
        ({"optimizer": WithoutRate()}, TypeError, r"find_lr sets optimizer\.lr, which WithoutRate does not"),
        ({"loss": None}, TypeError, "find_lr: loss must be a function"),
        ({"x": X * np.nan}, ValueError, "find_lr: the loss is not finite before any step"),
        ({"y": Y[:3]}, ValueError, "find_lr: x has 1437 samples"),
    ],
)
def test_refusals(options, error, message):
    with pytest.raises(error, match=message):
        find(**options)


def test_suggestions_do_not_hang_on_the_batches_that_were_drawn():
    """Batches differ more in their loss than the first steps change it: no fall between them may count."""
    found = []
    for seed in range(8):
        batches = lm.data.Loader(X, Y, batch_size=32, augment=lm.data.Shift(1), seed=seed)
        model = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 32, rng=seed), nn.ReLU(), nn.Linear(32, 10, rng=seed)
        )
        found.append(find(model, x=batches, y=None, seed=None).suggestion)
    assert max(found) < 5 * min(found), found
