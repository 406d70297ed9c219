"""The way of an input through a model: which layer makes which volume of which others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from lamina import nn
from lamina._tape import Node
from lamina.autograd import Tensor
from lamina.nn.modes import evaluating
from lamina.nn.summary import watching
from lamina.ops import _check as check
from lamina.probe.layers import need_gradients

# Operations outside of layers that join several volumes, by the names of their gradients.
_JOINS = {"add": "+", "subtract": "−", "multiply": "×", "concatenate": "concat", "stack": "stack"}

_KINDS = (
    ("unpool upsample", "enlarge"),
    ("pool", "pool"),
    ("conv locally", "conv"),
    ("linear", "dense"),
    ("rnn lstm gru memory", "recurrent"),
)


class Step(NamedTuple):
    """One volume on the way, what made it, and out of which."""

    kind: str  # input, join, conv, pool, enlarge, dense, recurrent, or other
    labels: list[str]  # the layer that made it and those that passed it on, as ["Conv2d 5×5", "ReLU"]
    shape: tuple[int, ...]  # of one sample
    sources: list[int]  # places of the steps before


def flow(model: nn.Module, input_shape: int | tuple[int, ...]) -> list[Step]:
    """Every volume that one sample makes in a model, in the order in which they are made, the input first.

    Layers that keep the number of elements and no kernel of their own, such as activations, normalisation and
    flattening, belong to the volume that they change. What joins several volumes, a shortcut's sum or a
    concatenation, is a step of the kind "join". A sum outside of layers has no other step, and any other
    operation only if it changes the number of elements.

    model: run in evaluation mode on zeros, whole numbers where it begins with an Embedding or reads tokens;
    nothing in it changes. input_shape: of one sample, (H, W, C), (T, D), (T,) or a number of features.
    ValueError for sizes that are not positive, and as the model's layers.
    """
    need_gradients("flow")  # it follows them back
    sizes = tuple(input_shape) if isinstance(input_shape, Iterable) else (input_shape,)
    shape = tuple(check.integer("flow", "input_shape", n, 1) for n in sizes)
    x = _input(model, shape)
    walk = _Walk(model, x)
    with evaluating(model), watching(walk.note):
        y = model(x)
    return walk.steps_to(y[0] if isinstance(y, tuple) else y)


def _input(model: nn.Module, shape: tuple[int, ...]) -> Tensor:
    first = next((m for m in model.modules() if m._is_layer()), model)
    reads_tokens = isinstance(first, nn.RNN | nn.GRU | nn.LSTM) and len(shape) == 1
    if reads_tokens or isinstance(first, nn.Embedding):
        return Tensor(np.zeros((1, *shape), np.int64))
    dtype = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
    return Tensor(np.zeros((1, *shape), dtype), requires_grad=True)


class _Call(NamedTuple):
    module: Any
    x: Tensor
    y: Tensor  # the first of a tuple
    others: list[Tensor]


class _Walk:
    """The calls of a model's run, and the steps that they make."""

    def __init__(self, model: nn.Module, x: Tensor) -> None:
        self.inside = {id(module) for module in model.modules()}
        self.x = x
        self.calls: list[_Call] = []
        self.steps = [Step("input", [], x.shape[1:], [])]
        self.made: dict[tuple[Any, int], int] = {}  # the step that made a result of a node of the tape

    def note(self, module: Any, x: Any, y: Any) -> None:
        """Keep a call of a layer; one of a module whose inner layers did the work is passed over."""
        found = _tensors(y)
        if id(module) not in self.inside or not found or not isinstance(x, Tensor):
            return
        inner = {id(m) for m in module.modules()} - {id(module)}
        did = [call for call in self.calls if id(call.module) in inner and _age(call.y) > _age(x)]
        if module._is_layer() or not did:
            self.calls = [call for call in self.calls if not any(call is each for each in did)]
            self.calls.append(_Call(module, x, found[0], found[1:]))

    def steps_to(self, y: Any) -> list[Step]:
        for call in self.calls:
            source = self._source(call.x)
            place = self._passed_on(call, source)
            if place is None:
                place = len(self.steps)
                self.steps.append(Step(_kind(call.module), _labels(call.module), call.y.shape[1:], [source]))
            for tensor in (call.y, *call.others):
                if tensor._edge is not None:
                    self.made[tensor._edge] = place
        if isinstance(y, Tensor):
            self._source(y)
        return self.steps

    def _passed_on(self, call: _Call, source: int) -> int | None:
        """The step that the layer adds itself to, if it does."""
        step = self.steps[source]
        if _kind(call.module) != "other" or step.kind == "input" or call.y.size != call.x.size:
            return None
        step.labels.extend(_labels(call.module))
        return source

    def _source(self, x: Tensor) -> int:
        """The step that made x; a new one, where x was joined of several or reduced outside of layers."""
        found, name = self._origins(x)
        if not found:
            return 0 if x is self.x else len(self.steps) - 1  # tokens, and what has no history
        place = found[0]
        if len(found) > 1:
            place = self._add("join", [_JOINS.get(name, name)], x, found)
        elif np.prod(self.steps[place].shape) != np.prod(x.shape[1:]):
            place = self._add(_kind_of(name), [name], x, found)
        return place

    def _add(self, kind: str, labels: list[str], x: Tensor, sources: list[int]) -> int:
        self.steps.append(Step(kind, labels, x.shape[1:], sources))
        if x._edge is not None:
            self.made[x._edge] = len(self.steps) - 1
        return len(self.steps) - 1

    def _origins(self, x: Tensor) -> tuple[list[int], str]:
        """The steps that x was computed from, and the name of the operation that joined them, or the last."""
        stack: list[Any] = [x._edge or (x, 0)]
        seen, found, name = set(), set(), ""
        joined = False
        while stack:
            edge = stack.pop()
            if edge is None or edge in seen:
                continue
            seen.add(edge)
            target = edge[0]
            if edge in self.made:
                found.add(self.made[edge])
            elif target is self.x:
                found.add(0)
            elif isinstance(target, Node):
                inputs = [e for e in target.edges if e is not None and self._moves(e[0])]
                if not joined:
                    name, joined = _name(target), len(inputs) > 1
                stack += target.edges
        return sorted(found), name

    def _moves(self, target: Any) -> bool:
        """Whether it comes from the input and is no parameter."""
        return isinstance(target, Node) or target is self.x


