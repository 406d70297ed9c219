"""Schedules and averaged weights in `fit`."""

import numpy as np
import pytest

import lamina as lm
from lamina import nn, optim, train

RNG = np.random.default_rng(7)
X = RNG.normal(size=(60, 4)).astype(np.float32)
LABELS = (X[:, 0] + X[:, 1] > 0).astype(np.int64)


def network():
    return nn.Sequential(nn.Linear(4, 8, rng=0), nn.Tanh(), nn.Linear(8, 2, rng=1))


def fit(model, optimizer=None, **options):
    optimizer = optimizer or optim.SGD(model.parameters(), 0.1)
    given = {"epochs": 3, "batch_size": 20, "seed": 0, "verbose": 0, **options}
    return lm.fit(model, X, LABELS, loss=nn.CrossEntropyLoss(), optimizer=optimizer, **given)


def weights(model):
    return [p.data.copy() for p in model.parameters()]


def test_the_rate_follows_the_schedule_and_comes_back():
    model, rates = network(), []
    sgd = optim.SGD(model.parameters(), 0.5)
    note = train.LambdaCallback(on_batch_end=lambda run: rates.append(run.optimizer.lr))
    history = fit(model, sgd, schedule=optim.Cosine(), callbacks=[note])
    expected = [0.25 * (1 + np.cos(np.pi * i / 9)) for i in range(9)]  # three steps an epoch
    np.testing.assert_allclose(rates, expected, rtol=1e-12)
    assert history["lr"] == rates[2::3]
    assert sgd.lr == 0.5


def test_the_schedule_changes_what_is_learned_as_by_hand():
    model, twin = network(), network()
    fit(model, schedule=optim.StepDecay(1, gamma=0.5))
    sgd = optim.SGD(twin.parameters(), 0.1)
    halve = train.LambdaCallback(on_epoch_end=lambda run: setattr(sgd, "lr", sgd.lr / 2))
    fit(twin, sgd, callbacks=[halve])
    for a, b in zip(weights(model), weights(twin), strict=True):
        np.testing.assert_array_equal(a, b)


def test_plateau_sees_the_measures():
    schedule = optim.Plateau("val_accuracy", patience=0, min_delta=2.0, gamma=0.5)  # never good enough
    history = fit(network(), schedule=schedule, validation=0.2, metrics=["accuracy"], epochs=4)
    assert history["lr"] == [0.1, 0.1, 0.05, 0.025]


def test_the_rate_comes_back_also_after_an_error():
    model = network()
    sgd = optim.SGD(model.parameters(), 0.5)
    fail = train.LambdaCallback(on_epoch_end=lambda run: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fit(model, sgd, schedule=optim.ExponentialDecay(0.1), callbacks=[fail])
    assert sgd.lr == 0.5


def test_schedules_that_cannot_be():
    with pytest.raises(TypeError, match=r"fit: schedule must be a schedule, as optim.Cosine\(\), got 'cos'"):
        fit(network(), schedule="cos")
    with pytest.raises(ValueError, match="Plateau: no measure 'val_loss', there are loss, lr; give fit val"):
        fit(network(), schedule=optim.Plateau())

    class Own:
        def zero_grad(self): ...
        def step(self): ...

    with pytest.raises(TypeError, match=r"schedule sets optimizer\.lr, which Own does not have"):
        fit(network(), Own(), schedule=optim.Cosine())


def test_ema_is_the_average_by_hand_and_is_what_is_validated_and_kept():
    model, twin, seen = network(), network(), []
    steps = []
    note = train.LambdaCallback(
        on_batch_end=lambda run: steps.append(weights(run.model)),
        on_epoch_end=lambda run: seen.append(weights(run.model)),
    )
    history = fit(model, callbacks=[train.EMA(0.6), note], validation=(X, LABELS))
    fit(twin)
    for a, b in zip(steps[-1], weights(twin), strict=True):
        np.testing.assert_array_equal(a, b)  # training itself is not disturbed
    mean = steps[0]
    averages = []
    for t, step in enumerate(steps, 1):
        share = 1 - min(0.6, (1 + t) / (10 + t))
        mean = [m + (w - m) * share for m, w in zip(mean, step, strict=True)]
        averages.append(mean)
    for epoch in range(3):
        for ours, right in zip(seen[epoch], averages[3 * epoch + 2], strict=True):
            np.testing.assert_allclose(ours, right, rtol=1e-5, atol=1e-6)
    for ours, right in zip(weights(model), seen[-1], strict=True):
        np.testing.assert_array_equal(ours, right)
    measured = lm.evaluate(model, X, LABELS, loss=nn.CrossEntropyLoss(), batch_size=20)
    assert history["val_loss"][-1] == measured["loss"]
    assert any((a != b).any() for a, b in zip(weights(model), weights(twin), strict=True))


def test_swa_is_the_mean_of_the_last_epochs():
    model, ends = network(), []
    note = train.LambdaCallback(on_steps_end=lambda run: ends.append(weights(run.model)))
    fit(model, callbacks=[note, train.SWA(0.5)], epochs=5)
    for i, ours in enumerate(weights(model)):
        np.testing.assert_allclose(ours, np.mean([end[i] for end in ends[2:]], axis=0), rtol=1e-5, atol=1e-7)


def test_averages_and_early_stopping():
    model = network()
    stopping = train.EarlyStopping(patience=1)
    checks = []
    note = train.LambdaCallback(on_epoch_end=lambda run: checks.append(weights(run.model)))
    sgd = optim.SGD(model.parameters(), 3.0)
    fit(model, sgd, callbacks=[train.EMA(0.5), note, stopping], validation=0.3, epochs=30)
    for ours, right in zip(weights(model), checks[stopping.best_epoch - 1], strict=True):
        np.testing.assert_array_equal(ours, right)
    with pytest.raises(ValueError, match="fit: SWA must stand before EarlyStopping"):
        fit(model, callbacks=[stopping, train.SWA()])
    with pytest.raises(ValueError, match="EMA: decay must be at least 0 and less than 1, got 1"):
        train.EMA(1)
