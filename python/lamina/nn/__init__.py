"""Modules: layers, containers and losses. Images are (N,H,W,C), sequences (N,T,D)."""

from lamina.nn.activation import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from lamina.nn.conv import Conv2d
from lamina.nn.conv_transpose import ConvTranspose2d
from lamina.nn.dropout import Dropout
from lamina.nn.embedding import Embedding
from lamina.nn.flatten import Flatten
from lamina.nn.linear import Linear
from lamina.nn.losses import BCEWithLogitsLoss, CrossEntropyLoss, MSELoss
from lamina.nn.memory_blocks import MemoryBlocks
from lamina.nn.module import Module, Parameter
from lamina.nn.pool import AvgPool2d, MaxPool2d, MaxUnpool2d
from lamina.nn.recurrent import GRUCell, LSTMCell, RNNCell
from lamina.nn.sequence import GRU, LSTM, RNN
from lamina.nn.sequential import Sequential
from lamina.nn.sparse import KSparse
from lamina.nn.upsample import Upsample
from lamina.nn.wrappers import Bidirectional, TimeDistributed

__all__ = [
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
