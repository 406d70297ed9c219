"""The lecture's worked examples, exact to the last digit."""

import numpy as np
import pytest

import lamina as lm
from lamina import nn


def test_fully_connected_against_one_filter():
    assert nn.Linear(96 * 96, 100, bias=False).count_parameters() == 921_600
    assert nn.Linear(96 * 96, 100).count_parameters() == 921_700
    assert nn.Conv2d(1, 1, 3, bias=False).count_parameters() == 9


@pytest.mark.parametrize(
    ("layer", "count"),
    [
        (nn.Conv2d(3, 1, 5), 76),
        (nn.Conv2d(20, 1, 3, bias=False), 180),
        (nn.Conv2d(3, 96, 11, stride=4), 34_944),
    ],
    ids=repr,
)
def test_parameter_counts(layer, count):
    assert layer.count_parameters() == count


def test_three_small_filters_are_cheaper_than_one_large():
    small = nn.Sequential(*[nn.Conv2d(10, 10, 3, bias=False) for _ in range(3)])
    assert small.count_parameters() == 27 * 10**2
    assert nn.Conv2d(10, 10, 7, bias=False).count_parameters() == 49 * 10**2
    x = np.zeros((1, 7, 7, 10), np.float32)
    assert small(x).shape == (1, 1, 1, 10)


def _conv_net(channels, maps, pools):
    layers = []
    for _ in range(pools):
        layers += [nn.Conv2d(channels, maps, 3, padding=1), nn.ReLU(), nn.Conv2d(maps, maps, 3, padding=1)]
        layers += [nn.ReLU(), nn.MaxPool2d(2)]
        channels = maps
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * 4 * maps, 10))


def test_input_conv_relu_pool_fc():
    net = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(3072, 10)
    )
    assert net.count_parameters() == 31_066
    volumes = [row.volume for row in net.summary((32, 32, 3)).rows]
    assert volumes == [
        "32x32x3 -> 32x32x12",
        "32x32x12 -> 32x32x12",
        "32x32x12 -> 16x16x12",
        "16x16x12 -> 3072",
        "3072 -> 10",
    ]


def test_the_slides_own_volumes():
    """8x8x12 and 3x3x12, as the slide prints them: F4 S4, then F2 S3."""
    net = nn.Sequential(
        nn.Conv2d(3, 12, 4, stride=4), nn.ReLU(), nn.MaxPool2d(2, 3), nn.Flatten(), nn.Linear(108, 10)
    )
    assert [row.y_shape for row in net.summary((32, 32, 3)).rows] == [
        (8, 8, 12),
        (8, 8, 12),
        (3, 3, 12),
        (108,),
        (10,),
    ]


def test_ten_maps_everywhere():
    assert _conv_net(3, 10, 3).count_parameters() == 6_440


@pytest.mark.parametrize(
    ("net", "shape", "parameters"),
    [
        (lm.models.convnetjs_cifar10, (32, 32, 3), 22_466),
        (lm.models.convnetjs_mnist, (24, 24, 1), 5_994),
        (lm.models.resnet_small, (32, 32, 3), 760_874),
    ],
)
def test_ready_made_nets(net, shape, parameters):
    model = net()
    assert model.count_parameters() == model.summary(shape).parameters == parameters
    assert net(num_classes=7).predict(np.zeros((2, *shape), np.float32)).shape == (2, 7)


def test_first_weights_of_convnetjs():
    """N(0, 1/fan_in), and biases of 0.1 before a relu alone."""
    for net in (lm.models.convnetjs_cifar10(), lm.models.convnetjs_mnist()):
        layers = [layer for layer in net if isinstance(layer, (nn.Conv2d, nn.Linear))]
        for layer in layers:
            w = layer.weight.data
            deviation = w.std() * np.sqrt(w[0].size)
            assert abs(deviation - 1) < 5 / np.sqrt(w.size)
            np.testing.assert_array_equal(layer.bias.data, np.float32(0 if layer is layers[-1] else 0.1))


def test_the_5_by_5_animation():
    image = [[1, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 1], [0, 0, 1, 1, 0], [0, 1, 1, 0, 0]]
    layer = nn.Conv2d(1, 1, 3, bias=False)
    layer.load_state_dict({"weight": np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]]).reshape(1, 3, 3, 1)})
    y = layer(np.array(image).reshape(1, 5, 5, 1))
    np.testing.assert_array_equal(y.data[0, :, :, 0], [[4, 3, 4], [2, 4, 3], [2, 3, 4]])


def _volume(*planes):
    """Channel planes, written as rows of digits, to H x W x C."""
    return np.stack(
        [np.array([row.split() for row in plane.split(";")], np.float32) for plane in planes], axis=-1
    )


