"""Runs that go on from a file, also after they were killed; disks that are full."""

import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import lamina as lm
from lamina import nn, optim, train
from tests.train.killed_run import run

ROOT = Path(__file__).parents[2]


def weights(model):
    return b"".join(array.tobytes() for array in model.state_dict().values())


@pytest.mark.parametrize(("seed", "loader"), [(None, False), (3, False), (None, True), (3, True)])
def test_killed_twice_and_nothing_is_different(tmp_path, seed, loader):
    whole, history = run(tmp_path / "whole", seed=seed, loader=loader)
    path = tmp_path / "killed"
    for kill in ("16", "33"):  # some epochs on, in the middle of one
        arguments = [str(path), kill, str(seed), str(loader)]
        done = subprocess.run(
            [sys.executable, "-m", "tests.train.killed_run", *arguments], cwd=ROOT, check=False
        )
        assert done.returncode == -signal.SIGKILL
        assert path.exists()
    model, again = run(path, seed=seed, loader=loader)
    assert weights(model) == weights(whole)
    assert dict(again) == dict(history)
    assert again.stopped == history.stopped
    logs = [p.with_suffix(".csv").read_text().splitlines() for p in (path, tmp_path / "whole")]
    assert [line.rpartition(",")[0] for line in logs[0]] == [line.rpartition(",")[0] for line in logs[1]]


def test_a_finished_run_is_not_repeated_but_may_be_prolonged(tmp_path):
    path = tmp_path / "run"
    first, history = run(path, epochs=3, seed=1)
    second, again = run(path, epochs=3, seed=1)
    assert weights(first) == weights(second)
    assert dict(again) == dict(history)
    longer, more = run(path, epochs=5, seed=1)
    straight, right = run(tmp_path / "straight", epochs=5, seed=1)
    assert more.epochs == 5
    assert dict(more) == dict(right)
    assert weights(longer) == weights(straight)


def test_it_says_that_it_goes_on(tmp_path, capsys):
    simple(tmp_path / "run", verbose=2)
    assert "going on" not in capsys.readouterr().out
    simple(tmp_path / "run", verbose=2, epochs=3)
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == f"going on after epoch 2 of {tmp_path / 'run'}"
    assert [line.split()[0] for line in lines] == ["epoch", "3/3"]


def simple(path, model=None, **options):
    model = model or nn.Sequential(nn.Linear(4, 2, rng=0))
    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    given = {"batch_size": 5, "epochs": 2, "verbose": 0, **options}
    given.setdefault("optimizer", optim.SGD(model.parameters(), 0.1))
    return lm.fit(model, x, x[:, :2], loss=nn.MSELoss(), resume=path, seed=0, **given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 10}, "is of a run with batches 4, now it is 2"),
        ({"accumulate": 2}, "a run with accumulate 1, now it is 2"),
        ({"callbacks": [train.EMA()]}, r"a run with callbacks \[\], now it is \['EMA'\]"),
        ({"schedule": optim.Cosine()}, "a run with schedule 'None', now it is"),
        ({"metrics": ["mean_squared_error"]}, r"a run with metrics \[\], now it is \['mean_squ"),
        ({"validation": 0.5}, "a run with samples 20, now it is 10"),
        (
            {"model": nn.Sequential(nn.Linear(4, 2, bias=False))},
            r"/run is of another model: load_state_dict of Sequential: 0.bias is unknown \(shape \(2,\)",
        ),
    ],
)
def test_another_run_is_refused(tmp_path, options, message):
    simple(tmp_path / "run")
    with pytest.raises(ValueError, match=message):
        simple(tmp_path / "run", **options)


def test_other_files_are_refused(tmp_path):
    lm.save(nn.Linear(2, 2), tmp_path / "net")
    with pytest.raises(ValueError, match="net holds no state of a run; name another file"):
        simple(tmp_path / "net")
    (tmp_path / "text").write_text("some text")
    with pytest.raises(ValueError, match=r"text: not a safetensors file, or truncated"):
        simple(tmp_path / "text")
    simple(tmp_path / "run")
    data = bytearray((tmp_path / "run").read_bytes())
    data[-3] ^= 1
    (tmp_path / "run").write_bytes(data)
    with pytest.raises(ValueError, match="damaged: weights or description do not match"):
        simple(tmp_path / "run")

    class Own:
        lr = 0.1

        def zero_grad(self): ...
        def step(self): ...

    with pytest.raises(TypeError, match="resume needs an optimiser with state_dict and load_state_dict, got"):
        simple(tmp_path / "new", optimizer=Own())


def test_an_interrupted_run_goes_on_at_its_last_whole_epoch(tmp_path):
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:

        def interrupt(run):
            if run.step == 6:
                os.kill(os.getpid(), signal.SIGINT)

        stop = train.LambdaCallback(on_batch_end=interrupt)
        history = simple(tmp_path / "run", callbacks=[stop], epochs=4)
        assert (history.stopped, history.epochs) == ("interrupted", 1)
    finally:
        signal.signal(signal.SIGINT, former)
    model, twin = (nn.Sequential(nn.Linear(4, 2, rng=i)) for i in (9, 0))
    again = simple(tmp_path / "run", model, callbacks=[train.LambdaCallback()], epochs=4)
    straight = simple(tmp_path / "straight", twin, callbacks=[train.LambdaCallback()], epochs=4)
    assert (again.stopped, dict(again)) == ("epochs", dict(straight))
    assert weights(model) == weights(twin)


