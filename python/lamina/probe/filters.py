"""Filters: which of them look for an edge."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def gabor_fit(filters: npt.ArrayLike) -> Array:
    """How much of each filter is one edge or bar: the share of its energy that the best Gabor explains.

    filters (K,H,W), or (K,D) with D a square -> (K,), from 0 to 1; 0 for a filter of zeros. The Gabors: 12
    directions, wavelengths from 2.5 to 10 pixels, Gaussian windows of standard deviation 1 to 3 pixels, round
    or twice as long as wide, around every pixel and of any phase. Filters of white noise, 8x8, reach about
    0.2, hardly ever 0.4. After J. Daugman, Uncertainty relation for resolution in space, spatial frequency,
    and orientation optimized by two-dimensional visual cortical filters, 1985. ValueError for another shape
    and numbers that are not finite.
    """
    w = np.asarray(filters, np.float64)
    side = math.isqrt(w.shape[1]) if w.ndim == 2 else 0
    w = w.reshape(len(w), side, side) if w.ndim == 2 and 0 < side * side == w.shape[1] else w
    if w.ndim != 3 or 0 in w.shape:
        raise ValueError(f"gabor_fit: filters have shape {w.shape}, expected (K, H, W), none of them 0")
    if not np.isfinite(w).all():
        raise ValueError("gabor_fit: filters must be finite")
    places = np.indices(w.shape[1:]).reshape(2, -1)
    down, across = places[:, None, :] - places[:, :, None]  # (centres, pixels)
    flat = w.reshape(len(w), -1)
    best = np.zeros(len(w))
    for direction in np.arange(12) * (np.pi / 12):
        u = across * np.cos(direction) + down * np.sin(direction)
        v = down * np.cos(direction) - across * np.sin(direction)
        for deviation, length in itertools.product((1, 1.5, 2, 3), (1, 2)):
            window = np.exp(-(u**2 + (v / length) ** 2) / (2 * deviation**2))
            for frequency in (0.1, 0.15, 0.2, 0.25, 0.3, 0.4):
                phase = 2 * np.pi * frequency * u
                best = np.maximum(best, _explained(flat, window * np.cos(phase), window * np.sin(phase)))
    energy = (flat * flat).sum(axis=1)
    return np.asarray(np.divide(best, energy, out=np.zeros(len(w)), where=energy > 0))


def _explained(w: Array, a: Array, b: Array) -> Array:
    """The most energy of each row of w that lies in the plane of a row of a and the same row of b."""
    a = a / np.linalg.norm(a, axis=1, keepdims=True)
    b = b - (a * b).sum(axis=1, keepdims=True) * a
    b = b / np.maximum(np.linalg.norm(b, axis=1, keepdims=True), 1e-12)
    return np.asarray(((w @ a.T) ** 2 + (w @ b.T) ** 2).max(axis=1))
