import gzip
import hashlib
import io
import tarfile

import numpy as np
import pytest

from lamina import datasets
from lamina.datasets import _files, cifar, texts


def put(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def test_digits():
    data = datasets.digits()
    assert data.x_train.shape == (1437, 8, 8, 1)
    assert data.x_test.shape == (360, 8, 8, 1)
    assert data.x_train.dtype == np.float32
    assert data.y_train.dtype == np.int64
    assert data.x_train.min() == 0
    assert data.x_train.max() == 1
    assert data.y_train[:10].tolist() == list(range(10))
    assert set(data.y_test) == set(range(10))
    raw = datasets.digits(as_float=False)
    assert raw.x_train.dtype == np.uint8
    np.testing.assert_array_equal(raw.x_train, data.x_train * 16)
    assert raw.x_train[0, :, :, 0].tolist() == [  # a zero, as published
        [0, 0, 5, 13, 9, 1, 0, 0],
        [0, 0, 13, 15, 10, 15, 5, 0],
        [0, 3, 15, 2, 0, 11, 8, 0],
        [0, 4, 12, 0, 0, 8, 8, 0],
        [0, 5, 8, 0, 0, 9, 8, 0],
        [0, 4, 11, 0, 1, 12, 7, 0],
        [0, 2, 14, 5, 10, 12, 0, 0],
        [0, 0, 6, 13, 10, 0, 0, 0],
    ]


@pytest.mark.parametrize("place", ["own/mnist", "system/datasets/mnist", "cache/mnist"])
@pytest.mark.parametrize("zipped", [False, True])
def test_mnist_is_found(tmp_path, tiny_mnist, place, zipped):
    files = {f"{k}.gz": gzip.compress(v) for k, v in tiny_mnist.items()} if zipped else tiny_mnist
    put(tmp_path / place, files)
    data = datasets.mnist(as_float=False)
    assert data.x_train.shape == (2, 28, 28, 1)
    assert data.x_train.tobytes() == tiny_mnist["train-images-idx3-ubyte"][16:]
    assert data.y_train.tolist() == [3, 9]
    assert data.y_test.dtype == np.int64
    scaled = datasets.mnist()
    np.testing.assert_allclose(scaled.x_train, data.x_train / 255.0, rtol=1e-7)


def test_own_copy_goes_first(tmp_path, tiny_mnist):
    put(tmp_path / "own" / "mnist", tiny_mnist)
    put(tmp_path / "cache" / "mnist", dict.fromkeys(tiny_mnist, b"never read"))
    assert datasets.mnist().y_train.tolist() == [3, 9]


def test_fashion_is_not_taken_for_mnist(tmp_path, tiny_mnist):
    put(tmp_path / "own", tiny_mnist)
    with pytest.raises(FileNotFoundError, match="fashion_mnist"):
        datasets.fashion_mnist()


def test_altered_file_is_refused(tmp_path, tiny_mnist):
    name = "train-images-idx3-ubyte"
    data = bytearray(tiny_mnist[name])
    data[100] ^= 1
    put(tmp_path / "own" / "mnist", {**tiny_mnist, name: bytes(data)})
    with pytest.raises(ValueError, match=rf"{name}: not the official file: its SHA-256 is"):
        datasets.mnist()


def test_longer_file_is_refused(tmp_path, tiny_mnist):
    name = "t10k-labels-idx1-ubyte"
    put(tmp_path / "own" / "mnist", {**tiny_mnist, name: tiny_mnist[name] + b"\x00"})
    with pytest.raises(ValueError, match=f"{name}: more than the 9 bytes"):
        datasets.mnist()


@pytest.fixture
def batches(monkeypatch):
    """The six binary files, 100 images each: labels 0..9, pixel (0, 0) is label + (0, 10, 20)."""
    records = np.zeros((100, cifar._RECORD), np.uint8)
    monkeypatch.setattr(cifar, "_BATCH_BYTES", records.nbytes)
    records[:, 0] = np.arange(100) % 10
    for plane in range(3):
        records[:, 1 + 1024 * plane] = records[:, 0] + 10 * plane
    return dict.fromkeys(cifar._BATCHES, records.tobytes())


@pytest.mark.parametrize("inner", ["", "cifar-10-batches-bin"])
def test_cifar_binary(tmp_path, batches, inner):
    put(tmp_path / "own" / "cifar10" / inner, batches)
    data = datasets.cifar10(as_float=False)
    assert data.x_train.shape == (500, 32, 32, 3)
    assert data.x_test.shape == (100, 32, 32, 3)
    assert data.y_test[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert data.x_train[7, 0, 0].tolist() == [7, 17, 27]
    assert not data.x_train[:, 1:].any()
    assert data.classes[1] == "automobile"


def test_cifar_batch_cut_off(tmp_path, batches):
    batches["data_batch_3.bin"] = batches["data_batch_3.bin"][:-1]
    put(tmp_path / "own", batches)
    with pytest.raises(ValueError, match=r"data_batch_3.bin has 307,299 bytes, expected 307,300"):
        datasets.cifar10()


def test_cifar_label_out_of_range(tmp_path, batches):
    batches["test_batch.bin"] = b"\x0b" + batches["test_batch.bin"][1:]
    put(tmp_path / "own", batches)
    with pytest.raises(ValueError, match="labels run from 0 to 11, expected 0 to 9"):
        datasets.cifar10()


def archive(members):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


def test_cifar_archive(tmp_path, batches, monkeypatch):
    data = archive({f"../../cifar-10-batches-bin/{k}": v for k, v in batches.items()})
    put(tmp_path / "own", {cifar._ARCHIVE: data})
    with pytest.raises(ValueError, match=r"cifar-10-binary.tar.gz: not the official file"):
        datasets.cifar10()
    monkeypatch.setattr(cifar, "_SHA256", hashlib.sha256(data).hexdigest())
    assert datasets.cifar10(as_float=False).x_test[9, 0, 0].tolist() == [9, 19, 29]
    assert [p.name for p in tmp_path.rglob("*.bin")] == []  # nothing is unpacked to disk


@pytest.mark.parametrize("members", [{}, {"data_batch_1.bin": b"short"}])
def test_cifar_archive_without_batches(tmp_path, monkeypatch, members):
    data = archive(members)
    put(tmp_path / "own", {cifar._ARCHIVE: data})
    monkeypatch.setattr(cifar, "_SHA256", hashlib.sha256(data).hexdigest())
    with pytest.raises(ValueError, match=r"no data_batch_1.bin, .*test_batch.bin of 30,730,000 bytes"):
        datasets.cifar10()


def jpegs(colours, size=(32, 32)):
    image = pytest.importorskip("PIL.Image")
    packed = []
    for colour in colours:
        stream = io.BytesIO()
        image.new("RGB", size, colour).save(stream, "JPEG", quality=95)
        packed.append(stream.getvalue())
    offsets = np.cumsum([0, *map(len, packed)]).astype(np.uint32)
    return {"jpeg": np.frombuffer(b"".join(packed), np.uint8), "offsets": offsets}


def test_cifar_jpeg(tmp_path):
    np.savez(tmp_path / "a.npz", **jpegs([(200, 30, 10), (0, 0, 250)]), labels=np.array([4, 2], np.uint8))
    pixels, labels = cifar._read_jpegs(tmp_path / "a.npz", 2)
    assert labels.tolist() == [4, 2]
    assert pixels.shape == (2, 32, 32, 3)
    np.testing.assert_allclose(pixels[0, 5, 5], [200, 30, 10], atol=3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offsets": np.array([0, 10], np.uint32)}, "do not fit 2 images"),
        ({"offsets": np.array([0, 2**31, 2**32 - 1], np.uint32)}, "offsets do not rise"),
        ({"offsets": np.array([0, 0, 700], np.uint32)}, "offsets do not rise"),
        ({"labels": np.array([4, 10], np.uint8)}, "labels run from 4 to 10"),
        ({"labels": np.array([4.0, 1.0])}, "must be 1-D integers"),
        (
            {"jpeg": np.zeros(100, np.uint8), "offsets": np.array([0, 50, 100], np.uint32)},
            "image 0 cannot be",
        ),
        ({"jpeg": np.array([None], object)}, "not an archive"),
    ],
)
def test_cifar_jpeg_refuses(tmp_path, change, message):
    arrays = {**jpegs([(1, 2, 3), (4, 5, 6)]), "labels": np.array([0, 1], np.uint8), **change}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        cifar._read_jpegs(tmp_path / "a.npz", 2)


def test_cifar_jpeg_of_wrong_size(tmp_path):
    np.savez(tmp_path / "a.npz", **jpegs([(1, 2, 3)], (64, 32)), labels=np.array([0], np.uint8))
    with pytest.raises(ValueError, match="64x32 pixels, expected 32x32"):
        cifar._read_jpegs(tmp_path / "a.npz", 1)


def test_cifar_jpeg_truncated(tmp_path):
    np.savez(tmp_path / "a.npz", **jpegs([(1, 2, 3)]), labels=np.array([0], np.uint8))
    whole = (tmp_path / "a.npz").read_bytes()
    for length in range(0, len(whole), 97):
        (tmp_path / "a.npz").write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"a.npz: not an archive"):
            cifar._read_jpegs(tmp_path / "a.npz", 1)


