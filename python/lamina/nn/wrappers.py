"""Modules around a module of sequences: both directions, and every step by itself."""

from typing import Any

import numpy as np
import numpy.typing as npt

from lamina import _hosted as hosted
from lamina import init
from lamina.autograd import Tensor, record
from lamina.functions import concatenate
from lamina.nn._twin import twin
from lamina.nn.module import Module
from lamina.ops import _check as check

_MERGES = ("concat", "sum", "mul", "average")


class Bidirectional(Module):
    """Read sequences both ways: y = merge(layer(x), reversed backward_layer(reversed x)).

    layer: any module that maps sequences (N,T,...) to sequences (N,T,...), with or without a state; it may
    not hold a Bidirectional itself. merge: "concat" of the last axes, "sum", "mul" or "average".

    `backward_layer` is a copy of the layer with parameters of its own, which start anew: those of layers of
    this library are drawn from `rng` as their constructors draw them, and those that a module of your own
    class holds itself are its values in another order. `rng` is a generator, a seed or None for the library's
    own. Source: M. Schuster & K. Paliwal, Bidirectional recurrent neural networks, 1997.
    """

    def __init__(self, layer: Module, *, merge: str = "concat", rng: init.Rng = None) -> None:
        if not isinstance(layer, Module):
            raise TypeError(f"Bidirectional: layer must be a Module, got {type(layer).__name__}")
        if any(isinstance(module, Bidirectional) for module in layer.modules()):
            raise ValueError("Bidirectional: layer holds a Bidirectional, which reads both ways already")
        self.merge = check.choice("Bidirectional", "merge", merge, _MERGES)
        self.layer = layer
        self.backward_layer = twin(layer, init.generator(rng))

    def forward(self, x: Tensor, state: Any = None, lengths: Any = None) -> Any:
        """x (N,T,...), lengths (N,) or None for T each -> y (N,T,...).

        Each sequence is reversed within its own length. A layer that returns (y, state) makes this one return
        (y, (state, state of the way back)), and a pair like that is what `state` takes. A layer whose
        `forward` takes lengths gets them; else what stands beyond the end of a sequence is what the layer
        makes of the padding.
        """
        if x.ndim < 2:
            raise ValueError(f"Bidirectional: x must have the axes N, T, ..., got {x.ndim} (shape {x.shape})")
        if state is not None and (not isinstance(state, (tuple, list)) or len(state) != 2):
            raise TypeError(
                f"Bidirectional: state must be a pair, one for each way, or None, got {type(state).__name__}"
            )
        order = _reversal(lengths, *x.shape[:2])
        options = {"lengths": lengths} if lengths is not None and _takes_lengths(self.layer) else {}
        outputs, states = [], []
        for way, layer in enumerate((self.layer, self.backward_layer)):
            given = options if state is None else {"state": state[way], **options}
            y = layer(_reordered(x, order) if way else x, **given)
            if isinstance(y, tuple):
                y, last = y
                states.append(last)
            y = _sequences(y, x.shape[:2])
            outputs.append(_reordered(y, order) if way else y)
        merged = self._merged(*outputs)
        return (merged, tuple(states)) if states else merged

    def _merged(self, y: Tensor, back: Tensor) -> Any:
        if self.merge == "concat":
            return concatenate([y, back], axis=-1)
        if self.merge == "mul":
            return y * back
        return y + back if self.merge == "sum" else (y + back) * 0.5


class TimeDistributed(Module):
    """The same module on every step by itself: x (N,T,...) as (N T,...), and back.

    In training a module that looks at the whole batch sees all steps as its samples.
    """

    def __init__(self, module: Module) -> None:
        if not isinstance(module, Module):
            raise TypeError(f"TimeDistributed: module must be a Module, got {type(module).__name__}")
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """x (N,T,...) -> (N,T,...), the rest as the module makes it of (N T,...)."""
        if x.ndim < 2:
            raise ValueError(
                f"TimeDistributed: x must have the axes N, T, ..., got {x.ndim} (shape {x.shape})"
            )
        count, steps = x.shape[:2]
        y = self.module(x.reshape(count * steps, *x.shape[2:]))
        if not isinstance(y, Tensor) or y.shape[:1] != (count * steps,):
            raise TypeError(
                f"TimeDistributed: {type(self.module).__name__} must return one tensor with {count * steps} "
                f"rows for {count} x {steps} steps, got {_named(y)}"
            )
        return y.reshape(count, steps, *y.shape[1:])


def _named(y: Any) -> str:
    return f"shape {y.shape}" if isinstance(y, Tensor) else type(y).__name__


def _sequences(y: Any, expected: tuple[int, ...]) -> Tensor:
    if not isinstance(y, Tensor) or y.shape[:2] != expected:
        raise TypeError(
            f"Bidirectional: layer must return sequences {expected} as it got them, (N, T), "
            f"or those and a state, got {_named(y)}"
        )
    return y


def _takes_lengths(layer: Module) -> bool:
    import inspect  # slow to import

    return "lengths" in inspect.signature(layer.forward).parameters


def _reversal(lengths: Any, rows: int, steps: int) -> npt.NDArray[np.int64] | None:
    """(N,T): the step that comes in the place of each; None for all of them in reverse."""
    if lengths is None:
        return None
    ends = check.lengths("Bidirectional", lengths, rows, steps)[:, None]
    time = np.arange(steps)
    return np.where(time < ends, ends - 1 - time, time)


def _reordered(x: Tensor, order: npt.NDArray[np.int64] | None) -> Tensor:
    return record(hosted.again(_take, x.data, order), (x,), _take, order)


def _take(x: npt.NDArray[Any], order: npt.NDArray[np.int64] | None) -> npt.NDArray[Any]:
    """x (N,T,...) with its steps in that order; done twice, it is undone, so it is its own backward."""
    if order is None:
        return np.ascontiguousarray(x[:, ::-1])
    found: npt.NDArray[Any] = x[np.arange(len(x))[:, None], order]
    return found
