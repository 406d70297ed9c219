"""Embedded Reber grammar (Cleeremans et al. 1989, Fahlman 1991): B T ... T E or B P ... P E around a string.

To predict the last letter but one, a net must remember the second one past the string between.
"""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np

SYMBOLS = "BTPSXVE"
_AT = {symbol: i for i, symbol in enumerate(SYMBOLS)}
# What each state of the inner automaton writes, and where that leads; 5 writes the last letter.
_EDGES = (
    (("T", 1), ("P", 2)),
    (("S", 1), ("X", 3)),
    (("T", 2), ("V", 4)),
    (("X", 2), ("S", 5)),
    (("P", 3), ("V", 5)),
    (("E", -1),),
)


class Symbols(NamedTuple):
    """A string, and what the grammar allows after each of its symbols."""

    tokens: np.ndarray  # (T,) in 0..6
    legal: np.ndarray  # (T, 7) booleans, after token t; after the last E the next string's B


def _chosen(rng: np.random.Generator, options: list[str]) -> int:
    return int(rng.integers(len(options))) if len(options) > 1 else 0


def embedded(rng: np.random.Generator) -> Symbols:
    """A string, each choice made by a fair coin."""
    text, legal, options = "", [], ["B"]

    def write(symbol: str, following: list[str]) -> None:
        nonlocal text, options
        assert symbol in options
        text, options = text + symbol, following
        legal.append([letter in following for letter in SYMBOLS])

    write("B", ["T", "P"])
    outer = options[_chosen(rng, options)]
    write(outer, ["B"])
    state = 0
    write("B", [symbol for symbol, _ in _EDGES[0]])
    while state >= 0:
        symbol, state = _EDGES[state][_chosen(rng, options)]
        write(symbol, [s for s, _ in _EDGES[state]] if state >= 0 else [outer])
    write(outer, ["E"])
    write("E", ["B"])
    return Symbols(np.array([_AT[symbol] for symbol in text]), np.array(legal))


def padded(texts: list[Symbols]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens (N,T), legal (N,T,7) and lengths (N,): of each string without its last letter."""
    lengths = np.array([len(text.tokens) - 1 for text in texts])
    tokens = np.zeros((len(texts), lengths.max()), np.int64)
    legal = np.zeros((*tokens.shape, len(SYMBOLS)), bool)
    for row, (text, length) in enumerate(zip(texts, lengths, strict=True)):
        tokens[row, :length], legal[row, :length] = text.tokens[:-1], text.legal[:-1]
    return tokens, legal, lengths


def stream(rng: np.random.Generator) -> Iterator[tuple[int, np.ndarray]]:
    """One string after the other, without end (Gers et al. 2000): token and what may follow."""
    while True:
        yield from zip(*embedded(rng), strict=True)


def continual(rng: np.random.Generator, length: int) -> Symbols:
    """The first `length` symbols of a stream."""
    tokens, legal = zip(*islice(stream(rng), length), strict=True)
    return Symbols(np.array(tokens), np.array(legal))
