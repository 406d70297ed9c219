import numpy as np
import pytest

from lamina.data.samples import Samples

X = np.arange(20, dtype=np.float32).reshape(10, 2)
Y = np.arange(10)


def rows(samples, batch_size, rng=None):
    batches = samples.in_order(batch_size) if rng is None else samples.shuffled(batch_size, rng)
    return [samples.take(r)[1].tolist() for r in batches]


def test_batches_in_order():
    samples = Samples(X, Y, who="test")
    assert rows(samples, 4) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [len(r) for r in rows(samples, 100)] == [10]
    assert [len(r) for r in rows(samples, 1)] == [1] * 10


def test_shuffling_keeps_pairs_and_every_sample():
    samples = Samples(X, Y, who="test")
    rng = np.random.default_rng(3)
    epochs = []
    for _ in range(2):
        taken = [samples.take(r) for r in samples.shuffled(4, rng)]
        assert [len(y) for _, y in taken] == [4, 4, 2]
        for x, y in taken:
            np.testing.assert_array_equal(x, X[y])
            assert x.flags.c_contiguous
        epochs.append(np.concatenate([y for _, y in taken]))
        assert sorted(epochs[-1]) == list(range(10))
    assert epochs[0].tolist() != epochs[1].tolist()
    assert rows(samples, 4, np.random.default_rng(5)) == rows(samples, 4, np.random.default_rng(5))


def test_split_is_disjoint_and_complete():
    rest, held = Samples(X, Y, who="test").split(0.3, np.random.default_rng(0), "test")
    assert len(held) == 3
    a, b = np.concatenate(rows(rest, 4, np.random.default_rng(1))), np.concatenate(rows(held, 2))
    assert sorted([*a, *b]) == list(range(10))
    np.testing.assert_array_equal(held.take(next(held.in_order(3)))[0], X[b])


@pytest.mark.parametrize("fraction", [0.0, 0.04, 0.96, 1.0, -0.1, 1.5, 3, float("nan"), float("inf")])
def test_split_refuses(fraction):
    with pytest.raises(ValueError, match=f"validation={fraction} of 10 samples does not leave"):
        Samples(X, Y, who="fit").split(fraction, np.random.default_rng(0), "fit")


def test_same_array_is_taken_once():
    samples = Samples(X, X, who="test")
    x, y = samples.take(np.array([3, 1]))
    assert x is y


@pytest.mark.parametrize("layout", ["fortran", "strided", "mapped", "list"])
def test_batches_are_contiguous_whatever_x_is(tmp_path, layout):
    if layout == "mapped":
        X.tofile(tmp_path / "x.bin")
        x = np.memmap(tmp_path / "x.bin", np.float32, "r", shape=X.shape)
    else:
        x = {"fortran": np.asfortranarray(X), "strided": np.repeat(X, 2, axis=0)[::2], "list": X.tolist()}[
            layout
        ]
    samples = Samples(x, Y, who="test")
    if layout == "mapped":
        assert np.shares_memory(samples.x, x)
    for r in (np.array([2, 0]), slice(0, 4)):
        batch = samples.take(r)[0]
        assert batch.flags.c_contiguous
        np.testing.assert_array_equal(batch, X[r])


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X, Y[:9], r"x has 10 samples \(shape \(10, 2\)\) but y has 9 \(shape \(9,\)\)"),
        (X[:0], Y[:0], r"x is empty \(shape \(0, 2\)\)"),
        (np.float32(1), Y, r"need an axis of samples, got shapes \(\) and \(10,\)"),
    ],
)
def test_refuses(x, y, message):
    with pytest.raises(ValueError, match=message):
        Samples(x, y, who="fit")
