import math
import os
import re
import signal
import sys

import numpy as np
import pytest

import lamina as lm
from lamina import nn, optim, train

RNG = np.random.default_rng(7)
X = RNG.normal(size=(90, 4)).astype(np.float32)
LABELS = (X[:, 0] + X[:, 1] > 0).astype(np.int64) + (X[:, 2] > 0)


def network(seed=0):
    lm.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))


def fit(model=None, x=X, y=LABELS, **options):
    model = model or network()
    given = {
        "loss": nn.CrossEntropyLoss(),
        "optimizer": optim.SGD(model.parameters(), 0.1),
        "epochs": 2,
        "batch_size": 16,
        "seed": 0,
        "verbose": 0,
        **options,
    }
    return lm.fit(model, x, y, **given)


def test_learns():
    model = network()
    history = fit(
        model, optimizer=optim.SGD(model.parameters(), 0.5), epochs=40, metrics=["accuracy"], validation=0.2
    )
    assert history.epochs == 40
    assert list(history) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert history["loss"][-1] < 0.4 * history["loss"][0]
    assert history["val_accuracy"][-1] > 0.8
    assert history.stopped == "epochs"
    assert train.accuracy(model.predict(X), LABELS) > 0.9


def test_loop_equals_a_loop_by_hand():
    model, twin = network(), network()
    history = fit(model, epochs=3, batch_size=32, seed=5)
    sgd, loss = optim.SGD(twin.parameters(), 0.1), nn.CrossEntropyLoss()
    rng = np.random.default_rng(5)
    for epoch in range(3):
        order, total = rng.permutation(90), 0.0
        for start in (0, 32, 64):  # the last batch has 26
            rows = order[start : start + 32]
            sgd.zero_grad()
            value = loss(twin(X[rows]), LABELS[rows])
            value.backward()
            sgd.step()
            total += value.item() * len(rows)
        assert history["loss"][epoch] == pytest.approx(total / 90, rel=1e-6)
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        np.testing.assert_array_equal(ours.data, theirs.data)


def test_same_seed_same_weights():
    models = [network() for _ in range(3)]
    histories = [fit(model, seed=seed) for model, seed in zip(models, (1, 1, 2), strict=True)]
    weights = [[p.data.tobytes() for p in model.parameters()] for model in models]
    assert weights[0] == weights[1] != weights[2]
    assert histories[0] == histories[1]


def test_without_seed_the_library_generator_is_used():
    a, b = network(), network()
    for model in (a, b):
        lm.manual_seed(11)
        fit(model, seed=None)
    assert [p.data.tobytes() for p in a.parameters()] == [p.data.tobytes() for p in b.parameters()]


def test_training_measures_are_means_over_samples():
    model = network()
    history = fit(
        model, optimizer=optim.SGD(model.parameters(), 1e-30), epochs=1, batch_size=28, metrics=["accuracy"]
    )
    whole = lm.train.evaluate(
        model, X, LABELS, loss=nn.CrossEntropyLoss(), metrics=["accuracy"], batch_size=13
    )
    assert history["loss"][0] == pytest.approx(whole["loss"], rel=1e-5)
    assert history["accuracy"][0] == pytest.approx(whole["accuracy"], abs=1e-12)
    assert whole["accuracy"] == pytest.approx(np.mean(model.predict(X).argmax(1) == LABELS))


def test_own_loss_and_metric_and_pair_for_validation():
    model = nn.Sequential(nn.Linear(4, 1))
    target = X @ np.array([[1.0], [-2.0], [0.5], [0.0]], np.float32)

    def squared(y_pred, y_true):
        return ((y_pred - y_true) ** 2).mean()

    def worst(y_pred, y_true):
        assert type(y_pred) is np.ndarray
        return np.abs(y_pred - y_true).max()

    history = fit(
        model, X[:70], target[:70], loss=squared, metrics=[worst], validation=(X[70:], target[70:]), epochs=60
    )
    assert history["val_loss"][-1] < 1e-3
    assert history["val_worst"][-1] < 0.1
    np.testing.assert_allclose(model.predict(X[:5]), target[:5], atol=0.1)


def test_autoencoder_takes_x_as_y():
    model = nn.Sequential(nn.Linear(4, 4))
    history = fit(model, X, X, loss=nn.MSELoss(), epochs=30)
    assert history["loss"][-1] < 0.2 * history["loss"][0]


