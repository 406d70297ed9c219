"""KSparse, ConvTranspose2d, Upsample and unpooling: values, the way there and back, errors."""

import re

import numpy as np
import pytest

import lamina as lm
from lamina import nn, ops
from lamina.testing import check_gradients

RNG = np.random.default_rng(12)
IMAGE = RNG.normal(size=(3, 6, 8, 4)).astype(np.float32)


# k-sparse ---------------------------------------------------------------------------------------------
def test_k_sparse_keeps_k_of_each_row_and_sends_the_gradient_there():
    x = lm.Tensor(RNG.normal(size=(2, 3, 40)).astype(np.float32), requires_grad=True)
    y = nn.KSparse(7)(x)
    assert (np.count_nonzero(y.data, axis=-1) == 7).all()
    lowest = np.sort(x.data, axis=-1)[..., -7, None]
    np.testing.assert_array_equal(y.data, np.where(x.data >= lowest, x.data, 0))
    (y * 3).sum().backward()
    np.testing.assert_array_equal(x.grad, np.where(y.data != 0, 3, 0))


def test_k_sparse_keeps_more_in_evaluation():
    x = RNG.normal(size=(5, 40))
    for k, alpha, kept in [(7, 1.0, 7), (20, 1.15, 23), (4, 3.0, 12), (30, 2.0, 40)]:
        layer = nn.KSparse(k, alpha=alpha)
        assert (np.count_nonzero(layer(x).data, axis=1) == k).all()
        layer.eval()
        assert (np.count_nonzero(layer(x).data, axis=1) == kept).all()


def test_k_sparse_keeps_negative_units_and_the_first_of_equals():
    np.testing.assert_array_equal(nn.KSparse(2)(-np.arange(1.0, 6)).data, [-1, -2, 0, 0, 0])
    np.testing.assert_array_equal(nn.KSparse(2)(np.ones((1, 5))).data, [[1, 1, 0, 0, 0]])


def test_k_sparse_errors():
    with pytest.raises(ValueError, match=r"KSparse: k = 6 is more than the units of x, shape \(3, 5\)"):
        nn.KSparse(6)(np.ones((3, 5)))
    with pytest.raises(ValueError, match=r"KSparse: k = 1 is more than the units of x, shape \(\)"):
        nn.KSparse(1)(np.float32(1))
    for alpha in (0.5, np.nan, np.inf, -1):
        with pytest.raises(ValueError, match="KSparse: alpha must be"):
            nn.KSparse(2, alpha=alpha)
    with pytest.raises(TypeError, match="KSparse: alpha must be a number, got '2'"):
        nn.KSparse(2, alpha="2")


# transposed convolution -------------------------------------------------------------------------------
def test_transposed_convolution_passes_its_options_on():
    options = {"stride": (2, 3), "padding": ((1, 0), (0, 1)), "output_padding": (1, 2), "dilation": (1, 2)}
    layer = nn.ConvTranspose2d(4, 6, (3, 2), groups=2, **options)
    right, _ = ops.conv_transpose2d(IMAGE, layer.weight.data, layer.bias.data, groups=2, **options)
    np.testing.assert_array_equal(layer(IMAGE).data, right)
    assert layer.weight.shape == (4, 3, 2, 3)
    assert nn.ConvTranspose2d(4, 6, 3, bias=False).bias is None


@pytest.mark.parametrize("algorithm", ["im2col", "direct"])
def test_algorithms_agree(algorithm):
    layer = nn.ConvTranspose2d(4, 5, 3, stride=2, padding=1)
    other = nn.ConvTranspose2d(4, 5, 3, stride=2, padding=1, algorithm=algorithm)
    other.load_state_dict(layer.state_dict())
    np.testing.assert_allclose(other(IMAGE).data, layer(IMAGE).data, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "output_padding"),
    [
        ({"stride": 2, "padding": 1}, (1, 1)),
        ({"stride": 2, "padding": "same"}, 0),
        ({"stride": (3, 2)}, (0, 1)),
        ({"dilation": 2, "padding": "valid"}, 0),
        ({"stride": 3, "padding": ((0, 1), (2, 0))}, (1, 1)),
    ],
)
def test_it_gives_images_their_size_back(options, output_padding):
    there = nn.Conv2d(4, 7, 3, **options)
    back = nn.ConvTranspose2d(7, 4, 3, output_padding=output_padding, **options)
    assert back(there(IMAGE)).shape == IMAGE.shape


def test_multiply_adds_are_those_of_the_convolution_backwards():
    found = nn.ConvTranspose2d(3, 5, (2, 3), stride=2).summary((4, 6, 3))
    assert "ConvTranspose2d" in str(found)
    assert nn.ConvTranspose2d(3, 5, (2, 3)).multiply_adds((4, 6, 3), (5, 8, 5)) == 4 * 6 * 3 * 2 * 3 * 5
    assert nn.ConvTranspose2d(4, 6, 3, groups=2).multiply_adds((2, 2, 4), (4, 4, 6)) == 2 * 2 * 4 * 9 * 3


def test_input_without_gradient_costs_none():
    y = nn.ConvTranspose2d(4, 2, 3)(IMAGE)
    node = y._edge[0]
    assert node.args == (False,)
    dx, _, _ = ops.conv_transpose2d_backward(np.ones_like(y.data), node.ctx, *node.args)
    assert dx is None


# upsampling and unpooling -----------------------------------------------------------------------------
def test_upsampling():
    x = np.array([[0, 4], [8, 12]], np.float32)[None, :, :, None]
    np.testing.assert_array_equal(nn.Upsample((1, 2))(x).data[0, :, :, 0], [[0, 0, 4, 4], [8, 8, 12, 12]])
    y = nn.Upsample(2, mode="bilinear")(x).data[0, :, :, 0]
    np.testing.assert_array_equal(y, [[0, 1, 3, 4], [2, 3, 5, 6], [6, 7, 9, 10], [8, 9, 11, 12]])


