"""The contractive autoencoder: codes that hardly move when x does."""

from lamina import init, nn
from lamina.autoencoders.dense import DenseAutoencoder
from lamina.autograd import Tensor
from lamina.ops import _check as check


class ContractiveAutoencoder(DenseAutoencoder):
    """Sigmoid units h; the loss has `strength` times the squared Frobenius norm of dh/dx more.

    For a sample that is sum over units of (h (1 - h))^2 |w|^2, w the unit's weights: no Jacobian is made. The
    other arguments are those of `DenseAutoencoder`. Source: S. Rifai, P. Vincent, X. Muller, X. Glorot, Y.
    Bengio, "Contractive auto-encoders", 2011, whose weights are tied too.
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        strength: float = 0.1,
        output: str = "linear",
        tied: bool = True,
        noise: nn.Module | None = None,
        weight_decay: float = 0.0,
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
        self.strength = check.number("ContractiveAutoencoder", "strength", strength)

    def penalty(self, code: Tensor) -> Tensor | None:
        """code (N, hidden) -> strength times the mean squared norm of a sample; None for an empty batch."""
        if len(code.data) == 0:
            return None
        slopes, w = code * (1 - code), self.hidden.weight
        return ((slopes * slopes).mean(axis=0) * (w * w).sum(axis=1)).sum() * self.strength