# full disks -------------------------------------------------------------------------------------------
FULL = """
import resource, signal, sys
from pathlib import Path
import numpy as np
import lamina as lm
from lamina import nn, optim, train

folder, way = Path(sys.argv[1]), sys.argv[2]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
x = np.random.default_rng(0).normal(size=(20, 64)).astype(np.float32)
model = nn.Sequential(nn.Linear(64, 64, rng=0))
weights = {}

def fill(run):
    if run.epoch == 3:  # from now on no file may grow beyond 8 kB: the system cuts the writing off
        weights.update({k: v.copy() for k, v in run.model.state_dict().items()})
        limit = 8192 if way in ("checkpoint", "resume") else 40
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

callbacks = [train.LambdaCallback(on_steps_end=fill)]
options = {"resume": folder / "file"} if way == "resume" else {}
if way == "checkpoint":
    callbacks.append(train.Checkpoint(folder / "file"))
if way == "csv":
    callbacks.append(train.CSVLogger(folder / "file"))
if way == "events":
    callbacks.append(train.TensorBoard(folder / "file"))
try:
    lm.fit(model, x, x, loss=nn.MSELoss(), optimizer=optim.SGD(model.parameters(), 0.1), epochs=5,
           callbacks=callbacks, seed=0, verbose=0, **options)
except train.NotSaved as error:
    assert error.history.epochs == 3
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, weights[name])
    print(error)
"""


@pytest.mark.parametrize("way", ["checkpoint", "resume"])
def test_a_full_disk_is_named_and_nothing_is_lost(tmp_path, way):
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), way], capture_output=True, text=True, check=True
    )
    assert "bytes could not be saved; a former file is as it was" in done.stdout, done.stdout
    assert str(tmp_path / "file") in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    if way == "checkpoint":
        assert isinstance(lm.load(tmp_path / "file"), nn.Sequential)
        return
    # The file is of two epochs; from there the run goes on to what it would have been.
    x = np.random.default_rng(0).normal(size=(20, 64)).astype(np.float32)
    found = []
    for path in (tmp_path / "file", tmp_path / "fresh"):
        model = nn.Sequential(nn.Linear(64, 64, rng=0))
        sgd = optim.SGD(model.parameters(), 0.1)
        options = {"epochs": 5, "callbacks": [train.LambdaCallback()], "resume": path, "seed": 0}
        lm.fit(model, x, x, loss=nn.MSELoss(), optimizer=sgd, verbose=0, **options)
        found.append(weights(model))
    assert found[0] == found[1]


@pytest.mark.parametrize("way", ["csv", "events"])
def test_a_log_on_a_full_disk_ends_the_run_and_the_history_is_kept(tmp_path, way):
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), way], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"[Errno 27] File too large: '{tmp_path / 'file'}'\n"
    assert done.stderr == ""


def test_ctrl_c_in_the_midst_of_a_checkpoint_keeps_the_former_one(tmp_path, monkeypatch):
    class Interrupt(train.Callback):
        def on_steps_end(self, run):
            if run.epoch == 3:
                monkeypatch.setattr(os, "fsync", interrupt)

    def interrupt(handle):
        raise KeyboardInterrupt

    model = nn.Sequential(nn.Linear(4, 2, rng=0))
    kept = []
    history = lm.fit(
        model,
        np.ones((20, 4), np.float32),
        np.ones((20, 2), np.float32),
        loss=nn.MSELoss(),
        optimizer=optim.SGD(model.parameters(), 0.1),
        epochs=5,
        callbacks=[
            Interrupt(),
            train.Checkpoint(tmp_path / "net"),
            train.LambdaCallback(on_epoch_end=lambda run: kept.append(weights(run.model))),
        ],
        seed=0,
        verbose=0,
    )
    assert (history.stopped, history.epochs) == ("interrupted", 3)
    assert [path.name for path in tmp_path.iterdir()] == ["net"]
    assert weights(lm.load(tmp_path / "net")) == kept[-1]
    assert len(kept) == 2


def test_a_state_that_cannot_be_kept_is_named(tmp_path):
    class Odd(train.Callback):
        def state_dict(self):
            return {"thing": object()}

    with pytest.raises(TypeError, match="fit: resume cannot keep <object object"):
        simple(tmp_path / "run", callbacks=[Odd()])
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_are_not_finite_come_back(tmp_path):
    class Odd(train.Callback):
        def state_dict(self):
            return {
                "a": [float("inf"), float("-inf"), float("nan"), np.float32(0.1)],
                3: (True, None, "x", 1),
            }

        def load_state_dict(self, state):
            assert repr(state["a"][:3]) == "[inf, -inf, nan]"
            assert state["a"][3] == float(np.float32(0.1))
            assert state[3] == [True, None, "x", 1]
            loaded.append(self)

    loaded = []
    with warnings.catch_warnings():
        simple(tmp_path / "run", callbacks=[Odd()])
        simple(tmp_path / "run", callbacks=[Odd()], epochs=3)
    assert len(loaded) == 1
