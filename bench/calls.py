"""`python bench profile NETWORK`: which kernels a training step's time goes to, against its floor."""

import argparse
from collections import defaultdict
from statistics import median
from time import perf_counter

import numpy as np
from machine import peaks
from networks import NETWORKS, flops
from training import Trainer


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python bench profile", description=__doc__)
    parser.add_argument("networks", nargs="+", choices=list(NETWORKS), metavar="NETWORK")
    parser.add_argument("--runs", type=int, default=50, help="whose medians are shown (default 50)")
    parser.add_argument("--each", action="store_true", help="a line for each call, in order, not for each op")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    peak = peaks(0.5)["gflops"]
    for name in options.networks:
        _show(name, options.runs, options.each, peak)
    return 0


def _show(name: str, runs: int, each: bool, peak: float) -> None:
    network = NETWORKS[name]
    x, y = network.data(np.random.default_rng(0))
    trainer = Trainer(network)
    for _ in range(3):
        trainer.step(x, y)
    calls = trainer.compiled(x, y).profile(x, y, runs)
    optimiser = _seconds(trainer.optimizer.step, runs)
    total = sum(call.seconds for call in calls) + optimiser
    floor = flops(network)[1] / (peak * 1e9)
    print(f"\n{name}, {network.shape}: {total * 1e3:.3g} ms; its multiply-adds alone at {peak:.0f} GFLOP/s")
    print(f"(direct convolution's, dense products'): {floor * 1e3:.3g} ms")
    lines = defaultdict(list)
    for number, call in enumerate(calls):
        shape = "x".join(map(str, call.shape))
        lines[f"{number:>3} {call.op} {shape}" if each else call.op].append(call.seconds)
    lines["the optimiser's step, from Python"].append(optimiser)
    ordered = lines.items() if each else sorted(lines.items(), key=lambda line: -sum(line[1]))
    for label, seconds in ordered:
        many = f"{len(seconds)} calls" if len(seconds) > 1 else ""
        print(f"  {label:<48}{many:>10}{sum(seconds) * 1e3:>10.3f} ms{sum(seconds) / total:>6.0%}")


def _seconds(call, runs: int) -> float:
    found = []
    for _ in range(runs):
        start = perf_counter()
        call()
        found.append(perf_counter() - start)
    return median(found)
