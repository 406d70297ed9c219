"""The lecture's recurrent nets, number for number.

Sources: the figure "hello" of A. Karpathy, The unreasonable effectiveness of recurrent neural networks
(2015), and the gradient check of his min-char-rnn; what a recurrent net owes to weights shared over time.
"""

import numpy as np
import pytest

from lamina import nn, ops, text

pytestmark = pytest.mark.usefixtures("machine")

# Logits for h, e, l, o after each of the inputs h, e, l, l.
HELLO = np.array([[1, 2.2, -3, 4.1], [0.5, 0.3, -1, 1.2], [0.1, 0.5, 1.9, -1.1], [0.2, -1.5, -0.1, 2.2]])
NEXT = np.array([1, 2, 2, 3])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_losses_of_hello(dtype):
    losses, ctx = ops.softmax_cross_entropy(HELLO.astype(dtype), NEXT)
    np.testing.assert_allclose(losses, [2.078517, 2.900102, 0.379588, 0.231364], rtol=0, atol=1e-6)
    assert losses.sum() == pytest.approx(5.589571, abs=2e-6)
    dlogits = ops.softmax_cross_entropy_backward(np.ones(4, dtype), ctx)
    after_h = HELLO[0] - 0.1 * dlogits[0]  # the figure: e should go up from 2.2, the others down
    assert 2.2 < after_h[1] < 2.3
    assert (np.delete(after_h - HELLO[0], 1) < 0).all()


LAYERS = pytest.mark.parametrize("layer", [nn.RNN, nn.GRU, nn.LSTM])


@LAYERS
def test_the_same_weights_run_over_5_steps_and_500(layer):
    net = layer(3, 4, rng=0).astype(np.float64)
    weights = [p.data.copy() for p in net.parameters()]
    x = np.random.default_rng(0).normal(size=(2, 500, 3))
    y, state = net(x)
    short, carried = net(x[:, :5])
    assert y.shape == (2, 500, 4)
    np.testing.assert_allclose(short.data, y.data[:, :5], rtol=1e-13)
    rest, last = net(x[:, 5:], carried)
    np.testing.assert_allclose(rest.data, y.data[:, 5:], rtol=1e-13)
    np.testing.assert_allclose(_arrays(last), _arrays(state), rtol=1e-13)
    for p, former in zip(net.parameters(), weights, strict=True):
        np.testing.assert_array_equal(p.data, former)


def _arrays(state):
    return np.stack([part.data for part in state] if isinstance(state, tuple) else [state.data])


@pytest.mark.parametrize(("layer", "gates", "biases"), [(nn.RNN, 1, 1), (nn.GRU, 3, 4), (nn.LSTM, 4, 4)])
def test_the_number_of_parameters_does_not_depend_on_the_length(layer, gates, biases):
    net = layer(3, 4, rng=0)
    count = gates * 4 * (3 + 4) + biases * 4
    for length in (5, 500):
        y, _ = net(np.ones((1, length, 3), np.float32))
        (y * y).mean().backward()
        assert sum(p.size for p in net.parameters()) == count
        assert sum(p.grad.size for p in net.parameters()) == count
        for p in net.parameters():
            assert p.grad.any()
            p.grad = None


def test_gradient_check_of_min_char_rnn():
    """25 characters of 65, 100 units; |a - n|/|a + n|, n by differences of 1e-5, ten of each parameter."""
    rng, delta = np.random.default_rng(0), 1e-5
    net = text.CharModel("".join(map(chr, range(65))), hidden_size=100, num_layers=1, cell="rnn")
    net.astype(np.float64)
    for p in net.parameters():
        p.data[...] = 0.1 * rng.standard_normal(p.shape)
    codes = rng.integers(0, 65, (1, 26))

    def loss():
        return nn.CrossEntropyLoss()(net(codes[:, :-1])[0], codes[:, 1:]) * 25

    loss().backward()
    for name, p in net.named_parameters():
        values, gradient = p.data.reshape(-1), p.grad.reshape(-1)
        steep = np.flatnonzero(np.abs(gradient) >= np.median(np.abs(gradient[gradient != 0])))
        for i in rng.choice(steep, 10):  # of the others, differences of the loss leave too few digits
            former = values[i]
            values[i] = former + delta
            above = loss().item()
            values[i] = former - delta
            numeric = (above - loss().item()) / (2 * delta)
            values[i] = former
            assert abs(gradient[i] - numeric) < 1e-7 * abs(gradient[i] + numeric), name
