"""One run in one process: prints the machine, the tables and the epochs, and writes the results."""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cases
import epoch
import footprint
import growth
import k_cost
import kernels
import machine
import networks
import options as command_line
import report
import summary
import sweep
import training
from contenders import Rivals
from tqdm import tqdm

from lamina import config

_PEAK_SECONDS = 1.0
_QUIET = 0.03


def run(options: argparse.Namespace, threads: int) -> int:
    """-> exit code: 1 if a result was wrong, 2 for names that do not exist, 130 if interrupted."""
    core = config.backend()
    if core.__name__ != "lamina._core":
        print("bench: the compiled backend is needed: unset LAMINA_BACKEND", file=sys.stderr)
        return 2
    if unknown := [name for name in options.isa if name not in config.available_isas()]:
        choices = ", ".join(config.available_isas())
        command_line.make_parser().error(
            f"instruction set {unknown[0]!r} cannot run here: choose from {choices}"
        )
    config.set_num_threads(threads)
    return Session(options, threads).run()


class Session:
    """What a run has found so far."""

    def __init__(self, options: argparse.Namespace, threads: int) -> None:
        self.options, self.threads = options, threads
        self.result: dict[str, Any] = {"schema": 1, "machine": machine.describe(threads), "peers": {}}
        self.result |= {"runs": [], "rows": [], "epochs": []}
        kernel_names = [name for name in options.cases if name in cases.BUILDERS]
        models = [name for name in options.cases if name in networks.NETWORKS]
        self.kernels = kernel_names
        self.weighed = models if "footprint" in options.cases else []  # and not timed
        self.models = [] if self.weighed else models
        self.isas = options.isa or [config.backend().get_isa()]
        steps = kernels.count(kernel_names, options.quick) + len(self.models) + ("epoch" in options.cases)
        steps += sweep.count(options.quick) if "sweep" in options.cases else 0
        self.bar = tqdm(total=steps * len(self.isas), unit="case", disable=None, leave=False)

    def say(self, text: str = "") -> None:
        """Print a line above the progress bar."""
        with self.bar.external_write_mode(file=sys.stdout):
            print(text, flush=True)

    def run(self) -> int:
        for line in machine.lines(self.result["machine"]):
            self.say(line)
        self.rivals = Rivals(self.options.against, self.threads, self.say)
        for peer in self.rivals.peers:
            self.result["peers"][peer.name] = peer.version
            self.say(f"{peer.name} {peer.version}, {machine.threads_of(self.threads)}, in its own process")
        self.say(report.LEGEND)
        code = 0
        start, others = time.perf_counter(), machine.Others()
        try:
            for isa in self.isas:
                with self.on(isa):
                    self.measure(isa)
            if "k_cost" in self.options.cases:
                options = self.options
                self.result["k_cost"] = k_cost.measure(
                    options.quick, 4 * options.seconds, self.rivals, self.say
                )
            if "growth" in self.options.cases:
                options = self.options
                self.result["growth"] = growth.measure(options.quick, options.seconds, self.rivals, self.say)
            if self.weighed:
                self.result["memory"] = footprint.of_networks(
                    self.weighed, self.options, self.threads, self.say
                )
            elif "footprint" in self.options.cases:
                self.result["footprint"] = footprint.measure(self.options, self.threads, self.say)
            for isa in self.isas:
                summary.show([row for row in self.result["rows"] if row["isa"] == isa], self.say)
        except KeyboardInterrupt:
            self.say("interrupted: what was measured until here is kept")
            code = 130
        finally:
            self.rivals.close()
            self.bar.close()
        self.result["seconds"] = time.perf_counter() - start
        self.result["others"] = others.share()
        if self.result["others"] and self.result["others"] > _QUIET:
            print(f"\nother programs took {self.result['others']:.0%} of the processors: the times are rough")
        report.write(self.result, self.options.json, None if self.options.part else self.options.picture)
        wrong = [row for row in self.result["rows"] if "wrong" in row]
        if wrong:
            print(f"{len(wrong)} wrong results were not timed", file=sys.stderr)
        return code or (1 if wrong else 0)

    @contextmanager
    def on(self, isa: str) -> Iterator[None]:
        """With an instruction set; measures its peaks before and, to show how steady they were, after."""
        core, former = config.backend(), config.backend().get_isa()
        core.set_isa(isa)
        self.peaks = machine.peaks(_PEAK_SECONDS / 4 if self.options.quick else _PEAK_SECONDS)
        self.result["runs"].append({"isa": isa, "threads": self.threads, **self.peaks})
        self.say(
            f"{isa}: peak {self.peaks['gflops']:.1f} GFLOP/s of multiply-adds in float32, "
            f"{self.peaks['gbytes']:.1f} GB/s from memory"
        )
        try:
            yield
            after = machine.peaks(_PEAK_SECONDS / 4)
            self.result["runs"][-1]["after"] = after
            self.say(f"\npeaks again at the end: {after['gflops']:.1f} GFLOP/s, {after['gbytes']:.1f} GB/s")
        finally:
            core.set_isa(former)

    def measure(self, isa: str) -> None:
        """All cases with one instruction set."""
        quick, seconds = self.options.quick, self.options.seconds
        for name in self.kernels:
            table = report.Table(name, self.rivals.names("kernels"), self.say)
            for case in cases.build(name, quick):
                self.bar.set_description(f"{name} {case.shape}")
                self.note(table, isa, kernels.rows_of(case, seconds, self.rivals))
        if self.models:
            table = report.Table("training", self.rivals.names("training"), self.say)
            for name in self.models:
                self.bar.set_description(name)
                network, each = networks.NETWORKS[name], (2 if quick else 4) * seconds
                self.note(table, isa, training.rows_of(network, each, self.rivals, quick))
        if "sweep" in self.options.cases:
            self.bar.set_description("sweep")
            table = report.Table("sweep", self.rivals.names("kernels"), self.say)
            for rows in sweep.rows_of(quick, seconds, self.rivals):
                self.note(table, isa, rows)
            sweep.slower(sweep.of(self.result), self.say)
        if "epoch" in self.options.cases:
            self.bar.set_description("epoch")
            self.epochs(isa)
            self.bar.update()

    def note(self, table: report.Table, isa: str, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            for rate in ("gflops", "gbytes"):
                if rate in row:
                    row["share"] = row[rate] / self.peaks[rate]
            row |= {"isa": isa, "threads": self.threads}
            self.result["rows"].append(row)
            table.row(row)
        self.bar.update()

    def epochs(self, isa: str) -> None:
        """NumPy's and the peers' epochs are run with the first instruction set only."""
        digits = epoch.load(self.options.quick, self.say)
        first = not self.result["epochs"]
        others = self.rivals if first else Rivals({}, self.threads, self.say)
        names = ("numpy", "cpp") if first else ("cpp",)
        found = epoch.run(digits, self.options.epochs, others, names)
        entry = {"data": digits.name, "samples": len(digits.x), "tested_on": len(digits.x_test)}
        entry |= {"batch": epoch.BATCH, "lr": epoch.LR, "isa": isa, "threads": self.threads, "times": found}
        self.result["epochs"].append(entry)
        report.epochs(entry, self.say)