def test_text(tmp_path, monkeypatch):
    string = "First Citizen:\nBefore we proceed"
    source = texts._SOURCES["tinyshakespeare"]._replace(
        size=len(string), sha256=hashlib.sha256(string.encode()).hexdigest()
    )
    monkeypatch.setitem(texts._SOURCES, "tinyshakespeare", source)
    put(tmp_path / "own", {"tinyshakespeare.txt": string.encode()})
    data = datasets.text("tinyshakespeare")
    assert data.text == string
    assert data.characters == "".join(sorted(set(string)))
    assert "".join(data.characters[i] for i in data.codes) == string
    put(tmp_path / "own", {"tinyshakespeare.txt": string.encode()[::-1]})
    with pytest.raises(ValueError, match="not the official file"):
        datasets.text("tinyshakespeare")


def test_encode_takes_any_string():
    assert datasets.encode("žába 😀").characters == " abáž😀"
    assert datasets.encode("").codes.shape == (0,)


def test_unknown_text():
    with pytest.raises(ValueError, match="unknown name 'hamlet', expected one of \\['tinyshakespeare'\\]"):
        datasets.text("hamlet")


def test_cache_folder(monkeypatch, tmp_path):
    assert _files.cache_dir() == tmp_path / "cache"
    monkeypatch.delenv("LAMINA_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert _files.cache_dir() == tmp_path / "xdg" / "lamina"
