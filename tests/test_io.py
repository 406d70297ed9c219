"""What `save` writes, and `load` builds from it."""

import os
import stat

import numpy as np
import pytest
from safetensors.numpy import load as unpack

import lamina as lm
from lamina import io, models, nn


def small():
    lm.manual_seed(3)
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Sequential(nn.Linear(3, 2, bias=False), nn.Tanh()))


def same(a, b):
    ours, theirs = a.state_dict(), b.state_dict()
    assert list(ours) == list(theirs)
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name])
        assert array.dtype == theirs[name].dtype


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


@pytest.fixture
def saved(path):
    """The bytes of a small saved model, and the path they stand at."""
    lm.save(small(), path)
    return path.read_bytes()


@pytest.mark.parametrize(
    "make", [small, models.lenet5, models.vgg_small, lambda: models.autoencoder(64, 100)]
)
def test_round_trip(path, make):
    model = make()
    lm.save(model, path)
    loaded = lm.load(path)
    same(model, loaded)
    assert loaded.training
    assert str(loaded) == str(model)
    shape = {"Linear": (2, model[0].weight.shape[1])}.get(type(model[0]).__name__, (2, 28, 28, 1))
    shape = (2, 32, 32, 3) if make is models.vgg_small else shape
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    np.testing.assert_array_equal(model.predict(x), loaded.predict(x))


def convnets():
    """Layers of convolutional networks, with arguments other than their defaults."""
    sides = ((0, 1), (1, 2))
    layers = [
        nn.AdaptiveAvgPool2d((2, 3)),
        nn.AdaptiveMaxPool2d(2),
        nn.AvgPool1d(3, 2, padding=(1, 0), ceil_mode=True, count_include_pad=False),
        nn.BatchNorm1d(3, eps=0.1, momentum=0.2, affine=False),
        nn.BatchNorm2d(3, eps=0.1, relu=True),
        nn.Conv1d(4, 6, 3, stride=2, padding=(2, 1), dilation=2, groups=2, bias=False),
        nn.Dropout2d(0.25),
        nn.ELU(alpha=0.5),
        nn.GELU(approximate="tanh"),
        nn.GlobalAvgPool2d(),
        nn.GlobalMaxPool2d(),
        nn.GroupNorm(2, 4, eps=0.1, affine=False),
        nn.L2Pool2d(3, 2, padding=sides),
        nn.LayerNorm(4, eps=0.1, affine=False),
        nn.LeakyReLU(slope=0.2),
        nn.LocalResponseNorm(3, alpha=0.1, beta=0.5, k=1.0),
        nn.LocallyConnected1d(2, 3, 2, input_size=5, stride=2, padding=(1, 0), bias=False),
        nn.LocallyConnected2d(2, 3, (2, 1), input_size=(5, 4), stride=2, padding=sides),
        nn.MaxPool1d(3, 2, padding="same"),
        nn.Maxout(3),
        nn.Parallel(nn.Linear(2, 3), nn.ReLU(), merge="sum"),
        nn.ReflectPad2d(sides),
        nn.Residual(nn.Linear(2, 3), shortcut=nn.Linear(2, 3, bias=False)),
        nn.SiLU(),
        nn.Softplus(),
        nn.ZeroPad2d((1, 2)),
    ]
    return {type(layer): layer for layer in layers}


