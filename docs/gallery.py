"""Make gallery.md: the examples in the order of the lecture, a picture and a few sentences for each.

    python docs/gallery.py [--quick] [NAME ...]

Runs the examples (all, or those named), takes a picture of each into docs/images/gallery and writes the page.
--quick runs all for seconds; --text runs none and writes the page alone. Needs matplotlib, and Chromium for
the picture of a page.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parent
EXAMPLES = DOCS.parent / "examples"
PICTURES = DOCS / "images" / "gallery"
WIDTH = 960  # pixels of a picture, at most
BYTES = 60_000  # of its file, at most


INTRODUCTION = """Every picture is made by an example of less than 100 lines, in the order of the lecture;
`python docs/gallery.py` makes this page of them."""


class Example(NamedTuple):
    """An example, the one of its files that is shown, and what there is to see."""

    name: str
    picture: str
    text: str
    quick: bool = False  # whether a run of seconds shows it


SECTIONS: dict[str, list[Example]] = {
    "Autoencoders and sparsity": [
        Example(
            "first_autoencoder",
            "autoencoder_reconstructions.png",
            "An autoencoder learns to give back what it is given, here through 100 numbers instead of "
            "784. Above the digits, below what came back.",
            quick=True,
        ),
        Example(
            "denoising",
            "denoising.png",
            "Shown spoilt digits and asked for the whole ones, an autoencoder has to learn what "
            "digits look like. It fills in the pixels that were taken away and takes off the noise.",
            quick=True,
        ),
        Example(
            "sparse_autoencoder",
            "sparse_units.png",
            "100 hidden units look at patches of images, and each may be active for one patch in a "
            "hundred. The input that excites a unit most is an edge, at a place and an angle of its "
            "own; without the constraint hardly any unit finds one.",
        ),
        Example(
            "autoencoder_family",
            "family_reconstructions.png",
            "Dense, sparse, k-sparse, contractive, convolutional and stacked autoencoders read the "
            "same digits. What each gives back, how active its units are, and a map of digits in two "
            "numbers.",
            quick=True,
        ),
    ],
    "k-sparse autoencoders": [
        Example(
            "k_sparse_mnist",
            "k_sparse_filters.png",
            "Only the k most active of the hidden units may speak. With large k their filters are "
            "local strokes, with small k they are nearly whole digits.",
        ),
    ],
    "Convolutions and features": [
        Example(
            "shared_weights",
            "shared_weights.png",
            "A feature may be connected to all pixels, to a window, or to a window with weights that "
            "all places share: 904,320, 29,952 or 208 parameters for as many features. The shared "
            "ones lose least when the digits are moved.",
            quick=True,
        ),
        Example(
            "conv_by_hand",
            "conv_5x5x3.html",
            "The lecture's convolution: a 5x5x3 volume with a border of zeros, two filters, stride 2. "
            "The window moves by the arrow keys, and each of the 18 numbers is written out as the sum "
            "that it is. `viz.sliding_window` makes such a page of any convolution or pooling.",
        ),
    ],
    "Pooling": [
        Example(
            "pooling",
            "pooling_shift.png",
            "What four edge filters find in a digit is pooled, by maximum or mean. When the digit "
            "moves, pooled features change less, those of larger windows least.",
            quick=True,
        ),
    ],
    "Convolutional neural networks": [
        Example(
            "convnet",
            "convnet.png",
            "An image's way through seven layers with weights: convolution, relu, convolution, relu, "
            "pooling, three times, ten maps each, and a dense layer. Every column is a volume, on the "
            "right are the best classes.",
        ),
        Example(
            "train_lenet_mnist",
            "lenet_mistakes.png",
            "LeNet-5 reads handwritten digits, 98.9 % of MNIST's test images after three epochs. "
            "These are some of those that it gets wrong.",
        ),
    ],
    "Recurrent neural networks": [
        Example(
            "rnn_diagrams",
            "rnn_unrolled.png",
            "A network with a loop, folded and unfolded in time. All steps share their weights, so 5 "
            "and 500 steps have the same number of parameters.",
        ),
    ],
    "Sequences in, out, or both": [
        Example(
            "one_to_one",
            "one_to_one.png",
            "One step of a recurrent network is a dense network: it has no past to look at.",
            quick=True,
        ),
        Example(
            "one_to_many",
            "one_to_many.png",
            "The number of a tune goes in, its notes come out, each fed back as the next input. Where "
            "a note is followed by different ones, the state knows which.",
            quick=True,
        ),
        Example(
            "many_to_one",
            "many_to_one.png",
            "A review goes in word by word, and the last state says whether it praises. Counting "
            "words does not do: the order matters.",
            quick=True,
        ),
        Example(
            "many_to_many",
            "many_to_many.png",
            "Every symbol gets a label. How many brackets are open, the past decides; which symbol "
            "comes next, only a network that reads both ways can know.",
            quick=True,
        ),
        Example(
            "encoder_decoder",
            "encoder_decoder.png",
            "Sequences of unequal lengths: one network reads, another writes. It is taught with the "
            "right symbols before it and used with its own.",
            quick=True,
        ),
    ],
    "Long short-term memory": [
        Example(
            "gradient_lags",
            "gradient_lags.png",
            "How much the loss at the end feels an input some steps before. In a plain recurrent "
            "network the gradient falls or grows like a power of the lag; the cell of an LSTM carries "
            "it as far as its forget gate is open.",
            quick=True,
        ),
        Example(
            "lstm_cell_step",
            "lstm_memory.png",
            "The first of twenty numbers has to be named after the last. The cell's states keep it "
            "while noise goes by.",
            quick=True,
        ),
        Example(
            "char_rnn",
            "char_rnn_loss.png",
            "A network of characters reads a text and learns to predict what comes next. What it "
            "writes grows more like the text as the loss falls.",
            quick=True,
        ),
        Example(
            "interpretable_units",
            "unit_quotes.png",
            "One cell of a network of characters has found out about quotes: the colours are its "
            "state while it reads.",
            quick=True,
        ),
    ],
}


def page() -> str:
    """The text of gallery.md."""
    lines = ["# The lecture in pictures", "", INTRODUCTION, ""]
    for title, examples in SECTIONS.items():
        lines += [f"## {title}", ""]
        for example in examples:
            text = example.text + " (A quick run.)" * example.quick
            lines += [f"### [{example.name}.py](../examples/{example.name}.py)", "", text, ""]
            lines += [f"![{example.name}](images/gallery/{example.name}.png)", ""]
    return "\n".join(lines)


def shrink(source: Path, target: Path) -> None:
    """The picture at most WIDTH wide and BYTES long: first by fewer colours, then by fewer pixels."""
    from PIL import Image

    with Image.open(source) as found:
        image = found.convert("RGB")
    for width in (WIDTH, WIDTH * 2 // 3, WIDTH // 2):
        image.thumbnail((width, 2 * width), Image.Resampling.LANCZOS)
        for colors in (256, 64, 16):
            image.quantize(colors, dither=Image.Dither.NONE).save(target, optimize=True)
            if target.stat().st_size <= BYTES:
                return
    raise ValueError(f"{target} has {target.stat().st_size:,} bytes, expected at most {BYTES:,}")


def photograph(source: Path) -> Path:
    """A picture of a page."""
    target = source.with_suffix(".shot.png")
    options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1000,960"]
    command = ["chromium", *options, f"--screenshot={target}", source.resolve().as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return target


def make(example: Example, *, quick: bool) -> None:
    """Run an example and take its picture."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--quick"] if quick else []
        command = [sys.executable, EXAMPLES / f"{example.name}.py", "--figures", folder, *options]
        subprocess.run(command, check=True)
        source = Path(folder) / example.picture
        source = photograph(source) if source.suffix == ".html" else source
        shrink(source, PICTURES / f"{example.name}.png")


def main() -> None:
    """Make the pictures that are wanted, and the page."""
    parser = argparse.ArgumentParser(description="Make docs/gallery.md.")
    parser.add_argument("names", nargs="*", help="examples to run (default: all)")
    parser.add_argument("--quick", action="store_true", help="run them for seconds")
    parser.add_argument("--text", action="store_true", help="run none")
    options = parser.parse_args()
    PICTURES.mkdir(parents=True, exist_ok=True)
    for example in (example for examples in SECTIONS.values() for example in examples):
        if not options.text and (not options.names or example.name in options.names):
            print(f"\n{example.name}", flush=True)
            make(example, quick=options.quick or example.quick)
    (DOCS / "gallery.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
