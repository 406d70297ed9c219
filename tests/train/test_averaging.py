"""Averaged weights with batch normalisation: whose statistics the running ones are."""

import numpy as np
import pytest

import lamina as lm
from lamina import data, nn, optim, train

X = np.random.default_rng(0).normal(2, 3, size=(50, 4)).astype(np.float32)
Y = X[:, :2] - X[:, 2:]


def network():
    layers = nn.Linear(4, 6, rng=0), nn.BatchNorm1d(6), nn.Dropout(0.5, rng=2), nn.Linear(6, 2, rng=1)
    return nn.Sequential(*layers)


def fit(model, *callbacks, x=None, y=Y, **options):
    sgd = optim.SGD(model.parameters(), 0.05)
    x = X if x is None else x
    options = {"epochs": 4, "batch_size": 20, "seed": 0, "verbose": 0, **options}
    return lm.fit(model, x, y, loss=nn.MSELoss(), optimizer=sgd, callbacks=callbacks, **options)


def statistics(model, sizes=(20, 20, 10)):
    """The means over batches, by hand: of the means and of the unbiased variances of what comes in."""
    h = X.astype(np.float64) @ model[0].weight.data.T + model[0].bias.data
    parts = np.split(h, np.cumsum(sizes)[:-1])
    mean = np.average([part.mean(axis=0) for part in parts], axis=0, weights=sizes)
    return mean, np.average([part.var(axis=0, ddof=1) for part in parts], axis=0, weights=sizes)


def assert_updated(model, **options):
    mean, var = statistics(model, **options)
    np.testing.assert_allclose(model[1].running_mean, mean, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(model[1].running_var, var, rtol=1e-4)


def test_statistics_are_those_of_the_averaged_weights():
    model, twin, ends, seen = network(), network(), [], []
    note = train.LambdaCallback(
        on_steps_end=lambda run: ends.append(run.model.state_dict()),
        on_epoch_end=lambda run: seen.append(run.model.state_dict()),
    )
    fit(model, note, train.SWA(0.5))
    fit(twin, train.LambdaCallback(on_steps_end=lambda run: ends.append(run.model.state_dict())))
    for key, value in ends[3].items():
        np.testing.assert_array_equal(value, ends[7][key])  # training itself is not disturbed
    for name in ("0.weight", "1.weight"):
        average = np.mean([end[name] for end in ends[2:4]], axis=0)
        np.testing.assert_allclose(model.state_dict()[name], average, rtol=1e-5, atol=1e-6)
    assert_updated(model)
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(value, seen[-1][key])  # validation has seen the same
    assert model[1].momentum == 0.1
    assert all(module.training for module in model.modules())


def test_without_it_statistics_are_averaged():
    model, ends = network(), []
    note = train.LambdaCallback(on_steps_end=lambda run: ends.append(run.model[1].running_var.copy()))
    fit(model, note, train.SWA(0.5, update_statistics=False))
    np.testing.assert_allclose(model[1].running_var, np.mean(ends[2:], axis=0), rtol=1e-5)
    with pytest.raises(AssertionError):
        assert_updated(model)


def test_interrupted_in_an_epoch_they_fit_the_averages_all_the_same():
    def interrupt(run):
        if run.step == 11:
            raise KeyboardInterrupt

    model = network()
    history = fit(model, train.LambdaCallback(on_batch_end=interrupt), train.SWA(0.4))
    assert (history.stopped, history.epochs) == ("interrupted", 3)
    assert_updated(model)


@pytest.mark.parametrize("loader", [False, True])
def test_update_statistics(loader):
    model = network().eval()
    model[1].train()
    batches = data.Loader(X, Y, batch_size=20, shuffle=False)
    nn.update_statistics(model, (x for x, _ in batches) if loader else [X[:20], X[20:40], X[40:]])
    assert_updated(model)
    assert [module.training for module in model] == [False, True, False, False]
    fit(model, train.SWA(0.5), x=data.Loader(X, Y, batch_size=25, shuffle=False), y=None, batch_size=None)
    assert_updated(model, sizes=(25, 25))


def test_a_model_without_batch_normalisation_is_not_run(monkeypatch):
    model = nn.Sequential(nn.Linear(4, 2, rng=0))
    monkeypatch.setattr(nn.Sequential, "forward", None)
    nn.update_statistics(model, [X])


def test_errors():
    with pytest.raises(TypeError, match="SWA: update_statistics must be True or False, got 'yes'"):
        train.SWA(update_statistics="yes")
    model = network()
    with pytest.raises(ValueError, match="BatchNorm1d: training needs more than one value for each channel"):
        nn.update_statistics(model, [X, X[:1]])
    assert (model[1].momentum, model[0].training) == (0.1, True)
