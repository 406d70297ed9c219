"""One step of an optimiser on parameter memory, in place. Parameter, gradient and state have one shape."""

from itertools import combinations
from typing import Any

import numpy as np

from lamina.config import backend
from lamina.ops import _check as check


def sgd_step(p: Any, g: Any, v: Any, lr: float, momentum: float, nesterov: bool, weight_decay: float) -> None:
    """Stochastic gradient descent: g' = g + weight_decay p; v = momentum v + g'; p -= lr v.

    With nesterov, p -= lr (g' + momentum v) (Sutskever et al. 2013). v is None exactly where momentum is 0.
    p and v change, g does not. Raises ValueError for shapes or values that do not fit, for p or v that cannot
    be written in place and for arrays that overlap, TypeError for other than float32 or float64 arrays of
    one dtype.
    """
    lr = check.number("sgd_step", "lr", lr)
    momentum = check.number("sgd_step", "momentum", momentum)
    weight_decay = check.number("sgd_step", "weight_decay", weight_decay)
    if check.flag("sgd_step", "nesterov", nesterov) and momentum == 0:
        raise ValueError("sgd_step: nesterov needs a momentum above 0")
    if (v is None) != (momentum == 0):
        raise ValueError(
            f"sgd_step: v must be None exactly where momentum is 0, got momentum {momentum} and v "
            f"{'None' if v is None else 'an array'}"
        )
    arrays = _prepare("sgd_step", g, p=p) if v is None else _prepare("sgd_step", g, p=p, v=v)
    velocity = None if v is None else arrays[2]
    backend().sgd_step(arrays[0], arrays[1], velocity, lr, momentum, bool(nesterov), weight_decay)


def adam_step(
    p: Any,
    g: Any,
    m: Any,
    v: Any,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    step: int,
) -> None:
    """Adam (Kingma & Ba 2015, algorithm 1), or AdamW (Loshchilov & Hutter 2019) where `decoupled`.

    m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
    p -= lr (m/(1 - beta1^step))/(sqrt(v/(1 - beta2^step)) + eps). weight_decay adds weight_decay p to g, or,
    decoupled, first multiplies p by 1 - lr weight_decay. step counts from 1. p, m and v change, g does not.
    Errors as in `sgd_step`.
    """
    lr = check.number("adam_step", "lr", lr)
    beta1 = check.number("adam_step", "beta1", beta1, below=1)
    beta2 = check.number("adam_step", "beta2", beta2, below=1)
    eps = check.number("adam_step", "eps", eps)
    weight_decay = check.number("adam_step", "weight_decay", weight_decay)
    decoupled = check.flag("adam_step", "decoupled", decoupled)
    step = check.integer("adam_step", "step", step, 1)
    p, g, m, v = _prepare("adam_step", g, p=p, m=m, v=v)
    backend().adam_step(p, g, m, v, lr, beta1, beta2, eps, weight_decay, decoupled, step)


def rms_step(p: Any, g: Any, v: Any, lr: float, keep: float, add: float, eps: float) -> None:
    """v = keep v + add g^2; p -= lr g / (sqrt(v) + eps).

    RMSprop (Tieleman & Hinton 2012, lecture 6e) where add = 1 - keep; Adagrad (Duchi, Hazan & Singer 2011)
    where both are 1. p and v change, g does not. Errors as in `sgd_step`.
    """
    named = {"lr": lr, "keep": keep, "add": add, "eps": eps}
    numbers = [check.number("rms_step", name, value) for name, value in named.items()]
    p, g, v = _prepare("rms_step", g, p=p, v=v)
    backend().rms_step(p, g, v, *numbers)


def adadelta_step(
    p: Any, g: Any, v: Any, u: Any, lr: float, keep: float, eps: float, weight_decay: float
) -> None:
    """Adadelta (Zeiler 2012): steps as large as recent steps were, over the size of recent gradients.

    g' = g + weight_decay p; v = keep v + (1 - keep) g'^2; d = g' sqrt(u + eps) / sqrt(v + eps);
    u = keep u + (1 - keep) d^2; p -= lr d. p, v and u change, g does not. Errors as in `sgd_step`; ValueError
    for eps = 0, with which nothing would ever move.
    """
    lr = check.number("adadelta_step", "lr", lr)
    keep = check.number("adadelta_step", "keep", keep, below=1)
    eps = check.number("adadelta_step", "eps", eps)
    weight_decay = check.number("adadelta_step", "weight_decay", weight_decay)
    if eps == 0:
        raise ValueError("adadelta_step: eps must be above 0, or nothing would ever move")
    p, g, v, u = _prepare("adadelta_step", g, p=p, v=v, u=u)
    backend().adadelta_step(p, g, v, u, lr, keep, eps, weight_decay)


def _prepare(op: str, g: Any, **written: Any) -> list[check.Array]:
    """The flat views of p, g and the state, in this order."""
    check.in_place(op, **written)
    p, *state = written.items()
    arrays = check.floats(op, **dict([p]), g=g, **dict(state))
    for name, value in zip([p[0], "g", *(name for name, _ in state)], arrays, strict=True):
        check.shape(op, name, value, arrays[0].shape, "that of p")
    _apart(op, p=p[1], g=g, **dict(state))
    return [value.reshape(-1) for value in arrays]


def _apart(op: str, **arrays: Any) -> None:
    """No two arrays may share memory: a write to one would change what is still to be read of the other."""
    for (a, x), (b, y) in combinations(arrays.items(), 2):
        # Bounds first: they cost a fraction of a microsecond, and settle it wherever arrays are apart.
        if np.may_share_memory(x, y) and np.shares_memory(x, y):
            raise ValueError(
                f"{op}: {a} and {b} overlap in memory; give each an array of its own, e.g. {b}.copy()"
            )
