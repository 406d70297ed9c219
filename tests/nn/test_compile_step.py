"""Compiled training steps: the bits of the step itself, whatever happens to the model."""

import copy
import gc
import os
import weakref

import numpy as np
import pytest

import lamina as lm
from lamina import nn, optim
from lamina.nn.plan_step import CompiledStep
from lamina.nn.recorded import NotCompiled
from lamina.train.steps import Steps

pytestmark = pytest.mark.skipif(
    os.environ.get("LAMINA_BACKEND") == "numpy", reason="asked to run without _core, which makes the plans"
)
RNG = np.random.default_rng(0)


def floats(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def labels(*shape, below=3):
    return RNG.integers(0, below, shape)


class Last(nn.Module):
    """The scores of the last state."""

    def __init__(self, layer, features):
        self.layer, self.out = layer, nn.Linear(features, 3)

    def forward(self, x):
        y, _ = self.layer(x)
        return self.out(y[:, -1])


class Formula(nn.Module):
    """NumPy's part of the tape: what has no kernel."""

    def __init__(self):
        self.w = nn.Parameter(np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3))

    def forward(self, x):
        y = lm.exp(-(x @ self.w) * 0.5) + lm.where(x[:, :3] > 0, x[:, 1:], 2.0)
        return lm.concatenate([y, y.T.reshape(-1, 3), lm.maximum(y, 0.1)])[: len(x.data)]


def residual():
    inner = nn.Sequential(
        nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 3, 3, padding=1)
    )
    return nn.Sequential(nn.Residual(inner), nn.ReLU(), nn.GlobalAvgPool2d())


class Tagger(nn.Module):
    """Both directions of every token."""

    def __init__(self):
        self.embedding, self.layer = nn.Embedding(9, 4), nn.LSTM(4, 5, bidirectional=True)
        self.out = nn.Linear(10, 3)

    def forward(self, tokens):
        return self.out(self.layer(self.embedding(tokens))[0])


def images(*layers):
    return net(*layers, nn.Flatten(), nn.Linear(48, 3))


def net(*layers):
    return lambda: copy.deepcopy(nn.Sequential(*layers))


IMAGES, ROWS, STEPS = (4, 4, 4, 3), (5, 4), (4, 6, 4)
CLASSES, SQUARES = nn.CrossEntropyLoss, nn.MSELoss
CASES = {  # model, shape of x or greatest token, loss
    "dense": (net(nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 3)), ROWS, CLASSES()),
    "smoothed": (net(nn.Linear(4, 3)), ROWS, CLASSES(label_smoothing=0.1)),
    "weighted": (net(nn.Linear(4, 3)), ROWS, CLASSES(weight=[1, 2, 5])),
    "sum": (net(nn.Linear(4, 3)), ROWS, CLASSES(reduction="sum")),
    "hinge": (net(nn.Linear(4, 3)), ROWS, nn.HingeLoss()),
    "squares": (net(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 4)), ROWS, SQUARES()),
    "huber": (net(nn.Linear(4, 4), nn.GELU()), ROWS, nn.HuberLoss()),
    "surprise": (net(nn.Linear(4, 4), nn.SiLU()), ROWS, nn.BCEWithLogitsLoss()),
    "convolutions": (images(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()), IMAGES, CLASSES()),
    "depthwise": (images(nn.Conv2d(3, 3, 3, padding=1, groups=3), nn.LeakyReLU()), IMAGES, CLASSES()),
    "pools": (
        net(nn.Conv2d(3, 3, 1), nn.AvgPool2d(2), nn.GlobalMaxPool2d()),
        IMAGES,
        CLASSES(),
    ),
    "transposed": (net(nn.ConvTranspose2d(3, 3, 3, padding=1)), IMAGES, SQUARES()),
    "unshared": (images(nn.LocallyConnected2d(3, 3, 1, input_size=4)), IMAGES, CLASSES()),
    "normalised": (images(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU()), IMAGES, CLASSES()),
    "layer norm": (net(nn.Linear(4, 6), nn.LayerNorm(6), nn.ELU(), nn.Linear(6, 3)), ROWS, CLASSES()),
    "group norm": (images(nn.Conv2d(3, 3, 1), nn.GroupNorm(3, 3)), IMAGES, CLASSES()),
    "local response": (images(nn.Conv2d(3, 3, 1), nn.LocalResponseNorm(3)), IMAGES, CLASSES()),
    "dropout": (net(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3)), ROWS, CLASSES()),
    "seeded dropout": (lambda: nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5, rng=3)), ROWS, SQUARES()),
    "channels dropped": (images(nn.Conv2d(3, 3, 1), nn.Dropout2d(0.4)), IMAGES, CLASSES()),
    "padded, enlarged": (net(nn.ReflectPad2d(1), nn.Conv2d(3, 3, 3), nn.Upsample(2)), IMAGES, SQUARES()),
    "parallel": (net(nn.Parallel(nn.Linear(4, 2), nn.Linear(4, 1))), ROWS, CLASSES()),
    "maxout": (net(nn.Linear(4, 6), nn.Maxout(2)), ROWS, CLASSES()),
    "residual": (residual, IMAGES, CLASSES()),
    "lstm": (lambda: Last(nn.LSTM(4, 5, num_layers=2), 5), STEPS, CLASSES()),
    "gru": (lambda: Last(nn.GRU(4, 5), 5), STEPS, CLASSES()),
    "rnn of tokens": (lambda: Last(nn.RNN(9, 5), 5), 9, CLASSES()),
    "tagger": (Tagger, 9, CLASSES()),
    "sequences": (net(nn.Conv1d(4, 5, 3, padding=1), nn.ReLU(), nn.MaxPool1d(2)), STEPS, SQUARES()),
    "formula": (Formula, ROWS, CLASSES()),
}


