"""What all optimisers share: the parameters in flat memory, the step over them, and states."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from lamina.autograd import Tensor
from lamina.ops import _check as check
from lamina.optim.flat import FlatParameters, aligned_zeros

Array = npt.NDArray[Any]


class Optimizer:
    """Base class.

    `buffers` names the state that a parameter has beside its value, such as a velocity, and `options` the
    numbers that a state dict keeps; `update` changes one stretch of memory.

    Raises TypeError or ValueError for no parameters, one that is there twice, and things that are no
    parameters.
    """

    options: ClassVar[tuple[str, ...]] = ("lr",)

    def __init__(self, params: Iterable[Tensor], lr: float, buffers: tuple[str, ...]) -> None:
        self.lr = lr
        parameters = self._checked(params)
        by_dtype: dict[Any, list[Tensor]] = {}
        for p in parameters:
            by_dtype.setdefault(p.dtype, []).append(p)
        self._order = [id(p) for p in parameters]
        self._groups = [FlatParameters(group) for group in by_dtype.values()]
        self._buffers = [
            {name: aligned_zeros(len(group.data), group.data.dtype) for name in buffers}
            for group in self._groups
        ]

    def _checked(self, params: Iterable[Tensor]) -> list[Tensor]:
        name = type(self).__name__
        if isinstance(params, Tensor) or not isinstance(params, Iterable) or hasattr(params, "parameters"):
            raise TypeError(
                f"{name}: params must be parameters, e.g. model.parameters(), got {type(params).__name__}"
            )
        parameters = list(params)
        if not parameters:
            raise ValueError(f"{name}: params is empty (an iterator such as model.parameters() serves once)")
        for i, p in enumerate(parameters):
            if not isinstance(p, Tensor):
                raise TypeError(f"{name}: params[{i}] must be a Parameter, got {type(p).__name__}")
            if p._edge is not None or p.dtype.kind != "f":
                raise ValueError(f"{name}: params[{i}] is computed from other tensors, or holds no floats")
        if len({id(p) for p in parameters}) < len(parameters):
            raise ValueError(f"{name}: a parameter is in params twice")
        return parameters

    @property
    def lr(self) -> float:
        """The learning rate; may be set at any time. ValueError if negative or not finite."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = check.number(type(self).__name__, "lr", value)

    @property
    def parameters(self) -> list[Tensor]:
        """The parameters, in the order in which they were given."""
        by_id = {id(p): p for group in self._groups for p in group.parameters}
        return [by_id[key] for key in self._order]

    def zero_grad(self) -> None:
        """Forget all gradients. Call it once a step: `backward` adds to what is there."""
        for group in self._groups:
            for p in group.parameters:
                p.grad = None

    def step(self) -> None:
        """Change each parameter that has a gradient; the others, and their state, stay as they are."""
        for group, buffers in zip(self._groups, self._buffers, strict=True):
            for at, steps in list(group.runs()):  # all errors come before the first change
                self.update(group.data[at], group.grad[at], {k: v[at] for k, v in buffers.items()}, steps)

    def update(self, p: Array, g: Array, state: dict[str, Array], step: int) -> None:
        """Change p by its gradient g in place, and the state. All are vectors; `step` counts from 1."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Copies of everything that the next steps depend on, beside the parameters.

        {"optimizer": its name, "options": {"lr": ...}, "steps": [one per parameter],
        "buffers": {name: [one array per parameter]}}.
        """
        by_id: dict[int, tuple[int, dict[str, Array]]] = {}
        for group, buffers in zip(self._groups, self._buffers, strict=True):
            views = {name: group.views(flat) for name, flat in buffers.items()}
            for i, p in enumerate(group.parameters):
                by_id[id(p)] = group.steps[i], {name: each[i] for name, each in views.items()}
        found = [by_id[key] for key in self._order]
        return {
            "optimizer": type(self).__name__,
            "options": {name: getattr(self, name) for name in self.options},
            "steps": [steps for steps, _ in found],
            "buffers": {name: [state[name].copy() for _, state in found] for name in self._buffers[0]},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave: options, step counts and buffers.

        Raises ValueError, and changes nothing, if it is another optimiser's or does not fit the parameters.
        """
        name = f"load_state_dict of {type(self).__name__}"
        own = self.state_dict()
        if state.get("optimizer") != own["optimizer"] or set(state) != set(own):
            raise ValueError(f"{name}: the state is of {state.get('optimizer')!r}, with {sorted(state)}")
        if set(state["options"]) != set(own["options"]) or set(state["buffers"]) != set(own["buffers"]):
            raise ValueError(
                f"{name}: expected options {sorted(own['options'])} and buffers {sorted(own['buffers'])}"
            )
        count = len(self._order)
        if any(len(each) != count for each in (state["steps"], *state["buffers"].values())):
            raise ValueError(f"{name}: the state is not of {count} parameters")
        arrays = {key: [np.asarray(a) for a in each] for key, each in state["buffers"].items()}
        for key, each in own["buffers"].items():
            for i, (mine, given) in enumerate(zip(each, arrays[key], strict=True)):
                if mine.shape != given.shape:
                    raise ValueError(f"{name}: {key}[{i}] has shape {given.shape}, expected {mine.shape}")
        former = {key: getattr(self, key) for key in self.options}
        try:
            self._set_options(dict(state["options"]))
        except (TypeError, ValueError):
            self._set_options(former)
            raise
        place = {key: i for i, key in enumerate(self._order)}
        for group, buffers in zip(self._groups, self._buffers, strict=True):
            views = {key: group.views(flat) for key, flat in buffers.items()}
            for i, p in enumerate(group.parameters):
                group.steps[i] = int(state["steps"][place[id(p)]])
                for key, each in views.items():
                    each[i][...] = arrays[key][place[id(p)]]

    def _set_options(self, options: dict[str, Any]) -> None:
        for key, value in options.items():
            setattr(self, key, value)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.options)
        count = sum(p.size for p in self.parameters)
        return f"{type(self).__name__}({len(self._order)} parameters, {count:,} numbers, {shown})"
