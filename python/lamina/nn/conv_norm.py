"""A convolution and its batch normalisation as one operation, where that computes what they would."""

from typing import Any

from lamina.autograd import Tensor, record
from lamina.nn._cast import floating
from lamina.nn._errors import name_layer
from lamina.nn.conv import Conv2d
from lamina.nn.norm import BatchNorm2d
from lamina.ops.conv_norm import conv2d_norm, conv2d_norm_backward


def conv_norm(conv: Conv2d, norm: BatchNorm2d, x: Any, *, relu: bool) -> Tensor:
    """norm(conv(x), relu=relu): its bits, gradients and errors, in one go while the batch is normalised."""
    if not (norm.training and _fit(conv, norm) and len(x.data)):
        y: Tensor = norm(conv(x), relu=relu)
        return y
    w, b = conv.weight, conv.bias
    x = floating(x, w.dtype)
    try:
        result, ctx = conv2d_norm(
            x.data,
            w.data,
            None if b is None else b.data,
            *norm._parameters(),
            eps=norm.eps,
            relu=norm.relu or relu,
            **conv._options(),
        )
    except (TypeError, ValueError) as error:
        name_layer(error, conv)
        raise
    norm._require_many(ctx.norm.x.shape)
    norm._follow(ctx.norm)
    return record(result, (x, w, b, norm.weight, norm.bias), conv2d_norm_backward, ctx, x.requires_grad)


def _fit(conv: Conv2d, norm: BatchNorm2d) -> bool:
    """Whether the parameters of the normalisation are as those of the convolution's outputs must be."""
    parameters = [p for p in (norm.weight, norm.bias) if p is not None]
    return all(p.dtype == conv.weight.dtype and p.shape == conv.weight.shape[:1] for p in parameters)
