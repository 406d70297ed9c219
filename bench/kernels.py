"""The table of kernels: every pass of every case checked, timed on both backends, and on the peers."""

from typing import Any

import cases
from cases.case import PUBLIC, Case, Pass
from checks import disagreement, verify
from contenders import OURS, Rivals, local


def rows_of(case: Case, seconds: float, rivals: Rivals) -> list[dict[str, Any]]:
    """One row for each pass; "forward + backward" only where there are peers to compare with."""
    compared = bool(rivals.names("kernels")) and len(case.passes) > 1
    passes = [one for one in case.passes if compared or one.name != PUBLIC[1]]
    return [_row(case, one, seconds, rivals) for one in passes]


def _row(case: Case, one: Pass, seconds: float, rivals: Rivals) -> dict[str, Any]:
    verdict = verify(one, case.arrays)
    row: dict[str, Any] = {"case": case.op, "shape": case.shape, "pass": one.name, "times": {}}
    row |= {"error": verdict.error, "errors": verdict.errors, "bounds": verdict.bounds}
    row["relative_error"] = verdict.relative
    if verdict.wrong:
        return row | {"wrong": verdict.wrong}
    spec = {"op": case.op, "shape": case.shape, "pass": one.name, "options": case.options}
    kind = "kernels" if one.name in PUBLIC else "gradients"
    jobs = rivals.enter(kind, spec, vars(case.arrays), lambda outputs: disagreement(outputs, verdict.exact))
    turns = {name: local(name, lambda: one.run(case.arrays)) for name in OURS}
    return row | finished(rivals.race(turns, jobs, seconds), one.flops, one.nbytes)


def finished(times: dict[str, Any], flops: float, nbytes: float) -> dict[str, Any]:
    """What follows from the times: speed-up and rates of the compiled backend."""
    cpp = times["cpp"].median
    found: dict[str, Any] = {"times": {name: spread.json() for name, spread in times.items()}}
    found["speedup"] = times["numpy"].median / cpp
    if flops:
        found["gflops"] = flops / cpp * 1e-9
    elif nbytes:
        found["gbytes"] = nbytes / cpp * 1e-9
    return found


def count(names: list[str], quick: bool) -> int:
    """Cases for the progress bar; a bad line in a file of shapes comes to light here, before the run."""
    return sum(len(cases.shapes(name, quick)) for name in names if name in cases.BUILDERS)
