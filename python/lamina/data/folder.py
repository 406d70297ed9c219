"""Images in files, read when a batch needs them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina import config
from lamina.data.labels import encode_labels
from lamina.ops import _check as check

Array = npt.NDArray[Any]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


class ImageFiles:
    """Images (N, H, W, C) as float32 in [0, 1], each read from its file when it is taken.

    Nothing is kept: `Loader(ImageFiles(...))` holds a few batches, however many files there are. Needs
    Pillow (`pip install "lamina[data]"`).

    Args:
        paths: the files.
        labels: one for each: texts, which become numbers in order of the alphabet (see `classes`), or
            integers.
        size: (H, W) to which every image is brought; None: all must have the size of the first.
        fit: "crop" cuts the middle out of images of another shape, "stretch" distorts them.
        channels: 3 (colours, default) or 1 (grey).
        classes: the texts that may occur, in the order of their numbers; None: those that do.
        broken: what becomes of a file that cannot be read: "raise" an error that names it (default), or
            "skip": it is left out of its batch, named in a warning and kept in the list `skipped`.

    Raises:
        ImportError: no Pillow. ValueError: no files, another number of labels, options out of range; from
        `take`, a file that cannot be read or has another size.
    """

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        labels: Sequence[Any] | npt.ArrayLike,
        *,
        size: tuple[int, int] | int | None = None,
        fit: str = "crop",
        channels: int = 3,
        classes: Sequence[str] | None = None,
        broken: str = "raise",
    ) -> None:
        _pillow()
        self.paths = [Path(path) for path in paths]
        self.labels, self.classes = _numbers(labels, classes, len(self.paths))
        self.size = None if size is None else check.pair("ImageFiles", "size", size, 1)
        self.fit = check.choice("ImageFiles", "fit", fit, ("crop", "stretch"))
        if channels not in (1, 3):
            raise ValueError(f"ImageFiles: channels is {channels!r}, expected 1 or 3")
        self.channels = channels
        self.broken = check.choice("ImageFiles", "broken", broken, ("raise", "skip"))
        self.skipped: list[Path] = []
        self._first: tuple[tuple[int, int], Path] | None = None  # the size that all must have

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: Any) -> tuple[Array, Array]:
        """Images (n, H, W, C), float32, and labels (n,), int64, of the files with these numbers."""
        images, labels = [], []
        for row in np.arange(len(self))[rows].tolist():
            image = self._read(self.paths[row])
            if image is not None:
                images.append(image)
                labels.append(self.labels[row])
        if not images:
            return np.empty((0, *(self.size or (0, 0)), self.channels), np.float32), np.empty(0, np.int64)
        return np.stack(images), np.array(labels, np.int64)

    def split(self, share: float, *, seed: int | None = None) -> tuple[ImageFiles, ImageFiles]:
        """Two disjoint parts drawn at random: the rest, and round(share * n) files.

        ValueError if one of them would be empty.
        """
        share, n = check.number("split", "share", share, below=1), len(self)
        held_out = round(share * n)
        if not 0 < held_out < n:
            raise ValueError(f"split: share={share} of {n} files leaves one part empty")
        rng = config.rng() if seed is None else config.seeded("split: seed", seed)
        order = rng.permutation(n)
        return self._part(np.sort(order[held_out:])), self._part(np.sort(order[:held_out]))

    def _part(self, rows: Array) -> ImageFiles:
        part = object.__new__(ImageFiles)
        vars(part).update(vars(self))
        part.paths, part.labels = [self.paths[i] for i in rows], self.labels[rows]
        part.skipped = []
        return part

    def _read(self, path: Path) -> Array | None:
        """An image (H, W, C), or None if it cannot be read and may be left out."""
        from PIL import Image, ImageOps

        try:
            with Image.open(path) as file:
                # As it is meant to be seen: cameras store it turned, and say so beside.
                image = _in_bytes(ImageOps.exif_transpose(file), file.format, self.channels)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            self._leave_out(path, error)
            return None
        if self.size is not None:
            image = self._sized(image)
        self._check_size(path, (image.height, image.width))
        pixels: Array = np.asarray(image, np.float32) / np.float32(255)
        return pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], self.channels, axis=2)

    def _sized(self, image: Any) -> Any:
        from PIL import Image, ImageOps

        assert self.size is not None
        wanted = (self.size[1], self.size[0])
        if image.size == wanted:
            return image
        if self.fit == "stretch":
            return image.resize(wanted, Image.Resampling.BILINEAR)
        return ImageOps.fit(image, wanted, Image.Resampling.BILINEAR)

    def _check_size(self, path: Path, size: tuple[int, int]) -> None:
        if self._first is None:
            self._first = size, path
        wanted, first = self._first
        if size != wanted:
            raise ValueError(
                f"ImageFiles: {path} is {size[0]} x {size[1]} pixels (H x W), but {first} is {wanted[0]} x "
                f"{wanted[1]}; give size=(H, W) to bring all to one size"
            )

    def _leave_out(self, path: Path, error: Exception) -> None:
        """Remember a file that cannot be read, or raise."""
        if not path.exists():
            raise FileNotFoundError(f"ImageFiles: {path} is not there") from error
        message = f"ImageFiles: {path} cannot be read as an image ({error})"
        if self.broken == "raise":
            raise ValueError(f"{message}; broken='skip' leaves such files out") from error
        if path not in self.skipped:
            self.skipped.append(path)
            warnings.warn(f"{message}; it is left out", stacklevel=2)


class ImageFolder(ImageFiles):
    """The images below a folder, whose own folders are the classes: `photos/cat/1.jpg`, `photos/dog/...`.

    The classes are numbered in the order of their names; images may lie deeper within them. Files of other
    kinds and those whose names begin with a dot are passed over. Arguments and errors as for `ImageFiles`.

    Args:
        folder: the folder.
        classes: the folders to take; None: all. Give those of the training data for other data.

    Raises:
        FileNotFoundError: no such folder. ValueError: no class folders, or classes without images.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        size: tuple[int, int] | int | None = None,
        fit: str = "crop",
        channels: int = 3,
        classes: Sequence[str] | None = None,
        broken: str = "raise",
    ) -> None:
        self.folder = Path(folder)
        names = _class_names(self.folder) if classes is None else [str(name) for name in classes]
        found = [(path, name) for name in names for path in _images(self.folder / name)]
        filled = {name for _, name in found}
        empty = [name for name in names if name not in filled]
        if empty:
            raise ValueError(
                f"ImageFolder: no images in {len(empty)} of the {len(names)} classes of {self.folder}: "
                f"{', '.join(empty[:10])}; remove these folders, or name the others with classes="
            )
        paths, labels = [path for path, _ in found], [name for _, name in found]
        super().__init__(paths, labels, size=size, fit=fit, channels=channels, classes=names, broken=broken)


