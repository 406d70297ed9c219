"""The benchmark's networks in PyTorch: its layers with the weights that everyone starts from."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from peers.worker import Arrays
from torch import nn

Tensor = torch.Tensor


def image(x: np.ndarray, last: bool) -> Tensor:
    """NHWC, or OHWI, in the shape that PyTorch wants and the layout asked for."""
    t = torch.from_numpy(x).permute(0, 3, 1, 2)
    return t.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def back(t: Tensor) -> np.ndarray:
    """As `image` got it; other tensors as they are."""
    t = t.detach()
    return (t.permute(0, 2, 3, 1) if t.ndim == 4 else t).contiguous().numpy()


def network(layers: list[dict[str, Any]], a: Arrays) -> nn.Sequential:
    """The described layers with the given weights."""
    found: list[nn.Module] = []
    volume: list[int] | None = None  # H, W, C of what was flattened just before
    for layer in layers:
        kind = layer["kind"]
        if kind in ("conv2d", "conv_transpose2d"):
            found.append(_convolution(kind, layer, a))
        elif kind == "one_hot":
            found.append(_OneHot(layer["size"]))
        elif kind == "embedding":
            found.append(nn.Embedding.from_pretrained(torch.from_numpy(a[layer["weight"]]), freeze=False))
        elif kind in ("lstm", "gru"):
            found.append(_Recurrent(layer, a))
        elif kind == "tied_k_sparse":
            found.append(_TiedKSparse(layer["k"], *(a[layer[name]] for name in ("weight", "bias", "back"))))
        elif kind == "linear":
            w = torch.from_numpy(a[layer["weight"]])
            if volume:  # PyTorch flattens C, H, W
                w = w.reshape(-1, *volume).permute(0, 3, 1, 2).flatten(1)
            found.append(nn.Linear(w.shape[1], w.shape[0]))
            _fill(found[-1], w, a[layer["bias"]])
        elif kind == "max_pool2d":
            found.append(nn.MaxPool2d(layer["size"]))
        elif kind == "batch_norm":
            found.append(nn.BatchNorm2d(len(a[layer["weight"]])))
            _fill(found[-1], torch.from_numpy(a[layer["weight"]]), a[layer["bias"]])
        elif kind == "residual":
            found.append(_Residual(*(network(layer[part], a) for part in ("layers", "shortcut"))))
        else:
            found.append(_PLAIN[kind]())
        volume = layer["volume"] if kind == "flatten" else None
    return nn.Sequential(*found)


def _convolution(kind: str, layer: dict[str, Any], a: Arrays) -> nn.Module:
    w = image(a[layer["weight"]], last=False)
    first, last, kernel, _ = w.shape
    options = {
        name: layer[name] for name in ("stride", "padding", "output_padding", "groups") if name in layer
    }
    if kind == "conv2d":
        made: nn.Module = nn.Conv2d(last * layer["groups"], first, kernel, **options)
    else:
        made = nn.ConvTranspose2d(first, last, kernel, **options)
    _fill(made, w, a[layer["bias"]])
    return made


class _Residual(nn.Module):
    """What the layers make of x, and x by its shortcut, which may be of no layers."""

    def __init__(self, layers: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.layers, self.shortcut = layers, shortcut

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) + self.shortcut(x)


class _GlobalAvgPool(nn.Module):
    """The mean of each channel."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


_PLAIN = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "flatten": nn.Flatten, "global_avg_pool": _GlobalAvgPool}


class _TiedKSparse(nn.Module):
    """The k greatest of x w^T + b, times w, and c."""

    def __init__(self, k: int, *weights: np.ndarray) -> None:
        super().__init__()
        self.k = k
        self.w, self.b, self.c = (nn.Parameter(torch.from_numpy(weight)) for weight in weights)

    def forward(self, x: Tensor) -> Tensor:
        z = F.linear(x, self.w, self.b)
        least = torch.topk(z.detach(), self.k).values[:, -1:]
        return torch.addmm(self.c, z * (z >= least), self.w)


class _OneHot(nn.Module):
    """Tokens as vectors with a one at their place."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.eye(size), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.embedding(x, self.table)


class _Recurrent(nn.Module):
    """LSTM or GRU layers whose second biases are zero and stay so, as other libraries have one.

    All but the last third of a GRU's, which its reset gate stands before.
    """

    def __init__(self, layer: dict[str, Any], a: Arrays) -> None:
        super().__init__()
        names, ways, self.last = layer["layers"], layer["ways"], layer["last"]
        features, hidden = a[names[0]["weight_ih"]].shape[1], a[names[0]["weight_hh"]].shape[1]
        build = nn.GRU if layer["kind"] == "gru" else nn.LSTM
        options = {"batch_first": True, "bidirectional": ways == 2}
        self.layers = build(features, hidden, len(names) // ways, **options)
        for i, given in enumerate(names):
            part, place = (torch.from_numpy(a[given["bias"]]), f"l{i // ways}{'_reverse' * (i % ways)}")
            first, second = (getattr(self.layers, f"bias_{name}_{place}") for name in ("ih", "hh"))
            with torch.no_grad():
                for name in ("weight_ih", "weight_hh"):
                    getattr(self.layers, f"{name}_{place}").copy_(torch.from_numpy(a[given[name]]))
                first.copy_(part[: len(first)])
                second.zero_()[len(second) - (len(part) - len(first)) :].copy_(part[len(first) :])
            if layer["kind"] == "lstm":
                second.requires_grad_(False)
            else:
                learns = torch.arange(3 * hidden) >= 2 * hidden
                second.register_hook(lambda grad, learns=learns: grad * learns)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.layers(x)
        return y[:, -1] if self.last else y


def _fill(layer: Any, weight: Tensor, bias: np.ndarray) -> None:
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(torch.from_numpy(bias))
