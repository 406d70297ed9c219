"""`Tensor`: an array that remembers how it was computed.

The tape is in `_tape.py`, the operators are pairs on arrays in `_pairs.py`; `record` joins them. Functions of
tensors that are no operators (`exp`, `where`, `concatenate`, ...) are in `functions.py`.

dtypes: float32 and float64 compute; integers and booleans label, index and compare. A number or an array
beside a tensor takes the tensor's dtype, so that `x * 0.5` and `x + numpy.arange(3)` stay float32; two
tensors of different dtypes are refused.
"""

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina import _hosted as hosted
from lamina import _numpy as for_numpy
from lamina import _pairs as pairs
from lamina import _reductions as reductions
from lamina._pairs import Axis
from lamina._tape import Array, Edge, Node, edges_of, is_recorded, is_recording, no_grad, run_backward
from lamina.ops import _check as check

__all__ = ["Tensor", "apply", "is_recorded", "is_recording", "no_grad", "record", "record_many"]


class Tensor:
    """An array with a gradient.

    `data` is anything that `numpy.asarray` accepts. A float32 or float64 array is shared, not copied; Python
    numbers and lists become float32; integer and boolean arrays are kept for labels, indices and masks.
    Raises TypeError for other dtypes, and where `requires_grad` is asked of integers.

    `data` (the array), `grad` (None, or an array of the same shape and dtype), `requires_grad`.
    """

    __slots__ = ("__weakref__", "_edge", "_grad_view", "data", "grad", "requires_grad")
    __array_ufunc__ = None  # `array + tensor` is the tensor's to answer

    data: Array
    grad: Array | None
    requires_grad: bool
    _edge: Edge | None  # None: a leaf
    _grad_view: Array | None  # where a leaf's gradient goes if an optimiser keeps all of them in one buffer

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        self.data = _as_array(data)
        if requires_grad and self.data.dtype.kind != "f":
            raise TypeError(
                f"Tensor: {self.data.dtype} data can have no gradient; convert it to numpy.float32 first"
            )
        self.grad = self._edge = self._grad_view = None
        self.requires_grad = requires_grad is True or check.flag("Tensor", "requires_grad", requires_grad)

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return self.data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the elements."""
        return self.data.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.data.size

    def numpy(self) -> Array:
        """The array itself, not a copy."""
        return self.data

    def item(self) -> Any:
        """The only element, as a Python number. ValueError if there is not exactly one."""
        if self.data.size != 1:
            raise ValueError(f"item: the tensor has shape {self.shape}, expected one element")
        return self.data.item()

    def detach(self) -> "Tensor":
        """A tensor that shares the array but has no history and needs no gradient."""
        return _bare(self.data)

    def backward(self, grad: npt.ArrayLike | None = None) -> None:
        """Add to the `grad` of every leaf the gradient of this tensor, weighted by `grad` (default: 1).

        The graph is freed on the way: a second call, here or on a result that shares part of the graph,
        raises RuntimeError, as does a tensor without history. ValueError if `grad` has another shape, or is
        missing where there is not exactly one element.
        """
        if not self.requires_grad:
            raise RuntimeError(
                "backward: nothing that this tensor was computed from has requires_grad=True, or it was "
                "computed under no_grad()"
            )
        if grad is None and self.data.size != 1:
            raise ValueError(
                f"backward: the tensor has shape {self.shape}; reduce it to one number first, e.g. with "
                ".mean(), or give the gradient"
            )
        grad = np.ones_like(self.data) if grad is None else grad
        seed = check.array_of("backward", "grad", grad, self.data.dtype)
        if seed.shape != self.shape:
            raise ValueError(f"backward: grad has shape {seed.shape}, expected {self.shape}")
        run_backward(self._edge or (self, 0), seed)

    # what Python asks for
    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return for_numpy.array_from(self.data, dtype, copy)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return for_numpy.call(Tensor, function, args, kwargs, is_recording())

    def __repr__(self) -> str:
        body = np.array2string(self.data, separator=", ", prefix="Tensor(", threshold=100)
        extra = f", dtype={self.dtype}" if self.dtype != np.float32 else ""
        return f"{type(self).__name__}({body}{extra}{', requires_grad=True' if self.requires_grad else ''})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __len__(self) -> int:
        if self.data.ndim == 0:
            raise TypeError("len() of a tensor with no axes")
        return len(self.data)

    def __iter__(self) -> "Iterator[Tensor]":
        return (self[i] for i in range(len(self)))

    def __getstate__(self) -> tuple[Array, Array | None, bool]:
        """A copy or pickle is a leaf: it leaves the history, and the optimiser's buffer, behind."""
        return self.data, self.grad, self.requires_grad

    def __setstate__(self, state: tuple[Array, Array | None, bool]) -> None:
        self.data, self.grad, self.requires_grad = state
        self._edge = self._grad_view = None

    # arithmetic
    def __add__(self, other: Any) -> "Tensor":
        return binary(pairs.add, pairs.add_backward, self, other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> "Tensor":
        return binary(pairs.subtract, pairs.subtract_backward, self, other)

    def __rsub__(self, other: Any) -> "Tensor":
        return binary(pairs.subtract, pairs.subtract_backward, other, self)

    def __mul__(self, other: Any) -> "Tensor":
        return binary(pairs.multiply, pairs.multiply_backward, self, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> "Tensor":
        return binary(pairs.divide, pairs.divide_backward, self, other)

    def __rtruediv__(self, other: Any) -> "Tensor":
        return binary(pairs.divide, pairs.divide_backward, other, self)

    def __pow__(self, other: Any) -> "Tensor":
        return binary(pairs.power, pairs.power_backward, self, other)

    def __rpow__(self, other: Any) -> "Tensor":
        return binary(pairs.power, pairs.power_backward, other, self)

    def __matmul__(self, other: Any) -> "Tensor":
        return binary(pairs.matmul, pairs.matmul_backward, self, other)

    def __rmatmul__(self, other: Any) -> "Tensor":
        return binary(pairs.matmul, pairs.matmul_backward, other, self)

    def __neg__(self) -> "Tensor":
        return unary(pairs.negative, pairs.negative_backward, self)

    def __abs__(self) -> "Tensor":
        return unary(pairs.absolute, pairs.absolute_backward, self)

    # comparisons: boolean arrays, since they have no gradient
    def __eq__(self, other: Any) -> Any:
        return self._compared(operator.eq, other)

    def __ne__(self, other: Any) -> Any:
        return self._compared(operator.ne, other)

    def __lt__(self, other: Any) -> Any:
        return self._compared(operator.lt, other)

    def __le__(self, other: Any) -> Any:
        return self._compared(operator.le, other)

    def __gt__(self, other: Any) -> Any:
        return self._compared(operator.gt, other)

    def __ge__(self, other: Any) -> Any:
        return self._compared(operator.ge, other)

    __hash__ = object.__hash__

    def _compared(self, how: Callable[[Any, Any], Any], other: Any) -> Any:
        return hosted.again(how, self.data, check.array_of("Tensor", "the other operand", other))

    # shape
    def reshape(self, *shape: Any) -> "Tensor":
        """The same elements in another shape; one axis may be -1."""
        target = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], list | tuple) else shape
        return apply(pairs.reshape, pairs.reshape_backward, self, shape=target)

    def transpose(self, *axes: Any) -> "Tensor":
        """The axes in another order, each once (else AxisError or ValueError); reversed if none is given."""
        order = tuple(axes[0]) if len(axes) == 1 and isinstance(axes[0], list | tuple) else axes
        order = order or tuple(range(self.ndim))[::-1]
        return apply(pairs.transpose, pairs.transpose_backward, self, axes=order)

    @property
    def T(self) -> "Tensor":
        """The axes reversed."""
        return self.transpose()

    def astype(self, dtype: npt.DTypeLike) -> "Tensor":
        """A copy of another dtype, one that tensors have (or TypeError); the gradient is of this one."""
        target = pairs.native(np.dtype(dtype), "astype: a tensor of dtype")
        if self.data.dtype.kind != "f" or target.kind != "f":
            return Tensor(self.data.astype(target))
        return apply(pairs.astype, pairs.astype_backward, self, dtype=target)

    def __getitem__(self, key: Any) -> "Tensor":
        return apply(pairs.index, pairs.index_backward, self, key=_key(key))

    # reductions
    def sum(self, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        """Sums over an axis, a tuple of axes, or everything."""
        return unary(reductions.total, reductions.total_backward, self, axis, keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        """Means over an axis, a tuple of axes, or everything."""
        return unary(reductions.mean, reductions.mean_backward, self, axis, keepdims)

    def max(self, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        """The greatest elements. Of several equal ones the first gets the gradient; NaN wins."""
        return unary(reductions.extreme, reductions.extreme_backward, self, axis, keepdims, np.argmax)

    def min(self, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        """The smallest elements. Of several equal ones the first gets the gradient; NaN wins."""
        return unary(reductions.extreme, reductions.extreme_backward, self, axis, keepdims, np.argmin)

    def argmax(self, axis: int | None = None) -> Any:
        """Where the greatest elements are: integers, no tensor."""
        return self.data.argmax(axis)


# recording --------------------------------------------------------------------------------------------
def _bare(data: Any) -> Tensor:
    """A tensor around `data` with nothing checked."""
    out = Tensor.__new__(Tensor)
    out.data = data if data.__class__ is np.ndarray else np.asarray(data)
    out.grad = out._grad_view = out._edge = None
    out.requires_grad = False
    return out


def record(
    data: Any, inputs: Sequence[Tensor | None], backward: Callable[..., Any], ctx: Any, *args: Any
) -> Tensor:
    """The tensor `data`, computed from `inputs`.

    On the way back `backward(dy, ctx, *args)` must return one gradient per input, each an array of that
    input's shape, or None where there is none (a lone gradient needs no tuple). It must not change `dy`.
    """
    out = _bare(data)
    if is_recorded(inputs):
        out.requires_grad = True
        out._edge = (Node(backward, ctx, args, edges_of(inputs)), 0)
    return out


def record_many(
    arrays: Sequence[Array],
    inputs: Sequence[Tensor | None],
    backward: Callable[..., Any],
    ctx: Any,
    *args: Any,
) -> tuple[Tensor, ...]:
    """`record` for an operation with several results: `backward(dy0, dy1, ..., ctx, *args)`.

    Zeros stand for the gradient of a result that the loss does not use.
    """
    outs = tuple(_bare(array) for array in arrays)
    if is_recorded(inputs):
        node = Node(backward, ctx, args, edges_of(inputs), [(a.shape, a.dtype) for a in arrays])
        for slot, out in enumerate(outs):
            out.requires_grad = True
            out._edge = (node, slot)
    return outs


def apply(
    forward: Callable[..., tuple[Any, Any]],
    backward: Callable[..., Any],
    *inputs: Tensor | None,
    **options: Any,
) -> Tensor:
    """Run a pair of functions on arrays as one operation on tensors.

    `forward(*arrays, **options)` returns `(y, ctx)`; `backward(dy, ctx)` the gradient of each input. Every
    pair in `lamina.ops` with one result will do, and so will your own:
    `y = apply(my_forward, my_backward, x, w)`.
    """
    y, ctx = hosted.run(forward, *[None if t is None else t.data for t in inputs], **options)
    return record(y, inputs, backward, ctx)


def unary(
    forward: Callable[..., tuple[Any, Any]], backward: Callable[..., Any], x: Tensor, *options: Any
) -> Tensor:
    """Run a pair with one operand."""
    if x.data.dtype.kind != "f":
        raise TypeError(f"no arithmetic on {x.dtype} tensors: convert with .astype(numpy.float32)")
    y, ctx = hosted.run(forward, x.data, *options)
    return record(y, (x,), backward, ctx)


def binary(
    forward: Callable[..., tuple[Any, Any]], backward: Callable[..., Any], a: Any, b: Any, *options: Any
) -> Tensor:
    """Run a pair with two operands, at least one of them a tensor."""
    a, b = operands(a, b)
    y, ctx = hosted.run(forward, a.data, b.data, a.requires_grad, b.requires_grad, *options)
    return record(y, (a, b), backward, ctx)


# operands ---------------------------------------------------------------------------------------------
def _as_array(data: Any) -> Array:
    if isinstance(data, Tensor):
        return data.data
    if isinstance(data, list | tuple) and any(isinstance(item, Tensor) for item in data):
        raise TypeError("Tensor: data is a list of tensors, whose gradients would be lost; use lamina.stack")
    array = check.array_of("Tensor", "data", data)
    dtype = pairs.native(array.dtype, "Tensor: data of dtype")
    if dtype.kind != "b" and not hasattr(data, "__array__"):
        return array.astype(np.float32)  # Python numbers and lists of them have no dtype of their own
    return array.astype(dtype, copy=False)


def _constant(value: Any, dtype: np.dtype[Any]) -> Tensor:
    if value.__class__ is float or value.__class__ is int:
        return _bare(np.array(value, dtype))
    array = check.array_of("Tensor", "the other operand", value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"a tensor meets {type(value).__name__}: expected a tensor, an array or a number")
    return _bare(array.astype(dtype, copy=False))


def operands(a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Both operands, at least one of them a tensor, as tensors of one floating dtype."""
    if not isinstance(a, Tensor):
        a = _constant(a, b.data.dtype)
    elif not isinstance(b, Tensor):
        b = _constant(b, a.data.dtype)
    elif a.data.dtype != b.data.dtype:
        raise TypeError(
            f"a {a.dtype} tensor meets a {b.dtype} tensor: convert one of them, with .astype(numpy.{a.dtype})"
        )
    if a.data.dtype.kind != "f":
        raise TypeError(f"no arithmetic on {a.dtype} tensors: convert with .astype(numpy.float32)")
    return a, b


def _key(key: Any) -> Any:
    """An index with the tensors in it replaced by their arrays, and lists by arrays (NumPy's own rule)."""
    if isinstance(key, tuple):
        return tuple(_key(part) for part in key)
    if isinstance(key, Tensor):
        return key.data
    if not isinstance(key, list | np.ma.MaskedArray):
        return key
    array = check.array_of("Tensor", "the index", key)
    return array if array.size else array.astype(np.intp)  # an empty list has no integers to tell its dtype
