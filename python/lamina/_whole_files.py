"""Files that appear whole or not at all, whatever ends the writing."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_PART = re.compile(r"\.lamina-[0-9a-f]{16}\.part")  # being written, or left by a killed writer
_STALE_AFTER = 60.0  # seconds: a younger one may belong to a writer that has not locked it yet


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all. OSError with the path and what became of it."""
    try:
        with replacing(path) as file:
            file.write(data)
    except OSError as error:
        text = f"{error.strerror}: {len(data):,} bytes could not be saved; a former file is as it was"
        raise OSError(error.errno, text, str(path)) from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file in the folder of `path` to write to; it takes the place of `path` if the block ends well.

    Until then, and if anything is raised, a former file is as it was, and what was written goes. What killed
    writers left half-written in the folder goes first.
    """
    _remove_stale_parts(path.parent)
    part = path.with_name(f".lamina-{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as file:
            with contextlib.suppress(OSError):  # no locks here: then none for those who tidy up either
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield file
            file.flush()
            os.fsync(file.fileno())
            part.replace(path)  # while the lock is held: nobody takes the file for a dead writer's
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _remove_stale_parts(folder: Path) -> None:
    """Remove what killed writers left.

    A writer holds a lock on its file until the file is in place. The system drops the lock with the process,
    however that ends and in whatever container it ran: a process number might mean another one by now.
    """
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if _PART.fullmatch(entry.name)]
    except OSError:
        return  # the folder is missing or not to be listed; writing will tell
    for entry in found:
        with contextlib.suppress(OSError):  # locked, gone meanwhile, or not ours
            _remove_if_stale(entry)


def _remove_if_stale(entry: os.DirEntry[str]) -> None:
    """Raises OSError if the file is locked, as a live writer's is."""
    stat = entry.stat(follow_symlinks=False)
    if not entry.is_file(follow_symlinks=False) or time.time() - stat.st_mtime < _STALE_AFTER:
        return
    handle = os.open(entry.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        Path(entry.path).unlink()
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    """Make the move itself last through a power cut; file systems that cannot are left alone."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
