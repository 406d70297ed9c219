import csv

import numpy as np
import pytest

import lamina as lm
from lamina import io, nn, optim, train

X = np.ones((8, 2), np.float32)
Y = np.zeros((8, 1), np.float32)


class Scripted(train.Callback):
    """Puts given values in the logs, and the epoch in the weights, so that the best epoch can be told."""

    def __init__(self, values, name="val_loss"):
        self.values, self.name = values, name

    def on_epoch_end(self, run):
        run.logs[self.name] = self.values[run.epoch - 1]
        for parameter in run.model.parameters():
            parameter.data[...] = run.epoch


def fit(values, *callbacks, name="val_loss"):
    model = nn.Sequential(nn.Linear(2, 1))
    history = lm.fit(
        model,
        X,
        Y,
        loss=nn.MSELoss(),
        optimizer=optim.SGD(model.parameters(), 0.01),
        epochs=len(values),
        batch_size=8,
        callbacks=[Scripted(values, name), *callbacks],
        verbose=0,
    )
    return model, history


def weight(model):
    return next(iter(model.parameters())).data.flat[0]


NAN = float("nan")


@pytest.mark.parametrize(
    ("values", "patience", "ran", "best"),
    [
        ([5, 4, 3, 2], 1, 4, 4),
        ([5, 4, 4, 3], 1, 3, 2),
        ([5, 4, 4, 3], 2, 4, 4),
        ([5, 3, 4, 4, 4, 1], 3, 5, 2),
        ([5, 3, 4, 4], 9, 4, 2),  # the epochs run out first: restored all the same
        ([NAN, 3, NAN, NAN, 2], 2, 4, 2),
        ([NAN, 3, NAN, 2, 4], 2, 5, 4),
    ],
)
def test_early_stopping(values, patience, ran, best):
    stopping = train.EarlyStopping(patience=patience)
    model, history = fit(values, stopping)
    assert history.epochs == ran
    assert history.stopped == ("EarlyStopping" if ran < len(values) else "epochs")
    assert stopping.best_epoch == best
    assert weight(model) == best


def test_early_stopping_without_restoring():
    model, history = fit([5, 4, 6, 7, 8], train.EarlyStopping(patience=2, restore_best=False))
    assert history.epochs == 4
    assert weight(model) == 4


def test_early_stopping_min_delta_and_mode():
    _, history = fit(
        [0.5, 0.6, 0.64, 0.68, 0.9],
        train.EarlyStopping("accuracy", patience=2, min_delta=0.05),
        name="accuracy",
    )
    assert history.epochs == 5  # 0.68 is better than 0.6 by more than 0.05
    _, history = fit(
        [0.5, 0.6, 0.64, 0.64, 0.9],
        train.EarlyStopping("accuracy", patience=2, min_delta=0.05),
        name="accuracy",
    )
    assert history.epochs == 4
    stopping = train.EarlyStopping("odd", mode="max", patience=1)
    model, _ = fit([1, 2, 1], stopping, name="odd")
    assert weight(model) == 2


def test_early_stopping_serves_twice():
    stopping = train.EarlyStopping(patience=1)
    fit([1, 2, 3], stopping)
    _, history = fit([9, 8, 7], stopping)
    assert history.epochs == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patience": 0}, "patience is 0, expected at least 1"),
        ({"min_delta": -1.0}, "min_delta is -1.0"),
        ({"min_delta": NAN}, "min_delta is nan"),
        ({"min_delta": float("inf")}, "min_delta is inf"),
        ({"mode": "up"}, "mode is 'up'"),
        ({"monitor": "odd"}, "'odd' should rise or fall is not known"),
    ],
)
def test_early_stopping_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        train.EarlyStopping(**options)


@pytest.mark.parametrize("patience", [1.5, 2.0, True, "3", None])
def test_early_stopping_counts_whole_epochs(patience):
    with pytest.raises(TypeError, match="EarlyStopping: patience must be an int, got "):
        train.EarlyStopping(patience=patience)


