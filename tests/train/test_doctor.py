"""Each finding of `doctor`, provoked; and each silent where all is well."""

import threading

import numpy as np
import pytest

import lamina as lm
from lamina import nn, optim
from lamina.train import doctor

DIGITS = lm.datasets.digits()
X, Y = DIGITS.x_train, DIGITS.y_train


def convolutional():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, rng=0),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 10, rng=1),
    )


def dense(activation=nn.ReLU, depth=1, gain=1.0):
    layers = [nn.Flatten()]
    for i in range(depth):
        layers += [nn.Linear(64, 64, rng=i), activation()]
        layers[-2].weight.data *= gain
    return nn.Sequential(*layers, nn.Linear(64, 10, rng=99))


def kinds(model, x=X, y=Y, **options):
    options = {"loss": nn.CrossEntropyLoss(), "verbose": False, **options}
    return [(finding.kind, finding.layer) for finding in doctor(model, x, y, **options)]


@pytest.mark.parametrize(
    ("make", "rate"),
    [
        (convolutional, 3e-3),
        (dense, 3e-3),
        (lambda: dense(nn.Tanh), 3e-3),
        (lambda: dense(nn.Sigmoid), 1e-2),
    ],
)
def test_silent_where_all_is_well_before_and_after_training(make, rate):
    model = make()
    assert kinds(model) == []
    adam = optim.Adam(model.parameters(), rate)
    lm.fit(model, X, Y, loss=nn.CrossEntropyLoss(), optimizer=adam, epochs=8, seed=0, verbose=0)
    assert kinds(model) == []
    assert lm.train.accuracy(model.predict(DIGITS.x_test), DIGITS.y_test) > 0.8  # it was well


def test_it_says_so(capsys):
    found = doctor(convolutional(), X, Y, loss=nn.CrossEntropyLoss())
    assert found == []
    assert capsys.readouterr().out == "doctor: nothing found\n"
    doctor(convolutional(), 255 * X, Y, loss=nn.CrossEntropyLoss())
    assert capsys.readouterr().out.startswith("input: x runs from 0 to 255 with root mean square")


def test_unnormalised_input():
    assert ("input", "") in kinds(dense(), 255 * X)
    assert ("input", "") in kinds(dense(), (255 * X).astype(np.uint8).astype(np.float32))
    assert ("input", "") in kinds(dense(), X / 255)
    assert ("input", "") in kinds(dense(), X + 100)
    spoilt = X.copy()
    spoilt[5, 2, 2] = np.nan
    texts = [f.text for f in doctor(dense(), spoilt[:50], Y[:50], loss=nn.CrossEntropyLoss(), verbose=False)]
    assert texts[0] == "1 of 3200 values are NaN or infinite; clean the data"
    assert ("input", "") not in kinds(dense(), (X - X.mean()) / X.std())


def test_features_of_different_scales():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4)).astype(np.float32)
    y = (x[:, 0] + x[:, 1] > 0).astype(np.int64)
    model = nn.Sequential(nn.Linear(4, 16, rng=0), nn.ReLU(), nn.Linear(16, 2, rng=1))
    assert kinds(model, x, y) == []
    assert kinds(model, x * np.float32([1, 0.003, 1, 1]), y) == []  # it is useless, but does no harm
    uneven = x * np.float32([0.002, 0.002, 0.002, 1])
    (finding,) = doctor(model, uneven, y, loss=nn.CrossEntropyLoss(), verbose=False)
    assert finding.text.startswith("features differ in scale: feature ")


def test_shuffled_labels():
    shuffled = np.random.default_rng(0).permutation(Y)
    assert kinds(convolutional(), X, shuffled) == [("labels", "")]
    (finding,) = doctor(convolutional(), X, shuffled, loss=nn.CrossEntropyLoss(), verbose=False)
    assert "have x and y been shuffled apart?" in finding.text
    half = np.where(np.arange(len(Y)) % 2, Y, shuffled)  # something is still to be learned
    assert kinds(convolutional(), X, half) == []
    assert kinds(convolutional(), X, np.zeros_like(Y)) == [("labels", "")]


def test_dead_units():
    model = convolutional()
    model[0].bias.data[:3] = -100
    assert kinds(model) == [("dead units", "1")]
    (finding,) = doctor(model, X, Y, loss=nn.CrossEntropyLoss(), verbose=False)
    assert finding.text.startswith("3 of 8 units are 0 for all 512 samples")
    model[0].bias.data[:3] = 0
    assert kinds(model) == []


