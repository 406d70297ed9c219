"""The compiled backend, its stub and the NumPy backend have the same functions, arguments and defaults."""

import ast
import contextlib
import inspect
import os
import pickle
import zlib
from pathlib import Path

import numpy as np
import pytest

from lamina import config, reference

STUB = Path(__file__).parents[1] / "python" / "lamina" / "_core.pyi"
EMPTY = "no default"


def _arguments(function):
    """[(name, default)] of a parsed function; what cannot be a default stands as text."""
    arguments = function.args
    others = [arguments.vararg, arguments.kwarg, *arguments.kwonlyargs, *arguments.posonlyargs]
    assert others == [None, None], function.name
    without = len(arguments.args) - len(arguments.defaults)
    defaults = [EMPTY] * without + [ast.literal_eval(default) for default in arguments.defaults]
    return [(argument.arg, default) for argument, default in zip(arguments.args, defaults, strict=True)]


def _stub():
    """Signatures of the kernels and of the machine, the two parts of the stub."""
    text = STUB.read_text()
    (border,) = (
        number for number, line in enumerate(text.splitlines(), 1) if line.startswith("# the machine")
    )
    functions = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    kernels = {f.name: _arguments(f) for f in functions if f.lineno < border}
    machine = {f.name: _arguments(f) for f in functions if f.lineno > border}
    assert len(kernels) + len(machine) == len(functions)
    return kernels, machine


KERNELS, MACHINE = _stub()


def _of_reference(name):
    parameters = inspect.signature(getattr(reference, name)).parameters.values()
    return [(p.name, EMPTY if p.default is inspect.Parameter.empty else p.default) for p in parameters]


def _of_core(name):
    """From the first line of the docstring, where pybind11 writes the signature."""
    (line, *_) = getattr(config.backend(), name).__doc__.splitlines()
    (function,) = ast.parse(f"def {line}: ...").body
    return _arguments(function)


compiled = pytest.mark.skipif(
    os.environ.get("LAMINA_BACKEND") == "numpy", reason="asked to run without _core"
)


def test_the_stub_has_kernels():
    assert len(KERNELS) == 65
    assert "set_num_threads" in MACHINE


@pytest.mark.parametrize("name", KERNELS)
def test_reference_has_the_signature_of_the_stub(name):
    assert _of_reference(name) == KERNELS[name]


@compiled
@pytest.mark.parametrize("name", [*KERNELS, *MACHINE])
def test_core_has_the_signature_of_the_stub(name):
    assert _of_core(name) == (KERNELS | MACHINE)[name]


def test_no_backend_has_more():
    assert set(reference.__all__) == set(KERNELS)


@compiled
def test_core_has_no_more():
    public = {name for name in dir(config.backend()) if not name.startswith("_")}
    assert public == set(KERNELS) | set(MACHINE) | {"Plan"}


# What the compiled kernels do with arguments that `ops` would never let through: they raise, never crash. ---


def _f(*shape):
    return np.random.default_rng(zlib.crc32(str(shape).encode())).standard_normal(shape).astype(np.float32)


_PLACE = (1, 1), (1, 1, 1, 1), (1, 1), 1  # stride, padding, dilation, groups
_POOL = (2, 2), (2, 2), (0, 0, 0, 0)  # kernel_size, stride, padding
_LABELS = np.array([0, 4, 2])
_STATE = {"x": _f(2, 5), "h": _f(2, 3), "c": _f(2, 3), "w_ih": _f(12, 5), "w_hh": _f(12, 3)}
_RNN = {"x": _f(2, 5), "h": _f(2, 3), "w_ih": _f(3, 5), "w_hh": _f(3, 3)}
_PACKED = np.array([3, 0, 1, 4, 2]), np.array([0, 2, 4, 5])  # source, offset
_BLOCKS = (2, True, "gate", True, "1997", "tanh")
_UNITS = np.array([[0, 5], [4, 2], [3, 3]])
_ADAM = (0.1, 0.9, 0.99, 1e-8, 0.1, True, 1)

