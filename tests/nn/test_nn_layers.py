"""Every layer: the conformance suite, its values against plain NumPy, its constructor's errors."""

import numpy as np
import pytest

import lamina as lm
from lamina import nn, ops
from lamina.testing import check_layer

RNG = np.random.default_rng(11)
IMAGE = RNG.normal(size=(3, 6, 5, 4)).astype(np.float32)
ROWS = RNG.normal(size=(3, 5)).astype(np.float32)
STEPS = np.random.default_rng(2).standard_normal((3, 4, 5)).astype(np.float32)
LONG = np.random.default_rng(4).standard_normal((2, 7, 6)).astype(np.float32)

LAYERS = {
    "Linear": (nn.Linear(5, 4), ROWS),
    "Linear, no bias": (nn.Linear(5, 4, bias=False), ROWS),
    "Linear on sequences": (nn.Linear(5, 2), RNG.normal(size=(2, 3, 5))),
    "Conv2d": (nn.Conv2d(4, 3, 3), IMAGE),
    "Conv2d, no bias": (nn.Conv2d(4, 3, 3, bias=False), IMAGE),
    "Conv2d, options": (nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=((1, 0), (1, 1)), groups=2), IMAGE),
    "Conv2d, dilation": (nn.Conv2d(4, 2, 2, dilation=2, padding="same"), IMAGE),
    "Conv2d, im2col": (nn.Conv2d(4, 2, 3, algorithm="im2col", padding=1), IMAGE),
    "ConvTranspose2d": (nn.ConvTranspose2d(4, 3, 3), IMAGE),
    "ConvTranspose2d, no bias": (nn.ConvTranspose2d(4, 3, 3, bias=False), IMAGE),
    "ConvTranspose2d, options": (
        nn.ConvTranspose2d(
            4, 6, (3, 2), stride=(2, 3), padding=(1, 0), output_padding=(1, 2), dilation=(1, 2), groups=2
        ),
        IMAGE,
    ),
    "ConvTranspose2d, same": (nn.ConvTranspose2d(4, 2, 3, stride=2, padding="same"), IMAGE),
    "Conv1d": (nn.Conv1d(5, 3, 2, padding="same"), STEPS),
    "Conv1d, options": (nn.Conv1d(6, 4, 2, stride=2, padding=(1, 0), dilation=2, groups=2), LONG),
    "LocallyConnected2d": (nn.LocallyConnected2d(4, 2, 3, input_size=(6, 5)), IMAGE),
    "LocallyConnected2d, options": (
        nn.LocallyConnected2d(4, 2, (2, 3), input_size=(6, 5), stride=2, padding=1, bias=False),
        IMAGE,
    ),
    "LocallyConnected1d": (nn.LocallyConnected1d(5, 3, 2, input_size=4, padding=1), STEPS),
    "MaxPool1d": (nn.MaxPool1d(2), STEPS),
    "MaxPool1d, options": (nn.MaxPool1d(3, 2, padding=(1, 0), ceil_mode=True), LONG),
    "AvgPool1d": (nn.AvgPool1d(3, 2, padding=1, count_include_pad=False), LONG),
    "GlobalMaxPool2d": (nn.GlobalMaxPool2d(), IMAGE),
    "GlobalAvgPool2d": (nn.GlobalAvgPool2d(), IMAGE),
    "AdaptiveMaxPool2d": (nn.AdaptiveMaxPool2d((2, 5)), IMAGE),
    "AdaptiveMaxPool2d, overlapping": (nn.AdaptiveMaxPool2d(4), IMAGE),
    "AdaptiveAvgPool2d": (nn.AdaptiveAvgPool2d((3, 1)), IMAGE),
    "AdaptiveAvgPool2d, overlapping": (nn.AdaptiveAvgPool2d((4, 7)), IMAGE),
    "L2Pool2d": (nn.L2Pool2d(2), IMAGE),
    "L2Pool2d, options": (nn.L2Pool2d(3, 2, padding="same"), IMAGE),
    "ZeroPad2d": (nn.ZeroPad2d(((1, 0), (2, 3))), IMAGE),
    "ReflectPad2d": (nn.ReflectPad2d(((3, 1), (0, 4))), IMAGE),
    "Dropout2d": (nn.Dropout2d(0.3), IMAGE),
    "Residual": (nn.Residual(nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 5))), ROWS),
    "Residual, shortcut": (nn.Residual(nn.Linear(5, 4), shortcut=nn.Linear(5, 4, bias=False)), ROWS),
    "Parallel": (nn.Parallel(nn.Conv2d(4, 2, 1), nn.Conv2d(4, 3, 3, padding=1)), IMAGE),
    "Parallel, sum": (nn.Parallel(nn.Linear(5, 4), nn.Linear(5, 4), merge="sum"), ROWS),
    "Upsample": (nn.Upsample(2), IMAGE),
    "Upsample, bilinear": (nn.Upsample((2, 3), mode="bilinear"), IMAGE),
    "KSparse": (nn.KSparse(2), ROWS),
    "KSparse, alpha": (nn.KSparse(2, alpha=1.6), STEPS),
    "MaxPool2d": (nn.MaxPool2d(2), IMAGE),
    "MaxPool2d, options": (nn.MaxPool2d(3, 2, padding=1, ceil_mode=True), IMAGE),
    "MaxPool2d, switches": (nn.MaxPool2d(2, return_indices=True), IMAGE),
    "AvgPool2d": (nn.AvgPool2d((2, 3), 1), IMAGE),
    "AvgPool2d, options": (nn.AvgPool2d(3, 2, padding=1, ceil_mode=True, count_include_pad=False), IMAGE),
    "BatchNorm1d": (nn.BatchNorm1d(5), ROWS),
    "BatchNorm1d on sequences": (nn.BatchNorm1d(5, affine=False), STEPS),
    "BatchNorm2d": (nn.BatchNorm2d(4, eps=0.1), IMAGE),
    "BatchNorm2d, relu": (nn.BatchNorm2d(4, relu=True), IMAGE),
    "LayerNorm": (nn.LayerNorm(5), STEPS),
    "GroupNorm": (nn.GroupNorm(2, 4), IMAGE),
    "GroupNorm of instances": (nn.GroupNorm(4, 4, affine=False), IMAGE),
    "LocalResponseNorm": (nn.LocalResponseNorm(3, alpha=0.3), IMAGE),
    "ReLU": (nn.ReLU(), IMAGE),
    "Sigmoid": (nn.Sigmoid(), IMAGE),
    "Tanh": (nn.Tanh(), IMAGE),
    "LeakyReLU": (nn.LeakyReLU(slope=0.2), IMAGE),
    "ELU": (nn.ELU(alpha=0.7), IMAGE),
    "GELU": (nn.GELU(), IMAGE),
    "GELU, tanh": (nn.GELU(approximate="tanh"), IMAGE),
    "SiLU": (nn.SiLU(), IMAGE),
    "Softplus": (nn.Softplus(), IMAGE),
    "Maxout": (nn.Maxout(2), IMAGE),
    "Softmax": (nn.Softmax(), ROWS),
    "Softmax, axis": (nn.Softmax(axis=1), IMAGE),
    "LogSoftmax": (nn.LogSoftmax(), ROWS),
    "Flatten": (nn.Flatten(), IMAGE),
    "Dropout": (nn.Dropout(0.3), ROWS),
    "Embedding": (nn.Embedding(7, 4), np.arange(6).reshape(3, 2)),
    "RNNCell": (nn.RNNCell(5, 4), ROWS),
    "RNNCell, relu": (nn.RNNCell(5, 4, nonlinearity="relu"), ROWS),
    "GRUCell": (nn.GRUCell(5, 4), ROWS),
    "LSTMCell": (nn.LSTMCell(5, 4), ROWS),
    "RNN": (nn.RNN(5, 4, nonlinearity="relu"), STEPS),
    "GRU": (nn.GRU(5, 4, 2, bidirectional=True), STEPS),
    "LSTM": (nn.LSTM(5, 4, 2, dropout=0.3), STEPS),
    "Bidirectional": (nn.Bidirectional(nn.GRU(5, 3)), STEPS),
    "TimeDistributed": (nn.TimeDistributed(nn.Linear(5, 2)), STEPS),
    "MemoryBlocks": (nn.MemoryBlocks(5, 2, 2, recurrent="all", biased="gates", peepholes=True), STEPS),
    "Sequential": (nn.Sequential(nn.Conv2d(4, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(24, 3)), IMAGE),
}


