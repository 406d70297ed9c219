"""Training and evaluation mode, kept over something that changes it."""

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def modes_kept(model: Any) -> Iterator[None]:
    """Put every module inside back into the mode, training or evaluation, that it has now."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextlib.contextmanager
def evaluation(model: Any) -> Iterator[None]:
    """Every module inside in evaluation mode."""
    with modes_kept(model):
        model.eval()
        yield
