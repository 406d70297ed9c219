"""Activations as layers, for any shape."""

from lamina import functions
from lamina.autograd import Tensor
from lamina.nn._cast import floating
from lamina.nn.module import Module
from lamina.ops import _check as check


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape; NaN stays NaN."""
        return functions.relu(floating(x))


class Sigmoid(Module):
    """1/(1 + exp(-x))."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return functions.sigmoid(floating(x))


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return functions.tanh(floating(x))


class _AlongAxis(Module):
    def __init__(self, *, axis: int = -1) -> None:
        self.axis = check.integer(type(self).__name__, "axis", axis, -64, 63)


class Softmax(_AlongAxis):
    """exp(x)/sum(exp(x)) along an axis (default: the last). `CrossEntropyLoss` wants logits, not this."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape that has the axis."""
        return functions.softmax(floating(x), self.axis)


class LogSoftmax(_AlongAxis):
    """The logarithm of softmax along an axis (default: the last)."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape that has the axis."""
        return functions.log_softmax(floating(x), self.axis)
