"""The networks whose training is timed, and their description for the peers."""

import string
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import lamina as lm
from lamina import nn, text
from lamina.nn.summary import summarize


@dataclass(frozen=True)
class Network:
    """sample: the shape of one; batch: how many at a time; tokens: how many there are, 0 for images."""

    name: str
    build: Callable[[], nn.Module]
    sample: tuple[int, ...]
    batch: int
    loss: str
    tokens: int = 0

    @property
    def shape(self) -> str:
        return f"batch {self.batch} of {'x'.join(map(str, self.sample))}"

    def data(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A batch and what the network should make of it."""
        size = (self.batch, *self.sample)
        if self.tokens:
            return rng.integers(0, self.tokens, size), rng.integers(0, self.tokens, size)
        x = rng.random(size, np.float32)
        return x, x if self.loss == "mse" else rng.integers(0, 10, self.batch)


class CharLSTM(nn.Module):
    """char-rnn (Karpathy 2015): two LSTM layers over characters, and scores for each next one."""

    def __init__(self, hidden_size: int) -> None:
        self.net = text.CharModel(string.printable[:_ALPHABET], hidden_size=hidden_size)

    def forward(self, tokens: Any) -> lm.Tensor:
        return self.net(tokens)[0]


_ALPHABET = 65  # of tinyshakespeare

NETWORKS = {
    "lenet5": Network("lenet5", lm.models.lenet5, (28, 28, 1), 64, "cross_entropy"),
    "vgg_small": Network("vgg_small", lm.models.vgg_small, (32, 32, 3), 64, "cross_entropy"),
    "autoencoder": Network("autoencoder", lm.models.autoencoder, (784,), 100, "mse"),
    "char_lstm_128": Network(
        "char_lstm_128", partial(CharLSTM, 128), (50,), 50, "cross_entropy", tokens=_ALPHABET
    ),
    "char_lstm_256": Network(
        "char_lstm_256", partial(CharLSTM, 256), (64,), 64, "cross_entropy", tokens=_ALPHABET
    ),
}


def layers(network: Network) -> list[dict[str, Any]]:
    """The network for peers; weights are named as in its state dict."""
    model = network.build()
    if isinstance(model, CharLSTM):
        return _char_layers(model)
    described: list[dict[str, Any]] = []
    volumes = {row.name: row.x_shape for row in summarize(model, network.sample).rows}
    for i, layer in enumerate(model):
        names = {"weight": f"{i}.weight", "bias": f"{i}.bias"}
        if isinstance(layer, nn.Conv2d):
            described.append({"kind": "conv2d", "padding": layer.padding, **names})
        elif isinstance(layer, nn.Linear):
            described.append({"kind": "linear", **names})
        elif isinstance(layer, nn.MaxPool2d):
            described.append({"kind": "max_pool2d", "size": layer.kernel_size})
        elif isinstance(layer, nn.Flatten):
            described.append({"kind": "flatten", "volume": volumes[str(i)]})
        elif isinstance(layer, nn.ReLU):
            described.append({"kind": "relu"})
        else:
            raise TypeError(f"{network.name}: no words for {layer!r}")
    return described


def _char_layers(model: CharLSTM) -> list[dict[str, Any]]:
    """An LSTM of several layers over vectors with a one at the token's place, and the scores."""
    parts, count = ("weight_ih", "weight_hh", "bias"), model.net.recurrent.num_layers
    names = [{part: f"net.recurrent.{part}_l{i}" for part in parts} for i in range(count)]
    return [
        {"kind": "one_hot", "size": _ALPHABET},
        {"kind": "lstm", "layers": names},
        {"kind": "linear", "weight": "net.head.weight", "bias": "net.head.bias"},
    ]


def flops(network: Network) -> tuple[float, float]:
    """Forward, and a training step: thrice that, but for the gradient of the input, which nobody needs.

    A token chooses a row of the first weight: no product.
    """
    if network.tokens:
        recurrent, head = (
            dict(getattr(network.build().net, part).named_parameters()) for part in ("recurrent", "head")
        )
        weights = [
            p.size for name, p in {**recurrent, **head}.items() if "weight" in name and name != "weight_ih_l0"
        ]
        total, first = int(np.prod(network.sample)) * sum(weights), 0
    else:
        rows = summarize(network.build(), network.sample).rows
        total = sum(row.multiply_adds for row in rows)
        first = next(row.multiply_adds for row in rows if row.multiply_adds)
    return 2.0 * network.batch * total, 2.0 * network.batch * (3 * total - first)
