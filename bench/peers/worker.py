"""The peer's side of the conversation: reads requests, runs jobs, answers. See `client.py`."""

import json
import os
import re
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from timing import settle, take_turn

Arrays = dict[str, np.ndarray]


class Unsupported(Exception):
    """This library, or this variant, does not do this case."""


@dataclass
class Job:
    """call: what is timed. outputs: what it computes, in lamina's layouts, asked for once and first."""

    call: Callable[[], Any]
    outputs: Callable[[], Arrays]


@dataclass
class Epoch:
    """train: one epoch -> seconds. accuracy: of the test set."""

    train: Callable[[], float]
    accuracy: Callable[[], float]
    outputs: Callable[[], Arrays] = dict


def serve(
    version: str,
    variants: dict[str, list[str]],
    prepare: Callable[[dict[str, Any], Arrays, str], Job | Epoch],
) -> None:
    """Answer until standard input ends.

    variants: names of the library's ways to run, by kind of case; "" is its default. prepare(spec, arrays,
    variant) makes a job, or raises Unsupported.
    """
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not be taken for answers
    jobs: dict[int, Job | Epoch] = {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = _answer(request, jobs, version, variants, prepare)
        except Unsupported as reason:
            answer = {"unsupported": str(reason)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        channel.write(json.dumps(answer) + "\n")
        channel.flush()


def _answer(
    request: dict[str, Any],
    jobs: dict[int, Any],
    version: str,
    variants: dict[str, list[str]],
    prepare: Callable[[dict[str, Any], Arrays, str], Any],
) -> dict[str, Any]:
    do = request["do"]
    if do == "hello":
        return {"version": version, "variants": variants}
    if do == "prepare":
        with np.load(request["arrays"]) as stored:
            job = prepare(request["spec"], dict(stored), request["variant"])
        np.savez(request["outputs"], **job.outputs())
        jobs[len(jobs)] = job
        settle()
        return {"job": len(jobs) - 1}
    if do == "time":
        return {"samples": take_turn(jobs[request["job"]].call, request["seconds"])}
    if do == "repeat":
        for _ in range(request["count"]):
            jobs[request["job"]].call()
        return {}
    if do == "epoch":
        job = jobs[request["job"]]
        seconds = job.train()
        answer = {"seconds": seconds, "accuracy": job.accuracy()}
        settle()
        return answer
    if do == "forget":
        jobs.clear()
        return {}
    if do == "memory":
        return {"bytes": greatest_memory()}
    raise ValueError(f"unknown request {do!r}")


def greatest_memory() -> int:
    """Greatest resident set of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count what the parent held when it started this process
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) * 1024
    greatest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return greatest * (1 if sys.platform == "darwin" else 1024)
