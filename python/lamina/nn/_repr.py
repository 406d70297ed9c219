"""How modules print: the call that makes them, or the modules inside."""

from typing import Any

from lamina.nn._arguments import argument


def represent(module: Any) -> str:
    """`Conv2d(3, 12, 5, padding=2)` for a layer; one line a module for those that hold others."""
    name = type(module).__name__
    if module._is_layer():
        return f"{name}({', '.join(_arguments(module))})"
    inside = [(key, child) for key, child in module._members() if hasattr(child, "_members")]
    lines = (f"  ({key}): {child!r}".replace("\n", "\n  ") for key, child in inside)
    return "\n".join([f"{name}(", *lines, ")"])


def _arguments(module: Any) -> list[str]:
    """The arguments of the constructor that are no defaults. Layers keep each under its own name."""
    import inspect  # slow to import, and only needed here

    found = []
    for name, parameter in inspect.signature(type(module)).parameters.items():
        if name == "rng" or name not in vars(module):  # `getattr` would find methods of that name too
            continue
        value = argument(module, name, parameter)
        if parameter.default is inspect.Parameter.empty:
            found.append(repr(value))
        elif not _same(value, parameter.default):
            found.append(f"{name}={value!r}")
    return found


def _same(value: Any, default: Any) -> bool:
    """Whether it is the default, or that for each of several."""
    return bool(value == default or (isinstance(value, tuple) and value and all(v == default for v in value)))
