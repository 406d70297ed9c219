"""Normalisation layers. Channels are the last axis."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from lamina import _hosted as hosted
from lamina import ops
from lamina.autograd import Tensor, no_grad, record
from lamina.nn._cast import floating
from lamina.nn.modes import evaluating
from lamina.nn.module import Array, Module, Parameter
from lamina.ops import _check as check
from lamina.ops.norm import BatchNormContext, follow_moments


class _Norm(Module):
    """eps, and `weight` (gamma) and `bias` (beta), (C,), at first 1 and 0; None if not affine."""

    weight: Parameter | None
    bias: Parameter | None

    def __init__(self, channels: int, eps: float, affine: bool) -> None:
        name = type(self).__name__
        self.eps = check.number(name, "eps", eps)
        if self.eps == 0:
            raise ValueError(f"{name}: eps must be above 0, got {eps}")
        self.affine = on = check.flag(name, "affine", affine)
        self.weight = Parameter(np.ones(channels, np.float32)) if on else None
        self.bias = Parameter(np.zeros(channels, np.float32)) if on else None

    def _parameters(self) -> tuple[Array | None, Array | None]:
        w, b = self.weight, self.bias
        return None if w is None else w.data, None if b is None else b.data

    def _require(self, x: Tensor, channels: int, letters: str) -> Tensor:
        """x as floats, with that many channels."""
        name = type(self).__name__
        if letters:
            check.ndim(name, "x", x.data, letters)
        if x.ndim == 0 or x.shape[-1] != channels:
            raise ValueError(
                f"{name}: the last axis of x must be its {channels} channels {check.shown(x.shape)}"
            )
        return floating(x)


class _BatchNorm(_Norm):
    """What BatchNorm1d and BatchNorm2d share."""

    running_mean: Array
    running_var: Array
    _letters = ""

    def __init__(
        self,
        num_features: int,
        *,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        relu: bool = False,
    ) -> None:
        name = type(self).__name__
        self.num_features = check.integer(name, "num_features", num_features, 1)
        super().__init__(num_features, eps, affine)
        self.momentum = check.number(name, "momentum", momentum)
        if self.momentum > 1:
            raise ValueError(f"{name}: momentum must be at most 1, got {momentum}")
        self.relu = check.flag(name, "relu", relu)
        self.register_buffer("running_mean", np.zeros(num_features, np.float32))
        self.register_buffer("running_var", np.ones(num_features, np.float32))

    def forward(self, x: Tensor, *, relu: bool = False) -> Tensor:
        """x of the shape that the class names -> y of the same shape; with relu, max(y, 0)."""
        x = self._require(x, self.num_features, self._letters)
        running = (self.running_mean, self.running_var)
        statistics = [] if self.training else [a.astype(x.dtype, copy=False) for a in running]
        gamma, beta = self._parameters()
        if self.training:
            self._require_many(x.shape)
        y, ctx = ops.batch_norm(x.data, gamma, beta, *statistics, eps=self.eps, relu=self.relu or relu)
        if self.training:
            self._follow(ctx)
        return record(y, (x, self.weight, self.bias), ops.batch_norm_backward, ctx)

    def _require_many(self, shape: tuple[int, ...]) -> None:
        if math.prod(shape[:-1]) < 2:
            raise ValueError(
                f"{type(self).__name__}: training needs more than one value for each channel, got x of shape "
                f"{shape}; use eval(), a larger batch, or a batch size that leaves no single sample at the "
                "end of an epoch"
            )

    def _follow(self, ctx: BatchNormContext) -> None:
        """Move the running statistics, in their place: the module does not change."""
        if ctx.mean.dtype == self.running_mean.dtype:
            follow_moments(self.running_mean, self.running_var, ctx, self.momentum)
        else:
            hosted.again(self._follow_widened, ctx)

    def _follow_widened(self, ctx: BatchNormContext) -> None:
        dtype = self.running_mean.dtype
        ctx = ctx._replace(mean=ctx.mean.astype(dtype), var=ctx.var.astype(dtype))
        follow_moments(self.running_mean, self.running_var, ctx, self.momentum)


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of rows x (N,C) or sequences (N,T,C), C = num_features (Ioffe & Szegedy 2015).

    In training y = (x - mean)/sqrt(var + eps) weight + bias with the mean and biased variance of each channel
    over the batch, and `running_mean` and `running_var` (unbiased) move by `momentum` towards them; in
    evaluation those running ones are used. affine=False: no weight and bias. relu=True: max(y, 0) at once, in
    the same passes over memory. Raises ValueError for other channels and, in training, for a batch of one
    value per channel.
    """

    def forward(self, x: Tensor, *, relu: bool = False) -> Tensor:
        """x (N,C) or (N,T,C) -> y of the same shape; with relu, max(y, 0)."""
        if x.ndim not in (2, 3):
            raise ValueError(f"BatchNorm1d: x must have 2 or 3 axes, NC or NTC {check.shown(x.shape)}")
        return super().forward(x, relu=relu)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of images x (N,H,W,C), over N, H and W; all else as of `BatchNorm1d`."""

    _letters = "NHWC"


def update_statistics(model: Module, batches: Iterable[Any]) -> None:
    """Give batch normalisation inside a model the statistics that `batches` have under its weights of now.

    For weights that were not trained as they stand, averages say, whose running statistics are of others. The
    model sees each x (N, ...) of batches once, as in evaluation but for batch normalisation, whose
    `running_mean` and `running_var` become the means over the batches, each as heavy as its samples. For the
    batches of a `data.Loader`: `(x for x, y in loader)`. Raises ValueError for a batch of one value for each
    channel.
    """
    layers = [(module, module.momentum) for module in model.modules() if isinstance(module, _BatchNorm)]
    if not layers:
        return
    seen = 0
    try:
        with evaluating(model), no_grad():
            for layer, _ in layers:
                layer.training = True
            for x in batches:
                seen += len(x)
                for layer, _ in layers:
                    layer.momentum = len(x) / seen
                model(x)
    finally:
        for layer, momentum in layers:
            layer.momentum = momentum


class LayerNorm(_Norm):
    """Normalise each row over its last axis: x (..., features), with weight and bias (features,).

    (Ba, Kiros & Hinton 2016.) eps and affine as of `BatchNorm1d`. ValueError for another last axis.
    """

    def __init__(self, features: int, *, eps: float = 1e-5, affine: bool = True) -> None:
        self.features = check.integer("LayerNorm", "features", features, 1)
        super().__init__(features, eps, affine)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., features) -> y (..., features)."""
        x = self._require(x, self.features, "")
        y, ctx = ops.layer_norm(x.data, *self._parameters(), eps=self.eps)
        return record(y, (x, self.weight, self.bias), ops.layer_norm_backward, ctx)


