"""Draw the README's picture: digits as LeNet-5 reads them, and the speed-ups of a benchmark's JSON file.

    python docs/overview.py figures/lenet5.safetensors bench-results/RESULT.json docs/images/overview.png

The model is what examples/train_lenet_mnist.py saves, the JSON file what `python bench` writes.
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import lamina as lm

ROWS, COLUMNS = 6, 8


def digits(figure, model_path):
    """A grid of test images: what the network reads, red where it is wrong."""
    data, model = lm.datasets.mnist(), lm.load(model_path)
    guesses = model.predict(data.x_test).argmax(axis=1)
    wrong = np.flatnonzero(guesses != data.y_test)
    shown = np.r_[np.arange(ROWS * COLUMNS - 3), wrong[:3]]
    for axes, i in zip(figure.subplots(ROWS, COLUMNS).flat, shown, strict=True):
        axes.imshow(data.x_test[i, :, :, 0], cmap="gray_r")
        axes.set_title(guesses[i], fontsize=9, pad=2, color="#b3261e" if i in wrong else "#1b5e20")
        axes.set_axis_off()
    right = np.mean(guesses == data.y_test)
    figure.suptitle(f"LeNet-5 reads {right:.2%} of MNIST's test images", fontsize=11)


def speedups(figure, result):
    """A bar for each kernel's geometric mean over its shapes and passes, and for each network."""
    threads = max(row["threads"] for row in result["rows"])
    groups = {}
    for row in result["rows"]:
        if row["threads"] == threads and "speedup" in row:
            groups.setdefault(row["case"], []).append(row["speedup"])
    names = list(groups)
    means = [np.exp(np.mean(np.log(groups[name]))) for name in names]
    axes = figure.subplots()
    axes.barh(names, means, color="#2a6f97")
    for y, mean in enumerate(means):
        axes.annotate(
            f"{mean:.1f}x", (mean, y), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.set_xscale("log")
    axes.set_xlim(0.5, max(means) * 2)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.invert_yaxis()
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.suptitle(f"times faster than NumPy, {threads} threads, {result['machine']['cpu']}", fontsize=11)


def main():
    """Draw both halves."""
    model_path, result_path, picture_path = sys.argv[1:]
    figure = plt.figure(figsize=(12, 5.2), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.05, 1))
    digits(left, model_path)
    speedups(right, json.loads(Path(result_path).read_text()))
    figure.savefig(picture_path, dpi=90)


if __name__ == "__main__":
    main()
