"""Pairs of pure functions on NumPy arrays: `y, ctx = relu(x)` and `dx = relu_backward(dy, ctx)`.

Arrays are float32 or float64, all of a call of one dtype, with any strides and byte order; integers, objects
and mixed dtypes raise TypeError. Outputs are new memory, and inputs stay as they are (but for the arrays that
`sgd_step`, `adam_step` and their like say they write). A context refers to inputs and outputs and does not
copy them: leave them unchanged until the backward pass.
"""

from lamina.ops.activations import (
    elu,
    elu_backward,
    gelu,
    gelu_backward,
    leaky_relu,
    leaky_relu_backward,
    log_softmax,
    log_softmax_backward,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    silu,
    silu_backward,
    softmax,
    softmax_backward,
    softplus,
    softplus_backward,
    tanh,
    tanh_backward,
)
from lamina.ops.add import add, add_backward
from lamina.ops.conv import conv2d, conv2d_backward
from lamina.ops.conv_transpose import conv_transpose2d, conv_transpose2d_backward
from lamina.ops.draw import draw
from lamina.ops.embedding import embedding, embedding_backward
from lamina.ops.gemm import gemm, gemm_backward, linear, linear_backward
from lamina.ops.locally_connected import locally_connected2d, locally_connected2d_backward
from lamina.ops.losses import (
    mean_squared_error,
    mean_squared_error_backward,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)
from lamina.ops.memory_blocks import memory_blocks, memory_blocks_backward
from lamina.ops.norm import (
    batch_norm,
    batch_norm_backward,
    group_norm,
    group_norm_backward,
    layer_norm,
    layer_norm_backward,
    local_response_norm,
    local_response_norm_backward,
)
from lamina.ops.optim import adadelta_step, adam_step, rms_step, sgd_step
from lamina.ops.pool import (
    avg_pool2d,
    avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
    max_unpool2d,
    max_unpool2d_backward,
)
from lamina.ops.recurrent import lstm_cell, lstm_cell_backward, rnn_cell, rnn_cell_backward
from lamina.ops.recurrent_step import recurrent_plan, recurrent_step
from lamina.ops.sequence import gru, gru_backward, lstm, lstm_backward, rnn, rnn_backward
from lamina.ops.sparse_code import (
    k_sparse,
    k_sparse_backward,
    k_sparse_linear,
    k_sparse_linear_backward,
    sparse_linear,
    sparse_linear_backward,
    tied_k_sparse,
    tied_k_sparse_backward,
)
from lamina.ops.topk import topk, topk_backward
from lamina.ops.upsample import upsample2d, upsample2d_backward

__all__ = [
    "add",
    "add_backward",
    "adadelta_step",
    "adam_step",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm",
    "batch_norm_backward",
    "conv2d",
    "conv2d_backward",
    "conv_transpose2d",
    "conv_transpose2d_backward",
    "draw",
    "elu",
    "elu_backward",
    "embedding",
    "embedding_backward",
    "gelu",
    "gelu_backward",
    "gemm",
    "gemm_backward",
    "group_norm",
    "group_norm_backward",
    "gru",
    "gru_backward",
    "k_sparse",
    "k_sparse_backward",
    "k_sparse_linear",
    "k_sparse_linear_backward",
    "layer_norm",
    "layer_norm_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "linear",
    "linear_backward",
    "local_response_norm",
    "local_response_norm_backward",
    "locally_connected2d",
    "locally_connected2d_backward",
    "log_softmax",
    "log_softmax_backward",
    "lstm",
    "lstm_backward",
    "lstm_cell",
    "lstm_cell_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "max_unpool2d",
    "max_unpool2d_backward",
    "mean_squared_error",
    "mean_squared_error_backward",
    "memory_blocks",
    "memory_blocks_backward",
    "recurrent_plan",
    "recurrent_step",
    "relu",
    "relu_backward",
    "rms_step",
    "rnn",
    "rnn_backward",
    "rnn_cell",
    "rnn_cell_backward",
    "sgd_step",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
    "softplus",
    "softplus_backward",
    "sparse_linear",
    "sparse_linear_backward",
    "tanh",
    "tanh_backward",
    "tied_k_sparse",
    "tied_k_sparse_backward",
    "topk",
    "topk_backward",
    "upsample2d",
    "upsample2d_backward",
]
