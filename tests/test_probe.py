"""Signals of a text, units that follow them, and how far back a gradient reaches."""

import numpy as np
import pytest

import lamina as lm
from lamina import nn, probe


def test_bracket_depth_and_quotes():
    assert probe.bracket_depth("a(b(c))d)(").tolist() == [0, 1, 1, 2, 2, 1, 0, 0, 0, 1]
    assert probe.bracket_depth("([x])", "()[]").tolist() == [1, 2, 2, 1, 0]
    assert probe.bracket_depth("([x])").tolist() == [1, 1, 1, 1, 0]
    assert probe.inside_quotes('a "bc" d"').tolist() == [0, 0, 1, 1, 1, 0, 0, 0, 1]
    assert probe.inside_quotes("'a", "'").tolist() == [1, 1]
    with pytest.raises(ValueError, match="brackets must be pairs"):
        probe.bracket_depth("()", "(")


def test_correlations():
    signal = np.array([0.0, 1, 1, 0, 1])
    values = np.stack([signal, 3 - 2 * signal, np.full(5, 7.0), [1, 5, 2, 4, 3]], axis=1)
    found = probe.correlations(values, signal)
    expected = np.corrcoef(values[:, 3], signal)[0, 1]
    np.testing.assert_allclose(found, [1, -1, 0, expected], atol=1e-12)
    assert 0.05 < abs(expected) < 0.9
    with pytest.raises(ValueError, match="signal is constant"):
        probe.correlations(values, np.ones(5))
    with pytest.raises(ValueError, match=r"values have shape \(5, 4\) and signal \(4,\)"):
        probe.correlations(values, np.ones(4))


def test_a_unit_made_to_follow_the_brackets_is_found():
    """Unit 2 of the second layer adds 1 for an opening bracket and takes 1 for a closing one."""
    text, characters = "ab(c(d)e)f(g)(hi(j)" * 3, "abcdefghij()"
    layer = nn.LSTM(len(characters), 5, 1, rng=0)
    opening, closing = characters.index("("), characters.index(")")
    rows = {gate: 5 * place + 2 for place, gate in enumerate("ifgo")}
    for gate, bias in (("i", 20), ("f", 20), ("g", 0)):
        layer.weight_ih_l0.data[rows[gate]] = layer.weight_hh_l0.data[rows[gate]] = 0
        layer.bias_l0.data[rows[gate]] = bias
    layer.weight_ih_l0.data[rows["g"], [opening, closing]] = 20, -20
    tokens = lm.text.Vocabulary(characters).encode(text)[None]
    best, second = probe.rank_units(layer.activations(tokens), probe.bracket_depth(text), names="c")[:2]
    assert (best.layer, best.name, best.unit) == (0, "c", 2)
    assert best.correlation > 0.9999 > 0.95 > abs(second.correlation)


def test_ranking_passes_over_what_a_layer_has_not_and_refuses_several_texts():
    traces = nn.RNN(2, 3, 2, rng=0).activations(np.array([[0, 1, 1, 0]]))
    units = probe.rank_units(traces, [0, 1, 1, 0])
    assert {(u.layer, u.name, u.unit) for u in units} == {(n, "h", u) for n in (0, 1) for u in range(3)}
    sizes = [abs(u.correlation) for u in units]
    assert sizes == sorted(sizes, reverse=True)
    with pytest.raises(ValueError, match=r"expected \(1, T, H\): one text"):
        probe.rank_units([{"h": np.zeros((2, 4, 3))}], np.arange(4))


def test_the_gradient_of_one_tanh_unit_over_the_lag():
    """dh_T/dx_t = u (w (1 - h^2))^(T-t) (1 - h^2) at rest, h = tanh(w h) (Bengio et al. 1994)."""
    layer, w, u = nn.RNN(1, 1).astype(np.float64), 1.25, 0.5
    h = 0.9
    for _ in range(500):
        h = np.tanh(w * h)
    layer.weight_hh_l0.data[:], layer.weight_ih_l0.data[:], layer.bias_l0.data[:] = w, u, 0
    layer.bias_l0.grad = np.array([7.0])
    norms = probe.gradient_by_lag(_From(layer, h), np.zeros((3, 60, 1)))
    np.testing.assert_allclose(norms, u * (1 - h * h) * (w * (1 - h * h)) ** np.arange(60), rtol=1e-10)
    assert layer.bias_l0.grad.tolist() == [7]
    assert layer.bias_l0.requires_grad


class _From(nn.Module):
    """A layer that starts from the state h."""

    def __init__(self, layer, h):
        self.layer, self.h = layer, h

    def forward(self, x):
        return self.layer(x, np.full((1, len(x.data), 1), self.h))


def test_a_cell_that_forgets_nothing_carries_the_gradient_everywhere():
    layer = nn.LSTM(1, 1, rng=0).astype(np.float64)
    layer.weight_hh_l0.data[:] = 0
    layer.bias_l0.data[:] = 0, 40, 0, 0
    norms = probe.gradient_by_lag(layer, np.zeros((2, 50, 1)))
    np.testing.assert_allclose(norms[1:], norms[1], rtol=1e-12)
    assert norms[1] > 1e-3
    scaled = probe.gradient_by_lag(layer, np.zeros((2, 50, 1)), loss=lambda last: (2 * last).sum())
    np.testing.assert_allclose(scaled, 2 * norms)


def test_the_gradient_needs_sequences():
    with pytest.raises(ValueError, match=r"expected \(N, T, D\)"):
        probe.gradient_by_lag(nn.RNN(3, 2), np.zeros((4, 3)))


def _gabor(direction, wavelength, center, size=9):
    row, column = np.indices((size, size))
    u = (column - center[1]) * np.cos(direction) + (row - center[0]) * np.sin(direction)
    window = np.exp(-((column - center[1]) ** 2 + (row - center[0]) ** 2) / (2 * 2.0**2))
    return window * np.cos(2 * np.pi * u / wavelength + 0.7)


def test_filters_that_are_edges_and_filters_that_are_not():
    rng = np.random.default_rng(0)
    edges = [3.0 * _gabor(d, length, (4, 5)) for d in (0.1, 1.0, 2.5) for length in (3, 5, 8)]
    step = np.where(np.arange(9) < 4, -1.0, 1.0) * np.exp(-((np.arange(9) - 3.5) ** 2) / 4)
    edges.append(np.tile(step, (9, 1)) * np.exp(-((np.arange(9)[:, None] - 4) ** 2) / 8))
    noise = rng.standard_normal((200, 9, 9))
    assert (probe.gabor_fit(edges) > 0.8).all()  # the grid of Gabors is coarse
    assert (probe.gabor_fit(noise) < 0.4).all()
    checks = np.indices((9, 9)).sum(axis=0) % 2 * 2 - 1
    others = probe.gabor_fit([np.ones((9, 9)), checks, np.zeros((9, 9))])
    assert (others < 0.5).all()
    assert others[2] == 0


def test_gabor_fit_of_rows_and_its_errors():
    rows = np.random.default_rng(0).standard_normal((3, 16))
    np.testing.assert_allclose(probe.gabor_fit(rows), probe.gabor_fit(-5 * rows.reshape(3, 4, 4)))
    for shape in ((3, 17), (16,), (0, 4, 4)):
        with pytest.raises(ValueError, match=r"filters have shape .*expected \(K, H, W\)"):
            probe.gabor_fit(np.zeros(shape))
    with pytest.raises(ValueError, match="filters must be finite"):
        probe.gabor_fit(np.full((1, 2, 2), np.nan))