def batch(name, model, dtype=np.float32):
    """x and y that fit the model."""
    _, shape, loss = CASES[name]
    x = labels(3, 6, below=shape) if isinstance(shape, int) else floats(*shape).astype(dtype)
    out = model.predict(x).shape if isinstance(shape, tuple) else (3, 6, 3)[: 3 if name == "tagger" else 2]
    if isinstance(loss, nn.BCEWithLogitsLoss):
        return x, labels(*out, below=2).astype(dtype)
    wants_classes = isinstance(loss, nn.CrossEntropyLoss | nn.HingeLoss)
    return x, labels(*out[:-1]) if wants_classes else floats(*out).astype(dtype)


def made(name, dtype=np.float32):
    lm.manual_seed(1)
    model = CASES[name][0]()
    for p in model.parameters():
        p.data = p.data.astype(dtype)
    return model, optim.Adam(model.parameters(), 1e-2)


def plain_step(model, loss, optimizer, x, y):
    optimizer.zero_grad()
    value = loss(model(lm.Tensor(x)), y)
    value.backward()
    optimizer.step()
    return value.item()


def assert_same(one, other):
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)


def run_both(name, steps=3, dtype=np.float32):
    loss = CASES[name][2]
    (model, adam), (twin, twin_adam) = made(name, dtype), made(name, dtype)
    x, y = batch(name, model, dtype)
    batches = [(x, y), *(batch(name, model, dtype) for _ in range(steps - 1))]
    step = lm.compile(model, x, y, loss=loss, optimizer=adam)
    lm.manual_seed(5)
    found = [step(*each) for each in batches]
    lm.manual_seed(5)
    expected = [plain_step(twin, loss, twin_adam, *each) for each in batches]
    assert found == expected
    assert_same(model, twin)
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        np.testing.assert_array_equal(p.grad, q.grad)
    return step


@pytest.mark.parametrize("name", CASES)
def test_the_same_bits(name):
    assert run_both(name).calls > 0


@pytest.mark.parametrize("name", ["dense", "normalised", "tagger", "weighted"])
def test_float64(name):
    run_both(name, dtype=np.float64)


def test_the_parts_of_a_step_that_are_kernels_stay_kernels():
    """None of them is NumPy's."""
    model = lm.models.lenet5()
    adam = optim.Adam(model.parameters())
    step = lm.compile(model, floats(2, 28, 28, 1), labels(2), loss=nn.CrossEntropyLoss(), optimizer=adam)
    assert step._plan._hosts == []


