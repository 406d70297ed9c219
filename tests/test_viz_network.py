"""The way of an input through a model, and the drawing of it."""

import numpy as np
import pytest

import lamina as lm
from lamina import autoencoders, nn, probe, text, viz


def block(inputs, outputs, stride=1):
    """A block of a residual network."""
    body = nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1),
    )
    shortcut = None if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride=stride)
    return nn.Residual(body, shortcut=shortcut)


def residual():
    layers = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), block(8, 8), nn.ReLU(), block(8, 16, 2)
    return nn.Sequential(*layers, nn.GlobalAvgPool2d(), nn.Linear(16, 10))


def branches():
    """Branches of different lengths, as of Szegedy et al."""
    modules = (
        nn.Conv2d(6, 4, 1),
        nn.Sequential(nn.Conv2d(6, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 3, padding=1)),
        nn.Sequential(nn.MaxPool2d(3, 1, padding=1), nn.Conv2d(6, 8, 1)),
    )
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.Parallel(*modules), nn.MaxPool2d(2), nn.Flatten())


class LastStep(nn.Module):
    def __init__(self):
        self.recurrent, self.out = nn.LSTM(8, 32, 2), nn.Linear(32, 5)

    def forward(self, x):
        return self.out(self.recurrent(x)[0][:, -1])


class Dense(nn.Module):
    """Every layer sees all before it (Huang et al.), outside of containers."""

    def __init__(self):
        self.layers = [nn.Conv2d(3 + 4 * i, 4, 3, padding=1) for i in range(4)]

    def forward(self, x):
        for layer in self.layers:
            x = lm.concatenate([x, lm.relu(layer(x))], axis=-1)
        return x


MODELS = {
    "lenet": (lm.models.lenet5, (28, 28, 1)),
    "vgg": (lm.models.vgg_small, (32, 32, 3)),
    "residual": (residual, (16, 16, 3)),
    "branches": (branches, (10, 12, 3)),
    "dense shortcuts": (Dense, (8, 8, 3)),
    "autoencoder": (lambda: autoencoders.DenseAutoencoder(784, 100, tied=True), 784),
    "unpool": (lambda: autoencoders.ConvAutoencoder(1, (16, 8), up="unpool"), (28, 28, 1)),
    "last step": (LastStep, (20, 8)),
    "characters": (lambda: text.CharModel("abcdefgh"), 30),
    "both ways": (lambda: nn.Sequential(nn.Embedding(50, 16), nn.Bidirectional(nn.GRU(16, 32))), (12,)),
    "one number": (lambda: nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1)), 3),
}


def way(model, shape):
    """Each step as its labels, its shape and its sources."""
    return [(" ".join(s.labels), s.shape, s.sources) for s in probe.flow(model, shape)]


# the way ----------------------------------------------------------------------------------------------
def test_layers_that_pass_on_belong_to_the_volume_before():
    assert way(lm.models.lenet5(), (28, 28, 1)) == [
        ("", (28, 28, 1), []),
        ("Conv2d 5×5 ReLU", (28, 28, 6), [0]),
        ("MaxPool2d 2×2", (14, 14, 6), [1]),
        ("Conv2d 5×5 ReLU", (10, 10, 16), [2]),
        ("MaxPool2d 2×2 Flatten", (5, 5, 16), [3]),
        ("Linear ReLU", (120,), [4]),
        ("Linear ReLU", (84,), [5]),
        ("Linear", (10,), [6]),
    ]


def test_shortcuts_and_the_layers_on_them():
    assert way(residual(), (16, 16, 3))[1:] == [
        ("Conv2d 3×3 ReLU", (16, 16, 8), [0]),
        ("Conv2d 3×3 BatchNorm2d ReLU", (16, 16, 8), [1]),
        ("Conv2d 3×3", (16, 16, 8), [2]),
        ("+ ReLU", (16, 16, 8), [1, 3]),
        ("Conv2d 3×3 stride 2 BatchNorm2d ReLU", (8, 8, 16), [4]),
        ("Conv2d 3×3", (8, 8, 16), [5]),
        ("Conv2d 1×1 stride 2", (8, 8, 16), [4]),
        ("+", (8, 8, 16), [6, 7]),
        ("GlobalAvgPool2d", (16,), [8]),
        ("Linear", (10,), [9]),
    ]


def test_branches_meet_again():
    steps = probe.flow(branches(), (10, 12, 3))
    assert [s.sources for s in steps] == [[], [0], [1], [1], [3], [1], [5], [2, 4, 6], [7]]
    assert (steps[7].kind, steps[7].labels, steps[7].shape) == ("join", ["concat"], (8, 10, 20))


def test_what_a_forward_of_ones_own_joins_is_found():
    steps = way(Dense(), (8, 8, 3))
    assert [s[2] for s in steps] == [[], [0], [0, 1], [2], [2, 3], [4], [4, 5], [6], [6, 7]]
    assert [s[0] for s in steps[1:3]] == ["Conv2d 3×3", "concat"]


def test_recurrent_layers_and_what_is_taken_of_them():
    assert way(LastStep(), (20, 8)) == [
        ("", (20, 8), []),
        ("LSTM 2 layers", (20, 32), [0]),
        ("index", (32,), [1]),
        ("Linear", (5,), [2]),
    ]
    both = way(*[make() if callable(make) else make for make in MODELS["both ways"]])
    assert [s[2] for s in both] == [[], [0], [1], [1], [2, 3]]
    assert way(text.CharModel("abc"), (7,))[1:] == [("LSTM 2 layers", (7, 128), [0]), ("Linear", (7, 3), [1])]


