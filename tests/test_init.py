"""Initial values: their spread, their generators, their refusals."""

import math

import numpy as np
import pytest

import lamina as lm
from lamina import init

DENSE, CONV = (300, 500), (40, 5, 5, 30)


def test_fans():
    assert init.fans((7, 3)) == (3, 7)
    assert init.fans((8, 3, 5, 4)) == (60, 120)


@pytest.mark.parametrize("shape", [DENSE, CONV])
@pytest.mark.parametrize(
    ("name", "std"),
    [
        ("glorot_uniform", lambda i, o: math.sqrt(2 / (i + o))),
        ("glorot_normal", lambda i, o: math.sqrt(2 / (i + o))),
        ("he_uniform", lambda i, o: math.sqrt(2 / i)),
        ("he_normal", lambda i, o: math.sqrt(2 / i)),
    ],
)
def test_spread(name, std, shape):
    values = getattr(init, name)(shape, rng=0)
    expected = std(*init.fans(shape))
    assert values.dtype == np.float32
    assert values.std() == pytest.approx(expected, rel=0.02)
    assert abs(values.mean()) < 0.02 * expected
    if name.endswith("uniform"):
        bound = expected * math.sqrt(3)
        assert 0.999 * bound < np.abs(values).max() <= np.float32(bound)
    doubled = getattr(init, name)(shape, rng=0, gain=2 * (math.sqrt(2) if name.startswith("he") else 1))
    np.testing.assert_allclose(doubled, 2 * values, rtol=1e-6)


def test_uniform_normal_zeros_constant():
    values = init.uniform((100, 100), -1, 3, rng=0, dtype=np.float64)
    assert values.dtype == np.float64
    assert values.min() >= -1
    assert values.max() < 3
    assert values.mean() == pytest.approx(1, abs=0.05)
    values = init.normal(10_000, 2, 0.5, rng=0)
    assert values.mean() == pytest.approx(2, abs=0.02)
    assert values.std() == pytest.approx(0.5, abs=0.02)
    np.testing.assert_array_equal(init.zeros((2, 3)), np.zeros((2, 3), np.float32))
    np.testing.assert_array_equal(init.constant(3, 0.5, dtype=np.float64), [0.5] * 3)


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3), (5, 2, 2, 3), (20, 1, 2, 3)])
def test_orthogonal(shape):
    matrix = init.orthogonal(shape, gain=2, rng=0, dtype=np.float64).reshape(shape[0], -1)
    product = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-12)


def test_orthogonal_favours_no_direction():
    """QR alone would give a diagonal of one sign."""
    signs = [np.sign(init.orthogonal((3, 3), rng=seed)[0, 0]) for seed in range(200)]
    assert 60 < sum(s > 0 for s in signs) < 140


def test_generators():
    rng = np.random.default_rng(7)
    first, second = init.normal(5, rng=rng), init.normal(5, rng=rng)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(init.normal(5, rng=7), first)
    lm.manual_seed(7)
    np.testing.assert_array_equal(init.normal(5), first)
    np.testing.assert_array_equal(init.normal(5), second)


@pytest.mark.parametrize("wrong", ["seed", 1.5, True, np.random])
def test_generators_of_other_kinds_are_refused(wrong):
    with pytest.raises(TypeError, match=r"rng must be a numpy\.random\.Generator, an int or None"):
        init.normal(5, rng=wrong)


@pytest.mark.parametrize("shape", [5, (5,), (), (0, 3), (3, 0, 1, 1)])
@pytest.mark.parametrize("name", ["glorot_uniform", "he_normal", "orthogonal"])
def test_shapes_without_fans_are_refused(name, shape):
    with pytest.raises(ValueError, match="has no fan-in and fan-out"):
        getattr(init, name)(shape)


def test_bounds_are_checked():
    with pytest.raises(ValueError, match=r"init\.uniform: expected low <= high, got low 1 and high 0"):
        init.uniform(3, 1, 0)
    with pytest.raises(ValueError, match=r"init\.uniform: high must be finite, got inf"):
        init.uniform(3, 0, math.inf)
    with pytest.raises(ValueError, match=r"init\.normal: std must be at least 0, got -1"):
        init.normal(3, 0, -1)


CALLS = {
    "zeros": lambda **more: init.zeros((3, 4), **more),
    "constant": lambda **more: init.constant((3, 4), more.pop("gain", 2.0), **more),
    "uniform": lambda **more: init.uniform((3, 4), 1, 2, **more),
    "normal": lambda **more: init.normal((3, 4), 5, **more),
    "glorot_uniform": lambda **more: init.glorot_uniform((3, 4), **more),
    "glorot_normal": lambda **more: init.glorot_normal((3, 4), **more),
    "he_uniform": lambda **more: init.he_uniform((3, 4), **more),
    "he_normal": lambda **more: init.he_normal((3, 4), **more),
    "orthogonal": lambda **more: init.orthogonal((3, 4), **more),
}


@pytest.mark.parametrize("dtype", [int, "int8", bool, np.float16, np.longdouble, complex, object, ">f4"])
@pytest.mark.parametrize("name", CALLS)
def test_other_dtypes_are_refused(name, dtype):
    """Cast to integers, an orthogonal matrix is all zeros."""
    if np.dtype(dtype) == np.float64:
        pytest.skip("a long double is a double here")
    lm.manual_seed(3)
    with pytest.raises(TypeError, match=rf"init\.{name}: dtype must be float32 or float64, got "):
        CALLS[name](dtype=dtype)
    drawn = init.normal(3)
    lm.manual_seed(3)
    np.testing.assert_array_equal(init.normal(3), drawn)  # the refusal has used up no random numbers


@pytest.mark.parametrize("dtype", ["float32", np.float32, "f8", float, np.dtype(np.float64)])
@pytest.mark.parametrize("name", CALLS)
def test_both_dtypes_by_any_name(name, dtype):
    assert CALLS[name](dtype=dtype).dtype == dtype


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", [name for name in CALLS if name not in ("zeros", "uniform", "normal")])
def test_numbers_must_be_finite(name, value):
    argument = "value" if name == "constant" else "gain"
    with pytest.raises(ValueError, match=rf"init\.{name}: {argument} must be finite, got {value}"):
        CALLS[name](gain=value)


def test_bounds_must_be_finite():
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match=r"init\.uniform: high must be finite"):
            init.uniform(3, 0, value)
        with pytest.raises(ValueError, match=r"init\.normal: mean must be finite"):
            init.normal(3, value)
        with pytest.raises(ValueError, match=r"init\.normal: std must be finite"):
            init.normal(3, 0, value)
