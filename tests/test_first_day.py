"""Mistakes of a first day with the library, and what their errors say."""

import numpy as np
import pytest

import lamina as lm
from lamina import init, nn, optim, viz
from lamina.autograd import Tensor

X = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
LABELS = np.arange(20) % 3
RAGGED = [[1.0, 2.0], [3.0]]


def fit(x=X, y=LABELS, model=None, **options):
    model = model or nn.Linear(4, 3, rng=0)
    options = {"epochs": 1, "batch_size": 8, "verbose": 0, "loss": nn.CrossEntropyLoss(), **options}
    return lm.fit(model, x, y, optimizer=optim.SGD(model.parameters(), 0.1), **options)


def returning(change):
    """A model that returns what `change` makes of a layer's result."""

    class Odd(nn.Module):
        def __init__(self):
            self.dense = nn.Linear(4, 3, rng=0)

        def forward(self, x):
            return change(self.dense(x))

    return Odd()


def evaluate(model):
    return lm.evaluate(model, X, LABELS, metrics=["accuracy"])


FIT = {
    "seed -1": (lambda: fit(seed=-1), ValueError, "fit: seed must be an int of at least 0 or a sequence"),
    "seed text": (lambda: fit(seed="a"), TypeError, "fit: seed must be an int of at least 0 .* got 'a'"),
    "seed 1.5": (lambda: fit(seed=1.5), TypeError, r"fit: seed must be an int .* got 1\.5"),
    "x ragged": (lambda: fit(x=RAGGED), ValueError, "fit: x cannot become an array: "),
    "y ragged": (lambda: fit(y=RAGGED), ValueError, "fit: y cannot become an array: "),
    "x text": (lambda: fit(x=X.astype(str)), TypeError, r"fit: x must hold numbers, got ndarray \(<U"),
    "x dict": (lambda: fit(x={"a": X}), TypeError, r"fit: x must hold numbers, got dict \(object\)"),
    "x None": (lambda: fit(x=None), TypeError, r"fit: x must hold numbers, got NoneType \(object\)"),
    "metrics None": (
        lambda: fit(metrics=None),
        TypeError,
        "metrics must be a sequence of names",
    ),
    "metric of many": (
        lambda: fit(metrics=[lambda p, y: p]),
        TypeError,
        "the metric <lambda> must return one number, got array",
    ),
    "metric of none": (
        lambda: fit(metrics=[lambda p, y: None]),
        TypeError,
        "must return one .* got None",
    ),
    "verbose": (lambda: fit(verbose=np.array([1, 2])), ValueError, "fit: verbose is array"),
    "two results": (
        lambda: fit(model=returning(lambda y: (y, y))),
        TypeError,
        "fit: the model must return one lamina Tensor, got tuple",
    ),
    "an array": (
        lambda: evaluate(returning(lambda y: y.data)),
        TypeError,
        "evaluate: the model must return one lamina Tensor, got ndarray",
    ),
}

LAYERS = {
    "ragged": (lambda: nn.Linear(2, 3)(RAGGED), ValueError, "Linear: x cannot become an array"),
    "class": (lambda: nn.Sequential(nn.ReLU), TypeError, "Module, got the class ReLU: make an instance"),
    "cell": (
        lambda: nn.RNNCell(4, 3)(X[:, :2]),
        ValueError,
        "RNNCell: x has 2 features .* expects 4",
    ),
    "summary": (lambda: nn.ReLU().summary(None), ValueError, "summary: input_shape must be positive ints"),
    "predict None": (lambda: nn.ReLU().predict(None), ValueError, "predict: x must be an array .* got None"),
    "predict ragged": (lambda: nn.ReLU().predict(RAGGED), ValueError, "predict: x cannot become an array"),
    "state None": (
        lambda: nn.Linear(2, 3).load_state_dict(None),
        TypeError,
        "load_state_dict of Linear: the state must be a dict of arrays, got NoneType",
    ),
    "state ragged": (
        lambda: nn.Linear(2, 3).load_state_dict({"weight": RAGGED}),
        ValueError,
        "load_state_dict of Linear: weight cannot become an array",
    ),
    "buffer": (
        lambda: nn.Linear(2, 3).register_buffer("weight", X),
        ValueError,
        "register_buffer: Linear has another attribute 'weight' already",
    ),
    "labels": (
        lambda: nn.CrossEntropyLoss()(Tensor(X), LABELS.astype(float)),
        TypeError,
        r"got an array of float64: convert them with \.astype\(numpy\.int64\)",
    ),
    "parameter": (
        lambda: setattr(nn.Linear(4, 3), "weight", X),
        TypeError,
        "Linear.weight is a Parameter, which ndarray cannot replace",
    ),
    "columns": (lambda: viz.tile(X[None], columns=0), ValueError, "tile: columns must be at least 1, got 0"),
    "gap": (lambda: viz.tile(X[None], gap=-1), ValueError, "tile: gap must be at least 0, got -1"),
    "rng": (lambda: nn.Linear(2, 3, rng=-1), ValueError, "rng must be an int of at least 0"),
}