def test_tied_layers_and_operations_that_pool():
    tied = way(autoencoders.DenseAutoencoder(9, 4, tied=True, activation="linear"), 9)
    assert tied == [("", (9,), []), ("Linear", (4,), [0]), ("Tied", (9,), [1])]
    unpooled = probe.flow(autoencoders.ConvAutoencoder(1, (4,), up="unpool"), (6, 6, 1))
    assert [s.kind for s in unpooled] == ["input", "conv", "pool", "enlarge", "conv"]
    assert [s.shape[0] for s in unpooled] == [6, 6, 3, 6, 6]


def test_labels_tell_what_is_unusual():
    model = nn.Sequential(
        nn.Conv2d(2, 4, (3, 5), stride=(2, 1), dilation=2), nn.MaxPool2d(3, 2), nn.AvgPool2d(2)
    )
    assert [s.labels for s in probe.flow(model, (30, 30, 2))[1:]] == [
        ["Conv2d 3×5", "stride 2×1", "dilation 2"],
        ["MaxPool2d 3×3", "stride 2"],
        ["AvgPool2d 2×2"],
    ]
    one = nn.Sequential(nn.Conv1d(2, 4, 5, stride=2), nn.MaxPool1d(2))
    assert [s.labels for s in probe.flow(one, (30, 2))[1:]] == [["Conv1d 5", "stride 2"], ["MaxPool1d 2"]]


def test_the_model_stays_as_it_is():
    model = residual().train()
    model[1].eval()
    model(np.ones((2, 16, 16, 3), np.float32)).sum().backward()
    state, gradients = model.state_dict(), [p.grad.copy() for p in model.parameters()]
    probe.flow(model, (16, 16, 3))
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, state[name])
    for p, gradient in zip(model.parameters(), gradients, strict=True):
        np.testing.assert_array_equal(p.grad, gradient)
    assert [m.training for m in model] == [True, False] + [True] * 5


def test_what_does_not_fit_is_refused():
    for shape in (0, (28, -1, 1)):
        with pytest.raises(ValueError, match="flow: input_shape must be at least 1"):
            probe.flow(lm.models.lenet5(), shape)
    with pytest.raises(TypeError, match=r"flow: input_shape must be an int, got 2\.5"):
        viz.network(lm.models.lenet5(), 2.5)
    with pytest.raises(ValueError, match="x has 2 channels"):
        probe.flow(lm.models.lenet5(), (28, 28, 2))
    assert not lm.nn.summary.watchers


# the drawing ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", MODELS)
def test_no_text_lies_on_another_or_outside(name, tmp_path):
    agg = pytest.importorskip("matplotlib.backends.backend_agg")
    make, shape = MODELS[name]
    model = make()
    figure = viz.network(model, shape, path=tmp_path / "network.png")
    assert (tmp_path / "network.png").read_bytes().startswith(b"\x89PNG")
    renderer = agg.FigureCanvasAgg(figure).get_renderer()
    texts = [text for text in figure.axes[0].texts if text.get_text()]
    boxes = [text.get_window_extent(renderer) for text in texts]
    for i, (text_, box) in enumerate(zip(texts, boxes, strict=True)):
        assert box.x0 >= 0, text_
        assert box.y0 >= 0, text_
        assert box.x1 <= figure.bbox.width, text_
        assert box.y1 <= figure.bbox.height, text_
        assert not any(box.overlaps(other) for other in boxes[:i]), text_
    written = [text.get_text() for text in texts]
    for step in probe.flow(model, shape):
        assert "×".join(map(str, step.shape)) in written
        assert set(step.labels) <= set(written)


@pytest.mark.parametrize("name", MODELS)
def test_no_block_lies_on_another(name):
    pytest.importorskip("matplotlib")
    make, shape = MODELS[name]
    figure = viz.network(make(), shape)
    steps = probe.flow(make(), shape)
    boxes = [patch.get_extents() for patch in figure.axes[0].patches]
    fronts = len(steps) + 2 * sum(len(s.shape) > 2 and s.kind != "join" for s in steps)
    assert len(boxes) == fronts  # a box has three faces
    shrunk = [box.shrunk(0.98, 0.98) for box in boxes]
    size = [3 if len(s.shape) > 2 and s.kind != "join" else 1 for s in steps]
    owner = np.repeat(np.arange(len(steps)), size)
    for i, box in enumerate(shrunk):
        assert not any(box.overlaps(other) for j, other in enumerate(shrunk[:i]) if owner[j] != owner[i])


def test_larger_volumes_are_drawn_larger():
    pytest.importorskip("matplotlib")
    patches = viz.network(lm.models.lenet5(), (28, 28, 1)).axes[0].patches
    fronts = [patch.get_extents() for patch in patches[:15:3]]
    assert fronts[0].height == pytest.approx(fronts[1].height)
    assert fronts[1].height > fronts[2].height > fronts[3].height > fronts[4].height
    assert fronts[0].width < fronts[1].width < fronts[3].width
    bars = [patch.get_extents().height for patch in patches[15:]]
    assert bars[0] > bars[1] > bars[2]
