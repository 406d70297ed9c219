"""Bidirectional and TimeDistributed, around layers of this library and of one's own."""

import numpy as np
import pytest

import lamina as lm
from lamina import nn

X = np.random.default_rng(0).standard_normal((3, 5, 4)).astype(np.float32)
LENGTHS = [2, 5, 0]


class Scaled(nn.Module):
    """A module of sequences that holds a parameter itself."""

    def __init__(self):
        self.scale = nn.Parameter(np.arange(4.0, dtype=np.float32))
        self.inside = nn.Linear(4, 3, rng=1)

    def forward(self, x):
        return self.inside(x * self.scale)


def _reversed(x, lengths):
    y = x.copy()
    for n, length in enumerate(lengths):
        y[n, :length] = x[n, :length][::-1]
    return y


@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_it_is_the_bidirectional_layer(kind, lengths):
    """The library's own two ways with the same weights: outputs, states and gradients."""
    wrapped = nn.Bidirectional(kind(4, 3, rng=0), rng=1)
    both = kind(4, 3, bidirectional=True)
    state = wrapped.layer.state_dict()
    state |= {f"{name}_reverse": value for name, value in wrapped.backward_layer.state_dict().items()}
    both.load_state_dict(state)
    x, x_both = lm.Tensor(X, requires_grad=True), lm.Tensor(X, requires_grad=True)
    initial = [np.random.default_rng(i).standard_normal((2, 3, 3)).astype(np.float32) for i in range(2)]
    if kind is nn.LSTM:
        given, given_both = tuple(tuple(s[d : d + 1] for s in initial) for d in range(2)), tuple(initial)
    else:
        given, given_both = (initial[0][:1], initial[0][1:]), initial[0]
    y, last = wrapped(x, given, lengths)
    right, last_both = both(x_both, given_both, lengths)
    np.testing.assert_array_equal(y.data, right.data)
    flat = [part for way in last for part in (way if isinstance(way, tuple) else (way,))]
    flat_both = last_both if isinstance(last_both, tuple) else (last_both,)
    count = len(flat_both)
    for i, part in enumerate(flat_both):
        np.testing.assert_array_equal(np.concatenate([flat[i].data, flat[count + i].data]), part.data)
    weights = np.random.default_rng(5).standard_normal(y.shape).astype(np.float32)
    (y * weights).sum().backward()
    (right * weights).sum().backward()
    np.testing.assert_allclose(x.grad, x_both.grad, atol=1e-6)
    grads = {name: p.grad for name, p in both.named_parameters()}
    for name, p in wrapped.layer.named_parameters():
        np.testing.assert_allclose(p.grad, grads[name], atol=1e-6)
    for name, p in wrapped.backward_layer.named_parameters():
        np.testing.assert_allclose(p.grad, grads[f"{name}_reverse"], atol=1e-6)


@pytest.mark.parametrize("merge", ["concat", "sum", "mul", "average"])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_merging_around_a_module_without_states(merge, lengths):
    layer = nn.Bidirectional(Scaled(), merge=merge)
    y = layer(X, lengths=lengths).data
    ends = [5] * 3 if lengths is None else lengths
    there = layer.layer(X).data
    back = _reversed(layer.backward_layer(_reversed(X, ends)).data, ends)
    right = {
        "concat": np.concatenate([there, back], axis=-1),
        "sum": there + back,
        "mul": there * back,
        "average": (there + back) / 2,
    }[merge]
    np.testing.assert_allclose(y, right, rtol=1e-6, atol=1e-6)


def test_the_second_layer_starts_by_itself():
    layer = nn.Bidirectional(nn.LSTM(4, 200, rng=0), rng=1)
    ahead, back = layer.layer.state_dict(), layer.backward_layer.state_dict()
    assert list(ahead) == list(back)
    for name, value in ahead.items():
        assert not np.array_equal(value, back[name])
        assert back[name].min() >= -1 / np.sqrt(200)
    np.testing.assert_array_equal(back["bias_l0"][200:400], 1)  # the forget gate
    again = nn.Bidirectional(nn.LSTM(4, 200, rng=0), rng=1).backward_layer.state_dict()
    for name, value in again.items():
        np.testing.assert_array_equal(value, back[name])


