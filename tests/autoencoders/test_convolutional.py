"""Convolutional autoencoders, noise, tied weights, and the contractive penalty."""

import numpy as np
import pytest

import lamina as lm
from lamina import Tensor, nn
from lamina.autoencoders import (
    ContractiveAutoencoder,
    ConvAutoencoder,
    DenseAutoencoder,
    GaussianNoise,
    MaskingNoise,
    Tied,
    Unpool,
)
from lamina.testing import check_layer
from tests.autoencoders.helpers import IMAGES, ROWS

UPS = ("transposed", "unpool", "upsample")


# convolutional ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("up", UPS)
@pytest.mark.parametrize("tied", [False, True])
def test_shapes_and_parameters(up, tied):
    model = ConvAutoencoder(2, (5, 3), kernel_size=3, up=up, tied=tied)
    x = np.zeros((3, 8, 12, 2), np.float32)
    assert model.encode(x).shape == (3, 2, 3, 3)
    assert model(x).shape == model.decode(model.encode(x)).shape == x.shape
    filters = 9 * 2 * 5 + 9 * 5 * 3
    biases = 5 + 3 + 5 + 2
    assert model.count_parameters() == filters * (1 if tied else 2) + biases


@pytest.mark.parametrize("up", UPS)
def test_convolutional_ones_learn(up):
    rng = np.random.default_rng(0)
    x = np.zeros((200, 8, 8, 1), np.float32)  # one bar each, upright or lying
    for image in x:
        at = rng.integers(8)
        if rng.random() < 0.5:
            image[at] = 1
        else:
            image[:, at] = 1
    model = ConvAutoencoder(1, (8, 8), up=up, rng=0)
    adam = lm.optim.Adam(model.parameters(), 1e-2)
    lm.fit(model, x, epochs=40, batch_size=20, optimizer=adam, seed=0, verbose=0)
    mean = np.mean((x - x.mean(axis=0)) ** 2)
    assert np.mean((model.reconstruct(x) - x) ** 2) < 0.2 * mean


def test_unpooling_puts_maxima_back_where_they_stood():
    """A convolution that changes nothing, pooled and unpooled: each window keeps its maximum alone."""
    model = ConvAutoencoder(1, (1,), up="unpool", kernel_size=1, tied=True)
    model.encoder[0].weight.data[...] = 1
    model.encoder[0].bias.data[...] = 0
    x = np.random.default_rng(0).random((2, 4, 6, 1)).astype(np.float32)
    windows = x.reshape(2, 2, 2, 3, 2, 1)
    kept = np.where(windows == windows.max(axis=(2, 4), keepdims=True), windows, 0)
    np.testing.assert_array_equal(model(x).data, kept.reshape(x.shape))
    apart = model.decode(model.encode(x)).data  # which does not know where: the first place of each window
    np.testing.assert_array_equal(apart[:, ::2, ::2], windows.max(axis=(2, 4)))
    assert np.count_nonzero(apart) == apart.size / 4


def test_unpool_alone_is_a_layer():
    check_layer(Unpool(), IMAGES)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: ConvAutoencoder(1, ()),
            ValueError,
            r"channels must have one number for each stage, got \(\)",
        ),
        (lambda: ConvAutoencoder(1, 8), ValueError, "channels must have one number for each stage, got 8"),
        (lambda: ConvAutoencoder(1, (8, 0)), ValueError, "channels must be at least 1, got 0"),
        (lambda: ConvAutoencoder(1, up="bilinear"), ValueError, "unknown up 'bilinear'"),
        (
            lambda: ConvAutoencoder(2, (3, 2))(np.zeros((1, 8, 6, 2))),
            ValueError,
            r"ConvAutoencoder: height and width of x must be multiples of 4, got \(1, 8, 6, 2\), NHWC",
        ),
        (lambda: ConvAutoencoder(3)(IMAGES), ValueError, "Conv2d: x has 2 channels"),
        (
            lambda: ConvAutoencoder(2).classifier(10),
            TypeError,
            "its codes are no rows; put Flatten and Linear",
        ),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


# noise ------------------------------------------------------------------------------------------------
def test_masking_takes_away_a_share_and_leaves_the_rest():
    x = np.random.default_rng(0).random((200, 50)).astype(np.float32) + 1
    noise = MaskingNoise(0.3, rng=0)
    y = noise(x).data
    assert abs(np.mean(y == 0) - 0.3) < 0.02
    np.testing.assert_array_equal(y[y != 0], x[y != 0])
    assert not np.array_equal(noise(x).data, y)
    np.testing.assert_array_equal(noise.eval()(x).data, x)


def test_gaussian_noise_has_its_deviation():
    x = np.random.default_rng(0).random((200, 50)).astype(np.float32)
    noise = GaussianNoise(0.4, rng=0)
    added = noise(x).data - x
    assert abs(added.mean()) < 0.02
    assert abs(added.std() - 0.4) < 0.02
    np.testing.assert_array_equal(noise.eval()(x).data, x)


@pytest.mark.parametrize("noise", [MaskingNoise(0.5), GaussianNoise(0.3)])
def test_noise_is_layer_like_and_float64_stays(noise):
    check_layer(noise, ROWS)
    assert noise.train()(ROWS.astype(np.float64)).dtype == np.float64


