"""Autoencoders of the codes of autoencoders."""

from collections.abc import Sequence

from lamina import nn
from lamina.autoencoders.base import Autoencoder


class StackedAutoencoder(Autoencoder):
    """x -> the code of the first -> its code by the second -> ...; and back through all of them.

    `lm.train.pretrain` trains one after the other, each on the codes of the one before (Hinton et al.
    2006; Bengio et al. 2007). `fit` then fine-tunes the whole to reconstruct x; `classifier`, fitted to
    labels, fine-tunes the encoders to tell classes. noise, weight_decay: as in `Autoencoder`, for `fit` of
    the whole; the layers have their own, which serve in `pretrain`. TypeError for what is no autoencoder.
    """

    def __init__(
        self,
        layers: Sequence[Autoencoder],
        *,
        noise: nn.Module | None = None,
        weight_decay: float = 0.0,
    ) -> None:
        if isinstance(layers, nn.Module) or not layers:
            raise TypeError(f"StackedAutoencoder: layers must be a list of autoencoders, got {layers!r:.80}")
        for i, layer in enumerate(layers):
            if not isinstance(layer, Autoencoder):
                raise TypeError(
                    f"StackedAutoencoder: layers[{i}] must be an Autoencoder, got {type(layer).__name__}"
                )
        self.layers = list(layers)
        self._set_common(noise, weight_decay)

    @property
    def encoder(self) -> nn.Sequential:  # type: ignore[override]
        """The encoders, from the first to the last; not copied."""
        return nn.Sequential(*[layer.encoder for layer in self.layers])

    @property
    def decoder(self) -> nn.Sequential:  # type: ignore[override]
        """The decoders, from the last to the first; not copied."""
        return nn.Sequential(*[layer.decoder for layer in reversed(self.layers)])

    @property
    def hidden_features(self) -> int | None:
        """The units of the last code; None where it is no row."""
        found: int | None = getattr(self.layers[-1], "hidden_features", None)
        return found

    def schedule(self, done: float) -> None:
        """As every layer has it."""
        for layer in self.layers:
            layer.schedule(done)
