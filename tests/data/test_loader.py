"""Loaders: order, seeds, the thread that makes batches ahead, and training from them."""

import threading
import time

import numpy as np
import pytest

import lamina as lm
from lamina import nn, optim
from lamina.data import Loader

X = np.arange(40, dtype=np.float32).reshape(10, 4)
Y = np.arange(10)


def targets(loader, rng=None):
    return [y.tolist() for _, y in loader.epoch(rng)]


def test_order_without_shuffling():
    loader = Loader(X, Y, batch_size=4, shuffle=False)
    assert (len(loader), loader.samples) == (3, 10)
    for _ in range(2):
        assert targets(loader) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    for x, y in loader:
        np.testing.assert_array_equal(x, X[y])


def test_a_new_order_each_epoch_and_the_same_from_the_same_seed():
    first, second = (Loader(X, Y, batch_size=4, seed=3) for _ in range(2))
    epochs = [targets(first) for _ in range(3)]
    assert [targets(second) for _ in range(3)] == epochs
    assert epochs[0] != epochs[1]
    assert all(sorted(i for y in epoch for i in y) == list(range(10)) for epoch in epochs)


def noise(x, y, rng):
    return x + rng.standard_normal(x.shape).astype(np.float32), y


@pytest.mark.parametrize("prefetch", [1, 2, 9])
def test_the_same_batches_however_far_ahead(prefetch):
    plain = Loader(X, Y, batch_size=3, augment=noise, prefetch=0, seed=5)
    ahead = Loader(X, Y, batch_size=3, augment=noise, prefetch=prefetch, seed=5)
    for _ in range(2):
        for (x, y), (x2, y2) in zip(plain, ahead, strict=True):
            np.testing.assert_array_equal(x, x2)
            np.testing.assert_array_equal(y, y2)
            assert (x != X[y]).any()


def test_functions():
    def ones(rng):
        while True:
            yield np.ones((2, 1), np.float32), rng.integers(100, size=2)

    loader = Loader(ones, batches=3, seed=1)
    first = targets(loader)
    assert [len(y) for y in first] == [2, 2, 2]
    assert targets(loader) != first
    assert targets(Loader(ones, batches=3, seed=1)) == first
    assert len(loader) == 3
    with pytest.raises(TypeError, match="how many batches the function yields is not known; give batches="):
        len(Loader(lambda rng: [(X, Y)]))
    assert targets(Loader(lambda rng: [(X, Y)])) == [Y.tolist()]


class Counted:
    """A source that knows how many samples have been taken."""

    def __init__(self, n):
        self.n, self.taken = n, 0

    def __len__(self):
        return self.n

    def take(self, rows):
        self.taken += len(rows)
        return np.zeros((len(rows), 1), np.float32), np.asarray(rows)


def test_the_thread_is_no_further_ahead_than_asked():
    source, used = Counted(200), 0
    stream = Loader(source, batch_size=10, prefetch=2).epoch()
    for _ in range(5):
        next(stream)
        used += 10
        deadline = time.monotonic() + 20
        while source.taken < used + 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        assert source.taken == used + 20
    stream.close()
    assert not [t for t in threading.enumerate() if t.name == "lamina.data.Loader"]


def test_errors_in_the_thread_come_out_of_the_loop():
    def fail(x, y, rng):
        if 7 in y:
            raise RuntimeError("seven")
        return x, y

    loader = Loader(X, Y, batch_size=5, shuffle=False, augment=fail)
    seen = []
    with pytest.raises(RuntimeError, match="seven"):
        seen.extend(y.tolist() for _, y in loader)
    assert seen == [[0, 1, 2, 3, 4]]
    assert not [t for t in threading.enumerate() if t.name == "lamina.data.Loader"]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Loader(X, Y[:5]), ValueError, "Loader: x has 10 samples .* but y has 5"),
        (lambda: Loader(X[:0], Y[:0]), ValueError, "Loader: x is empty"),
        (lambda: Loader(X, Y, batch_size=0), ValueError, "Loader: batch_size is 0"),
        (lambda: Loader(X, Y, shuffle=1), TypeError, "Loader: shuffle must be True or False, got 1"),
        (lambda: Loader(X, Y, prefetch=-1), ValueError, "Loader: prefetch must be at least 0, got -1"),
        (lambda: Loader(X, Y, augment=lm.data.Flip), TypeError, r"augment must be a function \(x, y, rng\)"),
        (lambda: Loader(X, Y, batches=3), TypeError, "batches is for a function"),
        (lambda: Loader(iter([(X, Y)])), TypeError, "data is a list_iterator, which serves for one epoch"),
        (lambda: Loader(Loader(X, Y)), TypeError, "data is a Loader already"),
        (lambda: Loader(lambda rng: [], batch_size=2), TypeError, "batch_size is not for a function"),
        (lambda: Loader(Counted(3), Y), TypeError, "y is for arrays; Counted brings its own targets"),
        (lambda: Loader(Counted(0)), ValueError, "Loader: data has no samples"),
        (lambda: Loader(X, Y, seed=-1), ValueError, "Loader: seed must be an int of at least 0"),
        (lambda: list(Loader(lambda rng: 3)), TypeError, "must yield batches .*, got int"),
        (lambda: list(Loader(lambda rng: [3])), TypeError, r"must give pairs \(x, y\), got int"),
        (lambda: list(Loader(lambda rng: [(X, Y[:3])])), ValueError, r"x of shape \(10, 4\) and y of shape"),
        (lambda: list(Loader(X, Y, augment=lambda x, y, rng: x)), TypeError, "augment must give pairs"),
        (lambda: Loader(X, np.array(["a"] * 10)), TypeError, "y must hold numbers, got <U1.*encode_labels"),
    ],
)
def test_refusals(make, error, message):
    with pytest.raises(error, match=message):
        make()


