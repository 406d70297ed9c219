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

_MOST_SHAPES = 4  # of batches, each of which has a plan
_MOST_TRIES = 16  # a program that changes the model all the time is not followed for ever


class Steps:
    """The compiled step for each shape of a batch, from the second batch of that shape on.

    Only models, losses and optimisers of the library: those of others may do more than compute.
    """

    def __init__(self, model: Any, loss: Any, optimizer: Any) -> None:
        self._model, self._loss, self._optimizer = model, loss, optimizer
        inside = (*model.modules(), loss, optimizer)
        own = all(type(each).__module__.startswith("lamina.") for each in inside)
        self._tries_left = _MOST_TRIES if own and not isinstance(model, Autoencoder) else 0
        self._known: dict[Any, CompiledStep | None] = {}
        self._changed = Module._changed

    def of(self, x: Array, y: Array) -> CompiledStep | None:
        """The step for these shapes; None where there is none yet, or none at all."""
        if watchers or not config.has_plans() or not self._tries_left:
            return None
        if self._changed is not Module._changed:
            self._changed, self._known = Module._changed, {}
        key = x.shape, x.dtype, y.shape, y.dtype
        if key in self._known:
            if self._known[key] is None:
                self._known[key] = self._compiled(x, y)
            return self._known[key]
        if len(self._known) < _MOST_SHAPES:
            self._known[key] = None
        return None

    def _compiled(self, x: Array, y: Array) -> CompiledStep | None:
        self._tries_left -= 1
        if len(x) == 0 or not all(np.can_cast(a.dtype, np.int64) or a.dtype.kind == "f" for a in (x, y)):
            return None
        try:
            return compile(self._model, x, y, loss=self._loss, optimizer=self._optimizer)
        except (ValueError, TypeError, RuntimeError):  # the step itself will say what is wrong, if it is
            self._tries_left = 0
            return None
