"""Optimisers: `SGD(model.parameters(), 0.1, momentum=0.9)`, then `zero_grad`, `backward`, `step` in turn.

`LBFGS` takes a closure instead: `LBFGS(model.parameters()).minimize(closure)`. Schedules of the learning rate
are for `fit(schedule=Cosine())`.
"""

from lamina.optim.adadelta import Adadelta
from lamina.optim.adam import Adam, AdamW
from lamina.optim.clip import clip_grad_norm, clip_grad_value
from lamina.optim.lbfgs import LBFGS, Minimum
from lamina.optim.optimizer import Optimizer
from lamina.optim.rmsprop import Adagrad, RMSprop
from lamina.optim.schedules import (
    Cosine,
    ExponentialDecay,
    OneCycle,
    Plateau,
    Schedule,
    StepDecay,
    WarmUp,
)
from lamina.optim.sgd import SGD

__all__ = [
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Cosine",
    "ExponentialDecay",
    "Minimum",
    "OneCycle",
    "Optimizer",
    "Plateau",
    "RMSprop",
    "Schedule",
    "StepDecay",
    "WarmUp",
    "clip_grad_norm",
    "clip_grad_value",
]
