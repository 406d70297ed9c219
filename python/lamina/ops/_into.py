"""Gradients of weights written where they are wanted, instead of into new arrays that are copied there."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from lamina.ops._check import Array

Into = Sequence[Array | None]  # for each input its gradient's array: of its shape and dtype, contiguous
NOWHERE: Into = (None,) * 4

F = TypeVar("F", bound=Callable[..., Any])
_filling: set[Callable[..., Any]] = set()


def fills(backward: F) -> F:
    """Say of a backward function that it takes `into` and writes gradients there, if it makes them at all."""
    _filling.add(backward)
    return backward


def can_fill(backward: Callable[..., Any]) -> bool:
    """Whether a backward function takes `into`."""
    return backward in _filling
