"""What lamina weighs: time to import, sizes on disk, memory of training runs beside PyTorch's."""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import epoch
import numpy as np
from checks import disagreement
from contenders import Rivals
from networks import NETWORKS, Network
from peers.client import Peer, Unsupported
from timing import Dropped
from training import Trainer, described, losses

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
_STEPS, _QUICK_STEPS = 50, 5


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


def of_networks(
    names: list[str], options: argparse.Namespace, threads: int, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Print and return the greatest memory of training each network, every variant in a fresh process.

    -> {"network", "name", "whole", "beyond"}, in bytes; beyond what the imported library took.
    """
    steps, found = _QUICK_STEPS if options.quick else _STEPS, []
    say(f"\n{f'memory of {steps} training steps, MB':<48}  whole  of torch  beyond import  of torch")
    for network in map(NETWORKS.__getitem__, names):
        rows = []
        for name, python in {"lamina": sys.executable, **options.against}.items():
            try:
                rows += _runs(name, python, network, steps, threads)
            except Dropped as reason:
                say(f"{name}: left out of {network.name}: {reason}")
        torch = [row for row in rows if row["name"].split()[0] == "torch"]
        for row in rows:
            cells = [f"  {network.name:<22}{row['name']:<26}"]
            for what, width in (("whole", 6), ("beyond", 15)):
                least = min((other[what] for other in torch), default=0)  # of its variants
                ratio = f"{row[what] / least:.2f}" if least else "-"
                cells.append(f"{row[what] / _MB:>{width}.0f}{ratio:>10}")
            say("".join(cells))
        found += rows
    return found


def _runs(name: str, python: str, network: Network, steps: int, threads: int) -> Iterator[dict[str, Any]]:
    """Of each variant of a library: its row, once its first losses are found to be ours."""
    x, y = network.data(np.random.default_rng(0))
    start = Trainer(network)
    arrays = {**start.model.state_dict(), "x": x, "y": y}
    right = losses(start, x, y)
    number, variants = 0, [""]
    while number < len(variants):
        peer = Peer(name, python, threads)
        try:
            variants = peer.variants("training")
            shown, variant = variants[number]
            imported = peer.memory()
            job, outputs = peer.prepare(described(network, "training step"), peer.store(arrays), variant)
            if wrong := disagreement(outputs, right):
                raise Dropped(f"{shown}: {wrong}")
            job.repeat(steps)
            whole = peer.memory()
            yield {"network": network.name, "name": shown, "whole": whole, "beyond": whole - imported}
        except Unsupported:
            pass
        finally:
            peer.close()
        number += 1


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
