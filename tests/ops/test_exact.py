"""Ring 1: whole numbers, where every sum is exact, must give the definition's result bit for bit."""

import numpy as np
import pytest

from lamina import config, ops
from tests.ops import convnets, oracle
from tests.ops.cases import ALL, CASES, WHOLE_BLOCKS, WHOLE_RNN
from tests.ops.grid import pool_grid

_SUMS = ("gemm", "linear", "conv2d", "max_pool2d", "relu", "topk", "embedding", "max_unpool2d")
_SUMS += (
    "k_sparse",
    "k_sparse_linear",
    "sparse_linear",
    "tied_k_sparse",
    "conv_transpose2d",
    "locally_connected2d",
)


def _halves_only(case):
    """Whether no mean of the case divides by anything but powers of two."""
    options = {name: value for name, value in case.options.items() if name != "count_include_pad"}
    grid = pool_grid({"x": np.empty(case.shapes["x"])}, **options)
    include_pad = case.options.get("count_include_pad", True) and options.get("padding") != "same"
    divisors = {grid.divisor(oh, ow, include_pad) for oh, ow in grid.windows()}
    return all(n & (n - 1) == 0 for n in divisors)


@pytest.fixture(autouse=True, scope="module")
def _plain_sums():
    """Winograd's tiles round even whole numbers; test_winograd.py is their ring."""
    with config.set_conv_precision("high"):
        yield


EXACT = [case for case in ALL if case.op in _SUMS]
EXACT += [case for case in CASES["avg_pool2d"] if _halves_only(case)]
EXACT += [case for case in CASES["upsample2d"] if case.name != "bilinear_3"]  # thirds
EXACT += [c for op in convnets.NORMS for c in CASES[op] if c.name.startswith("whole")]
EXACT += [case for case in CASES["leaky_relu"] if case.name == "option"]
EXACT += WHOLE_RNN + WHOLE_BLOCKS


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", EXACT, ids=lambda case: case.id)
def test_whole_numbers(case, dtype):
    arrays = case.arrays(dtype, "integers")
    y, ctx = case.forward(arrays)
    dys = case.gradients(y, "integers")
    grads = case.backward(dys, ctx)
    right_y, right_grads = oracle.answer(case, arrays, dys, "integers")
    for found, right in zip(y, right_y, strict=True):
        np.testing.assert_array_equal(found, right)
        assert found.shape == right.shape
    for name, found in grads.items():
        assert found.dtype == dtype
        assert found.shape == arrays[name].shape
        np.testing.assert_array_equal(found, right_grads[name], err_msg=f"gradient of {name}")
    assert y[0].dtype == dtype


NONZERO = [
    case for case in EXACT if not case.variant and case.key not in ("gemm-3x4x0", "relu-1", "relu-scalar")
]


@pytest.mark.parametrize("case", NONZERO, ids=lambda case: case.id)
def test_the_right_answers_are_not_mostly_zero(case):
    arrays = case.arrays(np.float32, "integers")
    y, _ = case.forward(arrays)
    least = 0.25 if case.op in ("relu", "rnn") or case.options.get("relu") else 0.5
    if case.op == "k_sparse":  # exactly k of a row
        least = case.options["k"] / y[0].shape[1]
    if case.op == "max_unpool2d":  # one of a window; where they overlap, one of several windows
        least = 0.25 * arrays["x"].size / max(1, y[0].size)
    assert np.count_nonzero(y[0]) >= least * y[0].size


def test_average_pooling_has_exact_cases():
    assert sum(case.op == "avg_pool2d" for case in EXACT) >= 8


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_saturated_gates_leave_a_whole_number_in_the_cell(dtype):
    """Pre-activations of -2000, 0 and 2000 make each gate exactly 0, 1/2 or 1, and g -1, 0 or 1."""
    rng = np.random.default_rng(0)
    n, h = 6, 9
    z = rng.choice([-2000.0, 0.0, 2000.0], (n, 4 * h)).astype(dtype)
    c = rng.integers(-8, 9, (n, h)).astype(dtype)
    zero = np.zeros((n, h), dtype)
    (_, c_next), _ = ops.lstm_cell(
        np.eye(n, dtype=dtype),
        zero,
        c,
        np.ascontiguousarray(z.T),
        np.zeros((4 * h, h), dtype),
        np.zeros(4 * h, dtype),
    )
    i, f, g, _ = np.split(np.sign(z), 4, axis=1)
    np.testing.assert_array_equal(c_next, (f + 1) / 2 * c + (i + 1) / 2 * g)
