"""The extension as built and as a process meets it: symbols, machine code, threads, fork, memory, modes."""

import ctypes
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lamina as lm
from lamina import config, ops
from tests.fresh import image, run

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    os.environ.get("LAMINA_BACKEND") == "numpy", reason="asked to run without _core"
)
linux_x86 = pytest.mark.skipif(
    platform.machine() != "x86_64" or not sys.platform.startswith("linux"), reason="x86-64 Linux only"
)


# The binary ---------------------------------------------------------------------------------------------


def _tool(name, *arguments):
    if shutil.which(name) is None:
        pytest.skip(f"{name} (binutils) is not installed")
    return subprocess.run([name, *arguments], capture_output=True, text=True, check=True).stdout


def test_the_extension_exports_its_module_and_nothing_else():
    lines = _tool("nm", "--dynamic", "--defined-only", config.backend().__file__).splitlines()
    assert [line.split()[-1] for line in lines] == ["PyInit__core"]


ISAS = [name for name in lm.build_info().get("isas_built", []) if name != "baseline"]


def _object(isa):
    """The object file of an instruction set, in the build folder that LAMINA_BUILD_DIR names."""
    folder = os.environ.get("LAMINA_BUILD_DIR")
    if not folder:
        pytest.skip("LAMINA_BUILD_DIR does not name a build folder")
    (found,) = Path(folder).rglob(f"isa_{isa}.cpp.o")
    return found


@pytest.mark.parametrize("isa", ["baseline", *ISAS])
def test_an_instruction_sets_object_exports_its_table_alone(isa):
    """Anything else, an inline function above all, could replace another unit's copy at link time."""
    lines = _tool("nm", "--extern-only", "--defined-only", "--demangle", str(_object(isa))).splitlines()
    names = [line.split(maxsplit=2)[2] for line in lines]
    assert [name for name in names if not name.startswith("DW.ref.")] == [f"lamina::kernels_{isa}"]


TILE = re.compile(r"<.*::(row|outer)_tile<(float|double), (\d+), (\d+), (true|false)>\(")
LINE = re.compile(r"\s*([0-9a-f]+):\s+(\S+)\s*(.*)")


def _innermost_loops(lines):
    """Runs of instructions between the target of a backward jump and that jump, with no such run inside."""
    code = [(int(m[1], 16), m[2], m[3]) for m in map(LINE.match, lines) if m]
    index = {address: i for i, (address, _, _) in enumerate(code)}
    loops = []
    for i, (address, name, operands) in enumerate(code):
        target = re.match(r"([0-9a-f]+) <", operands)
        if name.startswith("j") and target and int(target[1], 16) < address:
            loops.append((index[int(target[1], 16)], i))
    inner = [(a, b) for a, b in loops if not any(a <= c and d <= b for c, d in loops if (c, d) != (a, b))]
    return [code[a : b + 1] for a, b in inner]


def _tiles(listing):
    """-> {(tile, dtype, width, rows, flag): lines of its code}."""
    found, lines = {}, None
    for line in listing.splitlines():
        if line.endswith(">:"):
            match = TILE.search(line)
            lines = found.setdefault(match.groups(), []) if match else None
        elif lines is not None:
            lines.append(line)
    return found


@linux_x86
@pytest.mark.parametrize("isa", [name for name in ISAS if name in ("avx2", "avx512")])
def test_accumulators_of_the_tiles_stay_in_registers(isa):
    """The loop over k is multiply-adds of every row's vectors (whole rounds of them) and stores no vector."""
    tiles = _tiles(_tool("objdump", "-d", "-C", "--no-show-raw-insn", str(_object(isa))))
    most = max(int(rows) for _, _, _, rows, _ in tiles)
    assert len(tiles) == 2 * 2 * most * 4 * 2, "not every tile was found"  # half a vector to two, by halves
    assert most == {"avx2": 6, "avx512": 14}[isa]
    register = {"avx2": 32, "avx512": 64}[isa]
    for (kind, dtype, width, rows, flag), lines in tiles.items():
        name = f"{kind}_tile<{dtype}, {width}, {rows}, {flag}>"
        whole, rest = divmod(int(width) * {"float": 4, "double": 8}[dtype], register)
        names = {16: "%xmm", 32: "%ymm", 64: "%zmm"}
        wanted = [names[register]] * whole + ([names[rest]] if rest else [])  # of a row
        loops = [loop for loop in _innermost_loops(lines) if any(m.startswith("vfmadd") for _, m, _ in loop)]
        assert loops, f"{name} has no loop of multiply-adds"
        for loop in loops:
            adds = [operands for _, m, operands in loop if m.startswith("vfmadd")]
            rounds = len(adds) // (int(rows) * len(wanted))
            for wide in set(wanted):
                found = sum(wide in operands for operands in adds)
                assert found == rounds * int(rows) * wanted.count(wide) > 0, f"{name}: {found} of {wide}"
            stores = [
                f"{m} {operands}"
                for _, m, operands in loop
                if m.startswith("vmov") and operands.rstrip().endswith(")")
            ]
            assert not stores, f"{name}: accumulators go to memory: {stores}"