@pytest.mark.parametrize("name", LAYERS)
def test_conformance(name):
    layer, x = LAYERS[name]
    check_layer(layer, x, gradients=x.dtype.kind == "f")  # tokens have none


def test_every_exported_layer_is_covered():
    covered = {type(layer).__name__ for layer, _ in LAYERS.values()}
    losses = {name for name in nn.__all__ if name.endswith("Loss")}
    pairs = {"MaxUnpool2d"}  # takes switches too: tests/nn/test_autoencoder_layers.py
    functions = {name for name in nn.__all__ if name.islower()}
    assert covered | losses | pairs | functions | {"Module", "Parameter"} == set(nn.__all__)


# values -----------------------------------------------------------------------------------------------
def test_linear_value():
    layer = nn.Linear(5, 4, rng=0)
    np.testing.assert_allclose(
        layer(ROWS).data, ROWS @ layer.weight.data.T + layer.bias.data, rtol=1e-5, atol=1e-6
    )


def test_conv_passes_its_options_on():
    layer = nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=((1, 0), (1, 1)), dilation=(1, 2), groups=2)
    expected, _ = ops.conv2d(
        IMAGE,
        layer.weight.data,
        layer.bias.data,
        stride=(2, 1),
        padding=((1, 0), (1, 1)),
        dilation=(1, 2),
        groups=2,
    )
    np.testing.assert_array_equal(layer(IMAGE).data, expected)
    assert layer.weight.shape == (6, 3, 2, 2)


