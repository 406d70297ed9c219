"""A model of text writes."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina import config, nn, ops
from lamina.autograd import no_grad
from lamina.nn.modes import evaluating
from lamina.ops import _check as check
from lamina.ops.recurrent_step import RecurrentPlan
from lamina.text.model import CharModel
from lamina.text.vocabulary import Vocabulary

_Codes = npt.NDArray[np.int64]
_Array = npt.NDArray[Any]
_Logits = Generator[_Array, int, None]


def generate(
    model: nn.Module, prime: str, n: int, *, temperature: float = 1.0, seed: int | None = None
) -> Iterator[str]:
    """n characters (or words) that follow `prime`, one at a time as they are drawn.

    model: a `CharModel`, or any module with a `vocabulary`, or `characters`, that maps tokens and a state to
    logits and a state. A `CharModel` writes on with its weights as they are when the first is drawn.
    temperature: the logits are divided by it before the draw; near 0 the likeliest wins, 0 takes it always.
    seed: the same gives the same text; None draws from the library's generator. ValueError for an empty
    prime, characters that the model does not know, numbers out of range, and logits that are not finite.
    """
    n = check.integer("generate", "n", n, 0)
    temperature = check.number("generate", "temperature", temperature)
    vocabulary = _vocabulary(model)
    tokens = vocabulary.encode(prime)
    if not len(tokens):
        raise ValueError("generate: prime is empty: give at least one character to begin with")
    rng = config.rng() if seed is None else np.random.default_rng(seed)
    logits: Any = _packed_logits if _cell(model) else _logits
    return _written(logits(model, tokens), n, temperature, rng, vocabulary)


def _vocabulary(model: Any) -> Vocabulary:
    vocabulary, characters = getattr(model, "vocabulary", None), getattr(model, "characters", None)
    if isinstance(vocabulary, Vocabulary):
        return vocabulary
    if isinstance(characters, str):
        return Vocabulary(characters)
    raise TypeError("generate: model must have `characters` or a `vocabulary`, as a CharModel has")


def _written(
    logits: _Logits, n: int, temperature: float, rng: np.random.Generator, vocabulary: Vocabulary
) -> Iterator[str]:
    if n == 0:
        return
    found = next(logits)
    for last in range(n - 1, -1, -1):
        token = _draw(found, temperature, rng)
        yield vocabulary.units[token]
        if last:
            found = logits.send(token)


def _draw(logits: _Array, temperature: float, rng: np.random.Generator) -> int:
    try:
        return int(ops.draw(logits[None], rng.random(1, logits.dtype), temperature=temperature)[0])
    except ValueError as error:
        raise ValueError(f"generate: the model's logits cannot be drawn from: {error}") from error


# The logits (V,) of what follows the tokens; each token sent in gives those of what follows it. --------
def _logits(model: nn.Module, tokens: _Codes) -> _Logits:
    """By calling the model, which the caller may train between two tokens."""
    state = None
    while True:
        found, state = _call(model, tokens, state)
        tokens = np.array([(yield found)])


def _packed_logits(model: CharModel, tokens: _Codes) -> _Logits:
    """From the second token on by `ops.recurrent_step`, which spares the layers' overhead at every one."""
    found, last = _call(model, tokens, None)
    token = yield found
    parts = last if isinstance(last, tuple) else (last,)
    state = np.stack([part.data[:, 0] for part in parts], axis=1)  # (layers, parts, H)
    plan = _plan(model)
    while True:
        found, state = ops.recurrent_step(plan, token, state)
        token = yield found


def _call(model: nn.Module, tokens: _Codes, state: Any) -> tuple[_Array, Any]:
    with evaluating(model), no_grad():
        logits, state = model(tokens[None], state)
    return logits.data[0, -1], state


def _cell(model: Any) -> str:
    """The cell of a model whose steps `ops.recurrent_step` can take, or ""."""
    if type(model) is not CharModel or type(model.head) is not nn.Linear or model.recurrent.bidirectional:
        return ""
    if type(model.recurrent) is nn.RNN:
        return f"rnn_{model.recurrent.nonlinearity}"
    if type(model.recurrent) is nn.GRU and not model.recurrent.reset_after:
        return ""
    return {nn.GRU: "gru", nn.LSTM: "lstm"}.get(type(model.recurrent), "")


def _plan(model: CharModel) -> RecurrentPlan:
    parts = ("weight_ih", "weight_hh", "bias")
    layers = [
        [getattr(model.recurrent, f"{part}_l{layer}").data for part in parts]
        for layer in range(model.recurrent.num_layers)
    ]
    bias = model.head.bias
    return ops.recurrent_plan(
        _cell(model), layers, model.head.weight.data, None if bias is None else bias.data
    )
