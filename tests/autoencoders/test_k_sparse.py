"""The k-sparse autoencoder: which units speak, what they learn, how k falls."""

import numpy as np
import pytest

import lamina as lm
from lamina import Tensor, ops
from lamina.autoencoders import KSparseAutoencoder
from tests.autoencoders.helpers import ROWS, check_loss_gradients, prototypes


def test_it_is_its_equations():
    model = KSparseAutoencoder(6, 5, 2, rng=0)
    model.hidden.bias.data[...] = [0.1, -0.1, 0, 0.2, -0.2]
    model.decoder.bias.data[...] = 0.3
    w, b = model.hidden.weight.data, model.hidden.bias.data
    z = ROWS @ w.T + b
    code = np.zeros_like(z)
    for row, kept in zip(z, code, strict=True):
        best = np.argsort(-row, kind="stable")[:2]  # not by magnitude
        kept[best] = row[best]
    np.testing.assert_allclose(model.encode(ROWS).data, code, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model(ROWS).data, code @ w + 0.3, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        model.loss(ROWS).item(), 0.5 * np.mean(np.sum((code @ w + 0.3 - ROWS) ** 2, axis=1)), rtol=1e-5
    )


@pytest.mark.parametrize("k", [1, 2, 5])
def test_exactly_k_speak_even_if_all_are_equal(k):
    model = KSparseAutoencoder(6, 5, k, rng=0)
    model.hidden.weight.data[...] = 0.5
    code = model.encode(ROWS).data
    assert (code[:, :k] != 0).all()  # ties to the lowest units
    assert (code[:, k:] == 0).all()
    model.loss(ROWS).backward()
    assert (model.hidden.bias.grad[k:] == 0).all()
    assert np.isfinite(model.hidden.weight.grad).all()


def test_no_gradient_outside_the_support():
    model = KSparseAutoencoder(6, 9, 2, rng=0)
    used = (model.encode(ROWS).data != 0).any(axis=0)
    assert not used.all()
    model.loss(ROWS).backward()
    np.testing.assert_array_equal(model.hidden.weight.grad[~used], 0)
    np.testing.assert_array_equal(model.hidden.bias.grad[~used], 0)
    assert (np.abs(model.hidden.weight.grad[used]).max(axis=1) > 0).all()


def test_the_fused_way_is_the_way_through_encoder_and_decoder():
    model = KSparseAutoencoder(6, 5, 2, rng=0).astype(np.float64)
    x = np.float64(ROWS)
    y = model(x)
    y.backward(x)
    fused = [p.grad.copy() for p in model.parameters()]
    model.zero_grad()
    plain = model.decode(model.encode(x))
    plain.backward(x)
    np.testing.assert_allclose(y.data, plain.data, rtol=1e-12)
    for p, g in zip(model.parameters(), fused, strict=True):
        np.testing.assert_allclose(p.grad, g, rtol=1e-10, atol=1e-14)


def test_gradients_of_a_penalty_on_the_code():
    model = KSparseAutoencoder(6, 5, 2, rng=0)

    def objective(x):
        code, y = model.autoencode(x)
        return (code**3).sum() + (y * y).sum() * 0.5

    check_loss_gradients(model, ROWS, objective=objective)


def test_alpha_widens_the_code_in_evaluation_alone():
    model = KSparseAutoencoder(6, 9, 2, alpha=2.5, rng=0)

    def active(mode):
        return set((model.train(mode).encode(ROWS).data != 0).sum(axis=1))

    assert active(True) == {2}
    assert active(False) == {5}
    y = model.train()(ROWS).data
    np.testing.assert_array_equal(model.eval()(ROWS).data, y)  # reconstructions are of k
    many = KSparseAutoencoder(6, 4, 3, alpha=9, rng=0).eval()
    np.testing.assert_array_equal((many.encode(ROWS).data != 0).sum(axis=1), 4)


def test_k_falls_over_the_first_half_of_training():
    model, seen = KSparseAutoencoder(20, 60, 10, start=50, rng=0), []

    class Watch(lm.train.Callback):
        def on_batch_end(self, run):
            seen.append(run.model.kept.k)

    x, _ = prototypes(20)
    lm.fit(model, x, epochs=10, batch_size=10, callbacks=[Watch()], verbose=0)
    assert seen == [k for k in (50, 42, 34, 26, 18, 10, 10, 10, 10, 10) for _ in range(2)]
    lm.fit(model, x, epochs=1, batch_size=20, callbacks=[Watch()], verbose=0)
    assert seen[-1] == 50
    assert model.kept.k == model.k == 10  # afterwards as it was made


