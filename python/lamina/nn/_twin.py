"""A second module like a first one, with parameters of its own."""

import copy
from typing import Any

import numpy as np

from lamina.nn._arguments import argument
from lamina.nn.module import Module, Parameter


def twin(module: Module, rng: "np.random.Generator") -> Module:
    """A deep copy whose parameters start anew, from `rng`.

    Those of a layer of this library are drawn as its constructor draws them; those that a module of another
    class holds itself are its present values in another order. Random generators in it get new seeds.
    """
    made = copy.deepcopy(module)
    for inside in made.modules():
        own = {name: member for name, member in inside._members() if isinstance(member, Parameter)}
        if own:
            drawn = _drawn_anew(inside, rng) if type(inside).__module__.startswith("lamina.nn.") else {}
            for name, parameter in own.items():
                parameter.grad = parameter._grad_view = None
                parameter.data[...] = (
                    drawn[name] if drawn else rng.permuted(parameter.data.ravel()).reshape(parameter.shape)
                )
        for name, value in vars(inside).items():
            if isinstance(value, np.random.Generator):
                setattr(inside, name, np.random.default_rng(rng.integers(2**63)))
    return made


def _drawn_anew(layer: Module, rng: "np.random.Generator") -> dict[str, Any]:
    """The parameters of a new layer of the same class and arguments, by name."""
    import inspect  # slow to import, and only needed here

    parameters = inspect.signature(type(layer)).parameters
    given = {name: argument(layer, name, p) for name, p in parameters.items() if name != "rng"}
    made = type(layer)(**given, **({"rng": rng} if "rng" in parameters else {}))
    return {name: member.data for name, member in made._members() if isinstance(member, Parameter)}
