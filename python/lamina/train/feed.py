"""Where the batches of a run come from: arrays, or a `Loader`; and what each sample weighs."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lamina.data.loader import Loader
from lamina.data.samples import Samples, check_batch_size
from lamina.ops import _check as check

Array = npt.NDArray[Any]


class Batch(NamedTuple):
    """Samples, targets, and the weight of each sample or None."""

    x: Array
    y: Array
    weight: Array | None = None


class Feed:
    """Batches of arrays, of which only `samples` are used."""

    loader: Loader | None = None

    def __init__(self, samples: Samples, batch_size: int, weights: Weights | None = None) -> None:
        self.source, self.batch_size, self.weights = samples, batch_size, weights

    @property
    def samples(self) -> int | None:
        """Samples of an epoch, None if that is not known."""
        return len(self.source)

    @property
    def batches(self) -> int | None:
        """Batches of an epoch, None if that is not known."""
        return -(-len(self.source) // self.batch_size)

    def epoch(self, rng: np.random.Generator) -> Generator[Batch, None, None]:
        """The batches of an epoch, in a new order."""
        for rows in self.source.shuffled(self.batch_size, rng):
            yield self._weighed(*self.source.take(rows), rows)

    def in_order(self) -> Iterator[Batch]:
        """The batches as they stand, each sample as good as another."""
        for rows in self.source.in_order(self.batch_size):
            yield Batch(*self.source.take(rows))

    def _weighed(self, x: Array, y: Array, rows: Array | None) -> Batch:
        return Batch(x, y, None if self.weights is None else self.weights.of(y, rows))


class LoaderFeed(Feed):
    """Batches of a `Loader`."""

    loader: Loader

    def __init__(self, loader: Loader, weights: Weights | None = None) -> None:
        self.loader, self.weights = loader, weights

    @property
    def samples(self) -> int | None:
        """Samples of an epoch, None if that is not known."""
        return self.loader.samples

    @property
    def batches(self) -> int | None:
        """Batches of an epoch, None if that is not known."""
        return self.loader.batches

    def epoch(self, rng: np.random.Generator) -> Generator[Batch, None, None]:
        """The batches of an epoch, as the loader makes them from this generator."""
        for x, y in self.loader.epoch(rng):
            yield self._weighed(x, y, None)

    def in_order(self) -> Iterator[Batch]:
        """Batches from the same seed each time, so that measures can be compared."""
        for x, y in self.loader.epoch(np.random.default_rng(0)):
            yield Batch(x, y)


class Weights:
    """The weight of each sample: that of its class times its own, as float32.

    Raises:
        TypeError, ValueError: weights that are negative, not finite, not one for each class or sample.
    """

    def __init__(self, class_weight: Any, sample_weight: Any, y: Array | None) -> None:
        self._classes = None if class_weight is None else _by_class(class_weight, y)
        self._others = isinstance(class_weight, Mapping)  # classes that are not named weigh 1
        self._own: Array | None = None
        if sample_weight is not None:
            if y is None:
                raise TypeError("fit: sample_weight goes with arrays, not with a Loader")
            self._own = _weights("sample_weight", sample_weight, len(y))

    def of(self, y: Array, rows: Array | None) -> Array:
        """The weights of a batch: targets y, which stand in these rows of the arrays."""
        found = np.ones(len(y), np.float32)
        if self._classes is not None:
            if y.ndim != 1 or y.dtype.kind not in "iu":
                raise TypeError(
                    f"fit: class_weight needs integer labels (N,), got {y.dtype} of shape {y.shape}"
                )
            if self._others and len(y) and y.max() >= len(self._classes):
                more = np.ones(int(y.max()) + 1 - len(self._classes), np.float32)
                self._classes = np.concatenate([self._classes, more])
            if len(y) and (y.min() < 0 or y.max() >= len(self._classes)):
                raise ValueError(
                    f"fit: class_weight has weights of classes 0 to {len(self._classes) - 1}, "
                    f"but labels run from {y.min()} to {y.max()}"
                )
            found *= self._classes[y]
        if self._own is not None:
            found *= self._own[rows]
        return found


def _by_class(given: Any, y: Array | None) -> Array:
    """A weight for each class, from numbers, a dict or "balanced"."""
    if isinstance(given, str):
        check.choice("fit", "class_weight", given, ("balanced",))
        if y is None or y.ndim != 1 or y.dtype.kind not in "iu":
            raise TypeError('fit: class_weight="balanced" needs all labels at hand, integers (N,)')
        counts = np.bincount(y)
        return np.asarray(len(y) / (np.count_nonzero(counts) * np.maximum(counts, 1)), np.float32)
    if isinstance(given, Mapping):
        classes = [check.integer("fit", "a class of class_weight", label, 0) for label in given]
        dense = np.ones(max(classes, default=-1) + 1)
        for label, weight in given.items():
            dense[label] = weight
        given = dense
    return _weights("class_weight", given, None)


def _weights(name: str, given: Any, count: int | None) -> Array:
    array = check.array_of("fit", name, given)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"fit: {name} must be numbers, got {array.dtype}")
    if array.ndim != 1 or (count is not None and len(array) != count):
        expected = "one for each class" if count is None else f"({count},), one for each sample"
        raise ValueError(f"fit: {name} has shape {array.shape}, expected {expected}")
    if not (np.isfinite(array) & (array >= 0)).all():
        raise ValueError(f"fit: {name} must be finite and at least 0")
    return array.astype(np.float32)


def feed_of(
    who: str, x: Any, y: Any, batch_size: int | None, default: int, weights: tuple[Any, Any] = (None, None)
) -> Feed:
    """The feed of arrays x and y (None: x), or of a `Loader`, which has its own targets and batch size."""
    weighed = any(weight is not None for weight in weights)
    if isinstance(x, Loader):
        for name, value in (("y", y), ("batch_size", batch_size)):
            if value is not None:
                raise TypeError(f"{who}: {name} is the Loader's: leave it out")
        return LoaderFeed(x, Weights(*weights, None) if weighed else None)
    if hasattr(x, "take") and not isinstance(x, np.ndarray) and not hasattr(x, "__array__"):
        raise TypeError(f"{who}: x is a source of samples: give data.Loader({type(x).__name__}(...), ...)")
    batch_size = default if batch_size is None else batch_size
    check_batch_size(who, batch_size)
    samples = Samples(x, x if y is None else y, who=who)
    return Feed(samples, batch_size, Weights(*weights, samples.y) if weighed else None)
