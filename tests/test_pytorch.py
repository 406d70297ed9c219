"""Weights from PyTorch: the same outputs where it is installed, made by hand elsewhere."""

import re

import numpy as np
import pytest

import lamina as lm
from lamina import nn

RNG = np.random.default_rng(0)


def _same(ours, theirs, *inputs):
    """Our outputs, in float64, are PyTorch's."""
    torch = pytest.importorskip("torch")
    theirs = theirs.double().eval()
    lm.from_torch_state_dict(ours.astype(np.float64), theirs.state_dict())
    with torch.no_grad():
        right = theirs(*map(torch.tensor, inputs))
    found = ours(*inputs)
    while isinstance(right, tuple):
        found, right = found[0], right[0]
    assert np.abs(right.numpy()).max() > 1e-3
    np.testing.assert_allclose(found.data, right.numpy(), atol=1e-10)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_recurrent_layers(kind, layers, bidirectional):
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn, kind)(4, 5, layers, bidirectional=bidirectional, batch_first=True)
    ours = getattr(nn, kind)(4, 5, layers, bidirectional=bidirectional)
    _same(ours, theirs, RNG.standard_normal((3, 6, 4)))


@pytest.mark.parametrize("kind", ["RNNCell", "GRUCell", "LSTMCell"])
def test_cells(kind):
    torch = pytest.importorskip("torch")
    _same(getattr(nn, kind)(4, 5), getattr(torch.nn, kind)(4, 5), RNG.standard_normal((3, 4)))


def test_relu_cell():
    torch = pytest.importorskip("torch")
    ours, theirs = nn.RNNCell(4, 5, nonlinearity="relu"), torch.nn.RNNCell(4, 5, nonlinearity="relu")
    _same(ours, theirs, RNG.standard_normal((3, 4)), RNG.standard_normal((3, 5)))


def test_embedding_and_linear():
    torch = pytest.importorskip("torch").nn
    theirs = torch.Sequential(
        torch.Embedding(7, 4), torch.Linear(4, 3), torch.Tanh(), torch.Linear(3, 2, bias=False)
    )
    ours = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2, bias=False))
    _same(ours, theirs, RNG.integers(0, 7, (3, 5)))


def test_normalisations_with_their_running_statistics():
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.GELU(), torch.nn.GroupNorm(2, 4)
    )
    theirs(torch.tensor(RNG.standard_normal((5, 3, 6, 6)), dtype=torch.float32))
    ours = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.GELU(), nn.GroupNorm(2, 4)).eval()
    lm.from_torch_state_dict(ours.astype(np.float64), theirs.double().eval().state_dict())
    x = RNG.standard_normal((2, 3, 6, 6))
    right = theirs(torch.tensor(x)).permute(0, 2, 3, 1).detach().numpy()
    np.testing.assert_allclose(ours(x.transpose(0, 2, 3, 1)).data, right, atol=1e-10)


def test_sequences_of_filters():
    torch = pytest.importorskip("torch").nn
    theirs, ours = torch.Conv1d(4, 6, 3, groups=2).double(), nn.Conv1d(4, 6, 3, groups=2).astype(np.float64)
    lm.from_torch_state_dict(ours, theirs.state_dict())
    x = RNG.standard_normal((2, 5, 4))
    right = theirs(pytest.importorskip("torch").tensor(x).permute(0, 2, 1)).permute(0, 2, 1).detach().numpy()
    np.testing.assert_allclose(ours(x).data, right, atol=1e-10)


def test_running_statistics_by_hand():
    state = {name: np.full(2, i + 1.0) for i, name in enumerate(["weight", "bias", "running_mean"])}
    state |= {"running_var": np.full(2, 4.0), "num_batches_tracked": np.array(7)}
    layer = nn.BatchNorm1d(2)
    lm.from_torch_state_dict(layer, state)
    np.testing.assert_array_equal(layer.running_var, 4)
    np.testing.assert_allclose(layer.eval()(np.full((1, 2), 5.0)).data, 2 + (5 - 3) / 2, rtol=1e-5)


