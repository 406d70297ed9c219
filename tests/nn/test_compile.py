"""Compiled models: the bits of the model itself, whatever happens to it and whoever calls."""

import gc
import os
import threading
import weakref

import numpy as np
import pytest

import lamina as lm
from lamina import nn, optim
from lamina.nn import plan as plans
from lamina.nn.plan import NotCompiled

pytestmark = pytest.mark.skipif(
    os.environ.get("LAMINA_BACKEND") == "numpy", reason="asked to run without _core, which makes the plans"
)
RNG = np.random.default_rng(0)


def floats(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


class Last(nn.Module):
    """The last output of a recurrent layer."""

    def __init__(self, layer):
        self.layer, self.out = layer, nn.Linear(6, 3)

    def forward(self, x):
        y, _ = self.layer(x)
        return self.out(y)


def tagger():
    return nn.Sequential(nn.Embedding(9, 4), nn.TimeDistributed(nn.Linear(4, 5)), nn.ReLU())


MODELS = {
    "lenet": (lm.models.lenet5, (2, 28, 28, 1)),
    "vgg": (lm.models.vgg_small, (1, 32, 32, 3)),
    "resnet": (lambda: lm.models.resnet_small(width=4), (3, 16, 16, 3)),
    "autoencoder": (lambda: lm.models.autoencoder(20, 30), (5, 20)),
    "pools": (
        lambda: nn.Sequential(
            nn.AvgPool2d(3, 2, padding=1), nn.GlobalAvgPool2d(), nn.LayerNorm(3), nn.GELU()
        ),
        (2, 9, 9, 3),
    ),
    "parallel": (lambda: nn.Sequential(nn.Parallel(nn.Linear(4, 6), nn.Linear(4, 6), merge="sum")), (2, 4)),
    "dropout": (lambda: nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.Softmax()), (2, 4)),
    "lstm": (lambda: Last(nn.LSTM(4, 6)), (2, 5, 4)),
    "gru": (lambda: Last(nn.GRU(4, 6)), (2, 5, 4)),
    "lstm, many": (lambda: Last(nn.LSTM(4, 6, 2)), (5, 5, 4)),
}


def trained_a_little(make, shape):
    """Running statistics and weights that are not those of the start."""
    lm.manual_seed(0)
    model = make()
    adam = optim.Adam(model.parameters(), 1e-2) if any(True for _ in model.parameters()) else None
    for _ in range(2):
        y = model(floats(*shape))
        if adam is not None:
            (y * y).mean().backward()
            adam.step()
            adam.zero_grad()
    return model.eval()


@pytest.mark.parametrize("name", MODELS)
def test_the_same_bits(name):
    make, shape = MODELS[name]
    model = trained_a_little(make, shape)
    compiled = lm.compile(model, floats(*shape))
    assert compiled.calls > 0
    for threads in (1, 2):
        lm.set_num_threads(threads)
        x = floats(*shape)
        np.testing.assert_array_equal(compiled(x), model(x).data)


@pytest.mark.parametrize("isa", lm.available_isas())
def test_on_every_instruction_set(isa):
    from lamina import config

    core, former = config.backend(), lm.build_info()["isa"]
    model, x = lm.models.lenet5().eval(), floats(1, 28, 28, 1)
    compiled = lm.compile(model, x)
    core.set_isa(isa)
    try:
        np.testing.assert_array_equal(compiled(x), model(x).data)
    finally:
        core.set_isa(former)


def test_tokens():
    model = tagger().eval()
    compiled = lm.compile(model, np.array([[1, 2, 3]]))
    for dtype in (np.int64, np.int32, np.uint8):
        x = np.array([[8, 0, 5]], dtype)
        np.testing.assert_array_equal(compiled(x), model(x).data)
    with pytest.raises(ValueError, match="token"):
        compiled(np.array([[1, 2, 9]]))
    np.testing.assert_array_equal(compiled(np.array([[1, 2, 3]])), model(np.array([[1, 2, 3]])).data)


def test_new_values_of_parameters_and_buffers_are_seen():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).eval()
    x = floats(2, 3)
    compiled = lm.compile(model, x)
    model[0].weight.data *= 2  # in place
    np.testing.assert_array_equal(compiled(x), model(x).data)
    model.load_state_dict({name: floats(*array.shape) ** 2 for name, array in model.state_dict().items()})
    np.testing.assert_array_equal(compiled(x), model(x).data)
    model.train()(x)  # new running statistics
    model.eval()
    np.testing.assert_array_equal(compiled(x), model(x).data)
    model[0].weight.data = floats(4, 3)  # another array
    np.testing.assert_array_equal(compiled(x), model(x).data)
    optim.SGD(model.parameters(), 0.1)  # moves all parameters into one buffer
    np.testing.assert_array_equal(compiled(x), model(x).data)


