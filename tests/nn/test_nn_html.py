"""The tables that notebooks show."""

from xml.etree import ElementTree

import numpy as np

from lamina import nn


def cells(model):
    """The table as a list of rows of texts; it must be well-formed."""
    tree = ElementTree.fromstring(model._repr_html_())
    return [["".join(cell.itertext()) for cell in row] for row in tree.iter("tr")]


def network():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Sequential(nn.ReLU(), nn.Flatten()), nn.Linear(144, 10))


def test_before_its_input_is_known_a_model_shows_its_layers():
    assert cells(network()) == [
        ["", "layer", "parameters"],
        ["0", "Conv2d(1, 4, 3)", "40"],
        ["1.0", "ReLU()", "0"],
        ["1.1", "Flatten()", "0"],
        ["2", "Linear(144, 10)", "1,450"],
        ["", "total", "1,490"],
    ]
    assert "summary(input_shape)" in network()._repr_html_()


def test_after_a_summary_its_volumes(capsys):
    model = network()
    found = model.summary((8, 8, 1))
    rows = cells(model)
    assert rows[0] == ["", "layer", "volume", "parameters", "multiply-adds"]
    assert rows[1] == ["0", "Conv2d(1, 4, 3)", "8x8x1 -> 6x6x4", "40", "1,296"]
    assert [row[2] for row in rows[1:-1]] == [row.volume for row in found.rows]
    assert rows[-1] == ["", "total", "", "1,490", f"{found.multiply_adds:,}"]
    assert "summary(input_shape)" not in model._repr_html_()


def test_a_model_that_was_changed_since_its_summary_is_shown(capsys):
    model = network()
    model.summary((8, 8, 1))
    setattr(model, "2", nn.Linear(100, 10))
    assert cells(model)[-2] == ["2", "Linear(100, 10)", "1,010"]


def test_what_it_shows_is_escaped():
    class Net(nn.Module):
        def __init__(self):
            self.heads = {"<script>": nn.Linear(2, 3), "a&b": nn.Linear(2, 1)}

    assert [row[0] for row in cells(Net())] == ["", "heads.<script>", "heads.a&b", ""]
    assert "<script>" not in Net()._repr_html_()


def test_one_layer_shows_as_text():
    assert nn.Linear(2, 3)._repr_html_() is None
    assert nn.CrossEntropyLoss()._repr_html_() is None


def test_it_changes_nothing(capsys):
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    model.summary(3)
    model[2].eval()
    before = model.state_dict()
    cells(model)
    assert [module.training for module in model] == [True, True, False]
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
