"""Optimisers: `SGD(model.parameters(), 0.1, momentum=0.9)`, then `zero_grad`, `backward`, `step` in turn."""

from lamina.optim.adam import Adam, AdamW
from lamina.optim.optimizer import Optimizer
from lamina.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]
