"""What follows the tables: the summary beside the peers, growth, memory of networks, the sweep."""

from xml.etree import ElementTree

import numpy as np
import pytest

from tests.test_bench import bench, pytestmark, quick  # noqa: F401


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
