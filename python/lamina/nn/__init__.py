"""Modules: layers, containers and losses. Images are (N,H,W,C), sequences (N,T,D)."""

from lamina.nn.activation import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from lamina.nn.combine import Parallel, Residual
from lamina.nn.conv import Conv2d
from lamina.nn.conv1d import AvgPool1d, Conv1d, MaxPool1d
from lamina.nn.conv_transpose import ConvTranspose2d
from lamina.nn.curves import ELU, GELU, LeakyReLU, Maxout, SiLU, Softplus
from lamina.nn.dropout import Dropout, Dropout2d
from lamina.nn.embedding import Embedding
from lamina.nn.flatten import Flatten
from lamina.nn.fuse import fuse
from lamina.nn.global_pool import (
    AdaptiveAvgPool2d,
    AdaptiveMaxPool2d,
    GlobalAvgPool2d,
    GlobalMaxPool2d,
    L2Pool2d,
)
from lamina.nn.linear import Linear
from lamina.nn.locally_connected import LocallyConnected1d, LocallyConnected2d
from lamina.nn.losses import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HingeLoss,
    HuberLoss,
    KLDivLoss,
    MSELoss,
)
from lamina.nn.memory_blocks import MemoryBlocks
from lamina.nn.module import Module, Parameter
from lamina.nn.norm import (
    BatchNorm1d,
    BatchNorm2d,
    GroupNorm,
    LayerNorm,
    LocalResponseNorm,
    update_statistics,
)
from lamina.nn.pad import ReflectPad2d, ZeroPad2d
from lamina.nn.pool import AvgPool2d, MaxPool2d, MaxUnpool2d
from lamina.nn.recurrent import GRUCell, LSTMCell, RNNCell
from lamina.nn.sequence import GRU, LSTM, RNN
from lamina.nn.sequential import Sequential
from lamina.nn.sparse import KSparse
from lamina.nn.upsample import Upsample
from lamina.nn.wrappers import Bidirectional, TimeDistributed

__all__ = [
    "BCELoss",
    "HingeLoss",
    "HuberLoss",
    "KLDivLoss",
    "Dropout2d",
    "LocallyConnected1d",
    "LocallyConnected2d",
    "ReflectPad2d",
    "ZeroPad2d",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool2d",
    "GlobalAvgPool2d",
    "GlobalMaxPool2d",
    "L2Pool2d",
    "Parallel",
    "Residual",
    "AvgPool1d",
    "Conv1d",
    "MaxPool1d",
    "ELU",
    "GELU",
    "LeakyReLU",
    "Maxout",
    "SiLU",
    "Softplus",
    "BatchNorm1d",
    "BatchNorm2d",
    "GroupNorm",
    "LayerNorm",
    "LocalResponseNorm",
    "fuse",
    "update_statistics",
    "GRU",
    "LSTM",
    "RNN",
    "AvgPool2d",
    "Bidirectional",
    "BCEWithLogitsLoss",
    "Conv2d",
    "ConvTranspose2d",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "Flatten",
    "GRUCell",
    "KSparse",
    "LSTMCell",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "MaxPool2d",
    "MaxUnpool2d",
    "MemoryBlocks",
    "Module",
    "Parameter",
    "RNNCell",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "TimeDistributed",
    "Upsample",
]
