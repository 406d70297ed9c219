"""The sparse autoencoder: Kullback and Leibler's divergence, means over all samples or carried along."""

import numpy as np
import pytest

import lamina as lm
from lamina import Tensor
from lamina.autoencoders import SparseAutoencoder, kl_divergence
from lamina.testing import check_gradients
from tests.autoencoders.helpers import ROWS, check_loss_gradients, prototypes


@pytest.mark.parametrize(
    ("rho", "mean", "expected"),
    [  # worked out by hand; rho = 0.2 is the plot of the notes
        (0.2, 0.05, 0.139779),
        (0.2, 0.1, 0.044403),
        (0.2, 0.2, 0.0),
        (0.2, 0.4, 0.091516),
        (0.2, 0.6, 0.334795),
        (0.2, 0.8, 0.831777),
        (0.2, 0.9, 1.362738),
        (0.05, 0.5, 0.494632),
        (0.01, 0.5, 0.637146),
    ],
)
def test_divergence(rho, mean, expected):
    assert kl_divergence(Tensor(np.array([mean])), rho).item() == pytest.approx(expected, abs=5e-7)
    twice = kl_divergence(Tensor(np.array([mean, mean])), rho).item()
    assert twice == pytest.approx(2 * expected, abs=1e-6)


def test_gradient_of_the_divergence():
    means = np.array([0.01, 0.05, 0.3, 0.9, 0.999])
    check_gradients(lambda m: kl_divergence(m, 0.05), means, rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_saturated_units_cost_much_but_no_infinity(dtype):
    mean = Tensor(np.array([0.0, 1.0], dtype), requires_grad=True)
    y = kl_divergence(mean, 0.05)
    y.backward()
    assert y.dtype == mean.grad.dtype == dtype
    assert np.isfinite(y.item())
    assert np.isfinite(mean.grad).all()
    assert mean.grad[0] < 0 < mean.grad[1]  # back to the middle
    assert y.item() > kl_divergence(Tensor(np.array([0.01, 0.99], dtype)), 0.05).item()


@pytest.mark.parametrize("bias", [-1e4, 1e4])
@pytest.mark.parametrize("running", [0.0, 0.9])
def test_codes_of_exactly_0_or_1(bias, running):
    model = SparseAutoencoder(6, 4, running=running, rng=0)
    model.hidden.bias.data[...] = bias
    assert set(model.encode(ROWS).data.ravel()) == {float(bias > 0)}
    loss = model.loss(ROWS)
    loss.backward()
    assert np.isfinite(loss.item())
    assert all(np.isfinite(p.grad).all() for p in model.parameters())


def test_equal_activations():
    """All weights alike: every unit is as active as the others, and gets their gradient."""
    model = SparseAutoencoder(6, 4, rng=0)
    for p in model.parameters():
        p.data[...] = 0.1
    model.loss(ROWS).backward()
    g = model.hidden.weight.grad
    assert np.abs(g).max() > 0
    np.testing.assert_allclose(g, np.broadcast_to(g[0], g.shape), rtol=1e-6)


def test_the_mean_is_over_the_whole_batch():
    model = SparseAutoencoder(6, 4, rho=0.1, beta=2, weight_decay=0, rng=0)
    code = model.encode(ROWS)
    q = code.data.mean(axis=0)
    expected = 2 * np.sum(0.1 * np.log(0.1 / q) + 0.9 * np.log(0.9 / (1 - q)))
    error = 0.5 * np.sum((model(ROWS).data - ROWS) ** 2) / len(ROWS)
    assert model.loss(ROWS).item() == pytest.approx(error + expected, rel=1e-6)


def test_carried_mean_starts_at_rho_and_follows():
    model = SparseAutoencoder(6, 4, rho=0.1, running=0.9, rng=0)
    np.testing.assert_allclose(model.average, 0.1)
    mean = model.encode(ROWS).data.mean(axis=0)
    model.loss(ROWS)
    np.testing.assert_allclose(model.average, 0.9 * 0.1 + 0.1 * mean, rtol=1e-6)
    kept = model.average.copy()
    model.eval()
    penalty = model.penalty(model.encode(ROWS)).item()  # evaluation reads it and leaves it alone
    np.testing.assert_array_equal(model.average, kept)
    assert penalty == pytest.approx(3 * kl_divergence(Tensor(kept), 0.1).item(), rel=1e-6)


def test_gradient_with_the_carried_mean():
    """It is that of the divergence at the carried mean, as if this were the mean of the batch."""
    running = 0.75
    model = SparseAutoencoder(6, 4, rho=0.1, beta=2, running=running, weight_decay=0, rng=0)
    average = np.array([0.05, 0.2, 0.4, 0.7])

    def divergence(x):  # (1 - running) of the batch in it, hence the division
        mean = model.encode(x).mean(axis=0) * (1 - running) + running * average
        return kl_divergence(mean, 0.1) * (2 / (1 - running))

    model.astype(np.float64)
    divergence(Tensor(np.float64(ROWS))).backward()
    expected = [p.grad.copy() for p in (model.hidden.weight, model.hidden.bias)]
    model.zero_grad()
    model.average[...] = average
    model.penalty(model.encode(np.float64(ROWS))).backward()
    for p, g in zip((model.hidden.weight, model.hidden.bias), expected, strict=True):
        np.testing.assert_allclose(p.grad, g, rtol=1e-10)


def test_carried_mean_is_saved(tmp_path):
    model = SparseAutoencoder(6, 4, running=0.9, rng=0)
    model.loss(ROWS)
    lm.save(model, tmp_path / "a.safetensors")
    np.testing.assert_array_equal(lm.load(tmp_path / "a.safetensors").average, model.average)


@pytest.mark.parametrize("running", [0.0, 0.8])
def test_training_draws_the_means_to_rho(running):
    """With the penalty units become as rarely active as asked; without it they do not."""
    x, _ = prototypes()
    found = {}
    for beta in (0.0, 3.0):
        model = SparseAutoencoder(20, 10, rho=0.1, beta=beta, running=running, output="linear", rng=0)
        adam = lm.optim.Adam(model.parameters(), 3e-3 if running else 1e-2)
        epochs, batch = (150, 50) if running else (300, len(x))
        lm.fit(model, x, optimizer=adam, epochs=epochs, batch_size=batch, verbose=0, seed=0)
        found[beta] = model.encoder.predict(x).mean(axis=0)
    assert np.abs(found[3.0] - 0.1).max() < 0.03
    assert np.abs(found[0.0] - 0.1).max() > 0.2


@pytest.mark.parametrize("rho", [0, 1, -0.1, 1.5, float("nan")])
def test_rho_lies_between_0_and_1(rho):
    with pytest.raises(ValueError, match="rho must be"):
        SparseAutoencoder(6, 4, rho=rho)
    with pytest.raises(ValueError, match="rho must be"):
        kl_divergence(Tensor(np.array([0.5])), rho)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rho": 0}, "SparseAutoencoder: rho must be greater than 0 and less than 1, got 0"),
        ({"beta": -1}, "SparseAutoencoder: beta must be finite and at least 0, got -1"),
        ({"running": 1}, "SparseAutoencoder: running must be at least 0 and less than 1, got 1"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        SparseAutoencoder(6, 4, **options)


def test_the_notes_own_check():
    """Two hidden units, ten samples, all three terms: relative difference below 1e-9, as the notes ask."""
    model = SparseAutoencoder(6, 2, rho=0.01, beta=3, weight_decay=1e-4, rng=0).astype(np.float64)
    x = np.random.default_rng(0).uniform(0.1, 0.9, (10, 6))
    model.loss(x).backward()
    ours, numbers, step = [], [], 1e-4
    for p in model.parameters():
        for at in np.ndindex(p.shape):
            former = p.data[at]
            p.data[at] = former + step
            high = model.loss(x).item()
            p.data[at] = former - step
            numbers.append((high - model.loss(x).item()) / (2 * step))
            p.data[at] = former
            ours.append(p.grad[at])
    ours, numbers = np.array(ours), np.array(numbers)
    assert np.linalg.norm(numbers - ours) / np.linalg.norm(numbers + ours) < 1e-9
    check_loss_gradients(model, x)