def test_the_clean_x_is_the_target():
    model = DenseAutoencoder(6, 4, noise=MaskingNoise(0.5, rng=0), rng=0)
    spoilt = MaskingNoise(0.5, rng=0)(ROWS).data
    y, loss = model.objective(ROWS)
    model.noise = None
    np.testing.assert_array_equal(y.data, model(spoilt).data)
    assert loss.item() == pytest.approx(0.5 * np.sum((y.data - ROWS) ** 2) / len(ROWS), rel=1e-6)


def test_denoising_undoes_noise_better_than_a_plain_autoencoder():
    rng = np.random.default_rng(1)
    x = (rng.random((500, 2)) @ rng.standard_normal((2, 20))).astype(np.float32)  # a plane
    errors = {}
    for noise in (None, GaussianNoise(0.5)):
        model = DenseAutoencoder(20, 20, activation="linear", noise=noise, rng=0)
        adam = lm.optim.Adam(model.parameters(), 1e-2)
        lm.manual_seed(0)
        lm.fit(model, x, epochs=60, batch_size=50, optimizer=adam, seed=0, verbose=0)
        spoilt = x + 0.5 * np.random.default_rng(2).standard_normal(x.shape).astype(np.float32)
        errors[noise is None] = np.mean((model.reconstruct(spoilt) - x) ** 2)
    assert errors[False] < 0.5 * errors[True]


def test_dropout_of_the_code_in_training_alone():
    model = DenseAutoencoder(6, 40, activation="relu", dropout=0.5, rng=0)
    lm.manual_seed(0)
    trained, used = model.encode(ROWS).data, model.eval().encode(ROWS).data
    active = used > 0
    assert 0.3 < np.mean(trained[active] == 0) < 0.7
    np.testing.assert_allclose(trained[trained > 0], 2 * used[trained > 0], rtol=1e-6)


# tied weights -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(3, 5, rng=0), (2, 3)),
        (nn.Conv2d(2, 4, 3, stride=2, padding="same", rng=0), (2, 4, 6, 2)),
        (nn.Conv2d(2, 4, (3, 2), padding=1, dilation=(1, 2), groups=2, rng=0), (2, 5, 6, 2)),
    ],
)
def test_tied_is_the_transpose(layer, shape):
    """<y, layer(x)> = <tied(y), x> but for the biases: the adjoint. And it is a layer like any other."""
    tied = Tied(layer)
    assert [p for p in tied.parameters() if p.ndim > 1] == [layer.weight]
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    forth = layer(x).data - layer.bias.data
    y = np.random.default_rng(1).standard_normal(forth.shape).astype(np.float32)
    back = tied(y).data
    assert back.shape == shape
    np.testing.assert_allclose(np.sum(y * forth), np.sum(back * x), rtol=1e-4)
    tied.bias.data[...] = [1, 2, 3][: len(tied.bias.data)]
    np.testing.assert_allclose(tied(y).data, back + tied.bias.data, rtol=1e-5, atol=1e-5)


def test_tied_has_gradients():
    check_layer(_apart(nn.Linear(3, 4, rng=0)), ROWS[:, :4])
    check_layer(_apart(nn.Conv2d(2, 2, 3, stride=2, padding="same", rng=0)), IMAGES)


def _apart(layer):
    tied = Tied(layer)
    tied.layer.bias = None  # which it does not use
    return tied


def test_tied_weights_train_together_and_are_saved_once(tmp_path):
    model = DenseAutoencoder(6, 4, tied=True, rng=0)
    assert len(list(model.parameters())) == 3
    lm.fit(model, ROWS, epochs=2, verbose=0)
    back = model.decode(np.eye(4)).data - model.decode(np.zeros((1, 4))).data
    np.testing.assert_allclose(back, model.hidden.weight.data, atol=1e-6)
    lm.save(model, tmp_path / "a.safetensors")
    loaded = lm.load(tmp_path / "a.safetensors")
    assert loaded.decoder[0].layer.weight is loaded.hidden.weight


# contractive ------------------------------------------------------------------------------------------
def test_the_closed_form_is_the_norm_of_the_jacobian():
    model = ContractiveAutoencoder(6, 4, strength=2, rng=0).astype(np.float64)
    total = 0.0
    for row in np.float64(ROWS):
        jacobian = np.empty((4, 6))
        for unit in range(4):
            x = Tensor(row[None].copy(), requires_grad=True)
            model.encode(x)[0, unit].backward()
            jacobian[unit] = x.grad[0]
        total += np.sum(jacobian**2)
    penalty = model.penalty(model.encode(np.float64(ROWS)))
    assert penalty.item() == pytest.approx(2 * total / len(ROWS), rel=1e-12)


def test_contraction_makes_codes_move_less():
    x = np.random.default_rng(0).random((200, 10)).astype(np.float32)
    moved = {}
    for strength in (0.0, 1.0):
        model = ContractiveAutoencoder(10, 8, strength=strength, rng=0)
        adam = lm.optim.Adam(model.parameters(), 1e-2)
        lm.fit(model, x, epochs=40, batch_size=20, optimizer=adam, seed=0, verbose=0)
        moved[strength] = np.mean((model.encoder.predict(x + 0.01) - model.encoder.predict(x)) ** 2)
    assert moved[1.0] < 0.5 * moved[0.0]
