"""Weighted and smoothed cross-entropy, hinge, Huber, probabilities, divergence: values, gradients, errors."""

import numpy as np
import pytest

import lamina as lm
from lamina import nn
from lamina.testing import check_gradients

RNG = np.random.default_rng(3)
X = RNG.normal(size=(4, 3)) * 3
LABELS = np.array([2, 0, 1, 1])
TARGET = RNG.random((4, 3))
WEIGHT = [0.5, 2.0, 1.0]


def _smoothed(x, labels, weight, smoothing):
    log_p = x - np.log(np.exp(x).sum(axis=-1, keepdims=True))
    losses = np.zeros(labels.shape)
    for place in np.ndindex(labels.shape):
        for j, w in enumerate(weight):
            share = smoothing / len(weight) + (1 - smoothing) * (j == labels[place])
            losses[place] -= share * w * log_p[(*place, j)]
    return losses


def _hinge(x, labels, margin):
    losses = np.zeros(labels.shape)
    for place in np.ndindex(labels.shape):
        for j, score in enumerate(x[place]):
            if j != labels[place]:
                losses[place] += max(0, score - x[place][labels[place]] + margin)
    return losses


def _huber(x, t, delta):
    d = np.abs(x - t)
    return np.where(d <= delta, d**2 / 2, delta * (d - delta / 2))


def _log_softmax(x):
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


SHARES = TARGET / TARGET.sum(axis=1, keepdims=True)
CASES = {
    "hinge": (nn.HingeLoss, {}, X, LABELS, lambda x, t: _hinge(x, t, 1)),
    "hinge, margin": (nn.HingeLoss, {"margin": 2.5}, X, LABELS, lambda x, t: _hinge(x, t, 2.5)),
    "huber": (nn.HuberLoss, {}, X, TARGET, lambda x, t: _huber(x, t, 1)),
    "huber, delta": (nn.HuberLoss, {"delta": 2.5}, X, TARGET, lambda x, t: _huber(x, t, 2.5)),
    "probabilities": (
        nn.BCELoss,
        {},
        RNG.uniform(0.1, 0.9, (4, 3)),
        TARGET,
        lambda x, t: -t * np.log(x) - (1 - t) * np.log(1 - x),
    ),
    "divergence": (
        nn.KLDivLoss,
        {},
        _log_softmax(X),
        SHARES,
        lambda x, t: (t * (np.log(t) - x)).sum(axis=-1),
    ),
}
REDUCTIONS = {"mean": np.mean, "sum": np.sum, "none": lambda x: x}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient(name, reduction):
    make, options, x, target, formula = CASES[name]
    loss = make(**options, reduction=reduction)
    np.testing.assert_allclose(
        loss(lm.Tensor(x), target).data, REDUCTIONS[reduction](formula(x, target)), rtol=1e-12
    )
    check_gradients(lambda x: loss(x, target), x)
    assert loss(x.astype(np.float32), target).dtype == np.float32


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("weight", "smoothing"), [(WEIGHT, 0.0), (None, 0.2), (WEIGHT, 0.2)])
def test_weights_and_smoothing(weight, smoothing, reduction):
    loss = nn.CrossEntropyLoss(weight=weight, label_smoothing=smoothing, reduction=reduction)
    losses = _smoothed(X, LABELS, weight or [1] * 3, smoothing)
    right = REDUCTIONS[reduction](losses)
    if reduction == "mean":
        right = losses.sum() / np.array(weight or [1] * 3)[LABELS].sum()
    np.testing.assert_allclose(loss(lm.Tensor(X), LABELS).data, right, rtol=1e-12)
    check_gradients(lambda x: loss(x, LABELS), X)
    assert loss(X.astype(np.float32), LABELS).dtype == np.float32


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", ["weighted", "smoothed", "hinge", "huber", "probabilities", "divergence"])
def test_as_in_pytorch(name, reduction):
    torch = pytest.importorskip("torch")
    x, t, labels = torch.tensor(X), torch.tensor(TARGET), torch.tensor(LABELS)
    functional, options = torch.nn.functional, {"reduction": reduction}
    theirs = {
        "weighted": lambda: functional.cross_entropy(x, labels, torch.tensor(WEIGHT).double(), **options),
        "smoothed": lambda: functional.cross_entropy(
            x, labels, torch.tensor(WEIGHT).double(), label_smoothing=0.3, **options
        ),
        "hinge": lambda: 3 * functional.multi_margin_loss(x, labels, **options),
        "huber": lambda: functional.huber_loss(x, t, delta=0.7, **options),
        "probabilities": lambda: functional.binary_cross_entropy(torch.tensor(SHARES), t, **options),
        "divergence": lambda: functional.kl_div(
            torch.log_softmax(x, 1),
            torch.tensor(SHARES),
            reduction={"mean": "batchmean"}.get(reduction, reduction),
        ),
    }[name]().numpy()
    ours = {
        "weighted": lambda: nn.CrossEntropyLoss(weight=WEIGHT, **options)(X, LABELS),
        "smoothed": lambda: nn.CrossEntropyLoss(weight=WEIGHT, label_smoothing=0.3, **options)(X, LABELS),
        "hinge": lambda: nn.HingeLoss(**options)(X, LABELS),
        "huber": lambda: nn.HuberLoss(delta=0.7, **options)(X, TARGET),
        "probabilities": lambda: nn.BCELoss(**options)(SHARES, TARGET),
        "divergence": lambda: nn.KLDivLoss(**options)(_log_softmax(X), SHARES),
    }[name]().data
    theirs = theirs.sum(axis=-1) if name == "divergence" and reduction == "none" else theirs
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_the_svm_example_of_the_lecture():
    """Scores 13, -7, 11, label 0, margin 10: max(0, -7 - 13 + 10) + max(0, 11 - 13 + 10) = 8."""
    assert nn.HingeLoss(margin=10.0)(np.array([[13.0, -7.0, 11.0]]), [0]).item() == 8


