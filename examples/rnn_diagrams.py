"""Recurrent networks as the lecture draws them: folded and unfolded, and the five types.

    python examples/rnn_diagrams.py

Writes rnn_unrolled.png, lstm_unrolled.png (two layers) and rnn_types.png to ./figures. Each type has its own
example: one_to_one.py, one_to_many.py, many_to_one.py, many_to_many.py and encoder_decoder.py. The number of
parameters does not depend on the number of steps: all of them use the same weights, which is checked.
"""

import numpy as np
from _common import arguments

from lamina import nn, viz


def main() -> None:
    options = arguments("Draw recurrent networks.")
    viz.unrolled(steps=4, path=options.figures / "rnn_unrolled.png")
    viz.unrolled(cell="lstm", layers=2, steps=3, path=options.figures / "lstm_unrolled.png")
    viz.architecture_types(path=options.figures / "rnn_types.png")
    layer = nn.RNN(3, 5, rng=0)
    for steps in (5, 500):
        y, _ = layer(np.zeros((1, steps, 3)))
        print(f"{layer.count_parameters()} parameters, {steps} steps: y has shape {y.shape}")


if __name__ == "__main__":
    main()
