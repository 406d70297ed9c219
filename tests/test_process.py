"""The extension within its process: threads, forks, the interpreter lock, and memory."""

import gc
import os
import platform
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import lamina as lm
from lamina import config, nn, ops, optim
from tests.fresh import image, run

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

# Threads ------------------------------------------------------------------------------------------------

NO_LIMITS = {"OMP_NUM_THREADS": None, "OMP_THREAD_LIMIT": None}
COUNT = "import lamina as lm; print(lm.get_num_threads(), lm.build_info()['cpu_limit'])"
# A product and a layer whose threads wait for each other, where OpenMP may give fewer than were asked for.
FEWER = """
import numpy as np, lamina as lm
from lamina import nn, ops
lm.set_num_threads(3)
ops.conv2d(np.ones((16, 32, 32, 16), np.float32), np.ones((16, 3, 3, 16), np.float32))
x = np.ones((1, 5, 200), np.float32)
nn.LSTM(200, 200, rng=0)(x)[0].sum().backward()
print("done")
"""
# A convolution and its normalisation, backward, with a little more memory each time until it is enough.
SHORT = """
import resource, numpy as np, lamina as lm
from lamina import nn
lm.set_num_threads(2)
net = nn.Sequential(nn.Conv2d(512, 512, 1, rng=0), nn.BatchNorm2d(512))
x = lm.Tensor(np.ones((64, 4, 4, 512), np.float32), requires_grad=True)
failed = 0
for more in range(200):
    y = net(x)
    dy = np.ones(y.shape, np.float32)
    now = int(open("/proc/self/statm").read().split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (now + more * 250_000, resource.RLIM_INFINITY))
    try:
        y.backward(dy)
    except MemoryError:
        failed += 1
    else:
        break
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        lm.config.backend().empty_cache()
print(failed)
"""
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
    limit = int(run(COUNT, **NO_LIMITS).stdout.split()[1])
    expected = min(n, limit)
    done = run(STARTED, **NO_LIMITS | {"OMP_NUM_THREADS": str(n)})
    assert done.stdout.split() == [str(expected), str(expected - 1)]


@threaded
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_affinity_limits_the_threads():
    pin = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    assert run(pin + COUNT, **NO_LIMITS).stdout.split() == ["1", "1"]
    assert run(pin + STARTED, **NO_LIMITS).stdout.split() == ["1", "0"]


@threaded
def test_binding_threads_to_processors_does_not_hide_the_others():
    free = run(COUNT, **NO_LIMITS, OMP_PROC_BIND=None).stdout.split()
    assert run(COUNT, **NO_LIMITS, OMP_PROC_BIND="true").stdout.split() == free


@threaded
@pytest.mark.parametrize(
    "setting", ["OMP_THREAD_LIMIT=1", "OMP_THREAD_LIMIT=2", "OMP_DYNAMIC=true", "OMP_MAX_ACTIVE_LEVELS=0"]
)
def test_fewer_threads_than_asked_for(setting):
    name, value = setting.split("=")
    assert run(FEWER, **NO_LIMITS | {name: value}).stdout.split() == ["done"]


@caching
@linux_x86
def test_too_little_memory_inside_a_task_is_an_error():
    (failed,) = run(SHORT).stdout.split()
    assert int(failed) > 3


@threaded
@linux_x86
def test_openmp_spins_for_a_short_time_unless_told_otherwise():
    """Its settings as libgomp prints them when it is loaded; the environment is left as it was."""
    code = "import lamina, os; print(os.environ.get('GOMP_SPINCOUNT'))"
    quiet = {"OMP_DISPLAY_ENV": "verbose", "OMP_WAIT_POLICY": None, "GOMP_SPINCOUNT": None}
    done = run(code, **quiet)
    assert "GOMP_SPINCOUNT = '2000'" in done.stderr
    assert done.stdout.strip() == "None"
    done = run(code, **quiet | {"GOMP_SPINCOUNT": "77"})
    assert "GOMP_SPINCOUNT = '77'" in done.stderr
    assert done.stdout.strip() == "77"
    assert "GOMP_SPINCOUNT = '2000'" not in run(code, **quiet | {"OMP_WAIT_POLICY": "passive"}).stderr


def test_never_more_threads_than_processors_unless_asked():
    threads, limit = map(int, run(COUNT, **NO_LIMITS | {"OMP_NUM_THREADS": "999"}).stdout.split())
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
    run(FORK)


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
    x, w = image(8, 20, 20, 8), image(16, 3, 3, 8, seed=1)
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
    assert int(run(code).stdout) < 128  # pages: less than 6 kB a step, where a step's outputs are 600 kB


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
    assert run(code).stdout.split() == [str(72.0 * 4 * 14 * 14 * 8)] * 2


def test_predictions_survive_later_ones():
    model = nn.Sequential(nn.Linear(20, 30), nn.ReLU())
    x = image(50, 20)
    first = model.predict(x)
    kept = first.copy()
    optimizer = optim.SGD(model.parameters(), 0.1)
    for seed in range(5):
        model.predict(image(50, 20, seed=seed))
        loss = nn.MSELoss()(model(x), np.zeros((50, 30), np.float32))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    np.testing.assert_array_equal(first, kept)
