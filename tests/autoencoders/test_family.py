"""What holds for every autoencoder: gradients of its loss, training, files, errors."""

import numpy as np
import pytest

import lamina as lm
from lamina import nn
from lamina.autoencoders import (
    ContractiveAutoencoder,
    ConvAutoencoder,
    DenseAutoencoder,
    GaussianNoise,
    KSparseAutoencoder,
    MaskingNoise,
    SparseAutoencoder,
    StackedAutoencoder,
    Tied,
    Unpool,
)
from lamina.testing import check_layer
from tests.autoencoders.helpers import IMAGES, ROWS, check_loss_gradients, prototypes

DENSE = {
    "dense": lambda: DenseAutoencoder(6, 4, rng=0),
    "tied": lambda: DenseAutoencoder(6, 4, tied=True, rng=0),
    "tied sigmoid decoder": lambda: DenseAutoencoder(6, 4, tied=True, output="sigmoid", rng=0),
    "tanh to relu": lambda: DenseAutoencoder(6, 4, activation="tanh", output="tanh", rng=0),
    "linear": lambda: DenseAutoencoder(6, 4, activation="linear", rng=0),
    "relu": lambda: DenseAutoencoder(6, 4, activation="relu", rng=3),
    "weight decay": lambda: DenseAutoencoder(6, 4, weight_decay=0.3, rng=0),
    "tied weight decay": lambda: DenseAutoencoder(6, 4, tied=True, weight_decay=0.3, rng=0),
    "sparse": lambda: SparseAutoencoder(6, 4, rho=0.1, beta=2, weight_decay=0.01, rng=0),
    "sparse, linear, tied": lambda: SparseAutoencoder(6, 4, output="linear", tied=True, rng=0),
    "k-sparse": lambda: KSparseAutoencoder(6, 5, 2, weight_decay=0.1, rng=0),
    "contractive": lambda: ContractiveAutoencoder(6, 4, strength=2, rng=0),
    "contractive, not tied": lambda: ContractiveAutoencoder(6, 4, tied=False, output="sigmoid", rng=0),
    "stacked": lambda: StackedAutoencoder(
        [DenseAutoencoder(6, 4, rng=0), SparseAutoencoder(4, 3, tied=True, rng=1)], weight_decay=0.1
    ),
}
CONVOLUTIONAL = {
    f"{up}{', tied' * tied}": lambda up=up, tied=tied: ConvAutoencoder(2, (3, 2), up=up, tied=tied, rng=1)
    for up in ("transposed", "unpool", "upsample")
    for tied in (False, True)
}
ALL = [pytest.param(make, ROWS, id=name) for name, make in DENSE.items()]
ALL += [pytest.param(make, IMAGES, id=name) for name, make in CONVOLUTIONAL.items()]


@pytest.mark.parametrize(("make", "x"), ALL)
def test_gradients_of_the_loss(make, x):
    check_loss_gradients(make(), x)


@pytest.mark.parametrize(
    ("options", "noise"),
    [
        ({"noise": MaskingNoise(0.4)}, "noise"),
        ({"noise": GaussianNoise(0.5)}, "noise"),
        ({"dropout": 0.5}, "dropout"),
        ({"dropout": 0.5, "noise": MaskingNoise(0.3), "tied": True, "weight_decay": 0.1}, "noise"),
    ],
)
def test_gradients_of_the_loss_with_noise(options, noise):
    model = DenseAutoencoder(6, 4, rng=0, **options)
    random = [m for m in model.modules() if hasattr(m, "rng")]
    assert random

    def before():
        for i, module in enumerate(random):
            module.rng = np.random.default_rng(i)

    before()
    noisy = model.loss(ROWS).item()
    assert noisy != model.eval().loss(ROWS).item()
    check_loss_gradients(model.train(), ROWS, before)


@pytest.mark.parametrize(("make", "x"), ALL)
def test_it_is_a_layer_like_any_other(make, x):
    check_layer(make(), x, gradients=False)


