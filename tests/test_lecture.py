"""The lecture's worked examples, number for number.

Sources: the convolution animation of Stanford's UFLDL tutorial; the convolution demo, the one-dimensional
stride figure, the size rule and the pooling figure of Stanford's CS231n notes.
"""

import re

import numpy as np
import pytest

from lamina import nn, ops

pytestmark = pytest.mark.usefixtures("machine")
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
ALGORITHMS = pytest.mark.parametrize("algorithm", ["auto", "im2col", "direct"])


def _image(rows, dtype):
    """(H,W) -> (1,H,W,1)."""
    return np.array(rows, dtype)[None, :, :, None]


def _kernel(rows, dtype):
    """(KH,KW) -> (1,KH,KW,1)."""
    return _image(rows, dtype)


def _volume(slices, dtype):
    """The slices of a volume, one per channel, each a text of rows -> (H,W,C)."""
    return np.stack([_rows(text) for text in slices], axis=-1).astype(dtype)


def _rows(text):
    return np.array([[int(number) for number in row.split()] for row in text.split(";")])


# Parameters: a feature per connection, or one filter for all places ---------------------------------------


def test_full_connection_needs_921600_weights_and_a_shared_filter_9():
    image = np.zeros((1, 96, 96, 1), np.float32)
    w_full = np.zeros((100, image.size), np.float32)
    w_shared = np.zeros((1, 3, 3, 1), np.float32)
    y_full, _ = ops.linear(image.reshape(1, -1), w_full)
    y_shared, ctx = ops.conv2d(image, w_shared)
    assert y_full.shape == (1, 100)
    assert w_full.size == 921_600
    assert y_shared.shape == (1, 94, 94, 1)
    _, dw, _ = ops.conv2d_backward(y_shared, ctx)
    assert w_shared.size == dw.size == 9