def test_memory_map_is_read_by_batches(tmp_path):
    X.tofile(tmp_path / "x.bin")
    mapped = np.memmap(tmp_path / "x.bin", np.float32, "r", shape=X.shape)
    a, b = network(), network()
    fit(a, mapped)
    fit(b, X)
    assert [p.data.tobytes() for p in a.parameters()] == [p.data.tobytes() for p in b.parameters()]


@pytest.mark.parametrize("training", [True, False])
def test_mode_is_put_back(training):
    model, seen = network(), []
    model.train(training)
    fit(
        model,
        validation=0.2,
        callbacks=[train.LambdaCallback(on_batch_end=lambda run: seen.append(model.training))],
    )
    assert model.training is training
    assert set(seen) == {True}


def test_evaluate_uses_no_gradient_and_evaluation_mode():
    model, seen = network(), []

    def loss(y_pred, y_true):
        seen.append((model.training, y_pred.requires_grad))
        return nn.CrossEntropyLoss()(y_pred, y_true)

    lm.train.evaluate(model, X, LABELS, loss=loss)
    assert seen == [(False, False)]
    assert model.training


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"y": LABELS[:-1]}, ValueError, r"fit: x has 90 samples .* but y has 89"),
        ({"x": X[:0], "y": LABELS[:0]}, ValueError, r"fit: x is empty \(shape \(0, 4\)\)"),
        ({"epochs": 0}, ValueError, "epochs is 0, expected at least 1"),
        ({"epochs": 1.5}, TypeError, "epochs must be an int, got 1.5"),
        ({"batch_size": 0}, ValueError, "batch_size is 0, expected at least 1"),
        ({"batch_size": -4}, ValueError, "batch_size is -4"),
        ({"batch_size": True}, TypeError, "batch_size must be an int, got True"),
        ({"batch_size": 2.0}, TypeError, "batch_size must be an int, got 2.0"),
        ({"verbose": 3}, ValueError, "verbose is 3, expected 0, 1 or 2"),
        ({"validation": 1.0}, ValueError, "validation=1.0 of 90 samples does not leave"),
        ({"validation": True}, TypeError, r"validation must be \(x, y\) or a share"),
        ({"validation": X}, TypeError, "validation must be .* got ndarray"),
        ({"validation": (X, LABELS[:5])}, ValueError, "fit: validation: x has 90 samples"),
        ({"metrics": ["f1"]}, ValueError, "unknown name 'f1'"),
        ({"y": LABELS + 1}, ValueError, "label"),
        ({"y": LABELS - 1}, ValueError, "label"),
        ({"loss": lambda p, t: p}, ValueError, r"loss must return one number, got shape \(16, 3\)"),
        ({"loss": lambda p, t: 1.0}, TypeError, "loss must return a lamina Tensor, got float"),
        ({"x": X[:, :3]}, ValueError, "Linear"),
        ({"x": X.astype(object)}, TypeError, "object"),
        ({"x": np.ma.masked_array(X)}, TypeError, "fit: x is a masked array, whose mask would be lost"),
        ({"y": np.ma.masked_array(LABELS)}, TypeError, "fit: y is a masked array, whose mask would be lost"),
        ({"validation": (np.ma.masked_array(X), LABELS)}, TypeError, "fit: validation: x is a masked array"),
    ],
)
def test_bad_input(options, error, message):
    with pytest.raises(error, match=message):
        fit(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [({}, r"give loss=, metrics= or both"), ({"metrics": ["accuracy"], "batch_size": 0}, "batch_size is 0")],
)
def test_bad_input_of_evaluate(options, message):
    with pytest.raises(ValueError, match=message):
        lm.train.evaluate(network(), X, LABELS, **options)


def spoiled(values, at):
    values = values.copy()
    values[at] = np.nan
    return values


def test_nan_in_x_is_named():
    with pytest.raises(
        train.Diverged, match=r"nan in epoch 1, step \d+: x has 1 NaN or infinite values in this"
    ):
        fit(x=spoiled(X, (3, 2)))


def test_nan_in_y_is_named():
    with pytest.raises(train.Diverged, match=r"y has 1 NaN or infinite values"):
        fit(nn.Sequential(nn.Linear(4, 4)), y=spoiled(X, (3, 2)), loss=nn.MSELoss())