def test_pools_pass_their_options_on():
    x = np.arange(25, dtype=np.float32).reshape(1, 5, 5, 1)
    assert nn.MaxPool2d(2)(x).shape == (1, 2, 2, 1)
    assert nn.MaxPool2d(2, ceil_mode=True)(x).shape == (1, 3, 3, 1)
    assert nn.MaxPool2d(2, 1)(x).shape == (1, 4, 4, 1)
    assert nn.AvgPool2d(3, padding=1)(x).data[0, 0, 0, 0] == np.float32((0 + 1 + 5 + 6) / 9)
    assert nn.AvgPool2d(3, padding=1, count_include_pad=False)(x).data[0, 0, 0, 0] == (0 + 1 + 5 + 6) / 4
    assert nn.AvgPool2d(3, 1, padding="same")(x).data[0, 0, 0, 0] == (0 + 1 + 5 + 6) / 4


def test_activation_values():
    x = np.array([[-2.0, 0.0, 3.0]], np.float32)
    np.testing.assert_array_equal(nn.ReLU()(x).data, [[0, 0, 3]])
    np.testing.assert_allclose(nn.Sigmoid()(x).data, 1 / (1 + np.exp(-x)), rtol=1e-6)
    np.testing.assert_allclose(nn.Tanh()(x).data, np.tanh(x), rtol=1e-6)
    np.testing.assert_allclose(nn.Softmax()(x).data, np.exp(x) / np.exp(x).sum(), rtol=1e-6)
    np.testing.assert_allclose(nn.LogSoftmax()(x).data, np.log(np.exp(x) / np.exp(x).sum()), rtol=1e-6)
    np.testing.assert_allclose(nn.Softmax(axis=0)(x).data, 1)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_lstm_cell_value():
    cell = nn.LSTMCell(5, 4, rng=1).astype(np.float64)
    x, h, c = ROWS.astype(np.float64), RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))
    h_next, c_next = cell(x, (h, c))
    z = x @ cell.weight_ih.data.T + h @ cell.weight_hh.data.T + cell.bias.data
    i, f, g, o = np.split(z, 4, axis=1)
    expected = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
    np.testing.assert_allclose(c_next.data, expected, rtol=1e-12)
    np.testing.assert_allclose(h_next.data, _sigmoid(o) * np.tanh(expected), rtol=1e-12)


def test_gru_cell_value():
    cell = nn.GRUCell(5, 4, rng=1).astype(np.float64)
    x, h = ROWS.astype(np.float64), RNG.normal(size=(3, 4))
    of_x = np.split(x @ cell.weight_ih.data.T + cell.bias.data[:12], 3, axis=1)
    of_h = np.split(h @ cell.weight_hh.data.T, 3, axis=1)
    r, z = _sigmoid(of_x[0] + of_h[0]), _sigmoid(of_x[1] + of_h[1])
    n = np.tanh(of_x[2] + r * (of_h[2] + cell.bias.data[12:]))
    np.testing.assert_allclose(cell(x, h).data, (1 - z) * n + z * h, rtol=1e-12)


