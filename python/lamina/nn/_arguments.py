"""The arguments that a layer was made with: layers keep each under its own name."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import inspect  # slow to import


def argument(module: Any, name: str, parameter: "inspect.Parameter") -> Any:
    """The value that the constructor got.

    `bias=True` is the exception to the rule: under that name stands the parameter itself, or None.
    """
    value = getattr(module, name)
    if isinstance(parameter.default, bool) and not isinstance(value, (bool, str)):
        return value is not None
    return value
