"""Mean and max pooling: smaller maps that mind less where exactly things are.

    python examples/pooling.py [--quick]

Four filters look for edges in digits; what they find is pooled over windows of 2x2 and 4x4. Then the digits
move, pixel by pixel, and every stage is asked how much it has changed: the length of the difference over the
length of the features (the invariance of UFLDL's notes on pooling). Writes pooling.png (the maps) and
pooling_shift.png (the changes) to ./figures, and pooling.html, a page to step through with the arrow keys.
"""

import numpy as np
from _common import arguments, handwritten_digits
from matplotlib.figure import Figure

from lamina import nn, viz

FIGURE = [[1, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]]  # of CS231n's notes
SHIFTS = range(5)
POOLS = {
    "not pooled": None,
    "max, 2x2": nn.MaxPool2d(2),
    "max, 4x4": nn.MaxPool2d(4),
    "mean, 2x2": nn.AvgPool2d(2),
    "mean, 4x4": nn.AvgPool2d(4),
}


def edges():
    """28x28x1 -> 28x28x4: where it grows brighter downwards, upwards, to the right, to the left."""
    layer = nn.Conv2d(1, 4, 3, padding=1, bias=False)
    down = np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]]) / 4
    layer.weight.data[..., 0] = [down, -down, down.T, -down.T]
    return nn.Sequential(layer, nn.ReLU())


def pooled(pool, maps):
    return maps if pool is None else pool.predict(maps)


def changes(pool, x):
    """How much the features change, on average, when the images move to the right: one number a shift."""
    maps = [pooled(pool, edges().predict(np.roll(x, by, axis=2))) for by in SHIFTS]
    still = maps[0].reshape(len(x), -1)
    lengths = [np.linalg.norm(m.reshape(len(x), -1) - still, axis=1) for m in maps]
    return [np.mean(length / np.linalg.norm(still, axis=1)) for length in lengths]


def main() -> None:
    options = arguments("Pool feature maps.")
    figure = np.array(FIGURE, np.float32)[None, :, :, None]
    for name, pool in (("max", nn.MaxPool2d(2)), ("mean", nn.AvgPool2d(2))):
        print(f"{FIGURE} -> {name} {pool.predict(figure)[0, :, :, 0].tolist()}")
    data = handwritten_digits()
    x = data.x_test[: 200 if options.quick else 2000]
    viz.sliding_window(nn.MaxPool2d(4), edges().predict(x[:1]), path=options.figures / "pooling.html")

    maps = edges().predict(x[:1])
    sheet = Figure(figsize=(9, 7.5), layout="constrained")
    for row, (name, pool) in enumerate(POOLS.items()):
        shown = pooled(pool, maps)[0]
        for column in range(5):
            axes = sheet.add_subplot(5, 5, 5 * row + column + 1)
            image = x[0, :, :, 0] if column == 0 and row == 0 else shown[:, :, column - 1]
            if column > 0 or row == 0:
                axes.imshow(image, cmap="gray_r", vmin=0)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(column > 0)
            if column == 1:
                axes.set_ylabel(f"{name}\n{shown.shape[0]}x{shown.shape[1]}")
    sheet.savefig(options.figures / "pooling.png", dpi=90)

    found = {name: changes(pool, x) for name, pool in POOLS.items()}
    for name, curve in found.items():
        print(f"{name}: moved by one pixel, the features change by {curve[1]:.1%}; by four, {curve[4]:.1%}")
    sheet = Figure(figsize=(6, 3.6), layout="constrained")
    axes = sheet.add_subplot(xlabel="pixels that the digit moves", ylabel="change of the features")
    colors = {"not": "0.3", "max": "#d55e00", "mean": "#0072b2"}
    for name, curve in found.items():
        style = "--" if "2x2" in name else "-"
        axes.plot(SHIFTS, curve, style, marker="o", color=colors[name.split(", ")[0].split()[0]], label=name)
    axes.set(ylim=(0, None), xticks=SHIFTS)
    axes.legend()
    sheet.savefig(options.figures / "pooling_shift.png", dpi=120)
    print(f"pictures in {options.figures}/")


if __name__ == "__main__":
    main()
