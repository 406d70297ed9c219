"""Every example runs from anywhere, without data or network, and writes its pictures."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
PICTURES = {
    "autoencoder_family": ["family_activations.png", "family_map.png", "family_reconstructions.png"],
    "char_rnn": ["char_rnn_loss.png"],
    "conv_by_hand": ["conv_5x5.png", "conv_5x5x3.html", "conv_5x5x3.png"],
    "convnet": ["convnet.png", "convnet_confusion.png"],
    "denoising": ["denoising.png"],
    "encoder_decoder": ["encoder_decoder.png"],
    "first_autoencoder": ["autoencoder_filters.png", "autoencoder_reconstructions.png"],
    "gradient_lags": ["gradient_lags.png"],
    "interpretable_units": ["unit_gates.png", "unit_quotes.png"],
    "k_sparse_mnist": ["k_sparse_filters.png", "k_sparse_reconstructions.png"],
    "lstm_cell_step": ["lstm_memory.png"],
    "many_to_many": ["many_to_many.png"],
    "many_to_one": ["many_to_one.png"],
    "one_to_many": ["one_to_many.png"],
    "one_to_one": ["one_to_one.png"],
    "pooling": ["pooling.html", "pooling.png", "pooling_shift.png"],
    "rnn_diagrams": ["lstm_unrolled.png", "rnn_types.png", "rnn_unrolled.png"],
    "shared_weights": ["shared_weights.png"],
    "sparse_autoencoder": [
        "dense_units.png",
        "sparse_activations.png",
        "sparse_patches.png",
        "sparse_units.png",
    ],
    "train_lenet_mnist": ["lenet5.safetensors", "lenet_curves.png", "lenet_mistakes.png"],
}
# What they print that they have learned, in percent and in this order: each number within its bounds, which a
# network that does not learn, or looks where it must not, does not reach.
LEARNED = {
    # of the variance, lost: dense, sparse, k-sparse, contractive, convolutional; with a code of two numbers
    "autoencoder_family": [(0, 25), (0, 50), (0, 25), (0, 30), (0, 25), (0, 65)],
    "convnet": [(80, 100)],
    "denoising": [(0, 30), (0, 10)],
    "encoder_decoder": [(95, 100)],
    "interpretable_units": [(50, 100), (0, 40), (50, 100), (0, 40)],  # quotes, before training; brackets, too
    "k_sparse_mnist": [(0, 20), (5, 30), (0, 25), (5, 30), (0, 30), (5, 30), (0, 40), (5, 30)],  # noise: 33
    "lstm_cell_step": [(90, 100)],
    "many_to_many": [(97, 100), (30, 37), (97, 100), (99, 100)],  # one way: depth, next symbol; both ways
    "many_to_one": [(97, 100), (50, 75)],  # and by counting words
    "one_to_many": [(100, 100), (0, 50)],  # and by the note before
    "one_to_one": [(98, 100)],
    # changes of features, moved by one pixel and by four: not pooled; max 2x2, 4x4; mean 2x2, 4x4
    "pooling": [
        (60, 90),
        (100, 150),
        (40, 70),
        (90, 140),
        (25, 50),
        (60, 110),
        (40, 70),
        (90, 140),
        (25, 50),
        (70, 120),
    ],
    "shared_weights": [(85, 100), (50, 90)] * 3,  # full, local, shared: as they are, moved
    "sparse_autoencoder": [(80, 100), (0, 20)],  # units that look for an edge; without sparsity
}


def test_every_example_is_tried():
    assert set(PICTURES) == {path.stem for path in EXAMPLES.glob("[!_]*.py")}
    assert all(len(path.read_text().splitlines()) < 100 for path in EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("name", PICTURES)
def test_example(tmp_path, name):
    pytest.importorskip("matplotlib")
    hidden = dict.fromkeys(("LAMINA_DATA", "LAMINA_CACHE", "XDG_DATA_DIRS"), str(tmp_path / "nothing"))
    (tmp_path / "sklearn.py").write_text("raise ImportError")
    hidden["PYTHONPATH"] = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    offline = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", "--quick"],
        cwd=tmp_path,
        env={**os.environ, **hidden, **offline},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == PICTURES[name]
    found = re.findall(r"(\d+\.\d)%", done.stdout)
    for percent, (least, most) in zip(map(float, found), LEARNED.get(name, []), strict=name in LEARNED):
        assert least <= percent <= most, done.stdout
    if name == "sparse_autoencoder":
        assert "Taking images made of fallen leaves instead" in done.stderr
    if name in ("first_autoencoder", "train_lenet_mnist"):
        assert "taking the 1,797 shipped digits instead" in done.stderr
