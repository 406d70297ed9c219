"""`python bench`: the compiled kernels against NumPy's, whole training steps, and an epoch of LeNet-5.

`python bench papers`: published results beside ours. `python bench memory`: whether long runs grow.
`python bench profile`: which kernels a training step's time goes to.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import options as command_line
from papers import command as papers

_INTERRUPTED = 130


def main() -> int:
    if sys.argv[1:2] == ["papers"]:
        return _reproduce(papers.parse(sys.argv[2:]))
    if sys.argv[1:2] == ["memory"]:
        memory = _with_lamina("memory")
        return memory.run(memory.parse(sys.argv[2:])) if memory else 2
    if sys.argv[1:2] == ["profile"]:
        calls = _with_lamina("calls")
        return calls.run(calls.parse(sys.argv[2:])) if calls else 2
    options = command_line.parse()
    stem = Path("bench-results", time.strftime("%Y-%m-%d-%H%M%S"))
    options.json = options.json or stem.with_suffix(".json")
    options.picture = options.picture or options.json.with_suffix(".svg")
    for path in (options.json, options.picture):
        try:  # now, and not when all is measured
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            command_line.make_parser().error(f"cannot write to {path.parent}: {error}")
    if options.threads and len(options.threads) > 1:
        return _one_process_each(options)
    threads = options.threads[0] if options.threads else command_line.processors()
    _limit_threads(threads)
    session = _with_lamina("session")
    return session.run(options, threads) if session else 2


def _reproduce(options) -> int:
    _limit_threads(1)  # the nets are tiny
    reproduce = _with_lamina("papers.reproduce")
    return reproduce.run(options) if reproduce else 2


def _limit_threads(threads: int) -> None:
    """BLAS libraries and OpenMP read these once, when they are loaded."""
    for library in ("OMP", "OPENBLAS", "MKL", "BLIS", "VECLIB_MAXIMUM", "NUMEXPR"):
        os.environ[f"{library}_NUM_THREADS"] = str(threads)


def _with_lamina(name: str):
    """The module, or None, said aloud, where it cannot have lamina."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != "lamina":
            raise
        print("bench: lamina is not installed for this Python: pip install .", file=sys.stderr)
        return None


def _one_process_each(options) -> int:
    """Each number of threads in a process of its own; then the results in one file and one picture."""
    worst, merged = 0, None
    with tempfile.TemporaryDirectory() as folder:
        for threads in options.threads:
            path = Path(folder, f"{threads}.json")
            print(f"\n===== {threads} thread{'s' if threads > 1 else ''} =====", flush=True)
            command = [sys.executable, str(Path(__file__).parent), *_arguments(options)]
            command += ["--threads", str(threads), "--json", str(path), "--part"]
            code = subprocess.run(command).returncode
            worst = max(worst, code)
            if not path.exists():
                return worst
            part = json.loads(path.read_text())
            if merged is None:
                merged = part
            else:
                for section in ("runs", "rows", "epochs"):
                    merged[section] += part[section]
            if code == _INTERRUPTED:
                break
    import report

    report.write(merged, options.json, options.picture)
    return worst


def _arguments(options) -> list[str]:
    """The options that the processes share, as they would be typed."""
    given = [*options.cases, "--seconds", str(options.seconds), "--epochs", str(options.epochs)]
    given += ["--quick"] if options.quick else []
    given += ["--isa", ",".join(options.isa)] if options.isa else []
    given += ["--dist", str(options.dist)] if options.dist else []
    for name, python in options.against.items():
        given += ["--against", f"{name}={python}"]
    return given


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
