"""A network as the volumes of activations that one image makes in it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lamina import nn
from lamina.nn.summary import watching
from lamina.ops import _check as check
from lamina.probe.layers import probabilities
from lamina.viz._canvas import new_figure, saved
from lamina.viz.grid import tile

Array = npt.NDArray[Any]


class Volume(NamedTuple):
    """What one layer made of the image."""

    name: str
    values: Array  # (H, W, C) or (units,)


def activations(
    model: nn.Module,
    image: npt.ArrayLike,
    labels: Sequence[str] | None = None,
    *,
    slices: int = 10,
    top: int = 5,
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """Draw an image's way through a classifier: a column of slices for each volume, the best classes right.

    image: (H, W, C), or (H, W) for one channel, as the model takes it. labels: the names of the classes;
    their numbers by default. slices: channels of a volume that are drawn, spread over all of them; a volume
    is grey from its least to its greatest value. Layers that only reshape or pass on are left out. top:
    classes, the best first, with their probabilities (softmax of the last layer, unless that is one).

    Returns the matplotlib Figure, also saved to `path` if given; needs `pip install "lamina[plot]"`. After
    the figure of A. Karpathy et al., CS231n, "Convolutional Networks". ValueError for an image of other axes,
    a model that does not end in scores, labels that are not as many as they.
    """
    x = check.array_of("activations", "image", image)
    if x.ndim not in (2, 3) or 0 in x.shape:
        raise ValueError(f"activations: image has shape {x.shape}, expected one image, (H, W, C) or (H, W)")
    slices, top = (check.integer("activations", n, v, 1) for n, v in (("slices", slices), ("top", top)))
    x = x if x.ndim == 3 else x[:, :, None]
    volumes, scores = volumes_of(model, x)
    if labels is not None and len(labels) != len(scores):
        raise ValueError(f"activations: {len(labels)} labels for {len(scores)} classes")
    figure = new_figure(0.62 * len(volumes) + 3.2, 0.5 * slices + 0.6)
    columns = figure.subplots(1, len(volumes) + 1, width_ratios=[1] * len(volumes) + [4], squeeze=False)[0]
    for axes, volume in zip(columns, volumes, strict=False):
        _column(axes, volume, slices)
    _best(columns[-1], scores, labels, top)
    return saved(figure, path)


def volumes_of(model: nn.Module, image: Array) -> tuple[list[Volume], Array]:
    """The image (H, W, C) and what each innermost layer makes of it, and the scores of the classes (O,).

    Layers whose output is their input, in another shape or not, have no volume of their own.
    """
    dtype = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
    x, names = image.astype(dtype)[None], {id(m): name for name, m in model.named_modules()}
    found, before = [Volume("input", x[0])], [x]

    def watch(module: Any, _: Any, y: Any) -> None:
        y = y[0] if isinstance(y, tuple) else y
        if not module._is_layer() or not hasattr(y, "data") or y.data.ndim not in (2, 4):
            return
        if not np.array_equal(y.data.ravel(), before[-1].ravel()):
            found.append(Volume(f"{names.get(id(module), '')} {type(module).__name__}".strip(), y.data[0]))
        before.append(y.data)

    with watching(watch):
        out = model.predict(x)
    if out.ndim != 2:
        raise ValueError(f"activations: the model gives {out.shape}, expected the scores of classes, (1, O)")
    return found, out[0]


def _column(axes: Any, volume: Volume, slices: int) -> None:
    """The slices of a volume below each other; the units of a vector in one strip."""
    values = volume.values.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) / (high - low) if high > low else np.full_like(values, 0.5)
    if volume.name == "input" and values.shape[-1] == 3:
        shown = scaled[None]
    elif values.ndim == 1:
        shown = scaled[None, :, None].repeat(max(1, len(scaled) // (2 * slices)), axis=2)
    else:
        count = values.shape[2]
        chosen = np.unique(np.linspace(0, count - 1, min(slices, count)).round().astype(int))
        shown = np.moveaxis(scaled[..., chosen], 2, 0)
    canvas = tile(shown, columns=1, gap=max(1, shown.shape[1] // 14) if values.ndim == 3 else 0)
    axes.imshow(canvas, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="equal")
    axes.set_anchor("N")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(values.ndim == 1)
    size = "x".join(map(str, volume.values.shape))
    axes.set_title(f"{volume.name.replace(' ', chr(10))}\n{size}", fontsize=6)


def _best(axes: Any, scores: Array, labels: Sequence[str] | None, top: int) -> None:
    """The best classes, the first above, as bars of their probabilities."""
    share = probabilities(scores)
    best = np.argsort(-share, kind="stable")[:top]
    rows = np.arange(len(best))
    axes.barh(rows, share[best], color="#0072b2", height=0.6)
    for row, i in zip(rows, best, strict=True):
        axes.text(share[i] + 0.02, row, f"{share[i]:.1%}", va="center", fontsize=8)
    axes.set_yticks(rows, [str(i) if labels is None else str(labels[i]) for i in best])
    axes.set(xlim=(0, 1.25), ylim=(max(len(best), 1) - 0.4, -0.6), xticks=[])
    axes.spines[:].set_visible(False)
    axes.tick_params(left=False)
