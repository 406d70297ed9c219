"""Modules put into a state for a while: evaluation mode, parameters without gradients."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def modes_kept(module: Any) -> Iterator[list[tuple[Any, bool]]]:
    """Every module inside goes back into the mode, training or evaluation, that it has now.

    -> each with its mode.
    """
    modes = [(inner, inner.training) for inner in module.modules()]
    try:
        yield modes
    finally:
        for inner, mode in modes:
            if inner.training != mode:
                inner.training = mode


@contextmanager
def evaluating(module: Any) -> Iterator[None]:
    """Evaluation mode for a while; then each module's own again."""
    with modes_kept(module) as modes:
        for inner, training in modes:
            if training:
                inner.training = False
        yield


@contextmanager
def frozen(module: Any) -> Iterator[None]:
    """Parameters that take no gradient for a while: the gradients that they have stay as they are."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    for p in parameters:
        p.requires_grad = False
    try:
        yield
    finally:
        for p in parameters:
            p.requires_grad = True
