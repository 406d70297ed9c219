"""How long each call of a plan takes."""

import os

import numpy as np
import pytest

import lamina as lm
from lamina import nn, optim

pytestmark = pytest.mark.skipif(
    os.environ.get("LAMINA_BACKEND") == "numpy", reason="asked to run without _core, which makes the plans"
)


def floats(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_profile_names_the_kernels_in_their_order():
    model, x = (
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)),
        floats(2, 8, 8, 1),
    )
    compiled = lm.compile(model, x)
    calls = compiled.profile(x, runs=3)
    assert [(call.op, call.shape) for call in calls] == [("conv2d", (2, 8, 8, 1)), ("gemm", (2, 144))]
    assert all(call.seconds > 0 for call in calls)
    assert len(calls) == compiled.calls
    with pytest.raises(ValueError, match="runs must be at least 1, got 0"):
        compiled.profile(x, runs=0)


class Reads(nn.Module):
    """What an LSTM says at every step, or its last state."""

    def __init__(self, what):
        self.lstm, self.what = nn.LSTM(3, 4, 2, bidirectional=True, rng=0), what

    def forward(self, x):
        y, (h, c) = self.lstm(x)
        return {"y": y, "h": h, "c": c}[self.what]


@pytest.mark.parametrize(("what", "stacked"), [("y", 0), ("h", 1), ("c", 1)])
def test_what_nobody_reads_is_left_out(what, stacked):
    model, x = Reads(what), floats(2, 5, 3)
    compiled = lm.compile(model, x)
    ops = [call.op for call in compiled.profile(x, runs=1)]
    assert ops.count("Python, stack") == stacked
    assert ops.count("Python, _copied") == 4 * stacked  # of each layer and direction
    for scale in (1, 2, 3):
        np.testing.assert_array_equal(compiled(scale * x), model(scale * x).data)


def test_profile_moves_no_parameter():
    model, x, y = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), floats(6, 4), np.arange(6) % 3
    step = lm.compile(
        model, x, y, loss=nn.CrossEntropyLoss(), optimizer=optim.Adam(model.parameters(), lr=0.1)
    )
    before = [p.data.copy() for p in model.parameters()]
    calls = step.profile(x, y, runs=2)
    assert {"gemm", "batch_norm", "batch_norm_backward", "follow_moments"} <= {call.op for call in calls}
    assert len(calls) == step.calls
    for p, was in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.data, was)
