"""TensorBoard's files, read back by hand; pictures in notebooks; the layer that went bad first."""

import struct
import sys
import types

import numpy as np
import pytest

import lamina as lm
from lamina import nn, optim, train
from lamina.train.loggers import crc32c

X = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
LABELS = (X[:, 0] > 0).astype(np.int64)


def fit(*callbacks, model=None, x=X, **options):
    model = model or nn.Sequential(nn.Linear(4, 2, rng=0))
    given = {"optimizer": optim.SGD(model.parameters(), 0.1), "epochs": 3, "seed": 0, "verbose": 0, **options}
    return lm.fit(model, x, LABELS, loss=nn.CrossEntropyLoss(), callbacks=callbacks, **given)


def fields(data):
    """The fields of a message of protocol buffers: (number, content) in order."""
    at, found = 0, []

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = varint()
        kind = key & 7
        size = {0: None, 1: 8, 5: 4}.get(kind, 0)
        if size is None:
            found.append((key >> 3, varint()))
            continue
        size = size or varint()
        found.append((key >> 3, data[at : at + size]))
        at += size
    return found


def records(path):
    data, found = path.read_bytes(), []
    while data:
        (size,) = struct.unpack("<Q", data[:8])
        for part, stored in ((data[:8], data[8:12]), (data[12 : 12 + size], data[12 + size : 16 + size])):
            crc = crc32c(part)
            masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
            assert struct.unpack("<I", stored) == (masked,)
        found.append(dict(fields(data[12 : 12 + size])))
        data = data[16 + size :]
    return found


def test_checksum():
    assert crc32c(b"123456789") == 0xE3069283  # the standard's own example
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4


def test_tensorboard_has_every_measure(tmp_path):
    history = fit(
        train.TensorBoard(tmp_path / "new" / "run"),
        validation=0.2,
        metrics=["accuracy"],
        schedule=optim.Cosine(),
    )
    (path,) = (tmp_path / "new" / "run").iterdir()
    assert path.name.startswith("events.out.tfevents.")
    first, *epochs = records(path)
    assert first[3] == b"brain.Event:2"
    assert [epoch[2] for epoch in epochs] == [1, 2, 3]
    for i, epoch in enumerate(epochs):
        values = {}
        for _, value in fields(epoch[5]):
            tag, number = (content for _, content in fields(value))
            values[tag.decode()] = struct.unpack("<f", number)[0]
        expected = {
            "loss/training": history["loss"][i],
            "accuracy/training": history["accuracy"][i],
            "lr/training": history["lr"][i],
            "loss/validation": history["val_loss"][i],
            "accuracy/validation": history["val_accuracy"][i],
        }
        assert values == pytest.approx(expected, rel=1e-6)


def test_tensorboard_itself_reads_it(tmp_path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    history = fit(train.TensorBoard(tmp_path))
    events = event_accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    assert [event.step for event in events.Scalars("loss/training")] == [1, 2, 3]
    np.testing.assert_allclose([e.value for e in events.Scalars("loss/training")], history["loss"], rtol=1e-6)


def test_live_plot_replaces_its_picture(monkeypatch):
    pytest.importorskip("matplotlib")
    shown = []
    display = types.SimpleNamespace(
        clear_output=lambda wait: shown.append(("clear", wait)), display=lambda figure: shown.append(figure)
    )
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(display=display, version_info=(9, 0)))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    fit(train.LivePlot(), validation=0.2)
    assert shown[::2] == [("clear", True)] * 3
    lines = shown[-1].axes[0].get_lines()
    assert [len(line.get_xdata()) for line in lines] == [3, 3]


def test_live_plot_fails_before_the_first_epoch(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", None)
    begun = train.LambdaCallback(on_epoch_begin=lambda run: pytest.fail("an epoch has begun"))
    with pytest.raises(ImportError, match="LivePlot draws in notebooks, with IPython and matplotlib"):
        fit(train.LivePlot(), begun)


def test_monitors_are_still_checked_before_the_first_epoch(tmp_path):
    with pytest.raises(ValueError, match="EarlyStopping: no measure 'val_loss'"):
        fit(train.TensorBoard(tmp_path / "run"), train.EMA(), train.EarlyStopping())
    assert list(tmp_path.iterdir()) == []


def test_csv_of_a_run_that_goes_on(tmp_path):
    path = tmp_path / "log.csv"
    for epochs in (2, 4):
        fit(train.CSVLogger(path), epochs=epochs, resume=tmp_path / "run")
        with path.open("a") as file:
            file.write("cut off in the mid")
    lines = path.read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["epoch", "1", "2", "3", "4", "cut off in the mid"]


def overflowing():
    model = nn.Sequential(
        nn.Linear(4, 3, rng=0), nn.Sequential(nn.Linear(3, 3, rng=1), nn.ReLU()), nn.Linear(3, 2, rng=2)
    )
    for layer in (model[0], model[1][0]):
        layer.weight.data[...] = 1e30
    return model


def test_the_layer_that_went_bad_first_is_named():
    with np.errstate(all="ignore"), pytest.raises(train.Diverged) as caught:
        fit(model=overflowing(), x=np.ones_like(X))
    assert (
        "the prediction overflows (x runs from 1 to 1), first in layer 1.0 (Linear): 90 of 90 values are not "
        "finite; scale x" in str(caught.value)
    )
