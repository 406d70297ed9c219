"""The kernels in NumPy: the same functions, arguments and results as the compiled backend.

Written as one would write them without a compiler: strided windows and matrix products, and loops only over
the few taps of a kernel. Arguments have been checked by `lamina.ops`.
"""

from lamina.reference.activations import (
    add,
    curve,
    curve_backward,
    log_softmax,
    log_softmax_backward,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    softmax,
    softmax_backward,
    tanh,
    tanh_backward,
)
from lamina.reference.conv import conv2d, conv2d_backward_input, conv2d_backward_weight
from lamina.reference.conv_norm import conv2d_moments, conv2d_norm, conv2d_norm_backward
from lamina.reference.draw import draw
from lamina.reference.embedding import embedding, embedding_backward
from lamina.reference.gemm import bias_backward, gemm
from lamina.reference.locally_connected import (
    locally_connected2d,
    locally_connected2d_backward_input,
    locally_connected2d_backward_weight,
)
from lamina.reference.losses import (
    mean_squared_error,
    mean_squared_error_backward,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)
from lamina.reference.memory_blocks import memory_blocks, memory_blocks_backward
from lamina.reference.norm import (
    batch_norm,
    batch_norm_backward,
    batch_norm_scale,
    column_moments,
    follow_moments,
    group_norm,
    group_norm_backward,
    local_response,
    local_response_backward,
)
from lamina.reference.optim import adadelta_step, adam_step, rms_step, sgd_step
from lamina.reference.pool import (
    avg_pool2d,
    avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
    max_unpool2d_backward,
)
from lamina.reference.recurrent import lstm_cell, lstm_cell_backward, rnn_cell, rnn_cell_backward
from lamina.reference.recurrent_step import recurrent_step
from lamina.reference.sequence import sequence, sequence_backward
from lamina.reference.sparse_code import sparse_dots, sparse_linear, sparse_outer, support
from lamina.reference.topk import topk
from lamina.reference.upsample import upsample2d, upsample2d_backward

__all__ = [
    "add",
    "adadelta_step",
    "adam_step",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_scale",
    "bias_backward",
    "column_moments",
    "conv2d",
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "conv2d_moments",
    "conv2d_norm",
    "conv2d_norm_backward",
    "curve",
    "curve_backward",
    "draw",
    "embedding",
    "embedding_backward",
    "follow_moments",
    "gemm",
    "group_norm",
    "group_norm_backward",
    "local_response",
    "local_response_backward",
    "locally_connected2d",
    "locally_connected2d_backward_input",
    "locally_connected2d_backward_weight",
    "log_softmax",
    "log_softmax_backward",
    "lstm_cell",
    "lstm_cell_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "max_unpool2d_backward",
    "mean_squared_error",
    "mean_squared_error_backward",
    "memory_blocks",
    "memory_blocks_backward",
    "recurrent_step",
    "relu",
    "relu_backward",
    "rms_step",
    "rnn_cell",
    "rnn_cell_backward",
    "sequence",
    "sequence_backward",
    "sgd_step",
    "sigmoid",
    "sigmoid_backward",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
    "sparse_dots",
    "sparse_linear",
    "sparse_outer",
    "support",
    "tanh",
    "tanh_backward",
    "topk",
    "upsample2d",
    "upsample2d_backward",
]
