"""Convolution and pooling, one window at a time: a page on which every output is written out as a sum."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lamina import nn
from lamina.autograd import no_grad
from lamina.nn._errors import kind
from lamina.ops import _check as check
from lamina.ops import _windows as windows
from lamina.ops._check import Sides
from lamina.viz._page import Page, assembled, packed

Array = npt.NDArray[Any]
Windowed = nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d | nn.L2Pool2d

_MOST = 500_000  # numbers on a page: about 3 MB of float32
_SCRIPTS = ("window_sum", "window_maps", "window_moves")
_BORDERS = (nn.ZeroPad2d, nn.ReflectPad2d)
_RULES = {nn.Conv2d: "convolution", nn.MaxPool2d: "max", nn.AvgPool2d: "mean", nn.L2Pool2d: "length"}
# Activations that the page can compute itself, and the option that shapes each.
_CURVES: dict[type[nn.Module], str] = {
    nn.ReLU: "",
    nn.LeakyReLU: "slope",
    nn.ELU: "alpha",
    nn.Sigmoid: "",
    nn.Tanh: "",
    nn.SiLU: "",
    nn.Softplus: "",
}


def sliding_window(layer: nn.Module, x: npt.ArrayLike, *, path: str | os.PathLike[str] | None = None) -> Page:
    """Make a page that moves a layer's window over an image and writes out the sum behind every output.

    layer: a `Conv2d`, `MaxPool2d`, `AvgPool2d` or `L2Pool2d`, or a Sequential of one with `ZeroPad2d` or
    `ReflectPad2d` before it and one of ReLU, LeakyReLU, ELU, Sigmoid, Tanh, SiLU and Softplus behind it. x:
    one image, (H, W, C), (1, H, W, C), or (H, W) for one channel. Outputs are those of the layer's own
    forward pass; the page computes each once more from its window and says whether the two agree.

    Keys: arrows move over the outputs, page up and down through the filters, Home and End go to the first
    and the last, space plays. Pointing at an output goes there. The page is one file that loads nothing; a
    notebook shows it. Returns a `Page`, also saved to `path` if given.

    TypeError for other layers; ValueError for other axes, and where image, filters and outputs are more than
    500,000 numbers. After the animated demonstration of A. Karpathy et al., CS231n, "Convolutional Networks".
    """
    before, window, curve = _parts(layer)
    image = _image(x, window.weight.dtype if isinstance(window, nn.Conv2d) else None)
    bordered, made = _bordered(before, image)
    y = _output(window, bordered)
    z = None if curve is None else _output(curve, y)
    w, b = (window.weight, window.bias) if isinstance(window, nn.Conv2d) else (None, None)
    arrays = {
        "x": bordered[0],
        "w": None if w is None else w.data,
        "b": None if b is None else b.data,
        "y": y[0],
        "z": None if z is None else z[0],
    }
    count = sum(array.size for array in arrays.values() if array is not None)
    if count > _MOST:
        raise ValueError(
            f"sliding_window: image, filters and outputs are {count:,} numbers, expected at most {_MOST:,}: "
            "take a part of the image or fewer filters"
        )
    data = {
        "layer": repr(window),
        "border": "".join(f"{module!r}, then " for module in before),
        "made": made,
        "curve": None if curve is None else _curve(curve),
        "epsilon": float(np.finfo(y.dtype).eps),
        **_geometry(window, bordered)._asdict(),
        **{name: packed(array) for name, array in arrays.items()},
    }
    page = assembled("window", type(window).__name__, data, _SCRIPTS, height=880)
    if path is not None:
        page.save(path)
    return page


class _Geometry(NamedTuple):
    """How a window moves, as the page needs it."""

    rule: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    sides: Sides
    groups: int
    counted: bool  # whether the border takes part


def _parts(layer: nn.Module) -> tuple[list[nn.Module], Windowed, nn.Module | None]:
    """The borders, the layer with the window and the activation."""
    modules = list(layer) if isinstance(layer, nn.Sequential) else [layer]
    borders = next((i for i, m in enumerate(modules) if not isinstance(m, _BORDERS)), len(modules))
    rest = modules[borders:]
    if rest and isinstance(rest[0], Windowed) and len(rest) <= 2:
        curve = rest[1] if len(rest) == 2 else None
        if curve is None or type(curve) in _CURVES:
            return modules[:borders], rest[0], curve
    names = ", ".join(kind(module) for module in modules) or "nothing"
    curves = ", ".join(curve.__name__ for curve in _CURVES)
    raise TypeError(
        "sliding_window: layer must be a Conv2d, MaxPool2d, AvgPool2d or L2Pool2d, or a Sequential of one, "
        f"with ZeroPad2d or ReflectPad2d before it and one of {curves} behind it; got {names}"
    )


def _image(x: npt.ArrayLike, dtype: np.dtype[Any] | None) -> Array:
    """(1, H, W, C) of the filters' dtype; without filters integers become float32."""
    image = check.array_of("sliding_window", "x", x)
    if image.ndim not in (2, 3, 4) or 0 in image.shape or (image.ndim == 4 and len(image) != 1):
        raise ValueError(
            f"sliding_window: x has shape {image.shape}, expected one image, (H, W, C), (1, H, W, C) or "
            "(H, W), not empty"
        )
    if image.dtype.kind not in "fiub":
        raise TypeError(f"sliding_window: x must hold numbers, got {image.dtype}")
    image = image[:, :, None] if image.ndim == 2 else image
    image = image[None] if image.ndim == 3 else image
    if dtype is None:
        dtype = image.dtype if image.dtype in (np.float32, np.float64) else np.dtype(np.float32)
    return image.astype(dtype)


def _bordered(before: list[nn.Module], image: Array) -> tuple[Array, list[int]]:
    """The image with the borders of their own layers, and the rows and columns that those made."""
    made = [0, 0, 0, 0]
    for module in before:
        image = _output(module, image)
        sides = windows.padding("sliding_window", module.padding, (1, 1), (1, 1), (1, 1))  # type: ignore[attr-defined]
        made = [m + side for m, side in zip(made, sides, strict=True)]
    return image, made


def _output(module: nn.Module, x: Array) -> Array:
    with no_grad():
        y = module(x)
    found: Array = (y[0] if isinstance(y, tuple) else y).data  # max pooling may return its switches too
    return found


def _geometry(window: Windowed, x: Array) -> _Geometry:
    rule = next(name for kind_of, name in _RULES.items() if isinstance(window, kind_of))
    kernel = check.pair(rule, "kernel_size", window.kernel_size, 1)
    stride = kernel if window.stride is None else check.pair(rule, "stride", window.stride, 1)
    dilation, groups = (1, 1), x.shape[3]
    if isinstance(window, nn.Conv2d):
        dilation, groups = check.pair(rule, "dilation", window.dilation, 1), window.groups
    sides = windows.padding(rule, window.padding, (x.shape[1], x.shape[2]), kernel, stride, dilation)
    counted = not isinstance(window, nn.MaxPool2d)
    if isinstance(window, nn.AvgPool2d):
        counted = window.count_include_pad and window.padding != "same"
    return _Geometry(rule, kernel, stride, dilation, sides, groups, counted)


def _curve(module: nn.Module) -> dict[str, Any]:
    option = _CURVES[type(module)]
    return {"name": type(module).__name__, "value": getattr(module, option) if option else None}
