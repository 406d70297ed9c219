"""One step of one sequence through packed LSTM layers and a dense layer."""

from types import SimpleNamespace

import numpy as np

from cases.case import EPS, Case, Pass, normal
from lamina import ops


def recurrent_step(rng: np.random.Generator, *, layers: int, h: int, v: int) -> Case:
    stack = [
        [normal(rng, 4 * h, v if i == 0 else h), normal(rng, 4 * h, h), normal(rng, 4 * h)]
        for i in range(layers)
    ]
    stack = [[array / np.float32(np.sqrt(h)) for array in layer] for layer in stack]
    plan = ops.recurrent_plan("lstm", stack, normal(rng, v, h), normal(rng, v))
    a = SimpleNamespace(table=plan.table, panels=plan.panels, state=normal(rng, layers, 2, h))

    def step(a):
        return ops.recurrent_step(plan._replace(table=a.table, panels=a.panels), 1, a.state)

    multiply_adds = (2 * layers - 1) * 4 * h * h + v * h
    state = 64 * h * EPS  # a sum of h products, carried on by each layer
    forward = Pass("forward", step, ("logits", "state"), (h * state, state), 2 * multiply_adds, 0)
    return Case("recurrent_step", f"{layers} layers of {h} to {v}", a, (forward,))
