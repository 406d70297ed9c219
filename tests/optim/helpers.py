"""Parameters, gradients and settings that tests of optimisers share."""

import numpy as np

from lamina import nn, optim

SHAPES = [(3, 4), (5,), (), (2, 1, 3)]

SETTINGS = {
    "SGD": (optim.SGD, {"lr": 0.1}),
    "SGD, momentum": (optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    "SGD, nesterov and decay": (
        optim.SGD,
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    ),
    "SGD, decay": (optim.SGD, {"lr": 0.1, "weight_decay": 0.1}),
    "Adam": (optim.Adam, {"lr": 0.01}),
    "Adam, options": (optim.Adam, {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.1}),
    "AdamW": (optim.AdamW, {"lr": 0.01}),
    "AdamW, options": (optim.AdamW, {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.3}),
    "RMSprop": (optim.RMSprop, {"lr": 0.01}),
    "RMSprop, options": (optim.RMSprop, {"lr": 0.01, "alpha": 0.95, "eps": 1e-4}),
    "Adagrad": (optim.Adagrad, {"lr": 0.01}),
    "Adagrad, options": (optim.Adagrad, {"lr": 0.1, "eps": 1e-2}),
    "Adadelta": (optim.Adadelta, {"lr": 1.0}),
    "Adadelta, options": (optim.Adadelta, {"lr": 0.5, "rho": 0.8, "eps": 1e-3, "weight_decay": 0.1}),
}


def parameters(dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return [nn.Parameter(rng.normal(size=shape).astype(dtype)) for shape in SHAPES]


def gradients(step, dtype=np.float64):
    rng = np.random.default_rng(100 + step)
    return [np.asarray(rng.normal(size=shape), dtype) for shape in SHAPES]


def give(params, grads):
    """Send gradients through the tape."""
    for p, g in zip(params, grads, strict=True):
        if g is not None:
            (p * g).sum().backward()
