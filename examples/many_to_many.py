"""Many to many: a label for every step. Two labels, two networks: who can know what?

    python examples/many_to_many.py [--quick]

Strings of "(", ")" and ".", each drawn without regard to the others, are annotated twice: with the number of
brackets that are open (a ")" that closes nothing counts nothing), which the past decides, and with the symbol
that comes next, which it does not. A network that reads from left to right learns the first label and stays
at chance, 1/3, with the second; one that reads both ways learns both. Writes many_to_many.png to ./figures.
"""

import numpy as np
from _common import arguments
from matplotlib.figure import Figure

import lamina as lm
from lamina import nn, optim, probe

SYMBOLS, STEPS, DEPTHS = "().", 12, 13
LABELS = ("brackets open", "next symbol")


def strings(rng, n):
    """Tokens (n, STEPS) and labels (n, STEPS, 2): the depth, and the next token (0 behind the last)."""
    x = rng.integers(0, len(SYMBOLS), (n, STEPS))
    depth = [probe.bracket_depth("".join(SYMBOLS[token] for token in row)) for row in x]
    following = np.pad(x[:, 1:], ((0, 0), (0, 1)))
    return x, np.stack([np.array(depth, np.int64), following], axis=2)


class Annotator(nn.Module):
    """Tokens (N,T) -> logits (N,T,13 + 3): of the depth, and of the next symbol."""

    def __init__(self, bidirectional):
        self.recurrent = nn.LSTM(len(SYMBOLS), 32, bidirectional=bidirectional)
        self.head = nn.Linear(64 if bidirectional else 32, DEPTHS + len(SYMBOLS))

    def forward(self, tokens):
        return self.head(self.recurrent(tokens)[0])


def loss(logits, labels):
    """Cross-entropy of both; the last step has no next symbol."""
    cross_entropy = nn.CrossEntropyLoss()
    depth = cross_entropy(logits[:, :, :DEPTHS], labels[:, :, 0])
    return depth + cross_entropy(logits[:, :-1, DEPTHS:], labels[:, :-1, 1])


def main() -> None:
    options = arguments("Train two networks to annotate strings.")
    lm.manual_seed(0)
    rng = np.random.default_rng(0)
    x, labels = strings(rng, 4000 if options.quick else 16000)
    x_new, labels_new = strings(rng, 1000)
    shown, accuracy = [], {}
    for name, both_ways in (("left to right", False), ("both ways", True)):
        model = Annotator(both_ways)
        optimizer = optim.Adam(model.parameters(), 0.01)
        lm.fit(model, x, labels, loss=loss, optimizer=optimizer, epochs=6, batch_size=64, seed=0)
        parts = np.split(model.predict(x_new), [DEPTHS], axis=2)
        found = np.stack([logits.argmax(axis=2) for logits in parts], axis=2)
        correct = found == labels_new
        depth, following = accuracy[name] = correct[:, :, 0].mean(), correct[:, :-1, 1].mean()
        shown.append((name, found, correct))
        print(f"{name}: accuracy {depth:.1%} ({LABELS[0]}), {following:.1%} ({LABELS[1]}; chance: 33.3 %)")

    figure = Figure(figsize=(11, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.9, 1))
    one = np.argmax((labels_new[:, -1, 0] == 0) & (labels_new.max(axis=(1, 2)) == 3))  # worth showing
    rows = [("string", [SYMBOLS[token] for token in x_new[one]], np.ones(STEPS, bool))]
    for place, label in enumerate(LABELS):
        for name, found, correct in shown:
            symbols = [SYMBOLS[i] if place else str(i) for i in found[one, :, place]]
            rows.append((f"{label}, {name}", symbols[: STEPS - place], correct[one, :, place]))
    draw_rows(left, rows)
    for place, (name, shares) in enumerate(accuracy.items()):
        color, at = ("#0072b2", "#009e73")[place], np.arange(2) + 0.38 * place - 0.19
        bars = right.bar(at, shares, 0.36, color=color, label=name)
        right.bar_label(bars, [f"{share:.0%}" for share in shares])
    right.axhline(1 / 3, color="0.4", linestyle=":")
    right.set(xticks=range(2), xticklabels=LABELS, ylabel="accuracy", ylim=(0, 1.45), yticks=(0, 0.5, 1))
    right.legend(loc="upper center", ncols=2)
    figure.savefig(options.figures / "many_to_many.png", dpi=120)


def draw_rows(axes, rows):
    """One string and what the networks say of each symbol; what is wrong is marked."""
    for row, (_, symbols, correct) in enumerate(rows):
        for t, symbol in enumerate(symbols):
            box = {"facecolor": "0.95" if correct[t] else "#f6c9a8", "edgecolor": "0.8"}
            axes.text(t, row, symbol, ha="center", va="center", family="monospace", fontsize=13, bbox=box)
    axes.set(xlim=(-0.6, STEPS - 0.4), ylim=(len(rows) - 0.4, -0.6), xticks=[], yticks=range(len(rows)))
    axes.set(yticklabels=[name for name, *_ in rows], title="one string (orange: wrong)")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


if __name__ == "__main__":
    main()
