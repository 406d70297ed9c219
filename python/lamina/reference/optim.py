"""Steps of SGD, Adam, RMSprop, Adagrad and Adadelta on flat arrays, in place."""

import numpy as np

from lamina.reference._types import Array


def sgd_step(
    p: Array, g: Array, v: Array | None, lr: float, momentum: float, nesterov: bool, weight_decay: float
) -> None:
    """g += weight_decay p; v = momentum v + g; p -= lr (g + momentum v if nesterov else v); g is kept."""
    if weight_decay:
        g = g + weight_decay * p
    if v is not None:
        v *= momentum
        v += g
        g = g + momentum * v if nesterov else v
    p -= lr * g


def adam_step(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    step: int,
) -> None:
    """Adam (Kingma & Ba 2015, algorithm 1); decoupled: AdamW (Loshchilov & Hutter 2019)."""
    if weight_decay and decoupled:
        p *= 1 - lr * weight_decay
    elif weight_decay:
        g = g + weight_decay * p
    m *= beta1
    m += (1 - beta1) * g
    v *= beta2
    v += (1 - beta2) * (g * g)
    root = np.sqrt(v / (1 - beta2**step))
    root += eps
    p -= (lr / (1 - beta1**step)) * (m / root)


def rms_step(p: Array, g: Array, v: Array, lr: float, keep: float, add: float, eps: float) -> None:
    """v = keep v + add g^2; p -= lr g / (sqrt(v) + eps)."""
    v *= keep
    v += add * (g * g)
    p -= lr * g / (np.sqrt(v) + eps)


def adadelta_step(
    p: Array, g: Array, v: Array, u: Array, lr: float, keep: float, eps: float, weight_decay: float
) -> None:
    """v, then u: running means of g^2 and of d^2; d = g sqrt(u + eps) / sqrt(v + eps); p -= lr d."""
    if weight_decay:
        g = g + weight_decay * p
    v *= keep
    v += (1 - keep) * (g * g)
    step = np.sqrt(u + eps) / np.sqrt(v + eps) * g
    u *= keep
    u += (1 - keep) * (step * step)
    p -= lr * step
