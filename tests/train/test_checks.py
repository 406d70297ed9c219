"""What `fit` and `evaluate` refuse before they compute anything."""

import numpy as np
import pytest

import lamina as lm
from lamina import nn, optim, train

RNG = np.random.default_rng(7)
X = RNG.normal(size=(90, 4)).astype(np.float32)
LABELS = (X[:, 0] + X[:, 1] > 0).astype(np.int64) + (X[:, 2] > 0)


def network():
    return nn.Sequential(nn.Linear(4, 16, rng=0), nn.ReLU(), nn.Linear(16, 3, rng=1))


def fit(model=None, **options):
    model = model or network()
    given = {"loss": nn.CrossEntropyLoss(), "epochs": 1, "batch_size": 16, "seed": 0, "verbose": 0, **options}
    if "optimizer" not in given:
        given["optimizer"] = optim.SGD(model.parameters(), 0.1)
    return lm.fit(model, X, LABELS, **given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": nn.MSELoss}, r"loss must .* the class MSELoss: make an instance, MSELoss\("),
        ({"loss": "mse"}, "fit: loss must be a function of prediction and target, .* got str"),
        ({"loss": None}, "fit: loss must be a function of prediction and target, .* got None"),
        ({"optimizer": None}, "fit: optimizer must be an optimiser, such as .* got None"),
        ({"optimizer": "adam"}, "fit: optimizer must be an optimiser, such as .* got str"),
        ({"optimizer": optim.Adam}, "fit: optimizer must be .* the class Adam: make an instance"),
        ({"callbacks": [train.EarlyStopping]}, r"callbacks\[0\] must .* the class EarlyStopping"),
        ({"callbacks": train.EarlyStopping}, r"callbacks must be a sequence.*class EarlyStopping"),
        ({"callbacks": train.EarlyStopping()}, r"callbacks must be a sequence.*got EarlyStopping"),
        ({"callbacks": [train.CSVLogger("x"), print]}, r"callbacks\[1\] must be .* got builtin"),
        ({"callbacks": None}, "fit: callbacks must be a sequence"),
        (
            {"model": nn.Sequential, "optimizer": optim.SGD(network().parameters(), 0.1)},
            "fit: model must be .*, got the class Sequential",
        ),
    ],
)
def test_wrong_kinds_of_things(options, message):
    with pytest.raises(TypeError, match=message):
        fit(**options)


def test_wrong_kinds_of_things_for_evaluate():
    loss = nn.CrossEntropyLoss()
    with pytest.raises(TypeError, match=r"evaluate: loss must be .* got the class MSELoss"):
        lm.evaluate(network(), X, LABELS, loss=nn.MSELoss)
    with pytest.raises(TypeError, match=r"evaluate: model must be .* got the class Sequential"):
        lm.evaluate(nn.Sequential, X, LABELS, loss=loss)
    with pytest.raises(TypeError, match="evaluate: y is a masked array, whose mask would be lost"):
        lm.evaluate(network(), X, np.ma.masked_array(LABELS), loss=loss)
    with pytest.raises(TypeError, match="accuracy: y_true is a masked array, whose mask would be lost"):
        train.accuracy(np.ones((90, 3)), np.ma.masked_array(LABELS))
    with pytest.raises(TypeError, match="mean_squared_error: y_pred is a masked array"):
        train.mean_squared_error(np.ma.masked_array(X), X)


def test_an_optimiser_of_another_model_is_refused():
    model, other = network(), network()
    former = model.state_dict()
    message = (
        r"none of the optimiser's parameters are the model's.*optim\.Adam\(model\.parameters\(\), \.\.\.\)"
    )
    with pytest.raises(ValueError, match=message):
        fit(
            model,
            optimizer=optim.Adam(other.parameters()),
            callbacks=[train.LambdaCallback(on_train_begin=1)],
        )
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, former[name])


def test_some_of_the_parameters_will_do():
    model = network()
    former = model.state_dict()
    fit(model, optimizer=optim.SGD([*model[2].parameters(), *network().parameters()], 0.1))
    changed = {name: bool((array != former[name]).any()) for name, array in model.state_dict().items()}
    assert changed == {"0.weight": False, "0.bias": False, "2.weight": True, "2.bias": True}


def test_a_loss_may_have_the_parameters():
    class Scaled(nn.Module):
        def __init__(self):
            self.scale = nn.Parameter(1.0)

        def forward(self, y_pred, y_true):
            return nn.CrossEntropyLoss()(y_pred * self.scale, y_true)

    loss = Scaled()
    fit(loss=loss, optimizer=optim.SGD(loss.parameters(), 0.1))
    assert loss.scale.data != 1


def test_an_optimiser_of_your_own():
    class Nudge:
        def __init__(self, model):
            self.model = model

        def zero_grad(self):
            self.model.zero_grad()

        def step(self):
            for p in self.model.parameters():
                p.data -= 0.1 * p.grad

    model = network()
    history = fit(model, optimizer=Nudge(model), callbacks=iter([train.EarlyStopping("loss")]), epochs=3)
    assert history["loss"][-1] < history["loss"][0]


class Untouched(train.Callback):
    """Fails if an epoch begins."""

    def on_epoch_begin(self, run):
        raise AssertionError("an epoch has begun")


@pytest.mark.parametrize(
    "callback",
    [
        train.EarlyStopping(),
        train.Checkpoint("unused/net.safetensors", save_best_only=True),
        type("Mine", (train.EarlyStopping,), {})(),
    ],
)
def test_a_monitor_without_validation_fails_before_the_first_epoch(callback, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = type(callback).__name__
    message = rf"{name}: no measure 'val_loss', there are loss, accuracy; give fit validation=\.\.\."
    quiet = [Untouched(), train.CSVLogger("log.csv"), train.LambdaCallback(), train.Checkpoint("net.st")]
    with pytest.raises(ValueError, match=message):
        fit(callbacks=[*quiet, callback], metrics=["accuracy"])
    assert list(tmp_path.iterdir()) == []


def test_monitors_of_what_is_measured():
    for name, options in (("val_accuracy", {"validation": 0.25}), ("accuracy", {}), ("loss", {})):
        stopping = train.EarlyStopping(name)
        fit(callbacks=[stopping], metrics=["accuracy"], **options)
        assert stopping.best_epoch == 1
    with pytest.raises(ValueError, match=r"EarlyStopping: no measure 'error', there are loss, accuracy$"):
        fit(callbacks=[Untouched(), train.EarlyStopping("error")], metrics=["accuracy"])


def test_a_measure_of_a_function_may_be_monitored():
    stopping = train.EarlyStopping("val_error")
    measure = train.LambdaCallback(on_epoch_end=lambda run: run.logs.update(val_error=1.0))
    fit(callbacks=[measure, stopping])
    assert stopping.best_epoch == 1


def test_targets_may_be_missing_for_autoencoders_alone():
    model = nn.Sequential(nn.Linear(4, 4, rng=0))
    options = {
        "loss": nn.MSELoss(),
        "optimizer": optim.SGD(model.parameters(), 0.1),
        "epochs": 1,
        "verbose": 0,
    }
    with pytest.raises(TypeError, match="fit: the targets y are missing"):
        lm.fit(model, X, **options)
    lm.fit(lm.autoencoders.DenseAutoencoder(4, 2, rng=0), X, epochs=1, verbose=0)
