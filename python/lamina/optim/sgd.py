"""Stochastic gradient descent."""

from collections.abc import Iterable

from lamina import ops
from lamina.autograd import Tensor
from lamina.ops import _check as check
from lamina.optim.optimizer import Array, Optimizer


class SGD(Optimizer):
    """g' = g + weight_decay p; v = momentum v + g'; p -= lr v, or lr (g' + momentum v) if nesterov.

    (Sutskever et al. 2013, in the form that PyTorch uses: v is not scaled by lr.) Raises ValueError for
    negative or infinite numbers, momentum of 1 or more, and nesterov without momentum.
    """

    options = ("lr", "momentum", "nesterov", "weight_decay")

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        self.momentum = check.number("SGD", "momentum", momentum, below=1)
        self.nesterov = check.flag("SGD", "nesterov", nesterov)
        self.weight_decay = check.number("SGD", "weight_decay", weight_decay)
        if nesterov and momentum == 0:
            raise ValueError("SGD: nesterov=True needs a momentum above 0")
        super().__init__(params, lr, ("velocity",) if momentum else ())

    def update(self, p: Array, g: Array, state: dict[str, Array], step: int) -> None:
        """One step on a stretch of memory."""
        ops.sgd_step(p, g, state.get("velocity"), self.lr, self.momentum, self.nesterov, self.weight_decay)
