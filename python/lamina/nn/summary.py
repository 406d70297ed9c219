"""`Module.summary`: every volume on the way, with the parameters and the multiply-adds of each layer."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from lamina.autograd import no_grad
from lamina.nn.modes import evaluating

Watch = Callable[[Any, Any, Any], None]

watchers: list[Watch] = []  # each is called with (module, x, y) after every call


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Call `watch` with (module, x, y) after every call of a module in the block."""
    watchers.append(watch)
    try:
        yield
    finally:
        watchers.remove(watch)


class Row(NamedTuple):
    """One call of a layer. Shapes are those of one sample."""

    name: str
    layer: str
    x_shape: tuple[int, ...]
    y_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int

    @property
    def volume(self) -> str:
        """As in `32x32x3 -> 32x32x12`."""
        return f"{_volume(self.x_shape)} -> {_volume(self.y_shape)}"


class Summary(NamedTuple):
    """The layers of a module in the order of their calls, and the totals. `str()` makes the table."""

    rows: tuple[Row, ...]
    parameters: int
    multiply_adds: int

    def __repr__(self) -> str:
        return f"Summary(parameters={self.parameters:,}, multiply_adds={self.multiply_adds:,})"

    def __str__(self) -> str:
        cells = [("", "layer", "volume", "parameters", "multiply-adds")]
        cells += [
            (row.name, row.layer, row.volume, f"{row.parameters:,}", f"{row.multiply_adds:,}")
            for row in self.rows
        ]
        cells.append(("", "total", "", f"{self.parameters:,}", f"{self.multiply_adds:,}"))
        widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        lines = [
            "  ".join(
                c.rjust(w) if i > 2 else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))
            )
            for line in cells
        ]
        return "\n".join(line.rstrip() for line in (lines[0], rule, *lines[1:-1], rule, lines[-1]))


def _volume(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "1"


def layers_of(module: Any) -> dict[str, Any]:
    """The modules inside that compute by themselves, by their paths; without those that such ones hold."""
    found: dict[str, Any] = {}
    for name, inner in module.named_modules():  # outer ones come first
        within = any(name.startswith(f"{outer}." if outer else "") for outer in found)
        if not within and inner._is_layer():
            found[name] = inner
    return found


def summarize(module: Any, input_shape: int | tuple[int, ...]) -> Summary:
    """Run `module` on one sample of zeros and note what each layer does.

    Parameters of shared layers count at their first call; those that no layer holds are added to the total.
    Raises ValueError for sizes that are not positive.
    """
    shape = tuple(input_shape) if isinstance(input_shape, Iterable) else (input_shape,)
    if any(isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1 for n in shape):
        raise ValueError(
            f"summary: input_shape must be positive ints, the shape of one sample, got {input_shape!r}"
        )
    names = {id(inner): name for name, inner in layers_of(module).items()}
    rows: list[Row] = []
    counted: set[int] = set()

    def note(inner: Any, x: Any, y: Any) -> None:
        if id(inner) not in names:
            return
        y = y[0] if isinstance(y, tuple) else y
        own = [p for p in inner.parameters() if id(p) not in counted]
        counted.update(map(id, own))
        rows.append(
            Row(
                names[id(inner)],
                type(inner).__name__,
                x.shape[1:],
                y.shape[1:],
                sum(p.size for p in own),
                inner.multiply_adds(x.shape, y.shape),
            )
        )

    dtype = next((p.dtype for p in module.parameters()), np.dtype(np.float32))
    with evaluating(module), watching(note), no_grad():
        module(np.zeros((1, *shape), dtype))
    return Summary(tuple(rows), module.count_parameters(), sum(row.multiply_adds for row in rows))