def test_results_are_the_callers_own():
    model, x = lm.models.autoencoder(5, 6), floats(2, 5)
    compiled = lm.compile(model, x)
    first = compiled(x)
    kept = first.copy()
    compiled(floats(2, 5))[:] = 7
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(compiled(x), kept)


def test_the_mode_and_gradients_are_left_alone():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    state = model.state_dict()
    lm.compile(model, floats(2, 3))(floats(2, 3))
    assert all(module.training for module in model.modules())
    assert all(p.grad is None for p in model.parameters())
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, state[name])


def test_many_threads_at_once():
    model = lm.models.lenet5().eval()
    compiled = lm.compile(model, floats(1, 28, 28, 1))
    images = [floats(1, 28, 28, 1) for _ in range(8)]
    expected, wrong = [model(x).data for x in images], []

    def call(i):
        for _ in range(50):
            if not np.array_equal(compiled(images[i]), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=call, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_plan_goes_with_its_last_user():
    model, x = lm.models.autoencoder(64, 1000), floats(64, 64)
    core = lm.config.backend()
    before = core.memory_stats()["in_use"]
    compiled = lm.compile(model, x)
    y = compiled(x)
    assert core.memory_stats()["in_use"] > before + 64 * 1000 * 4
    del compiled, y
    assert core.memory_stats()["in_use"] == before


@pytest.mark.parametrize("name", MODELS)
def test_frozen(name):
    make, shape = MODELS[name]
    model = trained_a_little(make, shape)
    compiled, x = lm.compile(model, floats(*shape), frozen=True), floats(*shape)
    expected = model(x).data
    for threads in (1, 2):
        lm.set_num_threads(threads)
        np.testing.assert_array_equal(compiled(x), expected)
    for p in model.parameters():
        p.data += 1
    np.testing.assert_array_equal(compiled(x), expected)


@pytest.mark.parametrize("name", ["vgg", "lstm", "lstm, many"])
def test_frozen_weights_belong_to_an_instruction_set(name):
    from lamina import config

    core, former = config.backend(), lm.build_info()["isa"]
    make, shape = MODELS[name]
    model, x = make().eval(), floats(*shape)
    compiled = lm.compile(model, x, frozen=True)
    try:
        for isa in [*lm.available_isas(), former]:
            core.set_isa(isa)
            np.testing.assert_array_equal(compiled(x), model(x).data)
    finally:
        core.set_isa(former)


def test_memory_is_reused_while_it_is_recorded():
    model = nn.Sequential(*[nn.Linear(256, 256) for _ in range(20)])
    assert lm.compile(model, floats(64, 256)).bytes < 4 * 64 * 256 * 4


# refused ----------------------------------------------------------------------------------------------
class Numpy(nn.Module):
    def __init__(self):
        self.out = nn.Linear(3, 3)

    def forward(self, x):
        return self.out(lm.Tensor(np.sort(x.data, axis=1)))


class Branch(nn.Module):
    def __init__(self):
        self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x):
        return self.one(x) if x.data[0, 0] == EXAMPLE[0, 0] else self.two(x)


class Derived(nn.Module):
    """What hangs on a parameter is no constant."""

    def __init__(self):
        self.weight = nn.Parameter(floats(3, 3))

    def forward(self, x):
        return x @ lm.Tensor(self.weight.data * 2)


EXAMPLE = floats(2, 3)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Numpy(), "computed inside Numpy"),
        (Branch(), "chooses by the values of x"),
        (Derived(), "computed inside Derived"),
        (nn.LSTM(3, 4), "returns tuple"),
    ],
)
def test_models_that_cannot_be_compiled(model, words):
    example = EXAMPLE[None] if isinstance(model, nn.LSTM) else EXAMPLE
    with pytest.raises(NotCompiled, match=words):
        lm.compile(model, example)
    np.testing.assert_array_equal(
        lm.compile(nn.Linear(3, 3, rng=0), EXAMPLE)(EXAMPLE), nn.Linear(3, 3, rng=0)(EXAMPLE).data
    )


def test_a_model_that_fails_leaves_nothing_recorded():
    with pytest.raises(ValueError, match="Linear"):
        lm.compile(nn.Linear(4, 2), EXAMPLE)
    assert lm.compile(nn.Linear(3, 2), EXAMPLE).calls == 1


