"""The training loop."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina import config
from lamina.autoencoders import Autoencoder
from lamina.data.loader import Loader
from lamina.nn import Module
from lamina.nn.modes import modes_kept
from lamina.ops import _check as check
from lamina.optim import Adam, Schedule
from lamina.train.callbacks import Callback, Run
from lamina.train.checks import (
    check_loss,
    check_model,
    check_optimizer,
    check_rate,
    check_watched,
    checked_callbacks,
)
from lamina.train.evaluate import Loss, own_loss
from lamina.train.feed import Feed, feed_of
from lamina.train.history import History
from lamina.train.loop import Loop
from lamina.train.metrics import Metric, resolve
from lamina.train.progress import Progress
from lamina.train.resume import Saved
from lamina.train.steps import Steps

Validation = tuple[npt.ArrayLike, npt.ArrayLike] | Loader | float


def fit(
    model: Module,
    x: npt.ArrayLike | Loader,
    y: npt.ArrayLike | None = None,
    *,
    loss: Loss | None = None,
    optimizer: Any = None,
    epochs: int,
    batch_size: int | None = None,
    validation: Validation | None = None,
    metrics: Sequence[str | Metric] = (),
    callbacks: Sequence[Callback] = (),
    schedule: Schedule | None = None,
    class_weight: Any = None,
    sample_weight: npt.ArrayLike | None = None,
    accumulate: int = 1,
    resume: str | os.PathLike[str] | None = None,
    seed: int | None = None,
    verbose: int = 1,
) -> History:
    """Train a model on x and y.

    Steps of the library's own models and losses are compiled where batches are small (`lamina.compile`),
    which changes no bit of the results.

    Args:
        model: the module; trained in place; its mode is put back afterwards.
        x, y: samples and targets, first axis N of both (N > 0); arrays or memory maps, of which only one
            batch at a time is read. y None: x, of an `Autoencoder`. Or x a `data.Loader`, which has both.
        loss: called with the prediction (Tensor) and the batch of targets (ndarray), returns a Tensor of
            one number, the mean over the batch: a loss of `nn`, or any function. None: an
            `Autoencoder`'s own.
        optimizer: made with the model's parameters, as `optim.Adam(model.parameters(), 1e-3)`; those that it
            was not given stay as they are. None, with an autoencoder's own loss: Adam at 1e-3.
        epochs: passes over the data.
        batch_size: samples a batch (default 128); the last one of an epoch may be smaller, none is dropped.
        validation: (x, y), a `Loader`, or the share of samples drawn at random (by `seed`) to validate with.
        metrics: names ("accuracy", ...) or functions (y_pred, y_true) -> float on arrays. In training
            they come from the predictions made before each step, so they lag a little behind.
        callbacks: called in this order.
        schedule: of the learning rate, as `optim.Cosine()`; history["lr"] has the last one of each epoch, and
            the optimiser has its own rate back when the run ends.
        class_weight: a number for each class, in a sequence or as {label: number} (1 for the others), or
            "balanced": in inverse proportion to how often each occurs. sample_weight: one for each sample.
            The loss of a sample is multiplied by both; the mean stays one over the batch. A loss function of
            your own must then return one loss for each sample. Validation is not weighted.
        accumulate: batches whose gradients make one step, as if they were one batch (default 1).
        resume: a file in which the whole state of the run is kept after every epoch, and from which the run
            goes on if the file is there, bit for bit as if it had never stopped, even if it was killed.
            Make everything as for the first start. `model` and `optimizer` take over what is in the file.
        seed: of the shuffling, a new order each epoch. None draws from the Loader's generator if it has one,
            else from the library's, which `manual_seed` sets and which dropout uses too. The same seeds give
            the same weights, bit for bit.
        verbose: 0 nothing, 1 a line an epoch and a bar on a terminal, 2 lines only.

    Returns:
        The history. Ctrl-C ends the run cleanly: the history has the whole epochs until then.

    Raises:
        TypeError: options of the wrong kind, missing targets, a class where an instance is due, masks.
        ValueError: no samples, lengths that differ, options out of range, an optimiser with no parameter of
            this model, a callback that monitors what will not be measured, a file of another run to resume.
        Diverged: the loss became NaN or infinite. The message says why as far as it can be known;
            its attribute `history` has the whole epochs until then.
        NotSaved: a checkpoint could not be written, a full disk say. The former file is whole, the model has
            what it learned, and `history` the epochs until then. It is an OSError.
    """
    _check_options(epochs, verbose)
    accumulate = check.integer("fit", "accumulate", accumulate, 1)
    check_model("fit", model)
    if loss is None and optimizer is None and isinstance(model, Autoencoder):
        optimizer = Adam(model.parameters(), 1e-3)
    loss = own_loss(model) if loss is None else loss
    check_loss("fit", loss)
    check_optimizer("fit", optimizer, model, loss)
    rate = check_rate(schedule, optimizer)
    callbacks = checked_callbacks(callbacks)
    named = resolve(metrics)
    rng = _generator(seed, x)
    saved = None if resume is None else Saved(resume, rng)
    feed = feed_of("fit", x, y, batch_size, 128, (class_weight, sample_weight))
    if y is None and not isinstance(x, Loader) and not isinstance(model, Autoencoder):
        raise TypeError("fit: the targets y are missing; a model that gives back its input takes x as y, too")
    feed, held_out = _validation(feed, validation, rng)
    measures = ["loss", *named, *(["lr"] if schedule is not None else [])]
    check_watched(callbacks, measures, validated=held_out is not None, schedule=schedule)

    run = Run(model, optimizer, epochs, inputs=lambda: (batch.x for batch in feed.in_order()))
    progress = Progress(epochs, feed.samples, int(verbose))
    steps = Steps(model, loss, optimizer)
    loop = Loop(run, feed, held_out, loss, named, callbacks, schedule, rate, accumulate, rng, progress, steps)
    with modes_kept(model):
        _train(loop, saved)
    return run.history


def _train(loop: Loop, saved: Saved | None) -> None:
    """All epochs that are left, with the callbacks around them."""
    run, began = loop.run, []
    if loop.schedule is not None:
        loop.schedule.begin()
    try:
        if saved is not None:
            saved.restore(loop)
        for callback in loop.callbacks:
            began.append(callback)
            callback.on_train_begin(run)
        if saved is not None:
            saved.restore_callbacks(loop)
        while run.stop_reason is None and run.history.epochs < run.epochs:
            run.epoch = run.history.epochs + 1
            loop.epoch()
            if saved is not None:
                saved.keep(loop)
        run.history.stopped = run.stop_reason or run.history.stopped
    except KeyboardInterrupt:
        run.history.stopped = "interrupted"
        loop.progress.say(f"interrupted in epoch {run.epoch}; {run.history.epochs} whole epochs kept")
    finally:
        if isinstance(run.model, Autoencoder):
            run.model.schedule(1.0)
        if loop.schedule is not None:
            run.optimizer.lr = loop.rate
        loop.progress.close()
        for callback in began:
            callback.on_train_end(run)


def _generator(seed: Any, x: Any) -> np.random.Generator:
    """Where the order of the samples comes from."""
    if seed is not None:
        return config.seeded("fit: seed", seed)
    return x.rng if isinstance(x, Loader) and x.rng is not None else config.rng()


def _validation(feed: Feed, given: Any, rng: np.random.Generator) -> tuple[Feed, Feed | None]:
    """What is left to train on, and what to validate with."""
    if given is None:
        return feed, None
    if isinstance(given, Loader):
        return feed, feed_of("fit: validation", given, None, None, 128)
    if isinstance(given, (int, float, np.floating)) and not isinstance(given, bool):
        if feed.loader is not None:
            raise TypeError("fit: a share for validation goes with arrays; give it a Loader, as x is one")
        samples, held_out = feed.source.split(float(given), rng, "fit")
        return Feed(samples, feed.batch_size, feed.weights), Feed(held_out, feed.batch_size)
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise TypeError(
            f"fit: validation must be (x, y) or a share such as 0.1, or a Loader; got {type(given).__name__}"
        )
    size = 128 if feed.loader is not None else feed.batch_size
    return feed, feed_of("fit: validation", given[0], given[1], size, size)


def _check_options(epochs: object, verbose: object) -> None:
    if isinstance(epochs, bool) or not isinstance(epochs, (int, np.integer)):
        raise TypeError(f"fit: epochs must be an int, got {epochs!r}")
    if epochs < 1:
        raise ValueError(f"fit: epochs is {epochs}, expected at least 1")
    if not isinstance(verbose, (int, np.integer)) or verbose not in (0, 1, 2):
        raise ValueError(f"fit: verbose is {verbose!r}, expected 0, 1 or 2")
