"""The embedding layer."""

from lamina import init, ops
from lamina.autograd import Tensor, record
from lamina.nn.module import Module, Parameter
from lamina.ops import _check as check


class Embedding(Module):
    """A learned vector for each token: tokens (...), whole numbers in 0..V-1 -> vectors (..., D).

    `weight` (num_embeddings, embedding_dim), (V,D), starts standard normal, as in PyTorch; `rng` is a
    generator, a seed or None for the library's own. Raises ValueError for a token out of range, TypeError for
    tokens that are not integers.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, *, rng: init.Rng = None) -> None:
        self.num_embeddings = check.integer("Embedding", "num_embeddings", num_embeddings, 1)
        self.embedding_dim = check.integer("Embedding", "embedding_dim", embedding_dim, 1)
        self.weight = Parameter(init.normal((self.num_embeddings, self.embedding_dim), rng=rng))

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (...) -> (..., D)."""
        y, ctx = ops.embedding(tokens.data, self.weight.data)
        return record(y, (self.weight,), ops.embedding_backward, ctx)