def test_images_are_flattened_in_another_order():
    torch = pytest.importorskip("torch").nn
    layers = [torch.Conv2d(3, 6, (3, 2), groups=3), torch.ReLU(), torch.MaxPool2d(2), torch.Flatten()]
    theirs = torch.Sequential(*layers, torch.Linear(6 * 3 * 2, 8), torch.Tanh(), torch.Linear(8, 4))
    layers = [nn.Conv2d(3, 6, (3, 2), groups=3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    ours = nn.Sequential(*layers, nn.Linear(6 * 3 * 2, 8), nn.Tanh(), nn.Linear(8, 4)).astype(np.float64)
    lm.from_torch_state_dict(ours, theirs.double().state_dict())
    x = RNG.standard_normal((2, 8, 5, 3))
    right = theirs(pytest.importorskip("torch").tensor(x.transpose(0, 3, 1, 2))).detach().numpy()
    np.testing.assert_allclose(ours(x).data, right, atol=1e-10)


def test_transposed_convolutions():
    torch = pytest.importorskip("torch")
    options = {"stride": (2, 3), "padding": (1, 0), "output_padding": (1, 2), "groups": 2}
    theirs = torch.nn.ConvTranspose2d(4, 6, (3, 2), dilation=(1, 2), **options).double()
    ours = nn.ConvTranspose2d(4, 6, (3, 2), dilation=(1, 2), **options).astype(np.float64)
    lm.from_torch_state_dict(ours, theirs.state_dict())
    x = RNG.standard_normal((2, 5, 4, 4))
    right = theirs(torch.tensor(x.transpose(0, 3, 1, 2))).detach().numpy()
    np.testing.assert_allclose(ours(x).data, right.transpose(0, 2, 3, 1), atol=1e-10)


def test_decoded_images_are_flattened_in_another_order():
    torch = pytest.importorskip("torch").nn
    layers = [torch.ConvTranspose2d(3, 4, 2), torch.ReLU(), torch.Upsample(scale_factor=2)]
    theirs = torch.Sequential(*layers, torch.Flatten(), torch.Linear(4 * 6 * 8, 5))
    layers = [nn.ConvTranspose2d(3, 4, 2), nn.ReLU(), nn.Upsample(2)]
    ours = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * 6 * 8, 5)).astype(np.float64)
    lm.from_torch_state_dict(ours, theirs.double().state_dict())
    x = RNG.standard_normal((2, 2, 3, 3))
    right = theirs(pytest.importorskip("torch").tensor(x.transpose(0, 3, 1, 2))).detach().numpy()
    np.testing.assert_allclose(ours(x).data, right, atol=1e-10)


def test_half_precision_and_parameters():
    """bfloat16 is unknown to NumPy; PyTorch's parameters need their gradients let go."""
    torch = pytest.importorskip("torch")
    theirs, ours = torch.nn.Linear(3, 2).bfloat16(), nn.Linear(3, 2)
    lm.from_torch_state_dict(ours, dict(theirs.named_parameters()))
    np.testing.assert_array_equal(ours.weight.data, theirs.weight.detach().float().numpy())


# Without PyTorch: state dicts made by hand ------------------------------------------------------------
def test_filters_of_transposed_convolutions_turn():
    layer = nn.ConvTranspose2d(2, 3, (4, 5))
    w = RNG.standard_normal((2, 3, 4, 5)).astype(np.float32)
    lm.from_torch_state_dict(layer, {"weight": w, "bias": np.ones(3)})
    np.testing.assert_array_equal(layer.weight.data, np.moveaxis(w, 1, 3))
    with pytest.raises(ValueError, match=r"weight has shape \(2, 4, 5, 3\), expected \(2, 3, 4, 5\)"):
        lm.from_torch_state_dict(layer, {"weight": layer.weight.data, "bias": np.ones(3)})


class Net(nn.Module):
    """A path of images to a vector that no Sequential shows, and a parameter of its own."""

    def __init__(self):
        self.conv = nn.Conv2d(1, 2, 2)
        self.out = nn.Linear(8, 1, bias=False)
        self.scale = nn.Parameter(np.ones(3))


