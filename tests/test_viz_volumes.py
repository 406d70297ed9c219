"""The picture of an image's way through a classifier."""

import numpy as np
import pytest

import lamina as lm
from lamina import nn, viz
from lamina.viz.volumes import volumes_of

IMAGE = np.random.default_rng(0).random((6, 5, 3)).astype(np.float32)


def network(*last):
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding="same", rng=0),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(120, 7, rng=1),
        *last,
    )


def test_volumes_are_what_the_layers_give():
    model = network()
    volumes, scores = volumes_of(model.train(), IMAGE)
    assert [volume.name for volume in volumes] == ["input", "0 Conv2d", "1 ReLU", "4 Linear"]
    assert all(module.training for module in model.modules())
    by_hand = model[0].predict(IMAGE[None])
    np.testing.assert_array_equal(volumes[1].values, by_hand[0])
    np.testing.assert_array_equal(volumes[2].values, np.maximum(by_hand[0], 0))
    np.testing.assert_array_equal(scores, model.predict(IMAGE[None])[0])


@pytest.mark.parametrize("last", [(), (nn.Softmax(),), (nn.LogSoftmax(),)])
def test_best_classes_stand_above_with_their_probabilities(last, tmp_path):
    pytest.importorskip("matplotlib")
    labels = [f"class {i}" for i in range(7)]
    figure = viz.activations(network(*last), IMAGE, labels, slices=3, top=5, path=tmp_path / "way.png")
    scores = network().predict(IMAGE[None]).astype(np.float64)
    shares = np.exp(scores[0]) / np.exp(scores[0]).sum()
    best = np.argsort(-shares)[:5]
    axes = figure.axes[-1]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [labels[i] for i in best]
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], shares[best], rtol=1e-5)
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first above
    assert (tmp_path / "way.png").read_bytes().startswith(b"\x89PNG")


def test_slices_are_spread_over_the_channels():
    pytest.importorskip("matplotlib")
    figure = viz.activations(network(), IMAGE, slices=2)
    shown = np.asarray(figure.axes[1].images[0].get_array())
    volume = volumes_of(network(), IMAGE)[0][1].values
    scaled = (volume - volume.min()) / (volume.max() - volume.min())
    np.testing.assert_allclose(shown[1:7, 1:6], scaled[..., 0], atol=1e-6)
    np.testing.assert_allclose(shown[8:14, 1:6], scaled[..., 3], atol=1e-6)


def test_grey_images_and_equal_values_are_drawn():
    pytest.importorskip("matplotlib")
    model = nn.Sequential(nn.Conv2d(1, 2, 3, rng=0), nn.Flatten(), nn.Linear(18, 3, rng=0))
    viz.activations(model, np.zeros((5, 5)))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"activations: image has shape \(1, 6, 5, 3\), expected one image"):
        viz.activations(network(), IMAGE[None])
    with pytest.raises(ValueError, match="activations: 2 labels for 7 classes"):
        viz.activations(network(), IMAGE, ["a", "b"])
    with pytest.raises(ValueError, match=r"the model gives \(1, 6, 5, 4\), expected the scores of classes"):
        viz.activations(nn.Sequential(nn.Conv2d(3, 4, 3, padding="same")), IMAGE)
    with pytest.raises(ValueError, match="activations: top must be"):
        viz.activations(network(), IMAGE, top=0)
    assert not lm.nn.summary.watchers
