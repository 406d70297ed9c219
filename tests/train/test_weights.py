"""Weights of classes and samples, and gradients of several batches in one step."""

import numpy as np
import pytest

import lamina as lm
from lamina import nn, optim
from lamina.data import Loader

RNG = np.random.default_rng(7)
X = RNG.normal(size=(60, 4)).astype(np.float32)
LABELS = (X[:, 0] + X[:, 1] > 0.8).astype(np.int64)


def network():
    return nn.Sequential(nn.Linear(4, 8, rng=0), nn.Tanh(), nn.Linear(8, 2, rng=1))


def fit(x=X, y=LABELS, model=None, **options):
    model = model or network()
    given = {"loss": nn.CrossEntropyLoss(), "epochs": 3, "seed": 0, "verbose": 0, **options}
    if not isinstance(x, Loader):
        given = {"batch_size": 20, **given}
    history = lm.fit(model, x, y, optimizer=optim.SGD(model.parameters(), 0.2), **given)
    return [p.data.copy() for p in model.parameters()], history


def same(first, second, tolerance=0.0):
    return all(
        np.allclose(a, b, rtol=tolerance, atol=tolerance / 10) for a, b in zip(first, second, strict=True)
    )


def by_hand(weight, epochs=3):
    """The same training, with losses multiplied one by one."""
    model = network()
    sgd, loss = optim.SGD(model.parameters(), 0.2), nn.CrossEntropyLoss(reduction="none")
    rng = np.random.default_rng(0)
    for _ in range(epochs):
        order = rng.permutation(60)
        for start in (0, 20, 40):
            rows = order[start : start + 20]
            sgd.zero_grad()
            (loss(model(X[rows]), LABELS[rows]) * weight[rows]).mean().backward()
            sgd.step()
    return [p.data for p in model.parameters()]


def test_class_weights():
    weight = np.where(LABELS == 1, 5, 0.5).astype(np.float32)
    expected = by_hand(weight)
    for given in ([0.5, 5], {0: 0.5, 1: 5.0}, np.array([0.5, 5])):
        assert same(fit(class_weight=given)[0], expected, 1e-6)
    assert same(fit(class_weight={1: 5})[0], by_hand(np.where(LABELS == 1, 5, 1).astype(np.float32)), 1e-6)
    assert not same(fit()[0], expected, 1e-3)
    light = by_hand(np.where(LABELS == 1, 1, 0.5).astype(np.float32))
    assert same(fit(class_weight={0: 0.5})[0], light, 1e-6)
    with pytest.raises(
        ValueError, match="class_weight has weights of classes 0 to 1, but labels run from -1"
    ):
        fit(y=LABELS - 1, class_weight={0: 0.5, 1: 2})
    loader = Loader(X, LABELS, batch_size=20, prefetch=0)
    weighted, plain = (fit(loader, None, class_weight=w, epochs=1)[1]["loss"] for w in ([2, 2], None))
    assert weighted[0] > plain[0]


def test_balanced():
    counts = np.bincount(LABELS)
    assert counts[0] > 2 * counts[1] > 0
    expected = by_hand((60 / (2 * counts[LABELS])).astype(np.float32))
    assert same(fit(class_weight="balanced")[0], expected, 1e-6)


def test_sample_weights_and_both():
    own = RNG.random(60).astype(np.float32)
    assert same(fit(sample_weight=own)[0], by_hand(own), 1e-6)
    both = own * np.where(LABELS == 1, 3, 1).astype(np.float32)
    assert same(fit(sample_weight=own, class_weight=[1, 3])[0], by_hand(both), 1e-6)


def test_samples_without_weight_count_nothing_and_validation_is_not_weighted():
    own = (np.arange(60) < 30).astype(np.float32)
    spoilt = np.where(own == 1, LABELS, 1 - LABELS)
    one, history = fit(sample_weight=own, validation=(X, LABELS))
    two, _ = fit(y=spoilt, sample_weight=own)
    assert same(one, two)
    model = network()
    _, history = fit(model=model, sample_weight=own, validation=(X, LABELS))
    assert history["val_loss"][-1] == pytest.approx(
        lm.evaluate(model, X, LABELS, loss=nn.CrossEntropyLoss())["loss"], rel=1e-6
    )


