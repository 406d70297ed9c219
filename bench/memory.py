"""`python bench memory`: whether the memory of a long training run stays flat.

Each run has a process of its own, with Python's cycle collector off, so that what only the collector would
free shows as growth. It is compared from a fifth of the steps on, when all sizes have been met. The tests run
`--quick`.
"""

import argparse
import gc
import subprocess
import sys
import tempfile
import tracemalloc
from array import array
from collections.abc import Callable
from pathlib import Path

import numpy as np

_PAGE = 4096
_MOST = 4 << 20  # bytes that a run may grow by: allocators keep a little of what differs from step to step
_SIDE = 32  # pixels of the images in the folder
_BATCH = 32


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python bench memory", description=__doc__)
    parser.add_argument("runs", nargs="*", metavar="RUN", help=f"of {', '.join(RUNS)}; default: all")
    parser.add_argument("--steps", type=int, default=10_000, help="of each network (default 10,000)")
    parser.add_argument("--images", type=int, default=50_000, help="in the folder (default 50,000)")
    parser.add_argument("--quick", action="store_true", help="a tenth of both")
    parser.add_argument("--part", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    unknown = set(options.runs) - set(RUNS)
    if unknown:
        parser.error(f"unknown run {min(unknown)!r}: expected one of {', '.join(RUNS)}")
    if options.quick:
        options.steps, options.images = options.steps // 10, options.images // 10
    return options


def run(options: argparse.Namespace) -> int:
    """Every run in a process of its own -> 0 if none of them grew."""
    if options.part:
        gc.disable()
        return RUNS[options.runs[0]](options)
    worst = 0
    for name in options.runs or RUNS:
        command = [sys.executable, str(Path(__file__).parent), "memory", name, "--part"]
        sizes = ["--steps", str(options.steps), "--images", str(options.images)]
        worst = max(worst, subprocess.run([*command, *sizes]).returncode)
    return worst


def _flat(name: str, steps: int, step: Callable[[], None]) -> int:
    """Take the steps, and say what resident memory and the number of objects did meanwhile."""
    early, held, objects = steps // 5, array("q"), array("q")
    for number in range(1, steps + 1):
        step()
        if number > early and number % max(1, steps // 100) == 0:
            held.append(resident())
            objects.append(len(gc.get_objects()))
    # The greatest of the first and of the last part: what one step holds differs from step to step.
    part = max(1, len(held) // 4)
    (first, last), (some, more) = ((max(seen[:part]), max(seen[-part:])) for seen in (held, objects))
    grew = last - first > _MOST or more - some > max(50, steps // 10)
    print(
        f"{name}: {steps:,} steps, resident {first / 1e6:.1f} MB, at the end {last / 1e6:.1f} MB; "
        f"{some:,} objects, at the end {more:,}: {'IT GREW' if grew else 'flat'}",
        flush=True,
    )
    return int(grew)


def _images(options: argparse.Namespace) -> int:
    import lamina as lm
    from lamina import nn, optim

    rng = np.random.default_rng(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding="same", rng=0),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, rng=1),
        nn.BatchNorm2d(12, relu=True),
        nn.GlobalAvgPool2d(),
        nn.Linear(12, 5, rng=2),
    )
    loss, optimizer = nn.CrossEntropyLoss(), optim.Adam(model.parameters())

    def step() -> None:
        n, h, w = rng.integers([2, 8, 8], [33, 41, 41])
        x = rng.standard_normal((n, h, w, 3), np.float32)
        optimizer.zero_grad()
        loss(model(x), rng.integers(0, 5, n)).backward()
        optimizer.step()
        model.eval()
        with lm.no_grad():
            model(x)
        model.train()

    return _flat("images of changing sizes", options.steps, step)


def _sequences(options: argparse.Namespace) -> int:
    from lamina import nn, optim

    rng = np.random.default_rng(0)
    lstm, out = nn.LSTM(10, 16, num_layers=2, dropout=0.2, bidirectional=True, rng=0), nn.Linear(32, 4, rng=1)
    loss, optimizer = nn.CrossEntropyLoss(), optim.RMSprop([*lstm.parameters(), *out.parameters()], 1e-3)

    def step() -> None:
        n, t = rng.integers([1, 1], [25, 41])
        x, lengths = rng.standard_normal((n, t, 10), np.float32), rng.integers(1, t + 1, n)
        optimizer.zero_grad()
        y, _ = lstm(x, lengths=lengths if t % 2 else None)
        loss(out(y[:, 0]), rng.integers(0, 4, n)).backward()
        optimizer.step()

    return _flat("sequences of changing lengths", options.steps, step)


def _fits(options: argparse.Namespace) -> int:
    """A hundred steps are one call of `fit`, with callbacks, a schedule and validation."""
    import lamina as lm
    from lamina import nn, optim, train

    rng = np.random.default_rng(0)

    def step() -> None:
        model = nn.Sequential(
            nn.Linear(20, 30, rng=0), nn.BatchNorm1d(30, relu=True), nn.Linear(30, 3, rng=1)
        )
        n = 40 * int(rng.integers(8, 16))  # batches of 32 leave no single sample for BatchNorm1d
        lm.fit(
            model,
            rng.standard_normal((n, 20), np.float32),
            rng.integers(0, 3, n),
            loss=nn.CrossEntropyLoss(),
            optimizer=optim.AdamW(model.parameters()),
            epochs=10,
            batch_size=32,
            validation=0.2,
            metrics=["accuracy"],
            callbacks=[train.EMA(), train.EarlyStopping(patience=20)],
            schedule=optim.Cosine(),
            verbose=0,
        )

    return _flat("calls of fit", options.steps // 100, step)


def _folder(options: argparse.Namespace) -> int:
    """An epoch over a folder: how much of it is in memory at the same time."""
    import lamina as lm
    from lamina import data, nn, optim

    model = nn.Sequential(nn.Conv2d(3, 4, 3, rng=0), nn.GlobalAvgPool2d(), nn.Linear(4, 2, rng=1))
    fit = {"loss": nn.CrossEntropyLoss(), "optimizer": optim.SGD(model.parameters(), 0.1), "verbose": 0}
    with tempfile.TemporaryDirectory() as place:
        _fill(Path(place), options.images)
        loader = data.Loader(data.ImageFolder(place), batch_size=_BATCH)
        lm.fit(model, loader, epochs=1, **fit)  # what is imported and kept for good is so now
        before = resident()
        tracemalloc.start()
        start, peaks = tracemalloc.get_traced_memory()[0], []
        lm.fit(
            model,
            loader,
            epochs=1,
            callbacks=[lm.train.LambdaCallback(on_batch_end=lambda run: peaks.append(resident()))],
            **fit,
        )
        peak = tracemalloc.get_traced_memory()[1] - start
        tracemalloc.stop()
    batch = _BATCH * _SIDE * _SIDE * 3 * 4
    grew = max(peaks) - before
    much = peak > 12 * batch or grew > 12 * batch + 2 * _MOST  # tracemalloc's own notes are in memory, too
    print(
        f"a folder of {options.images:,} images, {options.images / _BATCH * batch / 1e6:.1f} MB in all, "
        f"{batch / 1e6:.2f} MB a batch: held {peak / 1e6:.2f} MB, resident {grew / 1e6:+.1f} MB: "
        f"{'TOO MUCH' if much else 'a few batches'}",
        flush=True,
    )
    return int(much)


def _fill(folder: Path, count: int) -> None:
    """Two classes of small images, a hundred different ones under many names."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(count):
        path = folder / "ab"[i % 2] / f"{i}.png"
        if i < 100:
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (_SIDE, _SIDE, 3)).astype(np.uint8)).save(path)
        else:
            path.hardlink_to(folder / "ab"[i % 2] / f"{i % 100}.png")


RUNS: dict[str, Callable[[argparse.Namespace], int]] = {
    "images": _images,
    "sequences": _sequences,
    "fits": _fits,
    "folder": _folder,
}
