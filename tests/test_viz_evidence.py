"""Pictures of where an answer comes from and of what a unit sees: that they show the numbers of `probe`."""

import sys

import numpy as np
import pytest

from lamina import nn, probe, viz

pytest.importorskip("matplotlib")

IMAGE = np.random.default_rng(0).random((10, 12, 3))


def network():
    return nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1, rng=0),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(5, 4, 3, rng=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(48, 3, rng=2),
    )


def drawn(axes, image=-1):
    return np.asarray(axes.images[image].get_array(), np.float64)


CALLS = {
    "saliency": (viz.saliency, probe.saliency, {}),
    "occlusion": (viz.occlusion, probe.occlusion, {"size": 4, "stride": 3, "value": 0.5}),
    "grad_cam": (viz.grad_cam, probe.grad_cam, {"layer": "1"}),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_picture_shows_the_numbers_beside_the_image(name, tmp_path):
    draw, measure, options = CALLS[name]
    figure = draw(network(), IMAGE, 1, ["cat", "dog", "cow"], **options, path=tmp_path / "a.png")
    left, right = figure.axes[:2]
    np.testing.assert_allclose(drawn(left, 0), IMAGE)
    np.testing.assert_allclose(drawn(right), measure(network(), IMAGE, 1, **options))
    scores = network().predict(IMAGE[None])[0].astype(np.float64)
    share = np.exp(scores[1]) / np.exp(scores).sum()
    assert left.get_title() == f"dog: {share:.1%}"
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", CALLS)
def test_by_default_the_class_that_the_model_finds(name):
    best = network().predict(IMAGE[None]).argmax()
    assert CALLS[name][0](network(), IMAGE).axes[0].get_title().startswith(f"class {best}: ")


def test_zero_of_occlusion_is_white():
    shown = viz.occlusion(network(), IMAGE).axes[1].images[-1]
    low, high = shown.get_clim()
    assert low == -high
    assert high == np.abs(probe.occlusion(network(), IMAGE)).max()


def test_a_small_map_covers_the_whole_image():
    axes = viz.grad_cam(network(), IMAGE).axes[1]
    assert drawn(axes).shape == (3, 4)
    assert axes.images[-1].get_extent() == axes.images[0].get_extent()


def test_grey_and_standardised_images_and_many_channels():
    model = nn.Sequential(nn.Conv2d(1, 2, 3, rng=0), nn.GlobalAvgPool2d())
    grey = np.linspace(-3, 1, 36).reshape(6, 6)
    np.testing.assert_allclose(drawn(viz.saliency(model, grey).axes[0]), (grey + 3) / 4)
    many = nn.Sequential(nn.Conv2d(5, 2, 3, rng=0), nn.GlobalAvgPool2d())
    image = np.random.default_rng(1).random((6, 6, 5))
    np.testing.assert_allclose(drawn(viz.grad_cam(many, image).axes[0]), image.mean(axis=2))


def test_feature_maps_are_tiled_on_one_scale():
    figure = viz.feature_maps(network(), IMAGE, "0", columns=2)
    maps = probe.feature_maps(network(), IMAGE, "0")
    scaled = (maps - maps.min()) / (maps.max() - maps.min())
    canvas = drawn(figure.axes[0])
    np.testing.assert_allclose(canvas[1:11, 1:13], scaled[..., 0], atol=1e-6)
    np.testing.assert_allclose(canvas[23:33, 1:13], scaled[..., 4], atol=1e-6)
    assert figure.axes[0].get_title().startswith("5 maps 10×12, ")


@pytest.mark.parametrize("image", [None, IMAGE], ids=["blank", "image"])
def test_the_box_is_drawn_round_the_receptive_field(image, tmp_path):
    field, figure = viz.receptive_field(
        network(), (10, 12, 3), "3", (0, 1), image=image, path=tmp_path / "a.png"
    )
    assert (field.rows, field.columns) == ((0, 7), (1, 9))
    (axes,) = figure.axes
    (box,) = axes.patches
    assert (box.get_x() + 0.5, box.get_x() + 0.5 + box.get_width()) == field.columns
    assert (box.get_y() + 0.5, box.get_y() + 0.5 + box.get_height()) == field.rows
    assert ((drawn(axes) > 0) == (field.gradient > 0)).all()
    assert f"unit (0, 1) of 3 Conv2d sees {field.size[0]}×{field.size[1]} pixels" in axes.get_title()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_the_filters_of_a_first_convolution_are_images_in_colour():
    w = network()[0].weight.data
    shown = drawn(viz.filter_grid(network()[0].weight, columns=5).axes[0])
    assert shown.shape == (5, 21, 3)
    np.testing.assert_allclose(shown[1:4, 1:4], 0.5 + 0.5 * w[0] / np.abs(w[0]).max(), atol=1e-6)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="grad_cam: 2 labels for 3 classes"):
        viz.grad_cam(network(), IMAGE, labels=["a", "b"])
    with pytest.raises(ValueError, match=r"receptive_field: image has shape \(9, 12, 3\), expected that of"):
        viz.receptive_field(network(), (10, 12, 3), "0", image=IMAGE[:9])
    with pytest.raises(ValueError, match="saliency: label must be at most 2, got 3"):
        viz.saliency(network(), IMAGE, 3)


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for draw in (viz.saliency, viz.occlusion, viz.grad_cam):
        with pytest.raises(ImportError, match=r'pip install "lamina\[plot\]"'):
            draw(network(), IMAGE)
    with pytest.raises(ImportError, match=r'pip install "lamina\[plot\]"'):
        viz.receptive_field(network(), (10, 12, 3), "0")