def test_divergence_is_diagnosed_and_keeps_the_history():
    model = nn.Sequential(nn.Linear(4, 4))
    sgd = optim.SGD(model.parameters(), 1e3)
    with np.errstate(all="ignore"), pytest.raises(train.Diverged) as caught:
        fit(model, X, X, loss=nn.MSELoss(), optimizer=sgd, epochs=50, batch_size=90)
    history = caught.value.history
    message = str(caught.value)
    assert history.stopped == "diverged"
    assert 0 < history.epochs < 50
    assert all(map(math.isfinite, history["loss"]))
    assert re.search(rf"in epoch {history.epochs + 1}, step {history.epochs + 1}: ", message)
    assert "learning rate" in message or "loss itself" in message


def test_spoiled_weight_is_named():
    model = network()
    list(model.parameters())[2].data[1, 1] = np.inf
    with (
        np.errstate(all="ignore"),
        pytest.raises(train.Diverged, match=r"parameter '2.weight' has 1 NaN or inf"),
    ):
        fit(model)


def test_infinite_loss_itself_is_named():
    with pytest.raises(train.Diverged, match=r"became inf .* the loss itself is not"):
        fit(loss=lambda p, t: p.mean() * 0.0 + float("inf"))


def test_overflowing_prediction_is_named():
    model = nn.Sequential(nn.Linear(4, 4))
    model.load_state_dict({"0.weight": np.full((4, 4), 1e30, np.float32), "0.bias": np.zeros(4, np.float32)})
    x = np.full((8, 4), 1e20, np.float32)
    with (
        np.errstate(all="ignore"),
        pytest.raises(train.Diverged, match=r"overflows \(x runs from 1e\+20 to 1e\+20\)"),
    ):
        fit(model, x, x, loss=nn.MSELoss())


@pytest.fixture
def ctrl_c():
    """Python's own answer to an interrupt, also where the tests run in the background and would ignore it."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.mark.usefixtures("ctrl_c")
def test_interrupt_returns_the_history(capsys):
    def interrupt(run):
        if run.step == 15:  # six steps an epoch
            os.kill(os.getpid(), signal.SIGINT)

    ended = []
    callbacks = [train.LambdaCallback(on_batch_end=interrupt, on_train_end=ended.append)]
    history = fit(epochs=10, callbacks=callbacks, verbose=1)
    assert history.stopped == "interrupted"
    assert history.epochs == 2
    assert len(ended) == 1
    assert "interrupted in epoch 3; 2 whole epochs kept" in capsys.readouterr().out


def test_error_passes_and_callbacks_end():
    ended = []

    def fail(run):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        fit(callbacks=[train.LambdaCallback(on_epoch_begin=fail, on_train_end=ended.append)])
    assert len(ended) == 1


def test_quiet(capfd):
    fit(verbose=0, validation=0.2)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("verbose", [1, 2, True])
def test_one_line_an_epoch_when_not_a_terminal(capfd, verbose):
    fit(verbose=verbose, epochs=3, metrics=["accuracy"], validation=0.2)
    out, err = capfd.readouterr()
    assert err == ""
    header, *lines = out.splitlines()
    assert header.split() == [
        "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "seconds", "samples/s",
    ]  # fmt: skip
    assert [line.split()[0] for line in lines] == ["1/3", "2/3", "3/3"]
    assert {len(line) for line in (header, *lines)} == {len(header)}


def test_bar_on_a_terminal(capfd, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fit(verbose=1, batch_size=1)
    out, err = capfd.readouterr()
    assert "epoch 1/2" in err
    assert "samples/s" in err
    assert len(out.splitlines()) == 3
    fit(verbose=2)
    assert capfd.readouterr().err == ""


def test_same_weights_whatever_the_threads(isa):
    data = lm.datasets.digits()
    seen = set()
    for threads in (1, 2, 3):
        lm.set_num_threads(threads)
        lm.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 10)
        )
        history = lm.fit(
            model,
            data.x_train[:640],
            data.y_train[:640],
            loss=nn.CrossEntropyLoss(),
            optimizer=optim.Adam(model.parameters(), 3e-3),
            epochs=2,
            batch_size=48,
            seed=0,
            verbose=0,
        )
        assert history["loss"][1] < history["loss"][0]
        seen.add(b"".join(p.data.tobytes() for p in model.parameters()) + repr(history).encode())
    assert len(seen) == 1
