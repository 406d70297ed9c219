"""`viz.maximize`: the input that excites a unit most."""

import numpy as np
import pytest

import lamina as lm
from lamina import nn, viz


def _random_inputs(count, shape, seed=0):
    x = np.random.default_rng(seed).standard_normal((count, *shape)).astype(np.float32)
    return x / np.linalg.norm(x.reshape(count, -1), axis=1).reshape(count, *[1] * len(shape))


def test_of_a_first_dense_layer_it_is_the_weight_scaled():
    model = nn.Sequential(nn.Linear(20, 7, rng=0), nn.Sigmoid(), nn.Linear(7, 3, rng=1))
    w = model[0].weight.data
    expected = w / np.linalg.norm(w, axis=1, keepdims=True)
    np.testing.assert_allclose(viz.maximize(model, "0"), expected, atol=1e-6)
    np.testing.assert_allclose(viz.maximize(model, model[1], [4, 2]), expected[[4, 2]], atol=1e-6)
    np.testing.assert_allclose(viz.maximize(model, model[0], 5, norm=3.0), 3 * expected[5], atol=3e-6)


def test_no_random_input_beats_it():
    model = nn.Sequential(nn.Linear(64, 9, rng=0), nn.Sigmoid())
    best = model.predict(viz.maximize(model, "1"))
    others = model.predict(_random_inputs(100_000, (64,)))
    assert (np.diag(best) > others.max(axis=0)).all()
    assert (np.diag(best) > best.max(axis=0) - 1e-7).all()


@pytest.mark.parametrize("layer", ["2", "3", "4"])
def test_deeper_units_are_climbed(layer):
    """Against random inputs, and against Adam's ascent from other starts."""
    model = nn.Sequential(*[nn.Linear(12, 16, rng=0), nn.Tanh(), nn.Linear(16, 5, rng=1), nn.Sigmoid()])
    model = nn.Sequential(*model, nn.Linear(5, 5, rng=2)).astype(np.float64)
    found = viz.maximize(model, layer, norm=4.0)
    upto = nn.Sequential(*list(model)[: int(layer) + 1])
    best = np.diag(upto.predict(found))
    assert (best > upto.predict(4 * _random_inputs(20_000, (12,))).max(axis=0)).all()
    assert (np.linalg.norm(found, axis=1) < 4 + 1e-9).all()
    for unit in (0, 4):
        climbed = max(_climbed(upto, unit, start) for start in range(2))
        assert best[unit] > climbed - 1e-4 * abs(climbed)


def _climbed(model, unit, seed):
    x = lm.Tensor(4 * _random_inputs(1, (12,), seed + 10).astype(np.float64), requires_grad=True)
    optimizer = lm.optim.Adam([x], 0.05)
    for _ in range(250):
        optimizer.zero_grad()
        (-model(x)[:, unit].sum()).backward()
        optimizer.step()
        x.data *= min(1, 4 / np.linalg.norm(x.data))
    return float(model(x).data[0, unit])


def test_a_maximum_inside_the_bound_is_found():
    """-|x - c|^2 has its greatest value at c, well inside."""
    center = np.array([0.3, -0.2, 0.1])
    model = nn.Linear(3, 1, rng=0).astype(np.float64)
    found = viz.maximize(model, lambda x: -((x - center) ** 2).sum(axis=1, keepdims=True), 0)
    np.testing.assert_allclose(found, center, atol=1e-4)


def test_filters_of_a_first_convolution_in_the_middle_and_elsewhere():
    model = nn.Sequential(nn.Conv2d(2, 3, 3, rng=0), nn.ReLU())
    w = model[0].weight.data
    for at, (row, column) in ((None, (3, 2)), ((0, 4), (0, 4))):
        x = viz.maximize(model, "0", 1, input_shape=(8, 7, 2), at=at)
        expected = np.zeros((8, 7, 2))
        expected[row : row + 3, column : column + 3] = w[1] / np.linalg.norm(w[1])
        np.testing.assert_allclose(x, expected, atol=1e-6)


