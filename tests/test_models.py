import numpy as np
import pytest

from lamina import models


@pytest.mark.parametrize(
    ("make", "shape", "parameters", "out"),
    [
        (models.lenet5, (28, 28, 1), 61_706, 10),
        (lambda: models.lenet5(num_classes=3), (28, 28, 1), 61_706 - 7 * 85, 3),
        (models.vgg_small, (32, 32, 3), 307_498, 10),
        (lambda: models.vgg_small(num_classes=100), (32, 32, 3), 307_498 + 90 * 2049, 100),
        (models.autoencoder, (784,), 1_569_784, 784),
        (lambda: models.autoencoder(64, 16), (64,), 64 * 16 * 2 + 64 + 16, 64),
    ],
)
def test_sizes(make, shape, parameters, out):
    model = make()
    assert model.count_parameters() == parameters
    y = model.predict(np.random.default_rng(0).random((2, *shape), np.float32))
    assert y.shape == (2, out)
    assert np.isfinite(y).all()
    assert y.std() > 0


def test_volumes_of_lenet(capsys):
    models.lenet5().summary((28, 28, 1))
    text = capsys.readouterr().out
    volumes = ("28x28x1 -> 28x28x6", "28x28x6 -> 14x14x6", "14x14x6 -> 10x10x16", "10x10x16 -> 5x5x16")
    assert all(volume in text for volume in volumes)
