"""Whole images: local contrast normalisation, a flat spectrum, and images that are made, not taken."""

import math

import numpy as np
import numpy.typing as npt

from lamina import init
from lamina.image._arrays import Array, finite
from lamina.ops import _check as check

_IMAGES = "(N, H, W) or (N, H, W, C)"


def local_contrast(images: npt.ArrayLike, size: int = 9) -> Array:
    """Subtract from each pixel the mean around it, and divide by the standard deviation around it.

    images (N, H, W) or (N, H, W, C), of which the channels are taken together. size: of the Gaussian window,
    odd, whose standard deviation is a quarter of it; at the border what lies outside has no weight. The
    divisor is at least its own mean over the image, so that flat regions stay flat; constant images give 0.
    Source: Jarrett, Kavukcuoglu, Ranzato & LeCun, What is the best multi-stage architecture for object
    recognition?, 2009, section 2.
    """
    x = finite("local_contrast", "images", images, (3, 4), _IMAGES)
    if check.integer("local_contrast", "size", size, 3) % 2 == 0:
        raise ValueError(f"local_contrast: size must be odd, got {size}")
    brightest = np.abs(x).max(axis=tuple(range(1, x.ndim)), keepdims=True)
    pixels = x if x.ndim == 4 else x[..., None]
    rest = pixels - _around(pixels, size)
    deviation = np.sqrt(_around(rest * rest, size))
    least = deviation.mean(axis=(1, 2, 3), keepdims=True)
    noise = 32 * np.finfo(x.dtype).eps * brightest.reshape(-1, 1, 1, 1)
    divisor = np.maximum(deviation, least)
    result = np.divide(rest, divisor, out=np.zeros_like(rest), where=(least > noise) & (divisor > 0))
    return np.asarray(result.reshape(x.shape))


def _around(x: Array, size: int) -> Array:
    """The Gaussian mean around each pixel of x (N, H, W, C), over the channels too: (N, H, W, 1)."""
    taps = np.exp(-0.5 * ((np.arange(size) - size // 2) / (size / 4)) ** 2).astype(x.dtype)
    total = x.mean(axis=3, keepdims=True)
    for axis in (1, 2):
        weights = _along(np.ones((1, *total.shape[1:3], 1), x.dtype), taps, axis)
        total = _along(total, taps, axis) / weights
    return np.asarray(total)


def _along(x: Array, taps: Array, axis: int) -> Array:
    """The sum of neighbours along an axis, weighted, with zeros outside."""
    half = len(taps) // 2
    padded = np.pad(x, [(half, half) if i == axis else (0, 0) for i in range(x.ndim)])
    length = x.shape[axis]
    return np.asarray(
        sum(tap * np.take(padded, range(i, i + length), axis) for i, tap in enumerate(taps)), x.dtype
    )


def whiten_spectrum(images: npt.ArrayLike, *, cutoff: float = 0.4) -> Array:
    """Natural images with their 1/f spectrum made flat: times f exp(-(f/cutoff)^4), each channel alone.

    images (N, H, W) or (N, H, W, C). cutoff: in cycles a pixel; beyond it are noise and the corners of the
    grid. All images together come out with variance 1 and each with mean 0; constant images as 0. Source:
    Olshausen & Field, Sparse coding with an overcomplete basis set, 1997, whose cutoff is 200 cycles on
    512 pixels.
    """
    x = finite("whiten_spectrum", "images", images, (3, 4), _IMAGES)
    if check.number("whiten_spectrum", "cutoff", cutoff) == 0:
        raise ValueError("whiten_spectrum: cutoff must be above 0")
    height, width = x.shape[1:3]
    f = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    gain = (f * np.exp(-((f / cutoff) ** 4))).reshape(1, *f.shape, *[1] * (x.ndim - 3))
    flat = np.fft.irfft2(np.fft.rfft2(x, axes=(1, 2)) * gain, (height, width), axes=(1, 2))
    deviation = float(flat.std())
    if deviation <= 8 * np.finfo(x.dtype).eps * float(np.abs(x).max()):
        return np.zeros_like(x)
    return np.asarray(flat / deviation, x.dtype)


def dead_leaves(
    count: int, size: int = 128, *, smallest: float = 2.0, largest: float = 64.0, rng: init.Rng = None
) -> Array:
    """Images of opaque discs that fell on each other: (count, size, size), float32 in [0, 1].

    They have the edges and the spectrum of natural images, where those are not at hand. The radii lie
    between smallest and largest, r with density 1/r^3; grey levels are uniform. rng: a generator, a seed or
    None for the library's own. Source: Lee, Mumford & Huang, Occlusion models for natural images, 2001.
    """
    who = "dead_leaves"
    count, size = check.integer(who, "count", count, 1), check.integer(who, "size", size, 2)
    low, high = check.number(who, "smallest", smallest), check.number(who, "largest", largest)
    if not 0 < low < high:
        raise ValueError(f"{who}: expected 0 < smallest < largest, got {smallest} and {largest}")
    rng, images = init.generator(rng), np.empty((count, size, size), np.float32)
    for image in images:
        bare = np.ones((size, size), bool)
        while bare.any():  # the first leaf seen from above hides all that follow
            r = 1 / math.sqrt(rng.uniform(1 / high**2, 1 / low**2))
            up, across = rng.uniform(-r, size + r, 2)
            rows = slice(max(0, math.floor(up - r)), max(0, math.ceil(up + r) + 1))
            columns = slice(max(0, math.floor(across - r)), max(0, math.ceil(across + r) + 1))
            y, x = np.ogrid[:size, :size]
            leaf = (y[rows] - up) ** 2 + (x[:, columns] - across) ** 2 < r * r
            seen = leaf & bare[rows, columns]
            image[rows, columns][seen] = rng.uniform()
            bare[rows, columns] &= ~leaf
    return images
