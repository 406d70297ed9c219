"""Why long-term dependencies are hard: the gradient of the last step's loss over the time lag.

    python examples/gradient_lags.py [--quick]

New networks of 32 units, nothing trained, read noise; dL_T/dx_t says how much the loss at the end feels an
input T - t steps before. In a plain recurrent net it falls or grows like a power of the lag, so that after
5 to 10 steps little is left (Bengio et al. 1994; Gers et al. 2000); the cell of an LSTM carries it as far as
its forget gate is open. In float64, over several seeds. Writes gradient_lags.png to ./figures.
"""

import numpy as np
from _common import arguments

from lamina import nn, probe, viz

UNITS, STEPS, SEQUENCES = 32, 60, 8


def plain(scale, seed):
    """A net whose recurrent weights are orthogonal, times `scale`."""
    layer = nn.RNN(UNITS, UNITS, rng=seed).astype(np.float64)
    layer.weight_hh_l0.data[:] = (
        scale * np.linalg.qr(np.random.default_rng(seed).normal(size=(UNITS, UNITS)))[0]
    )
    return layer


def lstm(forget_bias, seed):
    layer = nn.LSTM(UNITS, UNITS, rng=seed).astype(np.float64)
    layer.bias_l0.data[UNITS : 2 * UNITS] = forget_bias
    return layer


NETS = {
    "RNN as it starts": lambda seed: nn.RNN(UNITS, UNITS, rng=seed).astype(np.float64),
    "RNN, orthogonal weights": lambda seed: plain(1, seed),
    "RNN, orthogonal weights x 2.5": lambda seed: plain(2.5, seed),
    "LSTM, forget bias 0": lambda seed: lstm(0, seed),
    "LSTM, forget bias 1": lambda seed: lstm(1, seed),
    "LSTM, forget bias 5": lambda seed: lstm(5, seed),
}


def norms(make, seed):
    x = np.random.default_rng(seed).normal(0, 1, (SEQUENCES, STEPS, UNITS))
    return probe.gradient_by_lag(make(seed), x)


def main() -> None:
    options = arguments("Gradients over the time lag.")
    seeds = range(3 if options.quick else 20)
    found = {name: np.array([norms(make, seed) for seed in seeds]) for name, make in NETS.items()}
    for name, curves in found.items():
        left = np.exp(np.log(curves[:, [10, 50]] / curves[:, :1]).mean(axis=0))
        print(f"{name:30} after 10 steps {left[0]:8.1e}, after 50 {left[1]:8.1e} of the gradient")
    figure = viz.gradient_lags(found)
    figure.savefig(options.figures / "gradient_lags.png", dpi=120)


if __name__ == "__main__":
    main()
