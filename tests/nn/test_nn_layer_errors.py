"""What layers refuse: sizes, options, and arrays that do not fit."""

import re

import numpy as np
import pytest

from lamina import nn

RNG = np.random.default_rng(11)
IMAGE = RNG.normal(size=(3, 6, 5, 4)).astype(np.float32)
ROWS = RNG.normal(size=(3, 5)).astype(np.float32)


def _sizes(make, name):
    for value in (0, -1):
        with pytest.raises(ValueError, match=rf"{name} must be at least 1, got {value}"):
            make(value)
    for value in (1.5, True, "3", None):
        with pytest.raises(TypeError, match=rf"{name} must be an int, got {value!r}"):
            make(value)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda n: nn.Linear(n, 2), "Linear: in_features"),
        (lambda n: nn.Linear(2, n), "Linear: out_features"),
        (lambda n: nn.Conv2d(n, 2, 3), "Conv2d: in_channels"),
        (lambda n: nn.Conv2d(2, n, 3), "Conv2d: out_channels"),
        (lambda n: nn.Conv2d(2, 2, n), "Conv2d: kernel_size"),
        (lambda n: nn.Conv2d(2, 2, (3, n)), "Conv2d: kernel_size"),
        (lambda n: nn.Conv2d(2, 2, 3, stride=n), "Conv2d: stride"),
        (lambda n: nn.Conv2d(2, 2, 3, dilation=(n, 1)), "Conv2d: dilation"),
        (lambda n: nn.Conv2d(2, 2, 3, groups=n), "Conv2d: groups"),
        (lambda n: nn.ConvTranspose2d(n, 2, 3), "ConvTranspose2d: in_channels"),
        (lambda n: nn.ConvTranspose2d(2, n, 3), "ConvTranspose2d: out_channels"),
        (lambda n: nn.ConvTranspose2d(2, 2, (n, 3)), "ConvTranspose2d: kernel_size"),
        (lambda n: nn.ConvTranspose2d(2, 2, 3, stride=n), "ConvTranspose2d: stride"),
        (lambda n: nn.ConvTranspose2d(2, 2, 3, dilation=n), "ConvTranspose2d: dilation"),
        (lambda n: nn.ConvTranspose2d(2, 2, 3, groups=n), "ConvTranspose2d: groups"),
        (lambda n: nn.KSparse(n), "KSparse: k"),
        (lambda n: nn.Upsample(n), "Upsample: scale_factor"),
        (lambda n: nn.Upsample((2, n)), "Upsample: scale_factor"),
        (lambda n: nn.MaxPool2d(n), "MaxPool2d: kernel_size"),
        (lambda n: nn.AvgPool2d((n, 2)), "AvgPool2d: kernel_size"),
        (lambda n: nn.RNNCell(n, 2), "RNNCell: input_size"),
        (lambda n: nn.LSTMCell(2, n), "LSTMCell: hidden_size"),
        (lambda n: nn.GRUCell(2, n), "GRUCell: hidden_size"),
        (lambda n: nn.Embedding(n, 2), "Embedding: num_embeddings"),
        (lambda n: nn.Embedding(2, n), "Embedding: embedding_dim"),
    ],
)
def test_sizes(make, name):
    _sizes(make, name)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.Conv2d(3, 4, 3, groups=2), ValueError, "Conv2d: groups = 2 must divide in_channels = 3"),
        (lambda: nn.Conv2d(3, 4, 3, padding="full"), ValueError, "Conv2d: unknown padding 'full'"),
        (lambda: nn.Conv2d(3, 4, 3, padding=-1), ValueError, "Conv2d: padding must be at least 0, got -1"),
        (lambda: nn.Conv2d(3, 4, (3, 3, 3)), ValueError, "Conv2d: kernel_size must be an int or a pair"),
        (lambda: nn.Conv2d(3, 4, 3, bias=1), TypeError, "Conv2d: bias must be True or False, got 1"),
        (lambda: nn.Conv2d(3, 4, 3, fit="no"), ValueError, "Conv2d: unknown fit 'no'"),
        (lambda: nn.Conv2d(3, 4, 3, algorithm="fft"), ValueError, "Conv2d: unknown algorithm 'fft'"),
        (lambda: nn.Conv2d(3, 4, 3, 2), TypeError, "positional argument"),
        (lambda: nn.Linear(3, 4, False), TypeError, "positional argument"),
        (lambda: nn.Linear(3, 4, rng="x"), TypeError, "rng must be a numpy.random.Generator, an int or None"),
        (lambda: nn.MaxPool2d(2, 0), ValueError, "MaxPool2d: stride must be at least 1, got 0"),
        (lambda: nn.MaxPool2d(2, ceil_mode=1), TypeError, "MaxPool2d: ceil_mode must be True or False"),
        (
            lambda: nn.AvgPool2d(2, count_include_pad=0),
            TypeError,
            "AvgPool2d: count_include_pad must be True or",
        ),
        (lambda: nn.Dropout(1.0), ValueError, "Dropout: p must be at least 0 and less than 1, got 1.0"),
        (lambda: nn.Dropout(-0.1), ValueError, "Dropout: p must be at least 0 and less than 1, got -0.1"),
        (lambda: nn.Softmax(axis=1.0), TypeError, "Softmax: axis must be an int, got 1.0"),
        (
            lambda: nn.Sequential(nn.ReLU(), np.tanh),
            TypeError,
            "Sequential: argument 1 must be a Module, got ufunc",
        ),
        (lambda: nn.Flatten()(np.float32(1)), ValueError, "Flatten: x must have a batch axis"),
    ],
)
def test_constructor_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (
            lambda: nn.Conv2d(1, 16, 3)(np.zeros((8, 28, 28, 3))),
            "Conv2d: x has 3 channels (shape (8, 28, 28, 3), NHWC) "
            "but weight expects 1 (shape (16, 3, 3, 1), OHWI)",
        ),
        (
            lambda: nn.Linear(4, 2)(np.zeros((3, 5))),
            "Linear: x has 5 features (shape (3, 5)) but weight expects 4 (shape (2, 4), OI)",
        ),
        (
            lambda: nn.Sequential(nn.Flatten(), nn.Sequential(nn.ReLU(), nn.Linear(4, 2)))(np.zeros((3, 5))),
            "Linear: x has 5 features (shape (3, 5)) but weight expects 4 (shape (2, 4), OI) [layer 1.1]",
        ),
        (
            lambda: nn.Conv2d(1, 1, 3, stride=2, fit="exact")(np.zeros((1, 10, 9, 1))),
            "Conv2d: height 10 does not fit: (H - F + 2P)/S + 1 = (10 - 3 + 0)/2 + 1 = 4.5 is not whole "
            "(fit='exact'); nearest that fit: 9 and 11",
        ),
        (
            lambda: nn.MaxPool2d(2)(np.zeros((4, 4))),
            "MaxPool2d: x must have 4 axes, NHWC, got 2 (shape (4, 4))",
        ),
    ],
)
def test_forward_errors_name_the_layer(run, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        run()
