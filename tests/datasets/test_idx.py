import gzip
import re
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.datasets import read_idx
from lamina.datasets.idx import parse_idx


def idx_bytes(array: np.ndarray, code: int) -> bytes:
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
GOOD = idx_bytes(IMAGES, 0x08)


@pytest.mark.parametrize(
    ("code", "dtype"), [(8, "u1"), (9, "i1"), (11, "i2"), (12, "i4"), (13, "f4"), (14, "f8")]
)
@pytest.mark.parametrize("zipped", [False, True])
def test_every_type_is_read(tmp_path, code, dtype, zipped):
    array = np.array([[0, 1, -2], [3, 100, 7]]).astype(dtype)
    data = idx_bytes(array, code)
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(data) if zipped else data)
    read = read_idx(path)
    np.testing.assert_array_equal(read, array)
    assert read.dtype == np.dtype(dtype)
    assert read.dtype.isnative


@pytest.mark.parametrize("length", range(len(GOOD)))
def test_every_truncation_is_refused(tmp_path, length):
    path = tmp_path / "cut-off"
    path.write_bytes(GOOD[:length])
    with pytest.raises(ValueError, match=re.escape(str(path))):
        read_idx(path)


def test_every_truncation_of_a_gzip_file_is_refused(tmp_path):
    packed = gzip.compress(GOOD)
    path = tmp_path / "cut-off.gz"
    for length in range(len(packed)):
        path.write_bytes(packed[:length])
        with pytest.raises(ValueError, match=re.escape(str(path))):
            read_idx(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "0 bytes are too few"),
        (b"\x00\x01\x08\x01" + GOOD[4:], "magic number is 0x00010801"),
        (b"\x00\x00\x07\x03" + GOOD[4:], "magic number is 0x00000703"),
        (b"\x89PNG" + GOOD[4:], "magic number is 0x89504e47"),
        (b"\x00\x00\x08\x00", "0 dimensions"),
        (b"\x00\x00\x08\xff" + bytes(1020), "255 dimensions"),
        (b"\x00\x00\x08\x02" + struct.pack(">2I", 2**32 - 1, 2**32 - 1), "18,446,744,065,119,617,037 bytes"),
        (b"\x00\x00\x0e\x08" + struct.pack(">8I", *[2**32 - 1] * 8), "the file has 36"),
        (GOOD + b"\x00", "the file has 41"),
    ],
)
def test_hostile_headers_are_refused(data, message):
    with pytest.raises(ValueError, match=message):
        parse_idx(data, "file")


def test_decompression_is_bounded(tmp_path):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(50 << 20)))
    with pytest.raises(ValueError, match=r"bomb.gz: more than the 1,000,000 bytes"):
        read_idx(path, limit=1_000_000)


@given(st.binary(max_size=64), st.integers(0, len(GOOD)))
def test_any_bytes_give_an_array_or_a_value_error(junk, keep):
    data = GOOD[:keep] + junk
    try:
        array = parse_idx(data, "file")
    except ValueError:
        return
    assert array.nbytes + 4 + 4 * array.ndim == len(data)