def test_unpooling_puts_pixels_where_the_maxima_stood():
    x = lm.Tensor(IMAGE, requires_grad=True)
    y, switches = nn.MaxPool2d(2, return_indices=True)(x)
    np.testing.assert_array_equal(y.data, nn.MaxPool2d(2)(IMAGE).data)
    back = nn.MaxUnpool2d()(y * 2, switches)
    assert back.shape == IMAGE.shape
    assert np.count_nonzero(back.data) == y.size
    np.testing.assert_array_equal(back.data, np.where(back.data != 0, 2 * IMAGE, 0))
    back.sum().backward()
    np.testing.assert_array_equal(x.grad, np.where(back.data != 0, 2, 0))


@pytest.mark.parametrize("options", [{}, {"padding": 1}, {"ceil_mode": True}], ids=str)
def test_gradients_of_pooling_and_unpooling(options):
    pool, unpool = nn.MaxPool2d(3, 2, return_indices=True, **options), nn.MaxUnpool2d()

    def f(x):
        y, switches = pool(x)
        return unpool(y * y, switches)

    check_gradients(f, RNG.permutation(2 * 6 * 7 * 3).reshape(2, 6, 7, 3) / 25)


def test_an_autoencoder_of_pooling_and_unpooling_is_a_module():
    class Net(nn.Module):
        def __init__(self):
            self.there = nn.Conv2d(1, 4, 3, padding=1, rng=0)
            self.pool = nn.MaxPool2d(2, return_indices=True)
            self.unpool = nn.MaxUnpool2d()
            self.back = nn.ConvTranspose2d(4, 1, 3, padding=1, rng=0)

        def forward(self, x):
            y, switches = self.pool(lm.relu(self.there(x)))
            return self.back(self.unpool(y, switches))

    x = RNG.random((9, 6, 6, 1)).astype(np.float32)
    model = Net()
    np.testing.assert_allclose(model.predict(x, batch_size=4), model(x).data, atol=1e-6)
    optimizer = lm.optim.Adam(model.parameters(), 0.01)
    losses = []
    for _ in range(60):
        loss = ((model(x) - x) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


# errors -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: nn.ConvTranspose2d(3, 4, 3, groups=2),
            ValueError,
            "ConvTranspose2d: groups = 2 must divide in_channels = 3 and out_channels = 4",
        ),
        (
            lambda: nn.ConvTranspose2d(3, 4, 3, padding="full"),
            ValueError,
            "ConvTranspose2d: unknown padding 'full'",
        ),
        (
            lambda: nn.ConvTranspose2d(3, 4, 3, padding=-1),
            ValueError,
            "ConvTranspose2d: padding must be at least 0, got -1",
        ),
        (
            lambda: nn.ConvTranspose2d(3, 4, 3, output_padding=1),
            ValueError,
            "ConvTranspose2d: output_padding (1, 1) must be less than the stride (1, 1)",
        ),
        (
            lambda: nn.ConvTranspose2d(3, 4, 3, stride=2, padding="same", output_padding=1),
            ValueError,
            "ConvTranspose2d: padding 'same' leaves no choice: output_padding must be 0, got (1, 1)",
        ),
        (
            lambda: nn.ConvTranspose2d(3, 4, 3, bias=1),
            TypeError,
            "ConvTranspose2d: bias must be True or False, got 1",
        ),
        (
            lambda: nn.ConvTranspose2d(3, 4, 3, algorithm="fft"),
            ValueError,
            "ConvTranspose2d: unknown algorithm 'fft'",
        ),
        (lambda: nn.ConvTranspose2d(3, 4, 3, 2), TypeError, "positional argument"),
        (lambda: nn.Upsample(2, mode="cubic"), ValueError, "Upsample: unknown mode 'cubic'"),
        (
            lambda: nn.MaxPool2d(2, return_indices=1),
            TypeError,
            "MaxPool2d: return_indices must be True or False, got 1",
        ),
        (
            lambda: nn.ConvTranspose2d(3, 4, 3)(IMAGE),
            ValueError,
            "ConvTranspose2d: x has 4 channels (shape (3, 6, 8, 4), NHWC) but weight expects 3 "
            "(shape (3, 3, 3, 4), CHWO)",
        ),
        (
            lambda: nn.Sequential(nn.ConvTranspose2d(4, 4, 1, padding=3))(IMAGE[:, :, :5]),
            ValueError,
            "ConvTranspose2d: padding 3 leaves nothing of the 6 x 5 pixels that the kernel 1 x 1 makes of "
            "6 x 5 (H x W) [layer 0]",
        ),
        (
            lambda: nn.Upsample(2)(np.ones((3, 3))),
            ValueError,
            "Upsample: x must have 4 axes, NHWC, got 2 (shape (3, 3))",
        ),
        (
            lambda: nn.MaxUnpool2d()(IMAGE, IMAGE),
            TypeError,
            "MaxUnpool2d: switches must be the context of max_pool2d, got ndarray",
        ),
        (
            lambda: nn.MaxUnpool2d()(IMAGE, nn.MaxPool2d(2, return_indices=True)(IMAGE)[1]),
            ValueError,
            "MaxUnpool2d: x must have shape (3, 3, 4, 4), that of what was pooled, got (3, 6, 8, 4)",
        ),
        (
            lambda: nn.MaxPool2d(2, return_indices=True).predict(IMAGE),
            TypeError,
            "predict: MaxPool2d must return one tensor with 3 rows for 3 samples, got tuple",
        ),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=re.escape(message)):
        make()