CALLS = {
    "gemm": [_f(4, 3), _f(3, 5), _f(5)],
    "bias_backward": [_f(4, 3)],
    "conv2d": [_f(2, 5, 6, 3), _f(4, 3, 3, 3), _f(4), *_PLACE],
    "conv2d_backward_input": [_f(2, 5, 6, 4), _f(4, 3, 3, 3), (5, 6), *_PLACE, "auto", _f(3)],
    "conv2d_backward_weight": [_f(2, 5, 6, 4), _f(2, 5, 6, 3), (3, 3), *_PLACE],
    "conv2d_moments": [_f(2, 5, 6, 3), _f(4, 3, 3, 3), _f(4), *_PLACE],
    "conv2d_norm": [_f(2, 5, 6, 3), _f(4, 3, 3, 3), _f(4), *_f(3, 4), True, *_PLACE],
    "conv2d_norm_backward": [
        *(_f(2, 5, 6, 4), 2 * _f(2, 5, 6, 4), *_f(4, 4), True, _f(2, 5, 6, 3), _f(4, 3, 3, 3), *_PLACE),
    ],
    "locally_connected2d": [_f(2, 5, 6, 3), _f(3, 4, 2, 3, 3, 3), _f(3, 4, 2), (1, 1), (0, 0, 0, 0)],
    "locally_connected2d_backward_input": [
        *(_f(2, 3, 4, 2), _f(3, 4, 2, 3, 3, 3), (5, 6), (1, 1), (0, 0, 0, 0)),
    ],
    "locally_connected2d_backward_weight": [
        *(_f(2, 3, 4, 2), _f(2, 5, 6, 3), (3, 3), (1, 1), (0, 0, 0, 0)),
    ],
    "max_pool2d": [_f(2, 4, 6, 3), *_POOL, (2, 3)],
    "max_pool2d_backward": [_f(2, 2, 3, 3), np.ones((2, 2, 3, 3), np.uint8), (4, 6), *_POOL],
    "avg_pool2d": [_f(2, 4, 6, 3), *_POOL, (2, 3), True],
    "avg_pool2d_backward": [_f(2, 2, 3, 3), (4, 6), *_POOL, True],
    "max_unpool2d_backward": [_f(2, 4, 6, 3), np.ones((2, 2, 3, 3), np.uint8), *_POOL],
    "lstm_cell": [*_STATE.values(), _f(12)],
    "lstm_cell_backward": [_f(2, 3), _f(2, 3), *_STATE.values(), _f(2, 3), _f(2, 12)],
    "rnn_cell": [*_RNN.values(), _f(3)],
    "rnn_cell_backward": [_f(2, 3), *_RNN.values(), _f(2, 3)],
    "sequence": [
        *("lstm", _f(6, 5), *_PACKED, _f(2, 3), _f(2, 3), _f(12, 5), _f(12, 3), _f(12)),
        *(_f(2, 3), _f(6, 3), _f(6, 3)),
        *(True, 2, 1, _f(6, 6)),
    ],
    "sequence_backward": [
        "lstm",
        *(_f(6, 6), _f(2, 3), _f(2, 3), None),
        *_PACKED,
        *(_f(2, 3), _f(2, 3), _f(12, 5), _f(12, 3)),
        *(_f(2, 3), _f(6, 3), _f(6, 3)),
        *(_f(6, 6), _f(5, 16), _f(5, 3), _f(5, 12)),
        *(True, 2, 1),
    ],
    "recurrent_step": ["lstm", 2, _f(5, 12), _f(4, 4, 64), _f(2, 2, 3), 7],
    "embedding": [np.array([1, 0, 1]), _f(4, 5)],
    "embedding_backward": [_f(3, 5), np.array([1, 0, 1]), _f(4, 5)],
    "memory_blocks": [
        _BLOCKS,
        _f(6, 5),
        *_PACKED,
        *(_f(2, 10), _f(2, 4), _f(10, 5), _f(10, 10), _f(10), _f(3, 4)),
    ],
    "memory_blocks_backward": [
        *(_BLOCKS, False, _f(6, 4), _f(2, 10), _f(2, 4), None),
        *_PACKED,
        *(_f(2, 4), _f(10, 5), _f(10, 10), _f(3, 4), _f(5, 16), _f(5, 10), _f(5, 4)),
    ],
    "support": [_f(3, 5), 2],
    "sparse_linear": [_f(3, 2), _UNITS, _f(6, 4), _f(4)],
    "sparse_dots": [_f(3, 4), _UNITS, _f(6, 4)],
    "sparse_outer": [_UNITS, _f(3, 2), _f(3, 4), 2 * _f(3, 2), -_f(3, 4), 6],
    "upsample2d": [_f(2, 3, 4, 5), (2, 3), True],
    "upsample2d_backward": [_f(2, 6, 12, 5), (2, 3), True],
    "column_moments": [_f(6, 4)],
    "batch_norm_scale": [1 + _f(4) ** 2, _f(4), 1e-5],
    "batch_norm": [_f(6, 4), *_f(3, 4), True],
    "batch_norm_backward": [_f(6, 4), 2 * _f(6, 4), *_f(4, 4), True, False],
    "follow_moments": [*_f(4, 3), 0.3, 7],
    "group_norm": [_f(3, 5, 6), *_f(2, 6), 2, 1e-5],
    "group_norm_backward": [_f(3, 5, 6), 2 * _f(3, 5, 6), _f(6), _f(3, 2), np.abs(_f(3, 2))],
    "local_response": [_f(3, 7), 5, 0.1, 0.75, 2.0],
    "local_response_backward": [_f(3, 7), 2 * _f(3, 7), 2 + np.abs(_f(3, 7)), 5, 0.1, 0.75],
    "curve": ["gelu", _f(7), 0.0],
    "curve_backward": ["elu", _f(7), 2 * _f(7), 0.5],
    "add": [_f(7), _f(7)],
    "relu": [_f(7)],
    "relu_backward": [_f(7), _f(7)],
    "sigmoid": [_f(7)],
    "sigmoid_backward": [_f(7), _f(7)],
    "tanh": [_f(7)],
    "tanh_backward": [_f(7), _f(7)],
    "softmax": [_f(3, 5)],
    "softmax_backward": [_f(3, 5), _f(3, 5)],
    "log_softmax": [_f(3, 5)],
    "log_softmax_backward": [_f(3, 5), _f(3, 5)],
    "softmax_cross_entropy": [_f(3, 5), _LABELS],
    "softmax_cross_entropy_backward": [_f(3), _f(3, 5), _LABELS],
    "mean_squared_error": [_f(3, 5), _f(3, 5)],
    "mean_squared_error_backward": [1.0, _f(3, 5), _f(3, 5)],
    "topk": [_f(3, 5), 2],
    "draw": [_f(3, 5), 0.7, np.array([0.0, 0.4, 0.99], np.float32)],
    "sgd_step": [_f(7), _f(7), _f(7), 0.1, 0.9, True, 0.1],
    "adam_step": [_f(7), _f(7), _f(7), np.abs(_f(7)), *_ADAM],
    "rms_step": [_f(7), _f(7), np.abs(_f(7)), 0.1, 0.9, 0.1, 1e-8],
    "adadelta_step": [_f(7), _f(7), np.abs(_f(7)), np.abs(_f(7)), 0.1, 0.9, 1e-6, 0.1],
}


