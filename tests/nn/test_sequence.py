"""RNN, GRU and LSTM over whole sequences: PyTorch's results, states handed on, lengths, bad input."""

import numpy as np
import pytest

import lamina as lm
from lamina import nn

LAYERS = [nn.RNN, nn.GRU, nn.LSTM]
SHAPES = [(1, False), (2, True), (3, False)]


def _parts(state):
    return state if isinstance(state, tuple) else (state,)


def _into_torch(layer):
    """The layer's parameters under PyTorch's names, which has two biases where one does."""
    found = {}
    for name, value in layer.state_dict().items():
        if not name.startswith("bias_"):
            found[name] = value
            continue
        where, other = name.removeprefix("bias_"), np.zeros_like(value)
        if isinstance(layer, nn.GRU):
            h = layer.hidden_size
            value, other = value[: 3 * h], np.concatenate([np.zeros(2 * h), value[3 * h :]])
        found |= {f"bias_ih_{where}": value, f"bias_hh_{where}": other}
    return found


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize(("layers", "bidirectional"), SHAPES)
@pytest.mark.parametrize("kind", LAYERS, ids=lambda kind: kind.__name__)
def test_parity_with_torch(kind, layers, bidirectional, ragged):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    n, t, d, h = 5, 7, 3, 6
    ours = kind(d, h, layers, bidirectional=bidirectional).astype(np.float64)
    theirs = getattr(torch.nn, kind.__name__)(d, h, layers, bidirectional=bidirectional, batch_first=True)
    theirs = theirs.double()
    theirs.load_state_dict({name: torch.tensor(value) for name, value in _into_torch(ours).items()})
    lengths = rng.integers(1, t + 1, n) if ragged else None
    states = [rng.standard_normal((layers * (1 + bidirectional), n, h)) for _ in range(1 + (kind is nn.LSTM))]
    x = lm.Tensor(rng.standard_normal((n, t, d)), requires_grad=True)
    y, last = ours(x, states[0] if len(states) == 1 else tuple(states), lengths)

    x_torch = torch.tensor(x.data, requires_grad=True)
    given = tuple(map(torch.tensor, states))
    fed = x_torch
    if ragged:
        fed = torch.nn.utils.rnn.pack_padded_sequence(
            x_torch, torch.tensor(lengths), batch_first=True, enforce_sorted=False
        )
    y_torch, last_torch = theirs(fed, given if len(given) > 1 else given[0])
    if ragged:
        y_torch, _ = torch.nn.utils.rnn.pad_packed_sequence(y_torch, batch_first=True, total_length=t)

    weights = rng.standard_normal(y.shape)
    loss, loss_torch = (y * weights).sum(), (y_torch * torch.tensor(weights)).sum()
    np.testing.assert_allclose(y.data, y_torch.detach().numpy(), atol=1e-10)
    for factor, (mine, other) in enumerate(zip(_parts(last), _parts(last_torch), strict=True), start=2):
        np.testing.assert_allclose(mine.data, other.detach().numpy(), atol=1e-10)
        loss, loss_torch = loss + (mine * factor).sum(), loss_torch + (other * factor).sum()
    loss.backward()
    loss_torch.backward()
    np.testing.assert_allclose(x.grad, x_torch.grad.numpy(), atol=1e-10)
    grads = {name: p.grad.numpy() for name, p in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        if "weight" in name:
            np.testing.assert_allclose(parameter.grad, grads[name], atol=1e-9, err_msg=name)
            continue
        rest = grads[name.replace("bias_", "bias_hh_")]
        right = grads[name.replace("bias_", "bias_ih_")]
        right = np.concatenate([right, rest[2 * h :]]) if kind is nn.GRU else right
        np.testing.assert_allclose(parameter.grad, right, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("kind", LAYERS, ids=lambda kind: kind.__name__)
def test_two_halves_with_the_state_handed_on_are_the_whole(kind):
    layer = kind(3, 4, 2, rng=0)
    x = np.random.default_rng(0).standard_normal((2, 6, 3)).astype(np.float32)
    whole, end = layer(x)
    first, state = layer(x[:, :4])
    second, last = layer(x[:, 4:], state)
    np.testing.assert_array_equal(np.concatenate([first.data, second.data], axis=1), whole.data)
    for part, right in zip(_parts(last), _parts(end), strict=True):
        np.testing.assert_array_equal(part.data, right.data)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", LAYERS, ids=lambda kind: kind.__name__)
def test_lengths_give_what_trimmed_sequences_give(kind, bidirectional):
    """Bit for bit, gradients too; a sequence without a step keeps its initial state."""
    layer = kind(3, 4, 2, bidirectional=bidirectional, rng=0)
    rng = np.random.default_rng(0)
    lengths, t = [2, 0, 5, 1], 5
    data = rng.standard_normal((4, t, 3)).astype(np.float32)
    dy = rng.standard_normal((4, t, 4 * (1 + bidirectional))).astype(np.float32)
    x = lm.Tensor(data, requires_grad=True)
    y, last = layer(x, None, lengths)
    (y * dy).sum().backward()
    for n, length in enumerate(lengths):
        alone = lm.Tensor(data[n : n + 1, :length], requires_grad=True)
        right, state = layer(alone)
        np.testing.assert_array_equal(y.data[n, :length], right.data[0])
        assert not y.data[n, length:].any()
        for part, expected in zip(_parts(last), _parts(state), strict=True):
            np.testing.assert_array_equal(part.data[:, n], expected.data[:, 0])
        (right * dy[n : n + 1, :length]).sum().backward()
        np.testing.assert_array_equal(x.grad[n, :length], alone.grad[0])
        assert not x.grad[n, length:].any()


@pytest.mark.parametrize("kind", LAYERS, ids=lambda kind: kind.__name__)
def test_nan_stays_in_its_sequence(kind):
    x = np.ones((3, 4, 2), np.float32)
    x[1, 2] = np.nan
    y, _ = kind(2, 20, rng=0)(x)
    assert np.isnan(y.data[1, 2:]).all()
    assert np.isfinite(y.data[[0, 2]]).all()
    assert np.isfinite(y.data[1, :2]).all()


@pytest.mark.parametrize("kind", LAYERS, ids=lambda kind: kind.__name__)
def test_nan_in_the_padding_is_not_read(kind):
    data = np.ones((2, 5, 2), np.float32)
    data[0, 3:] = np.nan
    layer, x = kind(2, 6, bidirectional=True, rng=0), lm.Tensor(data, requires_grad=True)
    y, last = layer(x, None, [3, 5])
    (y.sum() + sum(part.sum() for part in _parts(last))).backward()
    for array in (
        y.data,
        x.grad,
        *(part.data for part in _parts(last)),
        *(p.grad for p in layer.parameters()),
    ):
        assert np.isfinite(array).all()


@pytest.mark.parametrize("kind", LAYERS, ids=lambda kind: kind.__name__)
def test_no_steps_give_the_initial_state(kind):
    layer = kind(3, 4, rng=0)
    state = lm.Tensor(np.random.default_rng(0).standard_normal((1, 2, 4)).astype(np.float32))
    y, last = layer(np.zeros((2, 0, 3)), (state, state) if kind is nn.LSTM else state)
    assert y.shape == (2, 0, 4)
    for part in _parts(last):
        np.testing.assert_array_equal(part.data, state.data)


def test_dropout_stands_between_the_layers_in_training_alone():
    layer, x = nn.LSTM(3, 8, 2, dropout=0.5, rng=0), np.ones((2, 3, 3), np.float32)
    lm.manual_seed(0)
    assert not np.array_equal(layer(x)[0].data, layer(x)[0].data)
    layer.eval()
    np.testing.assert_array_equal(layer(x)[0].data, layer(x)[0].data)


@pytest.mark.parametrize("option", ["recurrent_dropout", "zoneout"])
@pytest.mark.parametrize("kind", LAYERS, ids=lambda kind: kind.__name__)
def test_recurrent_dropout_and_zoneout_act_in_training_alone(kind, option):
    plain, layer = kind(3, 8, 2, rng=0), kind(3, 8, 2, rng=0, **{option: 0.5})
    x = np.ones((2, 5, 3), np.float32)
    lm.manual_seed(0)
    assert not np.array_equal(layer(x)[0].data, layer(x)[0].data)
    layer.eval()
    np.testing.assert_array_equal(layer(x)[0].data, plain(x)[0].data)


def test_zoneout_keeps_states_as_often_as_it_says():
    layer = nn.LSTM(3, 50, zoneout=(0.25, 0.0), rng=0)
    lm.manual_seed(0)
    y, _ = layer(np.random.default_rng(0).standard_normal((20, 30, 3)).astype(np.float32))
    held = np.mean(y.data[:, 1:] == y.data[:, :-1])
    assert abs(held - 0.25) < 0.01  # of 29,000: three standard deviations are 0.008


def test_recurrent_dropout_drops_the_same_units_at_every_step():
    """With the identity for a recurrent weight and no input, a unit keeps its state or loses it at once."""
    layer = nn.RNN(1, 40, nonlinearity="relu", recurrent_dropout=0.5, rng=0)
    layer.weight_hh_l0.data[...] = np.eye(40) / 2  # kept units are multiplied by 2
    layer.bias_l0.data[...] = 0
    start = np.ones((1, 3, 40), np.float32)
    y, _ = layer(np.zeros((3, 6, 1)), start)
    assert set(np.unique(y.data)) == {0, 1}
    np.testing.assert_array_equal(y.data, np.repeat(y.data[:, :1], 6, axis=1))


def test_reset_before_needs_no_fourth_bias():
    layer = nn.GRU(3, 4, reset_after=False)
    assert layer.bias_l0.shape == (12,)
    assert layer(np.ones((2, 5, 3)))[0].shape == (2, 5, 4)


def test_the_forget_gate_starts_open():
    layer = nn.LSTM(3, 4, 2, bidirectional=True)
    for name, parameter in layer.named_parameters():
        if name.startswith("bias"):
            np.testing.assert_array_equal(parameter.data[4:8], 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.LSTM(3, 4)(np.zeros((2, 3))), r"LSTM: x must have 3 axes, NTD, got 2"),
        (lambda: nn.GRU(3, 4)(np.zeros((2, 5, 2))), r"GRU: x has 2 features .* expects 3"),
        (
            lambda: nn.GRU(3, 4, 2)(np.zeros((2, 5, 3)), np.zeros((1, 2, 4))),
            r"GRU: state h must have shape \(2, 2, 4\), \(layers \* directions, N, H\), got \(1, 2, 4\)",
        ),
        (lambda: nn.RNN(3, 4)(np.zeros((2, 5, 3)), None, [6, 1]), r"RNN: lengths must lie in 0..5"),
        (lambda: nn.LSTM(3, 4)(np.zeros((2, 5, 3)), None, [1, -1]), r"LSTM: lengths .* sequence 1 has -1"),
        (lambda: nn.GRU(3, 4)(np.zeros((2, 5, 3)), None, [1]), r"GRU: lengths must have shape \(2,\)"),
        (lambda: nn.RNN(3, 4, nonlinearity="sin"), r"RNN: unknown nonlinearity 'sin'"),
        (lambda: nn.GRU(3, 4, zoneout=(0.1, 0.1)), r"GRU: zoneout must be a number, got \(0.1, 0.1\)"),
        (lambda: nn.LSTM(3, 4, zoneout=(0.1,)), r"LSTM: zoneout must be a number or a pair for h and c"),
        (
            lambda: nn.LSTM(3, 4, recurrent_dropout=1.0),
            r"LSTM: recurrent_dropout must be at least 0 and less",
        ),
        (lambda: nn.LSTM(3, 0), r"LSTM: hidden_size must be at least 1"),
        (lambda: nn.LSTM(3, 4, dropout=1.0), r"LSTM: dropout"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_wrong_types():
    with pytest.raises(TypeError, match=r"LSTM: state must be a pair \(h, c\) or None, got ndarray"):
        nn.LSTM(3, 4)(np.zeros((2, 5, 3)), np.zeros((1, 2, 4)))
    with pytest.raises(TypeError, match="RNN: lengths must be integers, got float64"):
        nn.RNN(3, 4)(np.zeros((2, 5, 3)), None, [1.0, 2.0])
