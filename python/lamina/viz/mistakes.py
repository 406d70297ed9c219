"""What a classifier confuses, and the images it is most wrong about."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.ops import _check as check
from lamina.viz._canvas import new_figure, saved
from lamina.viz.grid import as_images, image_grid

Array = npt.NDArray[Any]


def confusion_matrix(
    y_pred: npt.ArrayLike,
    y_true: npt.ArrayLike,
    labels: Sequence[str] | None = None,
    *,
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """Draw how often each class (a row) is taken for each (a column); colours are shares of the row.

    y_pred: scores (N, O) or classes (N,); y_true: classes (N,), N > 0. labels: the names of the O classes, by
    default their numbers. Returns the matplotlib Figure, also saved to `path` if given; needs
    `pip install "lamina[plot]"`. ValueError for lengths, classes and labels that do not fit.
    """
    counts = confusions(y_pred, y_true, 0 if labels is None else len(labels))
    names = [str(i) for i in range(len(counts))] if labels is None else [str(label) for label in labels]
    if len(names) != len(counts):
        raise ValueError(f"confusion_matrix: {len(names)} labels for {len(counts)} classes")
    side = 1.2 + 0.45 * len(counts)
    figure = new_figure(side + 0.6, side)
    axes = figure.add_subplot()
    share = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for i, j in zip(*np.nonzero(counts), strict=True):
        colour = "white" if share[i, j] > 0.5 else "black"
        axes.text(j, i, f"{counts[i, j]:,}", ha="center", va="center", color=colour, fontsize=8)
    steep = max(map(len, names)) > 2
    axes.set_xticks(range(len(names)), names, rotation=90 if steep else 0)
    axes.set_yticks(range(len(names)), names)
    right = np.trace(counts) / counts.sum()
    axes.set(xlabel="taken for", ylabel="is", title=f"{right:.1%} of {counts.sum():,} right")
    return saved(figure, path)


def confusions(y_pred: npt.ArrayLike, y_true: npt.ArrayLike, classes: int = 0) -> Array:
    """How often class i was taken for j, (O, O) ints. O: at least `classes`, else as many as there are."""
    y, scores = _classes("y_true", y_true), check.array_of("confusion_matrix", "y_pred", y_pred)
    found = scores.argmax(axis=1) if scores.ndim == 2 else _classes("y_pred", scores)
    if len(found) != len(y) or len(y) == 0:
        raise ValueError(f"confusion_matrix: {len(found)} predictions for {len(y)} samples")
    size = max(classes, scores.shape[1] if scores.ndim == 2 else 0, int(y.max()) + 1, int(found.max()) + 1)
    return np.bincount(y * size + found, minlength=size * size).reshape(size, size)


def worst_mistakes(
    images: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    y_true: npt.ArrayLike,
    labels: Sequence[str] | None = None,
    *,
    count: int = 25,
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """Draw the images that a classifier is most wrong about: where the right class trails the best by most.

    images as `image_grid` takes them; y_pred: scores (N, O); y_true: classes (N,). Above each, what it is and
    what it was taken for. Returns the matplotlib Figure, also saved to `path` if given; needs
    `pip install "lamina[plot]"`. ValueError where nothing is wrong, and for sizes that do not fit.
    """
    x, y = as_images("worst_mistakes", "images", images), _classes("y_true", y_true)
    scores = check.array_of("worst_mistakes", "y_pred", y_pred)
    if scores.ndim != 2 or not len(x) == len(scores) == len(y) or (len(y) and y.max() >= scores.shape[1]):
        raise ValueError(
            f"worst_mistakes: {len(x)} images, scores {scores.shape} and {len(y)} classes do not fit: "
            "expected (N, ...), (N, O) and (N,) below O"
        )
    behind = scores.max(axis=1) - np.take_along_axis(scores, y[:, None], axis=1)[:, 0]
    worst = np.argsort(-behind, kind="stable")[: check.integer("worst_mistakes", "count", count, 1)]
    worst = worst[behind[worst] > 0]
    if not len(worst):
        raise ValueError("worst_mistakes: there are none, every image is classified right")
    names = [str(i) for i in range(scores.shape[1])] if labels is None else [str(label) for label in labels]
    if len(names) != scores.shape[1]:
        raise ValueError(f"worst_mistakes: {len(names)} labels for {scores.shape[1]} classes")
    titles = [f"{names[y[i]]}, not {names[scores[i].argmax()]}" for i in worst]
    return image_grid(x[worst], titles=titles, path=path)


def _classes(name: str, value: npt.ArrayLike) -> Array:
    y = check.array_of("confusion_matrix", name, value)
    if y.ndim != 1 or y.dtype.kind not in "iu" or (len(y) and y.min() < 0):
        raise ValueError(f"{name} must be classes (N,), whole numbers from 0, got {y.dtype} {y.shape}")
    return y.astype(np.int64)
