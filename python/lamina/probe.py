"""Looking into networks: what units follow in a text, how far back gradients reach, which filters edges."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lamina import nn
from lamina.autograd import Tensor

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
    parameters = [p for p in layer.parameters() if p.requires_grad]
    array = np.asarray(x, parameters[0].dtype if parameters else None)
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(f"gradient_by_lag: x has shape {array.shape}, expected (N, T, D), none of them 0")
    tensor = Tensor(array, requires_grad=True)
    try:
        for parameter in parameters:  # their own gradients stay as they are
            parameter.requires_grad = False
        last = layer(tensor)[0][:, -1]
        (last.sum() if loss is None else loss(last)).backward()
    finally:
        for parameter in parameters:
            parameter.requires_grad = True
    assert tensor.grad is not None
    norms: Array = np.linalg.norm(tensor.grad, axis=2).mean(axis=0)[::-1]
    return norms


def gabor_fit(filters: npt.ArrayLike) -> Array:
    """How much of each filter is one edge or bar: the share of its energy that the best Gabor explains.

    filters (K,H,W), or (K,D) with D a square -> (K,), from 0 to 1; 0 for a filter of zeros. The Gabors: 12
    directions, wavelengths from 2.5 to 10 pixels, Gaussian windows of standard deviation 1 to 3 pixels, round
    or twice as long as wide, around every pixel and of any phase. Filters of white noise, 8x8, reach about
    0.2, hardly ever 0.4. After J. Daugman, Uncertainty relation for resolution in space, spatial frequency,
    and orientation optimized by two-dimensional visual cortical filters, 1985. ValueError for another shape
    and numbers that are not finite.
    """
    w = np.asarray(filters, np.float64)
    side = math.isqrt(w.shape[1]) if w.ndim == 2 else 0
    w = w.reshape(len(w), side, side) if w.ndim == 2 and 0 < side * side == w.shape[1] else w
    if w.ndim != 3 or 0 in w.shape:
        raise ValueError(f"gabor_fit: filters have shape {w.shape}, expected (K, H, W), none of them 0")
    if not np.isfinite(w).all():
        raise ValueError("gabor_fit: filters must be finite")
    places = np.indices(w.shape[1:]).reshape(2, -1)
    down, across = places[:, None, :] - places[:, :, None]  # (centres, pixels)
    flat = w.reshape(len(w), -1)
    best = np.zeros(len(w))
    for direction in np.arange(12) * (np.pi / 12):
        u = across * np.cos(direction) + down * np.sin(direction)
        v = down * np.cos(direction) - across * np.sin(direction)
        for deviation, length in itertools.product((1, 1.5, 2, 3), (1, 2)):
            window = np.exp(-(u**2 + (v / length) ** 2) / (2 * deviation**2))
            for frequency in (0.1, 0.15, 0.2, 0.25, 0.3, 0.4):
                phase = 2 * np.pi * frequency * u
                best = np.maximum(best, _explained(flat, window * np.cos(phase), window * np.sin(phase)))
    energy = (flat * flat).sum(axis=1)
    return np.asarray(np.divide(best, energy, out=np.zeros(len(w)), where=energy > 0))


def _explained(w: Array, a: Array, b: Array) -> Array:
    """The most energy of each row of w that lies in the plane of a row of a and the same row of b."""
    a = a / np.linalg.norm(a, axis=1, keepdims=True)
    b = b - (a * b).sum(axis=1, keepdims=True) * a
    b = b / np.maximum(np.linalg.norm(b, axis=1, keepdims=True), 1e-12)
    return np.asarray(((w @ a.T) ** 2 + (w @ b.T) ** 2).max(axis=1))
