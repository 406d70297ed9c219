"""Arrays of samples and targets, cut into batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.ops._check import array_of

Rows = slice | npt.NDArray[np.intp]


class Samples:
    """x and y, of which only `rows` are used (None: all). Nothing is copied until a batch is taken."""

    def __init__(
        self, x: npt.ArrayLike, y: npt.ArrayLike, *, who: str, rows: npt.NDArray[np.intp] | None = None
    ) -> None:
        self.x = array_of(who, "x", x)  # a memory map stays one: this is a view of it
        self.y = self.x if y is x else array_of(who, "y", y)
        self.rows = rows
        if self.x.dtype.kind not in "fiub":
            raise TypeError(f"{who}: x must hold numbers, got {type(x).__name__} ({self.x.dtype})")
        if self.y.dtype.kind in "US" or (
            self.y.dtype.kind == "O" and any(isinstance(item, str) for item in self.y.flat)
        ):
            raise TypeError(
                f"{who}: y must hold numbers, got {self.y.dtype}; for texts: y, classes = "
                "lm.data.encode_labels(y)"
            )
        if self.x.ndim == 0 or self.y.ndim == 0:
            raise ValueError(
                f"{who}: x and y need an axis of samples, got shapes {self.x.shape} and {self.y.shape}"
            )
        if len(self.x) != len(self.y):
            raise ValueError(
                f"{who}: x has {len(self.x)} samples (shape {self.x.shape}) "
                f"but y has {len(self.y)} (shape {self.y.shape})"
            )
        if len(self) == 0:
            raise ValueError(f"{who}: x is empty (shape {self.x.shape})")

    def __len__(self) -> int:
        return len(self.x) if self.rows is None else len(self.rows)

    def shuffled(self, batch_size: int, rng: np.random.Generator) -> Iterator[npt.NDArray[np.intp]]:
        """The rows of each batch in a new random order; the last batch may be smaller."""
        order = rng.permutation(len(self.x) if self.rows is None else self.rows)
        for start in range(0, len(order), batch_size):
            yield order[start : start + batch_size]

    def in_order(self, batch_size: int) -> Iterator[Rows]:
        """The rows of each batch, as they stand; the last batch may be smaller."""
        for start in range(0, len(self), batch_size):
            rows = slice(start, start + batch_size)
            yield rows if self.rows is None else self.rows[rows]

    def take(self, rows: Rows) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """The samples and the targets of these rows, each contiguous."""
        x = np.ascontiguousarray(self.x[rows])
        return x, x if self.y is self.x else np.ascontiguousarray(self.y[rows])

    def split(self, fraction: float, rng: np.random.Generator, who: str) -> tuple[Samples, Samples]:
        """Two disjoint parts drawn at random: the rest, and round(fraction * n) samples."""
        n = len(self)
        held_out = round(fraction * n) if 0 < fraction < 1 else 0
        if not 0 < held_out < n:
            raise ValueError(
                f"{who}: validation={fraction} of {n} samples does not leave at least one to train on and "
                "one to validate with"
            )
        order = rng.permutation(n)
        rest, held = np.sort(order[held_out:]), np.sort(order[:held_out])
        return Samples(self.x, self.y, who=who, rows=rest), Samples(self.x, self.y, who=who, rows=held)


def check_batch_size(who: str, batch_size: object) -> None:
    """Raise unless batch_size is an integer of at least 1."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)):
        raise TypeError(f"{who}: batch_size must be an int, got {batch_size!r}")
    if batch_size < 1:
        raise ValueError(f"{who}: batch_size is {batch_size}, expected at least 1")
