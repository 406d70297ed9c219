"""Masked arrays: wherever one would become a plain array, and lose its mask, it is refused."""

import operator

import numpy as np
import pytest

import lamina as lm
from lamina import data, nn, optim, viz
from lamina.autograd import Tensor
from lamina.testing import check_gradients

MASKED = np.ma.masked_array([1.0, 2.0], mask=[0, 1])


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("data", lambda t: Tensor(MASKED)),
        ("data", lambda t: lm.exp(MASKED)),
        ("data", lambda t: nn.Parameter(MASKED)),
        ("data", lambda t: Tensor([MASKED, MASKED])),
        ("data", lambda t: Tensor([[0.0, 1.0], ([2.0, np.ma.masked],)[0]])),
        ("the other operand", lambda t: t * [MASKED[0], MASKED[1]]),
        ("x", lambda t: nn.Linear(2, 1)([MASKED])),
        ("x", lambda t: nn.Linear(2, 1).predict(([1.0, 2.0], MASKED))),
        ("x", lambda t: data.Loader([MASKED, MASKED])),
        ("y", lambda t: data.Loader(np.ones((2, 2)), [MASKED, MASKED])),
        ("target", lambda t: nn.MSELoss()(t, [1.0, np.ma.masked])),
        ("target", lambda t: nn.CrossEntropyLoss()(t[None], [np.ma.masked])),
        ("weight", lambda t: nn.CrossEntropyLoss(weight=[1.0, np.ma.masked])),
        *[
            ("the other operand", use)
            for sign in (operator.add, operator.sub, operator.mul, operator.truediv, operator.pow)
            for use in (lambda t, sign=sign: sign(t, MASKED), lambda t, sign=sign: sign(MASKED, t))
        ],
        ("the other operand", lambda t: t @ MASKED),
        ("the other operand", lambda t: t == MASKED),
        ("the other operand", lambda t: t < MASKED),
        ("the other operand", lambda t: lm.maximum(MASKED, t)),
        ("the other operand", lambda t: lm.stack([t, MASKED])),
        ("the other operand", lambda t: t + np.ma.masked),
        ("the index", lambda t: t[MASKED > 1]),
        ("the index", lambda t: t[None, MASKED > 1]),
        ("grad", lambda t: (t * 2).backward(MASKED)),
        ("condition", lambda t: lm.where(MASKED > 1, t, t)),
        ("state", lambda t: nn.RNNCell(2, 2)(np.ones((1, 2)), MASKED[None])),
        ("state", lambda t: nn.RNN(2, 2)(np.ones((1, 3, 2)), MASKED[None, None])),
        ("state", lambda t: nn.LSTM(2, 2)(np.ones((1, 3, 2)), [MASKED[None, None]] * 2)),
        ("state", lambda t: nn.MemoryBlocks(2, 1, 2)(np.ones((1, 3, 2)), (MASKED[None], MASKED[None]))),
        ("lengths", lambda t: nn.RNN(2, 2)(np.ones((2, 3, 2)), lengths=np.ma.masked_array([1, 2], [0, 1]))),
        ("arrays", lambda t: check_gradients(lm.exp, MASKED)),
        ("images", lambda t: viz.tile(MASKED)),
        ("images", lambda t: viz.image_grid(MASKED)),
        ("filters", lambda t: viz.filter_grid(MASKED)),
        (r"velocity\[0\]", lambda t: load_velocity(t, MASKED)),
    ],
)
def test_masked_arrays_are_refused(name, use):
    with pytest.raises(TypeError, match=f": {name} is a masked array, whose mask would be lost"):
        use(Tensor([1.0, 2.0], requires_grad=True))


def load_velocity(parameter, velocity):
    optimizer = optim.SGD([parameter], 0.1, momentum=0.9)
    state = optimizer.state_dict()
    state["buffers"]["velocity"] = [velocity]
    optimizer.load_state_dict(state)
