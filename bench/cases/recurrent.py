"""One step of the LSTM and of the tanh RNN."""

from types import SimpleNamespace

import numpy as np

from cases.case import EPS, Case, Pass, exactly, normal, sum_bound, top
from lamina import ops
from lamina.config import backend


def _weights(rng: np.random.Generator, n: int, d: int, h: int, gates: int) -> SimpleNamespace:
    scale = np.float32(1 / np.sqrt(h))
    return SimpleNamespace(
        x=normal(rng, n, d),
        h=np.tanh(normal(rng, n, h)),
        w_ih=normal(rng, gates * h, d) * scale,
        w_hh=normal(rng, gates * h, h) * scale,
        b=normal(rng, gates * h) * scale,
        dh_next=normal(rng, n, h),
    )


def _bounds(a: SimpleNamespace, gates: int) -> tuple[float, dict[str, float]]:
    """Of a next state, and of each gradient.

    The pre-activations err by a sum; sigmoid and tanh have slope 1 at most and err by 8 eps. dz is a product
    of at most four values below `state`, each with an error of at most 3 activations.
    """
    (n, d), h = a.x.shape, a.h.shape[1]
    activation = 8 * EPS + sum_bound(d + 1, a.x, a.w_ih) + sum_bound(h + 1, a.h, a.w_hh) + sum_bound(0, a.b)
    state = 1 + (top(a.c) if gates == 4 else 0)
    dy = top(a.dh_next) + (top(a.dc_next) if gates == 4 else 0)
    dz, dz_error = dy * state, 12 * dy * state**2 * activation
    back = gates * h * dz_error + 2 * EPS * (gates * h + 1) * dz
    across = n * dz_error + 2 * EPS * (n + 1) * dz
    grads = {"dx": back * top(a.w_ih), "dh": back * top(a.w_hh), "dc": dz_error}
    grads |= {"dw_ih": across * top(a.x), "dw_hh": across * top(a.h), "db": across}
    return 3 * state * activation, grads


def lstm_cell(rng: np.random.Generator, *, n: int, d: int, h: int) -> Case:
    a = _weights(rng, n, d, h, 4)
    a.c, a.dc_next = normal(rng, n, h), normal(rng, n, h)
    _, a.c_next, a.gates = exactly(lambda *inputs: backend().lstm_cell(*inputs), *_inputs(a, "c"))

    def forward(a):
        return ops.lstm_cell(*_inputs(a, "c"))[0]

    def backward(a):
        saved = (a.x, a.h, a.c, a.w_ih, a.w_hh, a.c_next, a.gates)
        return backend().lstm_cell_backward(a.dh_next, a.dc_next, *saved)

    def both(a):
        states, ctx = ops.lstm_cell(*_inputs(a, "c"))
        return *states, *ops.lstm_cell_backward(a.dh_next, a.dc_next, ctx)

    return _case("lstm_cell", a, 4, forward, backward, both, ("h_next", "c_next"))


def rnn_cell(rng: np.random.Generator, *, n: int, d: int, h: int) -> Case:
    a = _weights(rng, n, d, h, 1)
    a.h_next = exactly(lambda *inputs: backend().rnn_cell(*inputs), *_inputs(a))

    def forward(a):
        return (ops.rnn_cell(*_inputs(a))[0],)

    def backward(a):
        return backend().rnn_cell_backward(a.dh_next, a.x, a.h, a.w_ih, a.w_hh, a.h_next)

    def both(a):
        h_next, ctx = ops.rnn_cell(*_inputs(a))
        return h_next, *ops.rnn_cell_backward(a.dh_next, ctx)

    return _case("rnn_cell", a, 1, forward, backward, both, ("h_next",))


def _inputs(a: SimpleNamespace, *more: str) -> list[np.ndarray]:
    return [a.x, a.h, *(getattr(a, name) for name in more), a.w_ih, a.w_hh, a.b]


def _case(op, a, gates, forward, backward, both, states) -> Case:
    (n, d), h = a.x.shape, a.h.shape[1]
    y, grads = _bounds(a, gates)
    names = tuple(name for name in ("dx", "dh", "dc", "dw_ih", "dw_hh", "db") if gates == 4 or name != "dc")
    errors, back_errors = (2 * y, y)[-len(states) :], tuple(grads[name] for name in names)
    flops = 2.0 * n * gates * h * (d + h)
    return Case(
        op,
        f"N{n} D{d} H{h}",
        a,
        (
            Pass("forward", forward, states, errors, flops),
            Pass("backward", backward, names, back_errors, 2 * flops),
            Pass("forward + backward", both, states + names, errors + back_errors, 3 * flops),
        ),
    )
