"""Matrix product: y = a b + bias. a (M,K), b (K,N), bias (N,), y (M,N)."""

from lamina.reference import activations
from lamina.reference._types import Array


def gemm(a: Array, b: Array, bias: Array | None = None, relu: bool = False) -> Array:
    """Multiply (M,K) by (K,N) and add bias (N,) to each row; with relu, max(that, 0)."""
    y: Array = a @ b
    if bias is not None:
        y += bias
    return activations.relu(y) if relu else y


def bias_backward(dy: Array) -> Array:
    """Sum the columns of dy (M,N) -> (N,)."""
    db: Array = dy.sum(axis=0)
    return db
