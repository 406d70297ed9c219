"""The networks whose training is timed, and their description for the peers."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import lamina as lm
from lamina import init, nn, ops
from lamina.autograd import record
from lamina.nn.summary import summarize


@dataclass(frozen=True)
class Network:
    """sample: the shape of one; batch: how many at a time; tokens: how many there are, 0 for other inputs.

    classes: how many labels there are; of tokens, each one has a label.
    """

    name: str
    build: Callable[[], nn.Module]
    sample: tuple[int, ...]
    batch: int
    loss: str
    tokens: int = 0
    classes: int = 10

    @property
    def shape(self) -> str:
        return f"batch {self.batch} of {'x'.join(map(str, self.sample))}"

    def data(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A batch and what the network should make of it."""
        size = (self.batch, *self.sample)
        if self.tokens:
            return rng.integers(0, self.tokens, size), rng.integers(0, self.classes, size)
        x = rng.random(size, np.float32)
        return x, x if self.loss == "mse" else rng.integers(0, self.classes, self.batch)


class Sequences(nn.Module):
    """Recurrent layers, and scores from their states at every step, or at the `last` alone.

    They read vectors (N,T,D), or tokens (N,T): as vectors with a one at their place, or by an `embedding`.
    """

    def __init__(
        self, recurrent: Any, classes: int, *, embedding: nn.Module | None = None, last: bool = False
    ) -> None:
        self.embedding, self.recurrent, self.last = embedding, recurrent, last
        self.head = nn.Linear(recurrent.hidden_size * (1 + recurrent.bidirectional), classes)

    def forward(self, x: Any) -> lm.Tensor:
        y, _ = self.recurrent(x if self.embedding is None else self.embedding(x))
        return self.head(y[:, -1] if self.last else y)


def char_rnn(layer: Any, hidden_size: int) -> Sequences:
    """char-rnn (Karpathy 2015): two layers over characters, and scores for each next one."""
    return Sequences(layer(_ALPHABET, hidden_size, 2), _ALPHABET)


def tagger() -> Sequences:
    """A label for each token, from what stands on both sides of it."""
    recurrent = nn.LSTM(64, 128, bidirectional=True)
    return Sequences(recurrent, 10, embedding=nn.Embedding(_ALPHABET, 64))


def many_to_one() -> Sequences:
    """A class for each sequence of vectors, from the last state."""
    return Sequences(nn.LSTM(32, 128), 10, last=True)


class TiedKSparse(nn.Module):
    """The k-sparse autoencoder (Makhzani & Frey 2014): y = code w + c, code the k greatest of x w^T + b."""

    def __init__(self, features: int, hidden: int, k: int) -> None:
        self.k = k
        self.weight = nn.Parameter(init.normal((hidden, features), 0, 0.01))
        self.bias, self.back = nn.Parameter(init.zeros(hidden)), nn.Parameter(init.zeros(features))

    def forward(self, x: lm.Tensor) -> lm.Tensor:
        given = (x, self.weight, self.bias, self.back)
        (y, _, _), ctx = ops.tied_k_sparse(*[t.data for t in given], k=self.k)
        return record(y, given, _decoded, ctx, x.requires_grad)

    def multiply_adds(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        """All hidden units, and the decoder's columns of those that are chosen."""
        return int(np.prod(x_shape)) * (len(self.weight) + self.k)


def _decoded(dy: np.ndarray, ctx: Any, needs_dx: bool) -> Any:
    return ops.tied_k_sparse_backward(dy, np.zeros_like(ctx.values), ctx, needs_dx)


def k_sparse_autoencoder(k: int = 25) -> nn.Sequential:
    """784 -> 1000 linear units, of which k -> 784."""
    return nn.Sequential(TiedKSparse(784, 1000, k))


def sigmoid_autoencoder() -> nn.Sequential:
    """784 -> 1000 (sigmoid) -> 784, dense: two matrices."""
    return nn.Sequential(nn.Linear(784, 1000), nn.Sigmoid(), nn.Linear(1000, 784))


def conv_autoencoder() -> nn.Sequential:
    """28x28x1 -> 14x14x16 -> 7x7x32 and back, by strides of 2."""
    back = {"stride": 2, "padding": 1, "output_padding": 1}
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 16, 3, **back),
        nn.ReLU(),
        nn.ConvTranspose2d(16, 1, 3, **back),
    )