class GroupNorm(_Norm):
    """Normalise each sample x (N, ..., C) over all but its channels, and over C/groups of those at a time.

    (Wu & He 2018.) groups = C is instance normalisation. eps and affine as of `BatchNorm1d`. Raises
    ValueError for groups that do not divide the channels and for x of other channels.
    """

    def __init__(self, groups: int, channels: int, *, eps: float = 1e-5, affine: bool = True) -> None:
        self.groups = check.integer("GroupNorm", "groups", groups, 1)
        self.channels = check.integer("GroupNorm", "channels", channels, 1)
        if channels % groups:
            raise ValueError(f"GroupNorm: groups = {groups} must divide channels = {channels}")
        super().__init__(channels, eps, affine)

    def forward(self, x: Tensor) -> Tensor:
        """x (N, ..., C) -> y (N, ..., C)."""
        x = self._require(x, self.channels, "")
        y, ctx = ops.group_norm(x.data, self.groups, *self._parameters(), eps=self.eps)
        return record(y, (x, self.weight, self.bias), ops.group_norm_backward, ctx)


class LocalResponseNorm(Module):
    """x / (k + alpha s)^beta, s the sum of the squares of the `size` channels around each: x (..., C).

    The defaults are those of Krizhevsky, Sutskever & Hinton 2012. PyTorch divides alpha by size: its alpha is
    `size` times this one. ValueError for a size that is even and a k not above 0.
    """

    def __init__(self, size: int = 5, *, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0) -> None:
        self.size = check.integer("LocalResponseNorm", "size", size, 1)
        if size % 2 == 0:
            raise ValueError(
                f"LocalResponseNorm: size must be odd, a channel and those around it, got {size}"
            )
        self.alpha = check.number("LocalResponseNorm", "alpha", alpha)
        self.beta = check.number("LocalResponseNorm", "beta", beta)
        self.k = check.number("LocalResponseNorm", "k", k)
        if self.k == 0:
            raise ValueError(f"LocalResponseNorm: k must be above 0, got {k}")

    def forward(self, x: Tensor) -> Tensor:
        """x (..., C) -> y (..., C)."""
        x = floating(x)
        y, ctx = ops.local_response_norm(x.data, self.size, alpha=self.alpha, beta=self.beta, k=self.k)
        return record(y, (x,), ops.local_response_norm_backward, ctx)
