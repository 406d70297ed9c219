"""Checks for gradients and for layers, of the library and of your own."""

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.autograd import Tensor
from lamina.nn import Module
from lamina.ops._check import refuse_mask

Array = npt.NDArray[Any]

__all__ = ["check_gradients", "check_layer"]


def check_gradients(
    f: Callable[..., Tensor],
    *arrays: npt.ArrayLike,
    step: float = 1e-6,
    rtol: float = 1e-6,
    atol: float = 1e-7,
) -> None:
    """Compare the gradients of f with central differences, in float64.

    f takes as many tensors as there are arrays and returns one tensor of any shape, the same for the same
    arrays. Each element of each array is moved by `step` both ways. Where f has a kink, as relu has at 0,
    stay away from it by more than that.

    Raises AssertionError that names the worst element where |difference| > atol + rtol |numerical|, and for a
    result that changes from call to call.
    """
    for a in arrays:
        refuse_mask("check_gradients", "arrays", a)
    values = [np.array(a, np.float64) for a in arrays]

    def run() -> Array:
        return f(*[Tensor(a.copy()) for a in values]).data  # a copy: results may be views

    inputs = [Tensor(a.copy(), requires_grad=True) for a in values]
    y = f(*inputs)
    if y.dtype != np.float64:
        raise AssertionError(f"f returned {y.dtype} for float64 inputs")
    if not np.array_equal(run(), y.data, equal_nan=True):
        raise AssertionError("f returned two results for the same arrays")
    weights = _weights(y.shape)
    y.backward(weights)
    for i, (value, tensor) in enumerate(zip(values, inputs, strict=True)):
        expected = _central_differences(run, value, weights, step)
        _compare(f"the gradient for argument {i}", tensor.grad, expected, rtol, atol)


def _weights(shape: tuple[int, ...]) -> Array:
    """One random mixture of all results has all their gradients."""
    return np.random.default_rng(0).normal(size=shape)


def _central_differences(run: Callable[[], Array], value: Array, weights: Array, step: float) -> Array:
    """The gradient of sum(weights run()) for `value`, which `run` reads and which is moved in place."""
    found = np.zeros_like(value)
    for at in np.ndindex(value.shape):
        former = value[at]
        value[at] = former + step
        high = run()
        value[at] = former - step
        low = run()
        value[at] = former
        found[at] = np.sum((high - low) * weights) / (2 * step)
    return found


def _compare(what: str, found: Array | None, expected: Array, rtol: float, atol: float) -> None:
    if found is None:
        found = np.zeros_like(expected)
    excess = np.abs(found - expected) - (atol + rtol * np.abs(expected))
    excess = np.where(np.isnan(excess), np.inf, excess)
    if excess.size and excess.max() > 0:
        at = np.unravel_index(int(excess.argmax()), excess.shape)
        where = f" at {tuple(int(n) for n in at)}" if at else ""
        raise AssertionError(
            f"{what}{where} is {found[at]:.9g}, but central differences give {expected[at]:.9g}"
        )


def check_layer(
    layer: Module, x: npt.ArrayLike, *, gradients: bool = True, rtol: float = 1e-6, atol: float = 1e-7
) -> None:
    """Check that a layer does what every layer should. x (N, ...) is a small batch, N >= 2.

    In evaluation mode: the same result twice, results for a sample that do not depend on the others in the
    batch, float64 where the parameters are float64, the same result for a non-contiguous x, an empty batch
    for an empty batch, and with `gradients` the gradients of x and of every parameter against central
    differences (see `check_gradients`). Also `train` and `eval`, a round trip through `state_dict`, and
    copies by deepcopy and pickle that do the same but share nothing. The layer itself is left as it was.

    A layer that returns a tuple, as a recurrent one does, is checked by its first part. Raises AssertionError
    that says what failed.
    """
    array = np.asarray(x)
    if array.ndim == 0 or len(array) < 2:
        raise ValueError(f"check_layer: x must be a batch of at least 2, got shape {array.shape}")
    state, layer = layer.state_dict(), copy.deepcopy(layer)
    for name, value in layer.state_dict().items():
        if not np.array_equal(value, state[name], equal_nan=True):
            raise AssertionError(f"deepcopy: {name} differs")
    _check_modes(layer)
    layer.eval()
    _check_results(layer, array)
    _check_copies(layer, array)
    double = copy.deepcopy(layer).astype(np.float64)
    if array.dtype.kind == "f":
        _same(
            "float64 parameters and x give",
            _run(double, array.astype(np.float64)).dtype,
            np.dtype(np.float64),
        )
    if gradients:
        _check_layer_gradients(double, array, rtol, atol)


