import sys

import numpy as np
import pytest

from lamina import viz


def test_tile():
    images = np.arange(12).reshape(3, 2, 2)
    assert viz.tile(images, columns=2, background=-1).tolist() == [
        [-1, -1, -1, -1, -1, -1, -1],
        [-1, 0, 1, -1, 4, 5, -1],
        [-1, 2, 3, -1, 6, 7, -1],
        [-1, -1, -1, -1, -1, -1, -1],
        [-1, 8, 9, -1, -1, -1, -1],
        [-1, 10, 11, -1, -1, -1, -1],
        [-1, -1, -1, -1, -1, -1, -1],
    ]
    assert viz.tile(images, gap=0).shape == (4, 4)
    assert viz.tile(np.zeros((5, 4, 3, 3)), columns=5).shape == (6, 21, 3)


@pytest.mark.parametrize("shape", [(4, 4), (0, 4, 4), (2, 4, 0), (1, 2, 3, 4, 5)])
def test_tile_refuses(shape):
    with pytest.raises(ValueError, match=r"tile: images have shape .*expected \(N, H, W\)"):
        viz.tile(np.zeros(shape))


@pytest.mark.parametrize("shape", [(6, 5, 4), (6, 5, 4, 1), (6, 5, 4, 3)])
def test_image_grid(tmp_path, shape):
    pytest.importorskip("matplotlib")
    images = np.random.default_rng(0).random(shape)
    figure = viz.image_grid(images, columns=3, path=tmp_path / "grid.png")
    (axes,) = figure.axes
    shown = np.asarray(axes.images[0].get_array())
    np.testing.assert_allclose(shown[1:6, 1:5], images[0].reshape(shown[1:6, 1:5].shape), rtol=1e-6)
    assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")


def test_titles():
    pytest.importorskip("matplotlib")
    figure = viz.image_grid(np.zeros((3, 4, 4)), titles=["a", "b", "c"])
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "c"]
    with pytest.raises(ValueError, match="2 titles for 3 images"):
        viz.image_grid(np.zeros((3, 4, 4)), titles=["a", "b"])


def test_filters_are_scaled_each_with_zero_in_the_middle():
    pytest.importorskip("matplotlib")
    filters = np.array([[[-2.0, 0.0, 1.0]], [[0.0, 0.0, 0.0]]])
    shown = np.asarray(viz.filter_grid(filters, columns=1).axes[0].images[0].get_array())
    assert shown[1, 1:4].tolist() == [0, 0.5, 0.75]
    assert shown[3, 1:4].tolist() == [0.5, 0.5, 0.5]


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "lamina\[plot\]"'):
        viz.image_grid(np.zeros((1, 2, 2)))


def _texts(axes):
    return [text.get_text() for text in axes.texts]


def test_characters_on_the_colours_of_one_unit(tmp_path):
    pytest.importorskip("matplotlib")
    figure = viz.text_heat("a b\n$c", [2, -4, 0, 1, 4, 3], columns=4, path=tmp_path / "heat.png")
    axes = figure.axes[0]
    shown = np.ma.filled(axes.images[0].get_array(), np.nan)
    np.testing.assert_array_equal(shown, [[0.5, -1, 0, 0.25], [1, 0.75, np.nan, np.nan]])
    assert _texts(axes) == ["a", "·", "b", "↵", r"\$", "c"]
    assert [text.get_position() for text in axes.texts][4] == (0, 1)
    assert [label.get_text() for label in figure.axes[1].get_xticklabels()] == ["−4", "0", "4"]
    assert axes.texts[4].get_color() == "white"
    assert axes.texts[0].get_color() == "black"
    assert (tmp_path / "heat.png").read_bytes().startswith(b"\x89PNG")


