"""The family of autoencoders, side by side: what they give back, what their units do, digits on a map.

    python examples/autoencoder_family.py [--quick]

Writes to ./figures: family_reconstructions.png, the same digits through each; family_activations.png, how
often hidden units take which values; family_map.png, digits at the places that a stack, trained layer by
layer and then as a whole, gives them with its code of two numbers.
"""

import numpy as np
from _common import arguments, handwritten_digits

import lamina as lm
from lamina import train, viz
from lamina.autoencoders import (
    ContractiveAutoencoder,
    ConvAutoencoder,
    DenseAutoencoder,
    KSparseAutoencoder,
    SparseAutoencoder,
    StackedAutoencoder,
)


def family(hidden):
    """One of each, by name."""
    return {
        "dense": DenseAutoencoder(784, hidden),
        "sparse": SparseAutoencoder(784, hidden, rho=0.05, beta=0.3, running=0.9, weight_decay=0),
        "k-sparse": KSparseAutoencoder(784, hidden, 20, start=hidden // 2),
        "contractive": ContractiveAutoencoder(784, hidden, strength=0.1),
        "convolutional": ConvAutoencoder(1, (16, 4)),
    }


def stack():
    """784 pixels -> 2 numbers, in three steps."""
    return StackedAutoencoder(
        [
            DenseAutoencoder(784, 256, activation="relu"),
            DenseAutoencoder(256, 64, activation="relu", output="relu"),
            DenseAutoencoder(64, 2, activation="linear", output="relu"),
        ]
    )


def main() -> None:
    options = arguments("Train one autoencoder of each kind.")
    data = handwritten_digits()
    images, images_test = data.x_train, data.x_test
    if options.quick:
        images, images_test = images[:2000], images_test[:500]
    spread = np.mean((images_test - images.mean(axis=0)) ** 2)
    epochs, size = (9, 32) if options.quick else (10, 128)

    lm.manual_seed(0)
    rows, activations = {"original": images_test[:12]}, {}
    for name, model in family(100 if options.quick else 256).items():
        flat = name != "convolutional"
        x, x_test = (each.reshape(len(each), -1) if flat else each for each in (images, images_test))
        print(name)
        lm.fit(model, x, epochs=epochs, batch_size=size, seed=0)
        error = np.mean((model.reconstruct(x_test) - x_test) ** 2) / spread
        print(f"{name}: {error:.1%} of the variance is lost")
        rows[name] = model.reconstruct(x_test[:12]).reshape(-1, 28, 28)
        if flat:
            activations[name] = model.encoder.predict(x_test[:2000])
    viz.reconstructions(rows, path=options.figures / "family_reconstructions.png")
    viz.activation_histogram(activations, path=options.figures / "family_activations.png")

    x, x_test = (each.reshape(len(each), -1) for each in (images, images_test))
    model = stack()
    train.pretrain(model, x, epochs=epochs // 3, batch_size=size, seed=0)
    lm.fit(model, x, epochs=2 * epochs, batch_size=size, seed=0)
    error = np.mean((model.reconstruct(x_test) - x_test) ** 2) / spread
    print(f"two numbers: {error:.1%} of the variance is lost")
    codes = model.encoder.predict(x_test[:500])
    viz.code_map(codes, images_test[:500], labels=data.y_test[:500], path=options.figures / "family_map.png")
    print(f"pictures in {options.figures}/")


if __name__ == "__main__":
    main()
