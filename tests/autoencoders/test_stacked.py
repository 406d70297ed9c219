"""Stacks: greedy training, fine-tuning, classifiers."""

import numpy as np
import pytest

import lamina as lm
from lamina import nn, optim, train
from lamina.autoencoders import ConvAutoencoder, DenseAutoencoder, KSparseAutoencoder, StackedAutoencoder
from tests.autoencoders.helpers import ROWS, prototypes


def stack():
    return StackedAutoencoder([DenseAutoencoder(20, 10, rng=0), DenseAutoencoder(10, 5, tied=True, rng=1)])


def test_codes_go_through_all():
    model = stack()
    x, _ = prototypes(8)
    first, second = model.layers
    code = second.encode(first.encode(x))
    np.testing.assert_array_equal(model.encode(x).data, code.data)
    np.testing.assert_array_equal(model(x).data, first.decode(second.decode(code)).data)
    assert model.hidden_features == 5


def test_pretraining_is_training_of_each_on_the_codes_before():
    x, _ = prototypes()
    ours, theirs = stack(), stack()
    histories = train.pretrain(ours, x, epochs=3, batch_size=50, seed=2, verbose=0)
    for layer, history in zip(theirs.layers, histories, strict=True):
        own = lm.fit(layer, x, epochs=3, batch_size=50, seed=2, verbose=0)
        assert own["loss"] == history["loss"]
        x = layer.encoder.predict(x)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_array_equal(a.data, b.data)


def test_pretraining_with_an_optimiser_of_ones_own():
    x, _ = prototypes()
    seen = []

    def make(parameters):
        seen.append(optim.SGD(parameters, 0.05))
        return seen[-1]

    model = stack()
    histories = train.pretrain(model, x, epochs=2, optimizer=make, verbose=0)
    assert [len(each.parameters) for each in seen] == [4, 3]
    assert [history.epochs for history in histories] == [2, 2]


def test_fine_tuning_improves_the_whole():
    x, _ = prototypes()
    model = stack()
    train.pretrain(model, x, epochs=20, batch_size=20, seed=0, verbose=0)
    before = np.mean((model.reconstruct(x) - x) ** 2)
    lm.fit(model, x, epochs=30, batch_size=20, seed=0, verbose=0)
    assert np.mean((model.reconstruct(x) - x) ** 2) < 0.7 * before


def test_noise_of_a_layer_serves_in_pretraining_alone():
    noisy = DenseAutoencoder(20, 10, noise=lm.autoencoders.MaskingNoise(0.9), rng=0)
    model = StackedAutoencoder([noisy, DenseAutoencoder(10, 5, rng=1)])
    x, _ = prototypes(8)
    np.testing.assert_array_equal(model.train()(x).data, model.eval()(x).data)


def test_the_classifier_has_the_encoder_and_learns(tmp_path):
    x, labels = prototypes()
    model = StackedAutoencoder(
        [KSparseAutoencoder(20, 30, 6, start=15, alpha=2, rng=0), DenseAutoencoder(30, 8, rng=1)]
    )
    train.pretrain(model, x, epochs=5, batch_size=50, seed=0, verbose=0)
    net = model.classifier(4, rng=0)
    assert next(net.parameters()) is model.layers[0].hidden.weight
    assert len(list(net.parameters())) == 6  # no decoder's
    adam = optim.Adam(net.parameters(), 1e-2)
    before = model.layers[0].hidden.weight.data.copy()
    lm.fit(net, x, labels, loss=nn.CrossEntropyLoss(), optimizer=adam, epochs=20, verbose=0, seed=0)
    assert train.accuracy(net.predict(x), labels) > 0.95
    assert not np.array_equal(before, model.layers[0].hidden.weight.data)
    lm.save(net, tmp_path / "net.safetensors")
    np.testing.assert_array_equal(lm.load(tmp_path / "net.safetensors").predict(x), net.predict(x))


def test_a_stack_schedules_its_layers():
    model = StackedAutoencoder([KSparseAutoencoder(20, 30, 5, start=20, rng=0)])
    model.schedule(0.0)
    assert model.layers[0].kept.k == 20
    x, _ = prototypes(20)
    lm.fit(model, x, epochs=1, verbose=0)
    assert model.layers[0].kept.k == 5


def test_convolutional_layers_stack_but_give_no_rows():
    model = StackedAutoencoder([ConvAutoencoder(1, (4,)), ConvAutoencoder(4, (2,))])
    x = np.random.default_rng(0).random((3, 8, 8, 1)).astype(np.float32)
    assert model.encode(x).shape == (3, 2, 2, 2)
    assert model(x).shape == x.shape
    train.pretrain(model, x, epochs=1, verbose=0)
    with pytest.raises(TypeError, match="its codes are no rows"):
        model.classifier(3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StackedAutoencoder([]), r"layers must be a list of autoencoders, got \[\]"),
        (lambda: StackedAutoencoder(DenseAutoencoder(2, 1)), "layers must be a list of autoencoders"),
        (
            lambda: StackedAutoencoder([DenseAutoencoder(2, 1), nn.Linear(1, 1)]),
            r"layers\[1\] must be an Autoencoder, got Linear",
        ),
        (
            lambda: train.pretrain(DenseAutoencoder(6, 2), ROWS, epochs=1),
            "pretrain: model must be a StackedAutoencoder, got DenseAutoencoder",
        ),
        (lambda: train.pretrain(StackedAutoencoder, ROWS, epochs=1), "the class StackedAutoencoder: make"),
    ],
)
def test_errors(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_layers_that_do_not_fit():
    model = StackedAutoencoder([DenseAutoencoder(6, 4), DenseAutoencoder(5, 2)])
    with pytest.raises(ValueError, match="Linear: x"):
        model(ROWS)
