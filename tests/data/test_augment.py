"""Augmentation against loops over the samples, and from one seed."""

import numpy as np
import pytest

import lamina as lm
from lamina import data, nn, optim

RNG = np.random.default_rng(0)
X = RNG.random((64, 6, 5, 3)).astype(np.float32)
Y = np.arange(64) % 4

ALL = [
    data.Flip(),
    data.Flip(vertical=True),
    data.Shift(2),
    data.Crop((4, 3)),
    data.Rotate(20),
    data.Brightness(0.3),
    data.Contrast(0.3),
    data.Standardise(),
    data.Cutout(3),
    data.Mixup(0.4, classes=4),
    data.Compose(data.Flip(), data.Shift((1, 0)), data.Standardise()),
]


def change(augment, x=X, y=Y, seed=0):
    return augment(x, y, np.random.default_rng(seed))


@pytest.mark.parametrize("augment", ALL, ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_seed_and_nothing_written(augment, dtype):
    x = X.astype(dtype)
    former = x.copy()
    first, again, other = (change(augment, x, seed=seed)[0] for seed in (1, 1, 2))
    assert first.dtype == dtype
    assert len(first) == 64
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(x, former)
    assert first.shape == (64, 4, 3, 3) if isinstance(augment, data.Crop) else first.shape == x.shape
    if not isinstance(augment, data.Standardise):
        assert (first != other).any()
    if not isinstance(augment, data.Mixup):
        assert change(augment, x)[1] is Y


def test_flip():
    x, _ = change(data.Flip())
    same = [np.array_equal(a, b) for a, b in zip(x, X, strict=True)]
    turned = [np.array_equal(a, b[:, ::-1]) for a, b in zip(x, X, strict=True)]
    assert np.logical_xor(same, turned).all()
    assert 20 < sum(same) < 44
    np.testing.assert_array_equal(change(data.Flip(1.0, vertical=True))[0], X[:, ::-1])
    np.testing.assert_array_equal(change(data.Flip(0.0))[0], X)


def shifted(image, down, across):
    found = np.zeros_like(image)
    for i in range(image.shape[0]):
        for j in range(image.shape[1]):
            if 0 <= i - down < image.shape[0] and 0 <= j - across < image.shape[1]:
                found[i, j] = image[i - down, j - across]
    return found


def test_shift_is_one_of_all_shifts_and_each_occurs():
    seen = set()
    for image, moved in zip(X, change(data.Shift((1, 2)))[0], strict=True):
        at = [(d, a) for d in (-1, 0, 1) for a in range(-2, 3) if np.array_equal(moved, shifted(image, d, a))]
        assert len(at) == 1
        seen.update(at)
    assert len(seen) > 12


def test_crop_is_a_window():
    seen = set()
    for image, window in zip(X, change(data.Crop((4, 3)))[0], strict=True):
        at = [
            (i, j) for i in range(3) for j in range(3) if np.array_equal(window, image[i : i + 4, j : j + 3])
        ]
        assert len(at) == 1
        seen.update(at)
    assert len(seen) == 9
    np.testing.assert_array_equal(change(data.Crop((6, 5)))[0], X)
    with pytest.raises(ValueError, match=r"Crop: images of \(6, 5\) are smaller than \(7, 7\)"):
        change(data.Crop(7))


class Fixed:
    """A generator that draws what it is told."""

    def __init__(self, value):
        self.value = value

    def uniform(self, low, high, size):
        return np.full(size, self.value * high)


def test_rotate():
    x = RNG.random((2, 5, 5, 2))
    quarter, _ = data.Rotate(90)(x, None, Fixed(1))
    np.testing.assert_allclose(quarter, np.rot90(x, -1, axes=(1, 2)), atol=1e-12)
    np.testing.assert_allclose(data.Rotate(90)(x, None, Fixed(0))[0], x, atol=1e-12)
    ramp = np.broadcast_to(np.arange(9.0)[None, :, None, None] - 4, (1, 9, 9, 1))
    turned, _ = data.Rotate(30)(ramp, None, Fixed(1))  # bilinear is exact for a plane
    y, z = np.mgrid[:9, :9] - 4
    inner = np.hypot(y, z) < 4
    expected = np.cos(np.pi / 6) * y - np.sin(np.pi / 6) * z
    np.testing.assert_allclose(turned[0, ..., 0][inner], expected[inner], atol=1e-12)
    assert turned[0, 0, 0, 0] == 0  # a corner came from outside
    wide = RNG.random((1, 4, 7, 1))
    np.testing.assert_allclose(data.Rotate(180)(wide, None, Fixed(1))[0], wide[:, ::-1, ::-1], atol=1e-12)


def test_brightness_and_contrast():
    added = change(data.Brightness(0.2))[0] - X
    np.testing.assert_allclose(added, np.broadcast_to(added[:, :1, :1, :1], X.shape), atol=1e-6)
    assert 0.1 < np.abs(added).max() <= 0.2 + 1e-6
    x, _ = change(data.Contrast(0.5))
    np.testing.assert_allclose(x.mean(axis=(1, 2, 3)), X.mean(axis=(1, 2, 3)), rtol=1e-5)
    ratio = x.std(axis=(1, 2, 3)) / X.std(axis=(1, 2, 3))
    assert 0.5 <= ratio.min() < 0.7
    assert 1.3 < ratio.max() <= 1.5


def test_standardise():
    x, _ = change(data.Standardise(), 40 * X + 3)
    np.testing.assert_allclose(x.mean(axis=(1, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(x.std(axis=(1, 2, 3)), 1, rtol=1e-5)
    flat = np.full((1, 4, 4, 1), 0.7)
    np.testing.assert_allclose(change(data.Standardise(), flat)[0], 0, atol=1e-12)


def test_cutout():
    x, _ = change(data.Cutout(3), X + 1)
    hidden = (x == 0).all(axis=3)
    np.testing.assert_array_equal(x[~hidden], (X + 1)[~hidden])
    for hole in hidden:
        rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
        assert 2 <= len(rows) <= 3
        assert 2 <= len(columns) <= 3
        assert hole[np.ix_(rows, columns)].all()
    assert len({hole.tobytes() for hole in hidden}) > 10


def test_mixup():
    x, y = change(data.Mixup(1.0, classes=4))
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-6)
    assert ((y > 0).sum(axis=1) == 2).any()
    # Images whose pixels are their labels' shares tell whether both were mixed alike.
    marked = np.broadcast_to(np.eye(4, dtype=np.float32)[Y][:, None, None], (64, 2, 2, 4))
    x, y = change(data.Mixup(0.5, classes=4), marked)
    np.testing.assert_allclose(x, np.broadcast_to(y[:, None, None], x.shape), rtol=1e-5, atol=1e-6)
    z, t = change(data.Mixup(0.5), marked, marked)
    np.testing.assert_array_equal(z, t)


def test_training_with_mixup_and_the_loss_that_it_names():
    digits = lm.datasets.digits()
    augment = data.Compose(data.Mixup(0.2, classes=10))
    loader = data.Loader(digits.x_train[:600], digits.y_train[:600], batch_size=50, augment=augment)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10, rng=0))
    history = lm.fit(
        model,
        loader,
        loss=lambda y, t: -(lm.log_softmax(y) * t).sum(axis=-1).mean(),
        optimizer=optim.Adam(model.parameters(), 0.02),
        epochs=6,
        seed=0,
        verbose=0,
    )
    assert history["loss"][-1] < history["loss"][0]  # by how much the shares themselves limit
    assert lm.train.accuracy(model.predict(digits.x_test), digits.y_test) > 0.8


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: change(data.Flip(), X[0]), ValueError, r"Flip: x must have 4 axes, NHWC, got 3"),
        (
            lambda: change(data.Brightness(0.1), np.ones((1, 2, 2, 1), np.uint8)),
            TypeError,
            "divide it by 255",
        ),
        (lambda: data.Flip(1.5), ValueError, "Flip: p must be at most 1, got 1.5"),
        (lambda: data.Flip("x"), TypeError, "Flip: p must be a number, got 'x'"),
        (lambda: data.Shift(-1), ValueError, "Shift: pixels must be at least 0, got -1"),
        (lambda: data.Crop(0), ValueError, "Crop: size must be at least 1, got 0"),
        (lambda: data.Cutout(2.5), TypeError, "Cutout: size must be an int, got 2.5"),
        (lambda: data.Contrast(1.1), ValueError, "Contrast: most must be at most 1"),
        (lambda: data.Mixup(0), ValueError, "Mixup: alpha must be above 0"),
        (lambda: change(data.Mixup()), TypeError, r"Mixup: y must be floats, or labels \(N,\) with classes="),
        (lambda: change(data.Mixup(classes=3)), ValueError, "labels run from 0 to 3, expected 0 to 2"),
        (lambda: data.Compose(data.Flip), TypeError, r"Compose: parts\[0\] must be a function"),
    ],
)
def test_refusals(make, error, message):
    with pytest.raises(error, match=message):
        make()