def _run(layer: Module, x: Any) -> Any:
    y = layer(x)
    return (y[0] if isinstance(y, tuple) else y).data


def _same(what: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise AssertionError(f"{what} {found}, expected {expected}")


def _equal(what: str, found: Array, expected: Array) -> None:
    """Equal up to the rounding that another order of the same sums may cause."""
    _same(f"{what}: the shape is", found.shape, expected.shape)
    eps = np.finfo(expected.dtype).eps if expected.dtype.kind == "f" else 0
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    if not np.allclose(found, expected, rtol=100 * eps, atol=100 * eps * scale, equal_nan=True):
        raise AssertionError(f"{what}: results differ by up to {np.abs(found - expected).max():.3g}")


def _check_modes(layer: Module) -> None:
    for mode in (False, True):
        _same("train() returns the layer:", layer.train(mode) is layer, True)
        _same("train() reaches all modules inside:", {m.training for m in layer.modules()}, {mode})


def _check_results(layer: Module, x: Array) -> None:
    y = _run(layer, x)
    if not np.array_equal(_run(layer, x), y, equal_nan=True):
        raise AssertionError("two calls in evaluation mode differ")
    _same("rows of the result for the samples of x:", y.shape[:1], (len(x),))
    for i in range(len(x)):
        _equal(f"sample {i} alone and in the batch", _run(layer, x[i : i + 1]), y[i : i + 1])
    spread = np.zeros((*x.shape, 2), x.dtype)
    spread[..., 0] = x
    _equal("x non-contiguous", _run(layer, spread[..., 0]), y)
    _equal("x in Fortran's order", _run(layer, np.asfortranarray(x)), y)
    _same("the result for an empty batch has the shape", _run(layer, x[:0]).shape, (0, *y.shape[1:]))


def _check_copies(layer: Module, x: Array) -> None:
    y, state = _run(layer, x), layer.state_dict()
    twin = copy.deepcopy(layer)
    for p in twin.parameters():
        p.data += 1
    _equal("the layer, after a deep copy of it was changed", _run(layer, x), y)
    twin.load_state_dict(state)
    _equal("load_state_dict(state_dict())", _run(twin, x), y)
    buffer = io.BytesIO()
    pickle.dump(layer, buffer)
    buffer.seek(0)
    _equal("pickle", _run(pickle.load(buffer), x), y)


def _check_layer_gradients(layer: Module, x: Array, rtol: float, atol: float) -> None:
    value = np.array(x, np.float64)
    tensor = Tensor(value.copy(), requires_grad=True)
    y = layer(tensor)
    y = y[0] if isinstance(y, tuple) else y
    weights = _weights(y.shape)
    y.backward(weights)

    def run() -> Array:
        found: Array = _run(layer, value.copy())  # a copy: results may be views
        return found

    _compare("the gradient for x", tensor.grad, _central_differences(run, value, weights, 1e-6), rtol, atol)
    for name, p in layer.named_parameters():
        expected = _central_differences(run, p.data, weights, 1e-6)
        _compare(f"the gradient for {name}", p.grad, expected, rtol, atol)
