"""What `import lamina` brings, and what it leaves for later."""

import os
import subprocess
import sys

import pytest

import lamina as lm


def _run(code, **environment):
    full = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=full
    ).stdout.split()


def test_heavy_modules_come_when_they_are_used():
    heavy = [
        "tqdm",
        "safetensors",
        "matplotlib",
        "pooch",
        "PIL",
        "lamina.train",
        "lamina.io",
        "lamina.datasets",
    ]
    assert _run(f"import sys, lamina; print(*[m for m in {heavy!r} if m in sys.modules])") == []


@pytest.mark.parametrize("name", lm.__all__)
def test_every_name_is_there(name):
    assert name in dir(lm)
    assert getattr(lm, name) is not None


def test_lazy_names_are_the_real_ones():
    from lamina.io import load, save
    from lamina.train import evaluate, fit

    assert (lm.fit, lm.evaluate, lm.save, lm.load) == (fit, evaluate, save, load)


def test_unknown_names():
    with pytest.raises(AttributeError, match="module 'lamina' has no attribute 'fitt'"):
        lm.fitt  # noqa: B018


def test_version():
    assert lm.__version__ == "0.1.0"


def test_import_is_quick(tmp_path):
    """At most 60 ms of processor time beyond NumPy's own, or 40 % of that on a slow machine; best of five.

    As pip leaves it: compiled to bytecode, which the first run does here.
    """
    code = (
        "from time import process_time; a = process_time(); import numpy; b = process_time(); import lamina; "
        "print(process_time() - b, b - a)"
    )
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path)}
    times = [tuple(map(float, _run(code, **compiled))) for _ in range(6)]
    assert min(own for own, _ in times) < max(0.06, 0.4 * min(numpys for _, numpys in times))
