"""One run of a model written down, and what it rests on."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lamina import _hosted as hosted
from lamina import config
from lamina.autograd import Tensor
from lamina.ops import _check as check

Array = npt.NDArray[Any]


class NotCompiled(ValueError):
    """The model cannot be compiled; the message says why."""


class Call(NamedTuple):
    """Of a plan: the op (or "Python, " and a function of NumPy's part), the shape of the first array that it
    reads, and how long it took."""

    op: str
    shape: tuple[int, ...]
    seconds: float


class Recorded:
    """What `run` makes of arrays, for others of the same shapes and dtypes without Python between kernels.

    run: takes the inputs, a list of arrays, and returns a list of arrays. known: arrays beside the inputs
    that it may read: parameters, buffers. name: of the model, for errors. frozen: parameters never change.
    """

    def __init__(
        self,
        inputs: Sequence[Array],
        run: Callable[[list[Array]], list[Array]],
        known: Iterable[Array],
        name: str,
        *,
        frozen: bool = False,
    ) -> None:
        if not config.has_plans():
            raise NotCompiled("compile: the NumPy backend makes no plans; use_backend('cpp')")
        self._plan = config.new_plan(inputs, frozen)
        with hosted.Recording(self._plan) as recording:
            self._plan.stop(run(self._plan.inputs()))
        recording.drop_unread()
        self._hosts = recording.hosts
        known = [*known, *recording.results]
        for op, array in self._plan.constants:
            if not _is_constant(array, known):
                raise NotCompiled(
                    f"compile: {op} gets an array of shape {array.shape} computed inside {name}, but "
                    "not by lamina's layers and functions; what is computed elsewhere cannot be compiled"
                )

    def __call__(self, *inputs: Array) -> list[Array]:
        """What `run` makes of other inputs, in new arrays."""
        found: list[Array] = self._plan(inputs, self._hosts)
        return found

    def profile(self, inputs: Sequence[Array], runs: int) -> list[Call]:
        """Each call with the median of its times."""
        if runs < 1:
            raise ValueError(f"profile: runs must be at least 1, got {runs}")
        times = np.median([self._plan.times(inputs, self._hosts) for _ in range(runs)], axis=0)
        return [
            Call(op, tuple(shape), float(seconds))
            for (op, shape), seconds in zip(self._plan.names, times, strict=True)
        ]

    @property
    def calls(self) -> int:
        """Calls of a run, of kernels and of NumPy."""
        return int(self._plan.calls)

    @property
    def bytes(self) -> int:
        """Memory of the plan."""
        return int(self._plan.bytes)


def _is_constant(array: Array, known: list[Array]) -> bool:
    """Whether an array that no kernel made is known to be the same on every run: a parameter, or part of one,
    equal numbers, such as a first state of zeros, or places and lengths, which follow from the shape.
    """
    if array.dtype.kind != "f" or array.size == 0 or (array == array.flat[0]).all():
        return True
    return any(np.may_share_memory(array, other) for other in known)


class Places:
    """Where the parameters and buffers of a model are. New values in their places are no matter."""

    def __init__(self, model: Any) -> None:
        self._parameters = [(p, p.data) for p in model.parameters()]
        # No strong reference to a module: a plan that `predict` made must not keep its model alive.
        self._buffers = [
            (weakref.ref(module), name, getattr(module, name))
            for module in model.modules()
            for name in module._buffer_names
        ]

    def are_current(self) -> bool:
        """Whether all of them are there still."""
        for parameter, array in self._parameters:
            if parameter.data is not array:
                return False
        return all(getattr(module(), name) is array for module, name, array in self._buffers)

    @property
    def arrays(self) -> list[Array]:
        """All of them."""
        return [array for *_, array in (*self._parameters, *self._buffers)]

    @contextmanager
    def changed(self) -> Iterator[None]:
        """Other values in all of them for a while; what is positive stays so."""
        rng, values = np.random.default_rng(0), [array.copy() for array in self.arrays]
        try:
            for array in self.arrays:
                array *= 1 + 0.1 * rng.random(array.shape, array.dtype)
                array += 0.1 * rng.random(array.shape, array.dtype)
            yield
        finally:
            for array, value in zip(self.arrays, values, strict=True):
                array[...] = value


class Planned:
    """What calls a plan."""

    _plan: Recorded

    @property
    def calls(self) -> int:
        """Calls of a run, of kernels and of NumPy."""
        return self._plan.calls

    @property
    def bytes(self) -> int:
        """Memory of the plan, parameters excepted."""
        return self._plan.bytes


def in_dtype(who: str, name: str, value: Any, dtype: np.dtype[Any]) -> Array:
    """`value` as a plan for that dtype takes it; where the shape is wrong, the plan says so."""
    is_array = value.__class__ is np.ndarray and value.dtype == dtype
    if is_array and value.flags.c_contiguous and value.flags.aligned:
        return np.asarray(value)
    array = check.array_of(who, name, value.data if isinstance(value, Tensor) else value)
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise TypeError(f"{who}: {name} is {array.dtype}, but it was compiled for {dtype}")
    return np.require(array, dtype, ["C", "A"])


def another(example: Array) -> Array:
    """An x of the same shape and kind with other values."""
    rng = np.random.default_rng(0)
    if example.dtype.kind == "f":
        return np.asarray(rng.standard_normal(example.shape) + example, example.dtype)
    if not example.any():
        raise NotCompiled("compile: the example is 0 everywhere; give one with other tokens")
    other = rng.permutation(example.ravel()).reshape(example.shape)
    return np.zeros_like(example) if np.array_equal(other, example) else np.asarray(other)


def equal(one: Sequence[Array], other: Sequence[Array]) -> bool:
    """Whether all bits agree, NaN with NaN."""
    return all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(one, other, strict=True))