def test_every_layer_keeps_its_arguments(path):
    layers = {
        nn.AvgPool2d: nn.AvgPool2d(
            (2, 3), (1, 2), padding=((0, 1), (1, 0)), ceil_mode=True, count_include_pad=False
        ),
        nn.BCEWithLogitsLoss: nn.BCEWithLogitsLoss(reduction="sum"),
        nn.Conv2d: nn.Conv2d(
            4,
            6,
            (3, 2),
            stride=(1, 2),
            padding="same",
            dilation=(1, 2),
            groups=2,
            bias=False,
            algorithm="im2col",
        ),
        nn.ConvTranspose2d: nn.ConvTranspose2d(
            4,
            6,
            (3, 2),
            stride=(2, 3),
            padding=((1, 0), (0, 1)),
            output_padding=(1, 2),
            dilation=(1, 2),
            groups=2,
            bias=False,
            algorithm="im2col",
        ),
        nn.BCELoss: nn.BCELoss(reduction="sum"),
        nn.CrossEntropyLoss: nn.CrossEntropyLoss(weight=[1, 2], label_smoothing=0.1, reduction="none"),
        nn.HingeLoss: nn.HingeLoss(margin=2.0),
        nn.HuberLoss: nn.HuberLoss(delta=0.5),
        nn.KLDivLoss: nn.KLDivLoss(reduction="none"),
        nn.Dropout: nn.Dropout(0.25, rng=3),
        nn.Bidirectional: nn.Bidirectional(nn.GRU(3, 2), merge="sum"),
        nn.Embedding: nn.Embedding(7, 3),
        nn.Flatten: nn.Flatten(),
        nn.GRU: nn.GRU(3, 5, 2, bidirectional=True),
        nn.LSTM: nn.LSTM(3, 5, 2, dropout=0.5),
        nn.RNN: nn.RNN(3, 5, nonlinearity="relu"),
        nn.KSparse: nn.KSparse(3, alpha=1.5),
        nn.GRUCell: nn.GRUCell(2, 3),
        nn.LSTMCell: nn.LSTMCell(3, 5),
        nn.Linear: nn.Linear(3, 2, bias=False),
        nn.LogSoftmax: nn.LogSoftmax(axis=1),
        nn.MSELoss: nn.MSELoss(reduction="sum"),
        nn.MaxPool2d: nn.MaxPool2d(3, 2, padding=1, return_indices=True),
        nn.MaxUnpool2d: nn.MaxUnpool2d(),
        nn.MemoryBlocks: nn.MemoryBlocks(3, 2, 2, forget_gate="coupled", peepholes=True, biased="gates"),
        nn.RNNCell: nn.RNNCell(2, 4, nonlinearity="relu"),
        nn.ReLU: nn.ReLU(),
        nn.Sequential: nn.Sequential(nn.Linear(1, 2), nn.Sequential(nn.ReLU())),
        nn.Sigmoid: nn.Sigmoid(),
        nn.Softmax: nn.Softmax(axis=0),
        nn.Tanh: nn.Tanh(),
        nn.TimeDistributed: nn.TimeDistributed(nn.Sequential(nn.Linear(2, 3))),
        nn.Upsample: nn.Upsample((2, 3), mode="bilinear"),
        **convnets(),
    }
    public = {getattr(nn, name) for name in nn.__all__} - {nn.Module, nn.Parameter}
    exported = {each for each in public if isinstance(each, type)}
    assert set(layers) == exported  # a new layer must be tried here
    for layer in layers.values():
        lm.save(layer, path)
        loaded = lm.load(path)
        assert repr(loaded) == repr(layer)
        same(layer, loaded)
        public = {k: v for k, v in vars(layer).items() if isinstance(v, (bool, int, float, str, tuple))}
        assert {k: getattr(loaded, k) for k in public} == public
    lm.save(layers[nn.Dropout], path)
    assert lm.load(path).rng is None  # the library's generator


def test_float64(path):
    model = small().astype(np.float64)
    lm.save(model, path)
    same(model, lm.load(path))


def test_layers_of_different_types(path):
    model = small()
    model[2].astype(np.float64)
    lm.save(model, path)
    loaded = lm.load(path)
    same(model, loaded)
    assert [p.dtype for p in loaded.parameters()] == [np.float32, np.float32, np.float64]


def test_numbers_and_foreign_byte_orders(path):
    class Own(nn.Module):
        def __init__(self):
            self.scale = nn.Parameter(2.0)
            self.register_buffer("mean", np.array([1.0, 2.0], ">f4"))

    model = Own()
    lm.save(model, path)
    model.load_state_dict(io.load_weights(path))
    assert model.scale.shape == ()
    np.testing.assert_array_equal(io.load_weights(path)["mean"], [1, 2])


def with_buffer(array):
    model = nn.Sequential(nn.ReLU())
    model.register_buffer("mean", array)
    return model