# Versions, instruction sets -----------------------------------------------------------------------------


def test_one_version_everywhere():
    declared = re.search(r'^version = "([^"]+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    assert lm.__version__ == declared
    assert f"\n## [{declared}]" in (ROOT / "CHANGELOG.md").read_text()
    if list(importlib.metadata.distributions(name="lamina")):  # not so where only PYTHONPATH leads to it
        assert importlib.metadata.version("lamina") == declared


def test_an_unknown_instruction_set_is_refused_with_the_choices():
    done = run("import lamina", check=False, LAMINA_ISA="bogus")
    assert done.returncode != 0
    assert "ImportError" in done.stderr
    choices = ", ".join(lm.available_isas())
    assert "LAMINA_ISA: 'bogus' is not an instruction set of this build and processor" in done.stderr
    assert f"; choose one of: {choices})" in done.stderr


@pytest.mark.parametrize("isa", lm.available_isas())
def test_an_instruction_set_can_be_forced(isa):
    code = "import lamina as lm; print(lm.build_info()['isa'], lm.relu(lm.Tensor([-1.0, 2.0])).numpy())"
    assert run(code, LAMINA_ISA=isa).stdout.split(maxsplit=1) == [isa, "[0. 2.]\n"]


def test_without_being_told_the_best_instruction_set_is_taken():
    done = run("import lamina as lm; print(lm.build_info()['isa'])", LAMINA_ISA=None)
    assert done.stdout.strip() == lm.available_isas()[-1]


# Denormals ----------------------------------------------------------------------------------------------

MODES = 0xFFC0  # of MXCSR: everything but the flags that operations leave behind
FLUSH = 0x8040  # results and operands below the least normal number count as zero


def _set_mxcsr(value):
    libm, environment = ctypes.CDLL("libm.so.6"), (ctypes.c_uint32 * 8)()
    assert libm.fegetenv(environment) == 0
    environment[7] = value
    assert libm.fesetenv(environment) == 0


def _mxcsr():
    environment = (ctypes.c_uint32 * 8)()
    assert ctypes.CDLL("libm.so.6").fegetenv(environment) == 0
    return environment[7]


def _every_kind_of_kernel():
    x = image(16, 24, 24, 8)
    y, ctx = ops.conv2d(x, image(16, 3, 3, 8), padding=1)
    ops.conv2d_backward(y, ctx)
    pooled, ctx = ops.avg_pool2d(y, 2)
    ops.avg_pool2d_backward(pooled, ctx)
    ops.gemm(image(100, 100), image(100, 100))
    ops.softmax(ops.tanh(image(100, 100))[0])
    ops.sgd_step(*image(3, 1000), 0.1, 0.9, False, 0.0)


@linux_x86
@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("modes", [0, FLUSH, 0x6000, 0x2040], ids=["default", "flush", "truncate", "mixed"])
def test_the_callers_floating_point_mode_comes_back(modes, threads):
    config.set_num_threads(threads)
    former = _mxcsr()
    try:
        _set_mxcsr((former & ~0xE040) | modes)
        before = _mxcsr() & MODES
        _every_kind_of_kernel()
        after = _mxcsr() & MODES
    finally:
        _set_mxcsr(former)
    assert before & 0xE040 == modes
    assert after == before


@linux_x86
@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("threads", [1, 2])
def test_denormals_are_zero_inside_kernels(dtype, threads):
    config.set_num_threads(threads)
    least = np.finfo(dtype).tiny
    small, denormal = np.sqrt(least) / 4, least / 4
    assert denormal * dtype(1) > 0  # NumPy's own arithmetic is left as it was

    def full(value, *shape):
        return np.full(shape, value, dtype)

    for value, other in [(small, small), (denormal, 1)]:  # as results, as operands
        assert not ops.gemm(full(value, 64, 64), full(other, 64, 64) / 64)[0].any()
        assert not ops.conv2d(full(value, 4, 16, 16, 8), full(other, 8, 1, 1, 8) / 8)[0].any()
    y, ctx = ops.avg_pool2d(full(denormal, 4, 16, 16, 8), 2)
    assert not y.any()
    assert not ops.avg_pool2d_backward(full(least * 2, *y.shape), ctx).any()
    p, g, v = full(1, 1000), full(0, 1000), full(least * 1.5, 1000)
    ops.sgd_step(p, g, v, 0.1, 0.5, False, 0.0)
    assert not v.any()  # a momentum that fades away ends at zero
    assert np.all(denormal * np.ones(3, dtype) > 0)
