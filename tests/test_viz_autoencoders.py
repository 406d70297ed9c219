"""Pictures of autoencoders: filters, reconstructions, codes, activations, losses."""

import numpy as np
import pytest

from lamina import viz

PNG = b"\x89PNG"


def _shown(figure):
    return np.asarray(figure.axes[0].images[0].get_array())


@pytest.mark.parametrize(("width", "shape"), [(16, (4, 4)), (48, (4, 4, 3))])
def test_weights_of_a_dense_layer_are_filters(width, shape):
    pytest.importorskip("matplotlib")
    w = np.random.default_rng(0).standard_normal((6, width))
    flat, square = viz.filter_grid(w, columns=3), viz.filter_grid(w.reshape(6, *shape), columns=3)
    np.testing.assert_array_equal(_shown(flat), _shown(square))
    assert _shown(flat).shape == (11, 16, *shape[2:])


@pytest.mark.parametrize("shape", [(6, 17), (6, 4, 4, 2), (6,), (2, 0, 4), (0, 16)])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(ValueError, match=r"filter_grid: filters has shape .*or \(N, D\) with D a square"):
        viz.filter_grid(np.zeros(shape))


def test_reconstructions_stand_under_their_originals(tmp_path):
    pytest.importorskip("matplotlib")
    x, y = np.random.default_rng(0).random((2, 5, 4, 6))
    figure = viz.reconstructions({"original": x, "k = 25": y}, path=tmp_path / "rows.png")
    shown = _shown(figure)
    assert shown.shape == (11, 36)
    np.testing.assert_allclose(shown[1:5, 8:14], x[1], rtol=1e-6)
    np.testing.assert_allclose(shown[6:10, 8:14], y[1], rtol=1e-6)
    labels = {text.get_text(): text.get_position()[1] for text in figure.axes[0].texts}
    assert labels == {"original": 2.5, "k = 25": 7.5}
    assert (tmp_path / "rows.png").read_bytes().startswith(PNG)
    with pytest.raises(
        ValueError, match=r"reconstructions: b has shape \(1, 2, 3\), the first row \(1, 2, 2\)"
    ):
        viz.reconstructions({"a": np.zeros((1, 2, 2)), "b": np.zeros((1, 2, 3))})
    for nothing in ({}, np.zeros((1, 2, 2))):
        with pytest.raises(ValueError, match="expected rows of images by their labels"):
            viz.reconstructions(nothing)


def test_loss_curves(tmp_path):
    pytest.importorskip("matplotlib")
    losses = {"dense": [3, 2, 1.5], "sparse": np.geomspace(9, 1, 40)}
    (axes,) = viz.loss_curves(losses, log=True, label="iteration", path=tmp_path / "loss.png").axes
    for line, values in zip(axes.lines, losses.values(), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), np.arange(1, len(values) + 1))
        np.testing.assert_array_equal(line.get_ydata(), values)
    assert axes.get_yscale() == "log"
    assert axes.get_xlabel() == "iteration"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["dense", "sparse"]
    assert (tmp_path / "loss.png").read_bytes().startswith(PNG)


def test_activation_histogram(tmp_path):
    pytest.importorskip("matplotlib")
    units = {"k-sparse": [[0, 0, 0], [4, 0, 2]], "dense": [1.0, 1.0, 3.5, 4]}
    (axes,) = viz.activation_histogram(units, bins=4, path=tmp_path / "units.png").axes
    stairs = [patch.get_data() for patch in axes.patches]
    assert stairs[0].edges.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(stairs[0].values, [4 / 6, 0, 1 / 6, 1 / 6])
    np.testing.assert_allclose(stairs[1].values, [0, 0.5, 0, 0.5])
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts == ["k-sparse: 66.7% zeros", "dense: 0.0% zeros"]
    assert (tmp_path / "units.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize("draw", [viz.loss_curves, viz.activation_histogram])
@pytest.mark.parametrize(
    ("curves", "error", "message"),
    [
        ({}, ValueError, "expected 1 to 6 curves, got 0"),
        ({str(i): [1] for i in range(7)}, ValueError, "got 7"),
        ([1, 2], TypeError, "expected a dict of curves by their names, got list"),
        ({"a": []}, ValueError, "'a' "),
    ],
)
def test_curves_refuse(draw, curves, error, message):
    pytest.importorskip("matplotlib")
    with pytest.raises(error, match=f"{draw.__name__}: .*{message}"):
        draw(curves)


def test_more_that_curves_refuse():
    pytest.importorskip("matplotlib")
    with pytest.raises(ValueError, match=r"'a' has shape \(1, 2\), expected \(T,\)"):
        viz.loss_curves({"a": [[1, 2]]})
    with pytest.raises(ValueError, match="'b' is empty or has values that are not finite"):
        viz.activation_histogram({"a": [1], "b": [1, np.nan]})


def test_images_stand_where_their_codes_are(tmp_path):
    pytest.importorskip("matplotlib")
    codes = np.array([[0.0, 10.0], [4.0, 30.0], [1.0, 20.0]])
    images = np.random.default_rng(0).random((3, 5, 5, 1))
    figure = viz.code_map(codes, images, labels=[7, 2, 7], size=0.1, path=tmp_path / "map.png")
    axes = figure.axes[0]
    for image, code, picture in zip(images, codes, axes.images, strict=True):
        left, right, bottom, top = picture.get_extent()
        np.testing.assert_allclose([(left + right) / 2, (bottom + top) / 2], code)
        np.testing.assert_allclose([right - left, top - bottom], [0.4, 2])
        np.testing.assert_array_equal(np.asarray(picture.get_array())[..., 3], image[..., 0])
    colors = [np.asarray(picture.get_array())[0, 0, :3].tolist() for picture in axes.images]
    assert colors[0] == colors[2] != colors[1]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["2", "7"]
    assert (tmp_path / "map.png").read_bytes().startswith(PNG)


def test_coloured_images_and_equal_codes():
    pytest.importorskip("matplotlib")
    images = np.random.default_rng(0).random((2, 4, 4, 3))
    (axes,) = viz.code_map(np.ones((2, 2)), images).axes
    np.testing.assert_array_equal(np.asarray(axes.images[1].get_array()), images[1])
    assert axes.get_legend() is None


@pytest.mark.parametrize(
    ("codes", "labels", "error", "message"),
    [
        (np.zeros((2, 3)), None, ValueError, r"codes must have shape \(2, 2\), two numbers for each image"),
        (np.full((2, 2), np.inf), None, ValueError, "codes must be finite"),
        (np.zeros((2, 2)), [1], ValueError, r"labels must have shape \(2,\)"),
        (np.zeros((2, 2)), [0.5, 1], TypeError, "labels must be integers, got float64"),
    ],
)
def test_code_map_refuses(codes, labels, error, message):
    with pytest.raises(error, match=f"code_map: {message}"):
        viz.code_map(codes, np.zeros((2, 4, 4)), labels=labels)
