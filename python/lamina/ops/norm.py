"""Normalisations: over the batch, over groups of channels of a sample, across neighbouring channels.

Channels are the last axis. gamma and beta (C,) scale and shift what was normalised; None stands for 1 and 0.
"""

from typing import Any, NamedTuple

import numpy as np

from lamina.config import backend
from lamina.ops import _check as check
from lamina.ops._check import Array
from lamina.ops._into import NOWHERE, Into, fills


class BatchNormContext(NamedTuple):
    """What `batch_norm_backward` needs. mean and var (C,) are the statistics that normalised."""

    x: Array
    mean: Array
    var: Array
    inv: Array
    scale: Array
    shift: Array
    given: tuple[bool, bool]  # whether there were gamma and beta
    relu: bool
    frozen: bool


def batch_norm(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    mean: Any = None,
    var: Any = None,
    *,
    eps: float = 1e-5,
    relu: bool = False,
) -> tuple[Array, BatchNormContext]:
    """(x - mean)/sqrt(var + eps) gamma + beta of each channel, with relu then max(y, 0): x, y (..., C).

    mean and var (C,): statistics to use, which are then constants; without them, the mean and the biased
    variance of all of x. (Ioffe & Szegedy 2015.) Raises ValueError for shapes that do not fit, for one of
    mean and var without the other, for eps not above 0 and for the statistics of no element.
    """
    op = "batch_norm"
    if (mean is None) != (var is None):
        raise ValueError(f"{op}: mean and var must be given both or neither")
    x, found = with_channels(op, x, gamma=gamma, beta=beta, mean=mean, var=var)
    eps, relu = positive(op, "eps", eps), check.flag(op, "relu", relu)
    rows = x.reshape(-1, x.shape[-1])
    if mean is None and len(rows) == 0:
        raise ValueError(f"{op}: no element to take statistics of {check.shown(x.shape)}")
    m, v = (found["mean"], found["var"]) if mean is not None else backend().column_moments(rows)
    given = found.get("gamma"), found.get("beta")
    return normalised(x, m, v, *given, eps=eps, relu=relu, frozen=mean is not None)


def normalised(
    x: Array,
    mean: Array,
    var: Array,
    gamma: Array | None,
    beta: Array | None,
    *,
    eps: float,
    relu: bool,
    frozen: bool,
) -> tuple[Array, BatchNormContext]:
    """What `batch_norm` makes of x (..., C) with these moments, all of it checked."""
    inv, scale = backend().batch_norm_scale(var, gamma, eps)
    shift = np.zeros_like(inv) if beta is None else beta
    y: Array = backend().batch_norm(x.reshape(-1, x.shape[-1]), mean, scale, shift, relu)
    given = gamma is not None, beta is not None
    return y.reshape(x.shape), BatchNormContext(x, mean, var, inv, scale, shift, given, relu, frozen)


@fills
def batch_norm_backward(
    dy: Any, ctx: BatchNormContext, into: Into = NOWHERE
) -> tuple[Array, Array | None, Array | None]:
    """dy (..., C) -> dx (..., C), dgamma (C,) or None, dbeta (C,) or None.

    into: arrays for the gradients of x, gamma and beta; None for new ones, as always for x.
    """
    x = ctx.x
    dy = check.gradient("batch_norm_backward", "dy", dy, x, x.shape)
    if x.size == 0:
        dx, dgamma, dbeta = np.empty_like(x), np.zeros_like(ctx.inv), np.zeros_like(ctx.inv)
    else:
        rows, normal = (-1, x.shape[-1]), (ctx.mean, ctx.inv, ctx.scale, ctx.shift)
        dx, dgamma, dbeta = backend().batch_norm_backward(
            dy.reshape(rows), x.reshape(rows), *normal, ctx.relu, ctx.frozen, into[1], into[2]
        )
    return dx.reshape(x.shape), dgamma if ctx.given[0] else None, dbeta if ctx.given[1] else None


def follow_moments(running_mean: Array, running_var: Array, ctx: BatchNormContext, momentum: float) -> None:
    """Move running statistics (C,), in place, by momentum towards the mean and the unbiased variance of x.

    All in one dtype; x with more than one value for each channel.
    """
    count = ctx.x.size // len(ctx.mean)
    backend().follow_moments(ctx.mean, ctx.var, running_mean, running_var, momentum, count)


class GroupNormContext(NamedTuple):
    """What `group_norm_backward` and `layer_norm_backward` need; x as (N,P,C)."""

    x: Array
    gamma: Array
    mean: Array
    inv: Array
    shape: tuple[int, ...]
    given: tuple[bool, bool]


def group_norm(
    x: Any, groups: int, gamma: Any = None, beta: Any = None, *, eps: float = 1e-5
) -> tuple[Array, GroupNormContext]:
    """As `batch_norm`, with the statistics of each sample and each of `groups` parts of its channels.

    x (N, ..., C) -> y (N, ..., C). (Wu & He 2018.) ValueError for groups that do not divide C and x with an
    empty sample.
    """
    op = "group_norm"
    x, found = with_channels(op, x, gamma=gamma, beta=beta)
    if x.ndim < 2:
        raise ValueError(f"{op}: x must have at least 2 axes, (N, ..., C) {check.shown(x.shape)}")
    channels = x.shape[-1]
    if channels % check.integer(op, "groups", groups, 1):
        raise ValueError(f"{op}: groups = {groups} must divide the {channels} channels of x")
    if 0 in x.shape[1:]:
        raise ValueError(f"{op}: a sample of x is empty {check.shown(x.shape)}")
    pixels = int(np.prod(x.shape[1:-1]))
    return _group_norm(op, x.reshape(len(x), pixels, channels), x.shape, groups, found, eps)


