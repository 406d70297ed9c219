"""Adadelta: steps as large as recent steps were, so that there is no rate to tune."""

from collections.abc import Iterable, Mapping
from typing import Any

from lamina import ops
from lamina.autograd import Tensor
from lamina.ops import _check as check
from lamina.optim.optimizer import Array, Optimizer, check_eps


class Adadelta(Optimizer):
    """d = g sqrt(u + eps) / sqrt(v + eps); p -= lr d, with v and u the running means of g^2 and d^2.

    (Zeiler 2012, algorithm 1.) rho: share of the former mean that is kept. weight_decay adds weight_decay p
    to the gradient. Raises ValueError for negative or infinite numbers, rho outside [0, 1) and eps = 0.
    """

    options = ("lr", "rho", "eps", "weight_decay")
    rho: float
    eps: float
    weight_decay: float

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1.0,
        *,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        own = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay}
        self._set_options(self._checked_options(own))
        super().__init__(params, lr, ("square", "moved"))

    def _checked_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        found = {key: check.number("Adadelta", key, options[key]) for key in ("lr", "eps", "weight_decay")}
        check_eps("Adadelta", found["eps"])
        return {**options, **found, "rho": check.number("Adadelta", "rho", options["rho"], below=1)}

    def _check_together(self, name: str, options: dict[str, Any], buffers: dict[str, list[Array]]) -> None:
        for key, arrays in buffers.items():
            for i, array in enumerate(arrays):
                if (array < 0).any():
                    raise ValueError(f"{name}: {key}[{i}] is a mean of squares but has negative numbers")

    def update(self, p: Array, g: Array, state: dict[str, Array], step: int) -> None:
        """One step on a stretch of memory."""
        ops.adadelta_step(
            p, g, state["square"], state["moved"], self.lr, self.rho, self.eps, self.weight_decay
        )
