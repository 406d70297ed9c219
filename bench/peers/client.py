"""A peer as the benchmark sees it: a process that answers one line of JSON for every line it gets.

Requests: {"do": "hello" | "prepare" | "time" | "repeat" | "epoch" | "forget" | "memory", ...}. Arrays go
through .npz files, which hold images as NHWC and weights as OHWI whatever the peer prefers. A peer waits for
its standard input between its turns, so it takes no processor from the others.
"""

import contextlib
import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np
from timing import Dropped

_BENCH = Path(__file__).parents[1]
_LIMIT = 3600.0  # seconds for one answer
_HELLO_LIMIT = 300.0


class Unsupported(Exception):
    """The peer, or this variant of it, does not do this case."""


@dataclass(frozen=True)
class Job:
    """One prepared case in a peer."""

    peer: "Peer"
    number: int

    def turn(self, seconds: float) -> list[float]:
        return self.peer.ask(do="time", job=self.number, seconds=seconds)["samples"]

    def repeat(self, count: int) -> None:
        """Make the call so many times."""
        self.peer.ask(do="repeat", job=self.number, count=count)

    def epoch(self) -> tuple[float, float]:
        """One more epoch -> seconds, test accuracy."""
        answer = self.peer.ask(do="epoch", job=self.number)
        return answer["seconds"], answer["accuracy"]


def _environment(threads: int) -> dict[str, str]:
    """Of a peer: no accelerators, so many threads, and this folder to import from."""
    path = [str(_BENCH), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        **{f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "MKL", "OPENBLAS")},
        "PYTHONPATH": os.pathsep.join(path),
        "CUDA_VISIBLE_DEVICES": "",
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }


class Peer:
    """Start `peers/<name>_peer.py` under `python`. Dropped says why that is impossible."""

    def __init__(self, name: str, python: str, threads: int) -> None:
        self.name = name
        self._folder = tempfile.TemporaryDirectory(prefix="lamina-bench-")
        self._log = Path(self._folder.name, "log").open("w+")  # noqa: SIM115
        self._files = 0
        try:
            self._process = subprocess.Popen(
                [python, str(_BENCH / "peers" / f"{name}_peer.py"), str(threads)],
                env=_environment(threads),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
            )
        except OSError as error:
            raise Dropped(str(error)) from error
        if name == "jax" and hasattr(os, "sched_setaffinity"):
            # XLA takes a thread for each processor that it sees when it starts.
            allowed = sorted(os.sched_getaffinity(0))
            with contextlib.suppress(OSError):  # it may have ended already
                os.sched_setaffinity(self._process.pid, allowed[:threads])
        try:
            hello = self.ask(do="hello", limit=_HELLO_LIMIT)
        except Dropped:
            self.close()
            raise
        self.version: str = hello["version"]
        self._variants: dict[str, list[str]] = hello["variants"]
        self._variants["memory"] = self._variants.get("epoch", [])[:1]

    def variants(self, kind: str) -> list[tuple[str, str]]:
        """(name shown, variant) of each that takes part in a kind of work.

        That is "kernels", "gradients" (a backward pass by itself), "training", "epoch" or "memory".
        """
        return [(f"{self.name} {v}".strip(), v) for v in self._variants.get(kind, [])]

    def ask(self, limit: float = _LIMIT, **request: Any) -> dict[str, Any]:
        """Dropped if there is no answer or it says what went wrong."""
        assert self._process.stdin
        assert self._process.stdout
        timer = Timer(limit, self._process.kill)
        timer.start()
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except (OSError, ValueError):  # a broken pipe, or one that is closed
            line = ""
        finally:
            timed_out = not timer.is_alive()
            timer.cancel()
        if timed_out:
            raise Dropped(f"no answer to {request['do']!r} within {limit:.0f} s")
        if not line:
            raise Dropped(f"its process ended: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "unsupported" in answer:
            raise Unsupported(answer["unsupported"])
        if "error" in answer:
            raise Dropped(answer["error"])
        return answer

    def store(self, arrays: dict[str, np.ndarray]) -> str:
        """Write arrays where the peer can read them; the file of the case before goes."""
        self._path("arrays", self._files).unlink(missing_ok=True)
        self._files += 1
        path = self._path("arrays", self._files)
        np.savez(path, **arrays)
        return str(path)

    def _path(self, what: str, number: int) -> Path:
        return Path(self._folder.name, f"{what}{number}.npz")

    def prepare(self, spec: dict[str, Any], arrays: str, variant: str) -> tuple[Job, dict[str, np.ndarray]]:
        """Set up a case -> the job, and what it computes. Unsupported where the peer has no such thing."""
        path = self._path("outputs", self._files)
        answer = self.ask(do="prepare", spec=spec, arrays=arrays, variant=variant, outputs=str(path))
        with np.load(path) as stored:
            outputs = dict(stored)
        path.unlink()
        return Job(self, answer["job"]), outputs

    def forget(self) -> None:
        """Free all jobs."""
        self.ask(do="forget")

    def memory(self) -> int:
        """Greatest resident set of its process so far, in bytes."""
        return int(self.ask(do="memory")["bytes"])

    def close(self) -> None:
        """End the process."""
        try:
            assert self._process.stdin
            self._process.stdin.close()
            self._process.wait(10)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()
        self._log.close()
        self._folder.cleanup()

    def _last_words(self) -> str:
        self._log.flush()
        lines = [
            line for line in Path(self._log.name).read_text(errors="replace").splitlines() if line.strip()
        ]
        return lines[-1].strip() if lines else "it said nothing"
