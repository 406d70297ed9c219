"""The extension as built and as a process meets it: symbols, machine code, threads, fork, memory, modes."""

import ctypes
import gc
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import lamina as lm
from lamina import config, nn, ops, optim

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    os.environ.get("LAMINA_BACKEND") == "numpy", reason="asked to run without _core"
)
linux_x86 = pytest.mark.skipif(
    platform.machine() != "x86_64" or not sys.platform.startswith("linux"), reason="x86-64 Linux only"
)
threaded = pytest.mark.skipif(not lm.build_info().get("openmp"), reason="built without OpenMP")
caching = pytest.mark.skipif(
    "address" in lm.build_info().get("sanitizers", ""), reason="AddressSanitizer builds reuse no memory"
)


def _run(code, *, check=True, **environment):
    """Run code in a fresh interpreter that finds lamina where this one does; None removes a variable."""
    path = os.pathsep.join(part for part in sys.path if part)
    full = {**os.environ, "PYTHONPATH": path, **environment}
    full = {name: value for name, value in full.items() if value is not None}
    done = subprocess.run(
        [sys.executable, "-c", code], env=full, capture_output=True, text=True, check=False, timeout=120
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def _image(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


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


TILE = re.compile(r"<.*::(row|outer)_tile<(float|double), (\d+), (\d+), (\d+), (true|false)>\(")
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
    """-> {(tile, dtype, lanes, rows, vectors, flag): lines of its code}."""
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
    """The loop over k is MR*NV multiply-adds (or a whole number of such rounds) and stores no vector."""
    tiles = _tiles(_tool("objdump", "-d", "-C", "--no-show-raw-insn", str(_object(isa))))
    most = max(int(rows) for _, _, _, rows, _, _ in tiles)
    assert len(tiles) == 2 * 2 * most * 3 * 2, "not every tile was found"  # two vectors, one, half of one
    assert most == {"avx2": 6, "avx512": 14}[isa]
    for (kind, dtype, lanes, rows, vectors, flag), lines in tiles.items():
        name = f"{kind}_tile<{dtype}, {lanes}, {rows}, {vectors}, {flag}>"
        wide = {16: "%xmm", 32: "%ymm", 64: "%zmm"}[int(lanes) * {"float": 4, "double": 8}[dtype]]
        loops = [loop for loop in _innermost_loops(lines) if any(m.startswith("vfmadd") for _, m, _ in loop)]
        assert loops, f"{name} has no loop of multiply-adds"
        for loop in loops:
            adds = [operands for _, m, operands in loop if m.startswith("vfmadd")]
            assert len(adds) % (int(rows) * int(vectors)) == 0, f"{name}: {len(adds)} multiply-adds"
            assert all(wide in operands for operands in adds), f"{name}: narrow multiply-adds"
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
    done = _run("import lamina", check=False, LAMINA_ISA="bogus")
    assert done.returncode != 0
    assert "ImportError" in done.stderr
    choices = ", ".join(lm.available_isas())
    assert "LAMINA_ISA: 'bogus' is not an instruction set of this build and processor" in done.stderr
    assert f"; choose one of: {choices})" in done.stderr


@pytest.mark.parametrize("isa", lm.available_isas())
def test_an_instruction_set_can_be_forced(isa):
    code = "import lamina as lm; print(lm.build_info()['isa'], lm.relu(lm.Tensor([-1.0, 2.0])).numpy())"
    assert _run(code, LAMINA_ISA=isa).stdout.split(maxsplit=1) == [isa, "[0. 2.]\n"]


def test_without_being_told_the_best_instruction_set_is_taken():
    done = _run("import lamina as lm; print(lm.build_info()['isa'])", LAMINA_ISA=None)
    assert done.stdout.strip() == lm.available_isas()[-1]


# Threads ------------------------------------------------------------------------------------------------

NO_LIMITS = {"OMP_NUM_THREADS": None, "OMP_THREAD_LIMIT": None}
COUNT = "import lamina as lm; print(lm.get_num_threads(), lm.build_info()['cpu_limit'])"
# Threads that a convolution large enough for all of them adds to the process.
STARTED = """
import os, numpy as np
from lamina import config, ops
x, w = np.ones((16, 32, 32, 16), np.float32), np.ones((16, 3, 3, 16), np.float32)
before = len(os.listdir("/proc/self/task"))
ops.conv2d(x, w)
print(config.get_num_threads(), len(os.listdir("/proc/self/task")) - before)
"""


@threaded
@linux_x86
@pytest.mark.parametrize("n", [1, 2])
def test_omp_num_threads_is_obeyed(n):
    limit = int(_run(COUNT, **NO_LIMITS).stdout.split()[1])
    expected = min(n, limit)
    done = _run(STARTED, **NO_LIMITS | {"OMP_NUM_THREADS": str(n)})
    assert done.stdout.split() == [str(expected), str(expected - 1)]


@threaded
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_affinity_limits_the_threads():
    pin = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    assert _run(pin + COUNT, **NO_LIMITS).stdout.split() == ["1", "1"]
    assert _run(pin + STARTED, **NO_LIMITS).stdout.split() == ["1", "0"]


@threaded
def test_binding_threads_to_processors_does_not_hide_the_others():
    free = _run(COUNT, **NO_LIMITS, OMP_PROC_BIND=None).stdout.split()
    assert _run(COUNT, **NO_LIMITS, OMP_PROC_BIND="true").stdout.split() == free


@threaded
@linux_x86
def test_openmp_spins_for_a_short_time_unless_told_otherwise():
    """Its settings as libgomp prints them when it is loaded; the environment is left as it was."""
    code = "import lamina, os; print(os.environ.get('GOMP_SPINCOUNT'))"
    quiet = {"OMP_DISPLAY_ENV": "verbose", "OMP_WAIT_POLICY": None, "GOMP_SPINCOUNT": None}
    done = _run(code, **quiet)
    assert "GOMP_SPINCOUNT = '2000'" in done.stderr
    assert done.stdout.strip() == "None"
    done = _run(code, **quiet | {"GOMP_SPINCOUNT": "77"})
    assert "GOMP_SPINCOUNT = '77'" in done.stderr
    assert done.stdout.strip() == "77"
    assert "GOMP_SPINCOUNT = '2000'" not in _run(code, **quiet | {"OMP_WAIT_POLICY": "passive"}).stderr


def test_never_more_threads_than_processors_unless_asked():
    threads, limit = map(int, _run(COUNT, **NO_LIMITS | {"OMP_NUM_THREADS": "999"}).stdout.split())
    assert 1 <= threads <= limit
    assert limit <= (os.cpu_count() or 1)


@threaded
def test_threadpoolctl_limits_the_threads():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    before = config.get_num_threads()
    config.set_num_threads(3)
    try:
        with threadpoolctl.threadpool_limits(1, user_api="openmp"):
            assert config.get_num_threads() == 1
        assert config.get_num_threads() == 3
    finally:
        config.set_num_threads(before)


FORK = """
import os, signal, sys, numpy as np, lamina as lm
from lamina import nn, optim
lm.manual_seed(0)
lm.set_num_threads(2)
rng = np.random.default_rng(0)
x, y = rng.standard_normal((64, 16, 16, 3), np.float32), rng.integers(0, 4, 64)
model = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 256, 4))
optimizer = optim.SGD(model.parameters(), 0.01)
lm.fit(model, x, y, loss=nn.CrossEntropyLoss(), optimizer=optimizer, epochs=1, batch_size=32, verbose=0)
expected = model.predict(x)
child = os.fork()
if child == 0:
    signal.alarm(10)
    os._exit(0 if np.array_equal(model.predict(x), expected) and lm.get_num_threads() == 1 else 3)
status = os.waitpid(child, 0)[1]
sys.exit(f"the child ended with status {status}" if status else 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_computes_on_one_thread_instead_of_hanging():
    _run(FORK)


def test_kernels_release_the_interpreter():
    """Another Python thread goes on while a kernel runs; a thread that must wait advances once or twice."""
    ticks, done = 0, threading.Event()

    def tick():
        nonlocal ticks
        while not done.wait(0.001):
            ticks += 1

    a = np.ones((1500, 1500))
    former = config.get_num_threads()
    config.set_num_threads(1)
    ticker = threading.Thread(target=tick)
    ticker.start()
    try:
        advanced = []
        for _ in range(5):  # on a busy machine one try may fall into a pause
            before = ticks
            config.backend().gemm(a, a)
            advanced.append(ticks - before)
    finally:
        done.set()
        ticker.join()
        config.set_num_threads(former)
    assert max(advanced) >= 10, f"the other thread advanced {advanced} times"


def test_several_python_threads_at_once():
    x, w = _image(8, 20, 20, 8), _image(16, 3, 3, 8, seed=1)
    labels = np.arange(8) % 16

    def work(seed):
        y, conv = ops.conv2d(x + np.float32(seed), w, padding=1)
        pooled, pool = ops.max_pool2d(y, 2)
        losses, _ = ops.softmax_cross_entropy(pooled.mean(axis=(1, 2)), labels)
        dx, dw, _ = ops.conv2d_backward(ops.max_pool2d_backward(pooled, pool), conv)
        return [part.tobytes() for part in (losses, dx, dw)]

    before = config.get_num_threads()
    config.set_num_threads(2)
    try:
        alone = [work(seed) for seed in range(8)]
        with ThreadPoolExecutor(4) as pool:
            for _ in range(3):
                assert list(pool.map(work, range(8))) == alone
    finally:
        config.set_num_threads(before)


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
    x = _image(16, 24, 24, 8)
    y, ctx = ops.conv2d(x, _image(16, 3, 3, 8), padding=1)
    ops.conv2d_backward(y, ctx)
    pooled, ctx = ops.avg_pool2d(y, 2)
    ops.avg_pool2d_backward(pooled, ctx)
    ops.gemm(_image(100, 100), _image(100, 100))
    ops.softmax(ops.tanh(_image(100, 100))[0])
    ops.sgd_step(*_image(3, 1000), 0.1, 0.9, False, 0.0)


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


# Memory -------------------------------------------------------------------------------------------------

TRAINING = """
import numpy as np, lamina as lm
from lamina import nn, optim
lm.manual_seed(0)
rng = np.random.default_rng(0)
x, y = rng.standard_normal((32, 28, 28, 1), np.float32), rng.integers(0, 10, 32)
model = nn.Sequential(nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 144, 10))
optimizer, loss = optim.Adam(model.parameters()), nn.CrossEntropyLoss()
def step():
    optimizer.zero_grad()
    loss(model(x), y).backward()
    optimizer.step()
"""


@caching
def test_training_takes_no_new_memory_after_its_first_step():
    space: dict = {}
    exec(TRAINING, space)
    core = config.backend()
    for _ in range(3):
        space["step"]()

    def taken():
        stats = core.memory_stats()
        return stats["allocations"] - stats["reused"]

    blocks, allocations = taken(), core.memory_stats()["allocations"]
    for _ in range(10):
        space["step"]()
    assert taken() == blocks
    assert core.memory_stats()["allocations"] > allocations


@caching
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system has no /proc")
def test_a_long_training_keeps_its_size():
    code = (
        TRAINING
        + """
def pages():
    return int(open("/proc/self/statm").read().split()[1])
for _ in range(10): step()
before = pages()
for _ in range(100): step()
print(pages() - before)
"""
    )
    assert int(_run(code).stdout) < 128  # pages: less than 6 kB a step, where a step's outputs are 600 kB


def test_freed_memory_is_counted_and_given_back():
    core = config.backend()
    gc.collect()
    before = core.memory_stats()["in_use"]
    y = ops.relu(np.ones(1_000_000, np.float32))[0]
    assert core.memory_stats()["in_use"] >= before + y.nbytes
    view = y[10:20]
    del y
    core.empty_cache()
    assert core.memory_stats()["cached"] == 0
    np.testing.assert_array_equal(view, np.ones(10))  # a view keeps its block
    del view
    gc.collect()
    assert core.memory_stats()["in_use"] == before


def test_arrays_outlive_the_modules():
    code = """
import atexit, sys, numpy as np, lamina as lm
from lamina import ops
y, ctx = ops.conv2d(np.ones((4, 16, 16, 8), np.float32), np.ones((8, 3, 3, 8), np.float32))
class Keep:
    def __init__(self, array): self.array = array
    def __del__(self): self.array += 1
keep = Keep(y)
atexit.register(lambda: print(float(keep.array.sum())))
for name in [name for name in sys.modules if name.startswith("lamina")]: del sys.modules[name]
del lm, ops
print(float(y.sum()))
"""
    assert _run(code).stdout.split() == [str(72.0 * 4 * 14 * 14 * 8)] * 2


def test_predictions_survive_later_ones():
    model = nn.Sequential(nn.Linear(20, 30), nn.ReLU())
    x = _image(50, 20)
    first = model.predict(x)
    kept = first.copy()
    optimizer = optim.SGD(model.parameters(), 0.1)
    for seed in range(5):
        model.predict(_image(50, 20, seed=seed))
        loss = nn.MSELoss()(model(x), np.zeros((50, 30), np.float32))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    np.testing.assert_array_equal(first, kept)
