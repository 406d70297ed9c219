"""The command line. Nothing here imports NumPy or lamina: the environment must be set before that."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

KERNELS = (
    "gemm",
    "conv2d",
    "max_pool2d",
    "avg_pool2d",
    "batch_norm",
    "lstm_cell",
    "rnn_cell",
    "lstm",
    "gru",
    "rnn",
    "recurrent_step",
    "embedding",
    "memory_blocks",
    "relu",
    "sigmoid",
    "tanh",
    "softmax",
    "log_softmax",
    "softmax_cross_entropy",
    "mean_squared_error",
    "topk",
    "sgd_step",
    "adam_step",
    "rms_step",
    "adadelta_step",
)
MODELS = (
    "lenet5",
    "vgg_small",
    "convnetjs_cifar",
    "separable_net",
    "residual_net",
    "autoencoder",
    "sigmoid_autoencoder",
    "k_sparse_autoencoder",
    "conv_autoencoder",
    "char_lstm_128",
    "char_lstm_256",
    "char_gru_128",
    "tagger",
    "many_to_one",
)
OTHERS = ("epoch", "k_cost", "growth", "sweep", "footprint")
PEERS = ("torch", "jax", "keras", "onnxruntime")

_EPILOG = f"""cases: {", ".join((*KERNELS, *MODELS, *OTHERS))} (default: all up to epoch)

  python bench                            everything: NumPy against C++
  python bench conv2d --threads 1,2 --isa avx2
  python bench --against torch,jax=/opt/jax/bin/python
  python bench papers --help              published results beside ours
  python bench k_cost                     the k-sparse step over k, with a picture
  python bench growth                     time over batch, image, channels, length, with a picture
  python bench sweep --against torch=PYTHON   convolutions of many shapes, pass by pass, with a picture
  python bench profile NETWORK...         which kernels a training step's time goes to
  python bench footprint NETWORK...       memory of training these networks, which are not timed
  python bench footprint --dist dist      import time, sizes, memory of a training run
  python bench/compare.py old.json new.json"""


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Exits with code 2, naming the choices, for names that do not exist."""
    parser = make_parser()
    options = parser.parse_args(argv)
    cases = (*KERNELS, *MODELS, *OTHERS)
    for name in options.cases:
        if name not in cases:
            parser.error(f"unknown case {name!r}: choose from {', '.join(cases)}")
    if not options.cases:
        options.cases = [*KERNELS, *([] if options.no_train else [*MODELS, "epoch"])]
    elif options.no_train:
        options.cases = [name for name in options.cases if name not in (*MODELS, "epoch")]
    if options.picture and options.picture.suffix != ".svg":
        parser.error(f"--picture {options.picture}: the picture is SVG: give a name that ends in .svg")
    if options.dist and not options.dist.exists():
        parser.error(f"--dist {options.dist}: there is no such wheel or folder")
    options.against = _peers(parser, options.against)
    if options.seconds is None:
        options.seconds = 0.2 if options.quick else 1.5
    return options


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python bench",
        description="Time lamina's compiled kernels, training steps and a training epoch against NumPy's.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("cases", nargs="*", metavar="case", help="what to measure (below)")
    add("--quick", action="store_true", help="few shapes, little time: two minutes")
    add("--threads", type=_counts, metavar="1,2", help="numbers of threads (default: all processors)")
    add("--isa", type=_names, default=[], metavar="avx2,avx512", help="instruction sets (default: the best)")
    add(
        "--against",
        action="append",
        default=[],
        metavar="torch,jax=PYTHON",
        help=f"other libraries, each in a process of its own interpreter: {', '.join(PEERS)}",
    )
    add("--json", type=Path, metavar="PATH", help="results (default: bench-results/<date>.json)")
    add("--picture", type=Path, metavar="PATH", help="figure (default: beside the JSON file, .svg)")
    add("--no-train", action="store_true", help="kernels only")
    add("--seconds", type=_positive, help="time for each line of the tables (default: 1.5, quick: 0.2)")
    add("--epochs", type=_count, default=1, help="epochs of the case epoch (default: 1)")
    add("--part", action="store_true", help=argparse.SUPPRESS)  # one of several processes: no picture
    add("--dist", type=Path, metavar="PATH", help="a wheel or the folder with it, for footprint")
    return parser


def _peers(parser: argparse.ArgumentParser, texts: list[str]) -> dict[str, str]:
    """Interpreter by peer."""
    found = {}
    for entry in (entry for text in texts for entry in _names(text)):
        name, _, python = entry.partition("=")
        if name not in PEERS:
            parser.error(f"unknown library {name!r} in --against: choose from {', '.join(PEERS)}")
        if python and not Path(python).is_file():
            parser.error(f"--against {entry}: there is no interpreter at {python}")
        # A path that is not resolved: the link in a virtual environment is what makes it one.
        found[name] = str(Path(python).absolute()) if python else sys.executable
    return found


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1, got {text!r}")
    return int(text)


def _counts(text: str) -> list[int]:
    counts = [_count(name) for name in _names(text)]
    if not counts:
        raise argparse.ArgumentTypeError("expected numbers of threads such as 1,2")
    return list(dict.fromkeys(counts))


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of seconds above 0, got {text!r}")
    return value


def processors() -> int:
    """Processors that this process may use, as lamina counts them: affinity and quotas.

    Asked in a process of its own, for NumPy must not be loaded here before the number is known.
    """
    code = "import lamina; print(lamina.build_info()['cpu_limit'])"
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if asked.returncode == 0:
        return int(asked.stdout)
    return os.cpu_count() or 1  # lamina cannot be imported, which is reported where it is needed
