"""The two image demos of ConvNetJS: their nets, first weights and augmentation.

The digits also have its Adadelta and its batches of 20. There, the squared weights and the loss of a batch
are summed and both divided by the size of the batch: so is the decay here; it includes the biases, which are
few. The rate falls to 0 by a cosine, for the demo runs on until one closes the page. The photographs, with
Adadelta and batches of 4 as there, stand at 60 % after 10 epochs; here they are learned by Adam, whose
rate rises and falls once.
"""

from collections.abc import Iterator

import numpy as np

import lamina as lm
from lamina import data, nn, optim
from papers.row import Effort, Row, all_processors
from papers.training import accuracy, images, trained

TITLE = "Karpathy 2014, ConvNetJS: the demos of MNIST and CIFAR-10"

_CROPS = 4  # windows of a test digit whose class probabilities are averaged


def run(effort: Effort) -> Iterator[Row]:
    with all_processors():
        for experiment in (_digits, _photographs):
            try:
                yield experiment(effort)
            except (FileNotFoundError, ImportError) as error:
                yield Row(experiment.__name__.strip("_"), "-", f"not run: {error}", None)


def _digits(effort: Effort) -> Row:
    name, data_set = images("mnist", effort)
    lm.manual_seed(0)
    model = lm.models.convnetjs_mnist()
    took = trained(
        model,
        data_set.x_train,
        data_set.y_train,
        f"ConvNetJS, {name}",
        epochs=effort.pick(6, 6, 20),
        batch_size=20,
        # as ConvNetJS first had it; its later eps, 1e-8, starts far more slowly
        optimizer=optim.Adadelta(model.parameters(), rho=0.95, eps=1e-6, weight_decay=1e-3 / 20),
        schedule=optim.Cosine(),
        augment=data.Crop(24),
    )
    found = float(np.mean(_mean_over_crops(model, data_set.x_test).argmax(axis=1) == data_set.y_test))
    return Row(
        f"{name}, {model.count_parameters():,} parameters, 24x24 crops, batch 20: accuracy, {_CROPS} crops",
        "around 99 % (wanted: 99.0)",
        f"{found:.2%}, {took}",
        found >= (0.8 if effort.quick else 0.99),
    )


def _mean_over_crops(model: nn.Module, x: np.ndarray) -> np.ndarray:
    crop, rng = data.Crop(24), np.random.default_rng(0)
    scores = [model.predict(crop.images(x, rng)) for _ in range(_CROPS)]
    return np.asarray(np.mean([lm.softmax(lm.Tensor(each)).data for each in scores], axis=0))


def _photographs(effort: Effort) -> Row:
    name, data_set = images("cifar10", effort)
    lm.manual_seed(0)
    model = lm.models.convnetjs_cifar10()
    took = trained(
        model,
        data_set.x_train - np.float32(0.5),
        data_set.y_train,
        f"ConvNetJS, {name}",
        epochs=effort.pick(4, 20, 60),
        batch_size=16 if effort.quick else 64,
        optimizer=optim.Adam(model.parameters(), 5e-3),
        schedule=optim.OneCycle(rise=0.2),
        augment=data.Compose(data.Flip(), data.Shift(2)),
    )
    found = accuracy(model, data_set.x_test - np.float32(0.5), data_set.y_test)
    return Row(
        f"{name}, {model.count_parameters():,} parameters, flips and shifts by up to 2: accuracy",
        "about 80 % after very long (wanted: 72)",
        f"{found:.1%}, {took}",
        found >= (0.5 if effort.quick else 0.72),
    )
