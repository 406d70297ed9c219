"""The kernels that are timed: one builder per op, its shapes in `../shapes/<op>.txt`."""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cases import (
    activations,
    conv,
    embedding,
    gemm,
    losses,
    memory_blocks,
    norm,
    optim,
    pool,
    recurrent,
    recurrent_step,
    sequence,
    topk,
)
from cases.case import Case

SHAPES = Path(__file__).parents[1] / "shapes"

BUILDERS: dict[str, Callable[..., Case]] = {
    "gemm": gemm.gemm,
    "conv2d": conv.conv2d,
    "max_pool2d": pool.max_pool2d,
    "avg_pool2d": pool.avg_pool2d,
    "batch_norm": norm.batch_norm,
    "lstm_cell": recurrent.lstm_cell,
    "rnn_cell": recurrent.rnn_cell,
    "lstm": sequence.lstm,
    "gru": sequence.gru,
    "rnn": sequence.rnn,
    "recurrent_step": recurrent_step.recurrent_step,
    "embedding": embedding.embedding,
    "memory_blocks": memory_blocks.memory_blocks,
    "relu": activations.relu,
    "sigmoid": activations.sigmoid,
    "tanh": activations.tanh,
    "softmax": activations.softmax,
    "log_softmax": activations.log_softmax,
    "softmax_cross_entropy": losses.softmax_cross_entropy,
    "mean_squared_error": losses.mean_squared_error,
    "topk": topk.topk,
    "sgd_step": optim.sgd_step,
    "adam_step": optim.adam_step,
    "rms_step": optim.rms_step,
    "adadelta_step": optim.adadelta_step,
}


def shapes(op: str, quick: bool, folder: Path | None = None) -> list[dict[str, Any]]:
    """The lines of `shapes/<op>.txt`, or that of another folder, as keyword arguments; all, or the `quick`.

    Raises ValueError, with the line, for a word that the builder of the op does not take.
    """
    known = inspect.signature(BUILDERS[op]).parameters
    found = []
    for number, line in enumerate(((folder or SHAPES) / f"{op}.txt").read_text().splitlines(), 1):
        words = line.partition("#")[0].split()
        marked = "quick" in words
        arguments: dict[str, Any] = {}
        for word in words:
            name, equals, value = word.partition("=")
            if word != "quick" and (not equals or name not in known or name == "rng"):
                raise ValueError(f"shapes/{op}.txt, line {number}: {word!r} is not a size or option of {op}")
            if equals:
                arguments[name] = int(value) if value.isdecimal() else value
        if arguments and (marked or not quick):
            found.append(arguments)
    return found


def build(op: str, quick: bool, folder: Path | None = None) -> Iterator[Case]:
    """The cases of an op, one at a time, with the same random numbers in every run."""
    for arguments in shapes(op, quick, folder):
        yield BUILDERS[op](np.random.default_rng(0), **arguments)
