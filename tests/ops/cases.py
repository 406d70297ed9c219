"""One list of cases per op, which every ring of tests runs."""

from functools import partial
from itertools import product
from typing import Any

from tests.ops import autoencoders, convnets, memory_blocks
from tests.ops.case import MASKS, SEQUENCES, Case


def _gemm(m: int, n: int, k: int, **options: bool) -> Case:
    a = (k, m) if options.get("transpose_a") else (m, k)
    b = (n, k) if options.get("transpose_b") else (k, n)
    letters = "".join(sorted(name[-1] for name in options))
    return Case("gemm", f"{m}x{n}x{k}{letters}", {"a": a, "b": b}, options)


def _linear(x: tuple[int, ...], out: int, bias: bool = True, **options: bool) -> Case:
    shapes = {"x": x, "w": (out, x[-1])} | ({"b": (out,)} if bias else {})
    name = (
        "x".join(map(str, x)) + f"to{out}" + ("" if bias else "-no_bias") + "".join(f"-{o}" for o in options)
    )
    return Case("linear", name, shapes, options)


def _conv(
    name: str,
    x: tuple[int, int, int, int],
    o: int,
    kernel: tuple[int, int],
    bias: bool = True,
    **options: Any,
) -> list[Case]:
    """The case with each algorithm."""
    shapes = {"x": x, "w": (o, *kernel, x[3] // options.get("groups", 1))} | ({"b": (o,)} if bias else {})
    default = [Case("conv2d", name, shapes, options)]
    chosen = [
        Case("conv2d", name, shapes, options | {"algorithm": algorithm}, algorithm)
        for algorithm in ("im2col", "direct")
    ]
    return default + chosen


def _pool(op: str, name: str, x: tuple[int, int, int, int], kernel: Any, **options: Any) -> Case:
    return Case(op, name, {"x": x}, {"kernel_size": kernel} | options)


def _sequence(op: str, n: int, t: int, d: int, h: int, masks: str = "", **options: Any) -> Case:
    """`lengths` may be given as a tuple; `masks` names those that the case has by their last letters."""
    gates, biases = SEQUENCES[op]
    biases = biases if options.get("reset_after", True) else gates
    shapes = {"x": (n, t, d), "h0": (n, h)} | ({"c0": (n, h)} if op == "lstm" else {})
    shapes |= {"w_ih": (gates * h, d), "w_hh": (gates * h, h), "b": (biases * h,)}
    shapes |= {name: (n, h) if name[-1] == "k" else (n, t, h) for name in MASKS if name[-1] in masks}
    words = [f"{name}={value}".replace(" ", "") for name, value in options.items()]
    words += [f"masks={masks}"] if masks else []
    return Case(op, "-".join([f"{n}x{t}x{d}x{h}", *words]), shapes, options)


def _lstm(n: int, d: int, h: int) -> Case:
    shapes = {"x": (n, d), "h": (n, h), "c": (n, h), "w_ih": (4 * h, d), "w_hh": (4 * h, h), "b": (4 * h,)}
    return Case("lstm_cell", f"{n}x{d}x{h}", shapes)


def _embedding(tokens: tuple[int, ...], v: int, d: int) -> Case:
    name = "x".join(map(str, tokens)) or "scalar"
    return Case("embedding", f"{name}of{v}x{d}", {"tokens": tokens, "w": (v, d)})


def _rnn(n: int, d: int, h: int) -> Case:
    shapes = {"x": (n, d), "h": (n, h), "w_ih": (h, d), "w_hh": (h, h), "b": (h,)}
    return Case("rnn_cell", f"{n}x{d}x{h}", shapes)


def _shaped(op: str, shape: tuple[int, ...], **options: Any) -> Case:
    name = "x".join(map(str, shape)) or "scalar"
    name += "".join(f"-{key}{value}" for key, value in options.items())
    shapes = {"x": shape}
    if op == "softmax_cross_entropy":
        shapes["labels"] = shape[:-1]
    if op == "mean_squared_error":
        shapes["target"] = shape
    return Case(op, name, shapes, options)


_TRANSPOSES: list[dict[str, bool]] = [
    {},
    {"transpose_a": True},
    {"transpose_b": True},
    {"transpose_a": True, "transpose_b": True},
]

GEMM = [
    *(_gemm(m, n, k) for m, n, k in product((1, 7, 33), repeat=3)),
    *(
        _gemm(m, n, k, **transposes)
        for m, n, k in [(5, 6, 3), (17, 16, 129), (129, 17, 4), (64, 129, 33), (300, 7, 17), (1, 300, 17)]
        for transposes in _TRANSPOSES
    ),
    # Longer than a slice, of few rows and of many; rows and columns whose strides collide in the cache.
    *(
        _gemm(m, n, k, **transposes)
        for m, n, k in [(6, 40, 520), (15, 43, 700), (460, 5, 520), (20, 6, 512), (512, 5, 12)]
        for transposes in _TRANSPOSES
    ),
    _gemm(130, 70, 300),
    _gemm(3, 4, 0),
    _gemm(0, 4, 3),
    _gemm(3, 0, 4),
]

LINEAR = [
    _linear((7,), 5),
    _linear((4, 7), 5),
    _linear((4, 7), 5, bias=False),
    _linear((2, 3, 17), 33),
    _linear((1, 300), 10),
    _linear((0, 7), 5),
    _linear((7, 21), 37, relu=True),
    _linear((9, 600), 20, relu=True),  # more than a slice
    _linear((1, 300), 10, relu=True),
    _linear((2, 3, 17), 33, bias=False, relu=True),
    _linear((500, 9), 6, relu=True),
    _linear((0, 7), 5, relu=True),
]

CONV2D = [
    case
    for cases in [
        _conv("plain", (2, 6, 7, 3), 4, (3, 3)),
        _conv("no_bias", (2, 6, 7, 3), 4, (3, 3), bias=False),
        _conv("pad", (2, 6, 6, 4), 8, (3, 3), padding=1),
        _conv("one_image", (1, 9, 5, 2), 3, (3, 3), padding=1),
        _conv("1x1", (2, 5, 4, 8), 6, (1, 1)),
        _conv("1x1_stride", (2, 5, 6, 3), 5, (1, 1), stride=2),
        _conv("1x1_pad", (1, 3, 4, 3), 5, (1, 1), padding=1),
        _conv("5x5", (2, 8, 9, 3), 4, (5, 5), padding=2),
        _conv("vector_and_a_half", (2, 7, 6, 11), 20, (5, 5), padding=2),
        _conv("7x7", (1, 11, 12, 3), 4, (7, 7), stride=2, padding=3),
        _conv("1x5", (2, 4, 9, 3), 4, (1, 5), padding=(0, 2)),
        _conv("3x1", (2, 7, 4, 3), 4, (3, 1), padding=(1, 0)),
        _conv("2x2", (2, 7, 6, 3), 4, (2, 2), stride=2),
        _conv("stride", (2, 9, 9, 4), 4, (3, 3), stride=2, padding=1),
        _conv("stride_pair", (2, 9, 7, 3), 4, (3, 3), stride=(2, 1)),
        _conv("stride_over_kernel", (2, 9, 11, 3), 4, (2, 2), stride=(3, 4)),
        _conv("stride_leaves_rest", (1, 8, 10, 3), 4, (3, 3), stride=3, padding=(1, 0)),
        _conv("pad_pair", (2, 5, 6, 3), 4, (3, 3), padding=(2, 1)),
        _conv("pad_sides", (2, 5, 6, 3), 4, (3, 3), padding=((0, 1), (2, 0))),
        _conv("pad_over_kernel", (1, 3, 4, 2), 3, (2, 3), padding=(3, 4)),
        _conv("same", (2, 6, 5, 3), 4, (3, 3), padding="same"),
        _conv("same_even", (2, 7, 6, 3), 4, (4, 2), stride=2, padding="same"),
        _conv("same_stride", (2, 7, 8, 3), 4, (3, 3), stride=(2, 3), padding="same"),
        _conv("same_stride_over_kernel", (2, 7, 8, 3), 4, (2, 2), stride=3, padding="same"),
        _conv("same_dilated", (2, 7, 8, 3), 4, (3, 2), dilation=2, padding="same"),
        _conv("valid", (2, 6, 5, 3), 4, (3, 3), padding="valid"),
        _conv("dilation", (2, 9, 8, 3), 4, (3, 3), dilation=2),
        _conv("dilation_all", (2, 11, 12, 3), 4, (3, 2), dilation=(2, 3), stride=(2, 1), padding=(1, 2)),
        _conv("groups", (2, 5, 6, 4), 6, (3, 3), groups=2, padding=1),
        _conv("groups_odd", (2, 5, 6, 9), 6, (3, 2), groups=3, stride=2),
        _conv("groups_wide", (1, 5, 6, 64), 32, (3, 3), groups=2, padding=1),
        _conv("depthwise", (2, 6, 6, 5), 5, (3, 3), groups=5, padding=1),
        _conv("depthwise_wide", (2, 7, 6, 35), 35, (3, 3), groups=35, stride=2, padding=1),
        _conv("depthwise_twice", (2, 6, 6, 3), 6, (3, 3), groups=3, dilation=2),
        _conv("depthwise_5x5", (1, 9, 12, 36), 36, (5, 5), groups=36, padding=2),
        _conv("depthwise_5x5_stride", (1, 9, 8, 19), 19, (5, 5), groups=19, stride=2, padding=2),
        _conv(
            "depthwise_uneven",
            (1, 9, 10, 21),
            21,
            (3, 2),
            groups=21,
            stride=(1, 2),
            dilation=(2, 3),
            padding=((2, 0), (1, 3)),
        ),
        _conv("depthwise_pad_over_kernel", (1, 3, 4, 18), 18, (2, 3), groups=18, padding=(3, 4)),
        _conv("depthwise_stride_over_kernel", (2, 7, 8, 17), 17, (2, 2), groups=17, stride=3),
        _conv("depthwise_long", (1, 2, 37, 16), 16, (3, 3), groups=16, padding=1),
        _conv("depthwise_many_images", (19, 3, 4, 17), 17, (3, 3), groups=17, padding=1),
        _conv("groups_stride_over_kernel", (2, 7, 8, 6), 9, (2, 2), groups=3, stride=3),
        _conv("groups_stride_dilated", (1, 9, 8, 6), 4, (3, 2), groups=2, stride=(2, 3), dilation=(1, 2)),
        _conv("groups_of_2", (2, 5, 7, 36), 36, (3, 3), groups=18, padding=1),
        _conv("groups_of_3_to_2", (1, 7, 6, 15), 10, (3, 3), groups=5, stride=2, padding=1),
        _conv("groups_of_1_to_4", (2, 5, 5, 7), 28, (3, 3), groups=7, padding=(0, 1)),
        _conv("groups_of_4_dilated", (1, 8, 9, 20), 20, (3, 3), groups=5, dilation=2, padding=2),
        _conv("groups_of_8", (1, 5, 6, 40), 40, (3, 3), groups=5, padding=1),
        _conv("groups_of_16", (1, 5, 6, 64), 64, (3, 3), groups=4, padding=1),
        _conv("groups_pad_over_kernel", (1, 3, 4, 6), 9, (2, 3), groups=3, padding=(3, 4)),
        _conv("whole_image", (3, 4, 5, 6), 7, (4, 5)),
        _conv("whole_padded_image", (2, 3, 2, 3), 4, (5, 4), padding=1),
        _conv("fit_exact", (2, 7, 9, 3), 4, (3, 3), stride=2, fit="exact"),
        _conv("channels_1", (2, 8, 8, 1), 16, (3, 3), padding=1),
        _conv("channels_5", (2, 6, 5, 5), 17, (3, 3), padding=1),
        _conv("channels_16", (2, 5, 17, 16), 16, (3, 3), padding=1),
        _conv("channels_17", (1, 5, 6, 17), 33, (3, 3), padding=1),
        _conv("channels_33", (1, 6, 5, 33), 15, (3, 3), padding=1),
        _conv("channels_64", (1, 5, 7, 64), 64, (3, 3), padding=1),
        _conv("filters_1", (2, 6, 6, 16), 1, (3, 3), padding=1),
        _conv("filters_odd", (2, 5, 6, 16), 49, (3, 3), padding=1),
        _conv("wide_image", (1, 2, 67, 3), 8, (3, 3), padding=1),
        _conv("many_images", (19, 4, 4, 3), 4, (3, 3), padding=1),
        _conv("empty_batch", (0, 5, 6, 3), 4, (3, 3), padding=1),
        _conv("relu", (2, 6, 7, 3), 20, (3, 3), padding=1, relu=True),
        _conv("relu_no_bias", (2, 6, 7, 3), 5, (2, 3), bias=False, stride=2, relu=True),
        _conv("relu_1x1", (2, 5, 4, 8), 37, (1, 1), relu=True),
        _conv(
            "relu_short_rows", (6, 4, 3, 60), 5, (3, 3), padding=(0, 1), relu=True
        ),  # of patches, two slices
        _conv("relu_groups", (2, 5, 6, 10), 8, (3, 2), groups=2, stride=2, relu=True),
        _conv("relu_groups_of_3", (2, 5, 6, 15), 10, (3, 3), groups=5, padding=1, relu=True),
        _conv("relu_depthwise", (2, 6, 7, 21), 21, (3, 3), groups=21, padding=1, relu=True),
        _conv("relu_depthwise_5x5", (1, 6, 9, 16), 16, (5, 5), groups=16, padding=2, relu=True),
        _conv("relu_depthwise_2x4", (1, 6, 9, 5), 5, (2, 4), groups=5, stride=2, relu=True),
    ]
    for case in cases
]


def _pool_cases(op: str) -> list[Case]:
    pool = partial(_pool, op)
    return [
        pool("2x2", (2, 6, 8, 3), 2),
        pool("2x2_rest", (2, 7, 5, 3), 2),
        pool("2x2_wide", (2, 4, 6, 37), 2),
        pool("3x3_stride_2", (2, 7, 9, 5), 3, stride=2),
        pool("overlapping", (2, 6, 7, 4), 3, stride=1),
        pool("overlapping_pad", (2, 6, 7, 17), 3, stride=1, padding=1),
        pool("stride_over_kernel", (2, 9, 8, 3), 2, stride=(3, 4)),
        pool("window_pair", (2, 7, 8, 3), (1, 4), stride=(2, 1)),
        pool("pad_pair", (2, 7, 8, 3), (2, 4), stride=2, padding=(1, 2)),
        pool("pad_sides", (2, 7, 8, 3), 4, stride=2, padding=((0, 2), (1, 0))),
        pool("same", (2, 7, 8, 3), 3, stride=2, padding="same"),
        pool("same_even", (2, 5, 5, 3), 2, stride=1, padding="same"),
        pool("valid", (2, 7, 8, 3), 3, padding="valid"),
        pool("ceil", (2, 6, 8, 3), 3, stride=2, ceil_mode=True),
        pool("ceil_pad", (2, 6, 7, 3), 3, stride=2, padding=1, ceil_mode=True),
        pool("ceil_drops_last", (2, 5, 7, 3), 2, stride=3, padding=1, ceil_mode=True),
        pool("whole_image", (2, 4, 5, 19), (4, 5)),
        pool("1x1", (2, 4, 5, 3), 1),
        pool("16x16", (1, 16, 17, 2), 16, stride=1),
        pool("17x16", (1, 18, 16, 2), (17, 16), stride=1),
        pool("one_column", (3, 5, 1, 1), (2, 1)),
        pool("empty_batch", (0, 6, 8, 3), 2),
    ]


MAX_POOL2D = [
    *_pool_cases("max_pool2d"),
    _pool("max_pool2d", "relu", (2, 6, 8, 3), 2, relu=True),
    _pool("max_pool2d", "relu_rest", (2, 7, 5, 37), 2, relu=True),
    _pool("max_pool2d", "relu_1x1", (2, 4, 5, 3), 1, relu=True),
    _pool("max_pool2d", "relu_overlapping_pad", (2, 6, 7, 17), 2, stride=1, padding=1, relu=True),
    _pool("max_pool2d", "relu_between", (2, 9, 8, 3), (1, 2), stride=(3, 4), relu=True),
    _pool("max_pool2d", "relu_ceil", (2, 6, 8, 3), 3, stride=2, ceil_mode=True, relu=True),
    _pool("max_pool2d", "relu_same", (2, 7, 8, 3), 3, stride=2, padding="same", relu=True),
    _pool("max_pool2d", "relu_17x15", (1, 18, 16, 2), (17, 15), stride=1, relu=True),
    _pool("max_pool2d", "relu_16x16", (1, 16, 17, 2), 16, stride=1, relu=True),
    _pool("max_pool2d", "relu_empty_batch", (0, 6, 8, 3), 2, relu=True),
]
AVG_POOL2D = [
    *_pool_cases("avg_pool2d"),
    _pool("avg_pool2d", "without_pad", (2, 6, 7, 4), 3, stride=2, padding=1, count_include_pad=False),
    _pool(
        "avg_pool2d", "without_pad_2", (2, 6, 7, 4), (4, 2), stride=1, padding=(2, 1), count_include_pad=False
    ),
    _pool(
        "avg_pool2d",
        "without_pad_ceil",
        (2, 6, 8, 3),
        2,
        stride=3,
        padding=1,
        ceil_mode=True,
        count_include_pad=False,
    ),
]

_CELLS = [(1, 1, 1), (3, 5, 7), (2, 16, 8), (5, 3, 17), (7, 33, 16), (0, 3, 4)]
LSTM_CELL = [_lstm(*sizes) for sizes in _CELLS]
RNN_CELL = [_rnn(*sizes) for sizes in _CELLS]

EMBEDDING = [
    *(_embedding(*sizes) for sizes in [((1,), 1, 1), ((7,), 5, 3), ((40,), 3, 17), ((3, 5), 20, 8)]),
    *(_embedding(*sizes) for sizes in [((), 4, 3), ((2, 3, 4), 6, 33), ((0,), 4, 3), ((2, 0), 4, 3)]),
]

_LENGTHS: list[dict[str, Any]] = [{}, {"lengths": (2, 5, 0, 1)}, {"lengths": (5, 5, 4, 5)}]


def _sequences(op: str, **more: Any) -> list[Case]:
    return [
        *(
            _sequence(op, *sizes, **more)
            for sizes in [(1, 1, 1, 1), (3, 2, 5, 7), (2, 1, 3, 17), (0, 3, 2, 4)]
        ),
        *(
            _sequence(op, 4, 5, 3, 6, **more, **lengths, **({"reverse": True} if reverse else {}))
            for lengths in _LENGTHS
            for reverse in (False, True)
        ),
        _sequence(op, 3, 0, 2, 4, **more),
        _sequence(op, 2, 2, 2, 3, lengths=(1, 2), reverse=True, **more),
        _sequence(op, 17, 3, 4, 33, lengths=tuple(i % 4 for i in range(17)), **more),
    ]


def _masked(op: str, masks: tuple[str, ...], **options: Any) -> list[Case]:
    return [
        _sequence(op, 4, 5, 3, 6, masks, **options, **lengths, **({"reverse": True} if reverse else {}))
        for masks in masks
        for lengths, reverse in [(_LENGTHS[0], False), (_LENGTHS[1], True)]
    ]


# Of whole numbers, and small enough that every sum is one in float32 too.
WHOLE_RNN = [
    case
    for f in ("relu", "satlin")
    for case in (
        _sequence("rnn", 3, 3, 2, 3, nonlinearity=f),
        _sequence("rnn", 20, 2, 3, 5, nonlinearity=f, reverse=True),
        _sequence("rnn", 4, 3, 2, 4, nonlinearity=f, lengths=(3, 2, 3, 3)),
        _sequence("rnn", 4, 3, 2, 4, nonlinearity=f, lengths=(3, 2, 3, 3), reverse=True),
        _sequence("rnn", 20, 3, 3, 5, "h", nonlinearity=f),
        _sequence("rnn", 20, 2, 3, 5, "kh", nonlinearity=f, lengths=(2, 1, *[2] * 18)),
    )
]
RNN = [*_sequences("rnn"), *WHOLE_RNN, *_masked("rnn", ("k", "h", "kh"))]
GRU = [*_sequences("gru"), *_masked("gru", ("k", "h", "kh"))]
GRU += [*_sequences("gru", reset_after=False), *_masked("gru", ("k", "h", "kh"), reset_after=False)]
LSTM = [*_sequences("lstm"), *_masked("lstm", ("k", "hc", "h", "kc"))]
WHOLE_BLOCKS = [Case("memory_blocks", *case) for case in memory_blocks.WHOLE]
MEMORY_BLOCKS = [*(Case("memory_blocks", *case) for case in memory_blocks.BLOCKS), *WHOLE_BLOCKS]

_ELEMENTWISE = [(), (1,), (7,), (17, 3), (2, 3, 33), (0, 3)]
RELU = [_shaped("relu", shape) for shape in _ELEMENTWISE]
SIGMOID = [_shaped("sigmoid", shape) for shape in _ELEMENTWISE]
TANH = [_shaped("tanh", shape) for shape in _ELEMENTWISE]


def _softmax_cases(op: str) -> list[Case]:
    rows = [
        _shaped(op, shape) for shape in [(1,), (5,), (3, 1), (4, 10), (3, 17), (2, 3, 33), (2, 300), (0, 5)]
    ]
    return [*rows, _shaped(op, (4, 5, 3), axis=1), _shaped(op, (4, 5), axis=0), _shaped(op, (4, 5), axis=-2)]


SOFTMAX = _softmax_cases("softmax")
LOG_SOFTMAX = _softmax_cases("log_softmax")
SOFTMAX_CROSS_ENTROPY = [
    _shaped("softmax_cross_entropy", shape)
    for shape in [(5,), (3, 1), (4, 10), (9, 17), (2, 3, 33), (2, 300), (0, 5)]
]
MEAN_SQUARED_ERROR = [
    _shaped("mean_squared_error", shape) for shape in [(), (1,), (8, 4), (2, 3, 33), (1000,)]
]
TOPK = [
    _shaped("topk", shape, k=k)
    for shape, k in [((1, 1), 1), ((3, 7), 1), ((3, 7), 3), ((4, 17), 17), ((2, 100), 10), ((0, 5), 2)]
]

CASES = {
    "gemm": GEMM,
    "linear": LINEAR,
    "conv2d": CONV2D,
    "max_pool2d": MAX_POOL2D,
    "avg_pool2d": AVG_POOL2D,
    "lstm_cell": LSTM_CELL,
    "rnn_cell": RNN_CELL,
    "embedding": EMBEDDING,
    "rnn": RNN,
    "gru": GRU,
    "lstm": LSTM,
    "memory_blocks": MEMORY_BLOCKS,
    "add": [Case("add", case.name, {"a": s, "b": s}, {}) for case in RELU for s in case.shapes.values()],
    "relu": RELU,
    "sigmoid": SIGMOID,
    "tanh": TANH,
    "softmax": SOFTMAX,
    "log_softmax": LOG_SOFTMAX,
    "softmax_cross_entropy": SOFTMAX_CROSS_ENTROPY,
    "mean_squared_error": MEAN_SQUARED_ERROR,
    "topk": TOPK,
} | {op: [Case(op, *c) for c in cases] for op, cases in (autoencoders.CASES | convnets.CASES).items()}
ALL = [case for cases in CASES.values() for case in cases]
