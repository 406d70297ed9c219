"""What every test can ask for: each machine the library can be, and a deterministic Hypothesis."""

import os
from dataclasses import dataclass

import hypothesis
import pytest

from lamina import config
from tests.benchmark import BENCH

hypothesis.settings.register_profile(
    "deterministic",
    derandomize=True,
    deadline=None,
    max_examples=25,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("deterministic")


@dataclass(frozen=True)
class Machine:
    """A backend; of the compiled one also an instruction set and a number of threads."""

    backend: str
    isa: str = ""
    threads: int = 1

    @property
    def name(self) -> str:
        return f"{self.isa}-{self.threads}" if self.isa else self.backend


def machines(threads=(1, 2, 3)):
    """The NumPy backend and, unless LAMINA_BACKEND=numpy, every instruction set on each count of threads."""
    if os.environ.get("LAMINA_BACKEND") == "numpy":
        return [Machine("numpy")]
    compiled = [Machine("cpp", isa, n) for isa in config.available_isas() for n in threads]
    return [*compiled, Machine("numpy")]


def switched_to(machine):
    """Compute on `machine` until the generator is closed."""
    with config.use_backend(machine.backend):
        if machine.backend == "numpy":
            yield machine
            return
        core = config.backend()
        isa, threads = core.get_isa(), core.get_num_threads()
        core.set_isa(machine.isa)
        core.set_num_threads(machine.threads)
        try:
            yield machine
        finally:
            core.set_isa(isa)
            core.set_num_threads(threads)


@pytest.fixture(params=machines(), ids=lambda machine: machine.name)
def machine(request):
    """Each machine in turn."""
    yield from switched_to(request.param)


@pytest.fixture(params=machines(threads=(2,)), ids=lambda machine: machine.name)
def two_threads(request):
    """Every instruction set on two threads, and NumPy: for what does not hang on their number."""
    yield from switched_to(request.param)


@pytest.fixture(
    params=[m for m in machines(threads=(1,)) if m.backend == "cpp"], ids=lambda machine: machine.isa
)
def isa(request):
    """Each instruction set of the compiled backend in turn; the test sets the threads."""
    yield from switched_to(request.param)


@pytest.fixture
def bench(monkeypatch):
    """Makes the modules of the benchmark importable."""
    monkeypatch.syspath_prepend(str(BENCH))