def test_a_monitor_is_a_name():
    with pytest.raises(TypeError, match="monitor must be the name of a measure, got 5"):
        train.EarlyStopping(5)


@pytest.mark.parametrize("callback", [train.EarlyStopping(), train.Checkpoint("unused", save_best_only=True)])
def test_unknown_monitor_says_what_there_is(callback, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError, match="no measure 'val_loss', there are loss, other_loss; give fit validation"
    ):
        fit([1, 2], callback, name="other_loss")


def test_checkpoint_every_epoch(tmp_path):
    fit([3, 2, 4], train.Checkpoint(tmp_path / "new" / "net-{epoch:02d}.safetensors"))
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == ["net-01.safetensors", "net-02.safetensors", "net-03.safetensors"]
    assert [weight(lm.load(tmp_path / "new" / name)) for name in names] == [1, 2, 3]


def test_checkpoint_best_only(tmp_path):
    path = tmp_path / "net.safetensors"
    fit([3, 2, 4, NAN], train.Checkpoint(path, save_best_only=True))
    assert weight(lm.load(path)) == 2


@pytest.mark.parametrize(
    "path", ["{val_loss}.st", "{}.st", "{epoch:q}.st", "{epoch.x}", "{epoch[0]}", "{.st"]
)
def test_checkpoint_refuses_other_fields(path):
    with pytest.raises(
        ValueError, match=r"Checkpoint: path '.*' cannot be filled in .* only field is {epoch}"
    ):
        train.Checkpoint(path)


def test_checkpoint_takes_braces_and_bytes(tmp_path):
    fit([1], train.Checkpoint(bytes(tmp_path / "{{net}}-{epoch}")))
    assert [p.name for p in tmp_path.iterdir()] == ["{net}-1"]


def test_checkpoint_cut_off_keeps_the_former(tmp_path, monkeypatch):
    path = tmp_path / "net.safetensors"
    checkpoint = train.Checkpoint(path)

    def break_down(run):
        if run.epoch == 2:
            monkeypatch.setattr(
                io.os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "disk full"))
            )

    with pytest.raises(OSError, match="disk full"):
        fit([3, 2, 1], train.LambdaCallback(on_epoch_begin=break_down), checkpoint)
    assert weight(lm.load(path)) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"]


def test_csv_logger(tmp_path):
    class Peek(train.Callback):
        def on_epoch_end(self, run):
            lines.append((tmp_path / "log.csv").read_text().count("\n"))

    lines = []
    (tmp_path / "log.csv").write_text("former\n" * 9)
    _, history = fit([3, 2, 0.1], train.CSVLogger(tmp_path / "log.csv"), Peek())
    assert lines == [2, 3, 4]  # the header and a line an epoch, on disk at once
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "loss", "val_loss", "seconds"]
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [float(row["loss"]) for row in rows] == history["loss"]
    assert [float(row["val_loss"]) for row in rows] == [3, 2, 0.1]


def test_order_of_calls():
    calls = []
    names = ("on_train_begin", "on_epoch_begin", "on_batch_end", "on_epoch_end", "on_train_end")
    made = {name: lambda run, name=name: calls.append((name, run.epoch, run.step)) for name in names}
    fit([1, 2], train.LambdaCallback(**made))
    assert calls == [
        ("on_train_begin", 0, 0),
        ("on_epoch_begin", 1, 0),
        ("on_batch_end", 1, 1),
        ("on_epoch_end", 1, 1),
        ("on_epoch_begin", 2, 1),
        ("on_batch_end", 2, 2),
        ("on_epoch_end", 2, 2),
        ("on_train_end", 2, 2),
    ]


def test_a_callback_can_stop_the_run():
    def stop(run):
        if run.step == 2:
            run.stop("enough")

    _, history = fit([1, 2, 3, 4], train.LambdaCallback(on_batch_end=stop))
    assert history.epochs == 2
    assert history.stopped == "enough"
