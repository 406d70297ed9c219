"""A training step of the k-sparse autoencoder over k, beside the dense one of the same size.

Of each k, ours, the dense step and the peers' are timed in turn; the picture shows medians.
"""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import picture
import training
from checks import disagreement
from contenders import Rivals, local
from networks import NETWORKS, Network, k_sparse_autoencoder

import lamina as lm

_KS, _QUICK_KS = (5, 10, 25, 40, 70, 100, 200, 350, 500), (5, 500)
OURS, DENSE = "k-sparse", "dense, sigmoid"
_STEPS = [digit * 10.0**power for power in range(-5, 3) for digit in (1, 2, 5)]  # seconds, of the axis
_LEFT, _TOP, _WIDTH, _HEIGHT = 70, 60, 480, 300  # pixels


def measure(quick: bool, seconds: float, rivals: Rivals, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Print a line for each k, and return them: {"k", "times": {name: median, ...}}."""
    found = []
    say(f"\nk-sparse autoencoder 784-1000-784, a training step, batch 100; {DENSE}: the same size, untied")
    for k in _QUICK_KS if quick else _KS:
        times = _times(k, seconds, rivals)
        found.append({"k": k, "times": times})
        cells = [f"{name} {value * 1e3:.2f} ms" for name, value in times.items()]
        say(f"  k = {k:<4} {'   '.join(cells)}   dense / k-sparse {times[DENSE] / times[OURS]:.2f}")
    return found


def _times(k: int, seconds: float, rivals: Rivals) -> dict[str, float]:
    network = Network(f"k_sparse_{k}", partial(k_sparse_autoencoder, k), (784,), 100, "mse")
    x, y = network.data(np.random.default_rng(0))
    ours, dense = training.Trainer(network), training.Trainer(NETWORKS["sigmoid_autoencoder"])
    weights = ours.model.state_dict()
    with lm.use_backend("numpy"):
        exact = training.losses(training.Trainer(network, like=ours.model, dtype=np.float64), x, y)
    spec = training.described(network, "training step")
    jobs = rivals.enter("training", spec, {**weights, "x": x, "y": y}, lambda got: disagreement(got, exact))
    turns = {
        OURS: local("cpp", lambda: ours.step(x, y)),
        DENSE: local("cpp", lambda: dense.step(x, y)),
    }
    return {name: spread.median for name, spread in rivals.race(turns, jobs, seconds).items()}


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Milliseconds over k (logarithmic), a line for each contender."""
    names = list(dict.fromkeys(name for row in rows for name in row["times"]))
    ks = [row["k"] for row in rows]
    top = 1.1 * max(value for row in rows for value in row["times"].values())
    width = _LEFT + _WIDTH + 210

    def at(k: int, value: float) -> tuple[float, float]:
        along = math.log(k / ks[0]) / math.log(ks[-1] / ks[0])
        return _LEFT + _WIDTH * along, _TOP + _HEIGHT * (1 - value / top)

    parts = [picture.text(width / 2, 28, "a training step, 784-1000-784, batch 100", 14, "middle")]
    for k in ks:
        x, bottom = at(k, 0)
        parts.append(f'<path d="M{x:.1f} {_TOP}V{bottom}" stroke="#eeeeee"/>')
        parts.append(picture.text(x, bottom + 16, str(k), anchor="middle"))
    parts.append(picture.text(_LEFT + _WIDTH / 2, _TOP + _HEIGHT + 36, "k, of 1000 units", 12, "middle"))
    apart = next(step for step in _STEPS if step * 10 > top)
    for i in range(int(top / apart) + 1):
        x, y = at(ks[0], apart * i)
        parts.append(f'<path d="M{x:.1f} {y:.1f}h{_WIDTH}" stroke="#dddddd"/>')
        parts.append(picture.text(x - 8, y + 4, f"{apart * i * 1e3:g} ms", anchor="end"))
    for name, colour in zip(names, picture.PEERS * 3, strict=False):
        points = [at(row["k"], row["times"][name]) for row in rows if name in row["times"]]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        key = _TOP + 20 * names.index(name)
        parts.append(f'<circle cx="{_LEFT + _WIDTH + 24}" cy="{key}" r="4.5" fill="{colour}"/>')
        parts.append(picture.text(_LEFT + _WIDTH + 34, key + 4, name))
    path.write_text(picture.page(width, _TOP + _HEIGHT + 56, parts))
