"""Optimisers: `SGD(model.parameters(), 0.1, momentum=0.9)`, then `zero_grad`, `backward`, `step` in turn."""

from lamina.optim.adam import Adam, AdamW
from lamina.optim.clip import clip_grad_norm, clip_grad_value
from lamina.optim.optimizer import Optimizer
from lamina.optim.rmsprop import Adagrad, RMSprop
from lamina.optim.sgd import SGD

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "clip_grad_norm", "clip_grad_value"]
