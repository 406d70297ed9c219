"""An LSTM cell, step by step on the tape: it learns to say at the end what it saw at the beginning.

    python examples/lstm_cell_step.py [--quick]

The first of 20 numbers is +1 or -1, the others are noise; after the last the cell must name the first. There
is no layer here that hides the loop over time: the cell is called 20 times, and one backward pass runs
through all of them. Writes lstm_memory.png, the cell states of one sequence of each kind, to ./figures.
"""

import numpy as np
from _common import arguments
from matplotlib.figure import Figure

import lamina as lm
from lamina import nn, optim

LENGTH, HIDDEN, BATCH = 20, 8, 32


def batch(rng, n):
    """Sequences (n, LENGTH, 1) and their labels (n,): 1 where the first number is +1."""
    x = rng.normal(0, 0.3, (n, LENGTH, 1)).astype(np.float32)
    labels = rng.integers(0, 2, n)
    x[:, 0, 0] = 2 * labels - 1
    return x, labels


class Remember(nn.Module):
    """The cell, called once a step, and a readout of its last state."""

    def __init__(self):
        super().__init__()
        self.cell = nn.LSTMCell(1, HIDDEN)
        self.readout = nn.Linear(HIDDEN, 2)
        self.states = []

    def forward(self, x):
        state, self.states = None, []
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
            self.states.append(state[1].data)
        return self.readout(state[0])


def main() -> None:
    options = arguments("Train an LSTM cell.")
    lm.manual_seed(0)
    rng = np.random.default_rng(0)
    model = Remember()
    x, labels = batch(rng, 1024 if options.quick else 8192)
    lm.fit(
        model,
        x,
        labels,
        loss=nn.CrossEntropyLoss(),
        optimizer=optim.Adam(model.parameters(), 0.01),
        epochs=5,
        batch_size=BATCH,
        validation=0.1,
        metrics=["accuracy"],
        seed=0,
    )
    x, labels = batch(rng, 1000)
    accuracy = np.mean(model.predict(x).argmax(axis=1) == labels)
    print(f"accuracy on 1,000 new sequences {accuracy:.1%} (chance: 50 %)")

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    for place, label in enumerate((1, 0)):
        example = np.flatnonzero(labels == label)[0]
        cells = np.stack([c[example] for c in model.states])  # states of the batch predicted last
        axes = figure.add_subplot(1, 2, place + 1, xticks=range(0, LENGTH + 1, 5))
        axes.plot(range(1, LENGTH + 1), cells)
        axes.set(xlabel="step", ylabel="cell state", title=f"the first number was {2 * label - 1:+d}")
    figure.savefig(options.figures / "lstm_memory.png", dpi=150)


if __name__ == "__main__":
    main()
