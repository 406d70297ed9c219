"""What the notes of CS231n advise to look at: a net that cannot learn 20 images by heart is broken, and
convolutions pay because near pixels belong together: where pixels change places, their lead is gone.
"""

from collections.abc import Iterator

import numpy as np

import lamina as lm
from lamina import nn, optim
from papers.row import Effort, Row, all_processors
from papers.training import accuracy, images, trained

TITLE = "Karpathy, Li & Johnson 2015, CS231n: convolutional neural networks for visual recognition, notes"

_HIDDEN = 77  # units of a dense net of about LeNet-5's size


def run(effort: Effort) -> Iterator[Row]:
    yield _by_heart()
    with all_processors():
        try:
            yield from _permuted(effort)
        except (FileNotFoundError, ImportError) as error:
            yield Row("permuted pixels", "-", f"not run: {error}", None)


def _by_heart(count: int = 20, steps: int = 400) -> Row:
    """Pixels and labels at random: nothing but the images themselves can be learned."""
    rng = np.random.default_rng(0)
    x, y = rng.random((count, 32, 32, 3), np.float32) - np.float32(0.5), rng.integers(0, 10, count)
    lm.manual_seed(0)
    model = lm.models.convnetjs_cifar10()
    trained(
        model,
        x,
        y,
        "20 images",
        epochs=steps,
        batch_size=count,
        optimizer=optim.Adam(model.parameters(), 3e-3),
        schedule=optim.Cosine(),
    )
    found = accuracy(model, x, y)
    name = f"ConvNetJS's CIFAR-10 net, {count} images of noise, {steps} steps: accuracy on them"
    return Row(name, "100 %", f"{found:.0%}", found == 1)


def _permuted(effort: Effort) -> Iterator[Row]:
    name, data_set = images("mnist", effort)
    epochs = effort.pick(5, 3, 10)
    order, leads = np.random.default_rng(0).permutation(28 * 28), []
    for which, moved in (("as they are", np.arange(28 * 28)), ("permuted alike in all images", order)):
        x, x_test = (
            each.reshape(-1, 28 * 28)[:, moved].reshape(each.shape)
            for each in (data_set.x_train, data_set.x_test)
        )
        found = []
        for model in _nets():
            trained(
                model,
                x,
                data_set.y_train,
                f"{name}, pixels {which}",
                epochs=epochs,
                batch_size=64,
                optimizer=optim.Adam(model.parameters(), 1e-3),
                schedule=optim.Cosine(),
            )
            found.append(accuracy(model, x_test, data_set.y_test))
        leads.append(found[0] - found[1])
        yield Row(
            f"{name}, pixels {which}, {epochs} epochs: LeNet-5 and a dense net of as many parameters",
            "-",
            f"{found[0]:.2%} and {found[1]:.2%}",
            None,
        )
    yield Row(
        "the convolutions' lead, with pixels as they are and permuted",
        "shrinks",
        f"{100 * leads[0]:+.2f} and {100 * leads[1]:+.2f} points",
        None if effort.quick else leads[1] < leads[0] and leads[0] > 0,
    )


def _nets() -> tuple[nn.Module, nn.Module]:
    lm.manual_seed(0)
    dense = nn.Sequential(nn.Flatten(), nn.Linear(784, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, 10))
    return lm.models.lenet5(), dense
