"""An autoencoder that repairs: it is shown spoilt digits and learns to give back the whole ones.

    python examples/denoising.py [--quick]

Noise is an option of every autoencoder: here one learns to fill in what `MaskingNoise` took away, another to
take off `GaussianNoise`. Writes denoising.png (whole, spoilt and repaired digits) to ./figures.
"""

import numpy as np
from _common import arguments, handwritten_digits

import lamina as lm
from lamina import viz
from lamina.autoencoders import DenseAutoencoder, GaussianNoise, MaskingNoise


def main() -> None:
    options = arguments("Train denoising autoencoders.")
    data = handwritten_digits()
    x, x_test = (each.reshape(len(each), -1) for each in (data.x_train, data.x_test))
    if options.quick:
        x, x_test = x[:5000], x_test[:1000]

    rows = {"whole": x_test[:12]}
    for name, noise in (("masked", MaskingNoise(0.5)), ("with noise", GaussianNoise(0.5))):
        lm.manual_seed(0)
        model = DenseAutoencoder(
            784, 300 if options.quick else 1000, activation="relu", output="sigmoid", noise=noise
        )
        lm.fit(model, x, epochs=10 if options.quick else 15, batch_size=64 if options.quick else 128, seed=0)
        spoilt = noise(x_test).data  # a module in training mode: it spoils
        repaired = model.reconstruct(spoilt)
        before, after = (np.mean((each - x_test) ** 2) for each in (spoilt, repaired))
        print(f"{name}: {after / before:.1%} of the squared error is left")
        rows[name] = spoilt[:12]
        rows[f"{name}, repaired"] = repaired[:12]
    viz.reconstructions(rows, path=options.figures / "denoising.png")
    print(f"pictures in {options.figures}/")


if __name__ == "__main__":
    main()
