"""Training steps that `fit` compiles by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lamina import config
from lamina.autoencoders import Autoencoder
from lamina.nn import Module
from lamina.nn.plan import compile
from lamina.nn.plan_step import CompiledStep
from lamina.nn.summary import watchers

Array = npt.NDArray[Any]

_MOST_ELEMENTS = 1 << 19  # of a batch: steps of larger ones are so long that Python's share is small
_WAIT = 10  # batches of a shape before it has a plan, which takes as long as four
_MOST_SHAPES = 4  # that have a plan
_MOST_TRIES = 16  # a program that changes the model all the time is not followed for ever


class Steps:
    """The compiled step for each shape of a batch that is small and comes often.

    Only models, losses and optimisers of the library: those of others may do more than compute.
    """

    def __init__(self, model: Any, loss: Any, optimizer: Any) -> None:
        self._model, self._loss, self._optimizer = model, loss, optimizer
        inside = (*model.modules(), loss, optimizer)
        own = all(type(each).__module__.startswith("lamina.") for each in inside)
        self._tries_left = _MOST_TRIES if own and not isinstance(model, Autoencoder) else 0
        self._plans: dict[Any, CompiledStep] = {}
        self._seen: dict[Any, int] = {}
        self._changed = Module._changed

    def of(self, x: Array, y: Array) -> CompiledStep | None:
        """The step for these shapes; None where there is none yet, or none at all."""
        if watchers or not config.has_plans() or not self._tries_left:
            return None
        if self._changed is not Module._changed:
            self._changed, self._plans = Module._changed, {}
        key = x.shape, x.dtype, y.shape, y.dtype
        if key not in self._plans and self._is_worth_it(x, key):
            self._compile(x, y, key)
        return self._plans.get(key)

    def _is_worth_it(self, x: Array, key: Any) -> bool:
        if x.size > _MOST_ELEMENTS or len(self._seen) > 100 * _MOST_SHAPES:
            return False
        self._seen[key] = self._seen.get(key, 0) + 1
        return self._seen[key] > _WAIT and len(self._plans) < _MOST_SHAPES

    def _compile(self, x: Array, y: Array, key: Any) -> None:
        self._tries_left -= 1
        if not all(np.can_cast(a.dtype, np.int64) or a.dtype.kind == "f" for a in (x, y)):
            return
        try:
            self._plans[key] = compile(self._model, x, y, loss=self._loss, optimizer=self._optimizer)
        except (ValueError, TypeError, RuntimeError):  # the step itself will say what is wrong, if it is
            self._tries_left = 0
