"""Why a loss is not a number."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.autograd import Tensor, no_grad
from lamina.nn import Module
from lamina.nn.summary import watching
from lamina.train.history import History


class Diverged(ArithmeticError):
    """The loss became NaN or infinite. `history` has the whole epochs until then."""

    def __init__(self, message: str, history: History) -> None:
        super().__init__(message)
        self.history = history


def diagnose(model: Module, x: npt.NDArray[Any], y: npt.NDArray[Any], y_pred: npt.NDArray[Any]) -> str:
    """The first cause in the order data, targets, weights, prediction, loss, and what to do about it."""
    for name, values in (("x", x), ("y", y)):
        count = _bad(values)
        if count:
            shape = f"shape {values.shape}"
            return f"{name} has {count} NaN or infinite values in this batch ({shape}); clean the data"
    for name, parameter in model.named_parameters():
        count = _bad(parameter.data)
        if count:
            return (
                f"the parameter {name!r} has {count} NaN or infinite values of {parameter.data.size}; "
                "a former step was too large (lower the learning rate) or its gradient was not finite"
            )
    if _bad(y_pred):
        span = f" (x runs from {x.min():.3g} to {x.max():.3g})" if x.dtype.kind in "fiu" else ""
        cause = f"data and weights are finite, but the prediction overflows{span}"
        return f"{cause}{_first_bad_layer(model, x)}; scale x or lower the learning rate"
    return "data, weights and prediction are finite, but the loss itself is not; check it and the range of y"


def _first_bad_layer(model: Module, x: npt.NDArray[Any]) -> str:
    """The first layer in the order of the computation whose output is not finite; "" if there is none."""
    names = {id(module): name for name, module in model.named_modules()}
    found: list[str] = []

    def watch(module: Module, given: Any, y: Any) -> None:
        # Modules around others come after those inside, so the first is the innermost.
        if not found and isinstance(y, Tensor) and _bad(y.data):
            count = f"{_bad(y.data)} of {y.data.size}"
            name = names.get(id(module)) or "the model itself"
            found.append(f", first in layer {name} ({type(module).__name__}): {count} values are not finite")

    with watching(watch), no_grad(), np.errstate(all="ignore"):
        model(x)
    return found[0] if found else ""


def _bad(values: npt.NDArray[Any]) -> int:
    return int(np.count_nonzero(~np.isfinite(values))) if values.dtype.kind in "fc" else 0