@pytest.mark.parametrize(("make", "x"), ALL)
def test_files(tmp_path, make, x):
    model = make()
    lm.fit(model, x, epochs=2, batch_size=2, verbose=0)
    lm.save(model, tmp_path / "a.safetensors")
    loaded = lm.load(tmp_path / "a.safetensors")
    assert repr(loaded) == repr(model)
    assert {n: p.shape for n, p in loaded.named_parameters()} == {
        n: p.shape for n, p in model.named_parameters()
    }
    np.testing.assert_array_equal(loaded.reconstruct(x), model.reconstruct(x))
    np.testing.assert_array_equal(loaded.encoder.predict(x), model.encoder.predict(x))
    assert loaded.eval().loss(x).item() == model.eval().loss(x).item()


@pytest.mark.parametrize(
    "layer", [MaskingNoise(0.3), GaussianNoise(0.4), Unpool(), Tied(nn.Linear(3, 2)), DenseAutoencoder(3, 2)]
)
def test_files_of_parts(tmp_path, layer):
    lm.save(layer, tmp_path / "a.safetensors")
    assert repr(lm.load(tmp_path / "a.safetensors")) == repr(layer)


def test_noise_is_in_the_file(tmp_path):
    model = DenseAutoencoder(6, 4, noise=MaskingNoise(0.25))
    lm.save(model, tmp_path / "a.safetensors")
    assert lm.load(tmp_path / "a.safetensors").noise.p == 0.25


@pytest.mark.parametrize("name", DENSE)
def test_all_learn(name):
    x, _ = prototypes()
    model = {
        "sparse": lambda: SparseAutoencoder(20, 8, rho=0.2, beta=0.1, rng=0),
        "k-sparse": lambda: KSparseAutoencoder(20, 12, 3, start=6, rng=0),
        "contractive": lambda: ContractiveAutoencoder(20, 8, strength=0.01, rng=0),
        "stacked": lambda: StackedAutoencoder(
            [DenseAutoencoder(20, 8, rng=0), DenseAutoencoder(8, 4, rng=1)]
        ),
        "relu": lambda: DenseAutoencoder(20, 8, activation="relu", rng=0),
        "linear": lambda: DenseAutoencoder(20, 4, activation="linear", rng=0),
    }.get(name, lambda: DenseAutoencoder(20, 8, tied="tied" in name, rng=0))()
    history = lm.fit(
        model,
        x,
        epochs=60,
        batch_size=20,
        optimizer=lm.optim.Adam(model.parameters(), 1e-2),
        seed=0,
        verbose=0,
        validation=0.2,
        metrics=["mean_squared_error"],
    )
    mean = np.mean((x - x.mean(axis=0)) ** 2)  # what drawing the mean costs
    assert history["val_mean_squared_error"][-1] < 0.25 * mean
    assert history["val_loss"][-1] < history["val_loss"][0]


def test_loss_is_half_the_squared_error_of_a_sample():
    model = DenseAutoencoder(6, 4, rng=0)
    error = 0.5 * np.sum((model.reconstruct(ROWS) - ROWS) ** 2) / len(ROWS)
    assert model.loss(ROWS).item() == pytest.approx(error, rel=1e-6)
    assert lm.evaluate(model, ROWS, batch_size=2) == {"loss": pytest.approx(error, rel=1e-6)}
    heavier = DenseAutoencoder(6, 4, rng=0, weight_decay=0.5)
    squares = sum(np.sum(p.data**2) for p in heavier.parameters() if p.ndim == 2)
    assert heavier.loss(ROWS).item() == pytest.approx(error + 0.25 * squares, rel=1e-6)