def test_scheduled_k_leaves_fewer_units_dead():
    x = np.random.default_rng(0).random((500, 20)).astype(np.float32)
    alive = {}
    for start in (None, 20):
        model = KSparseAutoencoder(20, 60, 2, start=start, rng=0)
        sgd = lm.optim.SGD(model.parameters(), 0.05, momentum=0.9)
        lm.fit(model, x, epochs=30, batch_size=50, optimizer=sgd, seed=0, verbose=0)
        alive[start] = (model.encoder.predict(x) != 0).any(axis=0).sum()
    assert alive[20] > 1.2 * alive[None]


def _recovered(k, least):
    """Share of rows x = z w whose k units are found, z in [least, 1]; and the worst of k mu 2 z_1 / z_k."""
    rng = np.random.default_rng(k)
    w = _incoherent(rng, units=400, features=256)
    mu = np.abs(w @ w.T - np.eye(len(w))).max()
    z = np.zeros((500, len(w)))
    for row in z:
        row[rng.choice(len(w), k, replace=False)] = rng.uniform(least, 1, k)
    (_, units), _ = ops.k_sparse_linear(z @ w, w, k=k)
    found = [set(np.flatnonzero(row)) == set(chosen) for row, chosen in zip(z, units, strict=True)]
    ordered = -np.sort(-z, axis=1)
    return np.mean(found), (2 * k * mu * ordered[:, 0] / ordered[:, k - 1]).max()


@pytest.mark.parametrize("k", [2, 3, 4, 7])
def test_the_support_is_recovered_within_the_bound(k):
    """k mu <= z_k / (2 z_1), mu the greatest product of two unit filters (the paper's theorem)."""
    share, bound = _recovered(k, least=k / 8)  # mu is 1/16
    assert 0.6 < bound <= 1
    assert share == 1


def test_the_support_is_lost_far_beyond_the_bound():
    share, bound = _recovered(40, least=0.2)
    assert bound > 5
    assert share < 0.5


def _incoherent(rng, units, features):
    """Unit vectors, hardly parallel: Hadamard's and the standard basis, turned at random."""
    h = np.array([[1.0]])
    while len(h) < features:
        h = np.block([[h, h], [h, -h]])
    basis = np.concatenate([np.eye(features), h / np.sqrt(features)])
    q, _ = np.linalg.qr(rng.standard_normal((features, features)))
    return basis[rng.permutation(len(basis))[:units]] @ q


@pytest.mark.parametrize(
    ("k", "error", "message"),
    [
        (0, ValueError, "KSparseAutoencoder: k must be at least 1, got 0"),
        (-1, ValueError, "KSparseAutoencoder: k must be at least 1, got -1"),
        (6, ValueError, "KSparseAutoencoder: k must be at most 5, got 6"),
        (2.0, TypeError, "KSparseAutoencoder: k must be an int, got 2.0"),
        (True, TypeError, "KSparseAutoencoder: k must be an int, got True"),
        ("2", TypeError, "KSparseAutoencoder: k must be an int, got '2'"),
    ],
)
def test_bad_k(k, error, message):
    with pytest.raises(error, match=message):
        KSparseAutoencoder(6, 5, k)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"start": 1}, ValueError, "start must be at least 2, got 1"),
        ({"start": 6}, ValueError, "start must be at most 5, got 6"),
        ({"start": 2.5}, TypeError, "start must be an int, got 2.5"),
        ({"alpha": 0.5}, ValueError, "alpha must be at least 1, got 0.5"),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        KSparseAutoencoder(6, 5, 2, **options)


def test_bad_x():
    model = KSparseAutoencoder(6, 5, 2)
    with pytest.raises(ValueError, match=r"KSparseAutoencoder: .*\(5, 5\)"):
        model(ROWS[:, :5])
    with pytest.raises(ValueError, match="x must have 2 axes"):
        model.loss(Tensor(ROWS[0]))
