"""The main job: runs end to end, refuses what it cannot do by name, and never times a wrong result."""

import json
import sys
from dataclasses import replace
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.benchmark import BENCH, needs_core, quick, run

pytestmark = needs_core


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
        (["papers", "bengio"], "unknown paper 'bengio': choose from bengio1994, hochreiter1997"),
        (["papers", "--quick", "--long"], "--quick and --long exclude each other"),
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
    "op",
    ["conv2d", "max_pool2d", "avg_pool2d", "batch_norm", "gemm", "lstm_cell", "embedding", "topk"],
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


AUTOENCODERS = ("sigmoid_autoencoder", "k_sparse_autoencoder", "conv_autoencoder")
SEQUENCES = ("char_gru_128", "tagger", "many_to_one")


@pytest.mark.usefixtures("bench")
@pytest.mark.parametrize("name", [*AUTOENCODERS, *SEQUENCES])
def test_torch_trains_the_same_networks_where_it_is_installed(name):
    pytest.importorskip("torch")
    import training
    from contenders import Rivals
    from networks import NETWORKS

    said = []
    rivals = Rivals({"torch": sys.executable}, 1, said.append)
    try:
        rows = training.rows_of(NETWORKS[name], 0.01, rivals)
    finally:
        rivals.close()
    assert said == []
    for row in rows:
        assert "wrong" not in row
        assert "torch" in row["times"]


@pytest.mark.usefixtures("bench")
def test_the_work_of_an_autoencoder_step():
    from networks import NETWORKS, flops

    dense = 2 * 100 * 784 * 1000
    assert flops(NETWORKS["sigmoid_autoencoder"]) == (2 * dense, 5 * dense)
    assert flops(NETWORKS["k_sparse_autoencoder"]) == (1.025 * dense, 1.1 * dense)


@pytest.mark.usefixtures("bench")
def test_the_work_of_a_step_over_sequences():
    from networks import NETWORKS, flops

    tokens, gates = 2 * 50 * 64, 2 * 4 * 128  # both ways
    assert flops(NETWORKS["tagger"])[0] == tokens * (gates * (64 + 128) + 256 * 10)
    assert flops(NETWORKS["tagger"])[1] == 3 * flops(NETWORKS["tagger"])[0]  # the embedding learns
    reading, rest = 100 * 4 * 128 * 32, 100 * 4 * 128 * 128 + 128 * 10
    forward, step = 2 * 64 * (reading + rest), 2 * 64 * (2 * reading + 3 * rest)
    assert flops(NETWORKS["many_to_one"]) == (forward, step)
    chosen = 3 * 128 * (128 + 128 + 128) + 128 * 65  # tokens choose rows of the first layer's weight
    assert flops(NETWORKS["char_gru_128"])[0] == 2 * 50 * 50 * chosen


def test_the_cost_over_k_is_drawn(tmp_path):
    done, result = quick(tmp_path, "k_cost", "--picture", tmp_path / "bars.svg")
    assert [row["k"] for row in result["k_cost"]] == [5, 500]
    for row in result["k_cost"]:
        assert f"k = {row['k']}" in done.stdout
        assert all(value > 0 for value in row["times"].values())
    few, many = (row["times"] for row in result["k_cost"])
    assert few["k-sparse"] < many["k-sparse"]
    picture = ElementTree.parse(tmp_path / "bars-k_cost.svg").getroot()
    words = {text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {"5", "500", "k-sparse", "dense, sigmoid"} <= words


# papers -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("bench")
def test_a_quick_run_of_the_papers_meets_their_criteria(tmp_path):
    import papers

    path = tmp_path / "result.json"
    done = run("papers", "--quick", "--json", path)
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(path.read_text())["papers"]
    assert [paper["paper"] for paper in found] == list(papers.NAMES)
    for paper in found:
        assert paper["title"] in done.stdout
        assert any(row["met"] for row in paper["rows"])
        for row in paper["rows"]:
            assert row["met"] is not False
            assert row["experiment"].split()[0] in done.stdout


@pytest.fixture
def reproduce(bench, monkeypatch, tmp_path):
    """Runs a paper whose rows are given; -> exit code and what was written."""
    from papers import reproduce, row

    from lamina import config

    def run(*experiments):
        def rows(effort):
            for name, met in experiments:
                if name == "interrupt":
                    raise KeyboardInterrupt
                yield row.Row(name, "1", "2", met)

        module = SimpleNamespace(TITLE="A paper", run=rows)
        monkeypatch.setitem(sys.modules, "papers.made_up", module)
        path = tmp_path / "result.json"
        options = SimpleNamespace(papers=["made_up"], quick=True, long=False, json=path)
        return reproduce.run(options), json.loads(path.read_text())["papers"]

    threads = config.get_num_threads()
    yield run
    config.set_num_threads(threads)


def test_a_criterion_that_is_not_met_fails_the_run(reproduce, capsys):
    assert reproduce(("first", True), ("second", None))[0] == 0
    code, _ = reproduce(("first", True), ("second", False), ("third", None))
    assert code == 1
    said = capsys.readouterr()
    assert said.err.count("not met: second") == 1
    assert [line.split()[-1] for line in said.out.splitlines() if line.startswith("second")] == ["-", "NO"]


def test_an_interrupted_run_keeps_what_was_found(reproduce):
    code, (paper,) = reproduce(("first", False), ("interrupt", None), ("never", None))
    assert code == 130
    assert [row["experiment"] for row in paper["rows"]] == ["first"]


@pytest.mark.usefixtures("bench")
def test_a_net_that_does_something_else_than_its_machine_is_found_out():
    from papers.siegelmann1995 import INCREMENT, follow
    from papers.stack_machine import Network

    net = Network(INCREMENT)
    right = follow(net, "111", "")
    assert right.right == right.of
    assert right.last.stacks == ("0001", "")
    rule = net.places["rule", 1]  # takes the first 0 away
    net.weights[rule] = [(weight, unit) for weight, unit in net.weights[rule] if weight < 0]
    wrong = follow(net, "11", "")
    assert wrong.right == wrong.of  # the rule does not apply: there is no 0
    assert follow(net, "110", "").right == 3


@pytest.mark.usefixtures("bench")
def test_a_stack_machine_needs_exactly_one_rule_for_all_that_it_sees():
    from papers.stack_machine import Machine

    keep = ("keep", "keep")
    with pytest.raises(ValueError, match=r"0 rules apply in state 'a' with the tops \('0', '0'\)"):
        Machine(("a", ("1", "*"), "a", keep), ("a", ("", "*"), "b", keep))
    with pytest.raises(ValueError, match=r"2 rules apply in state 'a' with the tops \('0', '1'\)"):
        Machine(("a", ("*", "*"), "a", keep), ("a", ("*", "1"), "b", keep))