def test_fit_trains_on_the_loss_of_the_autoencoder():
    """The obvious call is the loop by hand, with Adam at 1e-3 and batches of 128."""
    x, _ = prototypes(300)
    ours, theirs = DenseAutoencoder(20, 8, weight_decay=0.1, rng=0), DenseAutoencoder(20, 8, weight_decay=0.1)
    theirs.load_state_dict(ours.state_dict())
    history = lm.fit(ours, x, epochs=2, seed=3, verbose=0)
    rng, adam = np.random.default_rng(3), lm.optim.Adam(theirs.parameters(), 1e-3)
    for epoch in range(2):
        order, total = rng.permutation(300), 0.0
        for start in (0, 128, 256):
            rows = order[start : start + 128]
            adam.zero_grad()
            loss = theirs.loss(x[rows])
            loss.backward()
            adam.step()
            total += loss.item() * len(rows)
        assert history["loss"][epoch] == pytest.approx(total / 300, rel=1e-6)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_array_equal(a.data, b.data)


def test_fit_with_targets_and_with_another_loss():
    x, _ = prototypes(100)
    model = DenseAutoencoder(20, 8, activation="linear", rng=0)
    adam = lm.optim.Adam(model.parameters(), 1e-2)
    lm.fit(model, x + 1, x, optimizer=adam, epochs=100, batch_size=10, verbose=0, seed=0)
    assert np.mean((model.reconstruct(x + 1) - x) ** 2) < 0.01  # targets are one less
    history = lm.fit(model, x, loss=nn.MSELoss(), optimizer=adam, epochs=1, verbose=0, seed=0)
    assert history["loss"][0] > 0.1  # the mean over pixels of an error near 1, not half of it times 20


def test_integers_become_floats():
    model = DenseAutoencoder(6, 4, rng=0)
    x = (ROWS * 9).astype(np.uint8)
    assert model.loss(x).item() == model.loss(x.astype(np.float32)).item()
    lm.fit(model, x, epochs=1, verbose=0)


def test_reconstruction_is_decoding_of_the_code():
    for make in (DENSE["dense"], CONVOLUTIONAL["transposed"], DENSE["stacked"]):
        model, x = make(), IMAGES if make is CONVOLUTIONAL["transposed"] else ROWS
        y = model.reconstruct(x)
        assert y.shape == x.shape
        np.testing.assert_array_equal(model.decode(model.encode(x)).data, model(x).data)
        np.testing.assert_allclose(y, model(x).data, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: DenseAutoencoder(0, 4),
            ValueError,
            "DenseAutoencoder: in_features must be at least 1, got 0",
        ),
        (lambda: DenseAutoencoder(4, 2.0), TypeError, "DenseAutoencoder: hidden_features must be an int"),
        (lambda: DenseAutoencoder(4, 2, activation="gelu"), ValueError, "unknown activation 'gelu'"),
        (lambda: DenseAutoencoder(4, 2, output="softmax"), ValueError, "unknown output 'softmax'"),
        (lambda: DenseAutoencoder(4, 2, tied=1), TypeError, "DenseAutoencoder: tied must be True or False"),
        (lambda: DenseAutoencoder(4, 2, dropout=1), ValueError, "dropout must be at least 0 and less than 1"),
        (lambda: DenseAutoencoder(4, 2, noise=0.2), TypeError, r"noise must be a Module, as .* got 0.2"),
        (
            lambda: DenseAutoencoder(4, 2, weight_decay=-1),
            ValueError,
            "weight_decay must be finite and at least 0",
        ),
        (
            lambda: ContractiveAutoencoder(4, 2, strength=-1),
            ValueError,
            "strength must be finite and at least 0",
        ),
        (lambda: MaskingNoise(1.0), ValueError, "MaskingNoise: p must be at least 0 and less than 1, got 1"),
        (lambda: GaussianNoise(-0.1), ValueError, "GaussianNoise: std must be finite and at least 0"),
        (lambda: Tied(nn.ReLU()), TypeError, "Tied: layer must be a Linear or Conv2d, got ReLU"),
        (lambda: DenseAutoencoder(4, 2).loss(ROWS), ValueError, r"Linear: x .*6"),
        (lambda: DenseAutoencoder(6, 2).loss(ROWS[:0]), ValueError, "an empty batch"),
        (lambda: DenseAutoencoder(6, 2).objective(ROWS, ROWS[:, :5]), ValueError, "target must have shape"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()
