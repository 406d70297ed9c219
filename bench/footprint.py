"""What lamina weighs: time to import, sizes on disk, memory of a training run beside PyTorch's."""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import epoch
from contenders import Rivals

import lamina

_IMPORT = """
import json, time
start = time.perf_counter()
import numpy
middle = time.perf_counter()
import lamina
print(json.dumps([middle - start, time.perf_counter() - middle]))
"""
_MB = 1e6


def measure(options: argparse.Namespace, threads: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Print a table, and return what is in it. Memory is that of fresh processes that do nothing else."""
    found: dict[str, Any] = {"import_numpy_s": None, "import_lamina_s": None}
    times = [_import_times() for _ in range(3 if options.quick else 9)]
    found["import_numpy_s"], found["import_lamina_s"] = map(statistics.median, zip(*times, strict=True))
    found["installed_bytes"] = _size(Path(lamina.__file__).parent)
    wheel = _wheel(options.dist)
    if wheel:
        found["wheel"], found["wheel_bytes"] = wheel.name, wheel.stat().st_size
    digits = epoch.load(options.quick, say)
    found["memory"] = {"data": digits.name, "samples": len(digits.x), "bytes": {}}
    rivals = Rivals({"lamina": sys.executable, **options.against}, threads, say)
    epoch.run(digits, 1, rivals, names=(), kind="memory")
    found["memory"]["bytes"] = {peer.name: peer.memory() for peer in rivals.peers if peer.variants("memory")}
    rivals.close()
    _print(found, say)
    return found


def _import_times() -> list[float]:
    """NumPy, then lamina on top of it, in a fresh process."""
    output = subprocess.run(
        [sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=True
    ).stdout
    return json.loads(output)


def _size(folder: Path) -> int:
    return sum(
        path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )


def _wheel(path: Path | None) -> Path | None:
    """The wheel itself, or the newest in a folder."""
    if path is None or path.is_file():
        return path
    wheels = sorted(path.glob("lamina-*.whl"), key=lambda each: each.stat().st_mtime)
    return wheels[-1] if wheels else None


def _print(found: dict[str, Any], say: Callable[[str], None]) -> None:
    memory = found["memory"]
    lines = [
        ("import numpy", f"{found['import_numpy_s'] * 1e3:.0f} ms"),
        ("import lamina, beyond numpy", f"{found['import_lamina_s'] * 1e3:.0f} ms"),
        ("installed", f"{found['installed_bytes'] / _MB:.2f} MB"),
    ]
    if "wheel" in found:
        lines.append((found["wheel"], f"{found['wheel_bytes'] / _MB:.2f} MB"))
    what = f"memory, an epoch of LeNet-5 on {memory['samples']:,} images of {memory['data']}"
    lines += [(f"{what}: {name}", f"{size / _MB:.0f} MB") for name, size in memory["bytes"].items()]
    say("\nfootprint")
    for what, value in lines:
        say(f"  {what:<70}{value:>10}")