def test_rows_of_several_units_under_the_text():
    pytest.importorskip("matplotlib")
    values = [[1, 2, 4], [0, 0, 0]]
    axes, bar = viz.text_heat("abc", values, names=["f", "c"], columns=2).axes
    assert bar.get_xlabel() == "parts of each row's greatest magnitude: 4, 1"
    shown = np.ma.filled(axes.images[0].get_array(), np.nan)
    nothing = [np.nan, np.nan]
    expected = [nothing, [0.25, 0.5], [0, 0], nothing, nothing, [1, np.nan], [0, np.nan]]
    np.testing.assert_array_equal(shown, expected)
    assert [text.get_position() for text in axes.texts] == [(0, 0), (1, 0), (0, 4)]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["f", "c", "f", "c"]
    assert axes.get_yticks().tolist() == [1, 2, 5, 6]


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([1, 2], {}, r"values have shape \(2,\), expected \(T,\) or \(K, T\) with T = 3"),
        (np.zeros((0, 3)), {}, r"shape \(0, 3\)"),
        ([1, 2, 3], {"columns": 0}, "columns must be at least 1"),
        ([1, 2, 3], {"names": ["a", "b"]}, "2 names for 1 rows"),
    ],
)
def test_text_heat_refuses(values, options, message):
    with pytest.raises(ValueError, match=f"text_heat: .*{message}"):
        viz.text_heat("abc", values, **options)


def test_gradients_over_the_lag(tmp_path):
    pytest.importorskip("matplotlib")
    curves = {"falls": [[2, 1, 0.5], [2, 0.01, 0.0]], "stays": [3, 3, 3]}
    (axes,) = viz.gradient_lags(curves, path=tmp_path / "lags.png").axes
    falls, stays = axes.lines
    np.testing.assert_allclose(falls.get_ydata(), [1, np.sqrt(0.5 * 0.005), np.nan])
    np.testing.assert_allclose(stays.get_ydata(), 1)
    assert axes.get_yscale() == "log"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["falls", "stays"]
    assert (tmp_path / "lags.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("curves", "message"),
    [
        ({}, "expected 1 to 6 curves, got 0"),
        ({str(i): [1, 2] for i in range(7)}, "expected 1 to 6 curves, got 7"),
        ({"a": np.zeros((2, 2, 2))}, r"'a' has shape \(2, 2, 2\)"),
    ],
)
def test_gradient_lags_refuses(curves, message):
    pytest.importorskip("matplotlib")
    with pytest.raises(ValueError, match=message):
        viz.gradient_lags(curves)


@pytest.mark.parametrize(("cell", "layers", "steps"), [("rnn", 1, 3), ("gru", 2, 1), ("lstm", 3, 4)])
def test_unrolled(tmp_path, cell, layers, steps):
    pytest.importorskip("matplotlib")
    path = tmp_path / "unrolled.png"
    (axes,) = viz.unrolled(cell=cell, layers=layers, steps=steps, path=path).axes
    texts = _texts(axes)
    assert texts.count(cell.upper()) == layers * (steps + 1)
    assert texts.count("$W_{ya}$") == steps + 1
    for t in ("t", *range(1, steps + 1)):
        assert texts.count(rf"$x^{{\langle {t}\rangle}}$") == 1
        assert texts.count(rf"$\hat{{y}}^{{\langle {t}\rangle}}$") == 1
    states = [text for text in texts if text.startswith("$a^")]
    memories = [text for text in texts if text.startswith("$c^")]
    assert len(states) == layers * (steps + 1)
    assert len(memories) == (len(states) if cell == "lstm" else 0)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_unrolled_refuses():
    with pytest.raises(ValueError, match="unknown cell 'elman'"):
        viz.unrolled(cell="elman")
    with pytest.raises(ValueError, match="layers must be at least 1, got 0"):
        viz.unrolled(layers=0)
    with pytest.raises(ValueError, match="steps must be at least 1, got -1"):
        viz.unrolled(steps=-1)


def test_the_five_types(tmp_path):
    pytest.importorskip("matplotlib")
    (axes,) = viz.architecture_types(path=tmp_path / "types.png").axes
    texts = _texts(axes)
    assert [text for text in texts if "to" in text] == [
        "one to one",
        "one to many",
        "many to one",
        "many to many",
        "many to many",
    ]
    counts = [sum(text.startswith(start) for text in texts) for start in ("$x", "$a", r"$\hat{y}")]
    assert counts == [1 + 1 + 3 + 3 + 3, 1 + 3 + 3 + 3 + 5, 1 + 3 + 1 + 3 + 2]
    assert (tmp_path / "types.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("draw", [lambda: viz.unrolled(), lambda: viz.text_heat("a", [1])])
def test_every_picture_says_what_it_needs(monkeypatch, draw):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "lamina\[plot\]"'):
        draw()
