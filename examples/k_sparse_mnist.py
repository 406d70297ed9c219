"""What hidden units look for, by how many of them may speak at once.

    python examples/k_sparse_mnist.py [--quick]

Four autoencoders of 1,000 hidden units, of which the k = 70, 40, 25 or 10 most active are kept. With large k
the filters are local strokes, with small k they are nearly whole digits: figure 1 of Makhzani & Frey,
"k-Sparse autoencoders", 2014. Writes k_sparse_filters.png and k_sparse_reconstructions.png to ./figures.
"""

import numpy as np
from _common import arguments, handwritten_digits
from matplotlib.figure import Figure

import lamina as lm
from lamina import viz
from lamina.autoencoders import KSparseAutoencoder

KS = (70, 40, 25, 10)
SHOWN = 144  # filters of each


def share_of_image(w):
    """(sum w^2)^2 / (n sum w^4) of each filter: 1 where all pixels weigh alike, 1/n for one pixel."""
    return (w**2).sum(axis=1) ** 2 / (w.shape[1] * (w**4).sum(axis=1))


def filters_of(model, x):
    """Filters (SHOWN, 28, 28) from all over those of units that speak, and the share that these look at."""
    used = model.hidden.weight.data[(model.encoder.predict(x) != 0).any(axis=0)]
    shown = used[np.linspace(0, len(used) - 1, SHOWN).astype(int)]
    return shown.reshape(-1, 28, 28), share_of_image(used).mean()


def main() -> None:
    options = arguments("Train k-sparse autoencoders.")
    data = handwritten_digits()
    x, x_test = (each.reshape(len(each), -1) for each in (data.x_train, data.x_test))
    hidden = 1000
    if options.quick:
        x, hidden = x[:2000], 200
    spread = np.mean((x_test - x.mean(axis=0)) ** 2)

    figure = Figure(figsize=(9, 9.6), layout="constrained")
    rows = {"original": x_test[:12]}
    for place, k in enumerate(KS, 1):
        model = KSparseAutoencoder(784, hidden, k, start=min(100, hidden), rng=0)
        lm.fit(model, x, epochs=10, seed=0)
        error = np.mean((model.reconstruct(x_test) - x_test) ** 2) / spread
        filters, share = filters_of(model, x_test)
        print(f"k = {k}: {error:.1%} of the variance is lost; filters use {share:.1%} of the image")
        rows[f"k = {k}"] = model.reconstruct(x_test[:12])
        scaled = 0.5 + 0.5 * filters / np.abs(filters).max(axis=(1, 2), keepdims=True)
        axes = figure.add_subplot(2, 2, place)
        axes.imshow(viz.tile(scaled, columns=12), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(f"k = {k}")
    figure.savefig(options.figures / "k_sparse_filters.png", dpi=120)
    viz.reconstructions(rows, path=options.figures / "k_sparse_reconstructions.png")
    print(f"pictures in {options.figures}/")


if __name__ == "__main__":
    main()