def test_wrong_input():
    compiled = lm.compile(nn.Linear(3, 2), EXAMPLE)
    with pytest.raises(ValueError, match=r"shape \(2, 3\), not \(1, 3\)"):
        compiled(EXAMPLE[:1])
    with pytest.raises(TypeError, match="masked"):
        compiled(np.ma.masked_array(EXAMPLE))
    with pytest.raises(TypeError, match="complex"):
        compiled(EXAMPLE.astype(complex))
    expected = compiled(EXAMPLE)
    for other in (
        EXAMPLE.tolist(),
        EXAMPLE.astype(np.float64),
        np.asfortranarray(EXAMPLE),
        lm.Tensor(EXAMPLE),
    ):
        np.testing.assert_array_equal(compiled(other), expected)
    with pytest.raises(ValueError, match="no elements"):
        lm.compile(nn.Linear(3, 2), EXAMPLE[:0])
    with pytest.raises(NotCompiled, match="0 everywhere"):
        lm.compile(tagger(), np.zeros((1, 3), int))
    with lm.use_backend("numpy"), pytest.raises(NotCompiled, match="use_backend"):
        lm.compile(nn.Linear(3, 2), EXAMPLE)


# by itself --------------------------------------------------------------------------------------------
def plan(model, x):
    return plans.plan_of(model, x, nn.Module._changed)


def test_predict_compiles_what_comes_again():
    model, x = lm.models.lenet5(), floats(1, 28, 28, 1)
    expected = model.predict(x)
    for _ in range(3):
        np.testing.assert_array_equal(model.predict(x), expected)
    assert isinstance(plan(model, x), plans.Compiled)
    large = nn.Linear(300_000, 1)
    for _ in range(3):
        large.predict(floats(1, 300_000))
    assert large not in plans._known


def test_predict_keeps_no_large_plans(monkeypatch):
    monkeypatch.setattr(plans, "_MOST_BYTES", 1000)
    model, x = nn.Linear(8, 100), floats(4, 8)
    for _ in range(3):
        model.predict(x)
    assert plan(model, x) is None


def test_predict_compiles_parts_of_one_shape():
    model, x = lm.models.lenet5().eval(), floats(70, 28, 28, 1)
    found = model.predict(x, batch_size=16)
    with lm.no_grad():
        parts = [model(x[i : i + 16]).data for i in range(0, 70, 16)]
    np.testing.assert_array_equal(found, np.concatenate(parts))
    assert isinstance(plan(model, x[:16]), plans.Compiled)


def test_predict_gives_an_array_of_its_own():
    x = floats(2, 3)
    for _ in range(3):
        found = nn.Flatten().predict(x)
        assert not np.shares_memory(found, x)


def test_predict_sees_every_change():
    model, x = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)), floats(2, 3)

    def check():
        for _ in range(3):
            found = model.predict(x)
            with lm.no_grad():
                model.eval()
                np.testing.assert_array_equal(found, model(x).data)
                model.train()

    check()
    model[0].weight.data += 1
    check()
    setattr(model, "2", nn.Linear(4, 5))
    check()
    model(floats(6, 3))
    check()
    model.astype(np.float64)
    check()
    with lm.use_backend("numpy"):
        check()
    delattr(model, "2")
    check()
    model.load_state_dict({name: np.ones_like(array) for name, array in model.state_dict().items()})
    check()


def test_predict_leaves_modules_of_others_alone():
    class Counted(nn.Module):
        calls = 0

        def forward(self, x):
            Counted.calls += 1
            return x * 2.0

    model, x = nn.Sequential(Counted()), floats(1, 3)
    for _ in range(5):
        model.predict(x)
    assert Counted.calls == 5


def test_watchers_see_every_call():
    from lamina.nn.summary import watching

    model, x, seen = nn.Sequential(nn.Linear(3, 4)), floats(1, 3), []
    for _ in range(3):
        model.predict(x)
    with watching(lambda module, x, y: seen.append(type(module).__name__)):
        model.predict(x)
    assert seen == ["Linear", "Sequential"]


def test_predict_keeps_no_model_alive():
    model, x = nn.Sequential(nn.BatchNorm1d(3)), floats(2, 3)
    for _ in range(4):
        model.predict(x)
    gone = weakref.ref(model)
    gc.disable()
    try:
        del model
        assert gone() is None
    finally:
        gc.enable()
