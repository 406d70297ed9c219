"""Training images changed at random, so that a network sees more of them than there are.

Each is called with a batch x (N, H, W, C), its targets and a generator, as `Loader(augment=...)` does, and
gives new arrays (x, y): `Compose(Flip(), Shift(4), Standardise())`. All samples of a batch are changed at
once, each in its own way. A function of your own (x, y, rng) -> (x, y) may stand among them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.data.loader import Augment, Pair, Rng
from lamina.ops import _check as check

Array = npt.NDArray[Any]


class Augmentation:
    """Base class: override `images`, or `__call__` if targets change too."""

    floats = False  # whether x must be of floats

    def images(self, x: Array, rng: Rng) -> Array:
        """The new images."""
        raise NotImplementedError(f"{type(self).__name__} defines no images()")

    def __call__(self, x: Array, y: Array, rng: Rng) -> Pair:
        """x (N, H, W, C) and y -> the new x, and y. ValueError, TypeError for other arrays."""
        return self.images(self._admitted(x), rng), y

    def _admitted(self, x: Array) -> Array:
        name = type(self).__name__
        check.ndim(name, "x", x, "NHWC")
        if self.floats and x.dtype.kind != "f":
            raise TypeError(f"{name}: x must be float32 or float64, got {x.dtype}: divide it by 255 first")
        return x

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"


class Compose(Augmentation):
    """One after the other."""

    def __init__(self, *parts: Augment) -> None:
        for i, part in enumerate(parts):
            if isinstance(part, type) or not callable(part):
                raise TypeError(
                    f"Compose: parts[{i}] must be a function (x, y, rng) -> (x, y), got {part!r:.80}"
                )
        self.parts = parts

    def __call__(self, x: Array, y: Array, rng: Rng) -> Pair:
        """Each with what the former gave."""
        for part in self.parts:
            x, y = part(x, y, rng)
        return x, y


class Flip(Augmentation):
    """Mirror each image with probability p (default 0.5), left and right or, vertical, top and bottom."""

    def __init__(self, p: float = 0.5, *, vertical: bool = False) -> None:
        self.p, self.vertical = _share("Flip", "p", p), check.flag("Flip", "vertical", vertical)

    def images(self, x: Array, rng: Rng) -> Array:
        """Any dtype."""
        chosen = (rng.random(len(x)) < self.p)[:, None, None, None]
        return np.where(chosen, x[:, ::-1] if self.vertical else x[:, :, ::-1], x)


class Shift(Augmentation):
    """Move each image by up to so many pixels, an int or a pair (vertical, horizontal); zeros come in."""

    def __init__(self, pixels: int | tuple[int, int]) -> None:
        self.pixels = check.pair("Shift", "pixels", pixels, 0)

    def images(self, x: Array, rng: Rng) -> Array:
        """Any dtype."""
        down, across = self.pixels
        padded = np.pad(x, ((0, 0), (down, down), (across, across), (0, 0)))
        return _windows(padded, x.shape[1:3], rng)


class Crop(Augmentation):
    """Cut a random window of this size, an int or (H, W), out of each image."""

    def __init__(self, size: int | tuple[int, int]) -> None:
        self.size = check.pair("Crop", "size", size, 1)

    def images(self, x: Array, rng: Rng) -> Array:
        """Any dtype. ValueError if the images are smaller."""
        if x.shape[1] < self.size[0] or x.shape[2] < self.size[1]:
            raise ValueError(
                f"Crop: images of {x.shape[1:3]} are smaller than {self.size} {check.shown(x.shape, 'NHWC')}"
            )
        return _windows(x, self.size, rng)


class Rotate(Augmentation):
    """Turn each image about its middle by an angle from -degrees to degrees, bilinear; zeros come in."""

    floats = True

    def __init__(self, degrees: float) -> None:
        self.degrees = check.number("Rotate", "degrees", degrees)

    def images(self, x: Array, rng: Rng) -> Array:
        """Floats."""
        n, height, width, _ = x.shape
        angle = np.radians(rng.uniform(-self.degrees, self.degrees, n))[:, None, None]
        cos, sin = np.cos(angle), np.sin(angle)
        y, z = np.mgrid[:height, :width] - np.array([(height - 1) / 2, (width - 1) / 2])[:, None, None]
        rows = cos * y - sin * z + (height - 1) / 2  # where each new pixel comes from
        columns = sin * y + cos * z + (width - 1) / 2
        return _bilinear(x, rows, columns)


class Brightness(Augmentation):
    """Add a number from -most to most to each image. The result is not cut off at 0 and 1."""

    floats = True

    def __init__(self, most: float) -> None:
        self.most = check.number("Brightness", "most", most)

    def images(self, x: Array, rng: Rng) -> Array:
        """Floats."""
        return np.asarray(x + rng.uniform(-self.most, self.most, (len(x), 1, 1, 1)), x.dtype)


class Contrast(Augmentation):
    """Multiply each image's distance from its mean by a number from 1 - most to 1 + most."""

    floats = True

    def __init__(self, most: float) -> None:
        self.most = _share("Contrast", "most", most)

    def images(self, x: Array, rng: Rng) -> Array:
        """Floats."""
        mean = x.mean(axis=(1, 2, 3), keepdims=True)
        return np.asarray(
            mean + (x - mean) * rng.uniform(1 - self.most, 1 + self.most, (len(x), 1, 1, 1)), x.dtype
        )


