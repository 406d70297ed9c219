"""What denoising autoencoders are trained to undo."""

from lamina import init, nn
from lamina.autograd import Tensor
from lamina.nn._cast import floating
from lamina.ops import _check as check


class MaskingNoise(nn.Module):
    """In training, set each element to 0 with probability p and leave the others as they are; else nothing.

    (Vincent et al. 2008.) p: 0 <= p < 1. `rng` is a generator, a seed or None for the library's own.
    """

    def __init__(self, p: float = 0.2, *, rng: init.Rng = None) -> None:
        self.p = check.number("MaskingNoise", "p", p, below=1)
        self.rng = None if rng is None else init.generator(rng)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        x = floating(x)
        if not self.training or self.p == 0:
            return x
        return x * (init.generator(self.rng).random(x.shape, "float32") >= self.p)


class GaussianNoise(nn.Module):
    """In training, add normal noise of this standard deviation to each element; else nothing.

    (Vincent et al. 2010.) std: at least 0. `rng` is a generator, a seed or None for the library's own.
    """

    def __init__(self, std: float = 0.3, *, rng: init.Rng = None) -> None:
        self.std = check.number("GaussianNoise", "std", std)
        self.rng = None if rng is None else init.generator(rng)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        x = floating(x)
        if not self.training or self.std == 0:
            return x
        return x + self.std * init.generator(self.rng).standard_normal(x.shape, "float32")
