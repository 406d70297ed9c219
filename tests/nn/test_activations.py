"""Gates and states at every step, against the equations of the cells."""

import numpy as np
import pytest

from lamina import nn

pytestmark = pytest.mark.usefixtures("machine")
LAYERS = [nn.RNN, nn.GRU, nn.LSTM]
LENGTHS = [5, 2, 0, 4]


def _sigmoid(a):
    return 1 / (1 + np.exp(-a))


def _step(layer, where, x, before):
    """What the equations make of x and the state `before`, both of one sequence: name -> (H,)."""
    w_ih, w_hh, b = (getattr(layer, f"{part}_{where}").data for part in ("weight_ih", "weight_hh", "bias"))
    h, hidden = before["h"], layer.hidden_size
    if isinstance(layer, nn.LSTM):
        i, f, g, o = np.split(w_ih @ x + w_hh @ h + b, 4)
        i, f, g, o = _sigmoid(i), _sigmoid(f), np.tanh(g), _sigmoid(o)
        c = f * before["c"] + i * g
        return {"i": i, "f": f, "g": g, "o": o, "c": c, "h": o * np.tanh(c)}
    if isinstance(layer, nn.GRU):
        r, z, n = np.split(w_ih @ x + b[: 3 * hidden], 3)
        from_h = np.split(w_hh @ h, 3)
        r, z = _sigmoid(r + from_h[0]), _sigmoid(z + from_h[1])
        n = np.tanh(n + r * (from_h[2] + b[3 * hidden :]))
        return {"r": r, "z": z, "n": n, "h": (1 - z) * n + z * h}
    return {"h": np.tanh(w_ih @ x + w_hh @ h + b)}


@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", LAYERS, ids=lambda kind: kind.__name__)
def test_activations_obey_the_equations(kind, bidirectional, lengths):
    rng = np.random.default_rng(0)
    layer = kind(3, 4, 2, bidirectional=bidirectional, dropout=0.5, rng=0).astype(np.float64)
    x = rng.standard_normal((4, 5, 3))
    directions = 1 + bidirectional
    parts = [rng.standard_normal((2 * directions, 4, 4)) for _ in range(1 + (kind is nn.LSTM))]
    found = layer.activations(x, parts[0] if len(parts) == 1 else tuple(parts), lengths)
    assert len(found) == 2 * directions
    assert layer.training
    for at, traces in enumerate(found):
        number, back = divmod(at, directions)
        inputs = x
        if number > 0:
            below = found[:directions]
            inputs = np.concatenate([t["h"] for t in below], axis=2)
        where = f"l{number}{'_reverse' if back else ''}"
        for n, length in enumerate(lengths or [5] * 4):
            before = {name: part[at, n] for name, part in zip("hc", parts, strict=False)}
            for t in reversed(range(length)) if back else range(length):
                expected = _step(layer, where, inputs[n, t], before)
                assert set(expected) == set(traces)
                before = {name: trace[n, t] for name, trace in traces.items()}
                for name, value in expected.items():
                    np.testing.assert_allclose(before[name], value, atol=1e-12, err_msg=name)
            assert all(not trace[n, length:].any() for trace in traces.values())


@pytest.mark.parametrize("kind", LAYERS, ids=lambda kind: kind.__name__)
def test_the_last_layer_gives_what_a_call_gives(kind):
    layer, tokens = kind(7, 4, 2, rng=0), np.random.default_rng(0).integers(0, 7, (3, 6))
    traces = layer.activations(tokens)[-1]
    np.testing.assert_array_equal(traces["h"], layer(tokens)[0].data)
    traces["h"][:] = 9  # a copy: the layer goes on as before
    assert np.abs(layer(tokens)[0].data).max() < 1


def test_wrong_features():
    with pytest.raises(ValueError, match="RNN: x has 2 features"):
        nn.RNN(3, 4).activations(np.zeros((1, 5, 2)))
    with pytest.raises(TypeError, match="a pair"):
        nn.LSTM(3, 4).activations(np.zeros((1, 5, 3)), np.zeros((1, 1, 4)))
