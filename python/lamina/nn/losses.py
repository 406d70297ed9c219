"""Losses. reduction: "mean" over all samples (or elements), "sum", or "none" for one loss each."""

from typing import Any

import numpy as np

from lamina import _hosted as hosted
from lamina import ops
from lamina.autograd import Tensor, apply, record
from lamina.nn._cast import floating
from lamina.nn.module import Array, Module
from lamina.ops import _check as check

_FEW = 4096  # losses whose mean a kernel makes, as a product; NumPy's sums of more round less


@hosted.direct
def _mean(losses: Array) -> tuple[Array, Any]:
    share = np.full((1, losses.size), 1 / losses.size, losses.dtype)
    y, _ = ops.gemm(losses.reshape(1, -1), share, transpose_b=True)
    return y.reshape(()), (share, losses.shape)


@hosted.direct
def _mean_backward(dy: Array, ctx: Any) -> Array:
    share, shape = ctx
    dx, _ = ops.gemm(dy.reshape(1, 1), share)
    found: Array = dx.reshape(shape)
    return found


class _Loss(Module):
    def __init__(self, *, reduction: str = "mean") -> None:
        self.reduction = check.choice(type(self).__name__, "reduction", reduction, ("mean", "sum", "none"))

    def _reduce(self, losses: Tensor) -> Tensor:
        if self.reduction == "none":
            return losses
        if self.reduction == "sum":
            return losses.sum()
        self._require_some(losses)
        if losses.size <= _FEW and losses.data.flags.c_contiguous:
            return apply(_mean, _mean_backward, losses)
        return losses.mean()

    def _require_some(self, x: Tensor) -> None:
        if x.size == 0:
            raise ValueError(
                f"{type(self).__name__}: an empty batch (shape {x.shape}) has no mean; use reduction='sum'"
            )

    def _target(self, x: Tensor, target: Any) -> Tensor:
        """The target as a tensor of x's shape and, where it is an array, dtype."""
        name = type(self).__name__
        if not isinstance(target, Tensor):
            check.refuse_mask(name, "target", target)
            array = np.asarray(target)
            if array.dtype.kind not in "fiub":
                raise TypeError(f"{name}: target must be an array of numbers, got {array.dtype}")
            target = Tensor(array.astype(x.dtype, copy=False))
        found = floating(target, x.dtype)
        check.shape(name, "target", found.data, x.shape, "that of x")
        return found


