import math
import sys

import pytest

from lamina.train import History


def history(**measures):
    made = History()
    for values in zip(*measures.values(), strict=True):
        made.record(dict(zip(measures, values, strict=True)), seconds=0.5)
    return made


def test_record():
    made = history(loss=[3.0, 2.0], val_loss=[3.5, 2.5])
    assert made == {"loss": [3.0, 2.0], "val_loss": [3.5, 2.5]}
    assert made.epochs == 2
    assert made.seconds == [0.5, 0.5]
    assert made.stopped == "epochs"


def test_best():
    made = history(
        loss=[3.0, 1.0, 2.0], val_loss=[3.0, 2.0, 1.0], accuracy=[0.1, 0.9, 0.9], odd=[5.0, 7.0, 6.0]
    )
    assert made.best() == (3, 1.0)
    assert made.best("loss") == (2, 1.0)
    assert made.best("accuracy") == (2, 0.9)  # the first of equals
    assert made.best("odd", mode="max") == (2, 7.0)
    assert made.best("odd", mode="min").epoch == 1
    with pytest.raises(ValueError, match='say mode="min" or "max"'):
        made.best("odd")
    with pytest.raises(ValueError, match="no measure 'f1', there are loss, val_loss, accuracy, odd"):
        made.best("f1")
    with pytest.raises(ValueError, match="mode is 'up'"):
        made.best("loss", mode="up")


def test_best_without_validation():
    assert history(loss=[3.0, 1.0]).best() == (2, 1.0)
    with pytest.raises(ValueError, match=r"no measure 'val_loss'.*give fit validation"):
        history(loss=[3.0, 1.0]).best("val_loss")


def test_nan_is_never_best():
    assert history(loss=[math.nan, 4.0, math.nan]).best() == (2, 4.0)
    with pytest.raises(ValueError, match="no value that is a number"):
        history(loss=[math.nan]).best()


def test_plot(tmp_path):
    pytest.importorskip("matplotlib")
    made = history(loss=[3.0, 2.0], accuracy=[0.1, 0.2], val_loss=[3.5, 2.5], val_accuracy=[0.0, 0.1])
    figure = made.plot(tmp_path / "curves.png")
    assert [axes.get_title() for axes in figure.axes] == ["loss", "accuracy"]
    training, validation = figure.axes[0].get_lines()
    assert training.get_ydata().tolist() == [3.0, 2.0]
    assert validation.get_ydata().tolist() == [3.5, 2.5]
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_plot_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "lamina\[plot\]"'):
        history(loss=[1.0]).plot()