def test_losses_of_more_axes_and_functions_of_your_own():
    model, twin = (nn.Sequential(nn.Linear(4, 4, rng=0)) for _ in range(2))
    own = RNG.random(60).astype(np.float32)
    first, _ = fit(X, X, model, loss=nn.MSELoss(), sample_weight=own)
    second, _ = fit(X, X, twin, loss=lambda y, t: ((y - t) ** 2).mean(axis=1), sample_weight=own)
    assert same(first, second, 1e-5)


def test_weights_and_a_share_for_validation():
    """The samples that are held out take their weights with them."""
    rng = np.random.default_rng(0)
    held = np.zeros(60, bool)
    held[rng.permutation(60)[:12]] = True
    one, _ = fit(sample_weight=np.where(held, 9, 1), validation=0.2)
    two, _ = fit(sample_weight=np.ones(60), validation=0.2)
    assert same(one, two)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"class_weight": [1, -1]}, ValueError, "fit: class_weight must be finite and at least 0"),
        ({"class_weight": [1]}, ValueError, "classes 0 to 0, but labels run from 0 to 1"),
        (
            {"class_weight": "even"},
            ValueError,
            "fit: unknown class_weight 'even': expected one of 'balanced'",
        ),
        ({"class_weight": {"a": 1}}, TypeError, "a class of class_weight must be an int, got 'a'"),
        (
            {"class_weight": [1, 2], "y": X, "loss": nn.MSELoss()},
            TypeError,
            "class_weight needs integer labels",
        ),
        ({"sample_weight": np.ones(3)}, ValueError, r"sample_weight has shape \(3,\), expected \(60,\)"),
        ({"sample_weight": np.full(60, np.nan)}, ValueError, "sample_weight must be finite"),
        ({"sample_weight": ["a"] * 60}, TypeError, "sample_weight must be numbers, got <U1"),
        (
            {"sample_weight": np.ones(60), "loss": lambda y, t: nn.CrossEntropyLoss()(y, t)},
            ValueError,
            r"with weights, loss must return one loss for each of 20 samples, got shape \(\)",
        ),
        ({"accumulate": 0}, ValueError, "fit: accumulate must be at least 1, got 0"),
        ({"accumulate": 1.5}, TypeError, "fit: accumulate must be an int, got 1.5"),
    ],
)
def test_refusals(options, error, message):
    with pytest.raises(error, match=message):
        fit(**options)


def test_an_autoencoders_own_loss_is_not_weighted():
    model = lm.autoencoders.DenseAutoencoder(4, 2)
    with pytest.raises(TypeError, match="an autoencoder's own loss cannot be weighted"):
        lm.fit(model, X, epochs=1, sample_weight=np.ones(60), verbose=0)


# several batches in a step ----------------------------------------------------------------------------
def test_accumulated_batches_are_one_batch():
    steps = []
    note = lm.train.LambdaCallback(on_batch_end=lambda run: steps.append((run.step, run.loss)))
    whole, history = fit(batch_size=28)  # 28, 28, 4
    parts, again = fit(batch_size=7, accumulate=4, callbacks=[note])  # the last step has 4 samples
    assert same(whole, parts, 1e-5)
    np.testing.assert_allclose(history["loss"], again["loss"], rtol=1e-5)
    assert [step for step, _ in steps] == list(range(1, 10))
    uneven, _ = fit(batch_size=25, accumulate=3)  # 25, 25, 10
    assert same(uneven, fit(batch_size=60)[0], 1e-5)
    assert not same(uneven, whole, 1e-3)


def test_the_schedule_counts_steps():
    rates = []
    note = lm.train.LambdaCallback(on_batch_end=lambda run: rates.append(run.optimizer.lr))
    fit(batch_size=10, accumulate=2, schedule=optim.ExponentialDecay(0.5), callbacks=[note], epochs=1)
    np.testing.assert_allclose(rates, [0.2 * 0.5 ** (i / 3) for i in range(3)], rtol=1e-12)
