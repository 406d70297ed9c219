"""Files that are damaged, hostile or of another kind: `load` refuses them and says why."""

import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load as unpack
from safetensors.numpy import save as pack

import lamina as lm
from lamina import io
from tests.test_io import same, small


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
    with pytest.raises(ValueError, match=r"save: load would refuse .*longer than 50 bytes"):
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
