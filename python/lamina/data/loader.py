"""Batches for training: from arrays, files or a function, shuffled, changed at random, made ahead."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from lamina import config
from lamina.data.samples import Samples, check_batch_size
from lamina.ops import _check as check

Array = npt.NDArray[Any]
Pair = tuple[Array, Array]
Rng: TypeAlias = "np.random.Generator"
Augment = Callable[[Array, Array, Rng], Pair]


class Source(Protocol):
    """Samples that are read when they are needed, such as `ImageFolder`."""

    def __len__(self) -> int:
        """How many there are."""

    def take(self, rows: Any) -> Pair:
        """(x, y) of the samples with these numbers, as arrays."""


class Loader:
    """Batches (x, y) for `lm.fit(model, loader)`, or for a loop: each `for x, y in loader` is an epoch.

    Args:
        data: samples as an array or memory map, or a `Source` such as `ImageFolder`; or a function of a
            random generator that yields the batches (x, y) of an epoch itself.
        y: targets, where data is an array (None: data itself).
        batch_size: default 128; the last batch may be smaller. Not for a function.
        shuffle: a new order each epoch (default True). Not for a function, which makes its own.
        augment: called with (x, y, rng) for every batch; gives the (x, y) to train on. See `Compose`.
        prefetch: batches that a thread makes ahead while the last one is computed with (default 2; 0: none).
        batches: of an epoch, for a function; what it yields beyond is left. Default: all that it yields.
        seed: of order, function and augmentation. None: the library's random numbers. `fit` with a seed of
            its own draws from that.

    Raises:
        TypeError, ValueError: as each argument says; from the loop what reading the samples raises.
    """

    def __init__(
        self,
        data: Any,
        y: npt.ArrayLike | None = None,
        *,
        batch_size: int | None = None,
        shuffle: bool = True,
        augment: Augment | None = None,
        prefetch: int = 2,
        batches: int | None = None,
        seed: int | None = None,
    ) -> None:
        self.source, self._function = _origin(data, y)
        if self._function is not None and batch_size is not None:
            raise TypeError("Loader: batch_size is not for a function, which makes its own batches")
        if self._function is None and batches is not None:
            raise TypeError("Loader: batches is for a function, which might never end")
        self.batch_size = 128 if batch_size is None else batch_size
        check_batch_size("Loader", self.batch_size)
        self.shuffle = check.flag("Loader", "shuffle", shuffle)
        if augment is not None and (isinstance(augment, type) or not callable(augment)):
            raise TypeError(f"Loader: augment must be a function (x, y, rng) -> (x, y), got {augment!r:.80}")
        self.augment = augment
        self.prefetch = check.integer("Loader", "prefetch", prefetch, 0)
        self._batches = None if batches is None else check.integer("Loader", "batches", batches, 1)
        self.rng = None if seed is None else config.seeded("Loader: seed", seed)

    @property
    def samples(self) -> int | None:
        """Samples of an epoch; None for a function."""
        return None if self.source is None else len(self.source)

    @property
    def batches(self) -> int | None:
        """Batches of an epoch; None for a function without `batches`."""
        return self._batches if self.source is None else -(-len(self.source) // self.batch_size)

    def __len__(self) -> int:
        if self.batches is None:
            raise TypeError("Loader: how many batches the function yields is not known; give batches=")
        return self.batches

    def __iter__(self) -> Iterator[Pair]:
        return self.epoch()

    def epoch(self, rng: Rng | None = None) -> Generator[Pair, None, None]:
        """The batches of a new epoch, from this generator or the Loader's own."""
        rng = self.rng if rng is None else rng
        rng = config.rng() if rng is None else rng
        # All that the thread draws comes from `own`, so that nothing depends on how far ahead it is.
        own = np.random.default_rng(rng.integers(2**63, size=4))
        order = self._order(rng)
        made = self._made(order, own)
        return _ahead(made, self.prefetch) if self.prefetch else made

    def _order(self, rng: Rng) -> Array | None:
        if self.source is None:
            return None
        return rng.permutation(len(self.source)) if self.shuffle else np.arange(len(self.source))

    def _made(self, order: Array | None, rng: Rng) -> Generator[Pair, None, None]:
        for x, y in self._taken(order, rng):
            if len(x) == 0:  # all of its files were broken, and skipped
                continue
            pair = (x, y) if self.augment is None else self.augment(x, y, rng)
            yield _checked("augment", pair)

    def _taken(self, order: Array | None, rng: Rng) -> Iterator[Pair]:
        if self._function is not None:
            for number, pair in enumerate(_iterated(self._function(rng))):
                if number == self._batches:
                    return
                yield _checked("the function", pair)
            return
        assert self.source is not None
        assert order is not None
        for start in range(0, len(order), self.batch_size):
            yield self.source.take(order[start : start + self.batch_size])


def _origin(data: Any, y: Any) -> tuple[Source | None, Callable[[Rng], Iterable[Pair]] | None]:
    """A source of samples, or a function that makes batches."""
    if isinstance(data, Loader):
        raise TypeError("Loader: data is a Loader already")
    if isinstance(data, Iterator):
        raise TypeError(
            f"Loader: data is a {type(data).__name__}, which serves for one epoch only; give the function "
            "that makes it, with one argument, a random generator"
        )
    own = hasattr(data, "take") and hasattr(data, "__len__") and not hasattr(data, "__array__")
    if (own or callable(data)) and y is not None:
        raise TypeError(f"Loader: y is for arrays; {type(data).__name__} brings its own targets")
    if own:
        if len(data) == 0:
            raise ValueError("Loader: data has no samples")
        return data, None
    if callable(data) and not isinstance(data, type):
        return None, data
    return Samples(data, data if y is None else y, who="Loader"), None


def _iterated(made: Any) -> Iterable[Pair]:
    if not isinstance(made, Iterable):
        raise TypeError(f"Loader: the function must yield batches (x, y), got {type(made).__name__}")
    return made


def _checked(who: str, pair: Any) -> Pair:
    """A batch: two arrays of one length."""
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise TypeError(f"Loader: {who} must give pairs (x, y), got {type(pair).__name__}")
    x, y = (check.array_of("Loader", name, value) for name, value in zip("xy", pair, strict=True))
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
        raise ValueError(f"Loader: {who} gave x of shape {x.shape} and y of shape {y.shape}")
    return np.ascontiguousarray(x), np.ascontiguousarray(y)


def _ahead(made: Generator[Pair, None, None], count: int) -> Generator[Pair, None, None]:
    """The same batches, made by a thread that is up to `count` ahead. Its errors are raised here."""
    line: queue.Queue[tuple[Pair | None, BaseException | None]] = queue.Queue()
    room, left = threading.Semaphore(count), threading.Event()

    def work() -> None:
        try:
            while True:
                room.acquire()
                pair = None if left.is_set() else next(made, None)
                line.put((pair, None))
                if pair is None:
                    return
        except BaseException as error:
            line.put((None, error))

    thread = threading.Thread(target=work, name="lamina.data.Loader", daemon=True)
    thread.start()
    try:
        while True:
            pair, error = line.get()
            if error is not None:
                raise error
            if pair is None:
                return
            room.release()
            yield pair
    finally:
        left.set()
        room.release()
        thread.join()
        made.close()
