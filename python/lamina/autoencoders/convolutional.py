"""The convolutional autoencoder, with three ways to enlarge what was reduced."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina import init, nn, ops
from lamina.autoencoders.base import Array, Autoencoder
from lamina.autoencoders.tied import Tied
from lamina.autograd import Tensor, apply, record
from lamina.ops import _check as check

_FACTOR = 2  # by which each stage divides height and width


class ConvAutoencoder(Autoencoder):
    """x (N,H,W,C) -> code (N, H/2^s, W/2^s, channels[-1]) -> y (N,H,W,C), in s stages of ReLU, one a channel.

    up says how a stage reduces the image and how the decoder enlarges it again: "transposed", by convolutions
    of stride 2 and transposed ones; "unpool", by max pooling and by putting each maximum back where it stood
    (Zeiler & Fergus 2014); "upsample", by max pooling and by repeating pixels. With the last two a transposed
    convolution of stride 1 follows. The last stage is linear. tied: the decoder's weights are the encoder's.
    noise, weight_decay: see `Autoencoder`. `rng` is a generator, a seed or None for the library's own.

    `decode` alone, which does not know where the maxima stood, puts them at the first place of each window.
    ValueError for images whose sides 2^s does not divide.
    """

    encoder: nn.Sequential
    decoder: nn.Sequential

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int] = (16, 8),
        *,
        kernel_size: int = 3,
        up: str = "transposed",
        tied: bool = False,
        noise: nn.Module | None = None,
        weight_decay: float = 0.0,
        rng: init.Rng = None,
    ) -> None:
        name = "ConvAutoencoder"
        self.in_channels = check.integer(name, "in_channels", in_channels, 1)
        if isinstance(channels, (str, int)) or not channels:
            raise ValueError(f"{name}: channels must have one number for each stage, got {channels!r}")
        self.channels = tuple(check.integer(name, "channels", n, 1) for n in channels)
        self.kernel_size = check.integer(name, "kernel_size", kernel_size, 1)
        self.up = check.choice(name, "up", up, ("transposed", "unpool", "upsample"))
        self.tied = check.flag(name, "tied", tied)
        self._set_common(noise, weight_decay)
        rng, stride = init.generator(rng), _FACTOR if up == "transposed" else 1
        down: list[nn.Module] = []
        back: list[nn.Module] = []
        for inputs, outputs in zip((in_channels, *channels), self.channels, strict=False):
            options: dict[str, Any] = {"stride": stride, "padding": "same", "rng": rng}
            conv = nn.Conv2d(inputs, outputs, kernel_size, **options)
            turned = Tied(conv) if tied else nn.ConvTranspose2d(outputs, inputs, kernel_size, **options)
            down += [conv, nn.ReLU(), *([] if up == "transposed" else [nn.MaxPool2d(_FACTOR)])]
            back = [*self._enlarging(), turned, *([nn.ReLU()] if back else []), *back]
        self.encoder, self.decoder = nn.Sequential(*down), nn.Sequential(*back)

    def _enlarging(self) -> list[nn.Module]:
        if self.up == "transposed":
            return []
        return [Unpool() if self.up == "unpool" else nn.Upsample(_FACTOR)]

    def autoencode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (N,H,W,C) -> code and y."""
        least = _FACTOR ** len(self.channels)
        if x.ndim == 4 and (x.shape[1] % least or x.shape[2] % least):
            raise ValueError(
                f"ConvAutoencoder: height and width of x must be multiples of {least}, got {x.shape}, NHWC"
            )
        if self.up != "unpool":
            return super().autoencode(x)
        switches: list[Any] = []
        for layer in self.encoder:
            x = _pooled(x, layer, switches) if isinstance(layer, nn.MaxPool2d) else layer(x)
        y = x
        for layer in self.decoder:
            y = layer(y, switches.pop()) if isinstance(layer, Unpool) else layer(y)
        return x, y


def _pooled(x: Tensor, layer: nn.MaxPool2d, switches: list[Any]) -> Tensor:
    """What the layer makes of x; where the maxima stood goes to the end of `switches`."""
    y, ctx = ops.max_pool2d(x.data, layer.kernel_size)
    switches.append(ctx)
    return record(y, (x,), ops.max_pool2d_backward, ctx)


class Unpool(nn.MaxUnpool2d):
    """x (N,H,W,C) -> y (N,2H,2W,C), 0 but for the place in each window of 2 by 2 where the maximum stood."""

    def forward(self, x: Tensor, switches: Any = None) -> Tensor:
        """switches: the context of `ops.max_pool2d`; None: the first place of each window."""
        if switches is None:
            return apply(_first_places, _first_places_backward, x)
        return super().forward(x, switches)


def _first_places(x: Array) -> tuple[Array, None]:
    n, h, w, c = x.shape
    y = np.zeros((n, _FACTOR * h, _FACTOR * w, c), x.dtype)
    y[:, ::_FACTOR, ::_FACTOR] = x
    return y, None


def _first_places_backward(dy: Array, ctx: None) -> Array:
    return np.ascontiguousarray(dy[:, ::_FACTOR, ::_FACTOR])