TENSORS = {
    "dtype": (lambda: Tensor([1.0], np.float64), TypeError, "Tensor: requires_grad must be True or False"),
    "ragged": (lambda: Tensor(RAGGED), ValueError, "Tensor: data cannot become an array"),
    "ragged operand": (lambda: Tensor(X) + RAGGED, ValueError, "the other operand cannot become an array"),
    "ragged index": (lambda: Tensor(X)[RAGGED], ValueError, "the index cannot become an array"),
    "gradient": (lambda: (Tensor(X, True) * 2).backward("a"), ValueError, "backward: grad cannot become"),
    "max": (
        lambda: Tensor(X[:0]).max(axis=0),
        ValueError,
        r"max: no elements along axis 0 of .*0, 4",
    ),
    "min": (lambda: Tensor(X[:0]).min(), ValueError, r"min: no elements along axis None of "),
    "seed -1": (lambda: lm.manual_seed(-1), ValueError, "manual_seed: seed must be an int of at least 0"),
    "seed text": (lambda: lm.manual_seed("a"), TypeError, "manual_seed: seed must be an int of at least 0"),
    "shape None": (lambda: init.normal(None), TypeError, "init: shape must be an int or a sequence"),
    "shape 2.0": (
        lambda: init.zeros((3, 2.0)),
        TypeError,
        "init: shape must be an int or a sequence",
    ),
    "shape -1": (lambda: init.uniform((3, -1), 0, 1), ValueError, "init: shape .* has a negative length"),
    "gain": (
        lambda: init.he_normal((3, 4), gain="relu"),
        TypeError,
        "he_normal: gain must be a number",
    ),
}


CASES = {
    f"{where}-{name}": case
    for where, cases in (("fit", FIT), ("layer", LAYERS), ("tensor", TENSORS))
    for name, case in cases.items()
}


@pytest.mark.parametrize(("mistake", "error", "message"), CASES.values(), ids=CASES)
def test_errors_name_what_is_wrong(mistake, error, message):
    with pytest.raises(error, match=message):
        mistake()


def test_too_large_for_memory():
    if lm.build_info()["backend"] != "cpp":
        pytest.skip("NumPy words its own errors")
    with pytest.raises(MemoryError, match=r"lamina: the system has no block of \d{14,} bytes"):
        nn.Conv2d(4, 1, 3, padding=10**6)(X[:1, None, None])


@pytest.mark.parametrize("shape", [[3, 4], np.array([3, 4]), (np.int64(3), 4)])
@pytest.mark.parametrize("name", ["zeros", "normal", "glorot_uniform", "orthogonal"])
def test_shapes_that_are_no_tuples(name, shape):
    assert getattr(init, name)(shape).shape == (3, 4)


def test_a_share_may_be_any_float():
    histories = [fit(validation=share(0.25), seed=3) for share in (float, np.float32, np.float64)]
    assert all(history["val_loss"] == histories[0]["val_loss"] for history in histories)


def test_parameters_can_be_replaced_by_their_like():
    layer = nn.Linear(4, 3)
    layer.weight = nn.Parameter(np.ones((3, 4)))
    layer.bias = None
    np.testing.assert_array_equal(layer(np.ones(4)).data, [4, 4, 4])


def test_nothing_inside_prints():
    assert repr(nn.Sequential()) == "Sequential()"


def test_a_metric_may_return_a_tensor():
    history = fit(metrics=[lambda p, y: Tensor(2.0)])
    assert history["<lambda>"] == [2.0]


def test_a_buffer_may_be_registered_again():
    layer = nn.ReLU()
    layer.register_buffer("mean", [1.0])
    layer.register_buffer("mean", [2.0, 3.0])
    np.testing.assert_array_equal(layer.state_dict()["mean"], [2, 3])