def test_embedding_value():
    layer = nn.Embedding(5, 3, rng=0)
    assert layer.weight.shape == (5, 3)
    for tokens in (np.array(4), np.array([0, 4, 4]), np.arange(4).reshape(2, 2, 1), np.zeros((2, 0), int)):
        np.testing.assert_array_equal(layer(tokens).data, layer.weight.data[tokens])
    layer([1, 4, 1]).sum().backward()
    np.testing.assert_array_equal(layer.weight.grad, np.repeat([[0], [2], [0], [0], [1]], 3, axis=1))


def test_embedding_starts_standard_normal():
    weight = nn.Embedding(200, 100, rng=0).weight.data
    assert abs(weight.mean()) < 0.03
    assert abs(weight.std() - 1) < 0.02


def test_rnn_cell_value():
    cell = nn.RNNCell(5, 4, rng=1).astype(np.float64)
    x, h = ROWS.astype(np.float64), RNG.normal(size=(3, 4))
    expected = np.tanh(x @ cell.weight_ih.data.T + h @ cell.weight_hh.data.T + cell.bias.data)
    np.testing.assert_allclose(cell(x, h).data, expected, rtol=1e-12)
    relu = nn.RNNCell(5, 4, nonlinearity="relu", rng=1).astype(np.float64)
    np.testing.assert_allclose(relu(x, h).data, np.maximum(np.arctanh(expected), 0), rtol=1e-9)


@pytest.mark.parametrize(
    "cell",
    [
        nn.RNNCell(3, 2, rng=0),
        nn.RNNCell(3, 2, nonlinearity="relu", rng=0),
        nn.GRUCell(3, 2, rng=0),
        nn.LSTMCell(3, 2, rng=0),
    ],
    ids=["RNN", "RNN-relu", "GRU", "LSTM"],
)
def test_cells_through_time(cell):
    """Three steps, the state carried on; the loss reads only the last h, so c's last gradient is missing."""
    x = lm.Tensor(RNG.normal(size=(2, 3, 3)))
    cell = cell.astype(np.float64)

    def run():
        state = None
        for t in range(3):
            state = cell(x[:, t], state)
        h = state[0] if isinstance(state, tuple) else state
        return (h * h).sum()

    run().backward()
    for name, p in cell.named_parameters():
        for at in np.ndindex(p.shape):
            former = p.data[at]
            p.data[at] = former + 1e-6
            high = run().item()
            p.data[at] = former - 1e-6
            low = run().item()
            p.data[at] = former
            assert p.grad[at] == pytest.approx((high - low) / 2e-6, rel=1e-6, abs=1e-8), (name, at)


def test_lstm_state_errors():
    cell = nn.LSTMCell(5, 4)
    with pytest.raises(TypeError, match=r"LSTMCell: state must be a pair \(h, c\) or None, got ndarray"):
        cell(ROWS, np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"LSTMCell: h must have shape"):
        cell(ROWS, (np.zeros((2, 4)), np.zeros((2, 4))))
    with pytest.raises(ValueError, match=r"LSTMCell: x has 6 features .* but weight_ih expects 5 "):
        cell(np.zeros((3, 6)))
    with pytest.raises(ValueError, match=r"RNNCell: x must have 2 axes, ND, got 0"):
        nn.RNNCell(5, 4)(np.float32(1))
    with pytest.raises(ValueError, match=r"GRUCell: x must have 2 axes, ND, got 3"):
        nn.GRUCell(5, 4)(np.zeros((2, 3, 5)))
    with pytest.raises(ValueError, match=r"GRUCell: h must have shape \(2, 4\)"):
        nn.GRUCell(5, 4)(np.zeros((2, 5)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"RNNCell: unknown nonlinearity 'sin'"):
        nn.RNNCell(5, 4, nonlinearity="sin")
    with pytest.raises(ValueError, match=r"GRUCell: weight_ih must have shape \(12, 6\)"):
        nn.GRUCell(5, 4)(np.zeros((2, 6)))


def test_embedding_errors():
    layer = nn.Embedding(5, 3)
    with pytest.raises(
        ValueError, match=r"Embedding: token 5 at \(1, 0\) is out of range: weight takes 0..4"
    ):
        layer([[0, 1], [5, 2]])
    with pytest.raises(ValueError, match=r"Embedding: token -1 at \(0,\)"):
        layer([-1])
    with pytest.raises(
        TypeError, match="Embedding: tokens must be a NumPy array of integers, got an array of"
    ):
        layer(np.zeros(2))


# dropout ----------------------------------------------------------------------------------------------
def test_dropout():
    x = np.ones((200, 100), np.float32)
    layer = nn.Dropout(0.25, rng=3)
    y = layer(x).data
    assert y.dtype == np.float32
    np.testing.assert_array_equal(np.unique(y), np.float32([0, 1 / 0.75]))
    assert np.mean(y == 0) == pytest.approx(0.25, abs=0.01)
    assert not np.array_equal(layer(x).data, y)
    np.testing.assert_array_equal(nn.Dropout(0.25, rng=3)(x).data, y)
    layer.eval()
    np.testing.assert_array_equal(layer(x).data, x)
    np.testing.assert_array_equal(nn.Dropout(0)(x).data, x)


def test_dropout_gradient_has_the_mask():
    x = lm.Tensor(np.ones(50, np.float32), requires_grad=True)
    y = nn.Dropout(0.5, rng=3)(x)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, y.data)