def test_the_conv_demo():
    """5x5x3, pad 1, two filters 3x3x3, stride 2: all 18 outputs."""
    x = _volume(
        "0 0 1 0 2;1 0 2 0 1;1 0 2 2 0;2 0 0 2 0;2 1 2 2 0",
        "2 1 2 1 1;2 1 2 0 1;0 2 1 0 1;1 2 2 2 2;0 1 2 0 1",
        "2 1 1 2 0;1 0 0 1 0;0 1 0 0 0;1 0 2 1 0;2 2 1 1 1",
    )
    w0 = _volume("-1 0 1;0 0 1;1 -1 1", "-1 0 1;1 -1 1;0 1 0", "-1 1 1;1 1 0;0 -1 0")
    w1 = _volume("0 1 -1;0 -1 0;0 -1 1", "-1 0 0;1 -1 0;1 -1 0", "-1 1 -1;0 -1 -1;1 0 0")
    layer = nn.Conv2d(3, 2, 3, stride=2, padding=1, fit="exact")
    layer.load_state_dict({"weight": np.stack([w0, w1]), "bias": np.array([1.0, 0.0])})
    y = layer(x[None]).data
    np.testing.assert_array_equal(y[0, :, :, 0], [[2, 3, 3], [3, 7, 3], [8, 10, -3]])
    np.testing.assert_array_equal(y[0, :, :, 1], [[-8, -8, -3], [-3, 1, 0], [-3, -8, -5]])


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "fits"), [(7, 3, 1, 5), (7, 3, 2, 3), (227, 11, 4, 55), (11, 5, 2, 4)]
)
def test_size_rule(size, kernel, stride, fits):
    layer = nn.Conv2d(1, 1, kernel, stride=stride, fit="exact")
    assert layer(np.zeros((1, size, size, 1))).shape == (1, fits, fits, 1)


def test_strides_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"Conv2d: .*\(10 - 3 \+ 0\)/2 \+ 1 = 4.5 is not whole"):
        nn.Conv2d(1, 1, 3, stride=2, fit="exact")(np.zeros((1, 10, 10, 1)))


def test_the_pooling_figures():
    x = np.array([[1, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]], np.float32).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(nn.MaxPool2d(2)(x).data[0, :, :, 0], [[6, 8], [3, 4]])
    np.testing.assert_array_equal(nn.AvgPool2d(2)(x).data[0, :, :, 0], [[3.25, 5.25], [2, 2]])
    assert nn.MaxPool2d(2)(np.zeros((1, 224, 224, 64), np.float32)).shape == (1, 112, 112, 64)


def test_hello():
    """Cross-entropy of the character figure's logits for h, e, l, l against e, l, l, o."""
    logits = np.array([[1, 2.2, -3, 4.1], [0.5, 0.3, -1, 1.2], [0.1, 0.5, 1.9, -1.1], [0.2, -1.5, -0.1, 2.2]])
    losses = nn.CrossEntropyLoss(reduction="none")(logits, [1, 2, 2, 3]).data
    np.testing.assert_allclose(losses, [2.078517, 2.900102, 0.379588, 0.231364], atol=5e-7)
    assert nn.CrossEntropyLoss(reduction="sum")(logits, [1, 2, 2, 3]).item() == pytest.approx(
        5.589571, abs=5e-7
    )


def test_the_deep_network_of_the_tensorflow_tutorial():
    """24x24 crops of CIFAR-10: two convolutions, pooling and response normalisation, three dense layers."""
    norm = {"alpha": 0.001 / 9, "beta": 0.75, "k": 1.0}
    net = nn.Sequential(
        nn.Conv2d(3, 64, 5, padding="same"),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, padding="same"),
        nn.LocalResponseNorm(9, **norm),
        nn.Conv2d(64, 64, 5, padding="same"),
        nn.ReLU(),
        nn.LocalResponseNorm(9, **norm),
        nn.MaxPool2d(3, 2, padding="same"),
        nn.Flatten(),
        nn.Linear(2304, 384),
        nn.ReLU(),
        nn.Linear(384, 192),
        nn.ReLU(),
        nn.Linear(192, 10),
    )
    assert net.count_parameters() == 1_068_298
    assert net(np.zeros((1, 24, 24, 3), np.float32)).shape == (1, 10)


def test_unshared_weights():
    """A filter of 3 x 3 for each place of a 96 x 96 image; AlexNet's first layer if it shared nothing."""
    assert nn.LocallyConnected2d(1, 1, 3, input_size=96, bias=False).count_parameters() == 79_524
    one = nn.LocallyConnected2d(3, 1, 11, input_size=227, stride=4)
    assert 96 * one.count_parameters() == 105_705_600
