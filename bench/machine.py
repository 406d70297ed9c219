"""What the numbers were taken on: processor, libraries, peak of multiply-adds, memory bandwidth."""

import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

import lamina as lm
from lamina import config


def describe(threads: int) -> dict[str, Any]:
    """The machine and the software on it."""
    info = lm.build_info()
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "cpu": processor(),
        "processors": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": blas(),
        "blas_processors": busy_processors(),
        "lamina": lm.__version__,
        "compiler": info.get("compiler", "unknown"),
        "openmp": info.get("openmp"),
        "threads": threads,
    }


def processor() -> str:
    """Model name."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith(("model name", "Model")):
                return line.partition(":")[2].strip()
    if platform.system() == "Darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    return platform.processor() or platform.machine()


def blas() -> str:
    """The library behind NumPy's matrix products."""
    try:
        found = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return f"{found['name']} {found['version']}"
    except (TypeError, KeyError):  # NumPy before 1.26
        found = getattr(np.__config__, "blas_opt_info", {}) or getattr(
            np.__config__, "blas_ilp64_opt_info", {}
        )
        return ", ".join(found.get("libraries", ["unknown"]))


def busy_processors() -> float:
    """Processors that one of NumPy's matrix products keeps busy: what its thread count really is."""
    a = np.ones((1024, 1024), np.float32)
    a @ a
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(3):
        a @ a
    return round((time.process_time() - cpu) / (time.perf_counter() - wall), 2)


def peaks(seconds: float) -> dict[str, float]:
    """Of the active instruction set and threads: multiply-adds in registers, reading from memory."""
    core = config.backend()
    return {
        "gflops": core.measure_peak("float32", seconds),
        "gbytes": core.measure_bandwidth(seconds),
    }


class Others:
    """How much of the processors others take while we measure; Linux only."""

    def __init__(self) -> None:
        self._start = self._now()

    def share(self) -> float | None:
        """From then to now, 0 to 1. Peers count as ours once they have ended."""
        if self._start is None:
            return None
        wall, used, own = (now - then for now, then in zip(self._now(), self._start, strict=True))
        return max(0.0, (used - own) / (wall * (os.cpu_count() or 1)))

    @staticmethod
    def _now() -> tuple[float, float, float] | None:
        """Wall clock, processor time of the machine, and of this process with its children."""
        stat = Path("/proc/stat")
        if not stat.exists():
            return None
        user, nice, system, _idle, _wait, *interrupts = map(
            int, stat.read_text().splitlines()[0].split()[1:9]
        )
        used = (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")
        return time.perf_counter(), used, sum(os.times()[:4])


def threads_of(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


def lines(info: dict[str, Any]) -> list[str]:
    """`describe` for people."""
    threads = threads_of(info["threads"])
    openmp = "OpenMP" if info["openmp"] else "no OpenMP"
    found = [
        f"{info['cpu']}, {info['processors']} processors, {info['system']}",
        f"lamina {info['lamina']} ({info['compiler']}, {openmp}), {threads}",
        f"NumPy {info['numpy']} on {info['blas']}, {threads} "
        f"({info['blas_processors']} processors busy in a product), Python {info['python']}",
    ]
    if info["load"] is not None and info["load"] > 0.5:
        found.append(f"this machine is busy (load {info['load']}): the times will be rough")
    return found
