"""What might be wrong with a network, its data or its labels, before much time is spent on training."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lamina import config, nn
from lamina.autograd import Tensor
from lamina.data.loader import Loader
from lamina.nn import Module
from lamina.nn.summary import watching
from lamina.train.checks import check_loss, check_model
from lamina.train.evaluate import Loss, compared, own_loss, scalar
from lamina.train.feed import feed_of

Array = npt.NDArray[Any]

_SAMPLES = 512
_LARGE, _SMALL = 5.0, 0.02  # root mean square of x: a network is made for about 1
_UNEVEN = 100.0  # largest span of a feature over the median one
_DEAD, _SATURATED = 0.2, 0.5  # shares of units, and of outputs, that are borne
_EXPLODING = 100.0  # norm of the gradient of all parameters, of a loss that is a mean
_VANISHING = 1e-5  # root mean square of the first weight's gradient over the last one's
_CHANCE = 3.0  # standard deviations by which neighbours must agree more often than by chance


class Finding(NamedTuple):
    """One thing that is wrong: its kind, the layer or "", and what was seen with what to do about it."""

    kind: str
    layer: str
    text: str


class Findings(list[Finding]):
    """What `doctor` found; empty if nothing."""

    def __repr__(self) -> str:
        if not self:
            return "doctor: nothing found"
        lines = [f"{f.kind}{f' in layer {f.layer}' if f.layer else ''}: {f.text}" for f in self]
        return "\n".join(lines)


def doctor(
    model: Module,
    x: npt.ArrayLike | Loader,
    y: npt.ArrayLike | None = None,
    *,
    loss: Loss | None = None,
    seed: int = 0,
    verbose: bool = True,
) -> Findings:
    """Run a copy of the model once, forward and backward, on some samples, and say what looks wrong.

    Kinds of findings: "input" (scale far from 1, values not finite), "labels" (unrelated to x: neighbours
    have the same label no more often than by chance), "loss" (softmax or sigmoid twice; not finite), "dead
    units" (a ReLU that gives 0 for every sample), "saturation" (sigmoid or tanh at their ends), "exploding
    gradients", "vanishing gradients". They are signs, not proofs; activations are seen where they are layers.

    Args:
        model: nothing about it changes.
        x, y, loss: as for `fit`; up to 512 samples are used, or the first batch of a Loader.
        seed: of the samples that are drawn (default 0).
        verbose: print the findings (default True); they are returned in any case.

    Raises:
        TypeError, ValueError: as `fit`, and what the model raises.
    """
    check_model("doctor", model)
    loss = own_loss(model) if loss is None else loss
    check_loss("doctor", loss)
    feed = feed_of("doctor", x, y, None if isinstance(x, Loader) else _SAMPLES, _SAMPLES)
    former = copy.deepcopy(config.rng().bit_generator.state)
    try:
        with contextlib.closing(feed.epoch(config.seeded("doctor: seed", seed))) as stream:
            batch = next(stream, None)
        if batch is None:
            raise ValueError("doctor: there were no samples")
        found = Findings(_findings(*copy.deepcopy((model, loss)), batch.x, batch.y))
    finally:
        config.rng().bit_generator.state = former
    if verbose:
        print(found)
    return found


def _findings(model: Module, loss: Any, x: Array, y: Array) -> Iterator[Finding]:
    """All findings about a model that may be changed."""
    bad = list(_of_input(model, x))
    yield from bad
    yield from _of_labels(x, y)
    seen: list[tuple[str, Module, Array]] = []
    names = {id(module): name for name, module in model.named_modules()}

    def watch(module: Module, given: Any, output: Any) -> None:
        if id(module) in names and isinstance(output, Tensor):
            seen.append((names[id(module)], module, output.data))

    model.train().zero_grad()
    with watching(watch), np.errstate(all="ignore"):
        y_pred, value = compared("doctor", model, loss, x, y)
    yield from _of_loss(loss, seen, y_pred)
    yield from _of_activations(seen, y_pred)
    assert value is not None
    number = scalar("doctor", value)
    if not np.isfinite(number):
        yield Finding("loss", "", f"it is {number} before any step")
        return
    with np.errstate(all="ignore"):
        value.backward()
    # An autoencoder's own loss is a sum over the elements of a sample.
    elements = y_pred.size / len(x) if loss == own_loss(model) else 1.0
    yield from _of_gradients(model, elements)


def _of_input(model: Module, x: Array) -> Iterator[Finding]:
    tokens = any(isinstance(module, nn.Embedding) for module in model.modules())
    if x.dtype.kind not in "fu" or tokens or x.size == 0:
        return  # numbers of words, say
    wide = x.astype(np.float64)
    count = int(np.count_nonzero(~np.isfinite(wide)))
    if count:
        yield Finding("input", "", f"{count} of {x.size} values are NaN or infinite; clean the data")
        return
    size = float(np.sqrt(np.mean(wide**2)))
    if size > _LARGE or size < _SMALL:
        yield Finding(
            "input",
            "",
            f"x runs from {x.min():g} to {x.max():g} with root mean square {size:.3g}; subtract the mean and "
            "divide by the standard deviation of the training data (images: divide by 255)",
        )
    if x.ndim != 2:
        return
    # A pixel that hardly ever differs from 0 spans little and does no harm: one that spans far more does.
    spans = np.ptp(wide, axis=0)
    usual = float(np.median(spans[spans > 0])) if spans.any() else 1.0
    if spans.max() > _UNEVEN * usual:
        yield Finding(
            "input",
            "",
            f"features differ in scale: feature {int(spans.argmax())} spans {spans.max():.3g}, half of the "
            f"others at most {usual:.3g}; divide each by its standard deviation",
        )


def _of_labels(x: Array, y: Array) -> Iterator[Finding]:
    """Whether the nearest other sample has the same label more often than a random one has."""
    if y is x or y.ndim != 1 or y.dtype.kind not in "iu" or x.dtype.kind not in "fu" or len(x) < 100:
        return
    counts = np.unique(y, return_counts=True)[1]
    if len(counts) == 1:
        yield Finding("labels", "", f"all {len(y)} samples have the label {y[0]}: there is nothing to learn")
        return
    rows = x.reshape(len(x), -1).astype(np.float64)
    rows = (rows - rows.mean(axis=0)) / np.maximum(rows.std(axis=0), 1e-12 + rows.std(axis=0).max() * 1e-3)
    if not np.isfinite(rows).all():
        return
    squares = (rows**2).sum(axis=1)
    distance = squares[:, None] + squares - 2 * rows @ rows.T
    np.fill_diagonal(distance, np.inf)
    same = float(np.mean(y[distance.argmin(axis=1)] == y))
    chance = float(np.sum(counts * (counts - 1)) / (len(y) * (len(y) - 1)))
    if same < chance + _CHANCE * np.sqrt(chance * (1 - chance) / len(y)):
        yield Finding(
            "labels",
            "",
            f"the nearest other sample has the same label in {same:.0%} of cases, by chance {chance:.0%}: "
            "have x and y been shuffled apart? (Data in which likeness means nothing looks so too.)",
        )


def _of_loss(loss: Any, seen: list[tuple[str, Module, Array]], y_pred: Tensor) -> Iterator[Finding]:
    """Whether the last layer does what the loss does once more."""
    twice = {nn.CrossEntropyLoss: nn.Softmax, nn.BCEWithLogitsLoss: nn.Sigmoid}
    for kind, layer in twice.items():
        for name, module, output in seen:
            if isinstance(loss, kind) and isinstance(module, layer) and output is y_pred.data:
                yield Finding(
                    "loss", name, f"{kind.__name__} takes logits: leave {layer.__name__} out of the model"
                )


def _of_activations(seen: list[tuple[str, Module, Array]], y_pred: Tensor) -> Iterator[Finding]:
    for name, module, output in seen:
        if output is y_pred.data or output.size == 0:
            continue  # a result may well lie at an end
        if isinstance(module, nn.ReLU):
            dead = ~(output > 0).any(axis=tuple(range(output.ndim - 1)))
            if dead.mean() > _DEAD:
                yield Finding(
                    "dead units",
                    name,
                    f"{int(dead.sum())} of {dead.size} units are 0 for all {len(output)} samples and learn "
                    "nothing; if they were so from the start, begin with larger weights (init.he_normal), "
                    "else with a lower learning rate",
                )
        ends = {nn.Sigmoid: (0.02, 0.98), nn.Tanh: (-0.96, 0.96)}.get(type(module))
        if ends is not None:
            share = float(np.mean((output < ends[0]) | (output > ends[1])))
            if share > _SATURATED:
                yield Finding(
                    "saturation",
                    name,
                    f"{share:.0%} of the outputs of {type(module).__name__} lie at an end, where gradients "
                    "vanish; scale its input or the weights before it down, or use ReLU",
                )


def _of_gradients(model: Module, elements: float) -> Iterator[Finding]:
    """Norms of the gradients, over all parameters and from the first weight to the last.

    elements: how many of them the loss is a sum of.
    """
    gradients = [(name, p.grad) for name, p in model.named_parameters() if p.grad is not None]
    for name, gradient in gradients:
        if not np.isfinite(gradient).all():
            yield Finding("exploding gradients", name, "its gradient is not finite")
            return
    norm = float(np.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for _, g in gradients))) / elements
    if norm > _EXPLODING:
        largest = max(gradients, key=lambda each: float(np.abs(each[1]).max()))[0]
        yield Finding(
            "exploding gradients",
            largest,
            f"the gradient of all parameters has norm {norm:.3g}; use smaller weights and inputs, or "
            "optim.clip_grad_norm",
        )
    sizes = [
        (name, float(np.sqrt(np.mean(g.astype(np.float64) ** 2)))) for name, g in gradients if g.ndim > 1
    ]
    if len(sizes) > 1 and sizes[0][1] < _VANISHING * sizes[-1][1]:
        yield Finding(
            "vanishing gradients",
            sizes[0][0],
            f"its gradient is {sizes[0][1]:.1e} per weight, that of {sizes[-1][0]} {sizes[-1][1]:.1e}: the "
            "first layers will hardly learn; use ReLU, other first weights or fewer layers",
        )
