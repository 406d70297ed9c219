"""Where answers come from and how far units see, on networks of which that is known."""

import copy

import numpy as np
import pytest

import lamina as lm
from lamina import nn, probe

BOX = (slice(3, 6), slice(7, 10))  # where the answer of `looks_at_box` lies
RNG = np.random.default_rng(0)


def looks_at_box():
    """12x12x2 -> 3 scores; that of class 1 is a weighted sum of the box, the others are constant."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(288, 3, rng=0)).astype(np.float64)
    w = np.zeros((12, 12, 2))
    w[BOX] = np.random.default_rng(1).uniform(0.5, 1, (3, 3, 2)) * [1, -2]
    model[1].weight.data[...] = 0
    model[1].weight.data[1] = w.ravel()
    model[1].bias.data[...] = [0.1, 0, -0.2]
    return model, w


def small_network():
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, rng=0),
        nn.BatchNorm2d(3),
        nn.Tanh(),
        nn.Dropout(0.5),
        nn.MaxPool2d(2),
        nn.Conv2d(3, 4, 3, rng=1),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(4 * 4 * 4, 3, rng=2),
    )


IMAGE = RNG.random((12, 12, 2))


# saliency ---------------------------------------------------------------------------------------------
def test_saliency_is_the_largest_weight_of_each_pixel():
    model, w = looks_at_box()
    np.testing.assert_allclose(probe.saliency(model, IMAGE, 1), np.abs(w).max(axis=2), rtol=1e-12)
    assert not probe.saliency(model, IMAGE, 0).any()


def test_saliency_against_central_differences():
    model = small_network().astype(np.float64).eval()
    found, step = probe.saliency(model, IMAGE, 2), 1e-6
    nudges = step * np.eye(IMAGE.size).reshape(-1, *IMAGE.shape)
    scores = [model.predict(IMAGE + sign * nudges)[:, 2] for sign in (1, -1)]
    slopes = ((scores[0] - scores[1]) / (2 * step)).reshape(IMAGE.shape)
    np.testing.assert_allclose(found, np.abs(slopes).max(axis=2), rtol=1e-5, atol=1e-8)
    assert found.max() > 0.01


def test_the_class_is_by_default_the_one_that_the_model_finds():
    model = small_network()
    best = int(model.predict(IMAGE[None]).argmax())
    for ask in (probe.saliency, probe.occlusion, probe.grad_cam):
        np.testing.assert_array_equal(ask(model, IMAGE), ask(model, IMAGE, best))
        assert not np.array_equal(ask(model, IMAGE), ask(model, IMAGE, (best + 1) % 3))


def test_grey_images_need_no_channels():
    model = nn.Sequential(nn.Conv2d(1, 2, 3, rng=0), nn.GlobalAvgPool2d())
    for ask in (probe.saliency, probe.occlusion, probe.grad_cam):
        np.testing.assert_array_equal(ask(model, IMAGE[..., 0]), ask(model, IMAGE[..., :1]))


# occlusion --------------------------------------------------------------------------------------------
def test_occlusion_finds_the_patch_that_matters():
    """A bright patch makes class 1: only what covers a part of it costs, and most what covers it all."""
    model, _ = looks_at_box()
    model[1].weight.data[1] = np.abs(model[1].weight.data[1])
    image = np.zeros((12, 12, 2))
    image[BOX] = 1
    lost = probe.occlusion(model, image, 1, size=3, stride=1, value=0.0)
    assert np.unravel_index(lost.argmax(), lost.shape) == (4, 8)  # the middle of the box
    seen = np.zeros((12, 12), bool)
    seen[1:8, 5:12] = True  # what patches of 3 reach that cover a part of it
    assert (lost[seen] > 0).all()
    assert np.abs(lost[~seen]).max() < 1e-15


@pytest.mark.parametrize("last", [(), (nn.Softmax(),), (nn.LogSoftmax(),)])
def test_occlusion_is_the_probability_that_is_lost(last):
    model = nn.Sequential(*small_network(), *last)
    logits = small_network().predict(np.stack([IMAGE, np.full_like(IMAGE, 0.3)])).astype(np.float64)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    lost = probe.occlusion(model, IMAGE, 2, size=12, stride=12, value=0.3)
    np.testing.assert_allclose(lost, p[0, 2] - p[1, 2], atol=1e-6)
    assert abs(p[0, 2] - p[1, 2]) > 1e-3


def test_occlusion_is_the_mean_over_patches_one_by_one():
    """Sizes that do not divide the image, by hand, with the mean of each channel as the cover."""
    model = nn.Sequential(*small_network(), nn.Softmax()).astype(np.float64)
    lost, count = np.zeros((12, 12)), np.zeros((12, 12))
    for top in (0, 3, 6, 7):
        for left in (0, 2, 4, 6, 8, 9):
            covered = IMAGE.copy()
            covered[top : top + 5, left : left + 3] = IMAGE.mean(axis=(0, 1))
            drop = model.predict(IMAGE[None])[0, 0] - model.predict(covered[None])[0, 0]
            lost[top : top + 5, left : left + 3] += drop
            count[top : top + 5, left : left + 3] += 1
    found = probe.occlusion(model, IMAGE, 0, size=(5, 3), stride=(3, 2))
    np.testing.assert_allclose(found, lost / count, atol=1e-12)


def test_occlusion_of_one_output_is_what_the_score_loses():
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 1, rng=0)).astype(np.float64)
    model[1].weight.data[...] = np.arange(9)
    lost = probe.occlusion(model, np.ones((3, 3)), size=1, stride=1, value=0.0)
    np.testing.assert_allclose(lost, np.arange(9).reshape(3, 3))


# grad-cam ---------------------------------------------------------------------------------------------
def light_and_dark():
    """Two maps, one of what is above 0 and one of what is below; class 0 is the first, class 1 the second."""
    model = nn.Sequential(nn.Conv2d(1, 2, 1, rng=0), nn.ReLU(), nn.GlobalAvgPool2d(), nn.Linear(2, 2, rng=0))
    model.astype(np.float64)[0].weight.data[...] = np.array([1, -1]).reshape(2, 1, 1, 1)
    model[0].bias.data[...] = 0
    model[3].weight.data[...] = np.array([[2, -1], [-1, 3]])
    return model


def test_grad_cam_shows_the_place_of_each_class():
    image = np.zeros((6, 8))
    image[1:3, 1:3], image[3:5, 5:8] = 0.5, -0.25
    light, dark = (probe.grad_cam(light_and_dark(), image, label, layer="1") for label in (0, 1))
    np.testing.assert_allclose(light, np.maximum(image, 0) * 2 / 48)
    np.testing.assert_allclose(dark, np.maximum(-image, 0) * 3 / 48)


def test_grad_cam_takes_the_last_convolution():
    model = small_network()
    found = probe.grad_cam(model, IMAGE)
    assert found.shape == (4, 4)
    assert found.any()
    np.testing.assert_array_equal(found, probe.grad_cam(model, IMAGE, layer="5"))
    np.testing.assert_array_equal(found, probe.grad_cam(model, IMAGE, layer=model[5]))
    assert probe.grad_cam(model, IMAGE, layer=model[0]).shape == (12, 12)


@pytest.mark.parametrize("label", [0, 2])
def test_grad_cam_against_central_differences(label):
    model = small_network().astype(np.float64).eval()
    head = nn.Sequential(*list(model)[6:])
    maps, step = probe.feature_maps(model, IMAGE, "5"), 1e-6
    nudges = step * np.eye(maps.size).reshape(-1, *maps.shape)
    scores = [head.predict(maps + sign * nudges)[:, label] for sign in (1, -1)]
    alpha = ((scores[0] - scores[1]) / (2 * step)).reshape(maps.shape).mean(axis=(0, 1))
    expected = np.maximum((maps * alpha).sum(axis=2), 0)
    np.testing.assert_allclose(probe.grad_cam(model, IMAGE, label), expected, rtol=1e-5, atol=1e-9)
    assert expected.any()


# feature maps -----------------------------------------------------------------------------------------
def test_feature_maps_are_what_the_layer_gives():
    model = small_network()
    expected = nn.Sequential(*list(model)[:3]).predict(IMAGE[None])[0]
    np.testing.assert_array_equal(probe.feature_maps(model, IMAGE, "2"), expected)
    np.testing.assert_array_equal(probe.feature_maps(model, IMAGE, model[2]), expected)


# receptive fields -------------------------------------------------------------------------------------
def conv(kernel=3, **options):
    return nn.Conv2d(2, 2, kernel, rng=0, **options)


# layers, and by theory: the size, the distance of neighbours, the first pixel of unit 0
FIELDS = {
    "one 3x3": ([conv()], 3, 1, 0),
    "two 3x3": ([conv(), nn.ReLU(), conv()], 5, 1, 0),
    "three 3x3": ([conv(), nn.ReLU(), conv(), nn.ReLU(), conv()], 7, 1, 0),
    "padded": ([conv(padding=1), nn.ReLU(), conv(padding=1)], 5, 1, -2),
    "stride": ([conv(5, stride=2), conv(3, stride=3)], 5 + 2 * 2, 6, 0),
    "dilation": ([conv(dilation=2), conv(dilation=3)], 1 + 4 + 6, 1, 0),
    "max pooling": ([conv(), nn.MaxPool2d(2), conv(), nn.MaxPool2d(2)], 3 + 1 + 4 + 2, 4, 0),
    "max of threes": ([nn.MaxPool2d(3, 2, padding=1), conv()], 3 + 2 * 2, 2, -1),
    "batch norm": ([conv(), nn.BatchNorm2d(2), nn.Sigmoid(), nn.AvgPool2d(2)], 4, 2, 0),
    "residual": ([nn.Residual(nn.Sequential(conv(5, padding=2), nn.ReLU(), conv(padding=1)))], 7, 1, -3),
}


@pytest.mark.parametrize("zero", [False, True], ids=["", "weights of zero"])
@pytest.mark.parametrize("name", FIELDS)
def test_receptive_field_is_that_of_theory(name, zero):
    layers, size, apart, first = FIELDS[name]
    model = copy.deepcopy(nn.Sequential(*layers))
    for p in model.parameters():
        p.data *= 0 if zero else 1
    last = str(len(layers) - 1)
    middle = probe.receptive_field(model, (40, 44, 2), last)
    assert middle.size == (size, size)
    found = probe.receptive_field(model, (40, 44, 2), model[-1], (2, 3))
    expected = [(max(0, i * apart + first), min(n, i * apart + first + size)) for i, n in ((2, 40), (3, 44))]
    assert [found.rows, found.columns] == expected
    assert found.gradient.shape == (40, 44)
    holes = 2 if name == "dilation" else 0  # between the sums of -2, 0, 2 and -3, 0, 3
    assert np.count_nonzero(found.gradient) == np.prod(np.array(found.size) - holes)


def test_a_dense_layer_and_a_global_maximum_see_everything():
    model = nn.Sequential(conv(padding=1), nn.ReLU(), nn.GlobalMaxPool2d(), nn.Linear(2, 3, rng=0))
    assert probe.receptive_field(model, (9, 7, 2), "3", 2).size == (9, 7)
    assert probe.receptive_field(model, (9, 7, 2), "2").size == (9, 7)


def test_holes_of_dilation_are_no_part_of_what_is_seen():
    found = probe.receptive_field(nn.Sequential(conv(dilation=2)), (9, 9, 2), "0", (1, 1))
    assert np.argwhere(found.gradient).tolist() == [[r, c] for r in (1, 3, 5) for c in (1, 3, 5)]


# nothing changes --------------------------------------------------------------------------------------
ASK = {
    "saliency": lambda model, label: probe.saliency(model, IMAGE, label),
    "occlusion": lambda model, label: probe.occlusion(model, IMAGE, label),
    "grad_cam": lambda model, label: probe.grad_cam(model, IMAGE, label),
    "feature_maps": lambda model, label: probe.feature_maps(model, IMAGE, "2" if label is None else "9"),
    "receptive_field": lambda model, label: probe.receptive_field(model, IMAGE.shape, "5", label),
}


@pytest.mark.parametrize("label", [None, 99], ids=["", "after an error"])
@pytest.mark.parametrize("name", ASK)
def test_the_model_stays_as_it_is(name, label):
    model = small_network().train()
    model[3].eval()
    model[5].weight.requires_grad = False
    model(IMAGE[None].astype(np.float32)).sum().backward()
    before = model.state_dict()
    gradients = [None if p.grad is None else p.grad.copy() for p in model.parameters()]
    drawn = lm.config.rng().bit_generator.state
    if label is None:
        ASK[name](model, label)
    else:
        with pytest.raises(ValueError, match=name):
            ASK[name](model, label)
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[key])
    for p, gradient in zip(model.parameters(), gradients, strict=True):
        np.testing.assert_array_equal(p.grad, gradient)
    assert [m.training for m in model] == [True] * 3 + [False] + [True] * 5
    assert [p.requires_grad for p in model.parameters()] == [True] * 4 + [False] + [True] * 3
    assert lm.config.rng().bit_generator.state == drawn
    assert not lm.nn.summary.watchers


# errors -----------------------------------------------------------------------------------------------
def test_what_does_not_fit_is_refused():
    model = small_network()
    for ask in (probe.saliency, probe.occlusion, probe.grad_cam):
        with pytest.raises(ValueError, match=rf"{ask.__name__}: image has shape \(1, 12, 12, 2\), expected"):
            ask(model, IMAGE[None])
        with pytest.raises(ValueError, match=f"{ask.__name__}: label must be at most 2, got 3"):
            ask(model, IMAGE, 3)
        with pytest.raises(
            ValueError, match=rf"{ask.__name__}: the model gives shape \(1, 4, 4, 4\), expect"
        ):
            ask(nn.Sequential(*list(model)[:6]), IMAGE)
    with pytest.raises(ValueError, match=r"size \(13, 13\) is larger than the image, \(12, 12\)"):
        probe.occlusion(model, IMAGE, size=13)
    with pytest.raises(ValueError, match=r"stride \(6, 6\) is larger than size \(5, 5\)"):
        probe.occlusion(model, IMAGE, stride=6)
    with pytest.raises(ValueError, match=r"grad_cam: give a layer, for the model has no nn\.Conv2d"):
        probe.grad_cam(looks_at_box()[0], IMAGE)
    with pytest.raises(
        ValueError, match=r"grad_cam: layer must give maps \(N, H, W, C\), got shape \(1, 64\)"
    ):
        probe.grad_cam(model, IMAGE, layer="7")
    for function, who in ((probe.grad_cam, "grad_cam"), (probe.feature_maps, "feature_maps")):
        with pytest.raises(ValueError, match=f"{who}: the model does not call the layer ReLU"):
            function(model, IMAGE, layer=nn.ReLU())
        with pytest.raises(ValueError, match=f"{who}: no layer '12', there are 0, 1, 2"):
            function(model, IMAGE, layer="12")
        with pytest.raises(TypeError, match=f"{who}: layer must be a module or its path, got int"):
            function(model, IMAGE, layer=5)


def test_without_gradients_there_are_no_false_zeros():
    model = small_network()
    asks = {
        "saliency": lambda: probe.saliency(model, IMAGE),
        "grad_cam": lambda: probe.grad_cam(model, IMAGE),
        "receptive_field": lambda: probe.receptive_field(model, IMAGE.shape, "0"),
        "flow": lambda: probe.flow(model, IMAGE.shape),
    }
    for who, ask in asks.items():
        with (
            lm.no_grad(),
            pytest.raises(RuntimeError, match=rf"{who}: gradients are needed, but no_grad\(\)"),
        ):
            ask()
    with lm.no_grad():
        assert probe.occlusion(model, IMAGE).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((12, 12), "0"), r"input_shape must be \(H, W, C\), got \(12, 12\)"),
        (((12, 0, 2), "0"), "input_shape must be at least 1, got 0"),
        (((12, 12, 2), "x"), "no layer 'x'"),
        (((12, 12, 2), nn.ReLU()), "ReLU is no layer of the model"),
        (((12, 12, 2), "0", (12, 0)), "unit must be at most 11, got 12"),
        (((12, 12, 2), "0", 3), r"unit must be a place on the axes \(12, 12\), got 3"),
        (((12, 12, 2), "8", 3), "unit must be at most 2, got 3"),
    ],
)
def test_receptive_field_refuses(arguments, message):
    with pytest.raises(ValueError, match=f"receptive_field: {message}"):
        probe.receptive_field(small_network(), *arguments)


def test_a_unit_that_no_pixel_reaches():
    model = nn.Sequential(nn.ZeroPad2d(3), conv())
    assert probe.receptive_field(model, (5, 5, 2), "1").size == (3, 3)
    with pytest.raises(ValueError, match=r"no pixel reaches unit \(0, 0\) of Conv2d"):
        probe.receptive_field(model, (5, 5, 2), "1", (0, 0))
