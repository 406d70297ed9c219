"""The compiled backend: the contract that `lamina.reference` implements in NumPy, name for name.

Arrays are float32 or float64 (all float arguments of a call share one dtype), aligned, native byte order
and C-contiguous, except the operands of `gemm`, which may have any strides. Nothing is converted: a wrong
dtype or layout raises TypeError or ValueError. Images are NHWC, convolution weights OHWI.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]
Pair = tuple[int, int]
Sides = tuple[int, int, int, int]  # top, bottom, left, right

# gemm -------------------------------------------------------------------------------------------------
def gemm(a: Array, b: Array, bias: Array | None = None) -> Array:
    """(M,K) times (K,N), plus bias (N,) on each row."""

def bias_backward(dy: Array) -> Array:
    """Column sums of dy (M,N): the gradient of a bias, (N,)."""

# conv -------------------------------------------------------------------------------------------------
def conv2d(
    x: Array,
    w: Array,
    b: Array | None,
    stride: Pair,
    padding: Sides,
    dilation: Pair,
    groups: int,
    algorithm: str = "auto",
) -> Array:
    """x (N,H,W,C), w (O,KH,KW,C/groups), b (O,) -> y (N,OH,OW,O). algorithm: "auto" | "im2col" | "direct"."""

def conv2d_backward_input(
    dy: Array,
    w: Array,
    input_size: Pair,
    stride: Pair,
    padding: Sides,
    dilation: Pair,
    groups: int,
    algorithm: str = "auto",
) -> Array:
    """dy (N,OH,OW,O), input_size (H,W) -> dx (N,H,W,C)."""

def conv2d_backward_weight(
    dy: Array,
    x: Array,
    kernel_size: Pair,
    stride: Pair,
    padding: Sides,
    dilation: Pair,
    groups: int,
    algorithm: str = "auto",
) -> tuple[Array, Array]:
    """-> dw (O,KH,KW,C/groups), db (O,)."""

# pool -------------------------------------------------------------------------------------------------
def max_pool2d(
    x: Array, kernel_size: Pair, stride: Pair, padding: Sides, output_size: Pair
) -> tuple[Array, npt.NDArray[Any]]:
    """x (N,H,W,C) -> y (N,OH,OW,C) and argmax, the offset kh*KW+kw inside the window of the first greatest
    element: uint8 where KH*KW <= 256, else int32. Padding is never chosen; the first NaN wins."""

def max_pool2d_backward(
    dy: Array, argmax: npt.NDArray[Any], input_size: Pair, kernel_size: Pair, stride: Pair, padding: Sides
) -> Array: ...
def avg_pool2d(
    x: Array, kernel_size: Pair, stride: Pair, padding: Sides, output_size: Pair, count_include_pad: bool
) -> Array:
    """Mean over the window. The divisor counts the padding if count_include_pad, but never what a window
    reaches beyond the padding (ceil_mode)."""

def avg_pool2d_backward(
    dy: Array, input_size: Pair, kernel_size: Pair, stride: Pair, padding: Sides, count_include_pad: bool
) -> Array: ...

# recurrent --------------------------------------------------------------------------------------------
def lstm_cell(
    x: Array, h: Array, c: Array, w_ih: Array, w_hh: Array, b: Array
) -> tuple[Array, Array, Array]:
    """One step. x (N,D), h and c (N,H), w_ih (4H,D), w_hh (4H,H), b (4H,), rows i, f, g, o
    -> next h (N,H), next c (N,H), gates (N,4H) after their activations (kept for backward)."""

def lstm_cell_backward(
    dh_next: Array,
    dc_next: Array,
    x: Array,
    h: Array,
    c: Array,
    w_ih: Array,
    w_hh: Array,
    c_next: Array,
    gates: Array,
) -> tuple[Array, Array, Array, Array, Array, Array]:
    """-> dx, dh, dc, dw_ih, dw_hh, db."""

def rnn_cell(x: Array, h: Array, w_ih: Array, w_hh: Array, b: Array) -> Array:
    """tanh(x w_ih^T + h w_hh^T + b): x (N,D), h (N,H), w_ih (H,D), w_hh (H,H), b (H,) -> next h (N,H)."""

def rnn_cell_backward(
    dh_next: Array, x: Array, h: Array, w_ih: Array, w_hh: Array, h_next: Array
) -> tuple[Array, Array, Array, Array, Array]:
    """-> dx, dh, dw_ih, dw_hh, db."""

# activations (any shape) ------------------------------------------------------------------------------
def relu(x: Array) -> Array:
    """max(x, 0); NaN stays NaN."""

def relu_backward(dy: Array, y: Array) -> Array:
    """dy where not y <= 0, else 0."""

def sigmoid(x: Array) -> Array: ...
def sigmoid_backward(dy: Array, y: Array) -> Array: ...
def tanh(x: Array) -> Array: ...
def tanh_backward(dy: Array, y: Array) -> Array: ...
def softmax(x: Array) -> Array:
    """Over the rows of x (M,N)."""

def softmax_backward(dy: Array, y: Array) -> Array: ...
def log_softmax(x: Array) -> Array:
    """Over the rows of x (M,N)."""

def log_softmax_backward(dy: Array, y: Array) -> Array: ...

# losses -----------------------------------------------------------------------------------------------
def softmax_cross_entropy(x: Array, labels: npt.NDArray[np.int64]) -> tuple[Array, Array]:
    """Logits x (M,N), labels (M,) in 0..N-1 -> losses (M,) and probabilities (M,N) (kept for backward).
    A label out of range raises ValueError."""

def softmax_cross_entropy_backward(
    dloss: Array, probabilities: Array, labels: npt.NDArray[np.int64]
) -> Array:
    """dloss (M,) -> dx (M,N)."""

def mean_squared_error(x: Array, target: Array) -> Array:
    """mean((x - target)^2), shape (). Both of one shape."""

def mean_squared_error_backward(dloss: float, x: Array, target: Array) -> Array: ...

# topk -------------------------------------------------------------------------------------------------
def topk(x: Array, k: int) -> tuple[Array, npt.NDArray[np.int64]]:
    """The k greatest of each row of x (M,N), in falling order -> values (M,k), indices (M,k).
    Ties go to the lowest index; NaN counts as greater than every number."""

# optim (in place, 1-D arrays of one length) -----------------------------------------------------------
def sgd_step(
    p: Array, g: Array, v: Array | None, lr: float, momentum: float, nesterov: bool, weight_decay: float
) -> None:
    """g += weight_decay p; v = momentum v + g; p -= lr (g + momentum v if nesterov else v).
    v is None exactly where momentum is 0; g itself is left as it was."""

def adam_step(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    step: int,
) -> None:
    """Adam (Kingma & Ba 2015, algorithm 1); decoupled: AdamW (Loshchilov & Hutter 2019). step counts from 1."""

# the machine (compiled backend only) ------------------------------------------------------------------
def available_isas() -> Sequence[str]: ...
def get_isa() -> str: ...
def set_isa(name: str) -> None: ...
def get_num_threads() -> int: ...
def set_num_threads(n: int) -> None: ...
def cpu_limit() -> int:
    """CPUs that this process may use: affinity and cgroup quota."""

def build_info() -> dict[str, Any]: ...
def empty_cache() -> None: ...
def memory_stats() -> dict[str, int]: ...
def measure_peak(dtype: str, seconds: float) -> float:
    """Multiply-adds in registers on all threads: GFLOP/s of the active ISA."""

def measure_bandwidth(seconds: float) -> float:
    """GB/s read from memory by all threads."""