def _net_state():
    return {
        "conv.weight": np.arange(8.0).reshape(2, 1, 2, 2),
        "conv.bias": np.array([1.0, 2.0]),
        "out.weight": np.arange(8.0).reshape(1, 8),
        "scale": np.array([1.0, 2.0, 3.0]),
    }


def test_filters_and_flattened_images_by_hand():
    model = Net()
    lm.from_torch_state_dict(model, _net_state(), channels={"out": 2})
    np.testing.assert_array_equal(model.conv.weight.data[1, :, :, 0], [[4, 5], [6, 7]])
    np.testing.assert_array_equal(model.out.weight.data, [[0, 4, 1, 5, 2, 6, 3, 7]])
    np.testing.assert_array_equal(model.scale.data, [1, 2, 3])
    lm.from_torch_state_dict(model, _net_state())
    np.testing.assert_array_equal(model.out.weight.data, [np.arange(8)])


def test_biases_by_hand():
    """Two of PyTorch's are one, but for the GRU's n."""
    state = {
        "weight_ih_l0": np.arange(6.0).reshape(6, 1),
        "weight_hh_l0": np.arange(12.0).reshape(6, 2),
        "bias_ih_l0": np.array([1.0, 2, 3, 4, 5, 6]),
        "bias_hh_l0": np.array([10.0, 20, 30, 40, 50, 60]),
    }
    gru = nn.GRU(1, 2)
    lm.from_torch_state_dict(gru, state)
    np.testing.assert_array_equal(gru.bias_l0.data, [11, 22, 33, 44, 5, 6, 50, 60])
    np.testing.assert_array_equal(gru.weight_hh_l0.data, state["weight_hh_l0"])
    rnn = nn.Sequential(nn.RNN(1, 6))
    state["weight_hh_l0"] = np.arange(36.0).reshape(6, 6)
    lm.from_torch_state_dict(rnn, {f"0.{name}": value for name, value in state.items()})
    np.testing.assert_array_equal(rnn[0].bias_l0.data, [11, 22, 33, 44, 55, 66])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"conv.bias": None}, "conv.bias is missing"),
        ({"conv.running_mean": np.ones(2)}, "conv.running_mean is unknown"),
        (
            {"conv.weight": np.ones((2, 2, 2, 1))},
            "conv.weight has shape (2, 2, 2, 1), expected (2, 1, 2, 2)",
        ),
        (
            {"conv.bias": None, "out.weight": np.ones(8)},
            "of Net: conv.bias is missing; out.weight has shape (8,), expected (1, 8)",
        ),
        ({"scale": np.ones(3, int)}, "scale is int64, expected floats"),
    ],
)
def test_what_does_not_fit_changes_nothing(change, problem):
    model = Net()
    before = model.state_dict()
    state = {name: value for name, value in (_net_state() | change).items() if value is not None}
    with pytest.raises((ValueError, TypeError), match="from_torch_state_dict.*" + re.escape(problem)):
        lm.from_torch_state_dict(model, state)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize(
    ("channels", "problem"),
    [
        ({"fc": 2}, "channels names 'fc', which is no Linear layer of the model"),
        ({"conv": 2}, "channels names 'conv', which is no Linear layer"),
        ({"out": 3}, "channels of 'out' is 3, which does not divide its 8 features"),
        ({"out": 0}, "channels of 'out' must be an int of at least 1, got 0"),
    ],
)
def test_wrong_channels(channels, problem):
    with pytest.raises(ValueError, match=re.escape(problem)):
        lm.from_torch_state_dict(Net(), _net_state(), channels=channels)


def test_gru_biases_of_another_length():
    with pytest.raises(ValueError, match=re.escape("bias_ih has shape (8,), expected (6,)")):
        lm.from_torch_state_dict(
            nn.GRUCell(1, 2),
            {
                "weight_ih": np.ones((6, 1)),
                "weight_hh": np.ones((6, 2)),
                "bias_ih": np.ones(8),
                "bias_hh": np.ones(6),
            },
        )
