"""The benchmark as its tests run it: in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BENCH = ROOT / "bench"

needs_core = pytest.mark.skipif(
    os.environ.get("LAMINA_BACKEND") == "numpy", reason="the benchmark compares the compiled backend"
)


def run(*arguments, script=BENCH):
    command = [sys.executable, str(script), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def quick(folder, *arguments):
    """A run with next to no time for each line, and what it wrote."""
    path = folder / "result.json"
    done = run("--quick", "--seconds", 0.01, "--json", path, *arguments)
    assert done.returncode == 0, done.stderr + done.stdout
    return done, json.loads(path.read_text())
