"""Every example runs from anywhere, without data or network, and writes its pictures."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
PICTURES = {
    "char_rnn": ["char_rnn_loss.png"],
    "conv_by_hand": ["conv_5x5.png", "conv_5x5x3.png"],
    "first_autoencoder": ["autoencoder_filters.png", "autoencoder_reconstructions.png"],
    "lstm_cell_step": ["lstm_memory.png"],
    "train_lenet_mnist": ["lenet5.safetensors", "lenet_curves.png", "lenet_mistakes.png"],
}


def test_every_example_is_tried():
    assert set(PICTURES) == {path.stem for path in EXAMPLES.glob("[!_]*.py")}
    assert all(len(path.read_text().splitlines()) < 100 for path in EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("name", PICTURES)
def test_example(tmp_path, name):
    pytest.importorskip("matplotlib")
    hidden = dict.fromkeys(("LAMINA_DATA", "LAMINA_CACHE", "XDG_DATA_DIRS"), str(tmp_path / "nothing"))
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
    if name in ("first_autoencoder", "train_lenet_mnist"):
        assert "taking the 1,797 shipped digits instead" in done.stderr