def test_edges():
    assert nn.BCELoss()(np.array([0.0, 1.0]), [1.0, 0.0]).item() == 100
    assert nn.BCELoss()(np.array([0.0, 1.0]), [0.0, 1.0]).item() == 0
    assert nn.KLDivLoss()(np.array([[0.0, -np.inf]]), [[1.0, 0.0]]).item() == 0
    assert nn.CrossEntropyLoss(weight=[1, 1])(np.array([[0.0, -np.inf]]), [0]).item() == 0
    check_gradients(nn.HuberLoss(), X, TARGET)


ERRORS = {
    "weight": (
        lambda: nn.CrossEntropyLoss(weight=[1, 2])(X, LABELS),
        r"CrossEntropyLoss: weight must have shape \(3,\), one for each class of x, got \(2,\)",
    ),
    "negative": (
        lambda: nn.CrossEntropyLoss(weight=[1, -2]),
        "CrossEntropyLoss: weight must be finite numbers",
    ),
    "nothing": (
        lambda: nn.CrossEntropyLoss(weight=[1, 0, 0])(X[2:], LABELS[2:]),
        "CrossEntropyLoss: the weights of all labels are 0",
    ),
    "smoothing": (
        lambda: nn.CrossEntropyLoss(label_smoothing=1.0),
        "CrossEntropyLoss: label_smoothing must be at least 0 and less than 1, got 1",
    ),
    "label": (lambda: nn.HingeLoss()(X, [0, 1, 2, 3]), r"HingeLoss: labels\[3\] is 3, but x has 3 classes"),
    "delta": (lambda: nn.HuberLoss(delta=0), "HuberLoss: delta must be above 0, got 0"),
    "probability": (lambda: nn.BCELoss()(X, TARGET), r"BCELoss: x must lie in \[0, 1\]"),
    "target": (lambda: nn.BCELoss()(TARGET, TARGET + 1), r"BCELoss: target must lie in \[0, 1\]"),
    "divergence": (lambda: nn.KLDivLoss()(X, -SHARES), "KLDivLoss: target must not be negative"),
    "shape": (lambda: nn.KLDivLoss()(X, SHARES[:2]), r"KLDivLoss: target must have shape \(4, 3\)"),
    "empty": (lambda: nn.HingeLoss()(X[:0], LABELS[:0]), "HingeLoss: an empty batch"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    run, message = ERRORS[name]
    with pytest.raises(ValueError, match=message):
        run()