class Standardise(Augmentation):
    """Each image minus its mean, over its standard deviation: at random nothing, so also for validation.

    The divisor is at least 1/sqrt(H W C), so that a flat image becomes 0.
    """

    floats = True

    def images(self, x: Array, rng: Rng) -> Array:
        """Floats."""
        mean = x.mean(axis=(1, 2, 3), keepdims=True)
        deviation = x.std(axis=(1, 2, 3), keepdims=True)
        return np.asarray((x - mean) / np.maximum(deviation, 1 / math.sqrt(max(1, x[:1].size))), x.dtype)


class Cutout(Augmentation):
    """Zeros in a square of this side in each image, its middle anywhere (DeVries & Taylor 2017)."""

    def __init__(self, size: int) -> None:
        self.size = check.integer("Cutout", "size", size, 1)

    def images(self, x: Array, rng: Rng) -> Array:
        """Any dtype."""
        inside = []
        for length in x.shape[1:3]:
            start = rng.integers(length, size=(len(x), 1)) - self.size // 2
            place = np.arange(length)
            inside.append((place >= start) & (place < start + self.size))
        hole = inside[0][:, :, None] & inside[1][:, None, :]
        return np.where(hole[..., None], x.dtype.type(0), x)


class Mixup(Augmentation):
    """Each image and target mixed with another's of the batch, in shares a and 1 - a (Zhang et al. 2018).

    a is drawn for each sample from Beta(alpha, alpha). Integer labels become shares (N, classes), float32;
    the loss for those is `lambda y, t: -(lm.log_softmax(y) * t).sum(axis=-1).mean()`.
    """

    floats = True

    def __init__(self, alpha: float = 0.2, *, classes: int | None = None) -> None:
        self.alpha = check.number("Mixup", "alpha", alpha)
        if self.alpha == 0:
            raise ValueError("Mixup: alpha must be above 0")
        self.classes = None if classes is None else check.integer("Mixup", "classes", classes, 1)

    def __call__(self, x: Array, y: Array, rng: Rng) -> Pair:
        """Floats; TypeError for labels without `classes`, ValueError for labels out of range."""
        x, y = self._admitted(x), self._shares(y)
        other = rng.permutation(len(x))
        share = rng.beta(self.alpha, self.alpha, len(x))
        return _mixed(x, other, share), _mixed(y, other, share)

    def _shares(self, y: Array) -> Array:
        if y.dtype.kind == "f":
            return y
        if self.classes is None or y.ndim != 1 or y.dtype.kind not in "iu":
            raise TypeError(
                f"Mixup: y must be floats, or labels (N,) with classes= given; got {y.dtype}, {y.shape}"
            )
        if len(y) and not 0 <= y.min() <= y.max() < self.classes:
            raise ValueError(
                f"Mixup: labels run from {y.min()} to {y.max()}, expected 0 to {self.classes - 1}"
            )
        return np.eye(self.classes, dtype=np.float32)[y]


def _mixed(values: Array, other: Array, share: Array) -> Array:
    a = share.reshape(-1, *[1] * (values.ndim - 1)).astype(values.dtype)
    return np.asarray(a * values + (1 - a) * values[other])


def _windows(x: Array, size: tuple[int, ...], rng: Rng) -> Array:
    """A random window of each image of x."""
    rows, columns = (
        rng.integers(whole - part + 1, size=(len(x), 1)) + np.arange(part)
        for whole, part in zip(x.shape[1:3], size, strict=True)
    )
    return np.asarray(x[np.arange(len(x))[:, None, None], rows[:, :, None], columns[:, None, :]])


def _bilinear(x: Array, rows: Array, columns: Array) -> Array:
    """x (N, H, W, C) at places (N, H', W') between pixels; zeros outside."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows = np.clip(rows + 1, 0, x.shape[1] + 1)
    columns = np.clip(columns + 1, 0, x.shape[2] + 1)
    top = np.minimum(rows.astype(np.intp), x.shape[1])
    left = np.minimum(columns.astype(np.intp), x.shape[2])
    down, right = ((rows - top)[..., None]).astype(x.dtype), ((columns - left)[..., None]).astype(x.dtype)
    n = np.arange(len(x))[:, None, None]
    upper = padded[n, top, left] * (1 - right) + padded[n, top, left + 1] * right
    lower = padded[n, top + 1, left] * (1 - right) + padded[n, top + 1, left + 1] * right
    return np.asarray(upper * (1 - down) + lower * down, x.dtype)


def _share(who: str, name: str, value: Any) -> float:
    found = check.number(who, name, value)
    if found > 1:
        raise ValueError(f"{who}: {name} must be at most 1, got {found}")
    return found
