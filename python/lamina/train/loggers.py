"""Curves while a run lasts: for TensorBoard, and in notebooks."""

from __future__ import annotations

import os
import socket
import struct
import time
from pathlib import Path
from typing import Any, BinaryIO

from lamina.train.callbacks import Callback, NotSaved, Run, abandon


class TensorBoard(Callback):
    """Write the measures of each epoch where TensorBoard finds them: `tensorboard --logdir FOLDER`.

    Training and validation of a measure share a panel; the rate, if there is a schedule, has its own. Nothing
    needs to be installed for writing. Give each run a folder of its own; a run that goes on, the same.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._file: BinaryIO | None = None

    def on_train_begin(self, run: Run) -> None:
        """Begin a file, whose first record names the format."""
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}"
        self._file = (self.folder / name).open("wb")
        self._write(_text(3, b"brain.Event:2"))

    def on_epoch_end(self, run: Run) -> None:
        """A record with all measures, on disk at once."""
        values = []
        for name, value in run.logs.items():
            plain = name.removeprefix("val_")
            tag = f"{plain}/validation" if plain != name else f"{plain}/training"
            number = struct.pack("<Bf", 2 << 3 | 5, value)
            values.append(_text(1, _text(1, tag.encode()) + number))
        try:
            self._write(_varint(2 << 3) + _varint(run.epoch) + _text(5, b"".join(values)))
        except OSError as error:
            assert self._file is not None
            abandon(self._file)
            self._file = None
            raise NotSaved(error, self.folder, run.history) from error

    def on_train_end(self, run: Run) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, event: bytes) -> None:
        """An event of this moment as a record: length, its checksum, the bytes, their checksum."""
        if self._file is None:
            return
        event = struct.pack("<Bd", 1 << 3 | 1, time.time()) + event
        length = struct.pack("<Q", len(event))
        for part in (length, event):
            self._file.write(part + struct.pack("<I", _masked(crc32c(part))))
        self._file.flush()


class LivePlot(Callback):
    """Draw the history anew after every epoch, in a notebook, in place of the former picture.

    Needs matplotlib and IPython, which every notebook has; ImportError without them.
    """

    def on_train_begin(self, run: Run) -> None:
        """Fail now rather than after an epoch."""
        _display()

    def on_epoch_end(self, run: Run) -> None:
        """Replace the picture."""
        display = _display()
        figure = run.history.plot()
        display.clear_output(wait=True)
        display.display(figure)


def _display() -> Any:
    try:
        import IPython.display
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(f"LivePlot draws in notebooks, with IPython and matplotlib: {error}") from error
    return IPython.display


# The pieces of protocol buffers that an event is made of: field numbers with their kinds, and lengths.
def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _text(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def crc32c(data: bytes) -> int:
    """The checksum of Castagnoli (1993), bit by bit: records are short."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def _masked(crc: int) -> int:
    """As TensorFlow's records store it."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