def _in_bytes(image: Any, kind: str | None, channels: int) -> Any:
    """An image in colours or grey, 0 to 255. Pillow would cut brighter pixels of grey ones of 16 bits off."""
    from PIL import Image

    if image.mode.startswith("I;16") or (image.mode == "I" and kind in ("PNG", "PPM")):
        return Image.fromarray(np.asarray(image, np.float32) / np.float32(257))
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {image.mode}, of which it is not known how bright white is")
    return image.convert("L" if channels == 1 else "RGB")


def _class_names(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise FileNotFoundError(f"ImageFolder: {folder} is no folder")
    names = sorted(each.name for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    if not names:
        loose = sum(1 for each in folder.iterdir() if each.suffix.lower() in SUFFIXES)
        hint = f", but {loose} images: ImageFiles(paths, labels) takes those" if loose else ""
        raise ValueError(f"ImageFolder: {folder} has no folders, one for each class{hint}")
    return names


def _images(folder: Path) -> list[Path]:
    """The images in a folder and below, in the order of their names. FileNotFoundError for no folder."""
    if not folder.is_dir():
        raise FileNotFoundError(f"ImageFolder: {folder} is no folder")
    found = [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
    return sorted(path for path in found if not path.name.startswith("."))


def _numbers(labels: Any, classes: Any, count: int) -> tuple[Array, tuple[str, ...]]:
    """Labels as numbers, and what these mean (nothing, if they are numbers already)."""
    array = check.array_of("ImageFiles", "labels", labels)
    if count == 0:
        raise ValueError("ImageFiles: no files")
    if array.shape != (count,):
        raise ValueError(
            f"ImageFiles: labels have shape {array.shape}, expected ({count},), one for each file"
        )
    if array.dtype.kind in "iu":
        return array.astype(np.int64), tuple(classes or ())
    return encode_labels(array, classes)


def _pillow() -> None:
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise ImportError('images from files need Pillow: pip install "lamina[data]"') from error