def test_the_second_of_your_own_class_has_the_values_in_another_order():
    layer = nn.Bidirectional(Scaled(), rng=3)
    scale = layer.backward_layer.scale.data
    assert sorted(scale) == [0, 1, 2, 3]
    assert list(scale) != [0, 1, 2, 3]
    assert not np.array_equal(layer.backward_layer.inside.weight.data, layer.layer.inside.weight.data)
    assert layer.layer.scale is not layer.backward_layer.scale


def test_seeded_dropout_differs_in_both_ways():
    layer = nn.Bidirectional(nn.Sequential(nn.Dropout(0.5, rng=0)))
    y = layer(np.ones((1, 64, 8), np.float32)).data
    assert not np.array_equal(y[0, :, :8], y[0, ::-1, 8:])


def test_tokens_both_ways():
    layer = nn.Bidirectional(nn.GRU(6, 3, rng=0), rng=1)
    tokens = np.array([[0, 5, 2], [1, 1, 4]])
    vectors = np.eye(6, dtype=np.float32)[tokens]
    np.testing.assert_allclose(
        layer(tokens, None, [3, 2])[0].data, layer(vectors, None, [3, 2])[0].data, atol=1e-6
    )


@pytest.mark.parametrize("shape", [(2, 0, 4), (0, 5, 4)])
def test_nothing_to_read(shape):
    y, (there, back) = nn.Bidirectional(nn.RNN(4, 3))(np.zeros(shape))
    assert y.shape == (*shape[:2], 6)
    assert there.shape == back.shape == (1, shape[0], 3)
    assert nn.TimeDistributed(nn.Linear(4, 2))(np.zeros(shape)).shape == (*shape[:2], 2)


def test_every_step_by_itself():
    conv = nn.Conv2d(3, 2, 3, rng=0)
    film = np.random.default_rng(0).standard_normal((2, 4, 6, 5, 3)).astype(np.float32)
    y = nn.TimeDistributed(conv)(film)
    assert y.shape == (2, 4, 4, 3, 2)
    for t in range(4):
        np.testing.assert_allclose(y.data[:, t], conv(film[:, t]).data, rtol=1e-5, atol=1e-6)
    assert nn.TimeDistributed(nn.Embedding(5, 3))(np.zeros((2, 7), int)).shape == (2, 7, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.Bidirectional(nn.LSTM), TypeError, "Bidirectional: layer must be a Module, got type"),
        (
            lambda: nn.Bidirectional(nn.GRU(4, 3), merge="max"),
            ValueError,
            "Bidirectional: unknown merge 'max'",
        ),
        (
            lambda: nn.Bidirectional(nn.Sequential(nn.Bidirectional(nn.Linear(4, 3)))),
            ValueError,
            "Bidirectional: layer holds a Bidirectional",
        ),
        (
            lambda: nn.Bidirectional(nn.Linear(4, 3))(X[0, 0]),
            ValueError,
            "Bidirectional: x must have the axes N, T",
        ),
        (
            lambda: nn.Bidirectional(nn.GRU(4, 3))(X, np.zeros((2, 3, 3))),
            TypeError,
            "Bidirectional: state must be a pair, one for each way, or None, got ndarray",
        ),
        (
            lambda: nn.Bidirectional(nn.Linear(4, 3))(X, lengths=[1, 6, 2]),
            ValueError,
            "Bidirectional: lengths must lie in 0..5, the steps of x; sequence 1 has 6",
        ),
        (
            lambda: nn.Bidirectional(nn.Linear(4, 3))(X, lengths=[1, -1, 2]),
            ValueError,
            "Bidirectional: lengths must lie in 0..5, the steps of x; sequence 1 has -1",
        ),
        (
            lambda: nn.Bidirectional(nn.Linear(4, 3))(X, lengths=[1.0, 2, 2]),
            TypeError,
            "Bidirectional: lengths must be integers, got float64",
        ),
        (
            lambda: nn.Bidirectional(nn.Flatten())(X),
            TypeError,
            r"Bidirectional: layer must return sequences \(3, 5\) as it got them.* got shape \(3, 20\)",
        ),
        (lambda: nn.TimeDistributed(3), TypeError, "TimeDistributed: module must be a Module, got int"),
        (
            lambda: nn.TimeDistributed(nn.ReLU())(X[0, 0]),
            ValueError,
            "TimeDistributed: x must have the axes N, T",
        ),
        (
            lambda: nn.TimeDistributed(nn.LSTMCell(4, 3))(X),
            TypeError,
            "TimeDistributed: LSTMCell must return one tensor with 15 rows for 3 x 5 steps, got tuple",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
