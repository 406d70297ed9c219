"""Models of text: contiguous batches, a network of characters, and the text that it writes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina import config, nn, ops
from lamina.autograd import Tensor, no_grad
from lamina.ops import _check as check

_Codes = npt.NDArray[np.int64]


class CharModel(nn.Module):
    """A recurrent network that predicts the next character: tokens -> one-hot -> recurrent layers -> logits.

    characters: the alphabet, token i being characters[i], as `datasets.encode` numbers them. cell: "lstm",
    "gru" or "rnn". `dropout` acts between the recurrent layers, in training. Source: A. Karpathy, char-rnn,
    2015, whose defaults these are.
    """

    def __init__(
        self,
        characters: str,
        *,
        hidden_size: int = 128,
        num_layers: int = 2,
        cell: str = "lstm",
        dropout: float = 0.0,
        rng: Any = None,
    ) -> None:
        if not characters or len(set(characters)) != len(characters):
            raise ValueError("CharModel: characters must be a string of different characters, at least one")
        kinds = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
        check.choice("CharModel", "cell", cell, tuple(kinds))
        self.characters = characters
        self.recurrent = kinds[cell](len(characters), hidden_size, num_layers, dropout=dropout, rng=rng)
        self.head = nn.Linear(hidden_size, len(characters))

    def forward(self, tokens: Any, state: Any = None) -> tuple[Tensor, Any]:
        """tokens (N,T), whole numbers -> logits (N,T,V) of each next character, and the state behind them."""
        y, state = self.recurrent(tokens, state)
        return self.head(y), state


def encode(text: str, characters: str) -> _Codes:
    """The place of each character of `text` in `characters`; ValueError for one that is not there."""
    places = {character: i for i, character in enumerate(characters)}
    unknown = sorted(set(text) - set(places))
    if unknown:
        raise ValueError(f"encode: characters unknown to the model: {', '.join(map(repr, unknown[:10]))}")
    return np.array([places[character] for character in text], np.int64)


def batches(codes: npt.ArrayLike, *, batch_size: int, steps: int) -> Iterator[tuple[_Codes, _Codes]]:
    """Inputs and targets (batch_size, steps), the targets one character ahead, along `batch_size` streams.

    The text is cut into `batch_size` equal streams, and each batch goes on where the one before ended, so
    that the state after one is the state before the next. The last may be shorter; what does not fill a
    stream is left out. ValueError if there is less than one character and its successor for each stream.
    """
    found = np.asarray(codes)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise TypeError(f"batches: codes must be a vector of whole numbers, got {found.dtype} {found.shape}")
    batch_size = check.integer("batches", "batch_size", batch_size, 1)
    steps = check.integer("batches", "steps", steps, 1)
    length = (len(found) - 1) // batch_size
    if length < 1:
        raise ValueError(f"batches: {len(found)} characters are too few for {batch_size} streams")
    x = found[: batch_size * length].reshape(batch_size, length).astype(np.int64)
    y = found[1 : batch_size * length + 1].reshape(batch_size, length).astype(np.int64)
    for start in range(0, length, steps):
        yield x[:, start : start + steps], y[:, start : start + steps]


def perplexity(model: nn.Module, codes: npt.ArrayLike, *, batch_size: int = 50, steps: int = 50) -> float:
    """exp of the mean cross-entropy of each next character, the state carried along; 1 is perfect."""
    was, state, total, count = model.training, None, 0.0, 0
    model.eval()
    try:
        with no_grad():
            for x, y in batches(codes, batch_size=batch_size, steps=steps):
                logits, state = model(x, state)
                losses, _ = ops.softmax_cross_entropy(logits.data, y)
                total, count = total + float(losses.sum(dtype=np.float64)), count + losses.size
    finally:
        model.train(was)
    return float(np.exp(total / count))


def generate(
    model: nn.Module, prime: str, n: int, *, temperature: float = 1.0, seed: int | None = None
) -> Iterator[str]:
    """n characters that follow `prime`, one at a time as they are drawn.

    model: a `CharModel`, or any module with `characters` that maps tokens and a state to logits and a state.
    temperature: the logits are divided by it before the draw; near 0 the likeliest character wins, 0 takes it
    always. seed: the same gives the same text; None draws from the library's generator. ValueError for an
    empty prime, characters that the model does not know, and numbers out of range.
    """
    n = check.integer("generate", "n", n, 0)
    temperature = check.number("generate", "temperature", temperature)
    characters = getattr(model, "characters", None)
    if not isinstance(characters, str):
        raise TypeError("generate: model must have `characters`, as a CharModel has")
    if not prime:
        raise ValueError("generate: prime is empty: give at least one character to begin with")
    rng = config.rng() if seed is None else np.random.default_rng(seed)
    return _drawn(model, encode(prime, characters), n, temperature, rng, characters)


def _drawn(
    model: nn.Module, tokens: _Codes, n: int, temperature: float, rng: np.random.Generator, characters: str
) -> Iterator[str]:
    was, state = model.training, None
    for _ in range(n):
        model.eval()
        with no_grad():
            logits, state = model(tokens[None], state)
        model.train(was)  # the caller may train between two characters
        token = _draw(logits.data[0, -1].astype(np.float64), temperature, rng)
        tokens = np.array([token])
        yield characters[token]


def _draw(logits: npt.NDArray[np.float64], temperature: float, rng: np.random.Generator) -> int:
    if temperature == 0:
        return int(logits.argmax())
    weights = np.exp((logits - logits.max()) / temperature)
    return int(rng.choice(len(weights), p=weights / weights.sum()))
