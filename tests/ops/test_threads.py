"""The same bits for 1, 2, 3 and 16 threads: every op, float data, sizes worth more than one thread."""

import numpy as np
import pytest

from lamina import config, ops
from tests.ops.case import SEQUENCES, Case
from tests.ops.cases import CASES

_SEQUENCE = {"x": (37, 12, 50), "h0": (37, 70)}
_CELL = {"x": (96, 80), "h": (96, 64)}


def _images(op, name, x, w=None, **options):
    return Case(op, name, {"x": x} | ({"w": w, "b": (w[0],)} if w else {}), options)


def _weights(gates, biases):
    return {"w_ih": (gates * 70, 50), "w_hh": (gates * 70, 70), "b": (biases * 70,)}


def _matrices(op, x, **others):
    options = {name: others.pop(name) for name in ("k", "axis", "size") if name in others}
    return Case(op, "large", {"x": x} | others, options)


LARGE = [
    Case("gemm", "square", {"a": (257, 259), "b": (259, 251)}),
    Case("gemm", "deep", {"a": (33, 5000), "b": (5000, 17)}),
    Case("gemm", "tall", {"a": (20000, 5), "b": (5, 7)}),
    Case(
        "gemm", "transposed", {"a": (300, 200), "b": (310, 300)}, {"transpose_a": True, "transpose_b": True}
    ),
    *(
        Case("linear", f"{n}-relu={relu}", {"x": (n, 784), "w": (300, 784), "b": (300,)}, {"relu": relu})
        for relu in (False, True)
        for n in (1, 128, 500)
    ),
    *(
        _images("conv2d", f"{name}-{algorithm}", x, w, algorithm=algorithm, **options)
        for algorithm in ("auto", "im2col", "direct")
        for name, x, w, options in [
            ("3x3", (4, 24, 24, 16), (24, 3, 3, 16), {"padding": 1}),
            ("few_channels", (8, 33, 31, 3), (17, 5, 5, 3), {"stride": 2, "padding": 2}),
            ("one_image", (1, 40, 41, 32), (33, 3, 3, 32), {"dilation": 2}),
            ("1x1", (6, 20, 20, 48), (40, 1, 1, 48), {}),
            ("groups", (4, 20, 20, 32), (48, 3, 3, 8), {"groups": 4, "padding": 1}),
            ("depthwise", (3, 25, 24, 40), (40, 3, 3, 1), {"groups": 40, "padding": 1}),
            ("depthwise_stride", (19, 12, 13, 48), (48, 5, 5, 1), {"groups": 48, "padding": 2, "stride": 2}),
            ("groups_of_2", (5, 20, 21, 40), (40, 3, 3, 2), {"groups": 20, "padding": 1}),
            ("relu", (4, 24, 24, 16), (24, 3, 3, 16), {"padding": 1, "relu": True}),
            ("depthwise_relu", (3, 25, 24, 40), (40, 3, 3, 1), {"groups": 40, "relu": True}),
        ]
    ),
    *(
        _images("conv2d", f"{name}-{algorithm}", x, w, algorithm=algorithm, padding=1)
        for algorithm in ("winograd2", "winograd4")
        for name, x, w in [
            ("3x3", (9, 24, 23, 40), (70, 3, 3, 40)),
            ("few_channels", (4, 33, 31, 3), (17, 3, 3, 3)),
        ]
    ),
    _images("conv2d", "5x5-winograd2", (9, 24, 23, 40), (70, 5, 5, 40), algorithm="winograd2", padding=2),
    *(
        _images(op, name, (8, 41, 40, 19), **options)
        for op in ("max_pool2d", "avg_pool2d")
        for name, options in [
            ("2x2", {"kernel_size": 2}),
            ("overlapping", {"kernel_size": 3, "stride": 1, "padding": 1}),
        ]
    ),
    _images("max_pool2d", "relu", (8, 41, 40, 19), kernel_size=2, relu=True),
    Case("lstm_cell", "large", _CELL | {"c": (96, 64), "w_ih": (256, 80), "w_hh": (256, 64), "b": (256,)}),
    Case("rnn_cell", "large", _CELL | {"w_ih": (64, 80), "w_hh": (64, 64), "b": (64,)}),
    Case("embedding", "few", {"tokens": (5000,), "w": (65, 512)}),
    Case("embedding", "many", {"tokens": (40, 100), "w": (9000, 60)}),
    *(
        Case(op, f"large{len(options)}", _SEQUENCE | more | _weights(*SEQUENCES[op]), options)
        for op, more in [("rnn", {}), ("gru", {}), ("lstm", {"c0": (37, 70)})]
        for options in [{}, {"lengths": tuple(i % 13 for i in range(37)), "reverse": True}]
    ),
    Case(
        "memory_blocks",
        "large",
        {"x": (37, 12, 50), "u0": (37, 175), "c0": (37, 70), "w_ih": (175, 50), "w_hh": (175, 175)}
        | {"b": (175,), "peepholes": (3, 70)},
        {"cells_per_block": 2, "lengths": tuple(i % 13 for i in range(37))},
    ),
    Case("add", "large", {"a": (500, 401), "b": (500, 401)}),
    *(_matrices(op, (500, 401)) for op in ("relu", "sigmoid", "tanh", "softmax", "log_softmax")),
    *(_matrices(op, (500, 401)) for op in ("leaky_relu", "elu", "softplus", "silu", "gelu")),
    *(
        Case(op, f"large{name}", {"x": x, "gamma": x[-1:], "beta": x[-1:]}, options)
        for op, name, x, options in [
            ("batch_norm", "", (8, 41, 40, 19), {}),
            ("batch_norm", "_wide", (300, 801), {"relu": True}),
            ("group_norm", "", (40, 21, 20, 24), {"groups": 3}),
            ("layer_norm", "", (900, 401), {}),
        ]
    ),
    _matrices("local_response_norm", (3000, 70), size=5),
    Case(
        "locally_connected2d",
        "large",
        {"x": (19, 20, 21, 9), "w": (9, 10, 11, 3, 3, 9), "b": (9, 10, 11)},
        {"stride": 2},
    ),
    _matrices("softmax", (30, 401, 20), axis=1),
    _matrices("softmax_cross_entropy", (500, 401), labels=(500,)),
    _matrices("mean_squared_error", (500, 401), target=(500, 401)),
    _matrices("topk", (300, 701), k=40),
    _matrices("k_sparse", (300, 701), k=40),
    _matrices("k_sparse_linear", (100, 301), w=(700, 301), b=(700,), k=40),
    Case(
        "sparse_linear",
        "large",
        {"values": (300, 40), "units": (300, 40), "w": (701, 301), "b": (301,)},
    ),
    _matrices("tied_k_sparse", (100, 301), w=(700, 301), b=(700,), c=(301,), k=40),
    *(
        _images("upsample2d", mode, (4, 25, 24, 19), mode=mode, scale_factor=3)
        for mode in ("nearest", "bilinear")
    ),
    Case(
        "max_unpool2d",
        "large",
        {"x": (8, 39, 38, 19), "pooled": (8, 41, 40, 19)},
        {"kernel_size": 3, "stride": 1},
    ),
    *(
        Case(
            "conv_transpose2d",
            name,
            {"x": (4, 15, 14, 32), "w": (32, 3, 3, 24 // options.get("groups", 1)), "b": (24,)},
            options,
        )
        for name, options in [
            ("plain", {"padding": 1}),
            ("stride", {"stride": 2, "output_padding": 1}),
            ("groups", {"groups": 4}),
        ]
    ),
]


def test_every_op_is_here():
    assert {case.op for case in LARGE} == set(CASES)


def _bits(case, dtype):
    arrays = case.arrays(dtype, "normal")
    y, ctx = case.forward(arrays)
    grads = case.backward(case.gradients(y, "normal"), ctx)
    return [hash(part.tobytes()) for part in (*y, *grads.values())]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", LARGE, ids=lambda case: case.id)
def test_same_bits(case, dtype, isa):
    config.set_num_threads(1)
    alone = _bits(case, dtype)
    for threads in (2, 3, 16):
        config.set_num_threads(threads)
        assert config.get_num_threads() == threads
        assert _bits(case, dtype) == alone, f"{threads} threads"


def _sgd(p, g, state):
    ops.sgd_step(p, g, state[0], 0.1, 0.9, True, 0.01)


def _adam(p, g, state):
    ops.adam_step(p, g, *state, 0.01, 0.9, 0.999, 1e-8, 0.01, True, 3)


def _rms(p, g, state):
    ops.rms_step(p, g, state[0], 0.01, 0.9, 0.1, 1e-8)


def _adadelta(p, g, state):
    ops.adadelta_step(p, g, *state, 1.0, 0.9, 1e-6, 0.01)


@pytest.mark.parametrize("step", [_sgd, _adam, _rms, _adadelta])
def test_same_bits_of_optimisers(step, isa):
    def walk():
        rng = np.random.default_rng(0)
        p, g, m, v = (rng.random(200_003, np.float32) for _ in range(4))
        step(p, g, (m, v))
        return [hash(part.tobytes()) for part in (p, m, v)]

    config.set_num_threads(1)
    alone = walk()
    for threads in (2, 3, 16):
        config.set_num_threads(threads)
        assert walk() == alone, f"{threads} threads"