def _tensors(y: Any) -> list[Tensor]:
    """The tensors in what a module returned, nested tuples too."""
    if isinstance(y, Tensor):
        return [y]
    return [t for item in y for t in _tensors(item)] if isinstance(y, tuple | list) else []


def _age(x: Tensor) -> int:
    """When the operation that made it was recorded; -1 for what none made."""
    return -1 if x._edge is None or not isinstance(x._edge[0], Node) else x._edge[0].serial


def _name(node: Node) -> str:
    return getattr(node.backward, "__name__", "").removesuffix("_backward").strip("_")


def _kind(module: Any) -> str:
    return _kind_of(type(module.layer if type(module).__name__ == "Tied" else module).__name__)


def _kind_of(name: str) -> str:
    name = name.lower()
    return next((kind for words, kind in _KINDS if any(word in name for word in words.split())), "other")


def _labels(module: Any) -> list[str]:
    """Its class and kernel, then what is unusual of it."""
    name, kernel = type(module).__name__, getattr(module, "kernel_size", None)
    usual = kernel if "Pool" in name else 1
    stride, dilation = getattr(module, "stride", None), getattr(module, "dilation", 1)
    lines = [name if kernel is None else f"{name} {kernel if name.endswith('1d') else _times(kernel)}"]
    if stride is not None and _pair(stride) != _pair(usual):
        lines.append(f"stride {_short(stride)}")
    if _pair(dilation) != (1, 1):
        lines.append(f"dilation {_short(dilation)}")
    if getattr(module, "num_layers", 1) != 1:
        lines.append(f"{module.num_layers} layers")
    return lines


def _pair(size: Any) -> tuple[Any, ...]:
    return tuple(size) if isinstance(size, tuple | list) else (size, size)


def _short(size: Any) -> str:
    """As 2 where both are alike, else as 2×1."""
    both = _pair(size)
    return str(both[0]) if len(set(both)) == 1 else _times(size)


def _times(size: Any) -> str:
    """A side or a pair of them, as 3×3."""
    return "×".join(map(str, _pair(size)))
