"""Which unit of a network of characters knows that it is inside quotes, and which counts brackets?

    python examples/interpretable_units.py [--quick]

An LSTM learns to predict a generated text with words "in quotes" and in (nested (brackets)). Nobody tells it
about either, and the words are the same everywhere; but it has to remember where it is to know what may come
next. Every cell is correlated with both signals on one text, and the best of each is checked on another. Not
every network grows such cells: with other seeds the knowledge is spread over several. Writes unit_quotes.png,
characters on the colours of the quote cell, and unit_gates.png, both cells with their forget gates, to
./figures. Source: Karpathy, Johnson, Fei-Fei, Visualizing and Understanding Recurrent Networks, 2015.
"""

import numpy as np
from _common import arguments
from tqdm import trange

import lamina as lm
from lamina import nn, optim, probe, text, viz

WORDS = ["the", "old", "man", "saw", "his", "dog", "run"]
SIGNALS = {"quotes": probe.inside_quotes, "brackets": probe.bracket_depth}


def write(rng, sentences):
    return " ".join(sentence(rng) for _ in range(sentences))


def sentence(rng):
    """Words, words in quotes and words in brackets, in any order."""
    kinds = rng.choice(["plain", "quote", "aside"], rng.integers(2, 5), p=[0.5, 0.3, 0.2])
    return " ".join(part(rng, kind) for kind in kinds) + "."


def part(rng, kind, depth=1):
    if kind == "quote":
        return f'"{" ".join(rng.choice(WORDS, rng.integers(2, 7)))}"'
    words = list(rng.choice(WORDS, rng.integers(1, 4)))
    if kind == "plain":
        return " ".join(words)
    inner = [part(rng, "aside", depth + 1)] if depth < 3 and rng.random() < 0.5 else []
    return f"({' '.join(words + inner)})"


def train(model, codes, epochs):
    optimizer, loss = optim.Adam(model.parameters(), 0.01), nn.CrossEntropyLoss()
    for _ in trange(epochs, unit="epoch", disable=None):
        state = None
        for x, y in text.batches(codes, batch_size=20, steps=50):
            optimizer.zero_grad()
            logits, state = model(x, state)
            loss(logits, y).backward()
            optim.clip_grad_norm(model.parameters(), 5)
            optimizer.step()
            state = tuple(part.data for part in state)


def read(model, written):
    return model.recurrent.activations(model.vocabulary.encode(written)[None])


def main() -> None:
    options = arguments("Find units that can be explained.")
    lm.manual_seed(0)
    rng = np.random.default_rng(0)
    data = lm.datasets.encode(write(rng, 1000))
    model = text.CharModel(data.characters, hidden_size=32, num_layers=1)
    searched, unseen = write(rng, 60), write(rng, 60)
    before = read(model, searched)
    train(model, data.codes, epochs=20 if options.quick else 40)
    traces, checked = read(model, searched), read(model, unseen)

    shown = unseen[:288]
    rows, names = [], []
    for name, signal in SIGNALS.items():
        best = probe.rank_units(traces, signal(searched), names="c")[0]
        untrained = probe.rank_units(before, signal(searched), names="c")[0].correlation
        cells = checked[best.layer]["c"][0]
        again = probe.correlations(cells, signal(unseen))[best.unit]
        print(
            f"{name}: cell {best.unit}, correlation {abs(again):.1%} on a text not searched "
            f"(best before training: {abs(untrained):.1%})"
        )
        rows += [np.sign(best.correlation) * cells[:, best.unit], checked[best.layer]["f"][0, :, best.unit]]
        names += [f"cell {best.unit}: {name}", "its forget gate"]
    shown_rows = np.stack(rows)[:, : len(shown)]
    viz.text_heat(shown, shown_rows[0], path=options.figures / "unit_quotes.png")
    viz.text_heat(shown, shown_rows, names=names, path=options.figures / "unit_gates.png")


if __name__ == "__main__":
    main()
