"""Functions of tensors: `lamina.exp(x)`, `lamina.where(x > 0, x, 0)`, ...

Each takes tensors, and beside them numbers or arrays, which take the tensors' dtype.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina import _hosted as hosted
from lamina import _pairs as pairs
from lamina import ops
from lamina.autograd import Tensor, apply, binary, operands, record, unary
from lamina.ops._check import refuse_mask

__all__ = [
    "concatenate",
    "elu",
    "exp",
    "gelu",
    "leaky_relu",
    "log",
    "log_softmax",
    "maximum",
    "minimum",
    "power",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "sqrt",
    "stack",
    "tanh",
    "where",
]


def _tensor(x: Any) -> Tensor:
    return x if isinstance(x, Tensor) else Tensor(x)


def exp(x: Any) -> Tensor:
    """e to the x."""
    return unary(pairs.exp, pairs.exp_backward, _tensor(x))


def log(x: Any) -> Tensor:
    """The natural logarithm."""
    return unary(pairs.log, pairs.log_backward, _tensor(x))


def sqrt(x: Any) -> Tensor:
    """The square root."""
    return unary(pairs.sqrt, pairs.sqrt_backward, _tensor(x))


def relu(x: Any) -> Tensor:
    """max(x, 0); NaN stays NaN; the gradient at 0 is 0."""
    return unary(ops.relu, ops.relu_backward, _tensor(x))


def sigmoid(x: Any) -> Tensor:
    """1/(1 + exp(-x))."""
    return unary(ops.sigmoid, ops.sigmoid_backward, _tensor(x))


def tanh(x: Any) -> Tensor:
    """The hyperbolic tangent."""
    return unary(ops.tanh, ops.tanh_backward, _tensor(x))


def leaky_relu(x: Any, *, slope: float = 0.01) -> Tensor:
    """x where x > 0, else slope x; the gradient at 0 is slope."""
    return apply(ops.leaky_relu, ops.leaky_relu_backward, _tensor(x), slope=slope)


def elu(x: Any, *, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha (exp(x) - 1)."""
    return apply(ops.elu, ops.elu_backward, _tensor(x), alpha=alpha)


def gelu(x: Any, *, approximate: str = "none") -> Tensor:
    """x times the normal distribution at x; approximate "tanh" for the approximation by tanh."""
    return apply(ops.gelu, ops.gelu_backward, _tensor(x), approximate=approximate)


def silu(x: Any) -> Tensor:
    """x sigmoid(x)."""
    return unary(ops.silu, ops.silu_backward, _tensor(x))


def softplus(x: Any) -> Tensor:
    """log(1 + exp(x)), without overflow."""
    return unary(ops.softplus, ops.softplus_backward, _tensor(x))


def softmax(x: Any, axis: int = -1) -> Tensor:
    """exp(x)/sum(exp(x)) along an axis."""
    return unary(ops.softmax, ops.softmax_backward, _tensor(x), axis)


def log_softmax(x: Any, axis: int = -1) -> Tensor:
    """The logarithm of `softmax`, without its rounding."""
    return unary(ops.log_softmax, ops.log_softmax_backward, _tensor(x), axis)


def power(a: Any, b: Any) -> Tensor:
    """a ** b. The gradient for b takes log(a) as 0 where a is 0."""
    return binary(pairs.power, pairs.power_backward, *_one_tensor(a, b))


def maximum(a: Any, b: Any) -> Tensor:
    """The greater of a and b, element by element; a gets the gradient where they are equal; NaN wins."""
    return binary(pairs.maximum, pairs.select_backward, *_one_tensor(a, b))


def minimum(a: Any, b: Any) -> Tensor:
    """The smaller of a and b, element by element; a gets the gradient where they are equal; NaN wins."""
    return binary(pairs.minimum, pairs.select_backward, *_one_tensor(a, b))


def where(condition: npt.ArrayLike | Tensor, a: Any, b: Any) -> Tensor:
    """a where the condition holds, elsewhere b; all three broadcast. No gradient for the condition.

    Raises TypeError for a condition that is not boolean.
    """
    refuse_mask("where", "condition", condition)
    mask = np.asarray(condition)
    if mask.dtype != bool:
        raise TypeError(f"where: condition must be boolean, got {mask.dtype}; compare first, e.g. x > 0")
    return binary(pairs.where, pairs.select_backward, *_one_tensor(a, b), mask)


def _one_tensor(a: Any, b: Any) -> tuple[Any, Any]:
    return (a, b) if isinstance(a, Tensor) or isinstance(b, Tensor) else (Tensor(a), b)


def concatenate(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """Join along an axis that all of them have; their other axes must agree."""
    parts = _parts("concatenate", tensors)
    y, ctx = hosted.again(pairs.concatenate, [part.data for part in parts], axis)
    return record(y, parts, pairs.concatenate_backward, ctx)


def stack(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """Join along a new axis; all must have one shape."""
    parts = _parts("stack", tensors)
    y, ctx = hosted.again(pairs.stack, [part.data for part in parts], axis)
    return record(y, parts, pairs.stack_backward, ctx)


def _parts(name: str, tensors: Sequence[Any]) -> list[Tensor]:
    if isinstance(tensors, Tensor) or not isinstance(tensors, Sequence) or not tensors:
        raise TypeError(f"{name}: expected a list or tuple of at least one tensor, got {tensors!r:.80}")
    like = next((t for t in tensors if isinstance(t, Tensor)), None)
    if like is None:
        like = Tensor(tensors[0])
    return [operands(t, like)[0] for t in tensors]
