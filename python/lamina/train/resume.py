"""The whole state of a run in a file, so that it can go on after whatever ended it."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from lamina import config, io
from lamina._whole_files import write_whole
from lamina.nn import Module
from lamina.train.callbacks import NotSaved
from lamina.train.loop import Loop

_FORMAT = 1


class Saved:
    """The file of `fit(resume=...)`: what is in it, if it is there, and how to write it anew.

    The random numbers are put back twice: where they stood when the run began, so that the samples to
    validate with are drawn again, and where they stood when the last epoch ended.
    """

    def __init__(self, path: str | os.PathLike[str], rng: np.random.Generator) -> None:
        self.path = Path(os.path.realpath(path))
        self._state = _read(self.path) if self.path.exists() else None
        if self._state is not None:
            _set_generator(rng, self._state["began"])
        self._began = _generator_state(rng)

    def restore(self, loop: Loop) -> None:
        """Give model, loss, optimiser, schedule, history and random numbers what the file has.

        ValueError if the file is of another run, TypeError for an optimiser whose state cannot be kept.
        """
        if not callable(getattr(loop.run.optimizer, "load_state_dict", None)):
            name = type(loop.run.optimizer).__name__
            raise TypeError(f"fit: resume needs an optimiser with state_dict and load_state_dict, got {name}")
        state, run = self._state, loop.run
        if state is None:
            return
        for name, now in _terms(loop).items():
            then = state["terms"].get(name)
            if then != now:
                raise ValueError(f"fit: {self.path} is of a run with {name} {then!r}, now it is {now!r}")
        try:
            run.model.load_state_dict(state["model"])
        except ValueError as error:
            raise ValueError(f"fit: {self.path} is of another model: {error}") from error
        if isinstance(loop.loss, Module):
            loop.loss.load_state_dict(state["loss"])
        run.optimizer.load_state_dict(state["optimizer"])
        if loop.schedule is not None:
            loop.rate = float(state["rate"])
            loop.schedule.load_state_dict(state["schedule"])
        for name, values in state["history"].items():
            run.history[name] = values.tolist()
        run.history.seconds = state["seconds"].tolist()
        run.epoch, run.step, run.loss = run.history.epochs, int(state["step"]), float(state["batch_loss"])
        run.stop_reason = state["stop_reason"]
        loop.progress.say(f"going on after epoch {run.epoch} of {self.path}")
        for rng, numbers in zip(_generators(loop), state["generators"], strict=True):
            _set_generator(rng, numbers)

    def restore_callbacks(self, loop: Loop) -> None:
        """Give the callbacks, which have begun, what the file has."""
        if self._state is not None:
            for callback, state in zip(loop.callbacks, self._state["callbacks"], strict=True):
                callback.load_state_dict(state)

    def keep(self, loop: Loop) -> None:
        """Write the file, whole or not at all. NotSaved if it cannot be written."""
        run = loop.run
        state = {
            "terms": _terms(loop),
            "model": run.model.state_dict(),
            "loss": loop.loss.state_dict() if isinstance(loop.loss, Module) else {},
            "optimizer": run.optimizer.state_dict(),
            "rate": loop.rate,
            "schedule": {} if loop.schedule is None else loop.schedule.state_dict(),
            "history": {name: np.array(values, np.float64) for name, values in run.history.items()},
            "seconds": np.array(run.history.seconds, np.float64),
            "step": run.step,
            "batch_loss": run.loss,
            "stop_reason": run.stop_reason,
            "began": self._began,
            "generators": [_generator_state(rng) for rng in _generators(loop)],
            "callbacks": [callback.state_dict() for callback in loop.callbacks],
        }
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.path, _packed(state))
        except OSError as error:
            raise NotSaved(error, self.path, run.history) from error


def _terms(loop: Loop) -> dict[str, Any]:
    """What a run must have in common with the one that it goes on with, by the names in messages."""
    return {
        "samples": loop.feed.samples,
        "batches": loop.feed.batches,
        "accumulate": loop.accumulate,
        "optimizer": type(loop.run.optimizer).__name__,
        "schedule": repr(loop.schedule),
        "callbacks": [type(callback).__name__ for callback in loop.callbacks],
        "metrics": list(loop.metrics),
        "validation": loop.held_out is not None,
    }


def _generators(loop: Loop) -> list[np.random.Generator]:
    """The order of the samples, the library's random numbers, and those of layers; each once."""
    found = {id(rng): rng for rng in (loop.rng, config.rng())}
    for part in (loop.run.model, loop.loss):
        for module in part.modules() if isinstance(part, Module) else ():
            for value in vars(module).values():
                if isinstance(value, np.random.Generator):
                    found[id(value)] = value
    return list(found.values())


def _generator_state(rng: np.random.Generator) -> dict[str, Any]:
    return dict(rng.bit_generator.state)


def _set_generator(rng: np.random.Generator, state: dict[str, Any]) -> None:
    if type(rng.bit_generator).__name__ != state["bit_generator"]:
        raise ValueError(f"fit: resume: the random numbers were {state['bit_generator']}'s")
    rng.bit_generator.state = state


def _packed(state: dict[str, Any]) -> bytes:
    """A safetensors file: the arrays by number, everything else as JSON that refers to them."""
    from safetensors.numpy import save as pack

    arrays: dict[str, np.ndarray[Any, Any]] = {}
    description: dict[str, Any] = {"format": _FORMAT, "run": _plain(state, arrays)}
    description["sha256"] = io._digest(description, arrays)
    return pack(arrays, metadata={"lamina": json.dumps(description, allow_nan=False)})


def _plain(value: Any, arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    """`value` in what JSON has; arrays and numbers that are not finite as objects of one entry."""
    if isinstance(value, dict):
        return {"dict": [[key, _plain(item, arrays)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        return [_plain(item, arrays) for item in value]
    if isinstance(value, np.ndarray):
        name = str(len(arrays))
        arrays[name] = np.ascontiguousarray(value).reshape(value.shape)
        return {"array": name}
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else {"float": str(float(value))}
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    raise TypeError(f"fit: resume cannot keep {value!r:.80}: a state holds numbers, texts and arrays")


def _read(path: Path) -> dict[str, Any]:
    """What `_packed` was given. ValueError for a file that is damaged or none of these."""
    arrays, description = io._contents(str(path), path.read_bytes())
    if description is None or "run" not in description:
        raise ValueError(f"fit: resume: {path} holds no state of a run; name another file")
    state: dict[str, Any] = _rebuilt(description["run"], arrays)
    return state


def _rebuilt(value: Any, arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    if isinstance(value, list):
        return [_rebuilt(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "array":
        return arrays[content].copy()
    return float(content) if kind == "float" else {key: _rebuilt(item, arrays) for key, item in content}
