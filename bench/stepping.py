"""One step after the other, as a text is written: the state goes on from each to the next."""

from typing import Any

import numpy as np
from networks import Network, Sequences

from lamina import nn, ops


def can_step(network: Network) -> bool:
    """Whether it reads tokens, forwards, and says something after each."""
    model = network.build()
    return isinstance(model, Sequences) and model.embedding is None and not model.last


class Stepper:
    """A network of `networks.char_rnn` and its state, which is 0 at first."""

    def __init__(self, model: Sequences) -> None:
        recurrent, parts = model.recurrent, ("weight_ih", "weight_hh", "bias")
        stack = [
            [getattr(recurrent, f"{part}_l{i}").data for part in parts] for i in range(recurrent.num_layers)
        ]
        cell = "lstm" if isinstance(recurrent, nn.LSTM) else "gru"
        self.plan = ops.recurrent_plan(cell, stack, model.head.weight.data, model.head.bias.data)
        self.state: Any = np.zeros(self.plan.shape, np.float32)

    def __call__(self, token: int) -> np.ndarray:
        logits, self.state = ops.recurrent_step(self.plan, token, self.state)
        return logits
