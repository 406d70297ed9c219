"""An op's error names the op and its arguments; a layer's names the layer, and where in the model it is."""

import re
from typing import Any

from lamina import ops

_OPS = frozenset(ops.__all__)
_NAMES = ((re.compile(r"\bw\b"), "weight"), (re.compile(r"\bw_"), "weight_"), (re.compile(r"\bb\b"), "bias"))


def name_layer(error: Exception, module: Any) -> None:
    """Rewrite the message of `error`, which passed through `module`, if it came from an op.

    `conv2d: x has 3 channels ...` becomes `Conv2d: x has 3 channels ...`, and each module further out puts
    the name of the one inside before the path at the end: `... [layer encoder.0]`.
    """
    if len(error.args) != 1 or not isinstance(error.args[0], str):
        return
    trail = getattr(error, "_lamina_trail", None)
    if trail is None:
        op, colon, text = error.args[0].partition(": ")
        if not colon or op not in _OPS:
            return
        message, path = error.args[0], ""
        if type(module).__module__.startswith("lamina."):  # a layer around one op; others may call several
            for pattern, name in _NAMES:
                text = pattern.sub(name, text)
            message = f"{type(module).__name__}: {text}"
    else:
        message, path, inner = trail
        name = next((name for name, member in module._members() if member is inner), "?")
        path = f"{name}.{path}" if path else name
    error.args = (f"{message} [layer {path}]" if path else message,)
    error._lamina_trail = (message, path, module)  # type: ignore[attr-defined]


def kind(value: object) -> str:
    """What a value is, as messages say it."""
    if isinstance(value, type):
        return f"the class {value.__name__}: make an instance, {value.__name__}(...)"
    return "None" if value is None else type(value).__name__
