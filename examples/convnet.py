"""A convolutional network, volume by volume: how an image becomes the name of what it shows.

    python examples/convnet.py [--quick]

The lecture's figure: three times convolution, relu, convolution, relu, pooling, with ten maps everywhere,
and one dense layer: seven layers with weights, 6,440 numbers to learn for colour images of 32x32 pixels. It
learns CIFAR-10, or digits with --quick and where CIFAR-10 is neither found nor fetched. Writes convnet.png,
the way through it of the car (or the one) that it is surest of, and convnet_confusion.png to ./figures.
Figure and network: A. Karpathy et al., CS231n.
"""

import sys

import numpy as np
from _common import arguments, handwritten_digits

import lamina as lm
from lamina import init, nn, optim, viz


def images(quick: bool) -> lm.datasets.Images:
    try:
        return handwritten_digits() if quick else lm.datasets.cifar10()
    except (FileNotFoundError, ImportError) as error:
        print(f"{error}\nCIFAR-10 is not available: taking digits instead.\n", file=sys.stderr)
    return handwritten_digits()


def network(height: int, channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(3):
        for _ in range(2):
            layer = nn.Conv2d(channels, 10, 3, padding=1)
            layer.weight.data[:] = init.he_normal(layer.weight.shape)
            layers += [layer, nn.ReLU()]
            channels = 10
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear((height // 8) ** 2 * 10, 10))


def main() -> None:
    options = arguments("Train a small convolutional network.")
    data = images(options.quick)
    count, epochs = (4000, 5) if options.quick else (len(data.x_train), 6)

    lm.manual_seed(0)
    model = network(*data.x_train.shape[2:])
    model.summary(data.x_train.shape[1:])
    optimizer = optim.Adam(model.parameters(), 3e-3)
    lm.fit(
        model,
        data.x_train[:count],
        data.y_train[:count],
        loss=nn.CrossEntropyLoss(),
        optimizer=optimizer,
        schedule=optim.Cosine(),
        epochs=epochs,
        batch_size=32,
        seed=0,
    )
    scores = model.predict(data.x_test)
    best = scores.argmax(axis=1)
    right = np.mean(best == data.y_test)
    print(f"{model.count_parameters():,} parameters: {right:.1%} of the test images right")

    cars = np.flatnonzero((best == data.y_test) & (data.y_test == 1))  # as in the lecture; or ones
    one = cars[scores[cars, 1].argmax()]
    labels = [str(name) for name in data.classes]
    viz.activations(model, data.x_test[one], labels, path=options.figures / "convnet.png")
    order = np.argsort(-scores[one])
    print(f"the picture shows: {labels[data.y_test[one]]}; the network says {labels[order[0]]}, "
          f"then {labels[order[1]]}")  # fmt: skip
    taken = np.bincount(data.y_test * 10 + best, minlength=100).reshape(10, 10)
    np.fill_diagonal(taken, 0)
    i, j = np.unravel_index(taken.argmax(), taken.shape)
    print(f"its most common mistake: {labels[i]}, taken for {labels[j]}, {taken[i, j]} times")
    viz.confusion_matrix(scores, data.y_test, labels, path=options.figures / "convnet_confusion.png")
    print(f"pictures in {options.figures}/")


if __name__ == "__main__":
    main()
