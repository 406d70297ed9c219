"""Losses: values against plain NumPy, gradients against differences, refusals."""

import numpy as np
import pytest

import lamina as lm
from lamina import nn
from lamina.testing import check_gradients

RNG = np.random.default_rng(3)
X = RNG.normal(size=(4, 3)) * 3
LABELS = np.array([2, 0, 1, 1])
TARGET = RNG.random((4, 3))


def _cross_entropy(x, labels):
    log_p = x - np.log(np.exp(x).sum(axis=-1, keepdims=True))
    return -np.take_along_axis(log_p, labels[..., None], -1)[..., 0]


def _binary(x, t):
    p = 1 / (1 + np.exp(-x))
    return -t * np.log(p) - (1 - t) * np.log(1 - p)


CASES = [
    (nn.CrossEntropyLoss, LABELS, _cross_entropy),
    (nn.MSELoss, TARGET, lambda x, t: (x - t) ** 2),
    (nn.BCEWithLogitsLoss, TARGET, _binary),
]
REDUCTIONS = {"mean": np.mean, "sum": np.sum, "none": lambda x: x}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("make", "target", "formula"), CASES)
def test_value_and_gradient(make, target, formula, reduction):
    loss = make(reduction=reduction)
    found = loss(lm.Tensor(X), target)
    np.testing.assert_allclose(found.data, REDUCTIONS[reduction](formula(X, target)), rtol=1e-12)
    check_gradients(lambda x: loss(x, target), X)
    assert loss(X.astype(np.float32), target).dtype == np.float32


def test_mean_is_the_default():
    assert nn.CrossEntropyLoss().reduction == "mean"
    assert repr(nn.MSELoss(reduction="sum")) == "MSELoss(reduction='sum')"


def test_cross_entropy_on_sequences():
    x, labels = RNG.normal(size=(2, 5, 3)), RNG.integers(0, 3, (2, 5))
    np.testing.assert_allclose(
        nn.CrossEntropyLoss(reduction="none")(lm.Tensor(x), labels).data,
        _cross_entropy(x, labels),
        rtol=1e-12,
    )


@pytest.mark.parametrize("labels", [LABELS.tolist(), LABELS.astype(np.uint8), lm.Tensor(LABELS)])
def test_cross_entropy_takes_any_integers(labels):
    assert nn.CrossEntropyLoss()(X, labels).item() == nn.CrossEntropyLoss()(X, LABELS).item()


def test_mse_gradient_of_a_tensor_target():
    for reduction in REDUCTIONS:
        check_gradients(nn.MSELoss(reduction=reduction), X, TARGET)


def test_target_arrays_take_the_dtype_of_x():
    x = lm.Tensor(X.astype(np.float32))
    for target in (
        TARGET,
        TARGET.astype(np.float32),
        TARGET.tolist(),
        LABELS[:, None] * np.ones((4, 3), int),
    ):
        assert nn.MSELoss()(x, target).dtype == np.float32


def test_extreme_logits_do_not_overflow():
    x = np.array([[1000.0, -1000.0]])
    assert nn.BCEWithLogitsLoss()(x, np.array([[1.0, 0.0]])).item() == 0
    assert nn.BCEWithLogitsLoss()(x, np.array([[0.0, 1.0]])).item() == 1000
    assert nn.CrossEntropyLoss()(x, [1]).item() == 2000


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_binary_cross_entropy_of_infinite_logits(dtype):
    inf = np.inf
    x = lm.Tensor(np.array([inf, -inf, inf, -inf, inf, -inf], dtype), requires_grad=True)
    t = np.array([1.0, 0.0, 0.0, 1.0, 0.5, 0.25])
    losses = nn.BCEWithLogitsLoss(reduction="none")(x, t)
    np.testing.assert_array_equal(losses.data, [0, 0, inf, inf, inf, inf])
    losses.sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 0, 1, -1, 0.5, -0.25])
    assert losses.dtype == x.grad.dtype == dtype
    single = lm.Tensor(dtype(inf), requires_grad=True)
    nn.BCEWithLogitsLoss()(single, 1.0).backward()
    assert (single.grad.shape, single.grad) == ((), 0)
    assert np.isnan(nn.BCEWithLogitsLoss()(np.array([np.nan]), [0.0]).item())