def test_what_changes_between_steps_is_seen():
    name, loss = "normalised", nn.CrossEntropyLoss()
    (model, adam), (twin, twin_adam) = made(name), made(name)
    x, y = batch(name, model)
    step = lm.compile(model, x, y, loss=loss, optimizer=adam)

    def check(change):
        change(model, adam)
        change(twin, twin_adam)
        for _ in range(2):
            assert step(x, y) == plain_step(twin, loss, twin_adam, x, y)
        assert_same(model, twin)

    def new_array(net, optimizer):
        net[0].weight.data = net[0].weight.data * 2

    def new_buffer(net, optimizer):
        net[1].running_mean = net[1].running_mean + 1

    check(lambda net, optimizer: setattr(optimizer, "lr", 0.1))
    check(lambda net, optimizer: net.eval())
    check(lambda net, optimizer: net.train())
    check(lambda net, optimizer: setattr(net[0].weight, "requires_grad", False))
    check(lambda net, optimizer: setattr(net[0].weight, "requires_grad", True))
    check(new_array)
    check(new_buffer)
    check(lambda net, optimizer: optim.SGD(net.parameters(), 0.1))  # takes the parameters away


def test_compiling_changes_nothing():
    model, adam = made("dropout")
    before = {name: array.copy() for name, array in model.state_dict().items()}
    x, y = batch("dropout", model)
    state = lm.config.rng().bit_generator.state
    lm.compile(model, x, y, loss=nn.CrossEntropyLoss(), optimizer=adam)
    assert lm.config.rng().bit_generator.state == state
    assert adam.state_dict()["steps"] == [0] * 4
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_plan_ends_with_its_step():
    gc.disable()
    try:
        model, adam = made("normalised")
        step = lm.compile(model, *batch("normalised", model), loss=nn.CrossEntropyLoss(), optimizer=adam)
        plan = weakref.ref(step._plan)
        del step
        assert plan() is None
    finally:
        gc.enable()


def test_gradients_of_another_use_are_forgotten():
    model, adam = made("dense")
    x, y = batch("dense", model)
    step = lm.compile(model, x, y, loss=nn.CrossEntropyLoss(), optimizer=adam)
    step.gradients(x, y)
    expected = [p.grad.copy() for p in model.parameters()]
    nn.CrossEntropyLoss()(model(x), y).backward()
    step.gradients(x, y)
    for p, grad in zip(model.parameters(), expected, strict=True):
        np.testing.assert_array_equal(p.grad, grad)


# refused ----------------------------------------------------------------------------------------------
def test_wrong_labels_are_found_in_every_step():
    model, adam = made("dense")
    x, y = batch("dense", model)
    step = lm.compile(model, x, y, loss=nn.CrossEntropyLoss(), optimizer=adam)
    before = model.state_dict()["0.weight"].copy()
    with pytest.raises(ValueError, match="classes are 0 to 2"):
        step(x, y + 3)
    np.testing.assert_array_equal(model.state_dict()["0.weight"], before)
    assert np.isfinite(step(x, y))


def mean_of(y_pred, y):
    """A loss that takes the numbers out of the tape."""
    return (y_pred * lm.Tensor(np.abs(y_pred.data))).mean()


class Scaled(nn.Module):
    """By a number that NumPy makes of a parameter."""

    def __init__(self):
        self.layer, self.by = nn.Linear(4, 3), nn.Parameter(np.zeros(1, np.float32))

    def forward(self, x):
        return self.layer(x) * float(np.exp(self.by.data[0]))


@pytest.mark.parametrize(
    ("model", "loss", "words"),
    [
        (nn.Linear(4, 3), mean_of, "computed inside Linear"),
        (Scaled(), nn.CrossEntropyLoss(), "outside of lamina's layers"),
        (nn.Linear(4, 3), nn.CrossEntropyLoss(reduction="none"), "one number"),
        (Last(nn.LSTM(4, 5, recurrent_dropout=0.5), 5), nn.CrossEntropyLoss(), "computed inside Last"),
    ],
)
def test_steps_that_cannot_be_compiled(model, loss, words):
    x = floats(2, 6, 4) if isinstance(model, Last) else floats(2, 4)
    adam = optim.Adam(model.parameters())
    with pytest.raises(NotCompiled, match=words):
        lm.compile(model, x, labels(2), loss=loss, optimizer=adam)
    assert all(p.grad is None for p in model.parameters())


