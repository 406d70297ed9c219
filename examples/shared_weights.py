"""Local weights and shared weights: what a convolution saves, and what it gains.

    python examples/shared_weights.py [--quick]

Three networks read digits. The first layer of each makes 12x12x8 features: one sees the whole image with
weights of its own for every feature, one sees 5x5 windows with weights of their own at every place
(`LocallyConnected2d`), one slides 8 filters that all places share (`Conv2d`). Max pooling and a dense layer
follow. They learn from few digits and are asked about others, and about the same, moved. Writes
shared_weights.png (what the features look for, and the accuracy) to ./figures.
"""

import numpy as np
from _common import arguments, handwritten_digits
from matplotlib.figure import Figure

import lamina as lm
from lamina import nn, optim, viz

SHIFT = 2  # pixels


def first_layers():
    """28x28x1 -> 12x12x8, by the connections of each feature."""
    return {
        "to all pixels": nn.Sequential(nn.Flatten(), nn.Linear(784, 1152, rng=0)),
        "to a window": nn.LocallyConnected2d(1, 8, 5, input_size=28, stride=2, rng=0),
        "to a window, shared": nn.Conv2d(1, 8, 5, stride=2, rng=0),
    }


class Network(nn.Module):
    """The first layer, max pooling 3x3 and a dense layer: 28x28x1 -> logits (10,)."""

    def __init__(self, first):
        self.first = first
        self.rest = nn.Sequential(nn.ReLU(), nn.MaxPool2d(3), nn.Flatten(), nn.Linear(128, 10, rng=1))

    def forward(self, x):
        return self.rest(self.first(x).reshape(len(x), 12, 12, 8))


def moved(x):
    """The images in the four directions by SHIFT pixels."""
    return np.concatenate([np.roll(x, by, axis) for by in (-SHIFT, SHIFT) for axis in (1, 2)])


def looked_for(first):
    """Weights of 16 features, as images: of two maps at eight places, or of the eight filters."""
    layer = first[1] if isinstance(first, nn.Sequential) else first
    w = layer.weight.data
    if isinstance(layer, nn.Linear):
        return w.reshape(12, 12, 8, 28, 28)[2:10:5, 2:10, 0].reshape(-1, 28, 28)
    return w[2:10:5, 2:10, 0, :, :, 0].reshape(-1, 5, 5) if w.ndim == 6 else w[:, :, :, 0]


def main() -> None:
    options = arguments("Compare full, local and shared connections.")
    sizes = nn.Linear(96 * 96, 100, bias=False), nn.LocallyConnected2d(1, 1, 3, input_size=96, bias=False)
    dense, local, shared = (layer.weight.size for layer in (*sizes, nn.Conv2d(1, 1, 3, bias=False)))
    print(f"a 96x96 image: {dense:,} weights for 100 features that see all of it;")
    print(f"{local:,} for a map of features that see 3x3 pixels each; {shared} for a map that shares them")

    data = handwritten_digits()
    count = 1000 if options.quick else 5000
    x, y = data.x_train[:count], data.y_train[:count]
    accuracy, filters = {}, {}
    for name, first in first_layers().items():
        model = Network(first)
        optimizer = optim.Adam(model.parameters(), 3e-3)
        lm.fit(model, x, y, loss=nn.CrossEntropyLoss(), optimizer=optimizer, epochs=12, batch_size=32, seed=0)
        scores = [model.predict(each).argmax(axis=1) for each in (data.x_test, moved(data.x_test))]
        still, away = accuracy[name] = [
            np.mean(s == np.tile(data.y_test, len(s) // len(data.y_test))) for s in scores
        ]
        filters[name] = looked_for(first)
        number = first.count_parameters()
        print(f"connected {name}: {number:,} parameters; {still:.1%} right, {away:.1%} when moved")

    figure = Figure(figsize=(11, 3.2), layout="constrained")
    *pictures, bars = figure.subplots(1, 4, width_ratios=(1, 1, 1, 1.5))
    for axes, (name, w) in zip(pictures, filters.items(), strict=True):
        scaled = 0.5 + 0.5 * w / np.abs(w).max(axis=(1, 2), keepdims=True)
        axes.imshow(viz.tile(scaled, columns=4), cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()
        axes.set_title(name)
    for place, (label, color) in enumerate((("as they are", "#0072b2"), (f"moved by {SHIFT}", "#e69f00"))):
        shares = [pair[place] for pair in accuracy.values()]
        drawn = bars.bar(np.arange(3) + 0.4 * place - 0.2, shares, 0.38, color=color, label=label)
        bars.bar_label(drawn, [f"{share:.0%}" for share in shares], fontsize=8)
    bars.set(xticks=range(3), xticklabels=["all", "window", "shared"], ylim=(0, 1.3), yticks=(0, 0.5, 1))
    bars.set(ylabel="test accuracy")
    bars.legend(loc="upper center", ncols=2, fontsize=8)
    figure.savefig(options.figures / "shared_weights.png", dpi=120)
    print(f"picture in {options.figures}/")


if __name__ == "__main__":
    main()
