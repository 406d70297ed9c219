"""Long runs: memory stays flat where sizes change from step to step; no folder is in memory as a whole."""

import gc
import mmap
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

BENCH = Path(__file__).parents[1] / "bench"

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is not known")


@pytest.fixture
def memory(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    import memory

    return memory


@pytest.mark.parametrize("name", ["images", "sequences", "fits", "folder"])
def test_a_run_does_not_grow(name):
    if name == "folder":
        pytest.importorskip("PIL")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}
    command = [sys.executable, str(BENCH), "memory", name, "--quick"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("a few batches" if name == "folder" else "flat") in done.stdout


def test_every_run_is_tried(memory):
    assert list(memory.RUNS) == ["images", "sequences", "fits", "folder"]


@pytest.mark.parametrize("kind", ["memory", "cycles"])
def test_growth_is_noticed(memory, capsys, kind):
    kept = []

    def step():
        if kind == "memory":
            kept.append(mmap.mmap(-1, 200_000))  # memory of its own: a list could use what was freed before
            kept[-1].write(b"x" * 200_000)
        else:
            cycle = []
            cycle.append(cycle)

    gc.disable()
    try:
        assert memory._flat("a leak", 100, step) == 1
    finally:
        gc.enable()
    assert "IT GREW" in capsys.readouterr().out
    assert memory._flat("no leak", 100, lambda: None) == 0


def test_a_folder_that_is_kept_is_noticed(memory, monkeypatch, capsys):
    pytest.importorskip("PIL")
    from lamina import data

    kept, take = [], data.ImageFolder.take

    def keeping(self, rows):
        kept.append(take(self, rows))
        return kept[-1]

    monkeypatch.setattr(data.ImageFolder, "take", keeping)
    assert memory._folder(SimpleNamespace(images=1000)) == 1
    assert "TOO MUCH" in capsys.readouterr().out
