"""Patches, contrast and whitening of images."""

import sys

import numpy as np
import pytest

from lamina import datasets, image


def _rng(seed=0):
    return np.random.default_rng(seed)


# patches -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [(3, 12, 9), (3, 12, 9, 2)])
def test_patches_come_from_every_image_and_place(shape):
    """Each pixel says where it is, so each patch does."""
    images = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    patches = image.random_patches(images, 4000, (5, 4), rng=0)
    assert patches.shape == (4000, 5, 4, *shape[3:])
    firsts = set()
    for patch in patches:
        which, top, left = np.unravel_index(int(patch.flat[0]), shape)[:3]
        np.testing.assert_array_equal(patch, images[which, top : top + 5, left : left + 4])
        firsts.add((which, top, left))
    assert len(firsts) == 3 * 8 * 6


def test_patches_of_images_of_several_sizes():
    images = [np.zeros((8, 20), np.uint8), np.full((9, 8), 200, np.uint8)]
    patches = image.random_patches(images, 50, 8, rng=0)
    assert patches.dtype == np.float32
    assert set(np.unique(patches)) == {0, 200}
    again = image.random_patches(images, 50, 8, rng=0)
    np.testing.assert_array_equal(patches, again)


@pytest.mark.parametrize(
    ("images", "size", "message"),
    [
        (np.zeros((2, 7, 9)), 8, r"patches of 8x8 are larger than images\[0\], 7x9"),
        ([np.zeros((9, 9)), np.zeros((9, 7))], 8, r"patches of 8x8 are larger than images\[1\], 9x7"),
        (np.zeros((9, 9)), 8, r"images has shape \(9, 9\), expected \(N, H, W\) or \(N, H, W, C\)"),
        ([], 8, "there are no images"),
        ([np.zeros((9, 9, 3)), np.zeros((9, 9))], 8, r"images\[1\] is \(9, 9\) float64, which does not go"),
        (np.zeros((1, 9, 9)), 0, "size must be at least 1"),
        (np.full((1, 9, 9), np.nan), 8, r"images must be finite, but is nan at \(0, 0, 0\)"),
    ],
)
def test_random_patches_refuse(images, size, message):
    with pytest.raises(ValueError, match=f"random_patches: {message}"):
        image.random_patches(images, 3, size)


def test_the_mean_of_each_patch_goes():
    x = _rng().random((5, 4, 4, 3)) + np.arange(5).reshape(5, 1, 1, 1)
    y = image.remove_mean(x)
    np.testing.assert_allclose(y.mean(axis=(1, 2, 3)), 0, atol=1e-14)
    np.testing.assert_allclose(y - y[:, :1, :1, :1], x - x[:, :1, :1, :1], atol=1e-14)


def test_normalization_is_that_of_the_notes():
    x = _rng().standard_normal((200, 6, 6)) * 5 + _rng(1).standard_normal((200, 1, 1)) * 100
    x[0, 0, 0] += 400
    y = image.normalize_patches(x)
    centered = x - x.mean(axis=(1, 2), keepdims=True)
    limit = 3 * centered.std()
    expected = (np.maximum(np.minimum(centered, limit), -limit) / limit + 1) * 0.4 + 0.1
    np.testing.assert_allclose(y, expected, atol=1e-12)
    assert y.max() == pytest.approx(0.9)
    assert image.normalize_patches(x.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("value", [0, 1 / 3, 255, 1e20])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constant_patches_are_in_the_middle(value, dtype):
    np.testing.assert_array_equal(image.normalize_patches(np.full((3, 7, 7), value, dtype)), dtype(0.5))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"deviations": 0}, "deviations must be above 0"), ({"low": 0.9, "high": 0.9}, "low must be less than")],
)
def test_normalize_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        image.normalize_patches(np.zeros((1, 2, 2)), **options)


