"""The k-sparse autoencoder: only the k most active hidden units of each sample speak."""

from typing import Any

from lamina import init, nn, ops
from lamina.autoencoders.base import Array, Autoencoder
from lamina.autoencoders.tied import Tied
from lamina.autograd import Tensor, record_many
from lamina.ops import _check as check
from lamina.ops._into import Into, fills


class KSparseAutoencoder(Autoencoder):
    """z = x w^T + b, of which the k greatest are kept and the others set to 0; y = z w + c. x (N, in).

    The units are linear, the weights tied; ties go to the lowest unit; gradients go through the units that
    were kept alone, and the cost of all but z follows k. start: k before training, from which it falls in a
    straight line to k over the first half of the epochs, so that no unit is never chosen. alpha: `encode`
    keeps alpha k units in evaluation (at most all); the reconstruction is always that of k.

    The filters, `hidden.weight`, start normal with deviation 0.01, the biases at 0. noise,
    weight_decay: see `Autoencoder`. Source: A. Makhzani & B. Frey, "k-Sparse Autoencoders", 2014. ValueError
    for a k outside 1..hidden_features, a start outside k..hidden_features, an alpha below 1.
    """

    encoder: nn.Sequential
    decoder: Tied

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        k: int,
        *,
        start: int | None = None,
        alpha: float = 1.0,
        noise: nn.Module | None = None,
        weight_decay: float = 0.0,
        rng: init.Rng = None,
    ) -> None:
        name = "KSparseAutoencoder"
        self.in_features = check.integer(name, "in_features", in_features, 1)
        self.hidden_features = check.integer(name, "hidden_features", hidden_features, 1)
        self.k = check.integer(name, "k", k, 1, hidden_features)
        self.start = None if start is None else check.integer(name, "start", start, k, hidden_features)
        self.alpha = alpha
        self._set_common(noise, weight_decay)
        rng = init.generator(rng)
        hidden = nn.Linear(in_features, hidden_features, rng=rng)
        hidden.weight.data[...] = init.normal((hidden_features, in_features), 0, 0.01, rng=rng)
        hidden.bias = nn.Parameter(init.zeros(hidden_features))
        self.encoder = nn.Sequential(hidden, nn.KSparse(k, alpha=alpha))
        self.decoder = Tied(hidden)

    @property
    def hidden(self) -> nn.Linear:
        """The layer whose weights (hidden, in) are the filters."""
        found = self.encoder[0]
        assert isinstance(found, nn.Linear)
        return found

    @property
    def kept(self) -> nn.KSparse:
        """The layer that keeps the k greatest; its k is that of now."""
        found = self.encoder[1]
        assert isinstance(found, nn.KSparse)
        return found

    def autoencode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (N, in) -> the k values of each code (N,k) and y (N, in)."""
        b, c = self.hidden.bias, self.decoder.bias
        assert b is not None
        given = (x, self.hidden.weight, b, c)
        (y, values, _), ctx = ops.tied_k_sparse(*[t.data for t in given], k=self.kept.k)
        found = record_many((values, y), given, _backward, ctx, x.requires_grad)
        return found[0], found[1]

    def schedule(self, done: float) -> None:
        """Set the k of now: on the line from `start` to k that ends when half of training is done."""
        start = self.k if self.start is None else self.start
        self.kept.k = round(start + (self.k - start) * min(1.0, 2 * done))


@fills
def _backward(dvalues: Array, dy: Array, ctx: Any, needs_dx: bool, into: Into) -> Any:
    return ops.tied_k_sparse_backward(dy, dvalues, ctx, needs_dx, into)
