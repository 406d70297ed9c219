"""Models without Python: the kernel calls of one run, written down, then made again for every x.

A plan is for one shape. Layouts, memory and the order of the calls are settled when it is made; a call copies
x in, runs the kernels one after the other and copies the result out.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina import config
from lamina.autograd import Tensor, no_grad
from lamina.nn.modes import evaluating
from lamina.nn.summary import watchers
from lamina.ops import _check as check

Array = npt.NDArray[Any]

MOST_ELEMENTS = 1 << 14  # of an x for which `predict` makes a plan: above, Python's share is small
_MOST_PLANS = 8  # of a model that `predict` keeps


class NotCompiled(ValueError):
    """The model cannot be compiled; the message says why."""


class Compiled:
    """What `lamina.compile` makes: call it with an x of the example's shape and dtype.

    It gives what `model(x)` gives in evaluation mode, as an array, bit for bit, with the values that the
    parameters and buffers have then. Several threads may call it at once; they take turns.

    shape, dtype: of x. calls: how many kernels it runs; bytes: of memory it keeps beside the parameters.
    """

    def __init__(self, model: Callable[[], Any], example: Array) -> None:
        self._model, self.shape, self.dtype = model, example.shape, example.dtype
        self._lock = threading.Lock()
        self._record(example)

    def __call__(self, x: npt.ArrayLike) -> Array:
        """x -> the model's result, a new array. ValueError for other shapes, TypeError for masks."""
        given = self._admitted(x)
        if not self._is_current():
            with self._lock:
                self._record(given)
        result: Array = self._plan(given)
        return result

    def __repr__(self) -> str:
        shape, name = "x".join(map(str, self.shape)), type(self._model()).__name__
        return f"Compiled({name}, {shape} {self.dtype}, {self.calls} calls, {self.bytes:,} bytes)"

    @property
    def calls(self) -> int:
        """Kernel calls of a run."""
        return int(self._plan.calls)

    @property
    def bytes(self) -> int:
        """Memory of the plan, parameters excepted."""
        return int(self._plan.bytes)

    def _admitted(self, x: Any) -> Array:
        if x.__class__ is np.ndarray and x.dtype == self.dtype and x.flags.c_contiguous and x.flags.aligned:
            return np.asarray(x)  # where the shape is wrong, the plan says so
        array = check.array_of("a compiled model", "x", x.data if isinstance(x, Tensor) else x)
        if not np.can_cast(array.dtype, self.dtype, "same_kind"):
            raise TypeError(f"a compiled model: x is {array.dtype}, but it was compiled for {self.dtype}")
        return np.require(array, self.dtype, ["C", "A"])

    def _is_current(self) -> bool:
        """Whether parameters and buffers are where they were; new values in their places are no matter."""
        for parameter, array in self._parameters:
            if parameter.data is not array:
                return False
        return all(getattr(module(), name) is array for module, name, array in self._buffers)

    def _record(self, example: Array) -> None:
        """Run the model once, and write down how its kernels are called."""
        if not config.has_plans():
            raise NotCompiled("compile: the NumPy backend makes no plans; use_backend('cpp')")
        model, plan = self._model(), config.new_plan(example)
        plan.start()
        try:
            with evaluating(model), no_grad():
                plan.stop(_array(model, model(Tensor(plan.input()))))
        finally:
            plan.abandon()
        # No strong reference to a module: a plan that `predict` made must not keep its model alive.
        self._parameters = [(parameter, parameter.data) for parameter in model.parameters()]
        self._buffers = [
            (weakref.ref(module), name, getattr(module, name))
            for module in model.modules()
            for name in module._buffer_names
        ]
        known = [array for *_, array in (*self._parameters, *self._buffers)]
        for op, array in plan.constants:
            if not _is_constant(array, known):
                raise NotCompiled(
                    f"compile: {op} gets an array of shape {array.shape} that NumPy computed inside "
                    f"{type(model).__name__}; only what lamina's kernels compute can be compiled"
                )
        self._plan = plan
        _compare(plan, model, example)


