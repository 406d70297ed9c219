"""The autoencoder with one hidden layer."""

from lamina import init, nn
from lamina.autoencoders.base import Autoencoder, activation
from lamina.autoencoders.tied import Tied
from lamina.ops import _check as check


class DenseAutoencoder(Autoencoder):
    """x (N, in) -> code (N, hidden) = activation(x w^T + b) -> y (N, in) = output(code w'^T + c).

    activation: "sigmoid", "tanh", "relu" or "linear". output: the same; "linear", a linear decoder, takes x
    of any range. tied: w' is the transpose of w. dropout: the probability with which training sets each
    element of the code to 0. noise, weight_decay: see `Autoencoder`. `rng` is a generator, a seed or None for
    the library's own.
    """

    encoder: nn.Sequential
    decoder: nn.Sequential

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        activation: str = "sigmoid",
        output: str = "linear",
        tied: bool = False,
        dropout: float = 0.0,
        noise: nn.Module | None = None,
        weight_decay: float = 0.0,
        rng: init.Rng = None,
    ) -> None:
        name = type(self).__name__
        self.in_features = check.integer(name, "in_features", in_features, 1)
        self.hidden_features = check.integer(name, "hidden_features", hidden_features, 1)
        self.activation, self.output = activation, output
        self.tied = check.flag(name, "tied", tied)
        self.dropout = check.number(name, "dropout", dropout, below=1)
        self._set_common(noise, weight_decay)
        rng = init.generator(rng)
        hidden = nn.Linear(in_features, hidden_features, rng=rng)
        back = Tied(hidden) if tied else nn.Linear(hidden_features, in_features, rng=rng)
        dropped = [nn.Dropout(self.dropout)] if dropout else []
        self.encoder = nn.Sequential(hidden, *_activation(name, "activation", activation), *dropped)
        self.decoder = nn.Sequential(back, *_activation(name, "output", output))

    @property
    def hidden(self) -> nn.Linear:
        """The layer whose weights (hidden, in) are the filters."""
        found = self.encoder[0]
        assert isinstance(found, nn.Linear)
        return found


_activation = activation  # the constructor has an argument of that name