MASKED = np.ma.masked_array(TARGET, mask=TARGET > 0.5)


@pytest.mark.parametrize(
    ("loss", "target"),
    [
        (nn.MSELoss(), MASKED),
        (nn.BCEWithLogitsLoss(), MASKED),
        (nn.CrossEntropyLoss(), np.ma.masked_array(LABELS, mask=[0, 1, 0, 0])),
    ],
)
def test_masked_targets_are_refused(loss, target):
    message = f"{type(loss).__name__}: target is a masked array, whose mask would be lost"
    with pytest.raises(TypeError, match=message):
        loss(X, target)
    with pytest.raises(TypeError, match="is a masked array, whose mask would be lost"):
        loss(np.ma.masked_array(X), target.data)
    assert loss(X, target.filled(0)).data >= 0


def test_masked_labels_are_refused_by_the_op():
    with pytest.raises(
        TypeError, match="softmax_cross_entropy: labels is a masked array, whose mask would be"
    ):
        lm.ops.softmax_cross_entropy(X, np.ma.masked_array(LABELS))


def test_empty_batch():
    for make, target in (
        (nn.CrossEntropyLoss, LABELS[:0]),
        (nn.MSELoss, TARGET[:0]),
        (nn.BCEWithLogitsLoss, TARGET[:0]),
    ):
        assert make(reduction="sum")(X[:0], target).item() == 0
        with pytest.raises(ValueError, match=rf"{make.__name__}: an empty batch \(shape .*\) has no mean"):
            make()(X[:0], target)


@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (
            lambda: nn.MSELoss(reduction="avg"),
            ValueError,
            "MSELoss: unknown reduction 'avg': expected one of 'mean'",
        ),
        (lambda: nn.MSELoss()(X, TARGET[:, 0]), ValueError, r"MSELoss: target must have shape \(4, 3\)"),
        (
            lambda: nn.MSELoss()(X[:, :1], TARGET[:, 0]),
            ValueError,
            r"MSELoss: target must have shape \(4, 1\)",
        ),
        (lambda: nn.MSELoss()(X, ["a"]), TypeError, "MSELoss: target must be an array of numbers, got <U1"),
        (lambda: nn.BCEWithLogitsLoss()(X, TARGET + 1), ValueError, r"target must lie in \[0, 1\]"),
        (lambda: nn.BCEWithLogitsLoss()(X, TARGET * np.nan), ValueError, r"target must lie in \[0, 1\]"),
        (
            lambda: nn.CrossEntropyLoss()(X, [0, 1, 2, 3]),
            ValueError,
            r"CrossEntropyLoss: labels\[3\] is 3, but x has 3",
        ),
        (lambda: nn.CrossEntropyLoss()(X, [0, 1, 2, -1]), ValueError, r"CrossEntropyLoss: labels\[3\] is -1"),
        (
            lambda: nn.CrossEntropyLoss()(X, LABELS[:, None]),
            ValueError,
            r"CrossEntropyLoss: labels must have shape \(4,\)",
        ),
        (
            lambda: nn.CrossEntropyLoss()(X, TARGET),
            TypeError,
            "CrossEntropyLoss: labels must be a NumPy array of int",
        ),
    ],
)
def test_errors(run, error, message):
    with pytest.raises(error, match=message):
        run()


@pytest.mark.parametrize("size", [1, 7, 4096, 4097, 10_001])
def test_means_of_few_and_of_many(size):
    """A kernel makes the first, NumPy the others: the same up to rounding, and the same gradients."""
    rng = np.random.default_rng(0)
    x, labels = lm.Tensor(rng.standard_normal((size, 3)), requires_grad=True), rng.integers(0, 3, size)
    each = nn.CrossEntropyLoss(reduction="none")(x, labels)
    mean = nn.CrossEntropyLoss()(x, labels)
    np.testing.assert_allclose(mean.data, each.data.mean(), rtol=1e-13)
    mean.backward(np.array(2.0))
    found, x.grad = x.grad, None
    each.backward(np.full(size, 2 / size))
    np.testing.assert_allclose(found, x.grad, rtol=1e-13, atol=1e-18)