@pytest.mark.parametrize("function", [image.remove_mean, image.normalize_patches])
def test_patches_that_are_not_finite(function):
    x = np.zeros((2, 3, 3), np.float32)
    x[1, 2, 0] = np.inf
    with pytest.raises(ValueError, match=r"patches must be finite, but is inf at \(1, 2, 0\)"):
        function(x)
    with pytest.raises(TypeError, match="patches must be real numbers, got complex128"):
        function(np.zeros((2, 3, 3), complex))


# whitening -----------------------------------------------------------------------------------------------
def _correlated(dtype=np.float64, count=500, width=12):
    rng = _rng()
    return (rng.standard_normal((count, width)) @ rng.standard_normal((width, width)) + 7).astype(dtype)


@pytest.mark.parametrize("kind", [image.PCAWhitening, image.ZCAWhitening])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whitened_data_have_the_identity_as_covariance(kind, dtype):
    x = _correlated(dtype)
    whitening = kind().fit(x)
    y = whitening.transform(x)
    assert y.dtype == dtype
    tolerance = 1e-3 if dtype == np.float32 else 1e-9
    np.testing.assert_allclose(y.T @ y / len(y), np.eye(12), atol=tolerance)
    np.testing.assert_allclose(whitening.inverse(y), x, atol=tolerance)


def test_zca_is_the_whitening_that_changes_least():
    x = _correlated()
    pca, zca = image.PCAWhitening().fit(x), image.ZCAWhitening().fit(x)
    y, centered = zca.transform(x), x - x.mean(axis=0)
    # The symmetric root of the inverse covariance, by another way: Denman and Beavers' iteration.
    root, inverse = centered.T @ centered / len(x), np.eye(12)
    for _ in range(60):
        root, inverse = (root + np.linalg.inv(inverse)) / 2, (inverse + np.linalg.inv(root)) / 2
    np.testing.assert_allclose(y, centered @ inverse, atol=1e-8)
    assert ((y - centered) ** 2).sum() < ((pca.transform(x) - centered) ** 2).sum()


def test_principal_axes():
    x = _correlated()
    pca = image.PCAWhitening(components=3).fit(x)
    _, s, v = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(pca.variances, s[:3] ** 2 / len(x))
    np.testing.assert_allclose(np.abs(np.sum(pca.axes.T * v[:3], axis=1)), 1)
    assert (pca.axes[np.abs(pca.axes).argmax(axis=0), range(3)] > 0).all()
    assert pca.transform(x).shape == (500, 3)
    lost = ((x - pca.inverse(pca.transform(x))) ** 2).sum()
    np.testing.assert_allclose(lost, (s[3:] ** 2).sum())


def test_a_share_of_the_variance():
    x = _rng().standard_normal((4000, 4)) * [8, 4, 2, 1]  # shares 75, 19, 5, 1 %
    found = [len(image.PCAWhitening(components=share).fit(x).variances) for share in (0.5, 0.9, 0.98, 0.9999)]
    assert found == [1, 2, 3, 4]


def test_epsilon_damps_what_is_small():
    x = _rng().standard_normal((1000, 2)) * [10, 0.01]
    y = image.PCAWhitening(epsilon=0.01).fit(x).transform(x)
    np.testing.assert_allclose(y.std(axis=0), [1, 0.1], rtol=0.05)


