"""Runs the papers one after the other, prints a table of each, and writes what was found."""

import argparse
import importlib
import json
import sys
import textwrap
import time
from itertools import zip_longest
from typing import Any

import machine

from lamina import config
from papers.row import Effort, progress

_INTERRUPTED = 130
_WIDTHS = (46, 30, 46, 4)
_MET = {True: "yes", False: "NO", None: "-"}


def run(options: argparse.Namespace) -> int:
    """-> exit code: 1 if a criterion was not met, 130 if interrupted."""
    effort = Effort(options.quick, options.long)
    found: list[dict[str, Any]] = []
    code, start = 0, time.perf_counter()
    with progress(len(options.papers), "papers", "paper") as bar:
        try:
            for name in options.papers:
                bar.set_description(name)
                _reproduce(name, effort, found, bar)
                bar.update()
        except KeyboardInterrupt:
            bar.write("interrupted: what was found until here is kept", file=sys.stdout)
            code = _INTERRUPTED
    result = {"schema": 1, "machine": machine.describe(1), "effort": effort._asdict(), "papers": found}
    result["seconds"] = time.perf_counter() - start
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\nresults: {options.json}")
    missed = [row["experiment"] for paper in found for row in paper["rows"] if row["met"] is False]
    for experiment in missed:
        print(f"not met: {experiment}", file=sys.stderr)
    return code or (1 if missed else 0)


def _reproduce(name: str, effort: Effort, found: list[dict[str, Any]], bar: Any) -> None:
    """One paper: its rows go into `found` as they come, for it may be interrupted."""
    module = importlib.import_module(f"papers.{name}")
    paper: dict[str, Any] = {"paper": name, "title": module.TITLE, "rows": []}
    found.append(paper)
    header = _line(("experiment", "published", "ours", "met"))
    bar.write(f"\n{name}: {module.TITLE}\n{header}\n{'-' * len(header)}", file=sys.stdout)
    config.set_num_threads(1)  # the nets are tiny; a module that has a large one takes more
    start = time.perf_counter()
    for row in module.run(effort):
        paper["rows"].append(row._asdict())
        paper["seconds"] = time.perf_counter() - start
        bar.write(_line((*row[:3], _MET[row.met])), file=sys.stdout)
    bar.write(f"{paper.get('seconds', 0):.1f} s", file=sys.stdout)


def _line(cells: tuple[str, ...]) -> str:
    """The cells side by side, each broken into lines of its column."""
    columns = [textwrap.wrap(cell, width) for cell, width in zip(cells, _WIDTHS, strict=True)]
    return "\n".join(
        "  ".join(f"{text:<{width}}" for text, width in zip(line, _WIDTHS, strict=True)).rstrip()
        for line in zip_longest(*columns, fillvalue="")
    )
