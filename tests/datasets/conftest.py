"""No network, and a MNIST of three images."""

import hashlib

import numpy as np
import pytest

from lamina.datasets import cifar, images


def idx_bytes(array):
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """No data set but what a test puts there, and no network."""
    monkeypatch.setenv("LAMINA_DATA", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path / "system"))
    monkeypatch.setenv("LAMINA_CACHE", str(tmp_path / "cache"))
    for module, name in ((images, "_MNIST_URLS"), (images, "_FASHION_URLS"), (cifar, "_URLS")):
        monkeypatch.setattr(module, name, ("http://127.0.0.1:9/",))


@pytest.fixture
def tiny_mnist(monkeypatch):
    """Official-looking files of two and one images: {file name: bytes}."""
    rng = np.random.default_rng(0)
    arrays = [
        rng.integers(0, 256, (2, 28, 28)).astype(np.uint8),
        np.array([3, 9], np.uint8),
        rng.integers(0, 256, (1, 28, 28)).astype(np.uint8),
        np.array([0], np.uint8),
    ]
    files, parts = {}, []
    for part, array in zip(images._MNIST, arrays, strict=True):
        data = idx_bytes(array)
        files[part.stem] = data
        parts.append(images._Part(part.stem, array.shape, hashlib.sha256(data).hexdigest()))
    monkeypatch.setattr(images, "_MNIST", tuple(parts))
    return files
