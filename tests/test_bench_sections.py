"""What follows the tables: the summary beside the peers, growth, memory of networks, the sweep."""

import sys
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.benchmark import needs_core, quick, run

pytestmark = needs_core


def words(path):
    """All that is written in a picture."""
    picture = ElementTree.parse(path).getroot()
    return {text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")}


def _row(case, what, ours, **peers):
    times = {name: {"median": seconds} for name, seconds in {"cpp": ours, "numpy": 9.0, **peers}.items()}
    return {"case": case, "shape": "batch 64 of 3", "pass": what, "times": times}


@pytest.mark.usefixtures("bench")
def test_the_summary_takes_the_fastest_variant_and_the_geometric_mean():
    import summary

    rows = [
        _row("small", "training step", 0.002, torch=0.008, jax=0.016),
        _row("large", "training step", 0.5, **{"torch": 0.9, "torch channels_last": 0.125}),
        _row("small", "predict", 0.016, jax=0.032),
        _row("large", "predict", 0.016),
    ]
    said = []
    summary.show(rows, said.append)
    lines = [line.split() for line in said]
    assert lines[1] == ["small", "2", "8", "4.0x", "torch"]
    assert lines[2] == ["large", "500", "125", "0.25x", "torch", "channels_last"]
    assert lines[3][:4] == ["geometric", "mean", "1.0x", "of"]
    assert lines[5] == ["small", "4,000", "2,000", "2.0x", "jax"]
    assert lines[6][:3] == ["geometric", "mean", "2.0x"]
    assert len(said) == 7  # nobody else answered


@pytest.mark.usefixtures("bench")
def test_images_are_predicted_in_large_batches_too():
    import training
    from contenders import Rivals
    from networks import NETWORKS

    rows = training.rows_of(NETWORKS["lenet5"], 0.01, Rivals({}, 1, print))
    assert [row["pass"] for row in rows] == ["training step", "predict", "predict, batch 256", "one answer"]
    assert rows[2]["shape"] == "batch 256 of 28x28x1"
    assert rows[2]["gflops"] * rows[2]["times"]["cpp"]["median"] == pytest.approx(
        4 * rows[1]["gflops"] * rows[1]["times"]["cpp"]["median"]
    )
    rows = training.rows_of(NETWORKS["many_to_one"], 0.01, Rivals({}, 1, print))
    assert [row["pass"] for row in rows] == ["training step", "predict", "one answer"]
    assert np.isfinite([row["error"] for row in rows]).all()


@pytest.mark.usefixtures("bench")
def test_growth_is_measured_and_drawn(tmp_path):
    import growth

    done, result = quick(tmp_path, "growth", "--picture", tmp_path / "bars.svg")
    rows = result["growth"]
    assert [row["name"] for row in rows] == [each.name for each in growth.GROWTHS]
    assert [row["sizes"] for row in rows] == [[1, 2, 4], [8, 16, 32], [8, 16, 32], [10, 20, 50]]
    assert rows[1]["work"] == [8 * 64, 8 * 256, 8 * 1024]
    for row in rows:
        assert row["name"] in done.stdout
        assert f"us per {row['unit']}" in done.stdout
        assert all(seconds > 0 for seconds in row["seconds"])
    assert rows[1]["seconds"][0] < rows[1]["seconds"][-1]  # sixteen times the work
    assert {"1", "2", "4", "50", "1 ms", *(row["name"] for row in rows)} <= words(
        tmp_path / "bars-growth.svg"
    )


@pytest.mark.usefixtures("bench")
def test_a_knee_is_where_a_unit_of_work_costs_something_else_than_before():
    import growth

    row = {"sizes": [8, 16, 32, 64], "work": [1, 2, 4, 8], "seconds": [4.0, 4.0, 10.0, 40.0]}
    assert list(growth.knees(row)) == [(16, 0.5), (64, 2.0)]
    sizes = {each.name.partition(",")[0]: each.sizes for each in growth.GROWTHS}
    assert sizes["batch"][-1] == sizes["channels"][-1] == 512
    assert sizes["length"][-1] == 2000


@pytest.mark.usefixtures("bench")
def test_a_sweep_times_every_pass_and_draws_lines(tmp_path):
    import sweep

    done, result = quick(tmp_path, "sweep", "--picture", tmp_path / "bars.svg")
    rows = sweep.of(result)
    assert len(rows) == 3 * sweep.count(quick=True) == len(result["rows"])
    assert {row["pass"] for row in rows} == {"forward", "backward input", "backward weight"}
    for row in rows:
        assert 0 < row["relative_error"] < 1e-4
        assert row["shape"] in done.stdout
        assert row["share"] == pytest.approx(row["gflops"] / result["runs"][0]["gflops"])
    assert {"GFLOP/s, backward weight", "lamina", rows[0]["shape"]} <= words(tmp_path / "bars-sweep.svg")
    assert sweep.count(quick=False) >= 14


@pytest.mark.usefixtures("bench")
def test_the_sweep_names_the_shapes_where_others_are_faster():
    import sweep

    rows = [_row("conv2d", "forward", 0.02, torch=0.03), _row("conv2d", "backward input", 0.02, torch=0.008)]
    said = []
    sweep.slower(rows, said.append)
    assert said[0].strip() == "others are faster in 1 of 2 lines:"
    assert said[1].split() == ["batch", "64", "of", "3", "backward", "input", "2.5x", "torch"]
    sweep.slower([_row("conv2d", "forward", 0.02)], said.append)
    assert len(said) == 2


@pytest.mark.usefixtures("bench")
def test_torch_computes_each_gradient_of_a_convolution_where_it_is_installed():
    pytest.importorskip("torch")
    import cases
    import kernels
    from contenders import Rivals

    said = []
    rivals = Rivals({"torch": sys.executable}, 1, said.append)
    try:
        rows = kernels.rows_of(next(cases.build("conv2d", quick=True)), 0.01, rivals)
    finally:
        rivals.close()
    assert said == []
    assert all({"torch", "torch channels_last"} <= row["times"].keys() for row in rows)


@pytest.mark.usefixtures("bench")
def test_the_memory_of_networks_is_that_of_processes_of_their_own(tmp_path):
    done, result = quick(tmp_path, "footprint", "lenet5", "many_to_one")
    assert result["rows"] == []  # nothing is timed
    assert [(row["network"], row["name"]) for row in result["memory"]] == [
        ("lenet5", "lamina"),
        ("many_to_one", "lamina"),
    ]
    for row in result["memory"]:
        assert 1e6 < row["beyond"] < row["whole"]
    assert "memory of 5 training steps" in done.stdout


@pytest.mark.usefixtures("bench")
def test_memory_stands_beside_the_leanest_of_pytorchs_ways(monkeypatch):
    import footprint

    sizes = {"lamina": [("lamina", 2, 1)], "torch": [("torch", 5, 4), ("torch fused", 4, 2)]}

    def runs(name, python, network, *_):
        return [
            {"network": network.name, "name": shown, "whole": whole * 1e6, "beyond": beyond * 1e6}
            for shown, whole, beyond in sizes[name]
        ]

    monkeypatch.setattr(footprint, "_runs", runs)
    said = []
    options = SimpleNamespace(quick=True, against={"torch": "python"})
    assert len(footprint.of_networks(["lenet5"], options, 1, said.append)) == 3
    assert [line.split()[-4:] for line in said[1:]] == [
        ["2", "0.50", "1", "0.50"],
        ["5", "1.25", "4", "2.00"],
        ["4", "1.00", "2", "1.00"],
    ]


def test_profile_shares_a_step_out_among_its_ops():
    done = run("profile", "lenet5", "--runs", 2)
    assert done.returncode == 0, done.stderr
    title, _, *lines = done.stdout.strip().splitlines()
    assert title.startswith("lenet5, batch 64 of 28x28x1: ")
    shares = {line[:48].strip(): int(line.rsplit(maxsplit=1)[1].rstrip("%")) for line in lines}
    assert {"conv2d", "conv2d_backward_weight", "gemm", "the optimiser's step, from Python"} <= shares.keys()
    assert 100 - len(shares) <= sum(shares.values()) <= 100 + len(shares)
    each = run("profile", "lenet5", "--runs", 2, "--each").stdout
    assert "0 conv2d 64x28x28x1 " in each
    wrong = run("profile", "lenet6")
    assert wrong.returncode == 2
    assert "lenet6" in wrong.stderr
