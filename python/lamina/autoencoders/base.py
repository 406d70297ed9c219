"""What all autoencoders have in common."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from lamina import init, nn
from lamina.autograd import Tensor
from lamina.nn._cast import floating
from lamina.ops import _check as check

Array = npt.NDArray[Any]


class Autoencoder(nn.Module):
    """Base class: x -> code -> what x is taken for. Set `encoder` and `decoder`, modules, in `__init__`.

    `lm.fit(model, x, epochs=10)` trains on `loss`: half the squared error of a sample, the mean over the
    batch, plus `penalty` and weight decay. `model.encoder.predict(x)` are the codes of all of x as an array,
    `model.reconstruct(x)` what is made of them.

    noise: a module that changes x in training, such as `MaskingNoise`; x itself stays what the result is
    compared with, which makes a denoising autoencoder (Vincent et al. 2008) of any. weight_decay: added to
    the loss, half of it times the sum of all squared weights (not biases); tied ones count once.
    """

    encoder: nn.Module
    decoder: nn.Module
    noise: nn.Module | None = None
    weight_decay: float = 0.0

    def _set_common(self, noise: nn.Module | None, weight_decay: float) -> None:
        name = type(self).__name__
        if noise is not None and not isinstance(noise, nn.Module):
            raise TypeError(f"{name}: noise must be a Module, as MaskingNoise(0.2) is, got {noise!r:.80}")
        self.noise, self.weight_decay = noise, check.number(name, "weight_decay", weight_decay)

    def encode(self, x: Any) -> Tensor:
        """x (N, ...) -> code (N, ...)."""
        found: Tensor = self.encoder(x)
        return found

    def decode(self, code: Any) -> Tensor:
        """code (N, ...) -> y (N, ...), of the shape of x."""
        found: Tensor = self.decoder(code)
        return found

    def autoencode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x -> (code, y). Without noise; override it where both together are cheaper or need each other."""
        code = self.encode(x)
        return code, self.decode(code)

    def forward(self, x: Tensor) -> Tensor:
        """x (N, ...) -> y of the same shape."""
        return self.autoencode(self._corrupted(floating(x)))[1]

    def reconstruct(self, x: Any) -> Array:
        """All of x, batch by batch, in evaluation mode and without gradients: an array of its shape."""
        return self.predict(x)

    def penalty(self, code: Tensor) -> Tensor | None:
        """What the loss has beside the error and weight decay: one number, or None."""
        return None

    def objective(self, x: Any, target: Any = None) -> tuple[Tensor, Tensor]:
        """-> (y, loss) for a batch, as `fit` wants them. target: what y is compared with; None: x."""
        x = floating(x if isinstance(x, Tensor) else self._admit(x))
        code, y = self.autoencode(self._corrupted(x))
        samples = max(1, len(y.data))
        loss = nn.MSELoss()(y, x if target is None else target) * (0.5 * y.size / samples)
        for term in (self.penalty(code), self._decay()):
            loss = loss if term is None else loss + term
        return y, loss

    def loss(self, x: Any) -> Tensor:
        """x (N, ...) -> the mean loss of a sample, one number."""
        return self.objective(x)[1]

    def schedule(self, done: float) -> None:
        """Called by `fit` before every epoch with the share of them that is done, and with 1 at the end."""

    def classifier(self, num_classes: int, *, rng: init.Rng = None) -> nn.Sequential:
        """The encoder, not copied, and a new `Linear` to logits: train it on to fine-tune the encoder."""
        features = getattr(self, "hidden_features", None)
        if features is None:
            raise TypeError(
                f"{type(self).__name__}: its codes are no rows; put Flatten and Linear behind encoder"
            )
        return nn.Sequential(self.encoder, nn.Linear(features, num_classes, rng=rng))

    def _corrupted(self, x: Tensor) -> Tensor:
        found: Tensor = x if self.noise is None else self.noise(x)
        return found

    def _decay(self) -> Tensor | None:
        if self.weight_decay == 0:
            return None
        total: Any = sum((p * p).sum() for p in self.parameters() if p.ndim > 1)
        return total * (0.5 * self.weight_decay) if isinstance(total, Tensor) else None


def share(who: str, name: str, value: Any) -> float:
    """`value` as a float strictly between 0 and 1."""
    found = check.number(who, name, value, below=1)
    if found == 0:
        raise ValueError(f"{who}: {name} must be greater than 0 and less than 1, got {value!r}")
    return found


def activation(who: str, name: str, value: Any) -> list[nn.Module]:
    """The layer of that name, in a list; none for "linear"."""
    made: dict[str, list[nn.Module]] = {
        "linear": [],
        "relu": [nn.ReLU()],
        "sigmoid": [nn.Sigmoid()],
        "tanh": [nn.Tanh()],
    }
    return made[check.choice(who, name, value, tuple(made))]
