"""The choice of the backend, of the threads and of the random numbers."""

import os
import subprocess
import sys

import numpy as np
import pytest

from lamina import config, ops, reference


def _run(code, **environment):
    """Run code in a fresh interpreter that finds lamina where this one does."""
    path = os.pathsep.join(part for part in sys.path if part)
    full = {**os.environ, "PYTHONPATH": path, **environment}
    return subprocess.run(
        [sys.executable, "-c", code], env=full, capture_output=True, text=True, check=False, timeout=60
    )


def test_a_with_statement_restores_the_backend():
    before = config.backend()
    with config.use_backend("numpy"):
        assert config.backend() is reference
        assert config.available_isas() == ["numpy"]
        assert config.build_info()["backend"] == "numpy"
        with config.use_backend("numpy"):
            pass
        assert config.backend() is reference
    assert config.backend() is before


def test_a_with_statement_restores_the_backend_after_an_error():
    before = config.backend()
    with pytest.raises(RuntimeError, match="inside"), config.use_backend("numpy"):
        raise RuntimeError("inside")
    assert config.backend() is before


def test_the_backend_can_change_between_forward_and_backward():
    x = np.random.default_rng(0).standard_normal((2, 5, 5, 3)).astype(np.float32)
    w = np.ones((4, 3, 3, 3), np.float32)
    y, ctx = ops.conv2d(x, w)
    right = ops.conv2d_backward(y, ctx)
    with config.use_backend("numpy"):
        found = ops.conv2d_backward(y, ctx)
    for a, b in zip(found[:2], right[:2], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_an_unknown_backend_is_refused():
    before = config.backend()
    with pytest.raises(ValueError, match="unknown backend 'gpu': expected 'cpp' or 'numpy'"):
        config.use_backend("gpu")
    assert config.backend() is before


def test_the_environment_chooses_numpy_and_then_needs_no_extension():
    code = """
import sys
sys.modules["lamina._core"] = None
from lamina import config, ops
import numpy
print(config.backend().__name__, ops.relu(numpy.float32(-1))[0])
"""
    done = _run(code, LAMINA_BACKEND="numpy")
    assert done.stdout.split() == ["lamina.reference", "0.0"], done.stderr


def test_without_the_extension_the_error_says_how_to_build_it():
    done = _run("import sys; sys.modules['lamina._core'] = None; import lamina.config", LAMINA_BACKEND="")
    assert done.returncode != 0
    assert "ImportError: lamina: the compiled extension lamina._core cannot be imported" in done.stderr
    assert "pip install ." in done.stderr
    assert "LAMINA_BACKEND=numpy" in done.stderr


def test_an_unknown_backend_in_the_environment_is_refused():
    done = _run("import lamina.config", LAMINA_BACKEND="gpu")
    assert "LAMINA_BACKEND: unknown backend 'gpu': expected 'cpp' or 'numpy'" in done.stderr


def test_an_unknown_instruction_set_is_refused_without_the_advice_to_build():
    choices = ", ".join(pytest.importorskip("lamina._core").available_isas())
    done = _run("import lamina", LAMINA_ISA="foo", LAMINA_BACKEND="cpp")
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith("ImportError: lamina: the environment variable LAMINA_ISA ")
    assert "'foo'" in message
    assert choices in message
    assert "pip install" not in done.stderr
    assert "LAMINA_BACKEND" not in message


@pytest.mark.usefixtures("machine")
def test_threads():
    before = config.get_num_threads()
    assert before >= 1
    try:
        config.set_num_threads(np.int64(1))
        assert config.get_num_threads() == 1
    finally:
        config.set_num_threads(before)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("n", [0, -1, 1025, 10**20])
def test_too_few_threads(n):
    with pytest.raises(ValueError, match=f"set_num_threads: n must be from 1 to 1024, got {n}"):
        config.set_num_threads(n)


@pytest.mark.parametrize("n", [1.0, "2", None, True])
def test_threads_that_are_no_number(n):
    with pytest.raises(TypeError, match="set_num_threads: n must be an int, got "):
        config.set_num_threads(n)


def test_without_threadpoolctl_the_numpy_backend_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    with config.use_backend("numpy"):
        assert config.get_num_threads() == 1
        with pytest.raises(RuntimeError, match="can only be set with threadpoolctl"):
            config.set_num_threads(2)


def test_build_info_names_the_active_backend():
    info = config.build_info()
    assert info["backend"] in ("cpp", "numpy")
    assert info["numpy"] == np.__version__
    assert len(config.available_isas()) >= 1


def test_the_precision_of_convolutions():
    assert config.get_conv_precision() == "fast"
    with config.set_conv_precision("high"):
        assert config.build_info()["conv_precision"] == "high"
        with pytest.raises(RuntimeError, match="inside"), config.set_conv_precision("fast"):
            raise RuntimeError("inside")
        assert config.get_conv_precision() == "high"
        with pytest.raises(
            ValueError, match="set_conv_precision: unknown precision 'low': expected 'fast' or 'high'"
        ):
            config.set_conv_precision("low")
    assert config.get_conv_precision() == "fast"


def test_the_environment_chooses_the_precision_of_convolutions():
    code = "import lamina; print(lamina.get_conv_precision())"
    assert _run(code, LAMINA_CONV_PRECISION="high").stdout.split() == ["high"]
    assert _run(code, LAMINA_CONV_PRECISION="").stdout.split() == ["fast"]
    message = _run(code, LAMINA_CONV_PRECISION="low").stderr
    assert "LAMINA_CONV_PRECISION: unknown precision 'low': expected 'fast' or 'high'" in message


@pytest.fixture
def own_rng(monkeypatch):
    monkeypatch.setattr(config, "_rng", config.rng())


@pytest.mark.usefixtures("own_rng")
def test_the_same_seed_gives_the_same_numbers():
    config.manual_seed(7)
    first = config.rng().random(5)
    config.manual_seed(7)
    np.testing.assert_array_equal(config.rng().random(5), first)
    config.manual_seed([7, 8])
    assert not np.array_equal(config.rng().random(5), first)


@pytest.mark.usefixtures("own_rng")
@pytest.mark.parametrize(
    ("seed", "error"), [(None, TypeError), (-1, ValueError), ("a", TypeError), (1.5, TypeError)]
)
def test_a_seed_that_is_none(seed, error):
    with pytest.raises(error):
        config.manual_seed(seed)
