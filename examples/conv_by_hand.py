"""Convolution by hand: the two worked examples of the lecture, printed and drawn.

    python examples/conv_by_hand.py

1. A 5x5 image and a 3x3 filter: the window stops at nine places, each gives one number.
2. A 5x5x3 volume, padded by 1, two 3x3x3 filters, stride 2: a 3x3x2 volume, 18 numbers.
Writes conv_5x5.png and conv_5x5x3.png to ./figures, and conv_5x5x3.html, a page on which the window moves (by
arrow keys, mouse or finger) and every number is written out as the sum that it is.
"""

import numpy as np
from _common import arguments
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lamina import nn, ops, viz

IMAGE = "11100 01110 00111 00110 01100"
FILTER = "101 010 101"
VOLUME = (
    "00102 10201 10220 20020 21220",
    "21211 21201 02101 12222 01201",
    "21120 10010 01000 10210 22111",
)
FILTERS = (
    ("-0+ 00+ +-+", "-0+ +-+ 0+0", "-++ ++0 0-0"),
    ("0+- 0-0 0-+", "-00 +-0 +-0", "-+- 0-- +00"),
)
BIASES = (1, 0)


def digits(text):
    """Rows of one character a number; + and - stand for 1 and -1."""
    values = {"+": 1, "-": -1}
    return np.array([[values.get(c) or int(c) for c in row] for row in text.split()], np.float32)


def draw(axes, matrix, title, window=None):
    """A matrix of numbers, and the window that looks at part of it: (top, left, size)."""
    height, width = matrix.shape
    axes.imshow(np.zeros((height, width)), cmap="Greys", vmin=0, vmax=1)
    for (i, j), value in np.ndenumerate(matrix):
        if not np.isnan(value):
            axes.text(j, i, f"{value:.0f}", ha="center", va="center")
    if window is not None:
        top, left, size = window
        axes.add_patch(Rectangle((left - 0.5, top - 0.5), size, size, color="tab:orange", alpha=0.4))
    axes.set(xticks=np.arange(width + 1) - 0.5, yticks=np.arange(height + 1) - 0.5, title=title)
    axes.tick_params(length=0, labelleft=False, labelbottom=False)
    axes.grid(color="0.8")


def animation(path):
    """Every stop of the window beside what has been computed until then."""
    image, kernel = digits(IMAGE), digits(FILTER)
    y, _ = ops.conv2d(image[None, :, :, None], kernel[None, :, :, None])
    y = y[0, :, :, 0]
    print(f"image\n{image}\nfilter\n{kernel}\nresult\n{y}\n")
    figure = Figure(figsize=(11, 12), layout="constrained")
    for step in range(9):
        so_far = np.where(np.arange(9).reshape(3, 3) <= step, y, np.nan)
        draw(
            figure.add_subplot(6, 3, step // 3 * 6 + step % 3 + 1),
            image,
            f"stop {step + 1}",
            (*divmod(step, 3), 3),
        )
        draw(figure.add_subplot(6, 3, step // 3 * 6 + step % 3 + 4), so_far, "", (*divmod(step, 3), 1))
    figure.savefig(path, dpi=110)


def demonstration(folder):
    """x (5, 5, 3) with a border of zeros, w (2, 3, 3, 3), stride 2 -> y (3, 3, 2)."""
    x = np.stack([digits(text) for text in VOLUME], axis=-1)
    layer = nn.Conv2d(3, 2, 3, stride=2, padding=1, fit="exact")
    layer.weight.data[:] = [np.stack([digits(text) for text in texts], axis=-1) for texts in FILTERS]
    layer.bias.data[:] = BIASES
    w, y = layer.weight.data, layer.predict(x[None])
    figure = Figure(figsize=(11, 8.5), layout="constrained")
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    for c in range(3):
        draw(figure.add_subplot(3, 4, 4 * c + 1), padded[:, :, c], f"x, channel {c}, padded", (0, 0, 3))
        for o in range(2):
            draw(figure.add_subplot(3, 4, 4 * c + 2 + o), w[o, :, :, c], f"filter {o}, channel {c}")
    for o in range(2):
        print(f"output map {o} (bias {BIASES[o]})\n{y[0, :, :, o]}\n")
        draw(figure.add_subplot(3, 4, 4 * o + 4), y[0, :, :, o], f"y, map {o} (bias {BIASES[o]})", (0, 0, 1))
    figure.savefig(folder / "conv_5x5x3.png", dpi=110)
    viz.sliding_window(layer, x, path=folder / "conv_5x5x3.html")
    first = [float((padded[:3, :3, c] * w[0, :, :, c]).sum()) for c in range(3)]
    print(f"the first: {first} of the channels and {BIASES[0]} of the bias are {y[0, 0, 0, 0]}")
    print(f"open {folder}/conv_5x5x3.html to see all sums")


if __name__ == "__main__":
    options = arguments("Convolution by hand.")
    animation(options.figures / "conv_5x5.png")
    demonstration(options.figures)
