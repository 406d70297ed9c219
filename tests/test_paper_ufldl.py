"""The settings and measures of bench/papers/ufldl.py."""

from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture(autouse=True)
def _bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))


def test_the_gradient_check_sees_a_wrong_gradient(monkeypatch):
    from papers.ufldl import gradient_difference

    from lamina.autoencoders import sparse

    assert gradient_difference() < 1e-9
    right = sparse._kl_backward
    monkeypatch.setattr(sparse, "_kl_backward", lambda dy, ctx: right(dy, ctx) * (1 + 1e-6))
    assert gradient_difference() > 1e-9


def test_the_start_is_that_of_the_notes():
    from papers.ufldl import autoencoder

    model = autoencoder(64, 25)
    for layer in (model.encoder[0], model.decoder[0]):
        assert not layer.bias.data.any()
        np.testing.assert_allclose(layer.weight.data.std(), np.sqrt(2 / 90), rtol=0.05)
        assert np.abs(layer.weight.data).max() <= np.sqrt(6 / 90)


def test_the_pixels_of_a_filter():
    from papers.ufldl import pixels

    filters = np.zeros((3, 28, 28))
    filters[0, 5:19, 9:23], filters[1], filters[2, 0, [0, 27]] = 2, 1, -3
    np.testing.assert_allclose([pixels(w[None]) for w in filters], [196, 784, 2])
    assert pixels(filters) == 196


def test_digits_are_classified_after_learning_and_decay_counts():
    from papers.ufldl import classify, minimize

    import lamina as lm
    from lamina import nn

    data = lm.datasets.digits()
    x, x_test = (part.reshape(len(part), -1) for part in (data.x_train, data.x_test))
    free, held = nn.Linear(64, 10, rng=0), nn.Linear(64, 10, rng=0)
    classify(free, x, data.y_train, 60, 1e-4)
    classify(held, x, data.y_train, 60, 1.0)
    assert np.mean(free.predict(x_test).argmax(axis=1) == data.y_test) > 0.9
    assert np.abs(held.weight.data).max() < 0.2 * np.abs(free.weight.data).max()
    found = minimize(held.parameters(), lambda: ((held.weight - 1) ** 2).sum(), 50)
    assert found.loss < 1e-6
