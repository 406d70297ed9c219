"""The checks for users find each kind of fault; layers without one are in tests/nn."""

import numpy as np
import pytest

import lamina as lm
from lamina import nn
from lamina.autograd import apply
from lamina.testing import check_gradients, check_layer

X = np.random.default_rng(0).normal(size=(3, 4))


def test_wrong_gradients_are_found():
    def double(x):
        return apply(lambda a: (2 * a, None), lambda dy, ctx: dy * np.array([2, 2, 2.001, 2]), x)

    with pytest.raises(
        AssertionError, match=r"the gradient for argument 1 at \(\d, 2\) is .*, but central differences"
    ):
        check_gradients(lambda a, b: a + double(b), X, X)


def test_missing_and_nan_gradients_are_found():
    with pytest.raises(AssertionError, match=r"the gradient for argument 0 .* is 0, but"):
        check_gradients(lambda a, b: a.detach() + b, X, X)
    with pytest.raises(AssertionError, match="is nan, but"):
        check_gradients(lambda a: apply(lambda x: (x * 1, None), lambda dy, ctx: dy * np.nan, a), X)


def test_float32_and_changing_results_are_found():
    with pytest.raises(AssertionError, match="f returned float32 for float64 inputs"):
        check_gradients(lambda a: a.astype(np.float32), X)
    rng = np.random.default_rng(0)
    with pytest.raises(AssertionError, match="f returned two results for the same arrays"):
        check_gradients(lambda a: a * rng.normal(), X)


class _Scale(nn.Module):
    """A sound layer, for faults to be put into."""

    def __init__(self):
        self.w = nn.Parameter(np.float32([1, 2, 3, 4]))

    def forward(self, x):
        return x * self.w


class Faulty(_Scale):
    """The same with one fault."""

    def __init__(self, fault):
        super().__init__()
        self.fault, self.calls = fault, 0

    def forward(self, x):
        y = x * self.w
        if self.fault == "random":
            self.calls += 1
            return y * self.calls
        if self.fault == "batch":
            return y - x.mean(axis=0)
        if self.fault == "strides":
            return y if x.data.flags.c_contiguous else x
        if self.fault == "empty":
            return y if len(x) else lm.Tensor(np.zeros((1, 4), np.float32))
        if self.fault == "float64":
            return lm.Tensor(y.data.astype(np.float32))
        if self.fault == "x":
            return x.detach() * self.w
        if self.fault == "w":
            return x * self.w.data
        return y[:1]


class Shared(_Scale):
    def __deepcopy__(self, memo):
        return self


class Forgetful(_Scale):
    """Its pickles start afresh; so do its deep copies, if asked."""

    def __init__(self, deepcopy_too=False):
        super().__init__()
        self.deepcopy_too = deepcopy_too

    def __deepcopy__(self, memo):
        twin = Forgetful(self.deepcopy_too)
        if not self.deepcopy_too:
            twin.load_state_dict(self.state_dict())
        return twin

    def __reduce__(self):
        return Forgetful, (self.deepcopy_too,)


FAULTS = {
    "random": "two calls in evaluation mode differ",
    "batch": "sample 0 alone and in the batch: results differ",
    "strides": "x non-contiguous: results differ",
    "empty": r"the result for an empty batch has the shape \(1, 4\), expected \(0, 4\)",
    "float64": "float64 parameters and x give float32, expected float64",
    "x": "the gradient for x .* is 0, but",
    "w": "the gradient for w .* is 0, but",
    "rows": r"rows of the result for the samples of x: \(1,\), expected \(3,\)",
}


@pytest.mark.parametrize("name", FAULTS)
def test_faulty_layers_are_found(name):
    with pytest.raises(AssertionError, match=FAULTS[name]):
        check_layer(Faulty(name), X.astype(np.float32))


def test_copies_that_share_are_found():
    with pytest.raises(AssertionError, match="after a deep copy of it was changed"):
        check_layer(Shared(), X.astype(np.float32))


@pytest.mark.parametrize(
    ("deepcopy_too", "message"), [(False, "pickle: results"), (True, "deepcopy: w differs")]
)
def test_copies_that_forget_are_found(deepcopy_too, message):
    layer = Forgetful(deepcopy_too)
    layer.w.data += 1
    with pytest.raises(AssertionError, match=message):
        check_layer(layer, X.astype(np.float32))


def test_layer_is_left_as_it_was():
    layer = _Scale()
    check_layer(layer, X.astype(np.float32))
    assert layer.training
    assert layer.w.grad is None
    assert layer.w.dtype == np.float32
    np.testing.assert_array_equal(layer.w.data, [1, 2, 3, 4])


def test_gradients_may_be_left_out():
    check_layer(Faulty("w"), X.astype(np.float32), gradients=False)


def test_a_batch_is_needed():
    with pytest.raises(ValueError, match=r"check_layer: x must be a batch of at least 2, got shape \(1, 4\)"):
        check_layer(_Scale(), X[:1])
