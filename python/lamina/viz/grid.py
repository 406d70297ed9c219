"""Grids of images and of filters."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.ops import _check as check
from lamina.viz._canvas import new_figure, saved


def tile(
    images: npt.ArrayLike, *, columns: int | None = None, gap: int = 1, background: float = 1.0
) -> npt.NDArray[Any]:
    """Lay images out row by row in one.

    images: (N, H, W) or (N, H, W, C), N > 0. columns: images a row, by default as square as N allows.
    gap: pixels between images and around them, filled with `background`.
    Returns float32 (rows * (H + gap) + gap, columns * (W + gap) + gap), with C at the end if given.
    """
    x = check.array_of("tile", "images", images, np.float32)
    if x.ndim not in (3, 4) or 0 in x.shape:
        raise ValueError(
            f"tile: images have shape {x.shape}, expected (N, H, W) or (N, H, W, C), none of them 0"
        )
    n, height, width = x.shape[:3]
    columns = math.ceil(math.sqrt(n)) if columns is None else check.integer("tile", "columns", columns, 1)
    gap = check.integer("tile", "gap", gap, 0)
    rows = math.ceil(n / columns)
    shape = (rows * (height + gap) + gap, columns * (width + gap) + gap, *x.shape[3:])
    canvas = np.full(shape, background, np.float32)
    for i, image in enumerate(x):
        top, left = (i // columns) * (height + gap) + gap, (i % columns) * (width + gap) + gap
        canvas[top : top + height, left : left + width] = image
    return canvas


def image_grid(
    images: npt.ArrayLike,
    *,
    columns: int | None = None,
    titles: Sequence[str] | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """Draw images with values in [0, 1]: grey (N, H, W), (N, H, W, 1) or colour (N, H, W, 3).

    Rows of pixels, (N, D), will do where D is a square, H W, or three times one, H W 3. titles: one line
    above each image; without them the images stand closer, `columns` a row. Returns the matplotlib Figure,
    also saved to `path` if given. Needs `pip install "lamina[plot]"`.
    """
    x = as_images("image_grid", "images", images)
    if titles is None:
        canvas = tile(x, columns=columns)
        figure = _figure(canvas.shape[1] / canvas.shape[0])
        _show(figure.add_subplot(), canvas)
    else:
        if len(titles) != len(x):
            raise ValueError(f"image_grid: {len(titles)} titles for {len(x)} images")
        columns = columns or math.ceil(math.sqrt(len(x)))
        rows = math.ceil(len(x) / columns)
        figure = _figure(columns / (1.25 * rows))
        for i, (image, title) in enumerate(zip(x, titles, strict=True)):
            axes = figure.add_subplot(rows, columns, i + 1)
            _show(axes, image)
            axes.set_title(title, fontsize=8)
    return saved(figure, path)


def filter_grid(
    filters: npt.ArrayLike, *, columns: int | None = None, path: str | os.PathLike[str] | None = None
) -> Any:
    """Draw filters, each scaled by its greatest magnitude: 0 is middle grey.

    filters: (N, H, W) or (N, H, W, C), or weights, as in `image_grid`: of a first convolution, (O, KH, KW, 1)
    or in colour (O, KH, KW, 3), or of a dense layer, (N, D).
    """
    w = as_images("filter_grid", "filters", filters).astype(np.float64)
    greatest = np.abs(w).max(axis=tuple(range(1, w.ndim)), keepdims=True)
    return image_grid(0.5 + 0.5 * w / np.where(greatest == 0, 1, greatest), columns=columns, path=path)


def reconstructions(rows: Mapping[str, npt.ArrayLike], *, path: str | os.PathLike[str] | None = None) -> Any:
    """Draw rows of images below each other, as {"original": x, "noisy": z, "restored": model.predict(z)}.

    rows: by the label at their left, images as `image_grid` takes them, values in [0, 1], as many in each row
    and of one size. Returns the matplotlib Figure, also saved to `path` if given. ValueError for no row and
    rows that do not fit the first.
    """
    if not isinstance(rows, Mapping) or not rows:
        raise ValueError(
            "reconstructions: expected rows of images by their labels, in a dict that is not empty"
        )
    images = {label: as_images("reconstructions", label, row) for label, row in rows.items()}
    first = next(iter(images.values()))
    for label, row in images.items():
        if row.shape != first.shape:
            raise ValueError(f"reconstructions: {label} has shape {row.shape}, the first row {first.shape}")
    canvas = tile(np.concatenate(list(images.values())), columns=len(first))
    figure = _figure(canvas.shape[1] / canvas.shape[0])
    axes = figure.add_subplot()
    _show(axes, canvas)
    for i, label in enumerate(images):
        axes.text(-2, (i + 0.5) * (first.shape[1] + 1), label, ha="right", va="center", fontsize=9)
    return saved(figure, path)


def as_images(who: str, name: str, value: npt.ArrayLike) -> npt.NDArray[Any]:
    """Images (N, H, W), (N, H, W, 1) or (N, H, W, 3), or rows of their pixels, as (N, H, W) or (N, H, W, 3).

    ValueError for any other shape, and rows of pixels that make no square.
    """
    x = check.array_of(who, name, value)
    if x.ndim == 2:
        for channels in (1, 3):
            side = math.isqrt(x.shape[1] // channels)
            if channels * side * side == x.shape[1]:
                x = x.reshape(len(x), side, side, channels)
                break
    x = x[..., 0] if x.ndim == 4 and x.shape[3] == 1 else x
    if 0 in x.shape or not (x.ndim == 3 or (x.ndim == 4 and x.shape[3] == 3)):
        raise ValueError(
            f"{who}: {name} has shape {x.shape}, expected (N, H, W), (N, H, W, 1) or (N, H, W, 3), none of "
            "them 0, or (N, D) with D a square or three times one"
        )
    return x


def _figure(aspect: float) -> Any:
    area = 36.0  # square inches
    return new_figure(math.sqrt(area * aspect), math.sqrt(area / aspect))


def _show(axes: Any, image: npt.NDArray[Any]) -> None:
    axes.imshow(np.clip(image, 0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()
