"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina import config
from lamina.autoencoders import Autoencoder
from lamina.nn import Module
from lamina.optim import Adam
from lamina.train.callbacks import Callback, Run
from lamina.train.checks import check_loss, check_model, check_optimizer, check_watched, checked_callbacks
from lamina.train.diagnosis import Diverged, diagnose
from lamina.train.evaluate import Averages, Loss, compared, evaluate_samples, modes_kept, own_loss, scalar
from lamina.train.history import History
from lamina.train.metrics import Metric, resolve
from lamina.train.progress import Progress
from lamina.train.samples import Samples, check_batch_size


def fit(
    model: Module,
    x: npt.ArrayLike,
    y: npt.ArrayLike | None = None,
    *,
    loss: Loss | None = None,
    optimizer: Any = None,
    epochs: int,
    batch_size: int = 128,
    validation: tuple[npt.ArrayLike, npt.ArrayLike] | float | None = None,
    metrics: Sequence[str | Metric] = (),
    callbacks: Sequence[Callback] = (),
    seed: int | None = None,
    verbose: int = 1,
) -> History:
    """Train a model on x and y.

    Args:
        model: the module; trained in place; its mode is put back afterwards.
        x, y: samples and targets, first axis N of both (N > 0); arrays or memory maps, of which only one
            batch at a time is read. y None: x, of an `Autoencoder`.
        loss: called with the prediction (Tensor) and the batch of targets (ndarray), returns a Tensor of
            one number, the mean over the batch: a loss of `nn`, or any function. None: an
            `Autoencoder`'s own.
        optimizer: made with the model's parameters, as `optim.Adam(model.parameters(), 1e-3)`; those that it
            was not given stay as they are. None, with an autoencoder's own loss: Adam at 1e-3.
        epochs: passes over the data.
        batch_size: samples a step (default 128); the last batch of an epoch may be smaller, none is dropped.
        validation: (x, y), or the share of samples drawn at random (by `seed`) to validate with.
        metrics: names ("accuracy", ...) or functions (y_pred, y_true) -> float on arrays. In training
            they come from the predictions made before each step, so they lag a little behind.
        callbacks: called in this order.
        seed: of the shuffling, a new order each epoch. None draws from the library's generator, which
            `manual_seed` sets and which dropout uses too. The same seeds give the same weights, bit for bit.
        verbose: 0 nothing, 1 a line an epoch and a bar on a terminal, 2 lines only.

    Returns:
        The history. Ctrl-C ends the run cleanly: the history has the whole epochs until then.

    Raises:
        TypeError: options of the wrong kind, missing targets, a class where an instance is due, masks.
        ValueError: no samples, lengths that differ, options out of range, an optimiser with no parameter of
            this model, a callback that monitors what will not be measured.
        Diverged: the loss became NaN or infinite. The message says why as far as it can be known;
            its attribute `history` has the whole epochs until then.
    """
    _check_options(epochs, batch_size, verbose)
    check_model("fit", model)
    if y is None and not isinstance(model, Autoencoder):
        raise TypeError("fit: the targets y are missing; a model that gives back its input takes x as y, too")
    if loss is None and optimizer is None and isinstance(model, Autoencoder):
        optimizer = Adam(model.parameters(), 1e-3)
    loss = own_loss(model) if loss is None else loss
    check_loss("fit", loss)
    check_optimizer(optimizer, model, loss)
    callbacks = checked_callbacks(callbacks)
    named = resolve(metrics)
    rng = config.rng() if seed is None else config.seeded("fit: seed", seed)
    samples, held_out = Samples(x, x if y is None else y, who="fit"), None
    if isinstance(validation, (int, float, np.floating)) and not isinstance(validation, bool):
        samples, held_out = samples.split(float(validation), rng, "fit")
    elif validation is not None:
        held_out = _validation_pair(validation)
    check_watched(callbacks, ["loss", *named], validated=held_out is not None)

    run = Run(model, optimizer, epochs)
    progress = Progress(epochs, len(samples), int(verbose))
    began: list[Callback] = []
    with modes_kept(model):
        try:
            for callback in callbacks:
                began.append(callback)
                callback.on_train_begin(run)
            for run.epoch in range(1, epochs + 1):
                _schedule(model, (run.epoch - 1) / epochs)
                _epoch(run, samples, held_out, loss, named, callbacks, batch_size, rng, progress)
                if run.stop_reason is not None:
                    run.history.stopped = run.stop_reason
                    break
        except KeyboardInterrupt:
            run.history.stopped = "interrupted"
            progress.say(f"interrupted in epoch {run.epoch}; {run.history.epochs} whole epochs kept")
        finally:
            _schedule(model, 1.0)
            progress.close()
            for callback in began:
                callback.on_train_end(run)
    return run.history


