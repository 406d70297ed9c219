"""Stochastic gradient descent."""

from collections.abc import Iterable, Mapping
from typing import Any

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
    momentum: float
    nesterov: bool
    weight_decay: float

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        own = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
        self._set_options(self._checked_options(own))
        super().__init__(params, lr, ("velocity",) if momentum else ())

    def _checked_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        found = {
            "lr": check.number("SGD", "lr", options["lr"]),
            "momentum": check.number("SGD", "momentum", options["momentum"], below=1),
            "nesterov": check.flag("SGD", "nesterov", options["nesterov"]),
            "weight_decay": check.number("SGD", "weight_decay", options["weight_decay"]),
        }
        if found["nesterov"] and found["momentum"] == 0:
            raise ValueError("SGD: nesterov=True needs a momentum above 0")
        return {**options, **found}

    def _check_together(self, name: str, options: dict[str, Any], buffers: dict[str, list[Array]]) -> None:
        momentum = options["momentum"]
        if (momentum > 0) != ("velocity" in buffers):
            raise ValueError(f"{name}: momentum {momentum} does not go with the buffers {sorted(buffers)}")

    def update(self, p: Array, g: Array, state: dict[str, Array], step: int) -> None:
        """One step on a stretch of memory."""
        ops.sgd_step(p, g, state.get("velocity"), self.lr, self.momentum, self.nesterov, self.weight_decay)
