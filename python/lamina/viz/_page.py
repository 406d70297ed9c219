"""Pages that need nothing but a browser: one file of HTML with its style, script and data inside."""

from __future__ import annotations

import base64
import html
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


class Page:
    """A page of HTML: in a notebook it shows itself; `save` writes it; `html` is its text."""

    def __init__(self, text: str, *, height: int) -> None:
        self.html = text
        self.height = height  # of its frame in a notebook, in pixels

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page to a file, for any browser."""
        Path(path).write_text(self.html, encoding="utf-8")

    def _repr_html_(self) -> str:
        """The page in a frame of its own, so that its style and script and the notebook's do not meet."""
        style = f"width: 100%; height: {self.height}px; border: 0"
        return f'<iframe srcdoc="{html.escape(self.html)}" style="{style}" allowfullscreen></iframe>'

    def __repr__(self) -> str:
        return f"Page({len(self.html):,} characters of HTML; .save(path) writes it)"


def assembled(name: str, title: str, data: dict[str, Any], scripts: Sequence[str], *, height: int) -> Page:
    """The page of web/`name`.html with `name`.css and the scripts in it, and `data` as JSON for these."""
    parts = {
        "title": html.escape(title),
        "style": _web(f"{name}.css"),
        "data": json.dumps(data, allow_nan=False).replace("<", "\\u003c"),  # no text may end the element
        "script": "\n".join(_web(f"{script}.js") for script in scripts),
    }
    markup = _web(f"{name}.html")
    return Page(re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], markup), height=height)


def _web(name: str) -> str:
    return (Path(__file__).parent / "web" / name).read_text(encoding="utf-8")


def packed(array: npt.NDArray[Any] | None) -> dict[str, Any] | None:
    """An array of floats for the script: its shape, dtype and bytes, every bit as it is."""
    if array is None:
        return None
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    text = base64.b64encode(little.tobytes()).decode()
    return {"shape": array.shape, "bits": 8 * array.itemsize, "base64": text}