def test_dropout_draws_from_the_librarys_generator():
    lm.manual_seed(4)
    first = nn.Dropout()(ROWS).data
    lm.manual_seed(4)
    np.testing.assert_array_equal(nn.Dropout()(ROWS).data, first)


# initial values ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("make", "bound"),
    [
        (lambda rng: nn.Linear(400, 50, rng=rng), 1 / 20),
        (lambda rng: nn.Conv2d(16, 50, 5, rng=rng), 1 / 20),
        (lambda rng: nn.Conv2d(32, 50, 5, groups=2, rng=rng), 1 / 20),
        (lambda rng: nn.ConvTranspose2d(50, 16, 5, rng=rng), 1 / 20),
        (lambda rng: nn.ConvTranspose2d(50, 32, 5, groups=2, rng=rng), 1 / 20),
        (lambda rng: nn.RNNCell(30, 400, rng=rng), 1 / 20),
    ],
    ids=[
        *("Linear", "Conv2d", "Conv2d with groups"),
        *("ConvTranspose2d", "ConvTranspose2d with groups", "RNNCell"),
    ],
)
def test_initial_values(make, bound):
    layer = make(np.random.default_rng(0))
    for p in layer.parameters():
        assert p.dtype == np.float32
        assert p.requires_grad
        assert np.abs(p.data).max() <= np.float32(bound)
        if p.size > 1000:
            assert np.abs(p.data).max() > 0.99 * bound
            assert p.data.std() == pytest.approx(bound / np.sqrt(3), rel=0.03)
    for same in (make(0), make(np.random.default_rng(0))):
        for p, q in zip(layer.parameters(), same.parameters(), strict=True):
            np.testing.assert_array_equal(p.data, q.data)
    lm.manual_seed(0)
    for p, q in zip(layer.parameters(), make(None).parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)


def test_forget_gate_starts_open():
    bias = nn.LSTMCell(3, 4).bias.data
    np.testing.assert_array_equal(bias[4:8], 1)
    assert np.abs(bias[:4]).max() <= 0.5
    assert np.abs(bias[8:]).max() <= 0.5


# what layers compute on --------------------------------------------------------------------------------
@pytest.mark.parametrize("layer", [nn.Conv2d(4, 2, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Dropout(0.1)], ids=repr)
def test_bytes_are_computed_on_as_floats(layer):
    x = RNG.integers(0, 256, IMAGE.shape, np.uint8)
    layer.eval()
    y = layer(x)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y.data, layer(x.astype(np.float32)).data)


def test_arrays_take_the_dtype_of_the_parameters():
    layer = nn.Linear(5, 4)
    for x in (ROWS, ROWS.astype(np.float64), ROWS.astype(np.float16), ROWS.astype(">f4"), ROWS.tolist()):
        assert layer(x).dtype == np.float32
    assert layer.astype(np.float64)(ROWS).dtype == np.float64
    exact = [[0.1] * 5]
    np.testing.assert_array_equal(layer(exact).data, layer(np.array(exact)).data)
    assert nn.ReLU()([1.0, -1.0]).dtype == np.float32
    assert nn.ReLU()(np.ones(2)).dtype == np.float64


def test_tensors_are_not_converted():
    with pytest.raises(
        TypeError, match="Linear: the arrays must share one dtype, got x float64, weight float32"
    ):
        nn.Linear(5, 4)(lm.Tensor(ROWS.astype(np.float64)))


def test_input_without_gradient_costs_none():
    layer = nn.Conv2d(4, 2, 3)
    y = layer(IMAGE)
    node = y._edge[0]
    assert node.args == (False,)
    dx, dw, _ = ops.conv2d_backward(np.ones_like(y.data), node.ctx, *node.args)
    assert dx is None
    assert dw.shape == layer.weight.shape
