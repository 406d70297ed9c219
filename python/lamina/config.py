"""Which backend computes, on how many threads, and where random numbers come from.

The compiled backend `lamina._core` is the default; `lamina.reference` is its twin in NumPy. The environment
variable `LAMINA_BACKEND=numpy` chooses the twin at import, and then the extension need not exist.
"""

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType, TracebackType
from typing import Any

import numpy as np

_MODULES = {"cpp": "lamina._core", "numpy": "lamina.reference"}


# Rounds for which a thread of GCC's OpenMP looks for work before it sleeps: about 30 us, what Python needs
# between two kernels. With its default of 300,000 (5 ms) a helper keeps the caller off the processor that
# they share where a third thread holds the other one. An LSTM step of 1 ms took 40 beside a spinning BLAS
# thread; so it takes 1.7.
_SPIN_ROUNDS = "2000"


@contextlib.contextmanager
def _short_spins() -> Iterator[None]:
    """OpenMP reads its settings once, as the extension loads it; what the user has set is kept."""
    if any(name in os.environ for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")):
        yield
        return
    os.environ["GOMP_SPINCOUNT"] = _SPIN_ROUNDS
    try:
        yield
    finally:
        del os.environ["GOMP_SPINCOUNT"]


def _load(name: str, asked_by: str = "use_backend") -> ModuleType:
    if name not in _MODULES:
        raise ValueError(f"{asked_by}: unknown backend {name!r}: expected 'cpp' or 'numpy'")
    try:
        with _short_spins():
            return importlib.import_module(_MODULES[name])
    except ImportError as error:
        if name != "cpp":
            raise
        if str(error).startswith("LAMINA_ISA: "):  # it is built, and says itself what it can do
            raise ImportError(
                f"lamina: the environment variable LAMINA_ISA asks for what cannot be had ({error}). "
                "Without the variable the best of them is chosen."
            ) from error
        raise ImportError(
            f"lamina: the compiled extension lamina._core cannot be imported ({error}). Build it with "
            "`pip install .` in the source tree (a C++ compiler is enough), or set the environment variable "
            "LAMINA_BACKEND=numpy to run on NumPy alone."
        ) from error


_backend: ModuleType = _load(os.environ.get("LAMINA_BACKEND") or "cpp", asked_by="LAMINA_BACKEND")


def backend() -> ModuleType:
    """The module that computes now: `lamina._core` or `lamina.reference`."""
    return _backend


class use_backend:
    """Compute with "cpp" (the compiled kernels) or "numpy" (their twin) from now on.

    The choice holds for the whole process. In a `with` statement the former backend comes back at the end.
    Raises ValueError for another name and ImportError where the extension is missing.
    """

    def __init__(self, name: str) -> None:
        global _backend
        self._former = _backend
        _backend = _load(name)

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _backend
        _backend = self._former


_PRECISIONS = ("fast", "high")


def _checked_precision(precision: str, asked_by: str) -> str:
    if precision not in _PRECISIONS:
        raise ValueError(f"{asked_by}: unknown precision {precision!r}: expected 'fast' or 'high'")
    return precision


_conv_precision = _checked_precision(
    os.environ.get("LAMINA_CONV_PRECISION") or "fast", asked_by="LAMINA_CONV_PRECISION"
)


class set_conv_precision:
    """Let convolutions in float32 compute "fast" (the default) or with "high" precision from now on.

    "fast" takes Winograd's algorithm for 3x3 and 5x5 filters of stride 1 where it wins: about twice as fast,
    with rounding errors some times those of a plain sum, and NaN or infinity in a pixel reaches up to three
    pixels further than the filter does. "high" never does. float64 and the NumPy backend always compute
    plain sums. A backward pass computes as its forward pass did.

    The choice holds for the whole process; the environment variable `LAMINA_CONV_PRECISION` makes it at
    import. In a `with` statement the former one comes back at the end. Raises ValueError for another name.
    """

    def __init__(self, precision: str) -> None:
        global _conv_precision
        self._former = _conv_precision
        _conv_precision = _checked_precision(precision, "set_conv_precision")

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _conv_precision
        _conv_precision = self._former


def get_conv_precision() -> str:
    """ "fast" or "high", as `set_conv_precision` has it."""
    return _conv_precision


def conv_algorithm(algorithm: str) -> str:
    """What backends call an algorithm of `ops.conv2d`: "fast" is their "auto" that may be Winograd's."""
    return "fast" if algorithm == "auto" and _conv_precision == "fast" else algorithm


def _is_compiled() -> bool:
    return _backend.__name__ == _MODULES["cpp"]


def has_plans() -> bool:
    """Whether the active backend can write down a model's kernel calls."""
    return _is_compiled()


def new_plan(inputs: Any, frozen: bool) -> Any:
    """A plan for arrays of these shapes and dtypes, on the compiled backend."""
    return _backend.Plan(inputs, frozen)


def _blas_controller() -> Any:
    try:
        library = importlib.import_module("threadpoolctl")
    except ImportError:
        return None
    return library.ThreadpoolController().select(user_api="blas")


def set_num_threads(n: int) -> None:
    """Use `n` threads, at least 1. Results do not depend on `n`.

    On the NumPy backend the threads are those of NumPy's BLAS, which need threadpoolctl to be set
    (RuntimeError without it).
    """
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)):
        raise TypeError(f"set_num_threads: n must be an int, got {n!r}")
    if not 1 <= n <= 1024:
        raise ValueError(f"set_num_threads: n must be from 1 to 1024, got {n}")
    if _is_compiled():
        _backend.set_num_threads(int(n))
        return
    blas = _blas_controller()
    if blas is None:
        raise RuntimeError(
            "set_num_threads: NumPy's threads can only be set with threadpoolctl "
            "(`pip install threadpoolctl`); without it, start Python with OMP_NUM_THREADS set"
        )
    blas.limit(limits=int(n))


