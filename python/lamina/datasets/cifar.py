"""CIFAR-10: 60,000 colour photographs of 32x32 pixels in ten classes."""

from __future__ import annotations

import io
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.datasets import _files
from lamina.datasets.images import Images, assemble

_URLS = ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",)
_ARCHIVE = "cifar-10-binary.tar.gz"
_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
_ARCHIVE_LIMIT = 256 << 20
_BATCHES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
_RECORD = 1 + 3 * 32 * 32  # the label, then the red, the green and the blue plane
_BATCH_BYTES = 10000 * _RECORD
_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# what zipfile and NumPy raise for archives that are cut off, altered or hostile
_DAMAGE = (KeyError, EOFError, ValueError, zlib.error, zipfile.BadZipFile, MemoryError, RuntimeError)

Labelled = tuple[npt.NDArray[np.uint8], npt.NDArray[Any]]


def cifar10(*, as_float: bool = True) -> Images:
    """CIFAR-10: 50,000 and 10,000 images, (N, 32, 32, 3).

    In $LAMINA_DATA/cifar10, $LAMINA_DATA, the system's share/datasets/cifar10 and the cache, three forms
    are accepted: the official binary version as `cifar-10-binary.tar.gz` (SHA-256 checked), its unpacked
    `data_batch_1.bin` ... `test_batch.bin` (also inside `cifar-10-batches-bin/`), or
    `cifar10_train_jpeg.npz` and `cifar10_test_jpeg.npz`, which hold JPEG bytes (`jpeg`, `offsets`,
    `labels`) and need Pillow. Else the archive is downloaded. The "python version" is a pickle and never
    read. Raises FileNotFoundError offline, ValueError for damaged files.

    Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """
    train, test = _load()
    return assemble(*train, *test, _NAMES, as_float, 255)


def _load() -> tuple[Labelled, Labelled]:
    for folder in _files.roots("cifar10"):
        for batches in (folder, folder / "cifar-10-batches-bin"):
            if all((batches / name).is_file() for name in _BATCHES):
                return _decode(
                    [_files.read_bytes(batches / name, _BATCH_BYTES) for name in _BATCHES], batches
                )
        if (folder / _ARCHIVE).is_file():
            return _read_archive(folder / _ARCHIVE)
        packed = [folder / f"cifar10_{part}_jpeg.npz" for part in ("train", "test")]
        if all(path.is_file() for path in packed):
            return _read_jpegs(packed[0], 50000), _read_jpegs(packed[1], 10000)
    return _read_archive(_fetch())


def _fetch() -> Path:
    by_hand = (
        f'By hand: get the "binary version", {_ARCHIVE} (the python version is a pickle, which is never '
        f"read), put it into a folder and set LAMINA_DATA to it, or into {_files.cache_dir() / 'cifar10'}."
    )
    return _files.download("cifar10", _ARCHIVE, _URLS, _checked_archive, by_hand)


def _checked_archive(path: Path) -> bytes:
    if path.stat().st_size > _ARCHIVE_LIMIT:
        raise ValueError(f"{path}: more than the {_ARCHIVE_LIMIT:,} bytes that this file may have")
    data = path.read_bytes()
    _files.check_sha256(data, _SHA256, path)
    return data


def _read_archive(path: Path) -> tuple[Labelled, Labelled]:
    """Read the members into memory; nothing is unpacked to disk, so their paths do no harm."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(_checked_archive(path)), mode="r:gz") as archive:
            for member in archive:
                name = Path(member.name).name
                if name in _BATCHES and member.isfile() and member.size == _BATCH_BYTES:
                    stream = archive.extractfile(member)
                    found[name] = stream.read() if stream else b""
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: damaged archive ({error})") from error
    missing = [name for name in _BATCHES if name not in found]
    if missing:
        raise ValueError(f"{path}: no {', '.join(missing)} of {_BATCH_BYTES:,} bytes inside")
    return _decode([found[name] for name in _BATCHES], path)


def _decode(batches: list[Any], source: Path) -> tuple[Labelled, Labelled]:
    """Records of a label and three planes (C, H, W) -> images (N, H, W, C) and labels."""
    for name, data in zip(_BATCHES, batches, strict=True):
        if len(data) != _BATCH_BYTES:
            raise ValueError(f"{source}: {name} has {len(data):,} bytes, expected {_BATCH_BYTES:,}")
    records = [np.frombuffer(data, np.uint8).reshape(-1, _RECORD) for data in batches]
    train, test = np.concatenate(records[:5]), records[5]
    _check_labels(train[:, 0], source)
    _check_labels(test[:, 0], source)
    return _planes_last(train), _planes_last(test)


def _planes_last(records: npt.NDArray[np.uint8]) -> Labelled:
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), records[:, 0]


def _check_labels(labels: npt.NDArray[Any], source: Path) -> None:
    if labels.size and (labels.min() < 0 or labels.max() > 9):
        raise ValueError(f"{source}: labels run from {labels.min()} to {labels.max()}, expected 0 to 9")


def _read_jpegs(path: Path, count: int) -> Labelled:
    """The `count` images of an npz archive: `jpeg` (all bytes), `offsets` (count + 1), `labels` (count)."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            f'cifar10: {path} holds JPEGs, which need Pillow: pip install "lamina[data]"'
        ) from error
    data, offsets, labels = _read_npz(path)
    if offsets.shape != (count + 1,) or labels.shape != (count,):
        raise ValueError(
            f"{path}: offsets {offsets.shape} and labels {labels.shape} do not fit {count:,} images"
        )
    ends = offsets.astype(np.int64)
    if ends[0] != 0 or ends[-1] != data.size or (np.diff(ends) <= 0).any():
        raise ValueError(f"{path}: offsets do not rise from 0 to the {data.size:,} bytes of `jpeg`")
    _check_labels(labels, path)
    images = np.empty((count, 32, 32, 3), np.uint8)
    packed = data.tobytes()
    for i in range(count):
        try:
            with Image.open(io.BytesIO(packed[ends[i] : ends[i + 1]]), formats=["JPEG"]) as picture:
                if picture.size != (32, 32):
                    raise ValueError(f"{picture.size[0]}x{picture.size[1]} pixels, expected 32x32")
                images[i] = picture.convert("RGB")
        except (OSError, ValueError, SyntaxError) as error:
            raise ValueError(f"{path}: image {i} cannot be decoded ({error})") from error
    return images, labels


def _read_npz(path: Path) -> list[npt.NDArray[Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _ARCHIVE_LIMIT:
                raise ValueError(f"unpacks to more than {_ARCHIVE_LIMIT:,} bytes")
        with np.load(path, allow_pickle=False) as stored:
            arrays = [np.asarray(stored[key]) for key in ("jpeg", "offsets", "labels")]
    except _DAMAGE as error:
        raise ValueError(f"{path}: not an archive of jpeg, offsets and labels ({error})") from error
    if (
        any(array.ndim != 1 or array.dtype.kind not in "ui" for array in arrays)
        or arrays[0].dtype != np.uint8
    ):
        raise ValueError(f"{path}: jpeg, offsets and labels must be 1-D integers, jpeg uint8")
    return arrays
