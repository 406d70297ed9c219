"""`python bench/compare.py old.json new.json`: how two runs differ, line by line.

A ratio above 1 means that the new run is faster. NumPy's own ratio stands beside it: where that is not near
1, the machine changed, and not the kernels.
"""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

Key = tuple[str, ...]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="compare.py", description=__doc__.partition("\n")[0].partition(": ")[2]
    )
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument(
        "--least", type=float, metavar="RATIO", help="exit with 1 if a ratio is below this, e.g. 0.9"
    )
    options = parser.parse_args(argv)
    old, new = (_rows(parser, path) for path in (options.old, options.new))
    common = [key for key in new if key in old]
    if not common:
        parser.error("the two files have no line in common")
    lines = [(key, _times(old[key]), _times(new[key])) for key in common]
    _print(lines)
    for path, only in (
        (options.old, [k for k in old if k not in new]),
        (options.new, [k for k in new if k not in old]),
    ):
        if only:
            print(f"{len(only)} lines are only in {path}")
    slow = [key for key, before, after in lines if options.least and before[1] / after[1] < options.least]
    for key in slow:
        print(f"slower than {options.least:g} of what it was: {' '.join(key)}", file=sys.stderr)
    return 1 if slow else 0


def _rows(parser: argparse.ArgumentParser, path: Path) -> dict[Key, dict[str, Any]]:
    """Timed rows by what they measure; exits with code 2 for a file that is none of ours."""
    try:
        rows = json.loads(path.read_text())["rows"]
        return {
            (row["case"], row["shape"], row["pass"], row["isa"], str(row["threads"])): row
            for row in rows
            if "speedup" in row
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        parser.error(f"{path} is not a result of bench ({type(error).__name__}: {error})")


def _times(row: dict[str, Any]) -> tuple[float, float]:
    return row["times"]["numpy"]["median"], row["times"]["cpp"]["median"]


def _print(lines: list[tuple[Key, tuple[float, float], tuple[float, float]]]) -> None:
    names = [
        f"{case} {shape}, {one}, {isa}, {threads} thr" for (case, shape, one, isa, threads), _, _ in lines
    ]
    width = max(map(len, names))
    print(f"{'':<{width}}  {'old ms':>9}  {'new ms':>9}  {'ratio':>6}  {'NumPy':>6}")
    for name, (_, old, new) in zip(names, lines, strict=True):
        print(
            f"{name:<{width}}  {old[1] * 1e3:>9.4f}  {new[1] * 1e3:>9.4f}  {old[1] / new[1]:>6.2f}  "
            f"{old[0] / new[0]:>6.2f}"
        )
    means = [math.exp(sum(math.log(old[i] / new[i]) for _, old, new in lines) / len(lines)) for i in (1, 0)]
    print(f"{'geometric mean':<{width}}  {'':>9}  {'':>9}  {means[0]:>6.2f}  {means[1]:>6.2f}")


if __name__ == "__main__":
    sys.exit(main())
