"""The compiled backend: the contract that `lamina.reference` implements in NumPy, name for name.

Arrays are float32 or float64 (all float arguments of a call share one dtype), aligned, native byte order
and C-contiguous, except the operands of `gemm`, which may have any strides. Nothing is converted: a wrong
dtype or layout raises TypeError or ValueError. Images are NHWC, convolution weights OHWI.

One file, long as it is: type checkers take the stub of one extension module from one file.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_Array = npt.NDArray[np.floating[Any]]
_Indices = npt.NDArray[np.int64]
_Pair = tuple[int, int]
_Sides = tuple[int, int, int, int]  # top, bottom, left, right

# gemm -------------------------------------------------------------------------------------------------
# Arrays given as out, dw and db take the result, which otherwise is a new array.
def gemm(
    a: _Array, b: _Array, bias: _Array | None = None, relu: bool = False, out: _Array | None = None
) -> _Array:
    """(M,K) times (K,N), plus bias (N,) on each row; with relu, max(that, 0)."""

def bias_backward(dy: _Array, out: _Array | None = None) -> _Array:
    """Column sums of dy (M,N): the gradient of a bias, (N,)."""

# conv -------------------------------------------------------------------------------------------------
def conv2d(
    x: _Array,
    w: _Array,
    b: _Array | None,
    stride: _Pair,
    padding: _Sides,
    dilation: _Pair,
    groups: int,
    algorithm: str = "auto",
    relu: bool = False,
) -> _Array:
    """x (N,H,W,C), w (O,KH,KW,C/groups), b (O,) -> y (N,OH,OW,O); with relu, max(y, 0).

    algorithm: "auto" | "im2col" | "direct", or Winograd's "winograd2" | "winograd4" with tiles of 2x2 or 4x4
    outputs, for filters of 3x3 (the first also 5x5) and stride, dilation, groups 1; "fast" is "auto" that may
    be one of these.
    """

def conv2d_backward_input(
    dy: _Array,
    w: _Array,
    input_size: _Pair,
    stride: _Pair,
    padding: _Sides,
    dilation: _Pair,
    groups: int,
    algorithm: str = "auto",
    b: _Array | None = None,
    relu: bool = False,
) -> _Array:
    """dy (N,OH,OW,O), input_size (H,W) -> dx (N,H,W,C), plus b (C,), and max(0, that) with relu."""

def conv2d_backward_weight(
    dy: _Array,
    x: _Array,
    kernel_size: _Pair,
    stride: _Pair,
    padding: _Sides,
    dilation: _Pair,
    groups: int,
    algorithm: str = "auto",
    dw: _Array | None = None,
    db: _Array | None = None,
) -> tuple[_Array, _Array]:
    """-> dw (O,KH,KW,C/groups), db (O,)."""

def conv2d_norm(
    x: _Array,
    w: _Array,
    b: _Array | None,
    mean: _Array,
    scale: _Array,
    shift: _Array,
    relu: bool,
    stride: _Pair,
    padding: _Sides,
    dilation: _Pair,
    groups: int,
    algorithm: str = "auto",
) -> _Array:
    """batch_norm of what conv2d makes."""

def conv2d_moments(
    x: _Array,
    w: _Array,
    b: _Array | None,
    stride: _Pair,
    padding: _Sides,
    dilation: _Pair,
    groups: int,
    algorithm: str = "auto",
) -> tuple[_Array, _Array, _Array]:
    """What conv2d makes, and the mean and biased variance of each of its channels."""

def conv2d_norm_backward(
    dy: _Array,
    y: _Array,
    mean: _Array,
    inv: _Array,
    scale: _Array,
    shift: _Array,
    relu: bool,
    x: _Array,
    w: _Array,
    stride: _Pair,
    padding: _Sides,
    dilation: _Pair,
    groups: int,
    algorithm: str = "auto",
    needs_dx: bool = True,
    dw: _Array | None = None,
    db: _Array | None = None,
    dgamma: _Array | None = None,
    dbeta: _Array | None = None,
) -> tuple[_Array | None, _Array, _Array, _Array, _Array]:
    """batch_norm_backward of dy, with y for its x; then the convolution's two of that -> dx or None, dw, db,
    dgamma, dbeta."""

# unshared weights: w (OH,OW,O,KH,KW,C) -----------------------------------------------------------------
def locally_connected2d(x: _Array, w: _Array, b: _Array | None, stride: _Pair, padding: _Sides) -> _Array:
    """x (N,H,W,C), b (OH,OW,O) -> y (N,OH,OW,O)."""

def locally_connected2d_backward_input(
    dy: _Array, w: _Array, input_size: _Pair, stride: _Pair, padding: _Sides
) -> _Array:
    """dy (N,OH,OW,O), input_size (H,W) -> dx (N,H,W,C)."""

def locally_connected2d_backward_weight(
    dy: _Array, x: _Array, kernel_size: _Pair, stride: _Pair, padding: _Sides
) -> _Array:
    """dy (N,OH,OW,O), x (N,H,W,C) -> dw."""

# pool -------------------------------------------------------------------------------------------------
def max_pool2d(
    x: _Array, kernel_size: _Pair, stride: _Pair, padding: _Sides, output_size: _Pair, relu: bool = False
) -> tuple[_Array, npt.NDArray[Any]]:
    """x (N,H,W,C) -> y (N,OH,OW,C) and argmax, the offset kh*KW+kw inside the window of the first greatest
    element: uint8 where KH*KW <= 255, else int32. Padding is never chosen; the first NaN wins. With relu, of
    max(x, 0); where no element is above 0, argmax is KH*KW."""

def max_pool2d_backward(
    dy: _Array,
    argmax: npt.NDArray[Any],
    input_size: _Pair,
    kernel_size: _Pair,
    stride: _Pair,
    padding: _Sides,
) -> _Array: ...
def max_unpool2d_backward(
    dy: _Array, argmax: npt.NDArray[Any], kernel_size: _Pair, stride: _Pair, padding: _Sides
) -> _Array:
    """dy (N,H,W,C), argmax (N,OH,OW,C) -> dx (N,OH,OW,C)."""

def avg_pool2d(
    x: _Array, kernel_size: _Pair, stride: _Pair, padding: _Sides, output_size: _Pair, count_include_pad: bool
) -> _Array:
    """Mean over the window. The divisor counts the padding if count_include_pad, but never what a window
    reaches beyond the padding (ceil_mode)."""

def avg_pool2d_backward(
    dy: _Array, input_size: _Pair, kernel_size: _Pair, stride: _Pair, padding: _Sides, count_include_pad: bool
) -> _Array: ...

# recurrent --------------------------------------------------------------------------------------------
def lstm_cell(
    x: _Array, h: _Array, c: _Array, w_ih: _Array, w_hh: _Array, b: _Array
) -> tuple[_Array, _Array, _Array]:
    """One step. x (N,D), h and c (N,H), w_ih (4H,D), w_hh (4H,H), b (4H,), rows i, f, g, o
    -> next h (N,H), next c (N,H), gates (N,4H) after their activations (kept for backward)."""

def lstm_cell_backward(
    dh_next: _Array,
    dc_next: _Array,
    x: _Array,
    h: _Array,
    c: _Array,
    w_ih: _Array,
    w_hh: _Array,
    c_next: _Array,
    gates: _Array,
) -> tuple[_Array, _Array, _Array, _Array, _Array, _Array]:
    """-> dx, dh, dc, dw_ih, dw_hh, db."""

def rnn_cell(x: _Array, h: _Array, w_ih: _Array, w_hh: _Array, b: _Array) -> _Array:
    """tanh(x w_ih^T + h w_hh^T + b): x (N,D), h (N,H), w_ih (H,D), w_hh (H,H), b (H,) -> next h (N,H)."""

def rnn_cell_backward(
    dh_next: _Array, x: _Array, h: _Array, w_ih: _Array, w_hh: _Array, h_next: _Array
) -> tuple[_Array, _Array, _Array, _Array, _Array]:
    """-> dx, dh, dw_ih, dw_hh, db."""

# whole sequences, packed by time ------------------------------------------------------------------------
def sequence(
    cell: str,
    x: _Array | _Indices,
    source: _Indices,
    offset: _Indices,
    h0: _Array,
    c0: _Array | None,
    w_ih: _Array,
    w_hh: _Array,
    b: _Array,
    mask: _Array | None,
    zone_h: _Array | None,
    zone_c: _Array | None,
    keep: bool = True,
    blocks: int = 1,
    block: int = 0,
    y: _Array | None = None,
) -> tuple[_Array, _Array, _Array | None, _Array]:
    """cell "rnn_tanh", "rnn_relu", "rnn_satlin", "gru", "gru_before" or "lstm"; x (R,D), or tokens (R,) below
    D for vectors with a one at their place; packed row p is row source[p] of x, the packed rows of step s
    begin at offset[s], and there are ever fewer; h0 and (LSTM alone) c0 (N,H); w_ih (GH,D), w_hh (GH,H), b
    (GH,), of "gru" (4H,); mask (N,H) multiplies h on its way into the products; where zone_h and (LSTM alone)
    zone_c (R,H) are not 0, h and c stay
    -> y (R,H), 0 where no step is; for backward [x|masked h before|1] (P,K), K = D+H+1 (of tokens H+1)
    rounded up to an odd number of 64-byte lines; (P,H) c (LSTM), h w_hn^T + b_m ("gru") or r h
    ("gru_before"), else None; activated gates (P,GH). keep=False: rows for two steps instead of P. blocks 2:
    y is (R,2H), of which block 0 or 1 is written, in the array y if there is one."""

def sequence_backward(
    cell: str,
    dy: _Array,
    dh_last: _Array,
    dc_last: _Array | None,
    tokens: _Indices | None,
    source: _Indices,
    offset: _Indices,
    h0: _Array,
    c0: _Array | None,
    w_ih: _Array,
    w_hh: _Array,
    mask: _Array | None,
    zone_h: _Array | None,
    zone_c: _Array | None,
    y: _Array,
    xh: _Array,
    kept: _Array | None,
    gates: _Array,
    needs_dx: bool = True,
    blocks: int = 1,
    block: int = 0,
    dw_ih: _Array | None = None,
    dw_hh: _Array | None = None,
    db: _Array | None = None,
) -> tuple[_Array | None, _Array, _Array | None, _Array, _Array, _Array]:
    """dy (R,H); dh_last, dc_last (N,H), of the states after the last steps
    -> dx (of tokens, or if not needed, None), dh0, dc0, dw_ih, dw_hh, db."""

# recurrent step ---------------------------------------------------------------------------------------
def recurrent_step(
    cell: str, token: int, table: _Array, panels: _Array, state: _Array, outputs: int
) -> tuple[_Array, _Array]:
    """One step of one sequence through `layers` recurrent layers and a dense one: table (V,GH), whose row
    `token` is x's part of the first pre-activations; panels (M,H+1,64) of the affine maps of h of layer 0, of
    x and h of each further layer (GH columns each) and of the dense layer (outputs), each from a panel on,
    the bias in row 0 of a panel; state (layers,1,H), of an LSTM (layers,2,H) with h and c
    -> logits (outputs,), the next state."""

# embedding --------------------------------------------------------------------------------------------
def embedding(tokens: _Indices, w: _Array) -> _Array:
    """tokens (P,), each in 0..V-1, w (V,D) -> y (P,D)."""

def embedding_backward(dy: _Array, tokens: _Indices, w: _Array) -> _Array:
    """dy (P,D) -> dw (V,D); of w the shape alone."""

# memory blocks (sequences as above; options: cells per block, input gate, forget "none" | "gate" | "coupled",
# output gate, squash of the input and of the state "tanh" | "logistic" | "identity" | "1997") ------------
_Options = tuple[int, bool, str, bool, str, str]

def memory_blocks(
    options: _Options,
    x: _Array | _Indices,
    source: _Indices,
    offset: _Indices,
    u0: _Array,
    c0: _Array,
    w_ih: _Array,
    w_hh: _Array,
    b: _Array,
    peepholes: _Array | None,
) -> tuple[_Array, _Array, _Array, _Array, _Array, _Array]:
    """u0 (N,M), M = 0, H or H + gates; c0 (N,H), w_ih (rows,D), w_hh (rows,M), b (rows,) in rows i f g o
    without absent gates, peepholes (gates,H) -> y (R,H), 0 where no step is; u (N,M) and c (N,H) after the
    last steps; for backward [x|u before] (P,K), padded as in sequence, activated gates (P,rows), c (P,H)."""

def memory_blocks_backward(
    options: _Options,
    truncated: bool,
    dy: _Array,
    du_last: _Array,
    dc_last: _Array,
    tokens: _Indices | None,
    source: _Indices,
    offset: _Indices,
    c0: _Array,
    w_ih: _Array,
    w_hh: _Array,
    peepholes: _Array | None,
    xu: _Array,
    gates: _Array,
    c: _Array,
) -> tuple[_Array | None, _Array, _Array, _Array, _Array, _Array, _Array | None]:
    """dy (R,H), du_last (N,M), dc_last (N,H) -> dx (of tokens None), du0, dc0, dw_ih, dw_hh, db (rows,),
    dpeepholes (of none None). Truncated: errors at a gate or a peephole go no further back."""

# activations (any shape) ------------------------------------------------------------------------------
def add(a: _Array, b: _Array) -> _Array:
    """a + b, of one shape."""

def relu(x: _Array) -> _Array:
    """max(x, 0); NaN stays NaN."""

def relu_backward(dy: _Array, y: _Array) -> _Array:
    """dy where not y <= 0, else 0."""

def sigmoid(x: _Array) -> _Array: ...
def sigmoid_backward(dy: _Array, y: _Array) -> _Array: ...
def tanh(x: _Array) -> _Array: ...
def tanh_backward(dy: _Array, y: _Array) -> _Array: ...
def curve(kind: str, x: _Array, a: float) -> _Array:
    """kind: "leaky_relu" | "elu" (with a) | "softplus" | "silu" | "gelu" | "gelu_tanh"."""

def curve_backward(kind: str, dy: _Array, x: _Array, a: float) -> _Array: ...
def softmax(x: _Array) -> _Array:
    """Over the rows of x (M,N)."""

def softmax_backward(dy: _Array, y: _Array) -> _Array: ...
def log_softmax(x: _Array) -> _Array:
    """Over the rows of x (M,N)."""

def log_softmax_backward(dy: _Array, y: _Array) -> _Array: ...

# normalisation ----------------------------------------------------------------------------------------
def column_moments(x: _Array) -> tuple[_Array, _Array]:
    """Means and biased variances of the columns of x (M,C), M > 0."""

def batch_norm_scale(var: _Array, gamma: _Array | None, eps: float) -> tuple[_Array, _Array]:
    """inv = 1/sqrt(var + eps), computed in float64, and inv gamma, each (C,)."""

def batch_norm(x: _Array, mean: _Array, scale: _Array, shift: _Array, relu: bool) -> _Array:
    """x (M,C) -> (x - mean) scale + shift, by columns; then relu, if asked for."""

def batch_norm_backward(
    dy: _Array,
    x: _Array,
    mean: _Array,
    inv: _Array,
    scale: _Array,
    shift: _Array,
    relu: bool,
    frozen: bool,
    dgamma: _Array | None = None,
    dbeta: _Array | None = None,
) -> tuple[_Array, _Array, _Array]:
    """scale = gamma inv; frozen: mean and inv are constants -> dx (M,C), dgamma (C,), dbeta (C,)."""

def follow_moments(
    mean: _Array, var: _Array, running_mean: _Array, running_var: _Array, momentum: float, count: int
) -> None:
    """Moves the running ones, in place, by momentum towards mean and var count/(count - 1)."""

def group_norm(
    x: _Array, gamma: _Array, beta: _Array, groups: int, eps: float
) -> tuple[_Array, _Array, _Array]:
    """x (N,P,C), gamma, beta (C,) -> y, mean and 1/sqrt(var + eps) (N, groups)."""

def group_norm_backward(
    dy: _Array, x: _Array, gamma: _Array, mean: _Array, inv: _Array
) -> tuple[_Array, _Array, _Array]:
    """-> dx (N,P,C), dgamma (C,), dbeta (C,)."""

def local_response(x: _Array, size: int, alpha: float, beta: float, k: float) -> tuple[_Array, _Array]:
    """x (M,C) -> y = x d^-beta, and d = k + alpha (the squares of `size` channels around each, size odd)."""

def local_response_backward(
    dy: _Array, x: _Array, d: _Array, size: int, alpha: float, beta: float
) -> _Array: ...

# losses -----------------------------------------------------------------------------------------------
def softmax_cross_entropy(x: _Array, labels: npt.NDArray[np.int64]) -> tuple[_Array, _Array]:
    """Logits x (M,N), labels (M,) in 0..N-1 -> losses (M,) and probabilities (M,N) (kept for backward).
    A label out of range raises ValueError."""

def softmax_cross_entropy_backward(
    dloss: _Array, probabilities: _Array, labels: npt.NDArray[np.int64]
) -> _Array:
    """dloss (M,) -> dx (M,N)."""

def mean_squared_error(x: _Array, target: _Array) -> _Array:
    """mean((x - target)^2), shape (). Both of one shape."""

def mean_squared_error_backward(dloss: float, x: _Array, target: _Array) -> _Array: ...

# draw -------------------------------------------------------------------------------------------------
def draw(x: _Array, temperature: float, u: _Array) -> npt.NDArray[np.int64]:
    """An index (M,) of each row of x (M,V) by u (M,) in [0,1): the first whose cumulative share of
    softmax(x / temperature) exceeds it; at 0 that of the first greatest; -1 for a row with NaN or without a
    finite greatest element."""

# upsampling -------------------------------------------------------------------------------------------
def upsample2d(x: _Array, factor: _Pair, bilinear: bool) -> _Array:
    """x (N,H,W,C) -> y (N,H factor,W factor,C)."""

def upsample2d_backward(dy: _Array, factor: _Pair, bilinear: bool) -> _Array:
    """dy (N,OH,OW,C) -> dx (N,H,W,C)."""

# sparse codes: values and units (M,k), the units of a row in 0..N-1 ---------------------------------------
def support(x: _Array, k: int) -> tuple[_Array, _Indices]:
    """x (M,N) -> its k greatest of each row by rising unit; equals by rising unit, NaN first."""

def sparse_linear(values: _Array, units: _Indices, w: _Array, b: _Array | None) -> _Array:
    """w (N,D), b (D,) -> y (M,D): b and the chosen rows of w, times the values."""

def sparse_dots(dy: _Array, units: _Indices, w: _Array) -> _Array:
    """dy (M,D), w (N,D) -> (M,k): dy times the chosen rows of w."""

def sparse_outer(
    units: _Indices,
    values: _Array,
    dy: _Array,
    values2: _Array | None,
    x: _Array | None,
    n: int,
    out: _Array | None = None,
) -> _Array:
    """values and values2 (M,k), dy and x (M,D) -> (n,D): row u is the sum of values dy + values2 x over
    the places where u was chosen."""

# topk -------------------------------------------------------------------------------------------------
def topk(x: _Array, k: int) -> tuple[_Array, npt.NDArray[np.int64]]:
    """The k greatest of each row of x (M,N), in falling order -> values (M,k), indices (M,k).
    Ties go to the lowest index; NaN counts as greater than every number."""

# optim (in place, 1-D arrays of one length) -----------------------------------------------------------
def sgd_step(
    p: _Array, g: _Array, v: _Array | None, lr: float, momentum: float, nesterov: bool, weight_decay: float
) -> None:
    """g += weight_decay p; v = momentum v + g; p -= lr (g + momentum v if nesterov else v).
    v is None exactly where momentum is 0; g itself is left as it was."""

def adam_step(
    p: _Array,
    g: _Array,
    m: _Array,
    v: _Array,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    step: int,
) -> None:
    """Adam (Kingma & Ba 2015, algorithm 1), decoupled: AdamW (Loshchilov & Hutter 2019); step starts at 1."""

def rms_step(p: _Array, g: _Array, v: _Array, lr: float, keep: float, add: float, eps: float) -> None:
    """v = keep v + add g^2; p -= lr g / (sqrt(v) + eps)."""

def adadelta_step(
    p: _Array, g: _Array, v: _Array, u: _Array, lr: float, keep: float, eps: float, weight_decay: float
) -> None:
    """Adadelta (Zeiler 2012): v and u are the means of squares of gradients and of steps."""

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

class Plan:
    """The kernel calls of one run for inputs of these shapes and dtypes, to be made again without Python.

    Between start() and stop(results), what the run returned, the calls of this thread are written down, but
    for those between pause() and resume(); inputs() are the arrays that the run gets. abandon() ends a
    recording that failed. add_host(name) says that the next of the functions `hosts` is to be called here.
    Arrays that no kernel made, and those that are given to hold(), are taken to be the same on every run:
    `constants` has them, each with the name of the op that read it. frozen: parameters stay as they are now.
    drop_hosts() leaves out functions, counted from 0, whose results nobody reads. times() makes the calls
    once -> seconds of each; `names`: the op of each, and the shape of what it read first.
    """

    def __init__(self, inputs: Sequence[npt.NDArray[Any]], frozen: bool) -> None: ...
    def start(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def stop(self, results: Sequence[npt.NDArray[Any]]) -> None: ...
    def abandon(self) -> None: ...
    def inputs(self) -> list[npt.NDArray[Any]]: ...
    def hold(self, op: str, array: npt.NDArray[Any]) -> None: ...
    def add_host(self, name: str) -> None: ...
    def drop_hosts(self, numbers: Sequence[int]) -> None: ...
    def __call__(
        self, inputs: Sequence[npt.NDArray[Any]], hosts: Sequence[Callable[[], None]]
    ) -> list[npt.NDArray[Any]]: ...
    def times(
        self, inputs: Sequence[npt.NDArray[Any]], hosts: Sequence[Callable[[], None]]
    ) -> list[float]: ...
    @property
    def names(self) -> list[tuple[str, list[int]]]: ...
    @property
    def bytes(self) -> int: ...
    @property
    def calls(self) -> int: ...
    @property
    def constants(self) -> list[tuple[str, npt.NDArray[Any]]]: ...