def _copy(arguments):
    return [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]


def test_there_is_a_call_of_every_kernel():
    assert set(CALLS) == set(KERNELS)


@compiled
@pytest.mark.parametrize("name", CALLS)
def test_both_backends_answer_alike(name):
    def answer(module):
        arguments = _copy(CALLS[name])
        found = getattr(module, name)(*arguments)
        found = found if isinstance(found, tuple) else (found,)
        return [*(a for a in found if a is not None), *(a for a in arguments if isinstance(a, np.ndarray))]

    for found, right in zip(answer(config.backend()), answer(reference), strict=True):
        assert isinstance(found, np.ndarray)
        assert (found.dtype, found.shape) == (right.dtype, right.shape)
        np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-5)


ARRAYS = [(name, i) for name, call in CALLS.items() for i, a in enumerate(call) if isinstance(a, np.ndarray)]


def _replaced(name, index, value):
    arguments = _copy(CALLS[name])
    arguments[index] = value
    return arguments


def _strided(array):
    return np.repeat(array, 2, axis=-1)[..., ::2]


_WRONG = {
    "other dtype": lambda a: a.astype(np.float64 if a.dtype.kind == "f" else np.int16),
    "text": lambda a: a.astype(str),
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "none": lambda a: None,
    "list": lambda a: a.tolist(),
}


