"""Confusion matrices and the worst mistakes."""

import numpy as np
import pytest

from lamina import viz
from lamina.viz.mistakes import confusions

TRUE = np.array([0, 0, 1, 1, 2, 2, 2])
SCORES = np.eye(3)[[0, 1, 1, 1, 2, 0, 0]] + 0.1


def test_rows_are_what_it_is_and_columns_what_it_was_taken_for():
    expected = [[1, 1, 0], [0, 2, 0], [2, 0, 1]]
    np.testing.assert_array_equal(confusions(SCORES, TRUE), expected)
    np.testing.assert_array_equal(confusions(SCORES.argmax(axis=1), TRUE), expected)
    assert confusions([0], [1], 4).shape == (4, 4)


def test_the_matrix_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    figure = viz.confusion_matrix(SCORES, TRUE, ["ant", "bee", "cat"], path=tmp_path / "matrix.png")
    axes = figure.axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.5, 0.5, 0], [0, 1, 0], [2 / 3, 0, 1 / 3]])
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts == {(0, 0): "1", (1, 0): "1", (1, 1): "2", (0, 2): "2", (2, 2): "1"}
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["ant", "bee", "cat"]
    assert axes.get_title() == "57.1% of 7 right"
    assert (tmp_path / "matrix.png").read_bytes().startswith(b"\x89PNG")


def test_the_worst_come_first_and_right_ones_not_at_all():
    pytest.importorskip("matplotlib")
    images = np.arange(7)[:, None, None] / 7 * np.ones((7, 2, 2))
    scores = SCORES.copy()
    scores[6, 0] = 9
    figure = viz.worst_mistakes(images, scores, TRUE, ["ant", "bee", "cat"])
    assert [axes.get_title() for axes in figure.axes] == ["cat, not ant", "ant, not bee", "cat, not ant"]
    assert [np.asarray(axes.images[0].get_array())[0, 0] for axes in figure.axes] == pytest.approx(
        [6 / 7, 1 / 7, 5 / 7]
    )
    assert len(viz.worst_mistakes(images, scores, TRUE, count=2).axes) == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: viz.confusion_matrix(SCORES[:3], TRUE), "3 predictions for 7 samples"),
        (lambda: viz.confusion_matrix([], []), "y_true must be classes"),
        (lambda: viz.confusion_matrix(SCORES, TRUE, ["a"]), "1 labels for 3 classes"),
        (
            lambda: viz.confusion_matrix(SCORES, TRUE - 1),
            r"y_true must be classes \(N,\), whole numbers from 0",
        ),
        (lambda: viz.confusion_matrix(SCORES[:, 0], TRUE), "y_pred must be classes .* got float64"),
        (lambda: viz.worst_mistakes(np.zeros((7, 2, 2)), SCORES[:, :2], TRUE), "do not fit"),
        (lambda: viz.worst_mistakes(np.zeros((6, 2, 2)), SCORES, TRUE), "6 images"),
        (lambda: viz.worst_mistakes(np.zeros((7, 2, 2)), np.eye(3)[TRUE], TRUE), "there are none"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
