"""Normalisation layers: PyTorch's meaning, running statistics, folding into the layer before, errors."""

import re

import numpy as np
import pytest

import lamina as lm
from lamina import nn, optim
from lamina.testing import check_gradients

RNG = np.random.default_rng(3)
IMAGE = RNG.normal(2, 3, size=(4, 3, 5, 6)).astype(np.float32)
ROWS = RNG.normal(size=(7, 6)).astype(np.float32)


def _random(layer, seed=0):
    """Give parameters and running statistics values of their own."""
    rng = np.random.default_rng(seed)
    for module in layer.modules():
        for name in ("weight", "bias"):
            if isinstance(getattr(module, name, None), nn.Parameter):
                parameter = getattr(module, name)
                parameter.data[...] = rng.normal(size=parameter.shape)
        if hasattr(module, "running_mean"):
            module.running_mean[...] = rng.normal(size=module.running_mean.shape)
            module.running_var[...] = rng.uniform(0.5, 2, module.running_var.shape)
    return layer


@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_trains_as_in_pytorch(affine):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.BatchNorm2d(6, eps=1e-3, momentum=0.3, affine=affine).double()
    ours = nn.BatchNorm2d(6, eps=1e-3, momentum=0.3, affine=affine).astype(np.float64)
    for step in range(3):
        x = np.random.default_rng(step).normal(step, 1 + step, (4, 3, 5, 6))
        right = theirs(torch.tensor(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        np.testing.assert_allclose(ours(x).data, right.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(ours.running_mean, theirs.running_mean.numpy(), rtol=1e-12)
    np.testing.assert_allclose(ours.running_var, theirs.running_var.numpy(), rtol=1e-12)
    right = theirs.eval()(torch.tensor(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    np.testing.assert_allclose(ours.eval()(x).data, right.detach().numpy(), atol=1e-12)


def test_batch_norm_makes_mean_0_and_variance_1():
    y = nn.BatchNorm2d(6)(IMAGE).data
    np.testing.assert_allclose(y.mean(axis=(0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(y.var(axis=(0, 1, 2)), 1, atol=1e-4)


def test_running_statistics_move_by_momentum_with_the_unbiased_variance():
    layer = nn.BatchNorm1d(6, momentum=0.25)
    layer(ROWS)
    np.testing.assert_allclose(layer.running_mean, 0.25 * ROWS.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(layer.running_var, 0.75 + 0.25 * ROWS.var(axis=0, ddof=1), rtol=1e-5)


def test_evaluation_changes_no_statistics_and_needs_no_batch():
    layer = nn.BatchNorm1d(6).eval()
    np.testing.assert_allclose(layer(ROWS[:1]).data, ROWS[:1] / np.sqrt(np.float32(1 + 1e-5)), rtol=1e-6)
    np.testing.assert_array_equal(layer.running_mean, 0)
    assert layer(ROWS[:0]).shape == (0, 6)


def test_a_far_mean_leaves_the_variance_right():
    x = (1e4 + RNG.normal(size=(5000, 3))).astype(np.float32)
    layer = nn.BatchNorm1d(3, momentum=1.0)
    y = layer(x).data
    np.testing.assert_allclose(layer.running_var, x.astype(np.float64).var(axis=0, ddof=1), rtol=1e-4)
    np.testing.assert_allclose(y.var(axis=0), 1, rtol=1e-3)


@pytest.mark.parametrize("relu", [False, True])
def test_gradients_in_training(relu):
    layer = _random(nn.BatchNorm1d(6, relu=relu)).astype(np.float64)
    check_gradients(lambda x: layer(x), RNG.normal(size=(5, 6)))


def test_fused_relu_is_relu_after_it():
    plain, fused = _random(nn.BatchNorm2d(6)), _random(nn.BatchNorm2d(6, relu=True))
    a, b = (lm.Tensor(IMAGE, requires_grad=True) for _ in range(2))
    right, found = lm.relu(plain(a)), fused(b)
    np.testing.assert_array_equal(found.data, right.data)
    weights = RNG.normal(size=IMAGE.shape).astype(np.float32)
    right.backward(weights)
    found.backward(weights)
    np.testing.assert_allclose(b.grad, a.grad, atol=1e-6)
    np.testing.assert_allclose(fused.weight.grad, plain.weight.grad, rtol=1e-5)


def test_running_statistics_are_saved(tmp_path):
    model = nn.Sequential(
        nn.Conv2d(6, 4, 3), nn.BatchNorm2d(4, relu=True), nn.LayerNorm(4), nn.GroupNorm(2, 4)
    )
    for _ in range(3):
        model(IMAGE)
    lm.save(model, tmp_path / "model")
    twin = lm.load(tmp_path / "model")
    np.testing.assert_array_equal(twin.predict(IMAGE), model.predict(IMAGE))
    np.testing.assert_array_equal(twin[1].running_var, model[1].running_var)
    assert not np.allclose(twin[1].running_var, 1)


def test_astype_takes_the_buffers_along():
    layer = nn.BatchNorm1d(6).astype(np.float64)
    assert layer.running_mean.dtype == np.float64
    assert layer(ROWS.astype(np.float64)).dtype == np.float64


def test_group_norm_and_layer_norm_agree_where_they_are_the_same():
    rows = RNG.normal(size=(5, 8)).astype(np.float32)
    np.testing.assert_array_equal(nn.GroupNorm(1, 8)(rows).data, nn.LayerNorm(8)(rows).data)
    np.testing.assert_allclose(nn.LayerNorm(8)(rows).data.mean(axis=1), 0, atol=1e-6)


def test_local_response_by_hand():
    x = np.array([[1, 2, 3, 4]], np.float32)
    d = 2 + 0.5 * np.array([1 + 4, 1 + 4 + 9, 4 + 9 + 16, 9 + 16])
    np.testing.assert_allclose(nn.LocalResponseNorm(3, alpha=0.5)(x).data, x / d**0.75, rtol=1e-6)


# folding ------------------------------------------------------------------------------------------------
NETWORKS = {
    "convolution": (nn.Sequential(nn.Conv2d(6, 5, 3), nn.BatchNorm2d(5), nn.ReLU()), 2),
    "no bias": (nn.Sequential(nn.Conv2d(6, 5, 3, bias=False), nn.BatchNorm2d(5, affine=False)), 1),
    "relu": (
        nn.Sequential(nn.Conv2d(6, 4, 2, groups=2), nn.BatchNorm2d(4, relu=True), nn.Conv2d(4, 2, 1)),
        3,
    ),
    "nested": (
        nn.Sequential(
            nn.Sequential(nn.Conv2d(6, 5, 3), nn.BatchNorm2d(5)),
            nn.Flatten(),
            nn.Linear(15, 4),
            nn.BatchNorm1d(4),
        ),
        3,
    ),
    "nothing before it": (
        nn.Sequential(nn.BatchNorm2d(6), nn.Conv2d(6, 2, 1), nn.Tanh(), nn.BatchNorm2d(2)),
        4,
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_fused_networks_answer_alike(name):
    model, layers = NETWORKS[name]
    _random(model)
    before = model.state_dict()
    fused = nn.fuse(model)
    assert len(fused) == layers
    assert not fused.training
    np.testing.assert_allclose(fused.predict(IMAGE), model.predict(IMAGE), rtol=1e-4, atol=1e-4)
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[key])


def test_a_layer_that_stands_twice_is_folded_twice_apart():
    conv = nn.Conv2d(6, 6, 1)
    model = _random(nn.Sequential(conv, nn.BatchNorm2d(6), conv, nn.BatchNorm2d(6, relu=True), conv))
    fused = nn.fuse(model)
    assert [type(layer).__name__ for layer in fused] == ["Conv2d", "Conv2d", "ReLU", "Conv2d"]
    np.testing.assert_allclose(fused.predict(IMAGE), model.predict(IMAGE), rtol=1e-3, atol=1e-3)


def test_fuse_refuses_other_things():
    with pytest.raises(TypeError, match="fuse: model must be a Module, got"):
        nn.fuse([1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_image_is_a_batch_of_its_pixels(dtype):
    layer = nn.BatchNorm2d(6).astype(dtype)
    x = IMAGE[:1].astype(dtype)
    y = layer(x).data
    mean, var = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(var + 1e-5), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.running_mean, 0.1 * mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(layer.running_var, 0.9 + 0.1 * var * 15 / 14, rtol=1e-4)


@pytest.mark.parametrize("shape", [(1, 6), (1, 1, 6)])
def test_a_batch_without_spread_changes_no_statistics(shape):
    layer = nn.BatchNorm1d(6)
    with pytest.raises(ValueError, match="use eval"):
        layer(np.ones(shape, np.float32))
    assert (layer.running_mean == 0).all()
    assert (layer.running_var == 1).all()
    assert np.isfinite(layer.eval()(np.ones(shape, np.float32)).data).all()


def test_a_single_sample_at_the_end_of_an_epoch_is_explained():
    model = nn.Sequential(nn.Linear(3, 6, rng=0), nn.BatchNorm1d(6), nn.Linear(6, 2, rng=1))
    options = {"loss": nn.MSELoss(), "optimizer": optim.SGD(model.parameters(), 0.1), "verbose": 0}
    x = np.random.default_rng(0).normal(size=(9, 3))
    with pytest.raises(ValueError, match="leaves no single sample at the end of an epoch"):
        lm.fit(model, x, x[:, :2], batch_size=4, epochs=1, **options)
    assert lm.fit(model, x, x[:, :2], batch_size=5, epochs=1, **options).epochs == 1


ERRORS = {
    "one row": (
        lambda: nn.BatchNorm1d(6)(ROWS[:1]),
        "BatchNorm1d: training needs more than one value for each channel, got x of shape (1, 6)",
    ),
    "one pixel": (
        lambda: nn.BatchNorm2d(6)(IMAGE[:1, :1, :1]),
        "BatchNorm2d: training needs more than one value for each channel, got x of shape (1, 1, 1, 6)",
    ),
    "no rows": (lambda: nn.BatchNorm1d(6)(ROWS[:0]), "BatchNorm1d: training needs more than one value"),
    "channels": (
        lambda: nn.BatchNorm2d(5)(IMAGE),
        "BatchNorm2d: the last axis of x must be its 5 channels (shape (4, 3, 5, 6))",
    ),
    "axes": (lambda: nn.BatchNorm2d(6)(ROWS), "BatchNorm2d: x must have 4 axes, NHWC, got 2 (shape (7, 6))"),
    "axes 1d": (lambda: nn.BatchNorm1d(6)(IMAGE), "BatchNorm1d: x must have 2 or 3 axes, NC or NTC"),
    "momentum": (lambda: nn.BatchNorm1d(6, momentum=1.5), "BatchNorm1d: momentum must be at most 1, got 1.5"),
    "eps": (lambda: nn.LayerNorm(6, eps=0), "LayerNorm: eps must be above 0, got 0"),
    "layer": (lambda: nn.LayerNorm(5)(ROWS), "LayerNorm: the last axis of x must be its 5 channels"),
    "groups": (lambda: nn.GroupNorm(4, 6), "GroupNorm: groups = 4 must divide channels = 6"),
    "even": (lambda: nn.LocalResponseNorm(4), "LocalResponseNorm: size must be odd"),
    "k": (lambda: nn.LocalResponseNorm(3, k=0), "LocalResponseNorm: k must be above 0"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    call, message = ERRORS[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
