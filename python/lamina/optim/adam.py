"""Adam and AdamW."""

from collections.abc import Iterable, Mapping
from typing import Any

from lamina import ops
from lamina.autograd import Tensor
from lamina.ops import _check as check
from lamina.optim.optimizer import Array, Optimizer, check_eps


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, algorithm 1); weight_decay adds weight_decay p to the gradient.

    Raises ValueError for negative or infinite numbers, betas outside [0, 1) and eps = 0.
    """

    options = ("lr", "betas", "eps", "weight_decay")
    betas: tuple[float, float]
    eps: float
    weight_decay: float
    _decoupled = False

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        own = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        self._set_options(self._checked_options(own))
        super().__init__(params, lr, ("mean", "square"))

    def _checked_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        name, betas = type(self).__name__, options["betas"]
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise ValueError(f"{name}: betas must be a pair, got {betas!r}")
        found = {key: check.number(name, key, options[key]) for key in ("lr", "eps", "weight_decay")}
        check_eps(name, found["eps"])
        pair = tuple(check.number(name, f"betas[{i}]", beta, below=1) for i, beta in enumerate(betas))
        return {**options, **found, "betas": pair}

    def _check_together(self, name: str, options: dict[str, Any], buffers: dict[str, list[Array]]) -> None:
        for i, square in enumerate(buffers["square"]):
            if (square < 0).any():
                raise ValueError(f"{name}: square[{i}] is a mean of squares but has negative numbers")

    def update(self, p: Array, g: Array, state: dict[str, Array], step: int) -> None:
        """One step on a stretch of memory."""
        ops.adam_step(
            p,
            g,
            state["mean"],
            state["square"],
            self.lr,
            *self.betas,
            self.eps,
            self.weight_decay,
            self._decoupled,
            step,
        )


class AdamW(Adam):
    """Adam with the weight decay apart from the gradient: p is first multiplied by 1 - lr weight_decay.

    (Loshchilov & Hutter 2019.) Errors as for `Adam`.
    """

    _decoupled = True

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr, betas=betas, eps=eps, weight_decay=weight_decay)
