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