def _compare(plan: Any, model: Any, example: Array) -> None:
    """The plan must give what the model gives for another x: nothing in it may hang on the example."""
    other = _another(example)
    with evaluating(model), no_grad():
        expected = model(Tensor(other)).data
    if not np.array_equal(plan(other), expected, equal_nan=True):
        raise NotCompiled(
            f"compile: {type(model).__name__} computes with NumPy or chooses by the values of x; only what "
            "lamina's kernels compute, always the same of them, can be compiled"
        )


def compile(model: Any, example: npt.ArrayLike) -> Compiled:
    """The model for x of the example's shape, without Python between its kernels.

    model: a module of one tensor that returns one tensor; run in evaluation mode, a few times. example: an x
    (N, ...), floats in any dtype or tokens; its values do not matter, though tokens must be valid.

        answer = lm.compile(model, x[:1])
        scores = answer(x[7:8])

    What it gives is bit for bit what the model gives. New values of parameters are seen; after changing the
    layers themselves, compile again. `predict` compiles by itself what is small. Raises NotCompiled, a
    ValueError, for models that compute with NumPy or branch by the values of x.
    """
    given = check.array_of("compile", "example", example.data if isinstance(example, Tensor) else example)
    return Compiled(lambda: model, _example(model, given))


def _example(model: Any, array: Array) -> Array:
    """In the dtype that the model gets."""
    dtype: Any = np.int64
    if array.dtype.kind == "f":
        dtype = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
    return np.require(array, dtype, ["C", "A"])


def _array(model: Any, y: Any) -> Array:
    if not isinstance(y, Tensor):
        raise NotCompiled(f"compile: {type(model).__name__} returns {type(y).__name__}, expected one tensor")
    found: Array = y.data
    return found


def _is_constant(array: Array, known: list[Array]) -> bool:
    """Whether an array that no kernel made is known to be the same on every run: a parameter, or part of one,
    a first state of zeros, or places and lengths, which follow from the shape.
    """
    if array.dtype.kind != "f" or not array.any():
        return True
    return any(np.may_share_memory(array, other) for other in known)


def _another(example: Array) -> Array:
    """An x of the same shape and kind with other values."""
    rng = np.random.default_rng(0)
    if example.dtype.kind == "f":
        return np.asarray(rng.standard_normal(example.shape) + example, example.dtype)
    if not example.any():
        raise NotCompiled("compile: the example is 0 everywhere; give one with other tokens")
    other = rng.permutation(example.ravel()).reshape(example.shape)
    return np.zeros_like(example) if np.array_equal(other, example) else np.asarray(other)


# by itself ----------------------------------------------------------------------------------------------
class _Known:
    """What `predict` knows of a model: by (shape, dtype) its plan, False for none, None if seen but once."""

    def __init__(self, changed: object) -> None:
        self.changed = changed
        self.plans: dict[Any, Compiled | bool | None] = {}


_known: weakref.WeakKeyDictionary[Any, _Known] = weakref.WeakKeyDictionary()


def plan_of(model: Any, x: Array, changed: object) -> Compiled | None:
    """The plan of a model of the library's own modules, from the second x of a shape on; None if it has none.

    changed: an object that is another one after any change of a module.
    """
    known = _known.get(model)
    if known is None or known.changed is not changed or len(known.plans) > _MOST_PLANS:
        known = _known[model] = _Known(changed)
    key = x.shape, x.dtype
    if key not in known.plans:
        known.plans[key] = None
        return None
    plan = known.plans[key]
    if plan is None and not watchers:
        plan = known.plans[key] = _compiled(model, x)
    return plan if isinstance(plan, Compiled) else None


def _compiled(model: Any, x: Array) -> Compiled | bool:
    """False for models that cannot be compiled, and for those of others, who may count how often they run."""
    if any(not type(module).__module__.startswith("lamina.") for module in model.modules()):
        return False
    try:
        return Compiled(weakref.ref(model), _example(model, x))
    except NotCompiled:
        return False
