"""Codes of two numbers as a map."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.ops import _check as check
from lamina.viz._canvas import new_figure, saved
from lamina.viz.grid import as_images


def code_map(
    codes: npt.ArrayLike,
    images: npt.ArrayLike,
    *,
    labels: npt.ArrayLike | None = None,
    size: float = 0.03,
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """Draw every image at the place that its code gives it.

    codes (N,2). images as `image_grid` takes them, values in [0, 1]; of grey ones 0 is clear and 1 is ink,
    coloured by `labels`, N integers, if given. size: of an image, as a share of the map's width; a few
    hundred fit. Returns the matplotlib Figure, also saved to `path` if given. ValueError for shapes that do
    not fit and codes that are not finite. Needs `pip install "lamina[plot]"`.
    """
    x = as_images("code_map", "images", images)
    places = check.array_of("code_map", "codes", codes, np.float64)
    check.shape("code_map", "codes", places, (len(x), 2), "two numbers for each image")
    if not np.isfinite(places).all():
        raise ValueError("code_map: codes must be finite")
    names, colors = _colors(labels, len(x))
    figure = new_figure(7, 7)
    axes = figure.add_subplot()
    low, high = places.min(axis=0), places.max(axis=0)
    span = np.where(high > low, high - low, 1)
    half = span * size / 2
    for image, (across, up), color in zip(x, places, colors, strict=True):
        extent = (across - half[0], across + half[0], up - half[1], up + half[1])
        axes.imshow(_ink(image, color), extent=extent, interpolation="nearest", aspect="auto")
    axes.set_xlim(low[0] - 2 * half[0], high[0] + 2 * half[0])
    axes.set_ylim(low[1] - 2 * half[1], high[1] + 2 * half[1])
    axes.set(xlabel="code 1", ylabel="code 2")
    for name, color in names.items():
        axes.plot([], [], "s", color=color, label=name)
    if names:
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return saved(figure, path)


def _colors(labels: npt.ArrayLike | None, count: int) -> tuple[dict[str, Any], list[Any]]:
    """The colour of each label, by its name, and of each image."""
    black = (0.0, 0.0, 0.0)
    if labels is None:
        return {}, [black] * count
    numbers = check.array_of("code_map", "labels", labels)
    check.shape("code_map", "labels", numbers, (count,), "one for each image")
    if numbers.dtype.kind not in "iu":
        raise TypeError(f"code_map: labels must be integers, got {numbers.dtype}")
    try:
        from matplotlib import colormaps
    except ImportError:
        return {}, [black] * count  # new_figure says what to install
    names = {str(n): colormaps["tab10"](i % 10)[:3] for i, n in enumerate(np.unique(numbers))}
    return names, [names[str(n)] for n in numbers]


def _ink(image: npt.NDArray[Any], color: tuple[float, ...]) -> npt.NDArray[Any]:
    """An image with an alpha channel: a grey one as ink of that colour, one of colours as it is."""
    picture: npt.NDArray[Any] = np.clip(image, 0, 1).astype(np.float64)
    if picture.ndim == 3:
        return picture
    return np.dstack([*(np.full(picture.shape, c) for c in color), picture])
