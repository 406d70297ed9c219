"""Image sets: 8x8 digits shipped with the package, MNIST and Fashion-MNIST."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lamina.datasets import _files
from lamina.datasets.idx import parse_idx


class Images(NamedTuple):
    """Labelled images, split for training and testing.

    x_train, x_test: (N, H, W, C), float32 in [0, 1], or uint8 as stored if loaded with as_float=False.
    y_train, y_test: (N,), int64. classes: the name of each label.
    """

    x_train: npt.NDArray[Any]
    y_train: npt.NDArray[np.int64]
    x_test: npt.NDArray[Any]
    y_test: npt.NDArray[np.int64]
    classes: tuple[str, ...]

    def __repr__(self) -> str:
        return (
            f"Images(x_train {self.x_train.shape} {self.x_train.dtype}, x_test {self.x_test.shape}, "
            f"{len(self.classes)} classes)"
        )


class _Part(NamedTuple):
    """One idx file: its shape, and the SHA-256 of the decompressed bytes.

    Mirrors compress the same bytes differently, so it is the contents that are checked.
    """

    stem: str
    shape: tuple[int, ...]
    sha256: str


_MNIST_URLS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_MNIST = (
    _Part(
        "train-images-idx3-ubyte",
        (60000, 28, 28),
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    _Part(
        "train-labels-idx1-ubyte",
        (60000,),
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    _Part(
        "t10k-images-idx3-ubyte",
        (10000, 28, 28),
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    _Part(
        "t10k-labels-idx1-ubyte",
        (10000,),
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)
_FASHION_URLS = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
)
_FASHION = (
    _Part(
        "train-images-idx3-ubyte",
        (60000, 28, 28),
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    _Part(
        "train-labels-idx1-ubyte",
        (60000,),
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    _Part(
        "t10k-images-idx3-ubyte",
        (10000, 28, 28),
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    _Part(
        "t10k-labels-idx1-ubyte",
        (10000,),
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
)
_DIGIT_NAMES = tuple("0123456789")
_FASHION_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def digits(*, as_float: bool = True) -> Images:
    """1,797 handwritten digits of 8x8 pixels, shipped with the package: no download.

    The images keep their order: the first 1,437 are for training, the last 360 for testing. As stored
    (as_float=False) pixels run from 0 to 16.

    Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository, 1998 (the test set). Licence: CC BY 4.0.
    """
    with np.load(Path(__file__).with_name("digits.npz"), allow_pickle=False) as stored:
        pixels, labels = stored["images"], stored["labels"]
    split = 1437
    return assemble(
        pixels[:split], labels[:split], pixels[split:], labels[split:], _DIGIT_NAMES, as_float, 16
    )


def mnist(*, as_float: bool = True) -> Images:
    """MNIST: 60,000 and 10,000 handwritten digits, (N, 28, 28, 1).

    Searched as `train-images-idx3-ubyte` and so on, with or without `.gz`, in $LAMINA_DATA/mnist, the
    system's share/datasets/mnist and the cache, else downloaded. The SHA-256 of the contents is checked
    each time. Raises FileNotFoundError offline, ValueError for files that differ.

    Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
    recognition", Proceedings of the IEEE 86(11), 1998.
    """
    return _load_idx("mnist", _MNIST, _MNIST_URLS, _DIGIT_NAMES, as_float)


def fashion_mnist(*, as_float: bool = True) -> Images:
    """Fashion-MNIST: 60,000 and 10,000 pieces of clothing, (N, 28, 28, 1), found as `mnist` is.

    Debian's package `dataset-fashion-mnist` is found where it installs itself.

    Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine
    learning algorithms", 2017. Licence: MIT.
    """
    return _load_idx("fashion_mnist", _FASHION, _FASHION_URLS, _FASHION_NAMES, as_float)


def _load_idx(
    name: str, parts: tuple[_Part, ...], urls: tuple[str, ...], classes: tuple[str, ...], as_float: bool
) -> Images:
    x_train, y_train, x_test, y_test = (_load_part(name, part, urls) for part in parts)
    return assemble(x_train, y_train, x_test, y_test, classes, as_float, 255)


def _load_part(name: str, part: _Part, urls: tuple[str, ...]) -> npt.NDArray[Any]:
    path = _files.find(name, (part.stem + ".gz", part.stem), flat=False)
    if path is None:
        filename = part.stem + ".gz"
        by_hand = (
            f"By hand: put the four official files ({filename}, ...) into a folder {name}/ "
            f"and set LAMINA_DATA to the folder above it, or into {_files.cache_dir() / name}."
        )
        sources = [url + filename for url in urls]
        path = _files.download(name, filename, sources, lambda file: _parse_part(file, part), by_hand)
    return _parse_part(path, part)


def _parse_part(path: Path, part: _Part) -> npt.NDArray[Any]:
    data = _files.read_bytes(path, limit=4 + 4 * len(part.shape) + math.prod(part.shape))
    values = parse_idx(data, str(path))
    if values.shape != part.shape or values.dtype != np.uint8:
        raise ValueError(
            f"{path}: expected uint8 of shape {part.shape}, got {values.dtype} of shape {values.shape}"
        )
    _files.check_sha256(data, part.sha256, path)
    return values


def assemble(
    x_train: npt.NDArray[np.uint8],
    y_train: npt.NDArray[Any],
    x_test: npt.NDArray[np.uint8],
    y_test: npt.NDArray[Any],
    classes: tuple[str, ...],
    as_float: bool,
    white: int,
) -> Images:
    """Images (N, H, W) or (N, H, W, C) of bytes 0..white and their labels, in the form users get."""
    return Images(
        _pixels(x_train, as_float, white),
        y_train.astype(np.int64),
        _pixels(x_test, as_float, white),
        y_test.astype(np.int64),
        classes,
    )


def _pixels(x: npt.NDArray[np.uint8], as_float: bool, white: int) -> npt.NDArray[Any]:
    x = x[..., np.newaxis] if x.ndim == 3 else x
    return np.divide(x, np.float32(white), dtype=np.float32) if as_float else x
