"""Models without Python: the kernel calls of one run, written down, then made again for every x.

A plan is for one shape. Layouts, memory and the order of the calls are settled when it is made; a call copies
x in, runs the kernels one after the other and copies the result out.
"""

from __future__ import annotations

import copy
import threading
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from lamina.autograd import Tensor, no_grad
from lamina.nn.modes import evaluating
from lamina.nn.plan_step import CompiledStep, Loss
from lamina.nn.recorded import Call, NotCompiled, Places, Planned, Recorded, another, equal, in_dtype
from lamina.nn.summary import watchers
from lamina.ops import _check as check

Array = npt.NDArray[Any]

_MOST_PLANS = 8  # of a model that `predict` keeps
_MOST_BYTES = 1 << 26  # of such a plan


class Compiled(Planned):
    """What `lamina.compile` makes: call it with an x of the example's shape and dtype.

    It gives what `model(x)` gives in evaluation mode, as an array, bit for bit, with the values that the
    parameters and buffers have then. Several threads may call it at once; they take turns.

    shape, dtype: of x. frozen: whether it has a copy of the model instead. calls: how many kernels it runs,
    with what NumPy computes between them; bytes: of memory that it keeps beside the parameters.
    """

    def __init__(
        self, model: Callable[[], Any], example: Array, *, frozen: bool = False, alone: bool = True
    ) -> None:
        self._model, self.shape, self.dtype, self.frozen = model, example.shape, example.dtype, frozen
        self._alone = alone  # whether no other thread may be using the model now
        self._lock = threading.Lock()
        self._record(example)

    def __call__(self, x: npt.ArrayLike) -> Array:
        """x -> the model's result, a new array. ValueError for other shapes, TypeError for masks."""
        given = self._ready(x)
        (result,) = self._plan(given)
        return result

    def profile(self, x: npt.ArrayLike, runs: int = 10) -> list[Call]:
        """How long each call takes, the median of some runs; errors as of a call."""
        given = self._ready(x)
        return self._plan.profile([given], runs)

    def _ready(self, x: npt.ArrayLike) -> Array:
        given = in_dtype("a compiled model", "x", x, self.dtype)
        if not self._places.are_current():
            with self._lock:
                self._record(given)
        return given

    def __repr__(self) -> str:
        shape, name = "x".join(map(str, self.shape)), type(self._model()).__name__
        return f"Compiled({name}, {shape} {self.dtype}, {self.calls} calls, {self.bytes:,} bytes)"

    def _record(self, example: Array) -> None:
        """Run the model once, and write down how its kernels are called."""
        model = self._model()
        self._places = Places(model)
        other, name = another(example), type(model).__name__

        def run(inputs: list[Array]) -> list[Array]:
            return [_array(model, model(Tensor(inputs[0])))]

        with evaluating(model), no_grad():
            plan = Recorded([example], run, self._places.arrays, name, frozen=self.frozen)
            # Nothing in it may hang on the example, nor on the values that parameters have now.
            with self._places.changed() if self._alone and not self.frozen else nullcontext():
                same = equal(plan(other), run([other]))
        if not same:
            raise NotCompiled(
                f"compile: {name} computes outside of lamina's layers and functions, or chooses by the "
                "values of x; only what is computed always alike can be compiled"
            )
        self._plan = plan


@overload
def compile(model: Any, example: npt.ArrayLike, *, frozen: bool = False) -> Compiled: ...


@overload
def compile(
    model: Any, example: npt.ArrayLike, target: npt.ArrayLike, *, loss: Loss, optimizer: Any
) -> CompiledStep: ...


def compile(
    model: Any,
    example: npt.ArrayLike,
    target: npt.ArrayLike | None = None,
    *,
    frozen: bool = False,
    loss: Loss | None = None,
    optimizer: Any = None,
) -> Compiled | CompiledStep:
    """The model for x of the example's shape, without Python between its kernels.

    model: a module of one tensor that returns one tensor; run in evaluation mode, a few times. example: an x
    (N, ...), floats in any dtype or tokens; its values do not matter, though tokens must be valid.

        answer = lm.compile(model, x[:1])
        scores = answer(x[7:8])

    frozen=True: of a copy of the model as it is now, whose filters and recurrent weights are packed once;
    faster where they are large and pixels or sequences few.

    With a target, a loss and an optimizer of all parameters, whole training steps in the mode that the model
    is in:

        adam = optim.Adam(model.parameters())
        step = lm.compile(model, x[:64], y[:64], loss=nn.CrossEntropyLoss(), optimizer=adam)
        value = step(x[64:128], y[64:128])

    Both give bit for bit what the model gives. New values of parameters, learning rates and modes are seen;
    after changing the layers themselves, compile again. `predict` and `fit` compile by themselves what they
    can. Raises NotCompiled, a ValueError, for models that compute outside of lamina's layers and functions or
    branch by the values of x.
    """
    x = _example(model, _given("example", example))
    if target is None and loss is None and optimizer is None:
        if check.flag("compile", "frozen", frozen):
            model = copy.deepcopy(model)
        return Compiled(lambda: model, x, frozen=bool(frozen))
    if target is None or loss is None or optimizer is None or frozen:
        raise TypeError(
            "compile: a training step takes a target, a loss and an optimizer, all three, and is not frozen"
        )
    return CompiledStep(model, x, _example(model, _given("target", target)), loss, optimizer)


def _given(name: str, value: Any) -> Array:
    return check.array_of("compile", name, value.data if isinstance(value, Tensor) else value)


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
        plan = Compiled(weakref.ref(model), _example(model, x), alone=False)
    except NotCompiled:
        return False
    return plan if plan.bytes <= _MOST_BYTES else False
