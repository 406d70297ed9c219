"""`save` that is interrupted: the former file stays, and what is left half-written goes."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import lamina as lm
from lamina import io, models, nn


def small():
    return nn.Sequential(nn.Linear(2, 3, rng=3), nn.ReLU(), nn.Linear(3, 2, rng=4))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


@pytest.fixture
def saved(path):
    """The bytes of a small saved model, and the path they stand at."""
    lm.save(small(), path)
    return path.read_bytes()


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_interrupted_writing_keeps_the_former_file(path, saved, monkeypatch, step):
    def fail(*args):
        raise OSError(28, "No space left on device")

    real = Path.open

    def open_and_fail(self, *args, **kwargs):
        file = real(self, *args, **kwargs)
        if args == ("xb",):
            file.write(b"half of")
            file.close()
            fail()
        return file

    if step == "write":
        monkeypatch.setattr(Path, "open", open_and_fail)
    elif step == "fsync":
        monkeypatch.setattr(io.os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        lm.save(models.autoencoder(4, 2), path)
    monkeypatch.undo()
    assert path.read_bytes() == saved
    assert list(path.parent.iterdir()) == [path]


# A process that stops in the midst of `save`, and waits to be killed.
STOPPING_SAVE = """
import io, os, sys, time
from pathlib import Path

import lamina as lm
from lamina import models

def stop(*args):
    print("stopped", flush=True)
    time.sleep(60)

class Half(io.BufferedWriter):
    def write(self, data):
        super().write(data[: len(data) // 2])
        self.flush()
        stop()

step, path = sys.argv[1:]
if step == "write":
    Path.open = lambda self, mode: Half(io.FileIO(self, mode))
elif step == "fsync":
    os.fsync = stop
else:
    Path.replace = stop
lm.save(models.autoencoder(4, 2), path)
"""


@contextlib.contextmanager
def stopped_save(step, path):
    """A process that stands still at this step of saving to `path`."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPING_SAVE, step, path], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "stopped\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def parts(folder, age=0.0):
    """The files of interrupted writers, made `age` seconds old."""
    found = [path for path in folder.iterdir() if path.suffix == ".part"]
    for path in found:
        os.utime(path, (time.time() - age,) * 2)
    return found


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_killed_writer_leaves_the_former_file(path, saved, step):
    with stopped_save(step, path) as process:
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert path.read_bytes() == saved
    np.testing.assert_array_equal(lm.load(path)[0].weight.data, small()[0].weight.data)
    assert len(parts(path.parent, age=30)) == 1
    lm.save(small(), path)
    assert len(parts(path.parent, age=90)) == 1  # too young to be told from one that has just begun
    lm.save(small(), path)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_live_writer_keeps_its_file(path, saved, step):
    with stopped_save(step, path):
        (part,) = parts(path.parent, age=3600)
        lm.save(small(), path)
        assert part.exists()
    lm.save(small(), path)
    assert not part.exists()


def test_only_what_save_has_written_is_tidied_away(path, tmp_path):
    name = f".lamina-{'0' * 16}.part"
    others = [tmp_path / ".lamina-0.part", tmp_path / "net.part", tmp_path / f"{name}.bak"]
    for other in others:
        other.write_bytes(b"mine")
    (tmp_path / name).symlink_to(others[0])
    (tmp_path / f".lamina-{'1' * 16}.part").mkdir()
    for other in tmp_path.iterdir():
        os.utime(other, (0, 0), follow_symlinks=False)
    before = set(tmp_path.iterdir())
    lm.save(small(), path)
    assert set(tmp_path.iterdir()) == before | {path}


def test_ctrl_c_while_writing_leaves_nothing(path, monkeypatch):
    def interrupt(handle):
        raise KeyboardInterrupt

    monkeypatch.setattr(io.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        lm.save(small(), path)
    assert list(path.parent.iterdir()) == []