_OPTIONAL = {
    ("gemm", 2),
    ("conv2d", 2),
    ("conv2d_moments", 2),
    ("conv2d_norm", 2),
    ("conv2d_backward_input", 8),
    ("sequence", 9),
    ("sequence", 15),
    ("sequence_backward", 11),
}
_OPTIONAL |= {
    ("memory_blocks", 9),
    ("memory_blocks_backward", 11),
    ("sparse_linear", 3),
    ("locally_connected2d", 2),
    ("batch_norm_scale", 1),
}


@compiled
@pytest.mark.parametrize("wrong", _WRONG)
@pytest.mark.parametrize(("name", "index"), ARRAYS)
def test_core_refuses_a_wrong_array(name, index, wrong):
    array = CALLS[name][index]
    value = _WRONG[wrong](array)
    only_float = sum(n == name and CALLS[name][i].dtype.kind == "f" for n, i in ARRAYS) == 1
    if wrong == "other dtype" and only_float and array.dtype.kind == "f":
        value = array.astype(np.int32)  # one float array alone may be float64
    if wrong == "byte-swapped" and array.itemsize == 1:
        value = array.astype(np.int16)
    if value is None and (name, index) in _OPTIONAL:
        getattr(config.backend(), name)(*_replaced(name, index, value))
        return
    with pytest.raises((TypeError, ValueError)):
        getattr(config.backend(), name)(*_replaced(name, index, value))


@compiled
@pytest.mark.parametrize(("name", "index"), [(name, i) for name, i in ARRAYS if name != "gemm"])
def test_core_refuses_strides(name, index):
    with pytest.raises((TypeError, ValueError)):
        getattr(config.backend(), name)(*_replaced(name, index, _strided(CALLS[name][index])))


@compiled
@pytest.mark.parametrize(("name", "index"), ARRAYS)
def test_core_takes_an_unpickled_array(name, index):
    """Its dtype is equal to the native one but is another object."""
    value = pickle.loads(pickle.dumps(CALLS[name][index]))
    getattr(config.backend(), name)(*_replaced(name, index, value))


@compiled
@pytest.mark.parametrize(("name", "index"), ARRAYS)
def test_core_never_crashes_on_a_wrong_shape(name, index):
    """An axis more, an axis less, and each axis longer, shorter or empty: an error or an answer."""
    array = CALLS[name][index]
    shapes = [(1, *array.shape), array.shape[1:], (array.size + 1,)]
    for axis, n in enumerate(array.shape):
        shapes += [(*array.shape[:axis], other, *array.shape[axis + 1 :]) for other in (0, n - 1, n + 1)]
    for shape in shapes:
        value = np.zeros(shape, array.dtype)
        with contextlib.suppress(TypeError, ValueError):
            getattr(config.backend(), name)(*_replaced(name, index, value))
    wrong_rank = np.zeros((1, 1, 1, 1, 1), array.dtype)
    if name not in ("add", "relu", "sigmoid", "tanh", "curve"):  # those take any shape
        with pytest.raises((TypeError, ValueError)):
            getattr(config.backend(), name)(*_replaced(name, index, wrong_rank))