def get_num_threads() -> int:
    """Threads in use: of the compiled backend, or of NumPy's BLAS (1 where that cannot be known)."""
    if _is_compiled():
        return int(_backend.get_num_threads())
    blas = _blas_controller()
    return max((int(pool["num_threads"]) for pool in blas.info()), default=1) if blas is not None else 1


def available_isas() -> list[str]:
    """Instruction sets that the active backend can run on this processor, the plainest first."""
    return list(_backend.available_isas()) if _is_compiled() else ["numpy"]


def build_info() -> dict[str, Any]:
    """How the active backend was built, and how precisely it convolves."""
    info: dict[str, Any] = {"backend": "cpp"} if _is_compiled() else {"backend": "numpy"}
    info["python"] = sys.version.split()[0]
    info["numpy"] = np.__version__
    info["conv_precision"] = _conv_precision
    if _is_compiled():
        info.update(_backend.build_info())
    return info


_rng: "np.random.Generator | None" = None  # made when first asked for: importing numpy.random takes 20 ms


def manual_seed(seed: int | Sequence[int]) -> None:
    """Restart the library's random numbers from `seed`, an int of at least 0 or a sequence of them."""
    global _rng
    _rng = seeded("manual_seed: seed", seed)


@contextlib.contextmanager
def other_rng(rng: "np.random.Generator") -> Iterator[None]:
    """Draw from `rng` for a while."""
    global _rng
    former, _rng = _rng, rng
    try:
        yield
    finally:
        _rng = former


def seeded(what: str, seed: int | Sequence[int]) -> "np.random.Generator":
    """A generator that starts from `seed`. TypeError or ValueError about `what` for anything but a seed."""
    try:
        if seed is None or isinstance(seed, bool):
            raise TypeError
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"{what} must be an int of at least 0 or a sequence of them, got {seed!r:.80}"
        ) from None


def rng() -> "np.random.Generator":
    """The generator that init, dropout and shuffling draw from when they are given none."""
    global _rng
    if _rng is None:
        _rng = np.random.default_rng()
    return _rng
