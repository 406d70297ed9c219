"""nn.MemoryBlocks: the weight counts of its sources, nn.LSTM as a special case, states, bad input."""

import numpy as np
import pytest

import lamina as lm
from lamina import nn

_1997 = {"forget_gate": False, "squash_input": "1997", "squash_state": "1997", "recurrent": "all"}
_2A = {"output_gate": False, "forget_gate": False, "recurrent": "none", "biased": "none"}


def _weights(inputs, outputs, blocks, cells, output_bias, shortcut=False, **options):
    """Of blocks and an output layer that sees the cells, with a shortcut the inputs too."""
    layer = nn.MemoryBlocks(inputs, blocks, cells, **options)
    seen = layer.hidden_size + (inputs if shortcut else 0)
    return sum(p.size for p in layer.parameters()) + outputs * (seen + output_bias)


@pytest.mark.parametrize(
    ("published", "found"),
    [
        (264, _weights(7, 7, 4, 1, False, biased="gates", **_1997)),  # embedded Reber grammar
        (276, _weights(7, 7, 3, 2, False, biased="gates", **_1997)),
        (10504, _weights(101, 101, 1, 1, False, shortcut=True, **_2A)),  # long lags without noise, p = 100
        (
            364,
            _weights(54, 2, 2, 1, False, biased="none", **_1997),
        ),  # long lags among 50, 100, 1000 distractors
        (664, _weights(104, 2, 2, 1, False, biased="none", **_1997)),
        (6064, _weights(1004, 2, 2, 1, False, biased="none", **_1997)),
        (102, _weights(1, 1, 3, 1, False, **_1997)),  # two sequences
        (93, _weights(2, 1, 2, 2, True, **_1997)),  # adding
        (156, _weights(8, 4, 2, 2, True, **_1997)),  # temporal order of two
        (308, _weights(8, 8, 3, 2, True, **_1997)),  # of three
        (424, _weights(7, 7, 4, 2, True, shortcut=True, biased="gates")),  # Gers et al. 2000
    ],
)
def test_published_weight_counts(published, found):
    assert found == published


def test_one_cell_a_block_and_all_gates_is_an_lstm():
    lstm, blocks = nn.LSTM(3, 5, rng=0), nn.MemoryBlocks(3, 5, rng=1)
    for name in ("weight_ih", "weight_hh", "bias"):
        getattr(blocks, name).data[:] = getattr(lstm, f"{name}_l0").data
    data = np.random.default_rng(0).standard_normal((4, 6, 3)).astype(np.float32)
    results = []
    for layer in (lstm, blocks):
        x = lm.Tensor(data, requires_grad=True)
        y, (h, c) = layer(x, None, [6, 2, 0, 5])
        ((y * data.sum()).sum() + (h * 2).sum() + (c * 3).sum()).backward()
        results.append([y.data, h.data.reshape(4, 5), c.data.reshape(4, 5), x.grad])
        results[-1] += [p.grad for _, p in sorted(layer.named_parameters())]
    for found, right in zip(*results[::-1], strict=True):
        np.testing.assert_allclose(found, right, rtol=2e-5, atol=1e-4)


@pytest.mark.parametrize("recurrent", ["cells", "all", "none"])
def test_two_halves_with_the_state_handed_on_are_the_whole(recurrent):
    layer = nn.MemoryBlocks(3, 2, 2, recurrent=recurrent, peepholes=True, rng=0)
    x = np.random.default_rng(0).standard_normal((2, 6, 3)).astype(np.float32)
    whole, end = layer(x)
    first, state = layer(x[:, :4])
    second, last = layer(x[:, 4:], state)
    np.testing.assert_array_equal(np.concatenate([first.data, second.data], axis=1), whole.data)
    for part, right in zip(last, end, strict=True):
        np.testing.assert_array_equal(part.data, right.data)


def test_the_forget_gate_starts_open_and_no_other():
    bias = nn.MemoryBlocks(3, 4, 2, biased="gates", rng=0).bias.data
    np.testing.assert_array_equal(bias == 1, [False] * 4 + [True] * 4 + [False] * 4)
    assert not (nn.MemoryBlocks(3, 4, 2, forget_gate="coupled", rng=0).bias.data == 1).any()


def test_truncated_gives_x_no_gradient_but_the_weights_theirs():
    layer = nn.MemoryBlocks(3, 2, 2, truncated=True, rng=0)
    x = lm.Tensor(np.ones((2, 4, 3), np.float32), requires_grad=True)
    layer(x)[0].sum().backward()
    assert not x.grad.any()
    assert all(p.grad.any() for p in layer.parameters())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: nn.MemoryBlocks(3, 4)(np.zeros((2, 3))),
            r"MemoryBlocks: x must be \(N, T, 3\), or tokens \(N, T\), got shape \(2, 3\)",
        ),
        (
            lambda: nn.MemoryBlocks(3, 4)(np.zeros((2, 5, 2))),
            r"MemoryBlocks: x must .* got shape \(2, 5, 2\)",
        ),
        (
            lambda: nn.MemoryBlocks(3, 4)(np.zeros((2, 5, 3)), (np.zeros((2, 4)), np.zeros((2, 3)))),
            r"MemoryBlocks: state c must have shape \(2, 4\), got \(2, 3\)",
        ),
        (lambda: nn.MemoryBlocks(3, 4, recurrent="gates"), r"MemoryBlocks: unknown recurrent 'gates'"),
        (lambda: nn.MemoryBlocks(3, 4, biased="cells"), r"MemoryBlocks: unknown biased 'cells'"),
        (lambda: nn.MemoryBlocks(3, 4, squash_state="relu"), r"MemoryBlocks: unknown squash_state 'relu'"),
        (lambda: nn.MemoryBlocks(3, 0), r"MemoryBlocks: blocks must be at least 1"),
        (lambda: nn.MemoryBlocks(3, 1, input_gate=False, forget_gate="coupled"), r"needs an input gate"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_wrong_types():
    with pytest.raises(TypeError, match=r"MemoryBlocks: state must be a pair \(u, c\) or None, got ndarray"):
        nn.MemoryBlocks(3, 4)(np.zeros((2, 5, 3)), np.zeros((2, 4)))
    with pytest.raises(TypeError, match="MemoryBlocks: forget_gate must be True or False, got 'gate'"):
        nn.MemoryBlocks(3, 4, forget_gate="gate")
