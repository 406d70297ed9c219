"""What all optimisers share: the parameters in flat memory, the step over them, and states."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from lamina.autograd import Tensor
from lamina.ops import _check as check
from lamina.optim.flat import FlatParameters, aligned_zeros

Array = npt.NDArray[Any]

_LEAST_EPS = float(np.finfo(np.float32).tiny)
_FLAT = ("_order", "_groups", "_buffers")  # the attributes that a copy makes anew
_KEYS = {"optimizer", "options", "steps", "buffers"}  # of a state dict


class Optimizer:
    """Base class.

    `buffers` names the state that a parameter has beside its value, such as a velocity, and `options` the
    numbers that a state dict keeps; `update` changes one stretch of memory. Gradients live in memory that
    the next backward pass writes again: to keep one beyond `zero_grad`, copy it.

    deepcopy and pickle copy the parameters too. Copied in one go with their model, as in
    `model2, optimizer2 = copy.deepcopy((model, optimizer))`, the two belong together and train on.

    Raises TypeError or ValueError for no parameters, one that is there twice, and things that are no
    parameters.
    """

    options: ClassVar[tuple[str, ...]] = ("lr",)

    def __init__(self, params: Iterable[Tensor], lr: float, buffers: tuple[str, ...]) -> None:
        self.lr = lr
        self._arrange(self._checked(params), buffers)

    def _arrange(self, parameters: Sequence[Tensor], buffers: tuple[str, ...]) -> None:
        """Lay the parameters out in flat memory, with buffers of zeros beside them."""
        by_dtype: dict[Any, list[Tensor]] = {}
        for p in parameters:
            by_dtype.setdefault(p.dtype, []).append(p)
        place = {id(p): (g, i) for g, each in enumerate(by_dtype.values()) for i, p in enumerate(each)}
        self._order = [place[id(p)] for p in parameters]  # group, and number in the group
        self._groups = [FlatParameters(each) for each in by_dtype.values()]
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
        return [self._groups[g].parameters[i] for g, i in self._order]

    @property
    def _steps(self) -> list[int]:
        """The steps that each parameter has taken."""
        return [self._groups[g].steps[i] for g, i in self._order]

    def _views(self) -> dict[str, list[Array]]:
        """The buffers as one array per parameter: views, not copies."""
        pairs = zip(self._groups, self._buffers, strict=True)
        views = [{name: group.views(flat) for name, flat in each.items()} for group, each in pairs]
        return {name: [views[g][name][i] for g, i in self._order] for name in self._buffers[0]}

    def zero_grad(self) -> None:
        """Forget all gradients. Call it once a step: `backward` adds to what is there.

        The next backward pass writes into the same arrays: only a copy, `p.grad.copy()`, keeps a gradient.
        """
        for group in self._groups:
            for p in group.parameters:
                p.grad = None

    def gather(self) -> None:
        """Bring all parameters and gradients into this optimiser's memory, wherever they are."""
        for group in self._groups:
            group.gather()

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
        return {
            "optimizer": type(self).__name__,
            "options": {name: getattr(self, name) for name in self.options},
            "steps": self._steps,
            "buffers": {name: [view.copy() for view in views] for name, views in self._views().items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave: options, step counts and buffers.

        Raises TypeError or ValueError, and changes nothing, if it is another optimiser's, does not fit the
        parameters, or has options that the constructor refuses, step counts that count nothing, or buffers
        that lose more than digits in the parameters' dtype.
        """
        name = f"load_state_dict of {type(self).__name__}"
        self._check_parts(name, state)
        options = self._checked_options(state["options"])
        steps = [check.integer(name, f"steps[{i}]", count, 0) for i, count in enumerate(state["steps"])]
        buffers = self._checked_buffers(name, state["buffers"])
        self._check_together(name, options, buffers)
        former = {key: getattr(self, key) for key in self.options}
        try:
            self._set_options(options)
        except Exception:  # an option may be a property, which refuses what it likes
            self._set_options(former)
            raise
        self._take(steps, buffers)

    def _check_parts(self, name: str, state: Mapping[str, Any]) -> None:
        """Whether a state has all parts, by name and number, that this optimiser's has."""
        if not isinstance(state, Mapping):
            raise TypeError(f"{name}: the state must be a dict, got {type(state).__name__}")
        if state.get("optimizer") != type(self).__name__ or set(state) != _KEYS:
            raise ValueError(
                f"{name}: the state is of {state.get('optimizer')!r}, with {sorted(map(str, state))}"
            )
        for key, expected in (("options", self.options), ("buffers", self._buffers[0])):
            if not isinstance(state[key], Mapping) or set(state[key]) != set(expected):
                raise ValueError(
                    f"{name}: expected options {sorted(self.options)} and buffers {sorted(self._buffers[0])}"
                )
        count = len(self._order)
        for each in (state["steps"], *state["buffers"].values()):
            if not isinstance(each, Sequence | np.ndarray) or len(each) != count:
                raise ValueError(f"{name}: the state is not of {count} parameters")

    def _checked_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options as attributes keep them. TypeError or ValueError for what the constructor refuses."""
        return dict(options)

    def _checked_buffers(self, name: str, buffers: Mapping[str, Sequence[Any]]) -> dict[str, list[Array]]:
        """The buffers as arrays of the parameters' shapes and dtypes; ValueError if they are not."""
        return {
            key: [
                _converted(name, f"{key}[{i}]", given, mine)
                for i, (given, mine) in enumerate(zip(buffers[key], views, strict=True))
            ]
            for key, views in self._views().items()
        }

    def _check_together(self, name: str, options: dict[str, Any], buffers: dict[str, list[Array]]) -> None:
        """ValueError for values that only a broken state has."""

    def _set_options(self, options: dict[str, Any]) -> None:
        for key, value in options.items():
            setattr(self, key, value)

    def _take(self, steps: Sequence[int], buffers: Mapping[str, Sequence[Array]]) -> None:
        """Copy step counts and buffers, in the order of the parameters, into flat memory."""
        for (g, i), count in zip(self._order, steps, strict=True):
            self._groups[g].steps[i] = count
        for key, views in self._views().items():
            for view, given in zip(views, buffers[key], strict=True):
                view[...] = given

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or pickle is made of: the parameters, and everything that belongs to each.

        The flat memory is left behind: copies of its views would no longer be views of the copied buffer.
        ValueError if a parameter has another shape or dtype than the buffers.
        """
        for group in self._groups:
            group.check_fit()
        return {
            "attributes": {key: value for key, value in vars(self).items() if key not in _FLAT},
            "parameters": self.parameters,
            "steps": self._steps,
            "buffers": self._views(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state["attributes"])
        self._arrange(state["parameters"], tuple(state["buffers"]))
        self._take(state["steps"], state["buffers"])

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.options)
        count = sum(p.size for p in self.parameters)
        return f"{type(self).__name__}({len(self._order)} parameters, {count:,} numbers, {shown})"


def check_eps(name: str, eps: float) -> None:
    """ValueError for 0 and for denormals, which are 0 to the kernels.

    A parameter that has had no gradient but 0, and the padding between parameters, would become 0/0.
    """
    if eps < _LEAST_EPS:
        raise ValueError(
            f"{name}: eps must be above 0, at least {_LEAST_EPS:.3g}, or gradients of 0 would make steps of "
            f"0/0; got {eps:g}"
        )


def _converted(who: str, what: str, value: Any, mine: Array) -> Array:
    """The buffer `value` in the dtype of `mine`.

    ValueError for another shape, no real numbers, or an overflow; TypeError for a masked array.
    """
    check.refuse_mask(who, what, value)
    name, given = f"{who}: {what}", np.asarray(value)
    if given.shape != mine.shape:
        raise ValueError(f"{name} has shape {given.shape}, expected {mine.shape}")
    if not np.can_cast(given.dtype, mine.dtype, "same_kind"):
        raise ValueError(f"{name} is {given.dtype}, expected {mine.dtype}")
    with np.errstate(over="ignore"):
        found = given.astype(mine.dtype, copy=False)
    if np.isinf(found).sum() > np.isinf(given).sum():  # NumPy before 1.24 casts silently
        raise ValueError(f"{name} has numbers too large for {mine.dtype}")
    return found
