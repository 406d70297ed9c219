"""Training steps without Python: forward, loss and backward as one plan, then the optimiser's step."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina import config
from lamina.autograd import Tensor
from lamina.nn.recorded import Call, NotCompiled, Places, Planned, Recorded, another, equal, in_dtype

Array = npt.NDArray[Any]
Loss = Callable[[Tensor, Any], Tensor]

_WHO = "a compiled step"


class CompiledStep(Planned):
    """What `lamina.compile` makes of a model with its loss and optimiser.

    Called with x and y of the examples' shapes, it does what these lines do, bit for bit -> the loss:

        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        optimizer.step()

    calls: how many kernels it runs, with what NumPy computes between them; bytes: of memory that it keeps.
    """

    def __init__(self, model: Any, x: Array, y: Array, loss: Loss, optimizer: Any) -> None:
        self._model, self._loss, self._optimizer = model, loss, optimizer
        self._dtypes = x.dtype, y.dtype
        self._record(x, y)

    def __call__(self, x: npt.ArrayLike, y: npt.ArrayLike) -> float:
        """One step with x (N, ...) and its targets y -> the loss before it. Errors as of `gradients`."""
        value, _ = self.gradients(x, y)
        self._optimizer.step()
        return value

    def gradients(self, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[float, Array]:
        """The loss and what the model makes of x; the parameters have gradients of this batch alone after it.

        ValueError for other shapes than those of the examples, TypeError for masks and other dtypes.
        """
        given = self._ready(x, y)
        value, y_pred = self._plan(*given)
        for parameter, grad in self._grads:
            parameter.grad = grad
        return float(value.reshape(())), y_pred

    def profile(self, x: npt.ArrayLike, y: npt.ArrayLike, runs: int = 10) -> list[Call]:
        """How long each call takes, the median of some runs, but for the optimiser's; no parameter moves."""
        given = self._ready(x, y)
        return self._plan.profile(given, runs)

    def _ready(self, x: npt.ArrayLike, y: npt.ArrayLike) -> list[Array]:
        given = [in_dtype(_WHO, name, a, t) for name, a, t in zip("xy", (x, y), self._dtypes, strict=True)]
        if not self._is_current():
            self._record(*given)
        return given

    def __repr__(self) -> str:
        return f"CompiledStep({type(self._model).__name__}, {self.calls} calls, {self.bytes:,} bytes)"

    def _is_current(self) -> bool:
        """Whether the model is in the modes, parameters and gradients in the places, that they were in."""
        if any(module.training != mode for module, mode in self._modes) or not self._places.are_current():
            return False
        return all(p.requires_grad == wanted and p._grad_view is view for p, wanted, view in self._wants)

    def _record(self, x: Array, y: Array) -> None:
        model, name = self._model, type(self._model).__name__
        self._optimizer.gather()
        self._places = Places(model)
        self._modes = [(module, module.training) for module in model.modules()]
        self._wants = [(p, p.requires_grad, p._grad_view) for p in model.parameters()]
        if any(wanted and view is None for _, wanted, view in self._wants):
            raise NotCompiled(f"compile: the optimizer does not have all parameters of {name}")
        views = [view for *_, view in self._wants if view is not None]
        other, rng = (another(x), _resampled(y)), np.random.default_rng(0)
        try:
            with np.errstate(all="ignore"):  # other values may overflow
                with _kept(model, rng), self._places.changed():
                    expected = [array.copy() for array in (*self._run([*other]), *self._gradients())]
                with _kept(model, rng):
                    plan = Recorded([x, y], self._run, [*self._places.arrays, *views], name)
                self._grads = [(p, p.grad) for p, *_ in self._wants]
                for view in views:
                    view[...] = 0
                with _kept(model, rng), self._places.changed():
                    found = [*plan(*other), *self._gradients()]
        finally:
            self._optimizer.zero_grad()
        # Nothing in it may hang on the examples.
        if not equal(found, expected):
            raise NotCompiled(
                f"compile: a training step of {name} computes outside of lamina's layers and functions, or "
                "chooses by the values of x and y; only what is computed always alike can be compiled"
            )
        self._plan = plan

    def _run(self, inputs: list[Array]) -> list[Array]:
        """Forward and backward -> the loss and what the model made of x."""
        self._optimizer.zero_grad()
        y_pred = self._model(Tensor(inputs[0]))
        if not isinstance(y_pred, Tensor):
            raise NotCompiled(f"compile: the model returns {type(y_pred).__name__}, expected one tensor")
        value = self._loss(y_pred, inputs[1])
        if not isinstance(value, Tensor) or value.size != 1:
            raise NotCompiled("compile: the loss must return one number, a tensor")
        value.backward()
        return [value.data, y_pred.data]

    def _gradients(self) -> list[Array]:
        return [p.grad for p, *_ in self._wants if p.grad is not None]


def _resampled(y: Array) -> Array:
    """Targets of other samples: some of them never, some often."""
    found: Array = y[np.random.default_rng(1).integers(0, len(y), len(y))]
    return found


@contextmanager
def _kept(model: Any, rng: np.random.Generator) -> Iterator[None]:
    """Buffers, such as running statistics, and random numbers stand afterwards as they do now.

    rng: where the library's own random numbers come from meanwhile. A thread that prepares batches may be
    drawing from the usual ones.
    """
    buffers = [getattr(module, name) for module in model.modules() for name in module._buffer_names]
    values = [array.copy() for array in buffers]
    states = [(own, copy.deepcopy(own.bit_generator.state)) for own in _generators(model)]
    try:
        with config.other_rng(copy.deepcopy(rng)):
            yield
    finally:
        for array, value in zip(buffers, values, strict=True):
            array[...] = value
        for own, state in states:
            own.bit_generator.state = state


def _generators(model: Any) -> list[np.random.Generator]:
    attributes = (value for module in model.modules() for value in vars(module).values())
    return [value for value in attributes if isinstance(value, np.random.Generator)]
