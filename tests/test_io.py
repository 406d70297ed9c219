import json
import os
import stat
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load as unpack
from safetensors.numpy import save as pack

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


def write(path, header, body=b""):
    """A safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def rewrite(path, change, weights=None):
    """Change the description of a saved model, and give it a fitting digest again."""
    kept, description = io._read(str(path))
    weights = kept if weights is None else weights
    change(description)
    if "sha256" not in description:
        description["sha256"] = io._digest(description, weights)
    path.write_bytes(pack(weights, metadata={"lamina": json.dumps(description)}))


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
        nn.CrossEntropyLoss: nn.CrossEntropyLoss(reduction="none"),
        nn.Dropout: nn.Dropout(0.25, rng=3),
        nn.Bidirectional: nn.Bidirectional(nn.GRU(3, 2), merge="sum"),
        nn.Embedding: nn.Embedding(7, 3),
        nn.Flatten: nn.Flatten(),
        nn.GRU: nn.GRU(3, 5, 2, bidirectional=True),
        nn.LSTM: nn.LSTM(3, 5, 2, dropout=0.5),
        nn.RNN: nn.RNN(3, 5, nonlinearity="relu"),
        nn.GRUCell: nn.GRUCell(2, 3),
        nn.LSTMCell: nn.LSTMCell(3, 5),
        nn.Linear: nn.Linear(3, 2, bias=False),
        nn.LogSoftmax: nn.LogSoftmax(axis=1),
        nn.MSELoss: nn.MSELoss(reduction="sum"),
        nn.MaxPool2d: nn.MaxPool2d(3, 2, padding=1),
        nn.RNNCell: nn.RNNCell(2, 4, nonlinearity="relu"),
        nn.ReLU: nn.ReLU(),
        nn.Sequential: nn.Sequential(nn.Linear(1, 2), nn.Sequential(nn.ReLU())),
        nn.Sigmoid: nn.Sigmoid(),
        nn.Softmax: nn.Softmax(axis=0),
        nn.Tanh: nn.Tanh(),
        nn.TimeDistributed: nn.TimeDistributed(nn.Sequential(nn.Linear(2, 3))),
    }
    exported = {getattr(nn, name) for name in nn.__all__} - {nn.Module, nn.Parameter}
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


def test_missing_places(tmp_path):
    with pytest.raises(FileNotFoundError):
        lm.load(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError):
        lm.save(small(), tmp_path / "no-folder" / "net.safetensors")
    with pytest.raises(IsADirectoryError):
        lm.load(tmp_path)


def test_every_truncation_is_refused(path, saved):
    for length in range(len(saved)):
        path.write_bytes(saved[:length])
        for load in (lm.load, io.load_weights):
            with pytest.raises(ValueError, match=r"net\.safetensors: "):
                load(path)


def test_anything_appended_is_refused(path, saved):
    for extra in (b"\0", saved):
        path.write_bytes(saved + extra)
        with pytest.raises(ValueError, match=r"net\.safetensors: "):
            lm.load(path)


def test_every_flipped_bit_is_refused_or_harmless(path, saved):
    """One bit of each byte: an error, or (in blanks and the like) the same model."""
    model, harmless = small(), 0
    for place in range(len(saved)):
        data = bytearray(saved)
        data[place] ^= 1 << (place * 5 % 8)
        path.write_bytes(data)
        try:
            loaded = lm.load(path)
        except ValueError:
            continue
        same(model, loaded)
        harmless += 1
    assert harmless < 20


@settings(deadline=None)
@given(st.data())
def test_damage_is_refused_or_harmless(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("fuzz") / "net.safetensors"
    lm.save(small(), path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        start = data.draw(st.integers(0, len(content)))
        end = data.draw(st.integers(start, min(start + 20, len(content))))
        content[start:end] = data.draw(st.binary(max_size=20))
    path.write_bytes(content)
    try:
        loaded = lm.load(path)
    except ValueError:
        return
    same(small(), loaded)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"", "header is not valid JSON"),
        (b"[]", "header is list, not an object"),
        (b"\xff\xfe", "header is not valid JSON"),
        (b"[" * 100_000, "header is not valid JSON"),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "header is not valid JSON"),
        (b'{"a": 1, "a": 2}', "a name appears twice"),
        (b'{"a": ' + b"9" * 5000 + b"}", "net.safetensors"),
        ({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, "damaged"),
        ({"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, "damaged"),
        ({"w": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 4]}}, "damaged"),
        ({"w": {"dtype": "F32", "shape": [1e300], "data_offsets": [0, 4]}}, "damaged"),
        ({"w": {"dtype": "X32", "shape": [1], "data_offsets": [0, 4]}}, "damaged"),
        ({"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, "damaged"),
        ({"w": {"dtype": "F32", "shape": [1]}}, "damaged"),
        ({"w": 3}, "damaged"),
        ({"__metadata__": {"lamina": 3}}, "damaged"),
        ({"__metadata__": [1]}, "damaged"),
        (b'{"w": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 4]}}', "NaN is not a number"),
        (b'{"w": {"dtype": "F32", "shape": [1e999], "data_offsets": [0, 4]}}', "1e999 is too large"),
    ],
)
def test_hostile_headers(path, header, message):
    write(path, header, b"\0\0\0\0")
    for load in (lm.load, io.load_weights):
        with pytest.raises(ValueError, match=message):
            load(path)


def test_header_longer_than_allowed(path, monkeypatch):
    path.write_bytes(struct.pack("<Q", 2**63) + b"{}")
    with pytest.raises(ValueError, match="truncated"):
        lm.load(path)
    monkeypatch.setattr(io, "_HEADER_LIMIT", 100)
    write(path, b" " * 101)
    with pytest.raises(ValueError, match="a header of 101 bytes, more than the 100 allowed"):
        lm.load(path)


def test_foreign_file(path):
    path.write_bytes(pack({"w": np.ones(3, np.float32)}, metadata={"format": "pt"}))
    assert io.load_weights(path)["w"].tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match=r"not of a lamina model; build the model yourself and use"):
        lm.load(path)


def test_type_that_numpy_lacks(path):
    write(path, {"w": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}, b"\0\0\0\0")
    with pytest.raises(ValueError, match="a type that NumPy does not have"):
        io.load_weights(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "description of the model is not valid JSON"),
        ("[]", "description of the model is list"),
        ("[" * 100_000, "description of the model is not valid JSON"),
        ('{"format": NaN}', "NaN is not a number"),
        ('{"format": 1e999}', "1e999 is too large"),
        ('{"format": 1, "format": 1}', "a name appears twice"),
        ("{}", "file format None, this lamina reads 1"),
        ('{"format": 2}', "file format 2, this lamina reads 1; install a newer lamina"),
        ('{"format": "1"}', "file format '1', this lamina reads 1$"),
        ('{"format": 1}', "do not match their SHA-256"),
        ('{"format": 1, "sha256": 5}', "do not match their SHA-256"),
    ],
)
def test_hostile_descriptions(path, text, message):
    path.write_bytes(pack({"w": np.ones(3, np.float32)}, metadata={"lamina": text}))
    with pytest.raises(ValueError, match=message):
        lm.load(path)


def test_description_longer_than_allowed(path, monkeypatch):
    monkeypatch.setattr(io, "_DESCRIPTION_LIMIT", 50)
    with pytest.raises(ValueError, match=r"description of the model takes \d+ bytes, more than 50"):
        lm.save(small(), path)
    path.write_bytes(pack({}, metadata={"lamina": " " * 51}))
    with pytest.raises(ValueError, match="longer than 50 bytes"):
        lm.load(path)


LINEAR = {"in_features": 2, "out_features": 3, "bias": True}


def _both_ways(layer):
    return {"class": "Bidirectional", "config": {"layer": {"module": layer}}}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (None, "described by NoneType, expected an object"),
        ({}, "unknown layer 'None'"),
        ({"class": "Lineal"}, "unknown layer 'Lineal'; a newer lamina may know it"),
        ({"class": "Module"}, "unknown layer 'Module'"),
        ({"class": "__builtins__"}, "unknown layer '__builtins__'"),
        ({"class": ["Linear"]}, "unknown layer"),
        ({"class": "x" * 10_000}, "unknown layer 'x{200}'"),
        ({"class": "Linear"}, "Linear cannot be built from {}"),
        ({"class": "Linear", "config": [2, 3]}, "config must be an object"),
        ({"class": "Linear", "config": {**LINEAR, "colour": 1}}, "Linear cannot be built from .*colour"),
        ({"class": "Linear", "config": {**LINEAR, "in_features": -2}}, "Linear cannot be built"),
        ({"class": "Linear", "config": {**LINEAR, "in_features": 2.5}}, "Linear cannot be built"),
        ({"class": "Linear", "config": {**LINEAR, "in_features": "2"}}, "Linear cannot be built"),
        (
            {"class": "Linear", "config": {**LINEAR, "in_features": 10**9}},
            "in_features is 1000000000, too large for the 15 weights",
        ),
        ({"class": "Linear", "config": {**LINEAR, "in_features": 10**100}}, "in_features is 10+, too large"),
        (
            {"class": "Linear", "config": {"in_features": 60000, "out_features": 60000}},
            "takes more weights than there",
        ),
        (
            {"class": "Conv2d", "config": {"in_channels": 1, "out_channels": 1, "kernel_size": 5000}},
            "more weights",
        ),
        ({"class": "LSTMCell", "config": {"input_size": 1, "hidden_size": 50000}}, "more weights"),
        ({"class": "Embedding", "config": {"num_embeddings": 50000, "embedding_dim": 50000}}, "more weights"),
        ({"class": "Sequential", "modules": [{"class": "Linear", "config": LINEAR}] * 20000}, "more weights"),
        (_both_ways(_both_ways({"class": "ReLU"})), "Bidirectional cannot be built from"),
        ({"repeat": 0}, "repeats number 0, but 0 stand before it"),
        ({"repeat": -1}, "repeats number -1"),
        ({"repeat": "0"}, "repeats number 0"),
        ({"class": "Sequential", "modules": 3}, "modules a list"),
        ({"class": "Sequential", "modules": [3]}, "described by int"),
        ({"custom": "mine.Net"}, r"class mine.Net, which is not lamina's: build the model yourself"),
        ({"custom": {"a": 1}}, "which is not lamina's"),
    ],
)
def test_hostile_architectures(path, saved, model, message):
    def change(description):
        description["model"] = model

    rewrite(path, change)
    with pytest.raises(ValueError, match=rf"net\.safetensors: .*{message}"):
        lm.load(path)


def test_deep_nesting_is_refused(path, saved):
    def change(description):
        for _ in range(100):
            description["model"] = {"class": "Sequential", "modules": [description["model"]]}

    rewrite(path, change)
    with pytest.raises(ValueError, match="nested more than 32 deep"):
        lm.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("0.bias"), "0.bias is missing"),
        (lambda w: w.update(extra=np.ones(1, np.float32)), "extra is unknown"),
        (lambda w: w.update({"0.bias": np.ones(4, np.float32)}), r"0.bias.*\(4,\)"),
        (
            lambda w: w.update({"0.bias": np.ones(3, np.int32)}),
            "0.bias is int32, expected float32 or float64",
        ),
    ],
)
def test_weights_that_do_not_fit(path, saved, change, message):
    weights = dict(unpack(saved))
    change(weights)
    rewrite(path, lambda description: None, weights)
    with pytest.raises(ValueError, match=rf"net\.safetensors: .*{message}"):
        lm.load(path)


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
