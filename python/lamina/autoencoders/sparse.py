"""The sparse autoencoder: hidden units that are rarely active."""

from typing import Any

import numpy as np

from lamina import init, nn
from lamina.autoencoders.base import Array, share
from lamina.autoencoders.dense import DenseAutoencoder
from lamina.autograd import Tensor, apply
from lamina.ops import _check as check


class SparseAutoencoder(DenseAutoencoder):
    """Sigmoid units whose mean activation is drawn to rho: the loss has beta times `kl_divergence` more.

    Source: A. Ng, CS294A lecture notes "Sparse autoencoder", 2011, where the mean is over all samples. So it
    is here when a batch holds all of them. running: for smaller batches, the share of the former mean that is
    kept at each step of training, 0.99 say: the divergence is that of the mean so carried along, which starts
    at rho, and its gradient goes to the samples at hand as if theirs were that mean. 0: the batch alone
    counts. weight_decay is the notes' lambda. The other arguments are those of `DenseAutoencoder`.

    ValueError for a rho that is not between 0 and 1.
    """

    average: Array

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        rho: float = 0.05,
        beta: float = 3.0,
        running: float = 0.0,
        output: str = "sigmoid",
        tied: bool = False,
        noise: nn.Module | None = None,
        weight_decay: float = 1e-4,
        rng: init.Rng = None,
    ) -> None:
        super().__init__(
            in_features,
            hidden_features,
            output=output,
            tied=tied,
            noise=noise,
            weight_decay=weight_decay,
            rng=rng,
        )
        self.rho = share("SparseAutoencoder", "rho", rho)
        self.beta = check.number("SparseAutoencoder", "beta", beta)
        self.running = check.number("SparseAutoencoder", "running", running, below=1)
        if self.running:
            self.register_buffer("average", np.full(hidden_features, self.rho, np.float32))

    def penalty(self, code: Tensor) -> Tensor | None:
        """code (N, hidden) -> beta KL, one number; None for an empty batch."""
        if len(code.data) == 0:
            return None
        mean = code.mean(axis=0)
        if self.running:
            if self.training:
                self.average[...] = self.running * self.average + (1 - self.running) * mean.data
            mean = mean + (self.average - mean.data)  # another value, the same gradient
        return kl_divergence(mean, self.rho) * self.beta


def kl_divergence(mean: Tensor, rho: float) -> Tensor:
    """sum rho log(rho / mean) + (1 - rho) log((1 - rho) / (1 - mean)): mean activations (H,) -> one number.

    Means are taken to lie at least the precision of their type away from 0 and 1, so that units that are
    always or never active cost much, but no infinity. ValueError for a rho that is not between 0 and 1.
    """
    return apply(_kl, _kl_backward, mean, rho=share("kl_divergence", "rho", rho))


def _kl(mean: Array, rho: float) -> tuple[Array, Any]:
    eps = np.finfo(mean.dtype).eps
    q = np.clip(mean, eps, 1 - eps)
    y = np.sum(rho * np.log(rho / q) + (1 - rho) * np.log((1 - rho) / (1 - q)))
    return np.asarray(y, mean.dtype), (q, rho)


def _kl_backward(dy: Array, ctx: Any) -> Array:
    q, rho = ctx
    dx: Array = dy * ((1 - rho) / (1 - q) - rho / q)
    return dx
