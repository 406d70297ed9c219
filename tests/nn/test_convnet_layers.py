"""Layers of convolutional networks: values against other layers or plain NumPy, options, errors."""

import re

import numpy as np
import pytest

import lamina as lm
from lamina import nn
from lamina.testing import check_gradients

RNG = np.random.default_rng(8)
IMAGE = RNG.normal(size=(3, 6, 8, 4)).astype(np.float32)
STEPS = RNG.normal(size=(3, 9, 4)).astype(np.float32)


# unshared weights -------------------------------------------------------------------------------------
@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"stride": (1, 3), "padding": "same"}])
def test_equal_weights_everywhere_are_a_convolution(options):
    shared = nn.Conv2d(4, 5, 3, **options)
    layer = nn.LocallyConnected2d(4, 5, 3, input_size=(6, 8), **options)
    layer.weight.data[...] = shared.weight.data
    layer.bias.data[...] = shared.bias.data
    np.testing.assert_allclose(layer(IMAGE).data, shared(IMAGE).data, atol=1e-5)


def test_weights_are_not_shared():
    layer = nn.LocallyConnected2d(1, 1, 1, input_size=(2, 2), bias=False)
    layer.weight.data[...] = np.array([[1, 2], [3, 4]]).reshape(layer.weight.shape)
    np.testing.assert_array_equal(layer(np.ones((1, 2, 2, 1)))[0, :, :, 0].data, [[1, 2], [3, 4]])


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": (2, 1)}, {"padding": "same"}])
def test_equal_weights_at_every_step_are_a_convolution(options):
    shared = nn.Conv1d(4, 5, 3, **options)
    layer = nn.LocallyConnected1d(4, 5, 3, input_size=9, **options)
    layer.weight.data[...] = shared.weight.data
    layer.bias.data[...] = shared.bias.data
    np.testing.assert_allclose(layer(STEPS).data, shared(STEPS).data, atol=1e-5)


def test_multiply_adds_of_unshared_weights():
    layer = nn.LocallyConnected2d(1, 1, 3, input_size=96, bias=False)
    assert layer.count_parameters() == 79_524
    assert layer.summary((96, 96, 1)).multiply_adds == 79_524


# sequences --------------------------------------------------------------------------------------------
def test_conv1d_by_hand():
    """x = [1, 2, -1, 1, -3], pad 1, w = [1, 0, -1], with strides 1 and 2."""
    x = np.array([1, 2, -1, 1, -3], np.float32).reshape(1, 5, 1)
    for stride, right in [(1, [-2, 2, 1, 2, 1]), (2, [-2, 1, 1])]:
        layer = nn.Conv1d(1, 1, 3, stride=stride, padding=1, bias=False)
        layer.weight.data[...] = np.array([1, 0, -1]).reshape(1, 3, 1)
        np.testing.assert_array_equal(layer(x).data[0, :, 0], right)


def test_conv1d_padded_before_alone_sees_no_later_step():
    layer, later = nn.Conv1d(4, 2, 3, dilation=2, padding=(4, 0)), STEPS.copy()
    later[:, 5:] = 0
    y = layer(STEPS).data
    assert y.shape == (3, 9, 2)
    np.testing.assert_array_equal(layer(later).data[:, :5], y[:, :5])
    assert not np.allclose(layer(later).data[:, 5], y[:, 5])


def test_conv1d_is_that_of_pytorch():
    torch = pytest.importorskip("torch")
    ours = nn.Conv1d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2).astype(np.float64)
    w = torch.tensor(ours.weight.data).permute(0, 2, 1)
    x = torch.tensor(STEPS.astype(np.float64)).permute(0, 2, 1)
    right = torch.nn.functional.conv1d(x, w, torch.tensor(ours.bias.data), 2, 1, 2, 2)
    np.testing.assert_allclose(ours(STEPS.astype(np.float64)).data, right.permute(0, 2, 1), atol=1e-12)


