"""Labels that are texts: refused wherever numbers are due, with the way to number them."""

import re

import numpy as np
import pytest

import lamina as lm
from lamina import data, nn, optim, train

X = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
TEXTS = ["dog", "cat", "dog", "cow"]
NUMBERS = [0, 1, 0, 1]
HINT = "lm.data.encode_labels"


def fit(x, y=None, **options):
    model = nn.Linear(3, 3, rng=0)
    options = {"loss": nn.CrossEntropyLoss(), "epochs": 1, "verbose": 0, **options}
    return lm.fit(model, x, y, optimizer=optim.SGD(model.parameters(), 0.1), **options)


@pytest.mark.parametrize(
    "y",
    [
        TEXTS,
        np.array(TEXTS),
        np.array(TEXTS, object),
        np.array([0, 1, "dog", 2], object),
        np.array(TEXTS, "S3"),
    ],
    ids=["list", "U", "objects", "mixed", "S"],
)
@pytest.mark.parametrize(
    "use",
    [
        lambda y: fit(X, y),
        lambda y: fit(X, NUMBERS, validation=(X, y)),
        lambda y: lm.evaluate(nn.Linear(3, 3), X, y, loss=nn.CrossEntropyLoss()),
        lambda y: data.Loader(X, y),
    ],
    ids=["fit", "validation", "evaluate", "Loader"],
)
def test_texts_as_targets_are_refused(use, y):
    with pytest.raises(TypeError, match=rf"y must hold numbers, got .*{HINT}\(y\)"):
        use(y)


@pytest.mark.parametrize(
    "use",
    [
        lambda: nn.CrossEntropyLoss()(nn.Linear(3, 3)(X), np.array(TEXTS)),
        lambda: nn.CrossEntropyLoss()(nn.Linear(3, 3)(X), TEXTS),
        lambda: fit(data.Loader(lambda rng: [(X, np.array(TEXTS))])),
        lambda: fit(data.Loader(X, NUMBERS, augment=lambda x, y, rng: (x, np.array(TEXTS)))),
    ],
    ids=["array", "list", "function", "augment"],
)
def test_a_loss_refuses_them_too(use):
    with pytest.raises(TypeError, match=f"labels must be .* integers, got an array of <U3: .*{HINT}"):
        use()


def test_other_places_name_their_argument():
    with pytest.raises(TypeError, match=re.escape("accuracy: labels must be integers, got <U3")):
        train.accuracy(X, np.array(TEXTS))
    with pytest.raises(TypeError, match="MSELoss: target must be an array of numbers, got <U3"):
        nn.MSELoss()(lm.Tensor(X), np.array(TEXTS))
    with pytest.raises(TypeError, match="fit: a class of class_weight must be an int, got 'dog'"):
        fit(X, NUMBERS, class_weight={"dog": 2.0})


def test_encoded_they_are_learned():
    y, classes = data.encode_labels(TEXTS)
    assert (y.tolist(), classes) == ([2, 0, 2, 1], ("cat", "cow", "dog"))
    assert fit(X, y).epochs == 1
    with pytest.raises(
        ValueError, match=re.escape("labels[1] is 'emu', expected one of ['cat', 'cow', 'dog']")
    ):
        data.encode_labels(["cat", "emu"], classes)
