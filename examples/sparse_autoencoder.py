"""A sparse autoencoder looks at patches of natural images and finds their edges.

    python examples/sparse_autoencoder.py [--quick]

100 hidden units see patches of 10x10 pixels, and each may be active for 1 % of them only. Writes
sparse_patches.png (what they see), sparse_units.png (the input that excites each unit most), dense_units.png
(the same where units may be active as they like) and sparse_activations.png to ./figures. The patches are of
scikit-learn's two photographs, or, where that is not installed, of images made of fallen leaves.
Source: A. Ng, Sparse autoencoder, CS294A lecture notes, 2011.
"""

import sys

import numpy as np
from _common import arguments

import lamina as lm
from lamina import image, optim, probe, viz
from lamina.autoencoders import SparseAutoencoder


def natural_images() -> np.ndarray:
    """Grey images (N, H, W) with the 1/f spectrum of natural images made flat."""
    try:
        grey = lm.datasets.photographs().mean(axis=3)[:, :426]
        grey = grey.reshape(2, 213, 2, 320, 2).mean(
            axis=(2, 4)
        )  # half as large, without compression's traces
    except ImportError as error:
        print(f"{error}\nTaking images made of fallen leaves instead.\n", file=sys.stderr)
        grey = image.dead_leaves(10, rng=0)
    return image.whiten_spectrum(grey)


def train(x: np.ndarray, hidden: int, beta: float, iterations: int) -> SparseAutoencoder:
    """All patches at once, by L-BFGS."""
    model = SparseAutoencoder(x.shape[1], hidden, rho=0.01, beta=beta, weight_decay=1e-4, rng=0)
    bound = np.sqrt(6 / (x.shape[1] + hidden + 1))
    for p in model.parameters():
        p.data[...] = lm.init.uniform(p.shape, -bound, bound, rng=1) if p.ndim == 2 else 0

    def closure() -> lm.Tensor:
        loss = model.loss(x)
        loss.backward()
        return loss

    found = optim.LBFGS(model.parameters()).minimize(closure, iterations)
    print(
        f"beta {beta:g}: loss {found.losses[0]:.3f} -> {found.loss:.3f} in {len(found.losses) - 1} iterations"
    )
    return model


def main() -> None:
    options = arguments("Train a sparse autoencoder on patches of images.")
    size, hidden, count, iterations = (8, 25, 3000, 200) if options.quick else (10, 100, 10_000, 400)
    patches = image.random_patches(natural_images(), count, size, rng=0)
    x = image.normalize_patches(patches).reshape(count, -1)
    viz.image_grid(x[:100], path=options.figures / "sparse_patches.png")

    codes = {}
    for name, beta in (("sparse", 3.0), ("dense", 0.0)):
        model = train(x, hidden, beta, iterations)
        excites_most = viz.maximize(model, model.encode)
        viz.filter_grid(excites_most, path=options.figures / f"{name}_units.png")
        codes[name] = model.encoder.predict(x)
        edges = np.mean(probe.gabor_fit(excites_most) > 0.5)
        print(f"{name}: {edges:.1%} of the units look for an edge, mean activation {codes[name].mean():.3f}")
    viz.activation_histogram(codes, path=options.figures / "sparse_activations.png")
    print(f"pictures in {options.figures}/")


if __name__ == "__main__":
    main()