def _group_norm(
    op: str, x: Array, shape: tuple[int, ...], groups: int, found: dict[str, Array], eps: float
) -> tuple[Array, GroupNormContext]:
    channels = x.shape[2]
    gamma = found["gamma"].reshape(-1) if "gamma" in found else np.ones(channels, x.dtype)
    beta = found["beta"].reshape(-1) if "beta" in found else np.zeros(channels, x.dtype)
    y: Array
    y, mean, inv = backend().group_norm(x, gamma, beta, int(groups), positive(op, "eps", eps))
    return y.reshape(shape), GroupNormContext(x, gamma, mean, inv, shape, ("gamma" in found, "beta" in found))


def group_norm_backward(dy: Any, ctx: GroupNormContext) -> tuple[Array, Array | None, Array | None]:
    """dy (N, ..., C) -> dx (N, ..., C), dgamma (C,) or None, dbeta (C,) or None."""
    return _group_norm_backward("group_norm_backward", dy, ctx)


def _group_norm_backward(op: str, dy: Any, ctx: GroupNormContext) -> tuple[Array, Array | None, Array | None]:
    dy = check.gradient(op, "dy", dy, ctx.x, ctx.shape)
    dx: Array
    dx, dgamma, dbeta = backend().group_norm_backward(
        dy.reshape(ctx.x.shape), ctx.x, ctx.gamma, ctx.mean, ctx.inv
    )
    return dx.reshape(ctx.shape), dgamma if ctx.given[0] else None, dbeta if ctx.given[1] else None


def layer_norm(
    x: Any, gamma: Any = None, beta: Any = None, *, eps: float = 1e-5
) -> tuple[Array, GroupNormContext]:
    """As `batch_norm`, with the statistics of each row: x, y (..., C). (Ba, Kiros & Hinton 2016.)"""
    op = "layer_norm"
    x, found = with_channels(op, x, gamma=gamma, beta=beta)
    channels = x.shape[-1]
    return _group_norm(op, x.reshape(x.size // channels, 1, channels), x.shape, 1, found, eps)


def layer_norm_backward(dy: Any, ctx: GroupNormContext) -> tuple[Array, Array | None, Array | None]:
    """dy (..., C) -> dx (..., C), dgamma (C,) or None, dbeta (C,) or None."""
    return _group_norm_backward("layer_norm_backward", dy, ctx)


class LocalResponseContext(NamedTuple):
    """What `local_response_norm_backward` needs."""

    x: Array
    d: Array
    size: int
    alpha: float
    beta: float


def local_response_norm(
    x: Any, size: int, *, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0
) -> tuple[Array, LocalResponseContext]:
    """x / (k + alpha s)^beta, s the sum of the squares of `size` channels around each: x (..., C) -> y.

    size must be odd. (Krizhevsky, Sutskever & Hinton 2012, section 3.3.) ValueError for a size that is even
    or below 1 and for a k not above 0.
    """
    op = "local_response_norm"
    x, _ = with_channels(op, x)
    if check.integer(op, "size", size, 1, 2**20) % 2 == 0:
        raise ValueError(f"{op}: size must be odd, as many channels on either side, got {size}")
    k = positive(op, "k", k)
    alpha, beta = check.number(op, "alpha", alpha), check.number(op, "beta", beta)
    rows = x.reshape(x.size // x.shape[-1], x.shape[-1])
    y: Array
    y, d = backend().local_response(rows, int(size), alpha, beta, k)
    return y.reshape(x.shape), LocalResponseContext(x, d, int(size), alpha, beta)


def local_response_norm_backward(dy: Any, ctx: LocalResponseContext) -> Array:
    """dy (..., C) -> dx (..., C)."""
    dy = check.gradient("local_response_norm_backward", "dy", dy, ctx.x, ctx.x.shape)
    rows = ctx.d.shape
    dx: Array = backend().local_response_backward(
        dy.reshape(rows), ctx.x.reshape(rows), ctx.d, ctx.size, ctx.alpha, ctx.beta
    )
    return dx.reshape(ctx.x.shape)


def with_channels(op: str, x: Any, **others: Any) -> tuple[Array, dict[str, Array]]:
    """x with channels, and of the others those that there are, (C,)."""
    given = {name: value for name, value in others.items() if value is not None}
    x, *arrays = check.floats(op, x=x, **given)
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"{op}: x must have at least one channel, its last axis {check.shown(x.shape)}")
    for name, array in zip(given, arrays, strict=True):
        check.shape(op, name, array, (x.shape[-1],), "one for each channel of x")
    return x, dict(zip(given, arrays, strict=True))


def positive(op: str, name: str, value: Any) -> float:
    """A number above 0."""
    found = check.number(op, name, value)
    if found == 0:
        raise ValueError(f"{op}: {name} must be above 0, got {found}")
    return found