# training ---------------------------------------------------------------------------------------------
RNG = np.random.default_rng(7)
DATA = RNG.normal(size=(90, 4)).astype(np.float32)
LABELS = (DATA[:, 0] + DATA[:, 1] > 0).astype(np.int64)


def fit(x, y=None, model=None, **options):
    model = model or nn.Sequential(nn.Linear(4, 8, rng=0), nn.Tanh(), nn.Linear(8, 2, rng=1))
    sgd = optim.SGD(model.parameters(), 0.2)
    given = {"epochs": 3, "verbose": 0, **options}
    history = lm.fit(model, x, y, loss=nn.CrossEntropyLoss(), optimizer=sgd, **given)
    return model, history


def weights(model):
    return b"".join(p.data.tobytes() for p in model.parameters())


def test_fit_and_evaluate_take_a_loader():
    loader = Loader(DATA, LABELS, batch_size=16)
    model, history = fit(
        loader, seed=0, validation=Loader(DATA, LABELS, batch_size=30), metrics=["accuracy"], epochs=20
    )
    assert history["val_accuracy"][-1] > 0.9
    whole = lm.evaluate(model, DATA, LABELS, loss=nn.CrossEntropyLoss(), metrics=["accuracy"])
    found = lm.evaluate(model, loader, loss=nn.CrossEntropyLoss(), metrics=["accuracy"])
    assert found["loss"] == pytest.approx(whole["loss"], rel=1e-5)
    assert found["accuracy"] == pytest.approx(whole["accuracy"])


def test_one_seed_decides_whoever_gives_it():
    runs = [
        fit(Loader(DATA, LABELS, batch_size=16, augment=noise), seed=3),
        fit(Loader(DATA, LABELS, batch_size=16, augment=noise, seed=9, prefetch=0), seed=3),
        fit(Loader(DATA, LABELS, batch_size=16, augment=noise, seed=3)),
        fit(Loader(DATA, LABELS, batch_size=16, augment=noise, seed=4)),
    ]
    found = [weights(model) for model, _ in runs]
    assert found[0] == found[1] == found[2] != found[3]


def test_a_stop_in_the_middle_ends_the_thread():
    stop = lm.train.LambdaCallback(on_batch_end=lambda run: run.stop("enough"))
    _, history = fit(Loader(DATA, LABELS, batch_size=2), callbacks=[stop])
    assert history.stopped == "enough"
    assert not [t for t in threading.enumerate() if t.name == "lamina.data.Loader"]


def test_an_interrupt_ends_the_thread_and_keeps_the_history():
    def interrupt(run):
        if run.step == 50:
            raise KeyboardInterrupt

    stop = lm.train.LambdaCallback(on_batch_end=interrupt)
    _, history = fit(Loader(DATA, LABELS, batch_size=2), callbacks=[stop])
    assert (history.stopped, history.epochs) == ("interrupted", 1)
    assert not [t for t in threading.enumerate() if t.name == "lamina.data.Loader"]


def test_a_function_of_unknown_length_trains_too(capsys):
    def halves(rng):
        for rows in np.split(rng.permutation(90), 3):
            yield DATA[rows], LABELS[rows]

    _, history = fit(Loader(halves), seed=0, epochs=9, verbose=2, schedule=optim.Cosine())
    assert history["loss"][-1] < history["loss"][0]
    assert len(capsys.readouterr().out.splitlines()) == 10


def test_what_fit_refuses_about_loaders():
    loader = Loader(DATA, LABELS)
    for options, message in (
        ({"y": LABELS}, "fit: y is the Loader's: leave it out"),
        ({"batch_size": 3}, "fit: batch_size is the Loader's: leave it out"),
        ({"validation": 0.2}, "a share for validation goes with arrays"),
        ({"sample_weight": np.ones(90)}, "sample_weight goes with arrays, not with a Loader"),
        ({"class_weight": "balanced"}, "needs all labels at hand"),
    ):
        with pytest.raises(TypeError, match=message):
            fit(loader, **options)
    with pytest.raises(TypeError, match=r"x is a source of samples: give data.Loader\(Counted"):
        fit(Counted(3))
    with pytest.raises(ValueError, match="there were no samples in epoch 1"):
        fit(Loader(lambda rng: []))
    with pytest.raises(ValueError, match="evaluate: there were no samples"):
        lm.evaluate(fit(loader)[0], Loader(lambda rng: []), metrics=["accuracy"])


def test_labels_that_are_texts():
    numbers, classes = lm.data.encode_labels(["dog", "cat", "dog"])
    assert (numbers.tolist(), classes) == ([1, 0, 1], ("cat", "dog"))
    again, _ = lm.data.encode_labels(np.array(["cat"]), ["dog", "cat"])
    assert again.tolist() == [1]
    with pytest.raises(ValueError, match=r"labels\[1\] is 'cow', expected one of \['cat', 'dog'\]"):
        lm.data.encode_labels(["dog", "cow"], classes)
    with pytest.raises(ValueError, match="a class is named twice"):
        lm.data.encode_labels(["dog"], ["dog", "dog"])
    with pytest.raises(TypeError, match=r"labels must be texts \(N,\), got int64"):
        lm.data.encode_labels([1, 2])
    with pytest.raises(
        TypeError, match=r"fit: y must hold numbers, got <U3; for texts: y, classes = lm\.data"
    ):
        fit(DATA, np.array(["dog"] * 90))
    with pytest.raises(TypeError, match="fit: y must hold numbers, got object; for texts"):
        fit(DATA, np.array(["dog"] * 90, object))
