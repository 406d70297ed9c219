"""What NumPy computes while a plan is recorded (lamina.nn.recorded): it does so again in every run of it.

Kernels write themselves down. Everything else that the tape runs, NumPy's own pairs and functions of users,
goes through `run`, and what NumPy does inside an op through `again`.
"""

import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])
_direct: set[Any] = set()
_refills: dict[Any, Callable[..., Any]] = {}


class _Recording(threading.local):
    """The recording of the calling thread, if there is one."""

    now: "Recording | None" = None


recording = _Recording()


def direct(function: F) -> F:
    """Say of a function that it needs no `run`: kernels do all its work, or it calls `again` itself."""
    _direct.add(function)
    return function


def refilled(refill: Callable[..., Any]) -> Callable[[F], F]:
    """Say how later runs of a plan make a function's results where they are: refill(results, *args).

    Without it the function makes new ones, which are copied there. It must do nothing else: where nobody
    reads its results, later runs leave it out.
    """

    def note(function: F) -> F:
        _refills[function] = refill
        return function

    return note


def run(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """function(*args, **options), by `again` unless kernels do it all."""
    if recording.now is None or _is_direct(function):
        return function(*args, **options)
    return again(function, *args, **options)


def again(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """function(*args, **options); where a plan is recorded, in each of its runs too.

    Its results, arrays in tuples and lists, stay where they are: later runs write there.
    """
    recorded = recording.now
    return function(*args, **options) if recorded is None else recorded.host(function, args, options)


def _is_direct(function: Callable[..., Any]) -> bool:
    return (getattr(function, "__module__", None) or "").startswith("lamina.ops") or function in _direct


class _Host(NamedTuple):
    """A function that is called again: what it makes, if that is all it does, and what it reads."""

    made: list[np.ndarray] | None
    read: range


class Recording:
    """A plan while it is recorded. hosts: NumPy's calls in their order; results: all arrays they made."""

    def __init__(self, plan: Any) -> None:
        self.plan = plan
        self.hosts: list[Callable[[], None]] = []
        self.results: list[np.ndarray] = []
        self._known: list[_Host] = []

    def __enter__(self) -> "Recording":
        self.plan.start()
        recording.now = self
        return self

    def __exit__(self, *raised: object) -> None:
        recording.now = None
        self.plan.abandon()

    def host(self, function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Call a function of arrays now, and write down that it is to be called again."""
        recording.now = None  # whatever it does inside, it does by itself in each run
        self.plan.pause()
        try:
            result = _lasting(function(*args, **options))
        finally:
            self.plan.resume()
            recording.now = self
        given = list(_arrays((args, options)))
        name, before = getattr(function, "__name__", "a function"), len(self.plan.constants)
        for array in given:
            self.plan.hold(name, array)
        self.results += [array for array in _arrays(result) if not any(array is other for other in given)]

        refill = _refills.get(function) if not _aliases(result, given) else None
        if refill is None:
            self.hosts.append(lambda: _copy(function(*args, **options), result))
        else:
            self.hosts.append(lambda: refill(result, *args, **options))
        self.plan.add_host(name)
        made = None if refill is None else list(_arrays(result))
        self._known.append(_Host(made, range(before, len(self.plan.constants))))
        return result

    def drop_unread(self) -> None:
        """Leave out what nobody reads: neither kernels, nor what the run returned, nor others that stay."""
        unread: list[int] = []
        ignored: set[int] = set()
        read = [array for _, array in self.plan.constants]
        for number, host in reversed(list(enumerate(self._known))):
            if host.made is None:
                continue
            others = [array for i, array in enumerate(read) if i not in ignored and i not in host.read]
            if not any(np.may_share_memory(mine, other) for mine in host.made for other in others):
                unread.append(number)
                ignored.update(host.read)
        self.plan.drop_hosts(unread)


refilled(np.copyto)(np.ascontiguousarray)


def _lasting(value: Any) -> Any:
    """The same with arrays that can be written: NumPy gives numbers for arrays without axes, and views."""
    if isinstance(value, np.ndarray):
        return value if value.flags.writeable else value.copy()
    if isinstance(value, np.generic):
        return np.asarray(value).copy()
    if isinstance(value, (tuple, list)):
        parts = [_lasting(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def _arrays(value: Any) -> Iterator[np.ndarray]:
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, (tuple, list, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _arrays(part)


def _aliases(result: Any, given: list[np.ndarray]) -> bool:
    return any(np.may_share_memory(array, other) for array in _arrays(result) for other in given)


def _copy(found: Any, place: Any) -> None:
    """Arrays to where those of the first run are."""
    if isinstance(place, np.ndarray):
        if not np.may_share_memory(found, place):  # else it is a view of something, or was written there
            np.copyto(place, found)
    elif isinstance(place, (tuple, list)):
        for new, old in zip(found, place, strict=True):
            _copy(new, old)
