"""Measures of predictions on NumPy arrays: `metric(y_pred, y_true) -> float`.

`fit` and `evaluate` average a metric over batches, weighted by their sizes: right for these, which are
means over samples themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.ops._check import array_of

Metric = Callable[[npt.NDArray[Any], npt.NDArray[Any]], float]


def accuracy(y_pred: npt.ArrayLike, y_true: npt.ArrayLike) -> float:
    """Share of samples whose greatest score is that of their label.

    y_pred: scores or logits (..., K). y_true: integer labels (...). A prediction that is NaN is wrong.
    Raises ValueError for shapes that do not fit, TypeError for labels that are not integers.
    """
    scores, labels = _classes("accuracy", y_pred, y_true)
    picked = scores.argmax(axis=-1)
    value = np.take_along_axis(scores, picked[..., np.newaxis], axis=-1)[..., 0]
    return float(np.mean((picked == labels) & ~np.isnan(value)))


def top_k_accuracy(y_pred: npt.ArrayLike, y_true: npt.ArrayLike, k: int = 5) -> float:
    """Share of samples whose label is among the k greatest scores; ties go to the lower class.

    Shapes and errors as for `accuracy`; k from 1 to K.
    """
    scores, labels = _classes("top_k_accuracy", y_pred, y_true)
    if not 1 <= k <= scores.shape[-1]:
        raise ValueError(f"top_k_accuracy: k is {k}, expected 1 to {scores.shape[-1]}, the number of classes")
    label = labels[..., np.newaxis]
    own = np.take_along_axis(scores, label, axis=-1)
    ahead = ~(scores <= own) | ((scores == own) & (np.arange(scores.shape[-1]) < label))
    return float(np.mean(ahead.sum(axis=-1) < k))


def binary_accuracy(y_pred: npt.ArrayLike, y_true: npt.ArrayLike, threshold: float = 0.0) -> float:
    """Share of entries on the right side of `threshold`: 0 for logits, 0.5 for probabilities.

    y_pred and y_true of one shape; y_true holds 0 and 1.
    """
    scores, truth = _same_shape("binary_accuracy", y_pred, y_true)
    return float(np.mean(((scores > threshold) == (truth > 0.5)) & ~np.isnan(scores)))


def mean_absolute_error(y_pred: npt.ArrayLike, y_true: npt.ArrayLike) -> float:
    """mean |y_pred - y_true|, both of one shape."""
    scores, truth = _same_shape("mean_absolute_error", y_pred, y_true)
    return float(np.mean(np.abs(scores - truth), dtype=np.float64))


def mean_squared_error(y_pred: npt.ArrayLike, y_true: npt.ArrayLike) -> float:
    """mean (y_pred - y_true)^2, both of one shape."""
    scores, truth = _same_shape("mean_squared_error", y_pred, y_true)
    return float(np.mean(np.square(scores - truth), dtype=np.float64))


NAMED: dict[str, Metric] = {
    "accuracy": accuracy,
    "top_k_accuracy": top_k_accuracy,
    "binary_accuracy": binary_accuracy,
    "mean_absolute_error": mean_absolute_error,
    "mean_squared_error": mean_squared_error,
}


def resolve(metrics: Sequence[str | Metric]) -> dict[str, Metric]:
    """Names or functions -> {name: function}; raises ValueError for unknown or repeated names."""
    if isinstance(metrics, str) or callable(metrics):
        raise TypeError(f"metrics must be a sequence, as [{metrics!r}], not {metrics!r} alone")
    if not isinstance(metrics, Iterable):
        raise TypeError(f"metrics must be a sequence of names or functions, got {metrics!r}")
    found: dict[str, Metric] = {}
    for metric in metrics:
        name, function = _named(metric)
        if name in found or name == "loss":
            raise ValueError(f"metrics: the name {name!r} appears twice")
        found[name] = function
    return found


def _named(metric: str | Metric) -> tuple[str, Metric]:
    if isinstance(metric, str):
        if metric not in NAMED:
            raise ValueError(
                f"metrics: unknown name {metric!r}, expected one of {sorted(NAMED)} or a function"
            )
        return metric, NAMED[metric]
    if not callable(metric):
        raise TypeError(f"metrics: expected names or functions (y_pred, y_true) -> float, got {metric!r}")
    return getattr(metric, "__name__", type(metric).__name__), metric


def _classes(
    name: str, y_pred: npt.ArrayLike, y_true: npt.ArrayLike
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    scores, labels = _plain(name, y_pred, y_true)
    if scores.ndim != labels.ndim + 1 or scores.shape[:-1] != labels.shape:
        raise ValueError(
            f"{name}: y_pred has shape {scores.shape} and y_true {labels.shape}; "
            "expected scores (..., K) and integer labels (...)"
        )
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{name}: labels must be integers, got {labels.dtype}; use y.astype(np.int64)")
    _not_empty(name, labels)
    if labels.min() < 0 or labels.max() >= scores.shape[-1]:
        raise ValueError(
            f"{name}: labels run from {labels.min()} to {labels.max()}, expected 0 to {scores.shape[-1] - 1}"
        )
    return scores, labels


def _same_shape(
    name: str, y_pred: npt.ArrayLike, y_true: npt.ArrayLike
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    scores, truth = _plain(name, y_pred, y_true)
    if scores.shape != truth.shape:
        raise ValueError(f"{name}: y_pred has shape {scores.shape}, y_true {truth.shape}; expected one shape")
    _not_empty(name, truth)
    return scores, truth


def _plain(
    name: str, y_pred: npt.ArrayLike, y_true: npt.ArrayLike
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    return array_of(name, "y_pred", y_pred), array_of(name, "y_true", y_true)


def _not_empty(name: str, truth: npt.NDArray[Any]) -> None:
    if truth.size == 0:
        raise ValueError(f"{name}: no samples (shape {truth.shape})")
