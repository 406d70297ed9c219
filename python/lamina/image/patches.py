"""Patches of images, and the brightness and contrast that they have in common taken away."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina import init
from lamina.image._arrays import Array, finite
from lamina.ops import _check as check
from lamina.ops._check import Pair


def random_patches(
    images: npt.ArrayLike | Sequence[npt.ArrayLike], count: int, size: int | Pair, *, rng: init.Rng = None
) -> Array:
    """Cut patches out of images: each from an image and a place drawn at random, all alike.

    images: (N, H, W) or (N, H, W, C), or a list of images (H, W) or (H, W, C) of different sizes. size: an
    int or a pair (height, width). rng: a generator, a seed or None for the library's own. Returns (count,
    height, width), with C at the end if given. ValueError for an image that is smaller than a patch.
    """
    who = "random_patches"
    height, width = check.pair(who, "size", size, 1)
    count, rng = check.integer(who, "count", count, 1), init.generator(rng)
    found = _images(who, images)
    for i, image in enumerate(found):
        if image.shape[0] < height or image.shape[1] < width:
            own = f"{image.shape[0]}x{image.shape[1]}"
            raise ValueError(f"{who}: patches of {height}x{width} are larger than images[{i}], {own}")
    patches = np.empty((count, height, width, *found[0].shape[2:]), found[0].dtype)
    for patch, which in zip(patches, rng.integers(len(found), size=count), strict=True):
        image = found[which]
        top, left = (rng.integers(image.shape[i] - n + 1) for i, n in enumerate((height, width)))
        patch[...] = image[top : top + height, left : left + width]
    return patches


def _images(who: str, images: Any) -> list[Array]:
    """Images one by one, of one dtype and number of channels."""
    if not isinstance(images, list | tuple):
        return list(finite(who, "images", images, (3, 4), "(N, H, W) or (N, H, W, C)"))
    if not images:
        raise ValueError(f"{who}: there are no images")
    found = [finite(who, f"images[{i}]", x, (2, 3), "(H, W) or (H, W, C)") for i, x in enumerate(images)]
    for i, image in enumerate(found):
        if image.shape[2:] != found[0].shape[2:] or image.dtype != found[0].dtype:
            raise ValueError(
                f"{who}: images[{i}] is {image.shape} {image.dtype}, which does not go with images[0], "
                f"{found[0].shape} {found[0].dtype}"
            )
    return found


def remove_mean(patches: npt.ArrayLike) -> Array:
    """Each patch (N, ...) minus the mean of its own numbers, channels and all."""
    x = finite("remove_mean", "patches", patches, tuple(range(2, 33)), "(N, ...)")
    return np.asarray(x - x.mean(axis=tuple(range(1, x.ndim)), keepdims=True))


def normalize_patches(
    patches: npt.ArrayLike, *, deviations: float = 3.0, low: float = 0.1, high: float = 0.9
) -> Array:
    """Patches (N, ...) ready for a sigmoid output: means removed, clipped, and scaled into low..high.

    Clipped at so many standard deviations of all numbers, to either side; 0 becomes the middle. Patches that
    are all constant come out as the middle throughout. Source: A. Ng and others, UFLDL tutorial, 2011,
    exercise of the sparse autoencoder.
    """
    who = "normalize_patches"
    if check.number(who, "deviations", deviations) == 0:
        raise ValueError(f"{who}: deviations must be above 0")
    if not check.number(who, "low", low) < check.number(who, "high", high):
        raise ValueError(f"{who}: low must be less than high, got {low} and {high}")
    x = finite(who, "patches", patches, tuple(range(2, 33)), "(N, ...)")
    brightest, x = float(np.abs(x).max()), remove_mean(x)
    limit = deviations * float(x.std())
    if limit <= 8 * np.finfo(x.dtype).eps * brightest:  # what rounding leaves of constant patches
        return np.full_like(x, (low + high) / 2)
    return np.asarray((low + high) / 2 + (high - low) / 2 * np.clip(x / limit, -1, 1), x.dtype)
