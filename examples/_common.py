"""What the examples share: where figures go, and digits to train on."""

import argparse
import sys
from pathlib import Path

import numpy as np

import lamina as lm


def arguments(text: str) -> argparse.Namespace:
    """--quick for a run of seconds, --figures for the folder of the pictures."""
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--quick", action="store_true", help="a few seconds on little data")
    parser.add_argument(
        "--figures", type=Path, default=Path("figures"), help="where pictures go (default: figures)"
    )
    options = parser.parse_args()
    options.figures.mkdir(parents=True, exist_ok=True)
    return options


def handwritten_digits() -> lm.datasets.Images:
    """MNIST, or the 1,797 shipped digits enlarged to 28x28 where MNIST is neither found nor fetched."""
    try:
        return lm.datasets.mnist()
    except (FileNotFoundError, ImportError) as error:
        print(f"{error}\nMNIST is not available: taking the 1,797 shipped digits instead.\n", file=sys.stderr)
    small = lm.datasets.digits()
    return small._replace(x_train=enlarge(small.x_train), x_test=enlarge(small.x_test))


def enlarge(x: np.ndarray) -> np.ndarray:
    """(N, 8, 8, 1) -> (N, 28, 28, 1): each pixel three by three, and a margin of two."""
    large = x.repeat(3, axis=1).repeat(3, axis=2)
    return np.pad(large, ((0, 0), (2, 2), (2, 2), (0, 0)))
