"""Parameters and gradients of an optimiser as flat memory: one buffer of each per dtype.

The parameters' arrays become views of the buffer, and the tape writes their gradients straight into the
other, so that a step is one pass over memory. Another optimiser may take the same parameters into buffers
of its own, and a program may give a parameter a new array: `runs` copies the live values back before every
step.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.autograd import Tensor

Array = npt.NDArray[Any]

_ALIGNMENT = 64  # bytes: each parameter starts on a cache line of its own


class FlatParameters:
    """Parameters of one dtype in the buffer `data`, gradients in `grad`; `places` has the slice of each."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.parameters = list(parameters)
        # NumPy's own object: that of an unpickled parameter is only equal to it, which slows every op down.
        dtype = np.dtype(self.parameters[0].dtype.type)
        step = _ALIGNMENT // dtype.itemsize
        self.places: list[slice] = []
        size = 0
        for p in self.parameters:
            self.places.append(slice(size, size + p.size))
            size += -(-p.size // step) * step
        self.data, self.grad = aligned_zeros(size, dtype), aligned_zeros(size, dtype)
        self._data_views = self.views(self.data)
        self._grad_views = self.views(self.grad)
        self.steps = [0] * len(self.parameters)  # taken so far, by each parameter
        for i in range(len(self.parameters)):
            self._adopt(i)

    def views(self, flat: Array) -> list[Array]:
        """`flat`, a buffer of the same layout, as one array per parameter."""
        return [flat[at].reshape(p.shape) for at, p in zip(self.places, self.parameters, strict=True)]

    def check_fit(self) -> None:
        """ValueError if a parameter has changed its shape or dtype since the buffers were made."""
        for i in range(len(self.parameters)):
            self._check_fit(i)

    def _check_fit(self, i: int) -> None:
        p, data = self.parameters[i], self._data_views[i]
        if p.shape != data.shape or p.dtype != data.dtype:
            raise ValueError(
                f"the optimiser was made for a parameter of shape {data.shape} and dtype {data.dtype}, which "
                f"now has shape {p.shape} and dtype {p.dtype}; make a new optimiser"
            )

    def _adopt(self, i: int) -> None:
        """Make parameter i a view of this buffer, with the value that it has now."""
        self._check_fit(i)
        p, data, grad = self.parameters[i], self._data_views[i], self._grad_views[i]
        np.copyto(data, p.data)
        p.data = data
        p._grad_view = grad
        self._collect(i)

    def _collect(self, i: int) -> None:
        """Bring the gradient of parameter i into the buffer, if it is elsewhere."""
        p, grad = self.parameters[i], self._grad_views[i]
        if p.grad is not None and p.grad is not grad:
            if p.grad.shape != grad.shape:
                raise ValueError(f"a gradient has shape {p.grad.shape}, but its parameter {grad.shape}")
            np.copyto(grad, p.grad)
            p.grad = grad

    def gather(self) -> int:
        """Bring all parameters and gradients into the buffers, zeros for none -> how many there are."""
        for i, p in enumerate(self.parameters):
            if p.data is not self._data_views[i]:
                self._adopt(i)
            self._collect(i)
            if p.grad is None:
                self._grad_views[i][...] = 0
        return sum(p.grad is not None for p in self.parameters)

    def runs(self) -> Iterator[tuple[slice, int]]:
        """Count a step for every parameter that has a gradient.

        Yields (slice, steps taken) for each longest stretch of neighbours that have one and have taken as
        many steps: one stretch, normally. The padding between neighbours is zero in every buffer and stays
        so.
        """
        start = -1
        for i, p in enumerate(self.parameters):
            if p.data is not self._data_views[i]:
                self._adopt(i)
            if start >= 0 and (p.grad is None or self.steps[i] + 1 != self.steps[start]):
                yield self._stretch(start, i), self.steps[start]
                start = -1
            if p.grad is not None:
                self._collect(i)
                self.steps[i] += 1
                start = i if start < 0 else start
        if start >= 0:
            yield self._stretch(start, len(self.parameters)), self.steps[start]

    def _stretch(self, first: int, end: int) -> slice:
        return slice(self.places[first].start, self.places[end - 1].stop)


def aligned_zeros(size: int, dtype: np.dtype[Any]) -> Array:
    """A vector of zeros that starts on a cache line."""
    raw = np.zeros(size * dtype.itemsize + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size * dtype.itemsize].view(dtype)