def test_wrong_arguments():
    model, adam = made("dense")
    x, y = batch("dense", model)
    loss = nn.CrossEntropyLoss()
    with pytest.raises(TypeError, match="all three"):
        lm.compile(model, x, y, loss=loss)
    other = copy.deepcopy(model)
    with pytest.raises(NotCompiled, match="does not have all parameters"):
        lm.compile(other, x, y, loss=loss, optimizer=optim.SGD([other[0].weight], 0.1))
    step = lm.compile(model, x, y, loss=loss, optimizer=adam)
    with pytest.raises(ValueError, match=r"y must have shape \(5,\), not \(4,\)"):
        step(x, y[:4])
    with pytest.raises(TypeError, match="y is float64"):
        step(x, y / 2)
    with pytest.raises(TypeError, match="masked"):
        step(np.ma.masked_array(x), y)
    assert step(x.astype(np.float64), y.astype(np.uint8)) > 0


# fit --------------------------------------------------------------------------------------------------
class Foreign(nn.CrossEntropyLoss):
    """Not the library's, so that `fit` does not compile."""


@pytest.mark.parametrize("name", ["dense", "dropout", "normalised", "smoothed"])
def test_fit_gives_the_same_bits(name, monkeypatch):
    made_steps = []
    record = CompiledStep._record
    monkeypatch.setattr(CompiledStep, "_record", lambda *args: (made_steps.append(1), record(*args))[1])
    histories, models = [], []
    x, y = floats(22, *CASES[name][1][1:]), labels(22)
    smoothing = CASES[name][2].label_smoothing
    for kind in (nn.CrossEntropyLoss, Foreign):
        model, adam = made(name)
        lm.manual_seed(2)
        done = lm.fit(
            model,
            x,
            y,
            loss=kind(label_smoothing=smoothing),
            optimizer=adam,
            epochs=12,
            batch_size=5,
            metrics=["accuracy"],
            validation=(x, y),
            schedule=optim.Cosine(),
            seed=0,
            verbose=0,
        )
        histories.append(dict(done))
        models.append(model)
        assert bool(made_steps) is True
    assert histories[0] == histories[1]
    assert_same(*models)
    assert len(made_steps) == 2  # batches of 5, and of the 2 that are left; none for the foreign loss


def test_fit_compiles_no_models_of_others():
    model = Last(nn.LSTM(4, 5), 5)
    steps = Steps(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters()))
    x, y = floats(2, 6, 4), labels(2)
    assert [steps.of(x, y) for _ in range(20)] == [None] * 20
    own = nn.Sequential(nn.Linear(4, 3))
    steps = Steps(own, nn.CrossEntropyLoss(), optim.Adam(own.parameters()))
    x, y = floats(2, 4), labels(2)
    assert [steps.of(x, y) for _ in range(10)] == [None] * 10
    step = steps.of(x, y)
    assert isinstance(step, CompiledStep)
    assert steps.of(x, y) is step
    nn.Linear(2, 2)  # any change of any module: it may be this one
    assert steps.of(x, y) is not step


def test_random_numbers_of_another_thread_are_left_alone():
    """One that prepares batches, say, draws on while a step is compiled."""
    model, adam = made("dropout")
    rng, expected = lm.config.rng(), copy.deepcopy(lm.config.rng())

    class Loss(nn.CrossEntropyLoss):
        def forward(self, x, target):
            rng.random()
            return super().forward(x, target)

    lm.compile(model, *batch("dropout", model), loss=Loss(), optimizer=adam)
    assert rng is lm.config.rng()
    expected.random(2)  # of the two runs in Python
    assert rng.random() == expected.random()


# predict ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", CASES)
def test_what_predict_compiles_sees_new_values(name):
    """Of fresh models, whose biases are 0 and running statistics those of the start."""
    model, x = CASES[name][0](), batch(name, made(name)[0])[0]
    model.predict(x)
    model.predict(x)
    rng = np.random.default_rng(0)
    for p in model.parameters():
        p.data += rng.random(p.shape, np.float32)
    for module in model.modules():
        for buffer in module._buffer_names:
            getattr(module, buffer)[...] += rng.random(getattr(module, buffer).shape, np.float32)
    found = model.predict(x)
    with lm.no_grad():
        np.testing.assert_array_equal(found, model.eval()(lm.Tensor(x)).data)