def test_dead_units_that_training_made():
    model = dense(depth=2)
    sgd = optim.SGD(model.parameters(), 30.0)
    lm.fit(
        model, X[:256], Y[:256], loss=nn.CrossEntropyLoss(), optimizer=sgd, epochs=1, batch_size=64, verbose=0
    )
    assert "dead units" in [kind for kind, _ in kinds(model)]


@pytest.mark.parametrize("activation", [nn.Sigmoid, nn.Tanh])
def test_saturation(activation):
    found = kinds(dense(activation, gain=100.0))
    assert ("saturation", "2") in found
    assert ("saturation", "2") not in kinds(dense(activation))
    # At the end of a model it is certainty, not saturation.
    certain = nn.Sequential(nn.Flatten(), nn.Linear(64, 10, rng=0), activation())
    certain[1].weight.data *= 100
    assert kinds(certain, loss=lambda y, t: (y * 0.01).mean()) == []


def test_exploding_gradients():
    model = dense(depth=4, gain=8.0)
    assert "exploding gradients" in [kind for kind, _ in kinds(model)]
    assert kinds(dense(depth=4, gain=6**0.5)) == []  # He's initial weights


def test_gradients_that_are_not_finite():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10, rng=0))
    found = kinds(model, loss=lambda y, t: lm.sqrt(y * 0.0).mean())
    assert found == [("exploding gradients", "1.weight")]


def test_vanishing_gradients():
    assert ("vanishing gradients", "1.weight") in kinds(dense(nn.Sigmoid, depth=10))
    assert kinds(dense(nn.Sigmoid, depth=2)) == []


def test_softmax_twice():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10, rng=0), nn.Softmax())
    assert kinds(model) == [("loss", "2")]
    assert kinds(model, loss=lambda y, t: nn.CrossEntropyLoss()(lm.log(y), t)) == []
    binary = nn.Sequential(nn.Flatten(), nn.Linear(64, 1, rng=0), nn.Sigmoid())
    target = (Y[:, None] > 4).astype(np.float32)
    assert kinds(binary, y=target, loss=nn.BCEWithLogitsLoss()) == [("loss", "2")]
    assert kinds(binary, y=target, loss=nn.MSELoss()) == []


def test_a_loss_that_is_not_finite():
    assert kinds(convolutional(), loss=lambda y, t: y.mean() * float("inf")) == [("loss", "")]


def test_nothing_changes_and_one_seed_decides():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10, rng=0)).eval()
    former, state = model.state_dict(), lm.config.rng().bit_generator.state
    first, second = (kinds(model, 255 * X) for _ in range(2))
    assert first == second != []
    assert not model.training
    assert lm.config.rng().bit_generator.state == state
    assert all((former[name] == array).all() for name, array in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_other_kinds_of_networks_and_data():
    words = np.random.default_rng(0).integers(900, size=(200, 7))
    model = nn.Sequential(nn.Embedding(900, 8, rng=0), nn.Flatten(), nn.Linear(56, 2, rng=1))
    assert kinds(model, words, words[:, 0] % 2) == []
    encoder = lm.autoencoders.DenseAutoencoder(64, 16)
    rows = X.reshape(len(X), -1)
    assert doctor(encoder, rows, verbose=False) == []
    wide = lm.autoencoders.DenseAutoencoder(640, 16)  # its loss is a sum over the elements, not a mean
    assert doctor(wide, 3 * np.tile(rows, 10), verbose=False) == []
    loader = lm.data.Loader(X, Y, batch_size=200)
    assert kinds(convolutional(), loader, None) == []
    assert not [t for t in threading.enumerate() if t.name == "lamina.data.Loader"]


def test_refusals():
    with pytest.raises(TypeError, match=r"doctor: model must be a lamina\.nn\.Module, got str"):
        doctor("model", X, Y)
    with pytest.raises(TypeError, match="doctor: loss must be a function of prediction and target"):
        doctor(convolutional(), X, Y)
    with pytest.raises(ValueError, match="doctor: x has 3 samples"):
        doctor(convolutional(), X[:3], Y, loss=nn.CrossEntropyLoss())
