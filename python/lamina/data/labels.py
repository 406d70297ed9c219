"""Labels that are words, as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.ops import _check as check


def encode_labels(
    labels: Sequence[Any] | npt.ArrayLike, classes: Sequence[str] | None = None
) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Words -> (their numbers (N,), the classes that these number, in order of the alphabet).

    classes: the words in the order that they are to have, as those of the training data. TypeError for labels
    that are not texts, ValueError for one that is not among the classes, or named there twice.
    """
    array = check.array_of("encode_labels", "labels", labels)
    if array.ndim != 1 or not all(isinstance(label, str) for label in array.tolist()):
        raise TypeError(f"encode_labels: labels must be texts (N,), got {array.dtype} of shape {array.shape}")
    found = sorted(set(array.tolist())) if classes is None else [str(name) for name in classes]
    number = {name: i for i, name in enumerate(found)}
    if len(number) < len(found):
        raise ValueError("encode_labels: a class is named twice")
    for i, label in enumerate(array.tolist()):
        if label not in number:
            raise ValueError(f"encode_labels: labels[{i}] is {label!r}, expected one of {found}")
    return np.array([number[label] for label in array.tolist()], np.int64), tuple(found)
