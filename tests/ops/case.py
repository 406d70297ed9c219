"""A call of an op, and the ops: how each is called."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lamina import ops
from tests.ops import autoencoders, convnets


@dataclass(frozen=True)
class Op:
    """How to call a pair: which arguments are arrays with a gradient, and which are not."""

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    inputs: tuple[str, ...]
    others: tuple[str, ...] = ()
    gradients: int = 1  # how many arrays backward takes before its context


MASKS = ("recurrent_mask", "zone_h", "zone_c")
OPS = {
    "gemm": Op(ops.gemm, ops.gemm_backward, ("a", "b")),
    "linear": Op(ops.linear, ops.linear_backward, ("x", "w", "b")),
    "conv2d": Op(ops.conv2d, ops.conv2d_backward, ("x", "w", "b")),
    "max_pool2d": Op(ops.max_pool2d, ops.max_pool2d_backward, ("x",)),
    "avg_pool2d": Op(ops.avg_pool2d, ops.avg_pool2d_backward, ("x",)),
    "lstm_cell": Op(ops.lstm_cell, ops.lstm_cell_backward, ("x", "h", "c", "w_ih", "w_hh", "b"), gradients=2),
    "rnn_cell": Op(ops.rnn_cell, ops.rnn_cell_backward, ("x", "h", "w_ih", "w_hh", "b")),
    "embedding": Op(ops.embedding, ops.embedding_backward, ("w",), ("tokens",)),
    "rnn": Op(ops.rnn, ops.rnn_backward, ("x", "h0", "w_ih", "w_hh", "b"), MASKS, gradients=2),
    "gru": Op(ops.gru, ops.gru_backward, ("x", "h0", "w_ih", "w_hh", "b"), MASKS, gradients=2),
    "lstm": Op(ops.lstm, ops.lstm_backward, ("x", "h0", "c0", "w_ih", "w_hh", "b"), MASKS, gradients=3),
    "memory_blocks": Op(
        ops.memory_blocks,
        ops.memory_blocks_backward,
        ("x", "u0", "c0", "w_ih", "w_hh", "b", "peepholes"),
        gradients=3,
    ),
    "add": Op(ops.add, ops.add_backward, ("a", "b")),
    "relu": Op(ops.relu, ops.relu_backward, ("x",)),
    "sigmoid": Op(ops.sigmoid, ops.sigmoid_backward, ("x",)),
    "tanh": Op(ops.tanh, ops.tanh_backward, ("x",)),
    "softmax": Op(ops.softmax, ops.softmax_backward, ("x",)),
    "log_softmax": Op(ops.log_softmax, ops.log_softmax_backward, ("x",)),
    "softmax_cross_entropy": Op(
        ops.softmax_cross_entropy, ops.softmax_cross_entropy_backward, ("x",), ("labels",)
    ),
    "mean_squared_error": Op(ops.mean_squared_error, ops.mean_squared_error_backward, ("x",), ("target",)),
    "topk": Op(ops.topk, ops.topk_backward, ("x",)),
    "k_sparse": Op(ops.k_sparse, ops.k_sparse_backward, ("x",)),
    "k_sparse_linear": Op(ops.k_sparse_linear, ops.k_sparse_linear_backward, ("x", "w", "b")),
    "sparse_linear": Op(ops.sparse_linear, ops.sparse_linear_backward, ("values", "w", "b"), ("units",)),
    "tied_k_sparse": Op(ops.tied_k_sparse, ops.tied_k_sparse_backward, ("x", "w", "b", "c"), gradients=2),
    "upsample2d": Op(ops.upsample2d, ops.upsample2d_backward, ("x",)),
    "max_unpool2d": Op(autoencoders.unpool, ops.max_unpool2d_backward, ("x",), ("pooled",)),
    "batch_norm": Op(ops.batch_norm, ops.batch_norm_backward, ("x", "gamma", "beta"), ("mean", "var")),
    "group_norm": Op(ops.group_norm, ops.group_norm_backward, ("x", "gamma", "beta")),
    "layer_norm": Op(ops.layer_norm, ops.layer_norm_backward, ("x", "gamma", "beta")),
    "local_response_norm": Op(ops.local_response_norm, ops.local_response_norm_backward, ("x",)),
    "locally_connected2d": Op(ops.locally_connected2d, ops.locally_connected2d_backward, ("x", "w", "b")),
    **{
        name: Op(getattr(ops, name), getattr(ops, f"{name}_backward"), ("x",))
        for name in convnets.ACTIVATIONS
    },
    "conv_transpose2d": Op(ops.conv_transpose2d, ops.conv_transpose2d_backward, ("x", "w", "b")),
}


SEQUENCES = {"rnn": (1, 1), "gru": (3, 4), "lstm": (4, 4)}  # gates in the weights, in the bias


@dataclass(frozen=True)
class Case:
    """One call of an op: the shapes of its arrays and its options."""

    op: str
    name: str
    shapes: dict[str, tuple[int, ...]]
    options: dict[str, Any] = field(default_factory=dict)
    variant: str = ""  # cases that differ in this alone have the same data and the same right answer

    @property
    def key(self) -> str:
        return f"{self.op}-{self.name}"

    @property
    def id(self) -> str:
        return f"{self.key}-{self.variant}" if self.variant else self.key

    def arrays(self, dtype: Any, kind: str) -> dict[str, np.ndarray]:
        """Data for the call. kind: "integers" (small, never 0), "normal" or "distinct" (far apart)."""
        rng = np.random.default_rng(zlib.crc32(self.key.encode()))
        return {name: _draw(rng, self, name, shape, dtype, kind) for name, shape in self.shapes.items()}

    def gradients(self, outputs: tuple[np.ndarray, ...], kind: str) -> tuple[np.ndarray, ...]:
        """Gradients to send back, one for each output that backward takes one for."""
        rng = np.random.default_rng(zlib.crc32(self.key.encode()) + 1)
        kind = "normal" if kind == "distinct" else kind
        taken = outputs[: OPS[self.op].gradients]
        return tuple(_draw(rng, self, "dy", y.shape, y.dtype, kind) for y in taken)

    @property
    def exists_in_torch(self) -> bool:
        """PyTorch's mean pooling pads both sides of a direction alike."""
        padding = self.options.get("padding", 0)
        symmetric = padding in (0, "valid") or isinstance(padding, int) or isinstance(padding[0], int)
        return self.op != "avg_pool2d" or symmetric

    def forward(self, arrays: dict[str, np.ndarray]) -> tuple[tuple[np.ndarray, ...], Any]:
        """-> outputs, context."""
        y, ctx = OPS[self.op].forward(**arrays, **self.options)
        return (y if isinstance(y, tuple) else (y,)), ctx

    def backward(self, dys: tuple[np.ndarray, ...], ctx: Any) -> dict[str, np.ndarray]:
        """-> gradients of the inputs that the case has, by name."""
        op = OPS[self.op]
        found = op.backward(*dys, ctx)
        found = found if isinstance(found, tuple) else (found,)
        assert len(found) == len(op.inputs)
        named = dict(zip(op.inputs, found, strict=True))
        assert all(named[name] is None for name in named if name not in self.shapes)
        return {name: value for name, value in named.items() if name in self.shapes}


def _draw(
    rng: np.random.Generator, case: Case, name: str, shape: tuple[int, ...], dtype: Any, kind: str
) -> np.ndarray:
    if name == "labels":
        return rng.integers(0, case.shapes["x"][-1], shape)
    if name in MASKS:
        return np.asarray(rng.choice([0, 2], shape), dtype)
    if name == "var":
        return np.asarray(rng.choice([1, 13], shape), dtype)
    if kind == "integers" and name == "x" and case.op in convnets.NORMS:
        return np.asarray(convnets.balanced(rng, case), dtype)
    if name in ("tokens", "units"):
        return rng.integers(0, case.shapes["w"][0], shape)
    if kind == "integers":
        return np.asarray(rng.integers(1, 4, shape) * rng.choice([-1, 1], shape), dtype)
    if kind == "distinct":
        size = int(np.prod(shape))
        values = (rng.permutation(size) - size / 2 + 0.25) * (3 / max(size, 1))
        return np.asarray(values.reshape(shape), dtype)
    values = rng.standard_normal(shape)
    if case.op in (*SEQUENCES, "memory_blocks") and name.startswith("w_"):
        values /= 2 * shape[1]  # so that errors do not grow from step to step
    return np.asarray(values, dtype)
