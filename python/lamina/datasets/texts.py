"""Texts for models of characters."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lamina.datasets import _files


class Text(NamedTuple):
    """A text and its characters as numbers.

    text: the whole text. characters: its distinct characters, sorted, as one string.
    codes: (len(text),), int64, the index of each character in `characters`.
    """

    text: str
    characters: str
    codes: npt.NDArray[np.int64]

    def __repr__(self) -> str:
        return f"Text({len(self.text):,} characters, {len(self.characters)} distinct)"


class _Source(NamedTuple):
    filenames: tuple[str, ...]
    url: str
    size: int
    sha256: str


_SOURCES = {
    "tinyshakespeare": _Source(
        ("tinyshakespeare.txt", "tinyshakespeare/input.txt"),
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        1115394,
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    )
}


def text(name: str) -> Text:
    """A text by name: "tinyshakespeare", 1,115,394 characters of the plays, 65 of them distinct.

    Searched as `tinyshakespeare.txt` in $LAMINA_DATA, the system's share/datasets and the cache, else
    downloaded; its SHA-256 is checked. Raises ValueError for an unknown name or a file that differs,
    FileNotFoundError offline.

    Source: A. Karpathy, char-rnn, 2015 (Shakespeare is in the public domain).
    """
    if name not in _SOURCES:
        raise ValueError(f"text: unknown name {name!r}, expected one of {sorted(_SOURCES)}")
    source = _SOURCES[name]
    path = _files.find(name, source.filenames)
    if path is None:
        by_hand = f"By hand: put {source.filenames[0]} into a folder and set LAMINA_DATA to it."
        path = _files.download(
            name, source.filenames[0], [source.url], lambda file: _read(file, source), by_hand
        )
    return encode(_read(path, source))


def encode(string: str) -> Text:
    """Number the characters of any string by their place in its sorted alphabet."""
    points = np.frombuffer(string.encode("utf-32-le"), np.uint32)
    alphabet, codes = np.unique(points, return_inverse=True)
    return Text(string, "".join(map(chr, alphabet)), codes.astype(np.int64).reshape(-1))


def _read(path: Path, source: _Source) -> str:
    data = _files.read_bytes(path, source.size)
    _files.check_sha256(data, source.sha256, path)
    return data.decode("utf-8")
