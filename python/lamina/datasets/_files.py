"""Where the files of a data set are: looked up in four places, checked, and fetched as a last resort."""

from __future__ import annotations

import gzip
import hashlib
import os
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from lamina._whole_files import replacing

_CHUNK = 1 << 20


def roots(name: str, *, flat: bool = True) -> list[Path]:
    """The folders searched for data set `name` (an underscore may be a dash), in order.

    1. $LAMINA_DATA/<name>, and $LAMINA_DATA itself if `flat`: if no other set has files of the same names,
    2. the system's own copies: <dir>/datasets/<name> for each <dir> of $XDG_DATA_DIRS,
    3. the cache: `cache_dir()/<name>`.
    """
    names = dict.fromkeys((name, name.replace("_", "-")))
    folders: list[Path] = []
    own = os.environ.get("LAMINA_DATA")
    if own:
        folders += [Path(own).expanduser() / alias for alias in [*names, *(["."] if flat else [])]]
    shares = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    folders += [Path(share) / "datasets" / alias for share in shares.split(":") if share for alias in names]
    return [*folders, cache_dir() / name]


def cache_dir() -> Path:
    """Where downloads are kept: $LAMINA_CACHE, else $XDG_CACHE_HOME/lamina, else ~/.cache/lamina."""
    own = os.environ.get("LAMINA_CACHE")
    if own:
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lamina"


def find(name: str, filenames: Sequence[str], *, flat: bool = True) -> Path | None:
    """The first existing file of `filenames` (alternatives, best first) over `roots(name)`, or None."""
    candidates = (folder / filename for folder in roots(name, flat=flat) for filename in filenames)
    return next((path for path in candidates if path.is_file()), None)


def read_bytes(path: Path, limit: int) -> bytearray:
    """The whole file, gunzipped if it is gzip; more than `limit` bytes or a damaged stream: ValueError."""
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if not zipped:
                return _read_bounded(raw, path, limit)
            with gzip.GzipFile(fileobj=raw) as stream:
                return _read_bounded(stream, path, limit)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: damaged or truncated gzip file ({error})") from error


def _read_bounded(stream: BinaryIO | gzip.GzipFile, path: Path, limit: int) -> bytearray:
    data = bytearray()
    while chunk := stream.read(_CHUNK):
        data += chunk
        if len(data) > limit:
            raise ValueError(f"{path}: more than the {limit:,} bytes that this file may have")
    return data


def check_sha256(data: bytes | bytearray, expected: str, path: Path) -> None:
    """Raise ValueError unless `data` has the digest of the official file."""
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise ValueError(
            f"{path}: not the official file: its SHA-256 is {found}, expected {expected}. "
            "Remove it, or replace it with an intact copy."
        )


def download(
    name: str, filename: str, urls: Sequence[str], check: Callable[[Path], object], by_hand: str
) -> Path:
    """Fetch `filename` into the cache from the first of `urls` that gives a file which passes `check`.

    Needs pooch (`pip install "lamina[data]"`). The file gets its name only after `check`, which raises
    ValueError, has accepted it; several processes may do so at the same time. `by_hand` tells the user which
    files to place where. Raises FileNotFoundError with what went wrong at each address.
    """
    try:
        import pooch
    except ImportError as error:
        raise ImportError(
            f'{name}: downloading needs pooch: pip install "lamina[data]". {by_hand}'
        ) from error
    folder = cache_dir() / name
    fetch = pooch.HTTPDownloader(progressbar=sys.stderr.isatty())
    failures = []
    for url in urls:
        place = ""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with replacing(folder / filename) as part:
                place = part.name
                fetch(url, part, None)
                part.flush()
                check(Path(place))
            return folder / filename
        except (OSError, ValueError) as error:  # requests' errors are OSErrors
            failures.append(f"  {url}: {str(error).replace(place or filename, filename)}")
    reasons = "\n".join(failures)
    raise FileNotFoundError(
        f"{name}: {filename} is neither in $LAMINA_DATA, nor among the system's data sets, nor in {folder}, "
        f"and it could not be downloaded:\n{reasons}\n{by_hand}"
    )
