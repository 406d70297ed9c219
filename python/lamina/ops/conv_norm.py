"""A convolution with batch normalisation behind it: the numbers of both, in fewer passes over memory."""

from typing import Any, NamedTuple

import numpy as np

from lamina.config import backend
from lamina.ops import _check as check
from lamina.ops._check import Array
from lamina.ops._into import Into, fills
from lamina.ops.conv import Conv2dContext, prepare
from lamina.ops.norm import BatchNormContext, normalised, positive, with_channels


class ConvNormContext(NamedTuple):
    """What `conv2d_norm_backward` needs: the contexts of the two."""

    conv: Conv2dContext
    norm: BatchNormContext


def conv2d_norm(
    x: Any,
    w: Any,
    b: Any = None,
    gamma: Any = None,
    beta: Any = None,
    *,
    eps: float = 1e-5,
    relu: bool = False,
    **options: Any,
) -> tuple[Array, ConvNormContext]:
    """`batch_norm` over the statistics of the batch of what `conv2d` makes, with relu then max(y, 0).

    x (N,H,W,C), w, b and options as of `conv2d`, gamma, beta and eps as of `batch_norm` -> y (N,OH,OW,O).
    Errors as of the two.
    """
    x, w, b, conv, given, eps, relu = _prepared(x, w, b, eps, relu, options, gamma=gamma, beta=beta)
    if len(x) == 0:
        raise ValueError(f"batch_norm: no element to take statistics of {check.shown(conv.output)}")
    made, mean, var = backend().conv2d_moments(x, w, b, *conv.options)
    y, norm = normalised(
        made, mean, var, given.get("gamma"), given.get("beta"), eps=eps, relu=relu, frozen=False
    )
    return y, ConvNormContext(conv, norm)


@fills
def conv2d_norm_backward(
    dy: Any, ctx: ConvNormContext, needs_dx: bool = True, into: Into = (None,) * 5
) -> tuple[Array | None, Array | None, Array | None, Array, Array | None]:
    """dy (N,OH,OW,O) -> dx or None if not needed, dgamma, dbeta, dw, db; None for what was not given.

    into: arrays for these gradients; None for new ones, as always for dx.
    """
    conv, norm = ctx
    dy = check.gradient("conv2d_norm_backward", "dy", dy, conv.w, conv.output)
    normal = norm.mean, norm.inv, norm.scale, norm.shift
    dx, dw, db, dgamma, dbeta = backend().conv2d_norm_backward(
        *(dy, norm.x, *normal, norm.relu, conv.x, conv.w, *conv.options, needs_dx),
        *(into[3], into[4], into[1], into[2]),
    )
    has_gamma, has_beta = norm.given
    found = dgamma if has_gamma else None, dbeta if has_beta else None
    return dx, *found, dw, db if conv.has_bias else None


def conv2d_known_norm(
    x: Any,
    w: Any,
    b: Any,
    gamma: Any,
    beta: Any,
    mean: Any,
    var: Any,
    *,
    eps: float = 1e-5,
    relu: bool = False,
    **options: Any,
) -> Array:
    """`batch_norm` with the statistics mean and var (O,) of what `conv2d` makes, which is not kept."""
    x, w, b, conv, given, eps, relu = _prepared(
        x, w, b, eps, relu, options, gamma=gamma, beta=beta, mean=mean, var=var
    )
    inv, scale = backend().batch_norm_scale(given["var"], given.get("gamma"), eps)
    shift = given["beta"] if "beta" in given else np.zeros_like(inv)
    y: Array = backend().conv2d_norm(x, w, b, given["mean"], scale, shift, relu, *conv.options)
    return y


def _prepared(
    x: Any, w: Any, b: Any, eps: Any, relu: Any, options: dict[str, Any], **others: Any
) -> tuple[Array, Array, Array | None, Conv2dContext, dict[str, Array], float, bool]:
    """All arguments after their checks, and the context of the convolution."""
    x, w, b, conv = prepare(x, w, b, **options)
    relu = check.flag("batch_norm", "relu", relu)
    eps, like = positive("batch_norm", "eps", eps), np.empty((0, len(w)), w.dtype)
    _, given = with_channels("batch_norm", like, **others)
    return x, w, b, conv, given, eps, relu
