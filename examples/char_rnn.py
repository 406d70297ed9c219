"""A network of characters learns Shakespeare, and writes some as it learns (Karpathy's char-rnn, 2015).

    python examples/char_rnn.py [--quick]

Two LSTM layers of 128 units read 50 streams of the text side by side, 50 characters at a time, the state
carried along. After each epoch: the loss on the last 5 % of the text, and a sample. Writes the curve of the
losses, char_rnn_loss.png, to ./figures. Without tinyshakespeare the text is lamina's own source.
"""

import sys
from pathlib import Path

import numpy as np
from _common import arguments
from matplotlib.figure import Figure
from tqdm import tqdm

import lamina as lm
from lamina import nn, optim, text

STREAMS, STEPS = 50, 50


def load() -> lm.datasets.Text:
    try:
        return lm.datasets.text("tinyshakespeare")
    except (FileNotFoundError, ImportError) as error:
        print(f"{error}\nNo Shakespeare: reading lamina's own source instead.\n", file=sys.stderr)
    sources = sorted(Path(lm.__file__).parent.rglob("*.py"))
    return lm.datasets.encode("\n".join(path.read_text() for path in sources))


def epoch(model, optimizer, codes, losses):
    loss, state = nn.CrossEntropyLoss(), None
    pairs = list(text.batches(codes, batch_size=STREAMS, steps=STEPS))
    for x, y in tqdm(pairs, unit="batch", disable=None):
        optimizer.zero_grad()
        logits, state = model(x, state)
        value = loss(logits, y)
        value.backward()
        optim.clip_grad_value(model.parameters(), 5)
        optimizer.step()
        state = tuple(part.data for part in state)  # its values go on, its history does not
        losses.append(value.item())


def main() -> None:
    options = arguments("Train a network of characters.")
    data = load()
    codes = data.codes[:60_000] if options.quick else data.codes
    training, held_out = np.split(codes, [int(0.95 * len(codes))])
    lm.manual_seed(0)
    model = text.CharModel(data.characters, hidden_size=64 if options.quick else 128)
    optimizer = optim.Adam(model.parameters(), 0.005)
    losses, validation = [], []
    for number in range(1 if options.quick else 5):
        epoch(model, optimizer, training, losses)
        validation.append(np.log(text.perplexity(model, held_out, batch_size=8)))
        print(f"\nepoch {number + 1}: {validation[-1]:.3f} nats a character on text it has not read\n")
        for character in lm.generate(model, data.text[:1], 300, temperature=0.8, seed=number):
            print(character, end="", flush=True)
        print()

    figure = Figure(figsize=(7, 4), layout="tight")
    axes = figure.subplots()
    axes.plot(losses, color="#2a6f97", alpha=0.6, label="training, each batch")
    ends = np.linspace(0, len(losses), len(validation) + 1)[1:]
    axes.plot(ends, validation, "o-", color="#bc4b2f", label="validation")
    axes.set(xlabel="batch", ylabel="nats a character")
    axes.legend()
    figure.savefig(options.figures / "char_rnn_loss.png", dpi=120)


if __name__ == "__main__":
    main()
