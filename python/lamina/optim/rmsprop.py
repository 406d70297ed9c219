"""RMSprop and Adagrad: each step divided by the root of the gradient's squares."""

from collections.abc import Iterable, Mapping
from typing import Any

from lamina import ops
from lamina.autograd import Tensor
from lamina.ops import _check as check
from lamina.optim.optimizer import Array, Optimizer, check_eps


class _Scaled(Optimizer):
    """v = keep v + add g^2; p -= lr g / (sqrt(v) + eps), with `_weights` for keep and add."""

    eps: float

    def _start(self, params: Iterable[Tensor], options: dict[str, Any]) -> None:
        self._set_options(self._checked_options(options))
        super().__init__(params, self.lr, ("square",))

    def _checked_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        name = type(self).__name__
        found = {key: check.number(name, key, options[key]) for key in ("lr", "eps")}
        check_eps(name, found["eps"])
        return {**options, **found}

    def _check_together(self, name: str, options: dict[str, Any], buffers: dict[str, list[Array]]) -> None:
        for i, square in enumerate(buffers["square"]):
            if (square < 0).any():
                raise ValueError(f"{name}: square[{i}] is of squares but has negative numbers")

    def _weights(self) -> tuple[float, float]:
        raise NotImplementedError

    def update(self, p: Array, g: Array, state: dict[str, Array], step: int) -> None:
        """One step on a stretch of memory."""
        ops.rms_step(p, g, state["square"], self.lr, *self._weights(), self.eps)


class RMSprop(_Scaled):
    """v = alpha v + (1 - alpha) g^2; p -= lr g / (sqrt(v) + eps) (Tieleman & Hinton 2012, lecture 6e).

    Raises ValueError for negative or infinite numbers, alpha outside [0, 1) and eps = 0.
    """

    options = ("lr", "alpha", "eps")
    alpha: float

    def __init__(
        self, params: Iterable[Tensor], lr: float = 0.01, *, alpha: float = 0.99, eps: float = 1e-8
    ) -> None:
        self._start(params, {"lr": lr, "alpha": alpha, "eps": eps})

    def _checked_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        alpha = check.number("RMSprop", "alpha", options["alpha"], below=1)
        return {**super()._checked_options(options), "alpha": alpha}

    def _weights(self) -> tuple[float, float]:
        return self.alpha, 1 - self.alpha


class Adagrad(_Scaled):
    """v = v + g^2; p -= lr g / (sqrt(v) + eps) (Duchi, Hazan & Singer 2011).

    Raises ValueError for negative or infinite numbers and eps = 0.
    """

    options = ("lr", "eps")

    def __init__(self, params: Iterable[Tensor], lr: float = 0.01, *, eps: float = 1e-10) -> None:
        self._start(params, {"lr": lr, "eps": eps})

    def _weights(self) -> tuple[float, float]:
        return 1.0, 1.0
