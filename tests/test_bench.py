"""The main job: runs end to end, refuses what it cannot do by name, and never times a wrong result."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
BENCH = ROOT / "bench"

pytestmark = pytest.mark.skipif(
    os.environ.get("LAMINA_BACKEND") == "numpy", reason="the benchmark compares the compiled backend"
)


def run(*arguments, script=BENCH):
    command = [sys.executable, str(script), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def quick(folder, *arguments):
    """A run with next to no time for each line, and what it wrote."""
    path = folder / "result.json"
    done = run("--quick", "--seconds", 0.01, "--json", path, *arguments)
    assert done.returncode == 0, done.stderr + done.stdout
    return done, json.loads(path.read_text())


@pytest.fixture
def bench(monkeypatch):
    """Makes the modules of the benchmark importable."""
    monkeypatch.syspath_prepend(str(BENCH))


def test_a_quick_run_prints_a_table_and_writes_results_and_a_picture(tmp_path):
    done, result = quick(tmp_path, "gemm", "--picture", tmp_path / "bars.svg")
    assert result["machine"]["numpy"] == np.__version__
    assert result["runs"][0]["gflops"] > 0
    assert {row["pass"] for row in result["rows"]} == {"forward", "backward a", "backward b"}
    for row in result["rows"]:
        assert 0 < row["error"] <= max(row["bounds"].values())
        numpy, cpp = row["times"]["numpy"], row["times"]["cpp"]
        assert 0 < cpp["least"] <= cpp["quarter"] <= cpp["median"] <= cpp["three_quarters"]
        assert row["speedup"] == pytest.approx(numpy["median"] / cpp["median"])
        assert row["shape"] in done.stdout
    picture = ElementTree.parse(tmp_path / "bars.svg").getroot()
    words = {text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {"gemm  forward", "gemm  backward a", "gemm  backward b"} <= words


def test_several_numbers_of_threads_end_up_in_one_file(tmp_path):
    _, result = quick(tmp_path, "relu", "--threads", "1,2")
    assert [run["threads"] for run in result["runs"]] == [1, 2]
    assert {row["threads"] for row in result["rows"]} == {1, 2}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["gem"], "choose from gemm, conv2d, max_pool2d"),
        (["gemm", "--isa", "mmx"], "choose from baseline"),
        (["gemm", "--against", "theano"], "choose from torch, jax, keras, onnxruntime"),
        (["gemm", "--against", "torch=no/such/python"], "no interpreter at no/such/python"),
        (["gemm", "--threads", "0"], "at least 1"),
        (["gemm", "--seconds", "-1"], "above 0"),
        (["gemm", "--picture", "bars.png"], "ends in .svg"),
        (["footprint", "--dist", "nowhere"], "no such wheel or folder"),
    ],
)
def test_unknown_names_are_refused_with_the_choices(arguments, named, tmp_path):
    done = run(*arguments, "--json", tmp_path / "result.json")
    assert done.returncode == 2
    assert named in done.stderr
    assert not (tmp_path / "result.json").exists()


def test_a_library_that_is_not_there_is_left_out_with_one_line(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'jax'\" >&2\nexit 1\n")
    python.chmod(0o755)
    done, result = quick(tmp_path, "relu", "--against", f"jax={python}")
    said = [line for line in done.stdout.splitlines() if line.startswith("jax")]
    assert len(said) == 1
    assert "No module named 'jax'" in said[0]
    assert result["peers"] == {}


def test_compare_gives_ratios_and_fails_below_the_least(tmp_path):
    rows = [
        {"case": "gemm", "shape": shape, "pass": "forward", "isa": "avx2", "threads": 2, "speedup": 2.0}
        | {"times": {"numpy": {"median": 4e-3}, "cpp": {"median": 2e-3}}}
        for shape in ("small", "large")
    ]
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(json.dumps({"rows": rows}))
    rows[0]["times"]["cpp"]["median"] = 4e-3
    new.write_text(json.dumps({"rows": rows[:1]}))
    done = run(old, new, script=BENCH / "compare.py")
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if "gemm small" in line)
    assert line.split()[-4:] == ["2.0000", "4.0000", "0.50", "1.00"]
    assert "1 lines are only in" in done.stdout
    slower = run(old, new, "--least", 0.9, script=BENCH / "compare.py")
    assert slower.returncode == 1
    assert "gemm small" in slower.stderr
    old.write_text("{}")
    assert run(old, new, script=BENCH / "compare.py").returncode == 2


def _ops():
    return sorted(path.stem for path in (BENCH / "shapes").glob("*.txt"))


@pytest.mark.usefixtures("bench")
@pytest.mark.parametrize("op", _ops())
def test_every_case_has_shapes_and_right_results(op):
    import cases
    import options
    from checks import verify

    assert sorted(cases.BUILDERS) == sorted(options.KERNELS) == _ops()
    assert cases.shapes(op, quick=False)
    for case in cases.build(op, quick=True):
        for one in case.passes:
            assert not verify(one, case.arrays).wrong


@pytest.mark.usefixtures("bench")
def test_a_wrong_result_is_not_timed():
    import cases
    import kernels
    from contenders import Rivals

    def never(*_):
        raise AssertionError("a wrong result was timed")

    case = next(cases.build("relu", quick=True))
    calls = []

    def second_call_is_wrong(a):
        calls.append(a)
        (y,) = case.passes[0].run(a)
        return (y + (len(calls) == 2),)

    wrong = replace(case, passes=(replace(case.passes[0], run=second_call_is_wrong),))
    rivals = Rivals({}, 1, never)
    rivals.race = never
    (row,) = kernels.rows_of(wrong, 0.01, rivals)
    assert "y is off by 1.0e+00" in row["wrong"]
    assert row["times"] == {}


@pytest.mark.usefixtures("bench")
@pytest.mark.parametrize("line", ["m=3 n=4 sides=5", "m=3 n", "m=3 rng=4"])
def test_a_bad_line_of_shapes_is_named(line, tmp_path, monkeypatch):
    import cases

    (tmp_path / "relu.txt").write_text(f"# a comment\n{line}\n")
    monkeypatch.setattr(cases, "SHAPES", tmp_path)
    with pytest.raises(ValueError, match=r"relu.txt, line 2: '.*' is not a size or option of relu"):
        cases.shapes("relu", quick=False)


@pytest.mark.usefixtures("bench")
def test_a_peer_trains_in_its_own_process():
    import epoch
    from contenders import Rivals

    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (70, 28, 28, 1), np.uint8)
    y = np.arange(70) % 10
    digits = epoch.Digits("noise", x, y, x, y, 255)
    said = []
    rivals = Rivals({"lamina": sys.executable}, 1, said.append)
    try:
        found = epoch.run(digits, 2, rivals)
        memory = rivals.peers[0].memory()
    finally:
        rivals.close()
    assert said == []
    assert len(found["lamina"]["seconds"]) == 2
    assert found["lamina"]["accuracy"] == found["cpp"]["accuracy"]
    assert memory > 10e6


@pytest.mark.usefixtures("bench")
@pytest.mark.parametrize(
    "op", ["conv2d", "max_pool2d", "avg_pool2d", "gemm", "lstm_cell", "embedding", "topk"]
)
def test_torch_computes_the_same_where_it_is_installed(op):
    pytest.importorskip("torch")
    import cases
    import kernels
    from contenders import Rivals

    said = []
    rivals = Rivals({"torch": sys.executable}, 1, said.append)
    try:
        rows = kernels.rows_of(next(cases.build(op, quick=True)), 0.01, rivals)
    finally:
        rivals.close()
    assert said == []
    assert all("torch" in row["times"] for row in rows if row["pass"].startswith("forward"))
