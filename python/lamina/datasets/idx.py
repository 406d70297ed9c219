"""The idx format of MNIST: a magic number, the sizes and the values, all big-endian.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", file formats.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.datasets._files import read_bytes

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_NDIM = 8


def read_idx(path: str | os.PathLike[str], *, limit: int = 1 << 30) -> npt.NDArray[Any]:
    """Read an idx file, gzipped or not, whole or not at all.

    Args:
        path: the file.
        limit: the most bytes it may have after decompression (default 1 GiB).

    Returns:
        An array of the file's shape and type, in native byte order.

    Raises:
        ValueError: wrong magic number, unknown type, sizes that do not match the length, damaged gzip
            stream, more than `limit` bytes. The message names the file.
    """
    return parse_idx(read_bytes(Path(path), limit), os.fspath(path))


def parse_idx(data: bytes | bytearray, name: str) -> npt.NDArray[Any]:
    """As `read_idx`, from the bytes; `name` goes into the messages."""
    if len(data) < 4:
        raise ValueError(f"{name}: {len(data)} bytes are too few for an idx file")
    zero, code, ndim = int.from_bytes(data[:2], "big"), data[2], data[3]
    if zero != 0 or code not in _TYPES:
        raise ValueError(f"{name}: not an idx file: the magic number is 0x{data[:4].hex()}")
    if not 1 <= ndim <= _MAX_NDIM:
        raise ValueError(f"{name}: idx file with {ndim} dimensions, expected 1 to {_MAX_NDIM}")
    start = 4 + 4 * ndim
    if len(data) < start:
        raise ValueError(f"{name}: idx file cut off inside its header, after {len(data)} bytes")
    shape = tuple(int.from_bytes(data[i : i + 4], "big") for i in range(4, start, 4))
    dtype = np.dtype(_TYPES[code])
    expected = start + math.prod(shape) * dtype.itemsize  # Python's integers do not overflow
    if len(data) != expected:
        raise ValueError(
            f"{name}: idx header says shape {shape} of {dtype.name}, {expected:,} bytes with the header, "
            f"but the file has {len(data):,}"
        )
    values = np.frombuffer(data, dtype, offset=start).reshape(shape)
    return values.astype(dtype.newbyteorder("="), copy=False)
