"""Ready-made networks, freshly initialised."""

from __future__ import annotations

import math

import numpy as np

from lamina import init, nn


def lenet5(*, num_classes: int = 10) -> nn.Sequential:
    """LeNet-5 for 28x28x1 images, with ReLU and max pooling: 61,706 parameters for ten classes.

    28x28x1 -> conv 5x5 (padded by 2) 28x28x6 -> pool 14x14x6 -> conv 5x5 10x10x16 -> pool 5x5x16
    -> 120 -> 84 -> logits.

    Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
    recognition", Proceedings of the IEEE 86(11), 1998, section II.B. The original pads the digits to 32x32
    instead, has tanh, mean pooling, sparse connections in its second convolution and a radial output layer.
    """
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, num_classes),
    )


def vgg_small(*, num_classes: int = 10) -> nn.Sequential:
    """A VGG-like network for 32x32x3 images: three pairs of 3x3 convolutions of 32, 64 and 128 maps.

    Each pair is followed by max pooling: 32x32x3 -> 16x16x32 -> 8x8x64 -> 4x4x128 -> logits.

    Source: K. Simonyan, A. Zisserman, "Very deep convolutional networks for large-scale image recognition",
    2015, whose scheme this follows at a small size.
    """
    layers: list[nn.Module] = []
    channels = 3
    for maps in (32, 64, 128):
        for _ in range(2):
            layers += [nn.Conv2d(channels, maps, 3, padding=1), nn.ReLU()]
            channels = maps
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * 4 * channels, num_classes))


def convnetjs_mnist(*, num_classes: int = 10) -> nn.Sequential:
    """The digit demo of ConvNetJS, for 24x24x1 crops: 5,994 parameters for ten classes.

    24x24x1 -> conv 5x5 24x24x8 -> pool 12x12x8 -> conv 5x5 12x12x16 -> pool 3x3 4x4x16 -> logits.
    Weights start as N(0, 1/fan_in), biases of rectified units at 0.1, as there.

    Source: A. Karpathy, ConvNetJS, 2014, demo/mnist.
    """
    return nn.Sequential(
        *_rectified(1, 8, 5),
        nn.MaxPool2d(2),
        *_rectified(8, 16, 5),
        nn.MaxPool2d(3),
        *_scores(256, num_classes),
    )


def convnetjs_cifar10(*, num_classes: int = 10) -> nn.Sequential:
    """The CIFAR-10 demo of ConvNetJS, for 32x32x3 images: 22,466 parameters for ten classes.

    Three times a convolution 5x5 with relu and max pooling 2x2: 32x32x3 -> 16x16x16 -> 8x8x20 -> 4x4x20 ->
    logits. Weights start as N(0, 1/fan_in), biases of rectified units at 0.1, as there.

    Source: A. Karpathy, ConvNetJS, 2014, demo/cifar10.
    """
    layers: list[nn.Module] = []
    for channels, maps in ((3, 16), (16, 20), (20, 20)):
        layers += [*_rectified(channels, maps, 5), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, *_scores(320, num_classes))


def _rectified(channels: int, maps: int, kernel: int) -> list[nn.Module]:
    """A convolution that keeps the size, and its relu."""
    conv = nn.Conv2d(channels, maps, kernel, padding=kernel // 2)
    return [_as_convnetjs(conv, 0.1), nn.ReLU()]


def _scores(features: int, classes: int) -> list[nn.Module]:
    return [nn.Flatten(), _as_convnetjs(nn.Linear(features, classes), 0)]


def _as_convnetjs(layer: nn.Module, bias: float) -> nn.Module:
    """Weights N(0, 1/fan_in) and equal biases."""
    values = layer.state_dict()
    fan_in, _ = init.fans(values["weight"].shape)
    layer.load_state_dict(
        {
            "weight": init.normal(values["weight"].shape, 0, 1 / math.sqrt(fan_in)),
            "bias": np.full_like(values["bias"], bias),
        }
    )
    return layer


def resnet_small(*, in_channels: int = 3, width: int = 32, num_classes: int = 10) -> nn.Sequential:
    """A small residual network with batch normalisation, for images of about 32x32 pixels.

    Convolutions 3x3 of width, 2 width, 4 width and 8 width maps; max pooling and a residual block of two more
    convolutions follow the second and the third. The greatest value of each of the last maps goes to the
    logits. By default 760,874 parameters, and 95 million multiplications an image of 32x32x3.

    Source: K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016, for
    the blocks; few and wide ones learn faster than many narrow ones (S. Zagoruyko, N. Komodakis, "Wide
    residual networks", BMVC 2016).
    """
    layers = _normalised(in_channels, width)
    for maps in (2 * width, 4 * width):
        block = nn.Sequential(*_normalised(maps, maps), *_normalised(maps, maps))
        layers += [*_normalised(maps // 2, maps), nn.MaxPool2d(2), nn.Residual(block)]
    layers += [*_normalised(4 * width, 8 * width), nn.GlobalMaxPool2d()]
    return nn.Sequential(*layers, nn.Linear(8 * width, num_classes))


def _normalised(channels: int, maps: int) -> list[nn.Module]:
    """A convolution 3x3 that keeps the size, batch normalisation, relu."""
    return [nn.Conv2d(channels, maps, 3, padding=1, bias=False), nn.BatchNorm2d(maps, relu=True)]


def autoencoder(features: int = 784, hidden: int = 1000) -> nn.Sequential:
    """A dense autoencoder with one hidden layer: features -> hidden (ReLU) -> features (linear)."""
    return nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, features))