@pytest.mark.parametrize("kind", [image.PCAWhitening, image.ZCAWhitening])
@pytest.mark.parametrize("epsilon", [0.0, 1e-5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constant_pixels(kind, epsilon, dtype):
    """As at the border of digits: they come out as 0, and back as they were; the others are whitened."""
    x = _correlated(dtype).reshape(500, 3, 4)
    x[:, 0, 1], x[:, 2, 3] = 0, 1 / 3
    whitening = kind(epsilon=epsilon).fit(x)
    y = whitening.transform(x)
    covariance = y.reshape(500, 12).T @ y.reshape(500, 12) / 500
    expected = np.sort(np.linalg.eigvalsh(covariance))
    np.testing.assert_allclose(expected, [0] * 2 + [1] * 10, atol=2e-3)
    np.testing.assert_allclose(whitening.inverse(y).reshape(x.shape), x, atol=1e-3)
    if kind is image.ZCAWhitening:
        assert y.shape == x.shape
        np.testing.assert_allclose(y[:, [0, 2], [1, 3]], 0, atol=1e-5)


def test_fewer_samples_than_features():
    x = _rng().standard_normal((5, 40))
    y = image.PCAWhitening().fit(x).transform(x)
    assert np.isfinite(y).all()
    np.testing.assert_allclose((y * y).mean(axis=0), [1] * 4 + [0] * 36, atol=1e-9)


@pytest.mark.parametrize("kind", [image.PCAWhitening, image.ZCAWhitening])
@pytest.mark.parametrize(
    ("use", "error", "message"),
    [
        (lambda w: w().transform(np.zeros((2, 3))), RuntimeError, "call fit first"),
        (lambda w: w().fit(np.zeros((1, 3))), ValueError, "one sample has no variance"),
        (lambda w: w().fit(np.full((9, 3), 0.1)), ValueError, "all samples of x are equal"),
        (lambda w: w().fit(np.zeros(3)), ValueError, r"x has shape \(3,\), expected \(N, \.\.\.\)"),
        (lambda w: w().fit([[1, np.nan], [0, 1]]), ValueError, r"must be finite, but is nan at \(0, 1\)"),
        (lambda w: w(components=4).fit(np.eye(3)), ValueError, "4 components of x with 3 features"),
        (lambda w: w(components=np.int64(4)).fit(np.eye(3)), ValueError, "4 components of x with 3"),
        (lambda w: w().fit(np.eye(3)).transform(np.eye(4)), ValueError, "x has 4 features .*but fit saw 3"),
        (lambda w: w().fit(np.eye(3)).inverse(np.eye(4)), ValueError, "4 (features|components)"),
        (lambda w: w(components=0), ValueError, "components must be at least 1"),
        (lambda w: w(components=1.0), ValueError, r"share must lie in \(0, 1\), got 1.0"),
        (lambda w: w(components=True), TypeError, "components must be an int"),
        (lambda w: w(epsilon=-1), ValueError, "epsilon must be"),
    ],
)
def test_whitening_refuses(kind, use, error, message):
    with pytest.raises(error, match=f"{kind.__name__}: .*{message}"):
        use(kind)


# whole images --------------------------------------------------------------------------------------------
def test_local_contrast_by_its_definition():
    x = _rng().random((2, 15, 13, 2))
    taps = np.exp(-0.5 * ((np.arange(5) - 2) / 1.25) ** 2)

    def around(values, row, column):
        total = weight = 0
        for i in range(-2, 3):
            for j in range(-2, 3):
                if 0 <= row + i < 15 and 0 <= column + j < 13:
                    w = taps[i + 2] * taps[j + 2]
                    total, weight = total + w * values[row + i, column + j].mean(), weight + w
        return total / weight

    places = [(i, j) for i in range(15) for j in range(13)]
    for given, found in zip(x, image.local_contrast(x, 5), strict=True):
        rest = given - np.array([around(given, *p) for p in places]).reshape(15, 13, 1)
        deviation = np.sqrt([around(rest**2, *p) for p in places]).reshape(15, 13, 1)
        np.testing.assert_allclose(found, rest / np.maximum(deviation, deviation.mean()), atol=1e-12)


def test_local_contrast_sees_neither_brightness_nor_contrast():
    x = _rng().standard_normal((1, 40, 40))
    np.testing.assert_allclose(image.local_contrast(7 + 100 * x), image.local_contrast(x), atol=1e-12)


@pytest.mark.parametrize("value", [0, 1 / 3, 200, 1e18])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("function", [image.local_contrast, image.whiten_spectrum])
def test_constant_images_are_0(function, value, dtype):
    x = np.full((2, 21, 30), value, dtype)
    found = function(x)
    assert found.dtype == dtype
    assert not found.any()


def test_one_constant_image_among_others():
    x = _rng().random((2, 20, 20))
    x[0] = 0.7
    for function in (image.local_contrast, image.whiten_spectrum):
        found = function(x)
        np.testing.assert_allclose(found[0], 0, atol=1e-12)
        assert found[1].std() > 0.5


@pytest.mark.parametrize("shape", [(4, 96, 128), (4, 96, 128, 3)])
def test_a_spectrum_of_1_over_f_becomes_flat(shape):
    rng = _rng()
    f = np.hypot(np.fft.fftfreq(96)[:, None], np.fft.fftfreq(128)).reshape(
        1, 96, 128, *[1] * (len(shape) - 3)
    )
    noise = np.fft.fft2(rng.standard_normal(shape), axes=(1, 2))
    x = np.fft.ifft2(noise / np.maximum(f, 1e-3), axes=(1, 2)).real + 5
    y = image.whiten_spectrum(x)
    np.testing.assert_allclose(y.std(), 1)
    np.testing.assert_allclose(y.mean(axis=(1, 2)), 0, atol=1e-10)
    power = (np.abs(np.fft.fft2(y, axes=(1, 2))) ** 2).mean(axis=0).reshape(96, 128, -1).mean(axis=-1)
    f = f.reshape(96, 128)
    rings = [power[(f > low) & (f <= low + 0.05)].mean() for low in (0.02, 0.07, 0.12, 0.17)]
    assert max(rings) < 1.3 * min(rings)
    assert power[f > 0.55].mean() < 0.01 * min(rings)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: image.local_contrast(np.zeros((1, 9, 9)), 4), "local_contrast: size must be odd, got 4"),
        (lambda: image.local_contrast(np.zeros((9, 9))), r"shape \(9, 9\), expected \(N, H, W\)"),
        (lambda: image.local_contrast(np.full((1, 9, 9), np.inf)), r"is inf at \(0, 0, 0\)"),
        (lambda: image.whiten_spectrum(np.full((1, 9, 9), np.nan)), r"is nan at \(0, 0, 0\)"),
        (lambda: image.whiten_spectrum(np.zeros((1, 9, 9)), cutoff=0), "cutoff must be above 0"),
        (lambda: image.whiten_spectrum(np.zeros((1, 0, 9))), "none of them 0"),
        (lambda: image.dead_leaves(1, smallest=5, largest=5), "0 < smallest < largest, got 5 and 5"),
        (lambda: image.dead_leaves(0), "count must be at least 1"),
    ],
)
def test_images_refused(use, message):
    with pytest.raises(ValueError, match=message):
        use()


def test_dead_leaves_have_edges_and_a_falling_spectrum():
    x = image.dead_leaves(6, 96, rng=0)
    assert x.shape == (6, 96, 96)
    assert x.dtype == np.float32
    assert 0 <= x.min() < x.max() <= 1
    flat = (np.diff(x, axis=1) == 0).mean()
    assert 0.5 < flat < 0.99
    power = (np.abs(np.fft.fft2(x - x.mean())) ** 2).mean(axis=0)
    f = np.hypot(np.fft.fftfreq(96)[:, None], np.fft.fftfreq(96))
    inside = (f > 0.02) & (f < 0.4)
    slope = np.polyfit(np.log(f[inside]), np.log(power[inside]), 1)[0]
    assert -3 < slope < -1.5  # of the power; natural images have about -2
    np.testing.assert_array_equal(x, image.dead_leaves(6, 96, rng=0))


def test_photographs(monkeypatch):
    pytest.importorskip("sklearn")
    x = datasets.photographs()
    assert x.shape == (2, 427, 640, 3)
    assert x.dtype == np.float32
    assert 0 <= x.min() < 0.05 < 0.95 < x.max() <= 1
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r'pip install "lamina\[photographs\]"'):
        datasets.photographs()