class CrossEntropyLoss(_Loss):
    """-log softmax(x)[label], from logits x (..., C) and integer labels (...) in 0..C-1.

    weight: C numbers, how much each class counts; the mean is then over the weights of the labels.
    label_smoothing s in [0, 1): the label has the share 1 - s of the target and every class s/C (Szegedy et
    al. 2016). Both as in PyTorch.

    Raises ValueError for labels out of range or of another shape, TypeError for labels that are not integers.
    """

    def __init__(self, *, weight: Any = None, label_smoothing: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.weight = None if weight is None else _class_weights(weight)
        self.label_smoothing = check.number("CrossEntropyLoss", "label_smoothing", label_smoothing, below=1)

    def forward(self, x: Tensor, target: Any) -> Tensor:
        """x (..., C), target (...) -> one number, or (...) with reduction "none"."""
        x = floating(x)
        check.refuse_mask("CrossEntropyLoss", "target", target)
        labels = target.data if isinstance(target, Tensor) else np.asarray(target)
        if self.weight is None and self.label_smoothing == 0:
            return self._reduce(apply(_cross_entropy, ops.softmax_cross_entropy_backward, x, labels=labels))
        classes = x.shape[-1] if x.ndim else 0
        labels = check.labels("CrossEntropyLoss", labels, x.shape[:-1], classes)
        if self.weight is not None:
            check.shape(
                "CrossEntropyLoss", "weight", np.array(self.weight), (classes,), "one for each class of x"
            )
        weight = (1.0,) * classes if self.weight is None else self.weight
        share, total = hosted.again(_shares, labels, weight, self.label_smoothing, x.dtype)
        losses = apply(_expected_surprise, _expected_surprise_backward, x, share=share)
        if self.reduction != "mean":
            return self._reduce(losses)
        self._require_some(losses)
        if total == 0:
            raise ValueError("CrossEntropyLoss: the weights of all labels are 0, so there is no mean")
        mean: Tensor = losses.sum() / total
        return mean


def _class_weights(weight: Any) -> tuple[float, ...]:
    array = check.array_of("CrossEntropyLoss", "weight", weight, np.float64)
    if array.ndim != 1 or not np.all((array >= 0) & np.isfinite(array)):
        raise ValueError(
            "CrossEntropyLoss: weight must be finite numbers of at least 0, one for each class, "
            f"got {weight!r:.80}"
        )
    return tuple(float(w) for w in array)


def _shares(labels: Array, weights: tuple[float, ...], smoothing: float, dtype: Any) -> tuple[Array, Array]:
    """How much the surprise -log p of each class counts, (..., C), and the weights of all labels, summed."""
    weight = np.array(weights, dtype)
    share = np.empty((*labels.shape, len(weight)), dtype)
    share[...] = weight * weight.dtype.type(smoothing / len(weight))
    own = np.take_along_axis(share, labels[..., None], -1) + (1 - smoothing) * weight[labels][..., None]
    np.put_along_axis(share, labels[..., None], own, -1)
    return share, np.asarray(weight[labels].sum())


def _expected_surprise(x: Array, share: Array) -> tuple[Array, Any]:
    log_p, ctx = ops.log_softmax(x)
    cost = np.multiply(share, log_p, out=np.zeros_like(log_p), where=share != 0)  # 0, where it would be 0 inf
    return -cost.sum(axis=-1), (share, ctx)


def _expected_surprise_backward(dy: Array, saved: Any) -> Array:
    share, ctx = saved
    dx: Array = ops.log_softmax_backward(-share * dy[..., None], ctx)
    return dx


@hosted.direct
def _cross_entropy(x: Array, labels: Array) -> tuple[Array, Any]:
    return ops.softmax_cross_entropy(x, labels)


class MSELoss(_Loss):
    """(x - target)^2, for x and target of one shape; nothing broadcasts. ValueError for other shapes."""

    def forward(self, x: Tensor, target: Any) -> Tensor:
        """x and target of one shape -> one number, or that shape with reduction "none"."""
        x = floating(x)
        target = self._target(x, target)
        if self.reduction != "mean":
            return self._reduce((x - target) ** 2)
        self._require_some(x)
        y, ctx = ops.mean_squared_error(x.data, target.data)
        return record(y, (x, target), _mean_squared_error_backward, ctx, target.requires_grad)


@hosted.direct
def _mean_squared_error_backward(dy: Array, ctx: Any, needs_dtarget: bool) -> Any:
    dx = ops.mean_squared_error_backward(dy, ctx)
    return dx, hosted.again(np.negative, dx) if needs_dtarget else None


class BCEWithLogitsLoss(_Loss):
    """-t log sigmoid(x) - (1 - t) log(1 - sigmoid(x)), for logits x and targets t in [0, 1] of one shape.

    Computed as |x| (1 - t if x > 0 else t) + log(1 + exp(-|x|)), which does not overflow and is 0 for an
    infinite logit on the side of its target. ValueError for targets outside [0, 1] or of another shape.
    """

    def forward(self, x: Tensor, target: Any) -> Tensor:
        """x and target of one shape -> one number, or that shape with reduction "none"."""
        x = floating(x)
        t = self._target(x, target).data
        if not np.all((t >= 0) & (t <= 1)):
            raise ValueError("BCEWithLogitsLoss: target must lie in [0, 1]")
        return self._reduce(apply(_binary_cross_entropy, _binary_cross_entropy_backward, x, t=t))


def _binary_cross_entropy(x: Array, t: Array) -> tuple[Array, Any]:
    size = np.abs(x)
    wrong = np.where(x > 0, 1 - t, t)  # the share of the target that x speaks against
    cost = np.multiply(size, wrong, out=np.zeros_like(x), where=wrong != 0)  # 0, where it would be inf 0
    return cost + np.log1p(np.exp(-size)), (x, t)


def _binary_cross_entropy_backward(dy: Array, ctx: Any) -> Array:
    x, t = ctx
    dx: Array = dy * (ops.sigmoid(x)[0] - t)
    return dx


class HingeLoss(_Loss):
    """sum over j of max(0, x_j - x_label + margin), j not the label: the multi-class SVM loss.

    Scores x (..., C), integer labels (...) in 0..C-1 (Weston & Watkins 1999). Errors as of
    `CrossEntropyLoss`.
    """

    def __init__(self, *, margin: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.margin = check.number("HingeLoss", "margin", margin)

    def forward(self, x: Tensor, target: Any) -> Tensor:
        """x (..., C), target (...) -> one number, or (...) with reduction "none"."""
        x = floating(x)
        check.refuse_mask("HingeLoss", "target", target)
        labels = target.data if isinstance(target, Tensor) else np.asarray(target)
        labels = check.labels("HingeLoss", labels, x.shape[:-1], x.shape[-1] if x.ndim else 0)
        return self._reduce(apply(_hinge, _hinge_backward, x, labels=labels[..., None], margin=self.margin))


def _hinge(x: Array, labels: Array, margin: float) -> tuple[Array, Any]:
    excess = np.maximum(x - np.take_along_axis(x, labels, -1) + x.dtype.type(margin), 0)
    np.put_along_axis(excess, labels, 0, -1)
    return excess.sum(axis=-1), (excess, labels)


def _hinge_backward(dy: Array, ctx: Any) -> Array:
    excess, labels = ctx
    dx = np.where(excess > 0, dy[..., None], dy.dtype.type(0))
    np.put_along_axis(dx, labels, -dx.sum(axis=-1, keepdims=True), -1)
    return dx


class HuberLoss(_Loss):
    """d^2/2 for |d| <= delta, else delta (|d| - delta/2), d = x - target, of one shape (Huber 1964).

    ValueError for other shapes and a delta that is not above 0.
    """

    def __init__(self, *, delta: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.delta = check.number("HuberLoss", "delta", delta)
        if self.delta == 0:
            raise ValueError(f"HuberLoss: delta must be above 0, got {delta}")

    def forward(self, x: Tensor, target: Any) -> Tensor:
        """x and target of one shape -> one number, or that shape with reduction "none"."""
        x = floating(x)
        difference = x - self._target(x, target)
        return self._reduce(apply(_huber, _huber_backward, difference, delta=self.delta))


def _huber(d: Array, delta: float) -> tuple[Array, Any]:
    near = np.clip(d, -delta, delta)
    return near * (d - near / 2), near


def _huber_backward(dy: Array, near: Array) -> Array:
    return np.asarray(dy * near)


class BCELoss(_Loss):
    """-t log x - (1 - t) log(1 - x), for probabilities x and targets t, both in [0, 1] and of one shape.

    No logarithm is below -100, as in PyTorch. From logits, `BCEWithLogitsLoss` is more exact. ValueError for
    numbers outside [0, 1] and other shapes.
    """

    def forward(self, x: Tensor, target: Any) -> Tensor:
        """x and target of one shape -> one number, or that shape with reduction "none"."""
        x = floating(x)
        t = self._target(x, target).data
        for name, value in (("x", x.data), ("target", t)):
            if not np.all((value >= 0) & (value <= 1)):
                raise ValueError(f"BCELoss: {name} must lie in [0, 1]")
        return self._reduce(apply(_of_probabilities, _of_probabilities_backward, x, t=t))


def _of_probabilities(x: Array, t: Array) -> tuple[Array, Any]:
    with np.errstate(divide="ignore"):
        cost = t * np.maximum(np.log(x), -100) + (1 - t) * np.maximum(np.log1p(-x), -100)
    return -cost, (x, t)


def _of_probabilities_backward(dy: Array, ctx: Any) -> Array:
    x, t = ctx
    dx: Array = dy * (x - t) / np.maximum(x * (1 - x), x.dtype.type(1e-12))
    return dx


class KLDivLoss(_Loss):
    """KL(t || p) = sum over the last axis of t (log t - x), for x = log p and probabilities t, both (..., C).

    reduction "mean" is over the distributions, PyTorch's "batchmean". ValueError for negative targets and
    other shapes.
    """

    def forward(self, x: Tensor, target: Any) -> Tensor:
        """x and target (..., C) -> one number, or (...) with reduction "none"."""
        x = floating(x)
        t = self._target(x, target).data
        if not np.all(t >= 0):
            raise ValueError("KLDivLoss: target must not be negative")
        if x.ndim == 0:
            raise ValueError("KLDivLoss: x must have at least one axis, its classes")
        return self._reduce(apply(_divergence, _divergence_backward, x, t=t))


def _divergence(x: Array, t: Array) -> tuple[Array, Any]:
    log_t = np.log(t, out=np.zeros_like(t), where=t > 0)
    cost = np.multiply(t, log_t - x, out=np.zeros_like(t), where=t > 0)
    return np.asarray(cost.sum(axis=-1)), t


def _divergence_backward(dy: Array, t: Array) -> Array:
    return np.asarray(-t * dy[..., None])
