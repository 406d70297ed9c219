"""Networks of characters: the figure "hello", min-char-rnn (a gist) and char-rnn, with their own settings."""

from collections.abc import Iterator
from math import log

import numpy as np

import lamina as lm
from lamina import nn, ops, optim, text
from papers.row import Effort, Row, all_processors, progress

TITLE = "Karpathy 2015, The unreasonable effectiveness of recurrent neural networks; min-char-rnn; char-rnn"

# The figure: logits for h, e, l, o after each of the inputs h, e, l, l.
HELLO = np.array([[1, 2.2, -3, 4.1], [0.5, 0.3, -1, 1.2], [0.1, 0.5, 1.9, -1.1], [0.2, -1.5, -0.1, 2.2]])
HELLO_TARGETS = np.array([1, 2, 2, 3])
_HELLO_LOSSES = np.array([2.078517, 2.900102, 0.379588, 0.231364])  # worked out from these logits

_HELD_OUT = 0.05
_FOUR_GRAM = 1.742  # nats a character: a Witten-Bell 4-gram of the first 95 %, on the last 5 %
_CHAR_RNN = {"lr": 2e-3, "alpha": 0.95}


def run(effort: Effort) -> Iterator[Row]:
    yield _hello()
    try:
        data = lm.datasets.text("tinyshakespeare")
    except (FileNotFoundError, ImportError) as error:
        yield Row("all else", "tinyshakespeare", f"not run: {error}", None)
        return
    yield from _min_char_rnn(data, effort.pick(50, 20_000, 200_000))
    with all_processors():
        yield from _char_rnn(data, effort)


def _hello() -> Row:
    losses, _ = ops.softmax_cross_entropy(HELLO, HELLO_TARGETS)
    return Row(
        'the figure "hello": losses of its logits',
        ", ".join(f"{loss:.6f}" for loss in _HELLO_LOSSES),
        ", ".join(f"{loss:.6f}" for loss in losses),
        bool(np.abs(losses - _HELLO_LOSSES).max() < 1e-6),
    )


def _size(model: nn.Module) -> int:
    return sum(p.size for p in model.parameters())


def min_char_rnn(characters: str, seed: int = 0) -> text.CharModel:
    """100 tanh units; weights 0.01 normal, biases 0."""
    model, rng = (
        text.CharModel(characters, hidden_size=100, num_layers=1, cell="rnn"),
        lm.init.generator(seed),
    )
    for name, p in model.named_parameters():
        p.data[...] = 0 if "bias" in name else 0.01 * rng.standard_normal(p.shape)
    return model


def _min_char_rnn(data: lm.datasets.Text, iterations: int) -> Iterator[Row]:
    """Adagrad on pieces of 25 characters, their losses added up and smoothed."""
    model, steps = min_char_rnn(data.characters), 25
    size = _size(model)
    yield Row("min-char-rnn, parameters at 65 characters", "23,165", f"{size:,}", size == 23_165)
    optimizer = optim.Adagrad(model.parameters(), 0.1, eps=1e-8)
    smooth, state, first = -log(1 / len(data.characters)) * steps, None, 0.0
    codes = data.codes[: iterations * steps + 1]
    with progress(iterations, "min-char-rnn", "piece") as bar:
        for x, y in text.batches(codes, batch_size=1, steps=steps):
            loss, state = _learn(model, optimizer, x, y, state, total=True)
            smooth = 0.999 * smooth + 0.001 * loss
            first = first or smooth
            bar.update()
    name = "min-char-rnn, smooth loss"
    yield Row(f"{name} at first", "104.36 (within 0.5)", f"{first:.2f}", abs(first - 104.36) < 0.5)
    yield Row(f"{name} after {iterations:,} pieces", "-", f"{smooth:.2f}", None)


def _learn(model, optimizer, x, y, state, total=False):
    """One step; -> the loss, the mean or the `total` of the characters, and the state to go on from."""
    optimizer.zero_grad()
    logits, state = model(x, state)
    loss = nn.CrossEntropyLoss()(logits, y) * (y.size if total else 1)
    loss.backward()
    optim.clip_grad_value(model.parameters(), 5)
    optimizer.step()
    return loss.item(), tuple(s.data for s in state) if isinstance(state, tuple) else state.data


def char_rnn(characters: str, cell: str, hidden_size: int, seed: int = 123) -> text.CharModel:
    """Two layers; all parameters uniform within 0.08, the bias of the forget gates at 1."""
    model, rng = text.CharModel(characters, hidden_size=hidden_size, cell=cell), lm.init.generator(seed)
    for name, p in model.named_parameters():
        p.data[...] = rng.uniform(-0.08, 0.08, p.shape)
        if cell == "lstm" and "bias_l" in name:
            p.data[hidden_size : 2 * hidden_size] = 1
    return model


def _char_rnn(data: lm.datasets.Text, effort: Effort) -> Iterator[Row]:
    lstm = char_rnn(data.characters, "lstm", 128)
    size, second = _size(lstm), sum(p.size for p in lstm.recurrent.parameters() if p.ndim == 1)
    yield Row(
        "char-rnn, parameters at 65 characters",
        "240,321, with two biases a gate",
        f"{size:,} with one bias a gate, which is the sum of the two; {size + second:,} with two",
        size + second == 240_321,
    )
    epochs = effort.pick(1, 5, 10)
    after = "after 20 batches" if effort.quick else f"on the last 5 %, the best of {epochs} epochs"
    best = _best("lstm", lstm, data, epochs, effort.quick)
    yield Row(
        f"char-rnn, LSTM 2x128: nats a character {after}",
        f"none (wanted: below {_FOUR_GRAM}, a 4-gram's)",
        f"{best:.3f}",
        None if effort.quick else best < _FOUR_GRAM,
    )
    for hidden_size in (128, 261) if effort.long else (128,):
        net = char_rnn(data.characters, "rnn", hidden_size)
        loss = _best("rnn", net, data, epochs, effort.quick)
        yield Row(
            f"the same by a tanh net 2x{hidden_size}, {_size(net):,} parameters",
            "none (wanted: above the LSTM's)",
            f"{loss:.3f}",
            None if effort.quick else loss > best,
        )


def _best(cell: str, model: text.CharModel, data: lm.datasets.Text, epochs: int, quick: bool) -> float:
    """The least loss after an epoch on the text that is held out."""
    training, held_out = np.split(data.codes, [int((1 - _HELD_OUT) * len(data.codes))])
    if quick:
        training, held_out = training[: 20 * 2500 + 1], held_out[:5000]
    optimizer, losses = optim.RMSprop(model.parameters(), **_CHAR_RNN), []
    batches = -(-((len(training) - 1) // 50) // 50)
    with progress(epochs * batches, f"char-rnn, {cell}", "batch") as bar:
        for _ in range(epochs):
            state = None
            for x, y in text.batches(training, batch_size=50, steps=50):
                _, state = _learn(model, optimizer, x, y, state)
                bar.update()
            losses.append(log(text.perplexity(model, held_out)))
            bar.set_postfix_str(f"{losses[-1]:.3f} nats")
    return min(losses)
