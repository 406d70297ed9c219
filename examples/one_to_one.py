"""One to one: one input, one output. A recurrent net that takes one step is a plain network.

    python examples/one_to_one.py [--quick]

Tx = Ty = 1: nn.RNN gets sequences of length 1, points of two spirals, and names the spiral. With nothing
before the only step, h = tanh(w x + b): the same numbers as a dense layer, which is checked. Writes
one_to_one.png, the plane as the network divides it, to ./figures.
"""

import numpy as np
from _common import arguments
from matplotlib.figure import Figure

import lamina as lm
from lamina import nn, optim


def spirals(rng, n):
    """Points (n, 1, 2), sequences of one step, and the spiral (n,) that each is on: 0 or 1."""
    labels, turn = rng.integers(0, 2, n), np.sqrt(rng.uniform(0.02, 1, n))
    angle = 2 * np.pi * turn + np.pi * labels
    points = turn[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return (points + rng.normal(0, 0.02, (n, 2)))[:, None].astype(np.float32), labels


class OneStep(nn.Module):
    """One recurrent step and a readout."""

    def __init__(self):
        self.recurrent = nn.RNN(2, 64)
        self.hidden, self.readout = nn.Linear(64, 32), nn.Linear(32, 2)

    def forward(self, x):
        y, _ = self.recurrent(x)
        return self.readout(lm.tanh(self.hidden(y[:, 0])))


def main() -> None:
    options = arguments("Train a network of one step.")
    lm.manual_seed(0)
    rng = np.random.default_rng(0)
    model = OneStep()
    x, labels = spirals(rng, 4000)
    lm.fit(
        model,
        x,
        labels,
        loss=nn.CrossEntropyLoss(),
        optimizer=optim.Adam(model.parameters(), 0.01),
        epochs=40 if options.quick else 100,
        batch_size=64,
        seed=0,
    )
    x, labels = spirals(rng, 1000)
    accuracy = np.mean(model.predict(x).argmax(axis=1) == labels)
    print(f"accuracy on 1,000 new points {accuracy:.1%} (chance: 50 %)")
    layer = model.recurrent
    dense = np.tanh(x[:, 0] @ layer.weight_ih_l0.data.T + layer.bias_l0.data)
    difference = np.abs(layer(x)[0].data[:, 0] - dense).max()
    print(f"greatest difference to the dense layer tanh(w x + b): {difference:.1e}")

    figure = Figure(figsize=(5.2, 5), layout="constrained")
    axes = figure.add_subplot(aspect="equal", xlabel="first number", ylabel="second number")
    side = np.linspace(-1.2, 1.2, 200)
    plane = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 1, 2)
    logits = model.predict(plane)
    certain = np.tanh((logits[:, 1] - logits[:, 0]) / 2).reshape(200, 200)  # of spiral 1, from -1 to 1
    axes.contourf(side, side, certain, levels=np.linspace(-1, 1, 11), cmap="PuOr", alpha=0.4)
    for label, color, marker in ((0, "#b35806", "o"), (1, "#542788", "^")):
        shown = x[labels == label][:200, 0]
        axes.scatter(*shown.T, s=14, color=color, marker=marker, label=f"spiral {label}")
    axes.set_title("one point in, one class out")
    axes.legend(loc="upper left")
    figure.savefig(options.figures / "one_to_one.png", dpi=120)


if __name__ == "__main__":
    main()
