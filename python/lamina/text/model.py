"""A network of characters, the batches that it reads, and how well it predicts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina import init, nn, ops
from lamina.autograd import Tensor, no_grad
from lamina.nn.modes import evaluating
from lamina.ops import _check as check
from lamina.text.vocabulary import Vocabulary

_Codes = npt.NDArray[np.int64]


class CharModel(nn.Module):
    """A recurrent network that predicts the next character: tokens -> one-hot -> recurrent layers -> logits.

    characters: the alphabet, token i being characters[i], as `datasets.encode` numbers them, or a
    `Vocabulary`, of words too; kept as `vocabulary`. cell: "lstm", "gru" or "rnn". `dropout` acts between the
    recurrent layers, in training. Source: A. Karpathy, char-rnn, 2015, whose defaults these are.
    """

    def __init__(
        self,
        characters: str | Vocabulary,
        *,
        hidden_size: int = 128,
        num_layers: int = 2,
        cell: str = "lstm",
        dropout: float = 0.0,
        rng: Any = None,
    ) -> None:
        kinds = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
        check.choice("CharModel", "cell", cell, tuple(kinds))
        self.vocabulary = characters if isinstance(characters, Vocabulary) else Vocabulary(characters)
        size, rng = len(self.vocabulary), init.generator(rng)
        self.recurrent = kinds[cell](size, hidden_size, num_layers, dropout=dropout, rng=rng)
        self.head = nn.Linear(hidden_size, size, rng=rng)

    def forward(self, tokens: Any, state: Any = None) -> tuple[Tensor, Any]:
        """tokens (N,T), whole numbers -> logits (N,T,V) of each next character, and the state behind them."""
        y, state = self.recurrent(tokens, state)
        return self.head(y), state


def batches(codes: npt.ArrayLike, *, batch_size: int, steps: int) -> Iterator[tuple[_Codes, _Codes]]:
    """Inputs and targets (batch_size, steps), the targets one character ahead, along `batch_size` streams.

    The text is cut into `batch_size` equal streams, and each batch goes on where the one before ended, so
    that the state after one is the state before the next. The last may be shorter; what does not fill a
    stream is left out. ValueError if there is less than one character and its successor for each stream.
    """
    found = np.asarray(codes)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
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
    state, total, count = None, 0.0, 0
    with evaluating(model), no_grad():
        for x, y in batches(codes, batch_size=batch_size, steps=steps):
            logits, state = model(x, state)
            losses, _ = ops.softmax_cross_entropy(logits.data, y)
            total, count = total + float(losses.sum(dtype=np.float64)), count + losses.size
    return float(np.exp(total / count))