def of_halves():
    model = small()
    model[0].bias.data = model[0].bias.data.astype(np.float16)
    return model


def changed():
    model = nn.Linear(2, 3)
    model.in_features = 4
    return model


def nested(depth):
    model = nn.ReLU()
    for _ in range(depth):
        model = nn.Sequential(model)
    return model


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (3, TypeError, r"save: model must be a lamina\.nn\.Module, got int"),
        (nn.Linear, TypeError, r"save: model must be a lamina\.nn\.Module, got the class Linear"),
        (of_halves(), ValueError, r"save: the parameter 0\.bias is float16, expected float32 or float64"),
        (with_buffer(np.ones(2, complex)), ValueError, "save: mean is of type complex128, which the file"),
        (with_buffer(np.array([None])), ValueError, "save: mean is of type object, which the file"),
        (nested(33), ValueError, "save: modules are nested more than 32 deep"),
        (
            nn.AvgPool2d(70_000),
            ValueError,
            "save: load would refuse this model: AvgPool2d: kernel_size is 70000, too large for",
        ),
        (with_buffer(np.ones(2)), ValueError, "save: load would refuse this model: .* mean is unknown"),
        (changed(), ValueError, r"save: load would refuse this model: .*weight has shape \(3, 2\)"),
    ],
)
def test_what_load_would_refuse_is_not_saved(path, saved, model, error, message):
    with pytest.raises(error, match=message):
        lm.save(model, path)
    assert path.read_bytes() == saved
    assert list(path.parent.iterdir()) == [path]


def test_as_deep_as_can_be(path):
    lm.save(nested(32), path)
    assert str(lm.load(path)) == str(nested(32))


def test_shared_module_stays_shared(path):
    shared = nn.Linear(3, 3)
    model = nn.Sequential(nn.ReLU(), shared, nn.Sequential(shared, nn.Tanh()), shared)
    lm.save(model, path)
    loaded = lm.load(path)
    same(model, loaded)
    assert loaded[1] is loaded[2][0] is loaded[3]
    assert loaded[0] is not loaded[1]


def test_any_reader_gets_the_weights(saved):
    weights = unpack(saved)
    assert sorted(weights) == ["0.bias", "0.weight", "2.0.weight"]
    np.testing.assert_array_equal(weights["0.weight"], small().state_dict()["0.weight"])


def test_saving_replaces_and_keeps_links_and_modes(path, tmp_path):
    lm.save(small(), path)
    (tmp_path / "link").symlink_to(path)
    old_mask = os.umask(0o027)
    try:
        lm.save(models.autoencoder(4, 2), tmp_path / "link")
    finally:
        os.umask(old_mask)
    assert (tmp_path / "link").is_symlink()
    assert lm.load(path)[0].weight.shape == (2, 4)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_what_is_no_file_is_left_alone(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match=r"save: .*pipe is no regular file"):
        lm.save(small(), tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()
    with pytest.raises(IsADirectoryError):
        lm.save(small(), tmp_path)


def test_missing_places(tmp_path):
    with pytest.raises(FileNotFoundError):
        lm.load(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError):
        lm.save(small(), tmp_path / "no-folder" / "net.safetensors")
    with pytest.raises(IsADirectoryError):
        lm.load(tmp_path)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(2, 3)

    def forward(self, x):
        return self.dense(x)


@pytest.mark.parametrize("make", [Net, lambda: nn.Sequential(Net(), nn.ReLU())])
def test_own_class(path, make):
    model = make()
    lm.save(model, path)
    with pytest.raises(
        ValueError, match=r"class .*Net, which is not lamina's: build .*lm\.io\.load_weights\(path\)"
    ):
        lm.load(path)
    twin = make()
    twin.load_state_dict(io.load_weights(path))
    same(model, twin)


def test_loading_leaves_the_random_numbers_alone(path, saved):
    lm.manual_seed(5)
    expected = lm.config.rng().random()
    lm.manual_seed(5)
    lm.load(path)
    assert lm.config.rng().random() == expected


def test_saved_twice_gives_the_same_bytes(path, saved):
    lm.save(small(), path)
    assert path.read_bytes() == saved