OTHERS = [
    (name, i)
    for name, call in CALLS.items()
    for i, a in enumerate(call)
    if isinstance(a, (tuple, int)) and not isinstance(a, bool)
]


@compiled
@pytest.mark.parametrize(("name", "index"), OTHERS)
def test_core_never_crashes_on_a_wrong_size(name, index):
    """Strides, paddings, sizes and counts that are negative, zero or huge: an error or an answer."""
    value = CALLS[name][index]
    wrong = [-1, 0, 2**31, 2**62, 2**63 - 1, 2**64, "2", None, 1.5]
    if isinstance(value, tuple):
        wrong = [
            tuple(w if k == i else v for k, v in enumerate(value)) for i in range(len(value)) for w in wrong
        ]
        wrong += [(), value[:1], (*value, 1), 1]
    for other in wrong:
        with contextlib.suppress(TypeError, ValueError, MemoryError):
            getattr(config.backend(), name)(*_replaced(name, index, other))


@compiled
def test_core_refuses_what_kernels_could_not_survive():
    core = config.backend()
    with pytest.raises(ValueError, match="label"):
        core.softmax_cross_entropy(_f(3, 5), np.array([0, 5, 2]))
    with pytest.raises(ValueError, match="label"):
        core.softmax_cross_entropy_backward(_f(3), _f(3, 5), np.array([0, -1, 2]))
    with pytest.raises(ValueError, match="token"):
        core.embedding(np.array([0, 4]), _f(4, 5))
    with pytest.raises(ValueError, match="token"):
        core.embedding_backward(_f(2, 5), np.array([-1, 0]), _f(4, 5))
    for token in (-1, 5):
        with pytest.raises(ValueError, match="token"):
            core.recurrent_step("lstm", token, *CALLS["recurrent_step"][2:])
    for name, at in (("sparse_linear", 1), ("sparse_dots", 1), ("sparse_outer", 0)):
        for unit in (-1, 6):
            with pytest.raises(ValueError, match=f"{name}: a unit is out of range"):
                getattr(core, name)(*_replaced(name, at, np.array([[0, 5], [4, unit], [3, 3]])))
    with pytest.raises(ValueError, match="algorithm"):
        core.conv2d(*CALLS["conv2d"], "fft")
    read_only = _f(7)
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match=r"writ|read"):
        core.sgd_step(read_only, _f(7), None, 0.1, 0.0, False, 0.0)


@compiled
@pytest.mark.parametrize("module", [config.backend(), reference], ids=["core", "reference"])
def test_an_offset_outside_the_window_chooses_nothing(module):
    argmax = np.full((2, 2, 3, 3), 4, np.uint8)  # a window of 2 x 2 has the offsets 0 to 3
    dx = module.max_pool2d_backward(_f(2, 2, 3, 3), argmax, (4, 6), *_POOL)
    np.testing.assert_array_equal(dx, np.zeros((2, 4, 6, 3)))
    found = module.max_unpool2d_backward(_f(2, 4, 6, 3), argmax, *_POOL)
    np.testing.assert_array_equal(found, np.zeros((2, 2, 3, 3)))


def test_reference_refuses_a_label_out_of_range_and_an_unknown_algorithm():
    with pytest.raises(ValueError, match="label"):
        reference.softmax_cross_entropy(_f(3, 5), np.array([0, 5, 2]))
    with pytest.raises(ValueError, match="algorithm"):
        reference.conv2d(*CALLS["conv2d"], "fft")