def _blocks(*blocks):
    """Convolutions that keep the size, each followed by relu and, if it names one, a pooling."""
    for inputs, filters, kernel, pool in blocks:
        yield nn.Conv2d(inputs, filters, kernel, padding=kernel // 2)
        yield nn.ReLU()
        if pool is not None:
            yield pool


def _half():
    return nn.MaxPool2d(2)


def _third():
    return nn.MaxPool2d(3, 2, padding="same")


NETS = {
    "first": (32, 31_066, [(3, 12, 3, _half())], [16 * 16 * 12]),
    "tiny_vgg": (
        32,
        6_440,
        [(3 if i == 0 else 10, 10, 3, _half() if i % 2 else None) for i in range(6)],
        [160],
    ),
    "convnetjs_cifar": (32, 22_466, [(3, 16, 5, _half()), (16, 20, 5, _half()), (20, 20, 5, _half())], [320]),
    "convnetjs_mnist": (24, 5_994, [(1, 8, 5, _half()), (8, 16, 5, nn.MaxPool2d(3))], [256]),
    "deep_cnn": (24, 1_068_298, [(3, 64, 5, _third()), (64, 64, 5, _third())], [6 * 6 * 64, 384, 192]),
}


@pytest.mark.parametrize("name", NETS)
def test_parameters_of_the_nets(name):
    side, count, blocks, widths = NETS[name]
    dense = [nn.Linear(n, m) for n, m in zip(widths, [*widths[1:], 10], strict=True)]
    net = nn.Sequential(*_blocks(*blocks), nn.Flatten(), *dense)
    assert sum(p.data.size for p in net.parameters()) == count
    assert net.predict(np.zeros((1, side, side, blocks[0][0]), np.float32)).shape == (1, 10)


def _layers(x, *steps):
    """Shapes (H,W,C) of every volume that the steps pass through."""
    shapes = [x.shape[1:]]
    for step in steps:
        x = step(x)
        shapes.append(x.shape[1:])
    return shapes


def _conv(o, kernel, **options):
    return lambda x: ops.conv2d(x, np.zeros((o, kernel, kernel, x.shape[3]), x.dtype), **options)[0]


def _scores(o):
    return lambda x: _conv(o, x.shape[1])(x)


def _pool(kernel, **options):
    return lambda x: ops.max_pool2d(x, kernel, **options)[0]


def _relu(x):
    return ops.relu(x)[0]


def test_volumes_of_the_first_net():
    """[INPUT - CONV - RELU - POOL - FC] with 12 filters."""
    x = np.zeros((1, 32, 32, 3), np.float32)
    found = _layers(x, _conv(12, 3, padding=1), _relu, _pool(2), _scores(10))
    assert found == [(32, 32, 3), (32, 32, 12), (32, 32, 12), (16, 16, 12), (1, 1, 10)]


def test_volumes_as_the_slide_prints_them():
    x = np.zeros((1, 32, 32, 3), np.float32)
    found = _layers(x, _conv(12, 4, stride=4), _relu, _pool(2, stride=3), _scores(10))
    assert found == [(32, 32, 3), (8, 8, 12), (8, 8, 12), (3, 3, 12), (1, 1, 10)]


def test_volumes_of_the_tensorflow_tutorial():
    x = np.zeros((1, 24, 24, 3), np.float32)
    same_pool = _pool(3, stride=2, padding="same")
    found = _layers(x, _conv(64, 5, padding="same"), same_pool, _conv(64, 5, padding="same"), same_pool)
    assert found == [(24, 24, 3), (24, 24, 64), (12, 12, 64), (12, 12, 64), (6, 6, 64)]


# Convolution --------------------------------------------------------------------------------------------


@DTYPES
@ALGORITHMS
def test_animation(algorithm, dtype):
    x = _image([[1, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 1], [0, 0, 1, 1, 0], [0, 1, 1, 0, 0]], dtype)
    w = _kernel([[1, 0, 1], [0, 1, 0], [1, 0, 1]], dtype)
    y, _ = ops.conv2d(x, w, algorithm=algorithm)
    np.testing.assert_array_equal(y[0, :, :, 0], [[4, 3, 4], [2, 4, 3], [2, 3, 4]])
    # The filter is symmetric: turned by half a circle, as mathematics has it, it gives the same.
    turned, _ = ops.conv2d(x, np.ascontiguousarray(w[:, ::-1, ::-1]), algorithm=algorithm)
    np.testing.assert_array_equal(turned, y)


@DTYPES
@ALGORITHMS
def test_demo_of_two_filters_on_three_channels(algorithm, dtype):
    """5 x 5 x 3 -> 3 x 3 x 2: stride 2, padding 1, biases 1 and 0; all 18 outputs."""
    x = _volume(
        [
            "0 0 1 0 2; 1 0 2 0 1; 1 0 2 2 0; 2 0 0 2 0; 2 1 2 2 0",
            "2 1 2 1 1; 2 1 2 0 1; 0 2 1 0 1; 1 2 2 2 2; 0 1 2 0 1",
            "2 1 1 2 0; 1 0 0 1 0; 0 1 0 0 0; 1 0 2 1 0; 2 2 1 1 1",
        ],
        dtype,
    )
    w0 = _volume(["-1 0 1; 0 0 1; 1 -1 1", "-1 0 1; 1 -1 1; 0 1 0", "-1 1 1; 1 1 0; 0 -1 0"], dtype)
    w1 = _volume(["0 1 -1; 0 -1 0; 0 -1 1", "-1 0 0; 1 -1 0; 1 -1 0", "-1 1 -1; 0 -1 -1; 1 0 0"], dtype)
    y, _ = ops.conv2d(
        x[None],
        np.stack([w0, w1]),
        np.array([1, 0], dtype),
        stride=2,
        padding=1,
        fit="exact",
        algorithm=algorithm,
    )
    assert y.shape == (1, 3, 3, 2)
    np.testing.assert_array_equal(y[0, :, :, 0], [[2, 3, 3], [3, 7, 3], [8, 10, -3]])
    np.testing.assert_array_equal(y[0, :, :, 1], [[-8, -8, -3], [-3, 1, 0], [-3, -8, -5]])


@DTYPES
@ALGORITHMS
def test_strides_of_the_line(algorithm, dtype):
    x = _image([[1, 2, -1, 1, -3]], dtype)
    w = _kernel([[1, 0, -1]], dtype)

    def with_stride(s):
        y, _ = ops.conv2d(x, w, stride=(1, s), padding=(0, 1), fit="exact", algorithm=algorithm)
        return y.ravel()

    np.testing.assert_array_equal(with_stride(1), [-2, 2, 1, 2, 1])
    np.testing.assert_array_equal(with_stride(2), [-2, 1, 1])
    with pytest.raises(ValueError, match=re.escape("(5 - 3 + 2)/3 + 1 = 2.33333 is not whole")):
        with_stride(3)


@pytest.mark.parametrize(
    ("size", "channels", "kernel", "options", "out"),
    [
        (7, 1, 3, {"stride": 1}, 5),
        (7, 1, 3, {"stride": 2}, 3),
        (227, 3, 11, {"stride": 4}, 55),
        (11, 4, 5, {"stride": 2}, 4),
        (5, 1, 3, {"padding": 1}, 5),
    ],
)
def test_size_rule(size, channels, kernel, options, out):
    """(W - F + 2P)/S + 1."""
    x, w = (
        np.zeros((1, size, size, channels), np.float32),
        np.zeros((2, kernel, kernel, channels), np.float32),
    )
    y, _ = ops.conv2d(x, w, fit="exact", **options)
    assert y.shape == (1, out, out, 2)


def test_a_stride_that_does_not_fit_is_refused():
    x, w = np.zeros((1, 10, 10, 1), np.float32), np.zeros((1, 3, 3, 1), np.float32)
    message = (
        "(H - F + 2P)/S + 1 = (10 - 3 + 0)/2 + 1 = 4.5 is not whole (fit='exact'); nearest that fit: 9 and 11"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        ops.conv2d(x, w, stride=2, fit="exact")
    assert ops.conv2d(x, w, stride=2)[0].shape == (1, 4, 4, 1)


@DTYPES
@ALGORITHMS
def test_a_full_connection_is_a_convolution_over_the_whole_image(algorithm, dtype):
    """And on a larger image that convolution gives the scores of every crop at once."""
    rng = np.random.default_rng(0)
    crop, channels, classes, stride = 4, 3, 5, 2
    x = rng.integers(-3, 4, (1, 8, 8, channels)).astype(dtype)
    w = rng.integers(-3, 4, (classes, crop, crop, channels)).astype(dtype)
    scores, _ = ops.conv2d(x, w, stride=stride, fit="exact", algorithm=algorithm)
    assert scores.shape == (1, 3, 3, classes)
    for i in range(3):
        for j in range(3):
            rows, columns = slice(stride * i, stride * i + crop), slice(stride * j, stride * j + crop)
            full, _ = ops.linear(x[:, rows, columns].reshape(1, -1), w.reshape(classes, -1))
            np.testing.assert_array_equal(scores[0, i, j], full[0])


# Pooling ------------------------------------------------------------------------------------------------

FIGURE = [[1, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]]


@DTYPES
def test_max_pooling_figure(dtype):
    y, ctx = ops.max_pool2d(_image(FIGURE, dtype), 2)
    np.testing.assert_array_equal(y[0, :, :, 0], [[6, 8], [3, 4]])
    dx = ops.max_pool2d_backward(_image([[1, 2], [3, 4]], dtype), ctx)
    np.testing.assert_array_equal(dx[0, :, :, 0], [[0, 0, 0, 0], [0, 1, 0, 2], [3, 0, 0, 0], [0, 0, 0, 4]])


@DTYPES
def test_mean_pooling_of_the_same_figure(dtype):
    y, ctx = ops.avg_pool2d(_image(FIGURE, dtype), 2)
    np.testing.assert_array_equal(y[0, :, :, 0], [[3.25, 5.25], [2, 2]])
    dx = ops.avg_pool2d_backward(_image([[4, 8], [12, 16]], dtype), ctx)
    np.testing.assert_array_equal(dx[0, :, :, 0], np.repeat(np.repeat([[1, 2], [3, 4]], 2, 0), 2, 1))


def test_pooling_halves_the_large_volume_and_keeps_its_depth():
    y, _ = ops.max_pool2d(np.zeros((1, 224, 224, 64), np.float32), 2)
    assert y.shape == (1, 112, 112, 64)
