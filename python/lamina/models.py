"""Ready-made networks, freshly initialised."""

from __future__ import annotations

from lamina import nn


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


def autoencoder(features: int = 784, hidden: int = 1000) -> nn.Sequential:
    """A dense autoencoder with one hidden layer: features -> hidden (ReLU) -> features (linear)."""
    return nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, features))