def test_pools_of_sequences():
    x = np.arange(7, dtype=np.float32).reshape(1, 7, 1)
    np.testing.assert_array_equal(nn.MaxPool1d(2)(x).data.ravel(), [1, 3, 5])
    np.testing.assert_array_equal(nn.MaxPool1d(2, ceil_mode=True)(x).data.ravel(), [1, 3, 5, 6])
    np.testing.assert_array_equal(nn.MaxPool1d(3, 2, padding=(1, 0))(x).data.ravel(), [1, 3, 5])
    np.testing.assert_array_equal(nn.AvgPool1d(3, 2)(x).data.ravel(), [1, 3, 5])
    assert nn.AvgPool1d(2, padding=1)(x).data[0, 0, 0] == 0
    assert nn.AvgPool1d(4, 3, padding=1)(x).data[0, 0, 0] == (0 + 1 + 2) / 4
    assert nn.AvgPool1d(4, 3, padding=1, count_include_pad=False)(x).data[0, 0, 0] == 1


# pooling ----------------------------------------------------------------------------------------------
def test_global_pools():
    np.testing.assert_array_equal(nn.GlobalMaxPool2d()(IMAGE).data, IMAGE.max(axis=(1, 2)))
    np.testing.assert_allclose(nn.GlobalAvgPool2d()(IMAGE).data, IMAGE.mean(axis=(1, 2)), atol=1e-6)


