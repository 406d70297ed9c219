"""A convolution and its batch normalisation as one operation, where that computes what they would."""

from typing import Any

from lamina.autograd import Tensor, is_recorded, record
from lamina.nn._cast import floating
from lamina.nn._errors import name_layer
from lamina.nn.conv import Conv2d
from lamina.nn.norm import BatchNorm2d
from lamina.ops.conv_norm import conv2d_known_norm, conv2d_norm, conv2d_norm_backward


def conv_norm(conv: Conv2d, norm: BatchNorm2d, x: Any, *, relu: bool) -> Tensor:
    """norm(conv(x), relu=relu): its bits, gradients and errors.

    In one go while the batch is normalised by itself, or by known statistics without a way back.
    """
    inputs = (x, norm.weight, norm.bias, conv.weight, conv.bias)  # in the order of their gradients one by one
    fits = isinstance(x, Tensor) and x.ndim == 4 and len(x.data) > 0 and _fit(conv, norm)
    if not fits or (not norm.training and is_recorded(inputs)):
        y: Tensor = norm(conv(x), relu=relu)
        return y
    x = floating(x, conv.weight.dtype)
    given = (x.data, conv.weight.data, None if conv.bias is None else conv.bias.data, *norm._parameters())
    options = {"eps": norm.eps, "relu": norm.relu or relu, **conv._options()}
    try:
        if not norm.training:
            return Tensor(conv2d_known_norm(*given, norm.running_mean, norm.running_var, **options))
        result, ctx = conv2d_norm(*given, **options)
    except (TypeError, ValueError) as error:
        name_layer(error, norm if str(error).startswith("batch_norm: ") else conv)
        raise
    norm._require_many(ctx.norm.x.shape)
    norm._follow(ctx.norm)
    return record(result, (x, *inputs[1:]), conv2d_norm_backward, ctx, x.requires_grad)


def _fit(conv: Conv2d, norm: BatchNorm2d) -> bool:
    """Whether the arrays of the normalisation are as those of the convolution's outputs must be."""
    arrays = [norm.running_mean, norm.running_var, *(a for a in norm._parameters() if a is not None)]
    return all(a.dtype == conv.weight.dtype and a.shape == conv.weight.shape[:1] for a in arrays)
