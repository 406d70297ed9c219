"""The tape: which operation made which tensor, and the walk backwards over it.

Every recorded operation is a `Node`. It holds its backward function, what forward kept for it (`ctx`), and
an edge (target, slot) for each input: the target is the input's own node, or the tensor itself where it is
a leaf. Nodes point to earlier nodes only and never to the tensors they made, so the tape has no reference
cycle: it is freed the moment the last tensor computed from it goes, without the garbage collector.
"""

import contextlib
import itertools
import operator
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina import _hosted as hosted
from lamina._pairs import added
from lamina.ops._into import can_fill

Array = npt.NDArray[Any]
Edge = tuple[Any, int]  # (Node or leaf tensor, which output of the node)

_serials = itertools.count()
_by_serial = operator.attrgetter("serial")


class _Recording(threading.local):
    on = True


recording = _Recording()


class _Former(threading.local):
    """What the calling thread did before it entered one `no_grad`, as often as it has entered that one."""

    def __init__(self) -> None:
        self.states: list[bool] = []


class no_grad(contextlib.ContextDecorator):
    """Record nothing: results need no gradient and keep no memory. A context manager or a decorator.

    Holds for the calling thread alone; may be nested.
    """

    def __init__(self) -> None:
        self._former = _Former()  # a decorated function has one `no_grad` for all threads that call it

    def __enter__(self) -> None:
        self._former.states.append(recording.on)
        recording.on = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        recording.on = self._former.states.pop()


def is_recording() -> bool:
    """Whether operations are recorded now: False inside `no_grad`."""
    return recording.on


class Node:
    """One recorded operation.

    `outputs` is None for an operation with one result; else the (shape, dtype) of each result.
    """

    __slots__ = ("args", "backward", "ctx", "edges", "outputs", "serial")

    def __init__(
        self,
        backward: Callable[..., Any],
        ctx: Any,
        args: tuple[Any, ...],
        edges: list[Edge | None],
        outputs: list[tuple[tuple[int, ...], np.dtype[Any]]] | None = None,
    ) -> None:
        self.backward: Callable[..., Any] | None = backward
        self.ctx = ctx
        self.args = args
        self.edges = edges
        self.outputs = outputs
        self.serial = next(_serials)

    def pull(self, pending: Any) -> Any:
        """The gradients of the inputs, from those of the results; then let go of everything kept."""
        backward, ctx, args = self.backward, self.ctx, self.args
        assert backward is not None
        self.backward = self.ctx = None
        into = {"into": _wanted_at(self.edges)} if can_fill(backward) else {}
        if self.outputs is None:
            return hosted.run(backward, pending, ctx, *args, **into)
        slots = [
            pending[i] if i in pending else np.zeros(shape, dtype)
            for i, (shape, dtype) in enumerate(self.outputs)
        ]
        return hosted.run(backward, *slots, ctx, *args, **into)


def _order(root: Node) -> list[Node]:
    """Every node that `root` was computed from, the latest first.

    A node is younger than all its inputs, so sorting by age is a topological sort, without recursion.
    """
    seen = {root}
    stack = [root]
    while stack:
        node = stack.pop()
        if node.backward is None:
            raise RuntimeError(
                "backward: a part of this graph has been freed by an earlier backward(); compute the result "
                "again, or add the losses up and call backward() once"
            )
        for edge in node.edges:
            if edge is not None:
                target = edge[0]
                if target.__class__ is Node and target not in seen:
                    seen.add(target)
                    stack.append(target)
    return sorted(seen, key=_by_serial, reverse=True)


def run_backward(root: Edge, grad: Array) -> None:
    """Carry `grad`, the gradient of the result `root`, to every leaf; the graph is freed on the way."""
    node, slot = root
    if node.__class__ is not Node:
        accumulate(node, grad)
        return
    order = _order(node)
    pending: dict[Node, Any] = {node: grad if node.outputs is None else {slot: grad}}
    for node in order:
        if node not in pending:
            continue
        grads = node.pull(pending.pop(node))
        edges, node.edges = node.edges, []
        if grads.__class__ is not tuple:
            grads = (grads,)
        for edge, g in zip(edges, grads, strict=True):
            if edge is None or g is None:
                continue
            if g.__class__ is not np.ndarray:  # arithmetic on arrays without axes gives NumPy scalars
                g = np.asarray(g)
            target, slot = edge
            if target.__class__ is not Node:
                accumulate(target, g)
            elif target.outputs is not None:
                _add(pending.setdefault(target, {}), slot, g)
            else:
                _add(pending, target, g)


def _add(grads: dict[Any, Any], key: Any, g: Array) -> None:
    former = grads.get(key)
    grads[key] = g if former is None else added(former, g)  # anew: the first may be shared with another node


def _wanted_at(edges: list[Edge | None]) -> list[Array | None]:
    """The arrays that the gradients of leaves are to be written to; None where there is one already."""
    leaves = [None if edge is None or edge[0].__class__ is Node else edge[0] for edge in edges]
    return [_view_of(leaf) if sum(leaf is other for other in leaves) == 1 else None for leaf in leaves]


def _view_of(leaf: Any) -> Array | None:
    if leaf is None:
        return None
    view = leaf._grad_view
    fits = view is not None and leaf.grad is None and view.shape == leaf.shape and view.dtype == leaf.dtype
    return view if fits else None


def accumulate(leaf: Any, g: Array) -> None:
    """Add `g` to the gradient of a leaf: into its `_grad_view`, where an optimiser has given it one."""
    if g.shape != leaf.data.shape:
        raise RuntimeError(
            f"backward: a gradient of shape {g.shape} came for a tensor of shape {leaf.data.shape}"
        )
    view = _view_of(leaf)
    if leaf.grad is not None:
        hosted.again(np.add, leaf.grad, g, leaf.grad)
    elif view is None:  # a copy: `g` may be shared with other leaves
        leaf.grad = np.array(g, leaf.data.dtype, order="C")
    else:
        if g is not view:  # most are written there in the first place
            hosted.again(np.copyto, view, g)
        leaf.grad = view


def is_recorded(inputs: Sequence[Any]) -> bool:
    """Whether an operation on these tensors (or None) is noted for the way back."""
    if recording.on:
        for tensor in inputs:
            if tensor is not None and tensor.requires_grad:
                return True
    return False


def edges_of(inputs: Sequence[Any]) -> list[Edge | None]:
    """Where the gradient of each input goes: None for those that need none."""
    return [(t._edge or (t, 0)) if t is not None and t.requires_grad else None for t in inputs]
