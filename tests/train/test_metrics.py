import numpy as np
import pytest

from lamina import train
from lamina.train.metrics import NAMED, resolve

SCORES = np.array([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3], [0.2, 0.3, 0.5], [0.4, 0.4, 0.2]], np.float32)


def test_accuracy():
    assert train.accuracy(SCORES, [1, 0, 2, 0]) == 1.0
    assert train.accuracy(SCORES, [1, 0, 2, 1]) == 0.75  # a tie goes to the first
    assert train.accuracy(SCORES, [0, 1, 0, 2]) == 0.0


def test_accuracy_by_position():
    assert train.accuracy(SCORES.reshape(2, 2, 3), np.array([[1, 0], [0, 0]])) == 0.75


def test_nan_is_wrong():
    scores = np.array([[np.nan, 0.0], [np.nan, np.nan], [0.0, 1.0]])
    assert train.accuracy(scores, [0, 0, 1]) == pytest.approx(1 / 3)
    assert train.top_k_accuracy(scores, [0, 0, 1], k=1) == pytest.approx(1 / 3)


def test_top_k_equals_a_sort():
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 4, (200, 7)).astype(np.float32), rng.integers(0, 7, 200)
    order = np.argsort(-scores, axis=1, kind="stable")
    for k in range(1, 8):
        expected = np.mean([label in row[:k] for label, row in zip(labels, order, strict=True)])
        assert train.top_k_accuracy(scores, labels, k=k) == expected
    assert train.top_k_accuracy(scores, labels, k=1) == train.accuracy(scores, labels)


def test_binary_accuracy():
    assert train.binary_accuracy([1.0, -1.0, 2.0, np.nan], [1, 0, 0, 0]) == 0.5
    assert train.binary_accuracy([0.9, 0.4], [1, 0], threshold=0.5) == 1.0


def test_errors():
    assert train.mean_absolute_error([1.0, 2.0], [0.0, 4.0]) == 1.5
    assert train.mean_squared_error([1.0, 2.0], [0.0, 4.0]) == 2.5
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 50, 3)).astype(np.float32)
    assert train.mean_squared_error(a, b) == pytest.approx(np.mean((a - b) ** 2), rel=1e-6)


@pytest.mark.parametrize("metric", [train.accuracy, train.top_k_accuracy])
def test_bad_labels(metric):
    with pytest.raises(ValueError, match=r"y_pred has shape \(4, 3\) and y_true \(3,\)"):
        metric(SCORES, [0, 1, 2])
    with pytest.raises(ValueError, match=r"y_pred has shape \(4, 3\) and y_true \(4, 3\)"):
        metric(SCORES, SCORES)
    with pytest.raises(TypeError, match="labels must be integers, got float64"):
        metric(SCORES, [0.0, 1.0, 2.0, 0.0])
    with pytest.raises(ValueError, match="labels run from 0 to 3, expected 0 to 2"):
        metric(SCORES, [0, 1, 2, 3])
    with pytest.raises(ValueError, match="labels run from -1 to 2, expected 0 to 2"):
        metric(SCORES, [0, 1, 2, -1])
    with pytest.raises(ValueError, match="no samples"):
        metric(SCORES[:0], np.empty(0, int))


@pytest.mark.parametrize("k", [0, 4])
def test_bad_k(k):
    with pytest.raises(ValueError, match=f"k is {k}, expected 1 to 3"):
        train.top_k_accuracy(SCORES, [0, 1, 2, 0], k=k)


@pytest.mark.parametrize(
    "metric", [train.binary_accuracy, train.mean_absolute_error, train.mean_squared_error]
)
def test_shapes_must_be_equal(metric):
    with pytest.raises(ValueError, match=r"y_pred has shape \(4, 3\), y_true \(3,\)"):
        metric(SCORES, [0, 1, 2])  # NumPy would repeat y_true
    with pytest.raises(ValueError, match="no samples"):
        metric([], [])


def test_resolve():
    def bias(y_pred, y_true):
        return float(np.mean(y_pred - y_true))

    assert resolve(["accuracy", bias]) == {"accuracy": train.accuracy, "bias": bias}
    assert all(resolve([name]) == {name: metric} for name, metric in NAMED.items())
    with pytest.raises(ValueError, match="unknown name 'precision', expected one of"):
        resolve(["precision"])
    with pytest.raises(ValueError, match="'accuracy' appears twice"):
        resolve(["accuracy", train.accuracy])
    with pytest.raises(TypeError, match="must be a sequence"):
        resolve("accuracy")
    with pytest.raises(TypeError, match="must be a sequence"):
        resolve(train.accuracy)
    with pytest.raises(TypeError, match="expected names or functions"):
        resolve([3])
