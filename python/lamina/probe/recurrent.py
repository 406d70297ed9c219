"""Recurrent networks: what units follow in a text, and how far back gradients reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lamina import nn
from lamina.autograd import Tensor
from lamina.nn.modes import frozen

Array = npt.NDArray[Any]


class Unit(NamedTuple):
    """One unit of a recurrent network, and its correlation with a signal."""

    layer: int  # place in the list of `activations`
    name: str  # which of its arrays: "c", "h", "f", ...
    unit: int
    correlation: float


def bracket_depth(text: str, brackets: str = "()") -> Array:
    """How many brackets are open behind each character, (T,); one that closes nothing counts nothing.

    brackets: pairs, as "()[]". ValueError if they are not pairs.
    """
    if not brackets or len(brackets) % 2:
        raise ValueError(f"bracket_depth: brackets must be pairs, as '()[]', got {brackets!r}")
    opening, closing = brackets[::2], brackets[1::2]
    depths = np.zeros(len(text))
    depth = 0
    for t, character in enumerate(text):
        depth = max(0, depth + (character in opening) - (character in closing))
        depths[t] = depth
    return depths


def inside_quotes(text: str, quote: str = '"') -> Array:
    """1 from a quote to the character before the next one, elsewhere 0, (T,). They pair up from the first."""
    quotes = np.array([character == quote for character in text], bool)
    return np.asarray(np.cumsum(quotes) % 2, np.float64)


def correlations(values: npt.ArrayLike, signal: npt.ArrayLike) -> Array:
    """Pearson's correlation of each unit with a signal; 0 for a unit that never changes.

    values (T,H), signal (T,) -> (H,). ValueError for shapes that do not fit and a signal that is constant.
    """
    v, s = np.asarray(values, np.float64), np.asarray(signal, np.float64)
    if v.ndim != 2 or s.shape != v.shape[:1]:
        raise ValueError(
            f"correlations: values have shape {v.shape} and signal {s.shape}, expected (T, H) and (T,)"
        )
    v, s = v - v.mean(axis=0), s - s.mean()
    if not s.any():
        raise ValueError("correlations: signal is constant: nothing can follow it")
    scale = np.sqrt((v * v).sum(axis=0) * (s @ s))
    return np.asarray(np.divide(s @ v, scale, out=np.zeros(v.shape[1]), where=scale > 0))


def rank_units(
    activations: Sequence[Mapping[str, npt.ArrayLike]], signal: npt.ArrayLike, *, names: Sequence[str] = "ch"
) -> list[Unit]:
    """Every unit of a network that read one text, the one that follows the signal most closely first.

    activations: of `nn.LSTM.activations` and its like, each array (1,T,H). names: which of them to search;
    those that a layer has not are passed over. Source of the idea: A. Karpathy, J. Johnson, L. Fei-Fei,
    Visualizing and Understanding Recurrent Networks, 2015, who found such units by eye. ValueError for more
    than one text, and as `correlations`.
    """
    found = []
    for layer, arrays in enumerate(activations):
        for name in (name for name in names if name in arrays):
            values = np.asarray(arrays[name])
            if values.ndim != 3 or len(values) != 1:
                raise ValueError(f"rank_units: {name} has shape {values.shape}, expected (1, T, H): one text")
            scores = correlations(values[0], signal)
            found += [Unit(layer, name, unit, float(score)) for unit, score in enumerate(scores)]
    return sorted(found, key=lambda unit: -abs(unit.correlation))


def gradient_by_lag(
    layer: nn.Module, x: npt.ArrayLike, *, loss: Callable[[Tensor], Tensor] | None = None
) -> Array:
    """How much the loss of the last step feels each input: the norm of dL_T/dx_t over the lag T - t.

    layer: maps x to (y, state), as `nn.RNN` and its like. x (N,T,D), floats. loss: maps the last output
    (N,H) to one number, a sum over sequences; by default the sum of its elements. Returns (T,), element k the
    mean over sequences of the norm at lag k. Source: Bengio, Simard, Frasconi 1994. ValueError for another
    shape.
    """
    array = np.asarray(x, next((p.dtype for p in layer.parameters()), None))
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(f"gradient_by_lag: x has shape {array.shape}, expected (N, T, D), none of them 0")
    tensor = Tensor(array, requires_grad=True)
    with frozen(layer):
        last = layer(tensor)[0][:, -1]
        (last.sum() if loss is None else loss(last)).backward()
    assert tensor.grad is not None
    norms: Array = np.linalg.norm(tensor.grad, axis=2).mean(axis=0)[::-1]
    return norms
