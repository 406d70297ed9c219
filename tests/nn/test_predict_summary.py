"""`predict` and `summary`: what a module makes of arrays, and what it says of itself."""

import threading

import numpy as np
import pytest

import lamina as lm
from lamina import nn
from lamina.autoencoders import Tied
from lamina.nn.summary import watchers

RNG = np.random.default_rng(2)


# predict ----------------------------------------------------------------------------------------------
def _dropout_net():
    return nn.Sequential(nn.Linear(3, 4, rng=0), nn.Dropout(0.5), nn.Linear(4, 2, rng=1))


def test_predict_is_the_model_in_evaluation_mode():
    net = _dropout_net()
    net[1].eval()
    x = RNG.normal(size=(700, 3))
    modes = [m.training for m in net.modules()]
    expected = net(x).data
    for batch_size in (None, 1, 64, 700, 10_000):
        found = net.predict(x, batch_size)
        assert isinstance(found, np.ndarray)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert [m.training for m in net.modules()] == modes
    assert net.predict(x[:0]).shape == (0, 2)
    np.testing.assert_array_equal(net.predict(lm.Tensor(np.float32(x))), net.predict(np.float32(x)))
    np.testing.assert_array_equal(net.predict(x.tolist()), net.predict(x))


def test_predict_bounds_its_batches():
    sizes = []

    class Spy(nn.Module):
        def forward(self, x):
            sizes.append(len(x))
            assert not (x * nn.Parameter(1.0)).requires_grad
            return x.reshape(len(x), -1)[:, :1]

    Spy().predict(np.zeros((600, 4), np.float32))
    assert sizes == [256, 256, 88]
    sizes.clear()
    Spy().predict(np.zeros((5, 512, 256), np.float32))
    assert sizes == [2, 2, 1]


def test_masked_arrays_are_refused():
    net, x = nn.Linear(3, 2), np.ma.masked_array(np.ones((2, 3)), mask=np.eye(2, 3))
    for run, name in (
        (lambda: net(x), "Linear: x"),
        (lambda: net.predict(x), "predict: x"),
        (lambda: net.register_buffer("mean", x), "register_buffer: mean"),
        (lambda: net.load_state_dict({"weight": x}), "load_state_dict of Linear: weight"),
    ):
        with pytest.raises(TypeError, match=f"{name} is a masked array, whose mask would be lost"):
            run()
    assert "mean" not in vars(net)


def test_predict_shares_no_memory_with_x():
    x = np.ones((2, 3), np.float32)
    nn.Flatten().predict(x)[:] = 5
    assert (x == 1).all()


def test_predict_puts_the_mode_back_after_an_error():
    net = _dropout_net()
    with pytest.raises(ValueError, match="Linear: x has 4 features"):
        net.predict(np.zeros((2, 4)))
    assert all(m.training for m in net.modules())
    assert lm.autograd.is_recording()


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, True])
def test_predict_refuses_batch_sizes(batch_size):
    with pytest.raises(ValueError, match="predict: batch_size must be an int of at least 1"):
        nn.ReLU().predict(np.zeros((2, 2)), batch_size)


def test_predict_refuses_what_is_no_batch():
    with pytest.raises(ValueError, match="predict: x must be an array with a batch axis, got "):
        nn.ReLU().predict(3.0)
    with pytest.raises(
        TypeError, match="predict: LSTMCell must return one tensor with 2 rows for 2 samples, got tuple"
    ):
        nn.LSTMCell(3, 2).predict(np.zeros((2, 3)))

    class Mean(nn.Module):
        def forward(self, x):
            return x.mean()

    with pytest.raises(TypeError, match=r"with 2 rows for 2 samples, got shape \(\)"):
        Mean().predict(np.zeros((2, 3)))


def test_predict_in_one_thread_leaves_training_in_another_alone():
    net = nn.Linear(3, 2)
    x, seen = np.zeros((4, 3)), []
    with lm.no_grad():
        thread = threading.Thread(target=lambda: seen.append(net(x).requires_grad))
        thread.start()
        thread.join()
    assert seen == [True]


# summary ----------------------------------------------------------------------------------------------
def test_summary_prints_every_volume(capsys):
    net = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * 16 * 12, 10)
    )
    net[1].eval()
    found = net.summary((32, 32, 3))
    assert capsys.readouterr().out == f"{found}\n"
    assert str(found).splitlines() == [
        "   layer      volume                parameters  multiply-adds",
        "-------------------------------------------------------------",
        "0  Conv2d     32x32x3 -> 32x32x12          336        331,776",
        "1  ReLU       32x32x12 -> 32x32x12           0              0",
        "2  MaxPool2d  32x32x12 -> 16x16x12           0              0",
        "3  Flatten    16x16x12 -> 3072               0              0",
        "4  Linear     3072 -> 10                30,730         30,720",
        "-------------------------------------------------------------",
        "   total                                31,066        362,496",
    ]
    assert repr(found) == "Summary(parameters=31,066, multiply_adds=362,496)"
    assert [m.training for m in net] == [True, False, True, True, True]
    assert not watchers


def test_summary_of_layers_that_hold_others():
    found = nn.Sequential(nn.Linear(2, 3), nn.LSTM(3, 4, 2)).summary((5, 2))
    assert [(row.name, row.layer, row.volume) for row in found.rows] == [
        ("0", "Linear", "5x2 -> 5x3"),
        ("1", "LSTM", "5x3 -> 5x4"),
    ]
    assert [row.parameters for row in found.rows] == [9, 272]
    assert found.multiply_adds == 5 * 6 + 5 * (16 * 7 + 16 * 8)
    layer = nn.Linear(6, 4)
    tied = nn.Sequential(layer, nn.Tanh(), Tied(layer)).summary(6)
    assert [(row.layer, row.parameters, row.multiply_adds) for row in tied.rows] == [
        ("Linear", 28, 24),
        ("Tanh", 0, 0),
        ("Tied", 6, 24),
    ]


def test_summary_counts_shared_layers_once():
    layer = nn.Linear(3, 3)
    found = nn.Sequential(layer, nn.ReLU(), layer).summary(3)
    assert [row.parameters for row in found.rows] == [12, 0, 0]
    assert (found.parameters, found.multiply_adds) == (12, 18)


@pytest.mark.parametrize("shape", [0, (3, -1), (2.5,), (True, 3)])
def test_summary_refuses_sizes(shape):
    with pytest.raises(ValueError, match="summary: input_shape must be positive ints"):
        nn.ReLU().summary(shape)


def test_summary_after_an_error_watches_no_longer():
    with pytest.raises(ValueError, match="Linear: x has 4 features"):
        nn.Linear(3, 2).summary(4)
    assert not watchers
    assert lm.autograd.is_recording()
