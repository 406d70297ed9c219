"""Code in a new Python, with an environment of its own."""

import os
import subprocess
import sys

import numpy as np


def run(code, *, check=True, **environment):
    """Run code in a fresh interpreter that finds lamina where this one does; None removes a variable."""
    path = os.pathsep.join(part for part in sys.path if part)
    full = {**os.environ, "PYTHONPATH": path, **environment}
    full = {name: value for name, value in full.items() if value is not None}
    done = subprocess.run(
        [sys.executable, "-c", code], env=full, capture_output=True, text=True, check=False, timeout=120
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def image(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)
