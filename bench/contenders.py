"""Who is timed: a function on one of lamina's two backends, or a job in a peer's process."""

from collections.abc import Callable
from typing import Any

import numpy as np
from peers.client import Peer, Unsupported
from timing import Dropped, Spread, Turn, race, take_turn

from lamina import config

OURS = {"numpy": "NumPy", "cpp": "C++"}


def local(backend: str, call: Callable[[], Any]) -> Turn:
    """Turns of a function on a backend."""

    def turn(seconds: float) -> list[float]:
        with config.use_backend(backend):
            return take_turn(call, seconds)

    return turn


class Rivals:
    """The peers that answer, and what is said about those that do not.

    `say` prints a line; every complaint is made once.
    """

    def __init__(self, interpreters: dict[str, str], threads: int, say: Callable[[str], None]) -> None:
        self._say = say
        self._said: set[str] = set()
        self.peers: list[Peer] = []
        for name, python in interpreters.items():
            try:
                self.peers.append(Peer(name, python, threads))
            except Dropped as reason:
                self.complain(f"{name}: left out: {reason}; give its interpreter as --against {name}=PYTHON")

    def complain(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(text)

    def names(self, kind: str) -> list[str]:
        """Of all variants that take part in "kernels", "training" or "epoch"."""
        return [name for peer in self.peers for name, _ in peer.variants(kind)]

    def enter(
        self,
        kind: str,
        spec: dict[str, Any],
        arrays: dict[str, np.ndarray],
        check: Callable[[dict[str, np.ndarray]], str],
    ) -> dict[str, Any]:
        """Jobs by name of those peers that can do `spec` and whose outputs `check` accepts."""
        jobs = {}
        for peer in [peer for peer in self.peers if peer.variants(kind)]:
            try:
                path = peer.store(arrays)
                for name, variant in peer.variants(kind):
                    try:
                        job, outputs = peer.prepare(spec, path, variant)
                    except Unsupported:
                        continue
                    if wrong := check(outputs):
                        self.complain(f"{name}: left out of {spec['op']} {spec.get('shape', '')}: {wrong}")
                    else:
                        jobs[name] = job
            except Dropped as reason:
                self.lost(peer, reason)
                jobs = {name: job for name, job in jobs.items() if job.peer is not peer}
        return jobs

    def lost(self, peer: Peer, reason: Dropped) -> None:
        self.complain(f"{peer.name}: left out from here on: {reason}")
        peer.close()
        self.peers = [other for other in self.peers if other is not peer]

    def race(self, turns: dict[str, Turn], jobs: dict[str, Any], seconds: float) -> dict[str, Spread]:
        """Time ours and theirs together; the jobs are done with then."""

        def dropped(name: str, reason: Dropped) -> None:
            self.lost(jobs[name].peer, reason)

        times = race({**turns, **{name: job.turn for name, job in jobs.items()}}, seconds, dropped)
        self.forget(jobs)
        return times

    def forget(self, jobs: dict[str, Any]) -> None:
        """Let the peers free what they keep for the jobs."""
        for peer in {job.peer for job in jobs.values()}:
            if peer in self.peers:
                try:
                    peer.forget()
                except Dropped as reason:
                    self.lost(peer, reason)

    def close(self) -> None:
        for peer in self.peers:
            peer.close()