@pytest.mark.parametrize("output", [(3, 4), (6, 8), (4, 3), (5, 11), (1, 1), (7, 2)])
@pytest.mark.parametrize("kind", ["Max", "Avg"])
def test_adaptive_pools(kind, output):
    layer = getattr(nn, f"Adaptive{kind}Pool2d")(output)
    found = layer(IMAGE).data
    assert found.shape == (3, *output, 4)
    for i, j in np.ndindex(*output):
        rows = slice(i * 6 // output[0], -(-(i + 1) * 6 // output[0]))
        columns = slice(j * 8 // output[1], -(-(j + 1) * 8 // output[1]))
        part = IMAGE[:, rows, columns]
        right = part.max(axis=(1, 2)) if kind == "Max" else part.mean(axis=(1, 2))
        np.testing.assert_allclose(found[:, i, j], right, atol=1e-6)
    check_gradients(lambda x: layer(x), IMAGE[:1])


def test_adaptive_pools_take_images_of_any_size():
    model = nn.Sequential(nn.Conv2d(4, 3, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 5))
    assert model(IMAGE).shape == (3, 5)
    assert model(IMAGE[:, :5, :5]).shape == (3, 5)


def test_l2_pooling():
    x = np.array([[3, 4, 0, 0], [0, 0, 0, 0]], np.float32).reshape(1, 2, 4, 1)
    t = lm.Tensor(x, requires_grad=True)
    y = nn.L2Pool2d(2)(t)
    np.testing.assert_array_equal(y.data.ravel(), [5, 0])
    y.backward(np.ones_like(y.data))
    np.testing.assert_allclose(t.grad[0, :, :, 0], [[0.6, 0.8, 0, 0], [0, 0, 0, 0]], rtol=1e-6)
    np.testing.assert_allclose(nn.L2Pool2d(2, padding=1)(x).data[0, 0, :, 0], [3, 4, 0], rtol=1e-6)


# borders, dropout -------------------------------------------------------------------------------------
@pytest.mark.parametrize(("layer", "mode"), [(nn.ZeroPad2d, "constant"), (nn.ReflectPad2d, "reflect")])
@pytest.mark.parametrize("padding", [1, (2, 3), ((0, 2), (5, 1)), 0])
def test_borders(layer, mode, padding):
    sides = {1: ((1, 1), (1, 1)), (2, 3): ((2, 2), (3, 3)), 0: ((0, 0), (0, 0))}.get(padding, padding)
    right = np.pad(IMAGE, ((0, 0), *sides, (0, 0)), mode=mode)
    np.testing.assert_array_equal(layer(padding)(IMAGE).data, right)
    check_gradients(lambda x: layer(padding)(x), IMAGE[:1])


def test_zero_padding_and_a_convolution_are_a_padded_convolution():
    inner = nn.Conv2d(4, 2, 3)
    outer = nn.Conv2d(4, 2, 3, padding=((1, 0), (2, 1)))
    outer.load_state_dict(inner.state_dict())
    model = nn.Sequential(nn.ZeroPad2d(((1, 0), (2, 1))), inner)
    np.testing.assert_allclose(model(IMAGE).data, outer(IMAGE).data, atol=1e-6)


@pytest.mark.parametrize("shape", [(40, 5, 6, 30), (40, 7, 30)])
def test_spatial_dropout_drops_whole_channels(shape):
    y = nn.Dropout2d(0.25, rng=0)(np.ones(shape, np.float32)).data
    flat = y.reshape(shape[0], -1, shape[-1])
    assert (flat == flat[:, :1]).all()
    assert set(np.unique(y)) == {0, np.float32(1 / 0.75)}
    assert 0.2 < (flat[:, 0] == 0).mean() < 0.3
    layer = nn.Dropout2d(0.25).eval()
    np.testing.assert_array_equal(layer(IMAGE).data, IMAGE)


# combinations -----------------------------------------------------------------------------------------
def test_residual_adds_what_goes_around():
    inner = nn.Conv2d(4, 4, 3, padding=1)
    np.testing.assert_array_equal(nn.Residual(inner)(IMAGE).data, inner(IMAGE).data + IMAGE)
    around = nn.Conv2d(4, 6, 1)
    inner = nn.Conv2d(4, 6, 3, padding=1)
    block = nn.Residual(inner, shortcut=around)
    np.testing.assert_array_equal(block(IMAGE).data, inner(IMAGE).data + around(IMAGE).data)
    assert set(block.state_dict()) == {"module.weight", "module.bias", "shortcut.weight", "shortcut.bias"}


def test_parallel_joins():
    a, b = nn.Conv2d(4, 2, 1), nn.Conv2d(4, 3, 3, padding=1)
    y = nn.Parallel(a, b)(IMAGE).data
    np.testing.assert_array_equal(y, np.concatenate([a(IMAGE).data, b(IMAGE).data], axis=-1))
    np.testing.assert_array_equal(nn.Parallel(a, a, a, merge="sum")(IMAGE).data, 3 * a(IMAGE).data)


def test_blocks_are_saved(tmp_path):
    inner = nn.Sequential(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6), nn.ReLU())
    block = nn.Residual(inner, shortcut=nn.Conv2d(4, 6, 1))
    model = nn.Sequential(
        nn.ReflectPad2d(((1, 0), (2, 1))),
        block,
        nn.Parallel(nn.GELU(), nn.L2Pool2d(1), merge="concatenate"),
        nn.LocallyConnected2d(12, 2, 3, input_size=(7, 11), stride=2),
        nn.AdaptiveAvgPool2d((2, 3)),
        nn.LeakyReLU(slope=0.2),
    )
    model(IMAGE)
    lm.save(model, tmp_path / "model")
    np.testing.assert_array_equal(lm.load(tmp_path / "model").predict(IMAGE), model.predict(IMAGE))


def test_maxout():
    x = np.array([[1, 5, 2, 3, 4, 9]], np.float32)
    np.testing.assert_array_equal(nn.Maxout(2)(x).data, [[3, 5, 9]])
    np.testing.assert_array_equal(nn.Maxout(3)(x).data, [[4, 9]])
    t = lm.Tensor(x, requires_grad=True)
    nn.Maxout(3)(t).sum().backward()
    np.testing.assert_array_equal(t.grad, [[0, 0, 0, 0, 1, 1]])


def test_activations_pass_their_options_on():
    x = np.array([-2.0, 3.0], np.float32)
    np.testing.assert_allclose(nn.LeakyReLU(slope=0.25)(x).data, [-0.5, 3])
    np.testing.assert_allclose(nn.ELU(alpha=2)(x).data, [2 * np.expm1(-2), 3], rtol=1e-6)
    exact, near = nn.GELU()(x).data, nn.GELU(approximate="tanh")(x).data
    np.testing.assert_allclose(exact, [-0.0455003, 2.9959502], rtol=1e-5)
    np.testing.assert_allclose(near, [-0.0454023, 2.9963627], rtol=1e-5)


# fully connected as convolution -----------------------------------------------------------------------
def test_a_dense_layer_as_a_convolution_gives_all_crops_at_once():
    """A network for 10 x 10 images, turned into convolutions, slides over a larger one at its stride of 4."""
    features = nn.Sequential(nn.Conv2d(3, 4, 3, padding=0), nn.ReLU(), nn.MaxPool2d(2), nn.MaxPool2d(2))
    dense = nn.Linear(2 * 2 * 4, 5)
    small = nn.Sequential(features, nn.Flatten(), dense)
    conv = nn.Conv2d(4, 5, 2)
    conv.weight.data[...] = dense.weight.data.reshape(5, 2, 2, 4)
    conv.bias.data[...] = dense.bias.data
    whole = nn.Sequential(features, conv)
    x = RNG.normal(size=(2, 18, 22, 3)).astype(np.float32)
    y = whole(x).data
    assert y.shape == (2, 3, 4, 5)
    for i, j in np.ndindex(3, 4):
        crop = x[:, 4 * i : 4 * i + 10, 4 * j : 4 * j + 10]
        np.testing.assert_allclose(small(crop).data, y[:, i, j], atol=1e-5)


ERRORS = {
    "local size": (
        lambda: nn.LocallyConnected2d(4, 2, 3, input_size=(6, 7))(IMAGE),
        "LocallyConnected2d: x must have shape (N, 6, 7, 4), NHWC, got (3, 6, 8, 4)",
    ),
    "local kernel": (
        lambda: nn.LocallyConnected2d(4, 2, 7, input_size=6),
        "LocallyConnected2d: the kernel 7 x 7 is larger than the padded image 6 x 6",
    ),
    "local steps": (
        lambda: nn.LocallyConnected1d(4, 2, 3, input_size=8)(STEPS),
        "LocallyConnected1d: x must have shape (N, 8, 4), NTI, got (3, 9, 4)",
    ),
    "conv1d axes": (lambda: nn.Conv1d(4, 2, 3)(IMAGE), "Conv1d: x must have 3 axes, NTI, got 4"),
    "conv1d groups": (lambda: nn.Conv1d(4, 3, 3, groups=2), "Conv1d: groups = 2 must divide in_channels = 4"),
    "conv1d padding": (lambda: nn.Conv1d(4, 3, 3, padding=(1, 2, 3)), "Conv1d: padding must be an int or a"),
    "pool1d": (lambda: nn.MaxPool1d(2, 0), "MaxPool1d: stride must be at least 1, got 0"),
    "global": (lambda: nn.GlobalAvgPool2d()(STEPS), "GlobalAvgPool2d: x must have 4 axes, NHWC, got 3"),
    "adaptive": (lambda: nn.AdaptiveMaxPool2d((2, 0)), "AdaptiveMaxPool2d: output_size must be at least 1"),
    "reflect": (
        lambda: nn.ReflectPad2d(6)(IMAGE),
        "ReflectPad2d: padding 6 must be less than the image, 6 x 8 (H x W)",
    ),
    "dropout2d": (lambda: nn.Dropout2d()(np.ones(3)), "Dropout2d: x must have at least 2 axes, (N, ..., C)"),
    "residual": (
        lambda: nn.Residual(nn.Linear(4, 5))(IMAGE),
        "Residual: the module returns (3, 6, 8, 5), but (3, 6, 8, 4) goes around it",
    ),
    "parallel": (
        lambda: nn.Parallel(nn.Conv2d(4, 2, 1), nn.Conv2d(4, 2, 3))(IMAGE),
        "Parallel: results of the shapes (3, 6, 8, 2), (3, 4, 6, 2) cannot be joined by 'concatenate'",
    ),
    "nothing parallel": (lambda: nn.Parallel(), "Parallel: there must be at least one module"),
    "merge": (lambda: nn.Parallel(nn.ReLU(), merge="max"), "Parallel: unknown merge 'max'"),
    "maxout": (lambda: nn.Maxout(3)(IMAGE), "Maxout: pieces = 3 must divide the last axis of x"),
    "leaky": (lambda: nn.LeakyReLU(slope=-1), "LeakyReLU: slope must be finite and at least 0, got -1"),
    "gelu": (lambda: nn.GELU(approximate="erf"), "GELU: unknown approximate 'erf'"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    call, message = ERRORS[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_wrong_kinds():
    with pytest.raises(TypeError, match="ZeroPad2d: padding must be an int, a pair or two pairs, got 'same'"):
        nn.ZeroPad2d("same")
    with pytest.raises(TypeError, match="Residual: shortcut must be a Module or None, got int"):
        nn.Residual(nn.ReLU(), shortcut=3)