def test_a_deep_convolution():
    model = lm.models.lenet5()
    found = viz.maximize(model, "3", [0, 5, 11], input_shape=(28, 28, 1), norm=10.0, steps=60)
    assert found.shape == (3, 28, 28, 1)

    def values(x):
        y = nn.Sequential(*list(model)[:4]).predict(x)
        return y[:, y.shape[1] // 2, y.shape[2] // 2]

    others = values(10 * _random_inputs(5000, (28, 28, 1)))
    for row, unit in enumerate((0, 5, 11)):
        assert values(found)[row, unit] > 1.5 * others[:, unit].max()


def test_dead_units_get_zeros_and_live_ones_do_not_suffer():
    model = nn.Sequential(nn.Linear(4, 3, rng=0), nn.ReLU())
    model[0].bias.data[1] = -100
    found = viz.maximize(model, "1")
    assert not found[1].any()
    np.testing.assert_allclose(np.linalg.norm(found[[0, 2]], axis=1), 1, rtol=1e-6)


def test_the_model_stays_as_it_is():
    model = nn.Sequential(nn.Linear(4, 3, rng=0), nn.Dropout(0.5), nn.Linear(3, 2, rng=1))
    model[0].bias.requires_grad = False
    before, model[0].weight.grad = model.state_dict(), np.ones((3, 4), np.float32)
    first, second = (viz.maximize(model, "2", 1) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert model.training
    assert model[0].weight.requires_grad
    assert not model[0].bias.requires_grad
    assert (model[0].weight.grad == 1).all()
    assert all((before[name] == value).all() for name, value in model.state_dict().items())


@pytest.mark.parametrize("layer", ["encoder.0", "encoder", lambda model: model.encode])
def test_codes_of_autoencoders(layer):
    model = lm.autoencoders.SparseAutoencoder(30, 6, noise=lm.autoencoders.MaskingNoise(0.5), rng=0)
    layer = layer if isinstance(layer, str) else layer(model)
    w = model.encoder[0].weight.data
    expected = w / np.linalg.norm(w, axis=1, keepdims=True)
    np.testing.assert_allclose(viz.maximize(model, layer), expected, atol=1e-6)


def test_the_states_of_a_recurrent_layer():
    model = nn.Sequential(nn.RNN(3, 4, rng=0))
    found = viz.maximize(model, "0", 2, input_shape=(5, 3), at=(4,), norm=2.0)
    best = model[0](found[None])[0].data[0, 4, 2]
    others = model[0](2 * _random_inputs(5000, (5, 3)))[0].data[:, 4, 2]
    assert best > others.max()


@pytest.mark.parametrize(
    ("layer", "options", "error", "message"),
    [
        ("5", {}, ValueError, "no layer '5', there are 0, 1"),
        (nn.Linear(2, 2), {}, ValueError, "the model does not call the layer Linear"),
        (3, {}, TypeError, "layer must be a module, its path or a function, got int"),
        (lambda x: x.sum(), {}, TypeError, r"one floating tensor \(N, \.\.\., units\), got shape \(\)"),
        (lambda x: x.data, {}, TypeError, "got ndarray"),
        ("0", {"units": 3}, ValueError, "unit must be at most 2, got 3"),
        ("0", {"units": [0, -1]}, ValueError, "unit must be at least 0, got -1"),
        ("0", {"units": True}, TypeError, "unit must be an int"),
        ("0", {"norm": 0}, ValueError, "norm must be above 0"),
        ("0", {"steps": 0}, ValueError, "steps must be at least 1"),
        ("0", {"starts": 0}, ValueError, "starts must be at least 1"),
        ("0", {"at": (1,)}, ValueError, r"at must be a place on the axes \(\), got \(1,\)"),
        ("0", {"input_shape": 0}, ValueError, "input_shape must be at least 1"),
        ("0", {"seed": -1}, ValueError, "maximize: seed must be"),
    ],
)
def test_maximize_refuses(layer, options, error, message):
    model = nn.Sequential(nn.Linear(4, 3, rng=0), nn.ReLU())
    with pytest.raises(error, match=message):
        viz.maximize(model, layer, **options)
    assert model[0].weight.requires_grad


def test_the_shape_of_the_input_must_be_known():
    with pytest.raises(ValueError, match="give input_shape"):
        viz.maximize(nn.Conv2d(1, 2, 3), "")
