"""Where an answer comes from and how far a unit sees, beside the image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina import nn, probe
from lamina.ops._check import Pair
from lamina.probe.layers import find_layer, one_image, probabilities
from lamina.viz._canvas import new_figure, saved
from lamina.viz.grid import tile

Array = npt.NDArray[Any]
_Path = str | os.PathLike[str] | None

_BOX = "#d55e00"


def saliency(
    model: nn.Module,
    image: npt.ArrayLike,
    label: int | None = None,
    labels: Sequence[str] | None = None,
    *,
    path: _Path = None,
) -> Any:
    """Draw how much each pixel moves the score of a class, beside the image: `probe.saliency`.

    White is the most. image: (H, W, C), or (H, W) for one channel; one of neither one nor three channels is
    drawn as their mean. label: the class, by default the one that the model finds. labels: the names of the
    classes; their numbers by default. Returns the matplotlib Figure, also saved to `path` if given; needs
    `pip install "lamina[plot]"`. ValueError as from `probe.saliency`.
    """
    heat = probe.saliency(model, image, label)
    figure, panels = _panels("saliency", model, image, label, labels)
    panels[1].imshow(heat, cmap="gray", vmin=0, vmax=heat.max() or 1, interpolation="nearest")
    panels[1].set_title("saliency", fontsize=10)
    return saved(figure, path)


def occlusion(
    model: nn.Module,
    image: npt.ArrayLike,
    label: int | None = None,
    labels: Sequence[str] | None = None,
    *,
    size: int | Pair = 5,
    stride: int | Pair = 2,
    value: float | None = None,
    path: _Path = None,
) -> Any:
    """Draw how much of a class's probability a covering patch takes away, over the image: `probe.occlusion`.

    Red is lost, blue is gained. size, stride, value: of the patch, as of `probe.occlusion`; the rest as of
    `saliency`.
    """
    heat = probe.occlusion(model, image, label, size=size, stride=stride, value=value)
    figure, panels = _panels("occlusion", model, image, label, labels)
    end = np.abs(heat).max() or 1
    shown = _over(panels[1], image, heat, cmap="RdBu_r", vmin=-end, vmax=end)
    panels[1].set_title("lost when covered", fontsize=10)
    figure.colorbar(shown, ax=panels, fraction=0.03, pad=0.02).ax.tick_params(labelsize=8)
    return saved(figure, path)


def grad_cam(
    model: nn.Module,
    image: npt.ArrayLike,
    label: int | None = None,
    labels: Sequence[str] | None = None,
    *,
    layer: nn.Module | str | None = None,
    path: _Path = None,
) -> Any:
    """Draw where the maps of a layer speak for a class, over the image: `probe.grad_cam`.

    The brighter, the more; enlarged to the image without steps. layer: by default the last `nn.Conv2d`. The
    rest as of `saliency`.
    """
    heat = probe.grad_cam(model, image, label, layer=layer)
    figure, panels = _panels("grad_cam", model, image, label, labels)
    _over(panels[1], image, heat, cmap="inferno", vmin=0, vmax=heat.max() or 1, interpolation="bilinear")
    panels[1].set_title("Grad-CAM", fontsize=10)
    return saved(figure, path)


def feature_maps(
    model: nn.Module,
    image: npt.ArrayLike,
    layer: nn.Module | str,
    *,
    columns: int | None = None,
    path: _Path = None,
) -> Any:
    """Draw what a layer makes of an image, a map for each channel: `probe.feature_maps`.

    Grey from the least to the greatest value of all maps. image: (H, W, C), or (H, W) for one channel. layer:
    a module inside the model or its path. columns: maps a row. Returns the matplotlib Figure, also saved to
    `path` if given; needs `pip install "lamina[plot]"`. ValueError as from `probe.feature_maps`.
    """
    maps = np.moveaxis(probe.feature_maps(model, image, layer), 2, 0)
    canvas = tile(_scaled(maps), columns=columns, gap=max(1, maps.shape[1] // 14))
    high, wide = canvas.shape
    figure = new_figure(6 * (wide / high) ** 0.5, 6 * (high / wide) ** 0.5 + 0.3)
    axes = figure.add_subplot()
    axes.imshow(canvas, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()
    count, size = len(maps), "×".join(map(str, maps.shape[1:]))
    axes.set_title(f"{count} maps {size}, black {maps.min():.2g} to white {maps.max():.2g}", fontsize=9)
    return saved(figure, path)


def receptive_field(
    model: nn.Module,
    input_shape: tuple[int, int, int],
    layer: nn.Module | str,
    unit: int | tuple[int, int] | None = None,
    *,
    image: npt.ArrayLike | None = None,
    path: _Path = None,
) -> tuple[probe.ReceptiveField, Any]:
    """Draw the pixels that a unit of a layer sees: `probe.receptive_field`.

    The box holds all of them; the darker a pixel, the more of the unit comes from it where all weights are
    alike (its square root, since the border is faint). image: drawn below, of input_shape; the rest as of
    `probe.receptive_field`. Returns the receptive field and the matplotlib Figure, also saved to `path` if
    given; needs `pip install "lamina[plot]"`.
    """
    field = probe.receptive_field(model, input_shape, layer, unit)
    if image is not None and one_image("receptive_field", model, image).shape[1:3] != tuple(input_shape[:2]):
        raise ValueError(
            f"receptive_field: image has shape {np.shape(image)}, expected that of input_shape, {input_shape}"
        )
    figure = new_figure(4.6, 4.6 * input_shape[0] / input_shape[1] + 0.5)
    axes = figure.add_subplot()
    if image is not None:
        axes.imshow(_shown(image), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    heat = np.sqrt(field.gradient / field.gradient.max())
    axes.imshow(heat, cmap="Oranges", alpha=np.where(heat > 0, 0.25 + 0.6 * heat, 0), interpolation="nearest")
    _frame(axes, field)
    axes.set(xlim=(-0.5, input_shape[1] - 0.5), ylim=(input_shape[0] - 0.5, -0.5))
    axes.tick_params(labelsize=8)
    kind = type(find_layer("receptive_field", model, layer)).__name__
    name = f"{layer} {kind}" if isinstance(layer, str) else kind
    place = ", ".join(map(str, field.unit))
    axes.set_title(f"unit ({place}) of {name} sees {field.size[0]}×{field.size[1]} pixels", fontsize=10)
    return field, saved(figure, path)


def _frame(axes: Any, field: probe.ReceptiveField) -> None:
    from matplotlib.patches import Rectangle

    corner = field.columns[0] - 0.5, field.rows[0] - 0.5
    axes.add_patch(Rectangle(corner, field.size[1], field.size[0], fill=False, edgecolor=_BOX, linewidth=2))


def _panels(
    who: str, model: nn.Module, image: npt.ArrayLike, label: int | None, labels: Sequence[str] | None
) -> tuple[Any, Any]:
    """The image, with the class and its probability above, and an empty panel right of it."""
    scores = model.predict(one_image(who, model, image))[0]
    if labels is not None and len(labels) != len(scores):
        raise ValueError(f"{who}: {len(labels)} labels for {len(scores)} classes")
    found = int(scores.argmax()) if label is None else label
    shown = _shown(image)
    figure = new_figure(7.2, 3.4 * shown.shape[0] / shown.shape[1] + 0.5)
    panels = figure.subplots(1, 2)
    for axes in panels:
        axes.set_axis_off()
    panels[0].imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    name = f"class {found}" if labels is None else str(labels[found])
    share = f": {probabilities(scores)[found]:.1%}" if len(scores) > 1 else ""
    panels[0].set_title(f"{name}{share}", fontsize=10)
    return figure, panels


def _over(axes: Any, image: npt.ArrayLike, heat: Array, **style: Any) -> Any:
    """The heat on a grey image, whatever its own size is."""
    grey = _shown(image)
    grey = grey if grey.ndim == 2 else grey.mean(axis=2)
    axes.imshow(grey, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    extent = (-0.5, grey.shape[1] - 0.5, grey.shape[0] - 0.5, -0.5)
    return axes.imshow(heat, extent=extent, alpha=0.6, **{"interpolation": "nearest", **style})


def _shown(image: npt.ArrayLike) -> Array:
    """The image as it can be drawn: one grey channel or three, from 0 to 1."""
    x = np.asarray(image, np.float64)
    if x.ndim == 3 and x.shape[2] != 3:
        x = x.mean(axis=2)
    return x if x.min() >= 0 and x.max() <= 1 else _scaled(x)


def _scaled(x: Array) -> Array:
    low, high = float(x.min()), float(x.max())
    return (x - low) / (high - low) if high > low else np.full_like(x, 0.5)
