"""Gradients kept within bounds, between `backward` and `step`: recurrent networks need it."""

import math
from collections.abc import Iterable

import numpy as np

from lamina.autograd import Tensor
from lamina.ops import _check as check


def clip_grad_value(parameters: Iterable[Tensor], most: float) -> None:
    """Each element of each gradient into -most..most, in place (char-rnn clips at 5).

    most: above 0. NaN stays NaN. Parameters without a gradient are passed over.
    """
    most = _bound("clip_grad_value", most)
    for p in parameters:
        if p.grad is not None:
            np.clip(p.grad, -most, most, out=p.grad)


def clip_grad_norm(parameters: Iterable[Tensor], most: float) -> float:
    """Scale all gradients together, in place, so that their common Euclidean norm is at most `most`.

    -> the norm before. A norm that is infinite or NaN is returned and the gradients are left as they are.
    (Pascanu, Mikolov, Bengio 2013, "On the difficulty of training recurrent neural networks", section 3.2.)
    """
    most = _bound("clip_grad_norm", most)
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = math.sqrt(sum(float(np.vdot(g, g)) for g in gradients))
    if math.isfinite(norm) and norm > most:
        for g in gradients:
            g *= most / norm
    return norm


def _bound(op: str, most: float) -> float:
    most = check.number(op, "most", most)
    if most == 0:
        raise ValueError(f"{op}: most must be above 0")
    return most
