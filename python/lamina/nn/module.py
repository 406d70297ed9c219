"""`Module`, the base of layers and models: it finds its parameters, copies states and runs `forward`."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from lamina import config
from lamina.autograd import Tensor, no_grad
from lamina.nn._errors import name_layer
from lamina.nn._html import table
from lamina.nn._repr import represent
from lamina.nn.modes import evaluating
from lamina.nn.plan import plan_of
from lamina.nn.summary import Summary, summarize, watchers
from lamina.ops._check import array_of, refuse_mask

Array = npt.NDArray[Any]
M = TypeVar("M", bound="Module")

_PREDICT_ELEMENTS = 1 << 18  # of x in a batch of `predict`: 1 MB of float32
_PREDICT_BATCH = 256


class Parameter(Tensor):
    """A tensor that a module learns: its own contiguous copy of `data`, with requires_grad=True."""

    __slots__ = ()

    def __init__(self, data: Any) -> None:
        super().__init__(np.array(Tensor(data).data, order="C"), requires_grad=True)


class Module:
    """Base class: set parameters and modules as attributes, define `forward`.

    Parameters and modules are found wherever they are in the attributes, in lists, tuples and dicts too;
    their names are paths such as `blocks.0.weight`. There is nothing to call in `__init__`.

        class Net(nn.Module):
            def __init__(self):
                self.hidden, self.out = nn.Linear(784, 100), nn.Linear(100, 10)
            def forward(self, x):
                return self.out(lm.relu(self.hidden(x)))
    """

    training: bool = True  # False after eval(): dropout and the like are switched off
    _buffer_names: tuple[str, ...] = ()
    _changed = object()  # another one after every change of any module's attributes
    _input_shape: int | tuple[int, ...] | None = None  # that of the last summary

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(vars(self).get(name), Parameter) and not isinstance(value, Parameter | None):
            raise TypeError(
                f"{type(self).__name__}.{name} is a Parameter, which {type(value).__name__} cannot replace: "
                f"copy into .{name}.data[...], or set nn.Parameter(...)"
            )
        object.__setattr__(self, name, value)
        if (
            name != "training"
        ):  # only now: who looks before may know the former value by the former token alone
            Module._changed = object()

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        Module._changed = object()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; called through `module(x)`."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward()")

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Run `forward`. x is a Tensor or anything that `numpy.asarray` accepts.

        An array of floats is taken in the dtype of the module's parameters; a Tensor is never converted.
        """
        if not isinstance(x, Tensor):
            x = self._admit(x)
        try:
            y = self.forward(x, *args, **kwargs)
        except (TypeError, ValueError) as error:
            name_layer(error, self)
            raise
        for watch in watchers:
            watch(self, x, y)
        return y

    def _admit(self, x: Any) -> Tensor:
        if isinstance(x, (list, tuple)) and x and isinstance(x[0], Tensor):
            return Tensor(x)  # raises: the gradients would be lost
        array = array_of(type(self).__name__, "x", x)
        if array.dtype.kind == "f":
            parameter = next(self.parameters(), None)
            if parameter is not None:
                array = array.astype(parameter.dtype, copy=False)
            elif not hasattr(x, "__array__"):
                array = array.astype(np.float32)
        return Tensor(array)

    # what is inside
    def _members(self) -> "Iterator[tuple[str, Module | Parameter]]":
        for name, value in vars(self).items():
            if isinstance(value, (Module, Parameter)):
                yield name, value
            elif isinstance(value, (list, tuple, dict)):
                yield from _search(name, value)

    def children(self) -> "Iterator[Module]":
        """The modules directly inside."""
        return (child for _, child in self._members() if isinstance(child, Module))

    def _is_layer(self) -> bool:
        """Whether it computes by itself: it has multiply-adds of its own, or holds no modules."""
        return type(self).multiply_adds is not Module.multiply_adds or not any(True for _ in self.children())

    def named_modules(self) -> "Iterator[tuple[str, Module]]":
        """This module (under the name "") and all inside, with their paths, each once."""
        seen = set()
        stack: list[tuple[str, Module]] = [("", self)]
        while stack:
            name, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield name, module
            inside = [(n, m) for n, m in module._members() if isinstance(m, Module)]
            stack += [(f"{name}.{n}" if name else n, m) for n, m in reversed(inside)]

    def modules(self) -> "Iterator[Module]":
        """This module and all inside, each once."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their paths, in the order of their definition, shared ones once."""
        seen = set()
        for path, module in self.named_modules():
            for name, member in module._members():
                if isinstance(member, Parameter) and id(member) not in seen:
                    seen.add(id(member))
                    yield f"{path}.{name}" if path else name, member

    def parameters(self) -> Iterator[Parameter]:
        """All parameters, shared ones once."""
        return (parameter for _, parameter in self.named_parameters())

    def count_parameters(self) -> int:
        """The number of learned numbers."""
        return sum(p.size for p in self.parameters())

    def register_buffer(self, name: str, array: npt.ArrayLike) -> None:
        """Keep an array that is saved with the module but not learned, as the attribute `name`.

        Raises ValueError if an attribute of that name is there and no buffer, TypeError for a masked array.
        """
        refuse_mask("register_buffer", name, array)
        if name not in self._buffer_names and hasattr(self, name):
            raise ValueError(f"register_buffer: {type(self).__name__} has another attribute {name!r} already")
        setattr(self, name, np.array(array))
        if name not in self._buffer_names:
            self._buffer_names = (*self._buffer_names, name)

    def named_buffers(self) -> Iterator[tuple[str, Array]]:
        """All buffers with their paths."""
        for path, module in self.named_modules():
            for name in module._buffer_names:
                yield f"{path}.{name}" if path else name, getattr(module, name)

    # modes
    def train(self: M, mode: bool = True) -> M:
        """Set this module and all inside to training mode (or not). Returns the module."""
        for module in self.modules():
            module.training = bool(mode)
        return self

    def eval(self: M) -> M:
        """Leave training mode. Returns the module."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    def astype(self: M, dtype: npt.DTypeLike) -> M:
        """Convert all parameters and floating buffers to float32 or float64, in place. Returns the module.

        Gradients are forgotten. Make the optimiser afterwards.
        """
        target = np.dtype(dtype)
        if target.kind != "f" or target.itemsize not in (4, 8):
            raise TypeError(f"astype: dtype must be float32 or float64, got {target}")
        for parameter in self.parameters():
            parameter.data = parameter.data.astype(target)
            parameter.grad = parameter._grad_view = None
        for module in self.modules():
            for name in module._buffer_names:
                buffer = getattr(module, name)
                if buffer.dtype.kind == "f":
                    setattr(module, name, buffer.astype(target))
        return self

    # states
    def _state(self) -> dict[str, Array]:
        return {**{name: p.data for name, p in self.named_parameters()}, **dict(self.named_buffers())}

    def state_dict(self) -> dict[str, Array]:
        """Copies of all parameters and buffers by name."""
        return {name: array.copy() for name, array in self._state().items()}

    def load_state_dict(self, state: Mapping[str, npt.ArrayLike], *, strict: bool = True) -> None:
        """Copy arrays into the parameters and buffers of those names, in their dtype.

        Raises ValueError that lists every shape that differs and, if strict, every name that is missing or
        unknown, with its layer, and TypeError for a masked array; nothing is copied then.
        """
        who = f"load_state_dict of {type(self).__name__}"
        if not isinstance(state, Mapping):
            raise TypeError(f"{who}: the state must be a dict of arrays, got {type(state).__name__}")
        own = self._state()
        given = {name: array_of(who, name, value) for name, value in state.items()}
        problems = list(self._differences(own, given, strict))
        if problems:
            raise ValueError(f"{who}: {'; '.join(problems)}")
        for name, array in given.items():
            if name in own:
                own[name][...] = array

    def _differences(self, own: dict[str, Array], given: dict[str, Array], strict: bool) -> Iterator[str]:
        """What keeps `given` from the places of `own`, with the shapes of both and the kind of layer."""
        kinds = {path: type(module).__name__ for path, module in self.named_modules()}
        if strict:
            for name in (name for name in own if name not in given):
                yield f"{name} is missing (shape {own[name].shape} of {_kind(kinds, name)})"
            for name in (name for name in given if name not in own):
                yield f"{name} is unknown (shape {given[name].shape}, here {_kind(kinds, name)} has none)"
        for name, array in given.items():
            if name in own and array.shape != own[name].shape:
                yield f"{name} has shape {array.shape}, expected {own[name].shape} of {_kind(kinds, name)}"
            elif name in own and not np.can_cast(array.dtype, own[name].dtype, "same_kind"):
                yield f"{name} is {array.dtype}, expected {own[name].dtype}"

    # use
    def predict(self, x: Any, batch_size: int | None = None) -> Array:
        """Run the module on all of x, batch by batch, in evaluation mode and without gradients.

        x (N, ...) -> an array (N, ...). batch_size: samples at a time (default: at most 256, fewer where
        samples are large). The mode of every module is put back afterwards. TypeError for a masked array.
        """
        array = x.data if isinstance(x, Tensor) else array_of("predict", "x", x)
        if array.ndim == 0:
            raise ValueError(f"predict: x must be an array with a batch axis, got {x!r:.80}")
        if batch_size is None:
            per_sample = max(1, array.size // max(1, len(array)))
            batch_size = min(_PREDICT_BATCH, max(1, _PREDICT_ELEMENTS // per_sample))
        elif isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
            raise ValueError(f"predict: batch_size must be an int of at least 1, got {batch_size!r}")
        if len(array) <= batch_size:
            return self._answer(array)
        parts = (array[i : i + batch_size] for i in range(0, len(array), int(batch_size)))
        first = self._answer(next(parts))
        result = np.empty((len(array), *first.shape[1:]), first.dtype)
        result[: len(first)] = first
        for i, part in enumerate(parts, 1):
            result[i * batch_size : i * batch_size + len(part)] = self._answer(part)
        return result

    def _answer(self, x: Array) -> Array:
        """What the module makes of one batch: by a plan, where it has one for such batches."""
        if 0 < x.size <= _PREDICT_ELEMENTS and config.has_plans() and not watchers:
            plan = plan_of(self, x, Module._changed)
            if plan is not None:
                return plan(x)
        with evaluating(self), no_grad():
            y = self(x)
        if not isinstance(y, Tensor) or y.ndim == 0 or len(y.data) != len(x):
            got = f"shape {y.shape}" if isinstance(y, Tensor) else type(y).__name__
            raise TypeError(
                f"predict: {type(self).__name__} must return one tensor with {len(x)} rows for {len(x)} "
                f"samples, got {got}"
            )
        found: Array = y.data.copy()
        return found

    def summary(self, input_shape: int | tuple[int, ...]) -> Summary:
        """Print every volume, with parameters and multiply-adds per sample; also returned.

        input_shape is that of one sample: (H,W,C), (T,D) or (features,).
        """
        found = summarize(self, input_shape)
        self._input_shape = input_shape
        print(found)
        return found

    def multiply_adds(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        """Multiplications of inputs with weights for this call, for `summary`; layers override it."""
        return 0

    def __repr__(self) -> str:
        return represent(self)

    def _repr_html_(self) -> str | None:
        """The table that notebooks show: layers and parameters, and volumes once `summary` was called."""
        return table(self)


def _kind(kinds: Mapping[str, str], name: str) -> str:
    """The kind of the innermost module that a state's name leads to."""
    while name not in kinds:
        name = name.rpartition(".")[0]
    return kinds[name]


def _search(name: str, value: Any) -> Iterator[tuple[str, Module | Parameter]]:
    if isinstance(value, (Module, Parameter)):
        yield name, value
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _search(f"{name}.{i}", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _search(f"{name}.{key}", item)