def _normalised(channels: int, filters: int, kernel: int, **options: int) -> list[nn.Module]:
    layer = nn.Conv2d(channels, filters, kernel, padding=kernel // 2, **options)
    return [layer, nn.BatchNorm2d(filters)]


def separable_net() -> nn.Sequential:
    """Depthwise 3x3 and then 1x1 convolutions, as in MobileNet (Howard et al. 2017), for 32x32x3."""
    parts = [*_normalised(3, 32, 3), nn.ReLU()]
    for channels, filters, stride in ((32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2)):
        parts += [*_normalised(channels, channels, 3, stride=stride, groups=channels), nn.ReLU()]
        parts += [*_normalised(channels, filters, 1), nn.ReLU()]
    return nn.Sequential(*parts, nn.GlobalAvgPool2d(), nn.Linear(256, 10))


def residual_net() -> nn.Sequential:
    """ResNet-8 for 32x32x3 (He et al. 2016): three blocks of two convolutions, all normalised."""
    parts = [*_normalised(3, 16, 3), nn.ReLU()]
    for channels, filters, stride in ((16, 16, 1), (16, 32, 2), (32, 64, 2)):
        inner = [
            *_normalised(channels, filters, 3, stride=stride),
            nn.ReLU(),
            *_normalised(filters, filters, 3),
        ]
        past = nn.Sequential(*_normalised(channels, filters, 1, stride=stride)) if stride > 1 else None
        parts += [nn.Residual(nn.Sequential(*inner), shortcut=past), nn.ReLU()]
    return nn.Sequential(*parts, nn.GlobalAvgPool2d(), nn.Linear(64, 10))


_ALPHABET = 65  # of tinyshakespeare


def _characters(name: str, layer: Any, hidden_size: int, length: int) -> Network:
    """As many sequences as they have characters."""
    build, sizes = partial(char_rnn, layer, hidden_size), {"tokens": _ALPHABET, "classes": _ALPHABET}
    return Network(name, build, (length,), length, "cross_entropy", **sizes)


NETWORKS = {
    "lenet5": Network("lenet5", lm.models.lenet5, (28, 28, 1), 64, "cross_entropy"),
    "vgg_small": Network("vgg_small", lm.models.vgg_small, (32, 32, 3), 64, "cross_entropy"),
    "convnetjs_cifar": Network(
        "convnetjs_cifar", lm.models.convnetjs_cifar10, (32, 32, 3), 64, "cross_entropy"
    ),
    "separable_net": Network("separable_net", separable_net, (32, 32, 3), 64, "cross_entropy"),
    "residual_net": Network("residual_net", residual_net, (32, 32, 3), 64, "cross_entropy"),
    "autoencoder": Network("autoencoder", lm.models.autoencoder, (784,), 100, "mse"),
    "sigmoid_autoencoder": Network("sigmoid_autoencoder", sigmoid_autoencoder, (784,), 100, "mse"),
    "k_sparse_autoencoder": Network("k_sparse_autoencoder", k_sparse_autoencoder, (784,), 100, "mse"),
    "conv_autoencoder": Network("conv_autoencoder", conv_autoencoder, (28, 28, 1), 100, "mse"),
    "char_lstm_128": _characters("char_lstm_128", nn.LSTM, 128, 50),
    "char_lstm_256": _characters("char_lstm_256", nn.LSTM, 256, 64),
    "char_gru_128": _characters("char_gru_128", nn.GRU, 128, 50),
    "tagger": Network("tagger", tagger, (50,), 64, "cross_entropy", tokens=_ALPHABET),
    "many_to_one": Network("many_to_one", many_to_one, (100, 32), 64, "cross_entropy"),
}


_RESIDUAL = {"layers": "module", "shortcut": "shortcut"}
_KINDS = {
    nn.Linear: "linear",
    nn.ReLU: "relu",
    nn.Sigmoid: "sigmoid",
    nn.BatchNorm2d: "batch_norm",
    nn.GlobalAvgPool2d: "global_avg_pool",
}


def layers(network: Network) -> list[dict[str, Any]]:
    """The network for peers; weights are named as in its state dict."""
    model = network.build()
    if isinstance(model, Sequences):
        return _sequence_layers(model, network.tokens)
    volumes = {row.name: row.x_shape for row in summarize(model, network.sample).rows}
    return _described(model, "", volumes)


def _described(model: Any, prefix: str, volumes: dict[str, tuple[int, ...]]) -> list[dict[str, Any]]:
    """The layers of a Sequential whose state dict names them from `prefix` on."""
    described: list[dict[str, Any]] = []
    for i, layer in enumerate(model):
        name = f"{prefix}{i}"
        if isinstance(layer, nn.Residual):
            parts = {"layers": layer.module, "shortcut": layer.shortcut or ()}
            inner = {
                key: _described(part, f"{name}.{_RESIDUAL[key]}.", volumes) for key, part in parts.items()
            }
            described.append({"kind": "residual", **inner})
            continue
        names = {parameter: f"{name}.{parameter}" for parameter, _ in layer.named_parameters()}
        described.append(_words(layer, volumes[name]) | names)
    return described


def _words(layer: nn.Module, volume: tuple[int, ...]) -> dict[str, Any]:
    """What a layer does, but for its weights; `volume` is the shape of a sample that comes in."""
    if isinstance(layer, nn.Conv2d):
        options = {name: getattr(layer, name) for name in ("stride", "padding", "groups")}
        return {"kind": "conv2d", **options}
    if isinstance(layer, nn.ConvTranspose2d):
        options = {name: getattr(layer, name) for name in ("stride", "padding", "output_padding")}
        return {"kind": "conv_transpose2d", **options}
    if isinstance(layer, nn.MaxPool2d):
        return {"kind": "max_pool2d", "size": layer.kernel_size}
    if isinstance(layer, nn.Flatten):
        return {"kind": "flatten", "volume": volume}
    if isinstance(layer, TiedKSparse):
        return {"kind": "tied_k_sparse", "k": layer.k}
    if type(layer) not in _KINDS:
        raise TypeError(f"the peers have no words for {layer!r}")
    return {"kind": _KINDS[type(layer)]}


def _sequence_layers(model: Sequences, tokens: int) -> list[dict[str, Any]]:
    """How tokens become vectors, the recurrent layers (each way of each layer, in order), and the scores."""
    recurrent, parts = model.recurrent, ("weight_ih", "weight_hh", "bias")
    ways = ("", "_reverse") if recurrent.bidirectional else ("",)
    names = [
        {part: f"recurrent.{part}_l{i}{way}" for part in parts}
        for i in range(recurrent.num_layers)
        for way in ways
    ]
    described: list[dict[str, Any]] = []
    if model.embedding is not None:
        described.append({"kind": "embedding", "weight": "embedding.weight"})
    elif tokens:
        described.append({"kind": "one_hot", "size": tokens})
    kind = type(recurrent).__name__.lower()
    described.append({"kind": kind, "layers": names, "ways": len(ways), "last": model.last})
    return [*described, {"kind": "linear", "weight": "head.weight", "bias": "head.bias"}]


def flops(network: Network) -> tuple[float, float]:
    """Forward, and a training step: thrice that, but for the gradient of the input, which nobody needs.

    A token chooses a row of the weight that reads it: no product. The gradients of a k-sparse code touch k
    units.
    """
    if network.name == "k_sparse_autoencoder":
        layer = network.build()[0]
        all_units, chosen = layer.weight.size, layer.k * layer.weight.shape[1]
        return 2.0 * network.batch * (all_units + chosen), 2.0 * network.batch * (all_units + 4 * chosen)
    model = network.build()
    if isinstance(model, Sequences):
        total, first = _sequence_products(model, network)
    else:
        rows = summarize(model, network.sample).rows
        total = sum(row.multiply_adds for row in rows)
        first = next(row.multiply_adds for row in rows if row.multiply_adds)
    return 2.0 * network.batch * total, 2.0 * network.batch * (3 * total - first)


def _sequence_products(model: Sequences, network: Network) -> tuple[int, int]:
    """Multiply-adds of one sequence, and those of them that lead to no gradient of the input."""
    steps = network.sample[0]
    sizes = {name: p.size for name, p in model.recurrent.named_parameters() if "weight" in name}
    reading = 0 if model.embedding is not None else sum(sizes[name] for name in sizes if "ih_l0" in name)
    total = steps * sum(sizes.values()) + (1 if model.last else steps) * model.head.weight.size
    return (total - steps * reading, 0) if network.tokens else (total, steps * reading)