def _epoch(
    run: Run,
    samples: Samples,
    held_out: Samples | None,
    loss: Loss,
    metrics: dict[str, Metric],
    callbacks: Sequence[Callback],
    batch_size: int,
    rng: np.random.Generator,
    progress: Progress,
) -> None:
    """One pass over the data, then validation and the callbacks."""
    start = time.perf_counter()
    run.model.train()
    progress.begin_epoch(run.epoch)
    for callback in callbacks:
        callback.on_epoch_begin(run)
    averages = Averages(metrics)
    for rows in samples.shuffled(batch_size, rng):
        _step(run, samples, rows, loss, averages)
        progress.advance(len(rows), averages.means)
        for callback in callbacks:
            callback.on_batch_end(run)
        if run.stop_reason is not None:
            break
    run.logs = averages.means()
    seconds = time.perf_counter() - start
    if held_out is not None:
        measured = evaluate_samples(run.model, held_out, loss, metrics, batch_size)
        run.logs.update({f"val_{name}": value for name, value in measured.items()})
    run.history.record(run.logs, seconds)
    progress.end_epoch(run.epoch, run.logs, seconds)
    for callback in callbacks:
        callback.on_epoch_end(run)


def _step(run: Run, samples: Samples, rows: npt.NDArray[np.intp], loss: Loss, averages: Averages) -> None:
    """Forward, backward, update."""
    x, y = samples.take(rows)
    run.optimizer.zero_grad()
    y_pred, value = compared("fit", run.model, loss, x, y)
    assert value is not None
    run.loss = scalar("fit", value)
    if not math.isfinite(run.loss):
        run.history.stopped = "diverged"
        where = f"fit: the loss became {run.loss} in epoch {run.epoch}, step {run.step + 1}"
        raise Diverged(f"{where}: {diagnose(run.model, x, y, y_pred.data)}", run.history)
    value.backward()
    run.optimizer.step()
    run.step += 1
    averages.add(run.loss, y_pred.data, y)


def _schedule(model: Module, done: float) -> None:
    """Tell an autoencoder what share of the epochs is done."""
    if isinstance(model, Autoencoder):
        model.schedule(done)


def _validation_pair(validation: Any) -> Samples:
    if not isinstance(validation, (tuple, list)) or len(validation) != 2:
        raise TypeError(
            f"fit: validation must be (x, y) or a share such as 0.1, got {type(validation).__name__}"
        )
    return Samples(*validation, who="fit: validation")


def _check_options(epochs: object, batch_size: object, verbose: object) -> None:
    check_batch_size("fit", batch_size)
    if isinstance(epochs, bool) or not isinstance(epochs, (int, np.integer)):
        raise TypeError(f"fit: epochs must be an int, got {epochs!r}")
    if epochs < 1:
        raise ValueError(f"fit: epochs is {epochs}, expected at least 1")
    if not isinstance(verbose, (int, np.integer)) or verbose not in (0, 1, 2):
        raise ValueError(f"fit: verbose is {verbose!r}, expected 0, 1 or 2")
