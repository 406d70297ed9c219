"""A run with everything that has a state, which may kill itself at a step. Arguments: PATH STEP SEED LOADER.

Two sources of random numbers, momentum, a schedule that watches, averages, early stopping that will strike,
and samples to validate with that are drawn at random.
"""

import os
import signal
import sys
from pathlib import Path

import numpy as np

import lamina as lm
from lamina import nn, optim, train


def run(path, kill=None, epochs=9, seed=None, loader=False, **options):
    lm.manual_seed(np.random.SeedSequence().entropy % 2**31 if seed is None and path.exists() else 5)
    rng = np.random.default_rng(7)
    x = rng.normal(size=(60, 4)).astype(np.float32)
    y = (x[:, 0] + x[:, 1] > 0).astype(np.int64)
    model = nn.Sequential(
        nn.Linear(4, 8, rng=0), nn.Dropout(0.3), nn.Tanh(), nn.Dropout(0.1, rng=3), nn.Linear(8, 2, rng=1)
    )

    def strike(run):
        if kill is not None and run.step == kill:
            os.kill(os.getpid(), signal.SIGKILL)

    callbacks = [
        train.EMA(0.8),
        train.EarlyStopping(patience=3),
        train.CSVLogger(path.with_suffix(".csv")),
        train.LambdaCallback(on_batch_end=strike),
    ]
    data = (x, y) if not loader else (lm.data.Loader(x, y, batch_size=7, augment=noise),)
    given = {"validation": (x, y)} if loader else {"validation": 0.25, "batch_size": 7}
    history = lm.fit(
        model,
        *data,
        loss=nn.CrossEntropyLoss(),
        optimizer=optim.Adam(model.parameters(), 0.05),
        epochs=epochs,
        metrics=["accuracy"],
        callbacks=callbacks,
        resume=path,
        seed=seed,
        verbose=0,
        schedule=optim.WarmUp(1, optim.Plateau(patience=0, gamma=0.7)),
        **{**given, **options},
    )
    return model, history


def noise(x, y, rng):
    return x + rng.normal(size=x.shape).astype(np.float32), y


if __name__ == "__main__":
    path, kill, seed, loader = sys.argv[1:]
    run(Path(path), kill=int(kill), seed=None if seed == "None" else int(seed), loader=loader == "True")
