"""Where in an image the answer of a classifier comes from: three ways to ask it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lamina import nn
from lamina.autograd import Tensor
from lamina.nn.modes import evaluating, frozen
from lamina.nn.summary import watching
from lamina.ops import _check as check
from lamina.ops._check import Pair
from lamina.probe.layers import find_layer, maps_of, need_gradients, one_image, probabilities

Array = npt.NDArray[Any]


def saliency(model: nn.Module, image: npt.ArrayLike, label: int | None = None) -> Array:
    """How much each pixel moves the score of a class: the largest |gradient| of its channels, (H, W).

    model: images -> scores of classes, best before a softmax, whose gradients vanish where it is sure; run in
    evaluation mode, nothing in it changes. image: (H, W, C), or (H, W) for one channel. label: the class, by
    default the one that the model finds. Source: K. Simonyan, A. Vedaldi, A. Zisserman, Deep inside
    convolutional networks, 2013, section 3. ValueError for an image of other axes, a model that does not give
    scores, a class that is not there.
    """
    x = Tensor(one_image("saliency", model, image), requires_grad=True)
    with evaluating(model), frozen(model):
        score = _score("saliency", model, x, label)
    return np.asarray(np.abs(_gradient(score, x)[0]).max(axis=-1))


def occlusion(
    model: nn.Module,
    image: npt.ArrayLike,
    label: int | None = None,
    *,
    size: int | Pair = 5,
    stride: int | Pair = 2,
    value: float | None = None,
) -> Array:
    """How much of a class's probability is gone when a patch covers the image, (H, W).

    Each pixel gets the mean over the patches that cover it; below 0 where the class gains. size, stride: of
    the patch, an int or a pair (vertical, horizontal), the stride at most the size; the last patch of a row
    ends with the image. value: of the patch, by default the mean of each channel of the image. Scores that
    are no probabilities are made such by softmax; the score of a model with one output stays what it is. The
    rest as of `saliency`. Source: M. Zeiler, R. Fergus, Visualizing and understanding convolutional networks,
    2013, section 4.2.
    """
    x = one_image("occlusion", model, image)[0]
    sizes, strides = check.pair("occlusion", "size", size, 1), check.pair("occlusion", "stride", stride, 1)
    if any(n > side for n, side in zip(sizes, x.shape, strict=False)):
        raise ValueError(f"occlusion: size {sizes} is larger than the image, {x.shape[:2]}")
    if any(s > n for s, n in zip(strides, sizes, strict=True)):
        raise ValueError(
            f"occlusion: stride {strides} is larger than size {sizes}: it would pass over pixels"
        )
    scores = _scores("occlusion", model.predict(x[None]))
    found = _label("occlusion", label, scores[0])
    cover = x.mean(axis=(0, 1)) if value is None else value
    tops, lefts = (_starts(*each) for each in zip(x.shape, sizes, strides, strict=False))
    lost, count = np.zeros(x.shape[:2]), np.zeros(x.shape[:2])
    before = _chances(scores)[0, found]
    for top in tops:
        covered = np.repeat(x[None], len(lefts), axis=0)
        for row, left in zip(covered, lefts, strict=True):
            row[top : top + sizes[0], left : left + sizes[1]] = cover
        after = _chances(model.predict(covered))[:, found]
        for left, now in zip(lefts, after, strict=True):
            place = slice(top, top + sizes[0]), slice(left, left + sizes[1])
            lost[place] += before - now
            count[place] += 1
    return lost / count


def grad_cam(
    model: nn.Module, image: npt.ArrayLike, label: int | None = None, *, layer: nn.Module | str | None = None
) -> Array:
    """Where the maps of a layer speak for a class, at the layer's size: relu(sum_k alpha_k A_k), (h, w).

    alpha_k is the mean over the map A_k of the gradient of the class's score. layer: a module inside the
    model that gives maps (N, h, w, C), or its path; by default the last `nn.Conv2d`. The rest as of
    `saliency`. Source: R. Selvaraju et al., Grad-CAM, 2017, equations 1 and 2.
    """
    x = Tensor(one_image("grad_cam", model, image))
    wanted = _last_convolution(model) if layer is None else find_layer("grad_cam", model, layer)
    seen: list[Tensor] = []

    def watch(module: Any, _: Any, y: Any) -> None:
        if module is wanted and not seen:
            seen.append(maps_of("grad_cam", y[0] if isinstance(y, tuple) else y))
            seen[
                0
            ].requires_grad = True  # nothing before it is recorded, so it is a leaf and gets the gradient

    with evaluating(model), frozen(model), watching(watch):
        score = _score("grad_cam", model, x, label)
    if not seen:
        raise ValueError(f"grad_cam: the model does not call the layer {type(wanted).__name__}")
    weights = _gradient(score, seen[0]).mean(axis=(0, 1, 2))
    return np.asarray(np.maximum(seen[0].data[0] @ weights, 0))


def _last_convolution(model: nn.Module) -> nn.Module:
    found = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    if not found:
        raise ValueError("grad_cam: give a layer, for the model has no nn.Conv2d")
    return found[-1]


def _score(who: str, model: nn.Module, x: Tensor, label: int | None) -> Tensor:
    """The score of the class, or of the best one, for one image."""
    need_gradients(who)
    y: Any = model(x)
    score: Tensor = y[0, _label(who, label, _scores(who, y)[0])]
    return score


def _scores(who: str, y: Any) -> Array:
    if getattr(y, "ndim", 0) != 2:
        got = f"shape {y.shape}" if hasattr(y, "shape") else type(y).__name__
        raise ValueError(f"{who}: the model gives {got}, expected the scores of classes, (1, O)")
    return np.asarray(y.data if isinstance(y, Tensor) else y)


def _label(who: str, label: int | None, scores: Array) -> int:
    return int(scores.argmax()) if label is None else check.integer(who, "label", label, 0, len(scores) - 1)


def _gradient(score: Tensor, leaf: Tensor) -> Array:
    """Of the score; zeros where it does not come from the leaf at all."""
    if score.requires_grad:
        score.backward()
    return np.zeros_like(leaf.data) if leaf.grad is None else leaf.grad


def _chances(scores: Array) -> Array:
    return scores if scores.shape[1] == 1 else probabilities(scores)


def _starts(length: int, size: int, stride: int) -> list[int]:
    """Where patches begin; the last one ends with the image."""
    last = length - size
    return [*range(0, last, stride), last]
