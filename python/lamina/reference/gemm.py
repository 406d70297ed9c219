"""Matrix product: y = a b + bias. a (M,K), b (K,N), bias (N,), y (M,N)."""

from lamina.reference import activations
from lamina.reference._types import Array, put


def gemm(
    a: Array, b: Array, bias: Array | None = None, relu: bool = False, out: Array | None = None
) -> Array:
    """Multiply (M,K) by (K,N) and add bias (N,) to each row; with relu, max(that, 0)."""
    y: Array = a @ b
    if bias is not None:
        y += bias
    return put(activations.relu(y) if relu else y, out)


def bias_backward(dy: Array, out: Array | None = None) -> Array:
    """Sum the columns of dy (M,N) -> (N,)."""
    return put(dy.sum(axis=0), out)
