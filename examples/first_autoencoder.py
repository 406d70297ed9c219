"""A dense autoencoder learns to draw digits through 100 numbers instead of 784.

    python examples/first_autoencoder.py [--quick]

Writes autoencoder_reconstructions.png (originals above, reconstructions below) and autoencoder_filters.png
(what each hidden unit looks for) to ./figures.
"""

import numpy as np
from _common import arguments, handwritten_digits

import lamina as lm
from lamina import nn, optim, viz


def main() -> None:
    options = arguments("Train a dense autoencoder.")
    data = handwritten_digits()
    x_train = data.x_train.reshape(len(data.x_train), -1)
    x_test = data.x_test.reshape(len(data.x_test), -1)
    if options.quick:
        x_train = x_train[:5000]

    lm.manual_seed(0)
    model = nn.Sequential(nn.Linear(784, 100), nn.Sigmoid(), nn.Linear(100, 784))
    history = lm.fit(
        model,
        x_train,
        x_train,
        loss=nn.MSELoss(),
        optimizer=optim.Adam(model.parameters(), 2e-3, weight_decay=1e-5),
        epochs=2 if options.quick else 5,
        batch_size=128,
        validation=(x_test, x_test),
        seed=0,
    )
    baseline = np.mean((x_test - x_train.mean(axis=0)) ** 2)
    print(f"mean squared error {history['val_loss'][-1]:.4f}; drawing the mean digit instead: {baseline:.4f}")

    shown = x_test[:10]
    pairs = np.concatenate([shown, model.predict(shown)]).reshape(-1, 28, 28)
    viz.image_grid(pairs, columns=10, path=options.figures / "autoencoder_reconstructions.png")
    filters = model[0].weight.data.reshape(-1, 28, 28)
    viz.filter_grid(filters, path=options.figures / "autoencoder_filters.png")
    print(f"pictures in {options.figures}/")


if __name__ == "__main__":
    main()
