"""The command line of `python bench papers`. As in `options`, nothing here imports NumPy or lamina."""

import argparse
import time
from pathlib import Path

from papers import NAMES

_EPILOG = f"""papers: {", ".join(NAMES)} (default: all)

Exit code 1: a result does not meet its criterion. Interrupted, what was found until then is kept."""


def parse(argv: list[str]) -> argparse.Namespace:
    """Exits with code 2, naming the choices, for names that do not exist."""
    parser = argparse.ArgumentParser(
        prog="python bench papers",
        description="Reproduce published experiments: what the papers report, and what lamina finds.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("papers", nargs="*", metavar="paper", help="what to reproduce (below)")
    add("--quick", action="store_true", help="smaller settings: seconds")
    add("--long", action="store_true", help="more seeds, epochs and longer lags: as long as they need")
    add("--json", type=Path, metavar="PATH", help="results (default: bench-results/papers-<date>.json)")
    options = parser.parse_args(argv)
    if options.quick and options.long:
        parser.error("--quick and --long exclude each other")
    for name in options.papers:
        if name not in NAMES:
            parser.error(f"unknown paper {name!r}: choose from {', '.join(NAMES)}")
    options.papers = options.papers or list(NAMES)
    options.json = options.json or Path("bench-results", f"papers-{time.strftime('%Y-%m-%d-%H%M%S')}.json")
    try:  # now, and not when all is found
        options.json.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"cannot write to {options.json.parent}: {error}")
    return options
