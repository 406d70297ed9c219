"""The sequences of bench/papers/tasks, and the nets that learn them symbol by symbol."""

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture(autouse=True)
def _bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))


def _rng():
    return np.random.default_rng(0)


# All inner strings, by the automaton as a regular expression: loops, and the way back from V or P.
_INNER = r"B(TS*X(XT*V(PXT*V)*(PS|V)|S)|PT*V(PXT*V)*(PS|V))E"


def test_embedded_strings_follow_the_grammar():
    from papers.tasks import reber

    rng, seen = _rng(), set()
    for _ in range(500):
        text = "".join(reber.SYMBOLS[i] for i in reber.embedded(rng).tokens)
        assert re.fullmatch(rf"B([TP]){_INNER}\1E", text), text
        seen.add(text[1])
    assert seen == {"T", "P"}


def test_what_is_legal_is_what_strings_go_on_with():
    """Every next symbol is legal; in the long run every legal symbol comes, after each beginning alike."""
    from papers.tasks import reber

    rng, allowed, came = _rng(), {}, {}
    for _ in range(3000):
        text = reber.embedded(rng)
        for t in range(len(text.tokens) - 1):
            begun = tuple(text.tokens[: t + 1])
            legal = frozenset(np.flatnonzero(text.legal[t]))
            assert allowed.setdefault(begun, legal) == legal
            came.setdefault(begun, set()).add(text.tokens[t + 1])
            assert text.tokens[t + 1] in legal
        assert list(np.flatnonzero(text.legal[-1])) == [0]  # after the last E comes B
    common = [begun for begun in came if len(begun) <= 5]
    assert len(common) > 10
    assert all(came[begun] == allowed[begun] for begun in common)


def test_continual_strings_and_padding():
    from papers.tasks import reber

    stream = reber.continual(_rng(), 1000)
    assert stream.tokens.shape == (1000,)
    assert stream.legal[np.arange(999), stream.tokens[1:]].all()
    texts = [reber.embedded(np.random.default_rng(seed)) for seed in range(5)]
    tokens, legal, lengths = reber.padded(texts)
    for row, text in enumerate(texts):
        assert lengths[row] == len(text.tokens) - 1
        np.testing.assert_array_equal(tokens[row, : lengths[row]], text.tokens[:-1])
        np.testing.assert_array_equal(legal[row, : lengths[row]], text.legal[:-1])
        assert not legal[row, lengths[row] :].any()


def test_lags():
    from papers.tasks import lags

    assert lags.noise_free(0, 4).tolist() == [3, 0, 1, 2, 3]
    assert lags.noise_free(1, 4).tolist() == [4, 0, 1, 2, 4]
    rng, lengths = _rng(), []
    for _ in range(2000):
        text, which = lags.distractors(rng, 5, 7)
        assert text[[0, 1, -1]].tolist() == [7, 5 + which, 8]
        assert (text[2:-1] < 5).all()
        lengths.append(len(text) - 3)
    assert min(lengths) == 7
    assert abs(np.mean(lengths) - 16) < 1  # 7 and a geometric number of mean 9


def test_adding():
    from papers.tasks.adding import adding

    x, lengths, targets = adding(_rng(), 2000, 100)
    assert x.shape == (2000, 110, 2)
    assert (lengths.min(), lengths.max()) == (100, 110)
    marked = x[:, :, 1] == 1
    assert (marked.sum(axis=1) == 2).all()
    assert marked[:, :10].any(axis=1).all()
    assert not marked[:, 50:].any()
    np.testing.assert_allclose(targets, 0.5 + (x[:, :, 0] * marked).sum(axis=1) / 4, atol=1e-6)
    ends = x[np.arange(2000), lengths - 1, 1]
    assert (ends == -1).all()
    assert (np.where(marked[:, 0], 1, -1) == x[:, 0, 1]).all()
    assert not x[np.arange(110) >= lengths[:, None]].any()


def test_temporal_order():
    from papers.tasks.order import temporal_order

    tokens, lengths, classes = temporal_order(_rng(), 2000)
    special = (tokens == 4) | (tokens == 5)
    assert (special.sum(axis=1) == 2).all()
    first, second = np.argwhere(special).reshape(2000, 2, 2)[:, :, 1].T
    assert (first.min(), first.max(), second.min(), second.max()) == (10, 20, 50, 60)
    rows = np.arange(2000)
    np.testing.assert_array_equal(classes, 2 * (tokens[rows, first] - 4) + tokens[rows, second] - 4)
    assert (tokens[:, 0] == 6).all()
    assert (tokens[rows, lengths - 1] == 7).all()
    assert set(classes) == {0, 1, 2, 3}


def test_spike_gaps():
    from papers.tasks.spikes import spike_gaps

    x, at, long = spike_gaps(_rng(), 50, 8, 9)
    for row in range(50):
        spikes = np.flatnonzero(x[row, :, 0])
        np.testing.assert_array_equal(spikes[1:], at[row])
        np.testing.assert_array_equal(np.diff(spikes), 9 + long[row])
    assert 0.3 < long.mean() < 0.7


_KINDS = {
    "1997": ({}, {"biased": "gates", "output_bias": False}),
    "all biased": ({}, {"biased": "all"}),
    "2000": ({"forget_gate": True}, {"biased": "gates", "recurrent": "cells", "shortcut": True}),
    "2a": (
        {"output_gate": False, "squash_input": "logistic", "squash_state": "identity"},
        {"biased": "none", "recurrent": "none", "shortcut": True, "output_bias": False},
    ),
}


@pytest.mark.parametrize("kind", _KINDS)
def test_traces_add_up_to_the_gradient_of_the_kernel(kind):
    """Symbol by symbol without a change between, the changes are those of one step for the whole string."""
    from papers.online import KIND_1997, BlockNet
    from papers.tasks import reber
    from papers.traces import TraceNet

    cells, options = _KINDS[kind]
    whole, steps = (
        net(7, 3, 2, 7, kind=KIND_1997 | cells, rng=_rng(), scale=0.7, **options)
        for net in (BlockNet, TraceNet)
    )
    text, eye = reber.embedded(_rng()).tokens, np.eye(7, dtype=np.float32)
    start, change = (steps.w.copy(), steps.v.copy()), [0, 0]
    for token, following in pairwise(text):
        steps.step(token)
        steps.correct(eye[following], 0.01)
        change[0], change[1] = change[0] + steps.w - start[0], change[1] + steps.v - start[1]
        steps.w, steps.v = start[0].copy(), start[1].copy()
    before = [*whole.hidden.values(), whole.w_out, whole.b_out]
    before = [a.copy() for a in before]
    whole.learn(text[None, :-1], eye[text[1:]], 0.01)
    steps.w, steps.v = start[0] + change[0], start[1] + change[1]
    steps.end()
    after = [*whole.hidden.values(), whole.w_out, whole.b_out]
    found = [*steps.hidden.values(), steps.w_out, steps.b_out]
    for old, right, value in zip(before, after, found, strict=True):
        np.testing.assert_allclose(value - old, right - old, atol=3e-7)
    assert all(
        np.abs(right - old).max() > 1e-4 for old, right in zip(before[:-1], after, strict=False) if old.size
    )


def test_weight_counts_of_the_nets():
    from papers.online import BlockNet

    options = {"rng": _rng(), "scale": 0.1}
    assert BlockNet(7, 3, 2, 7, biased="gates", output_bias=False, **options).size() == 276
    assert BlockNet(2, 2, 2, 1, **options).size() == 93
    assert BlockNet(8, 2, 2, 4, **options).size() == 156


def test_a_short_run_of_1997():
    from papers import hochreiter1997
    from papers.row import Effort

    rows = list(hochreiter1997.run(Effort(quick=True)))
    assert [row.experiment for row in rows] == ["2a: lag of 4", "6a: temporal order"]
    assert all(row.met for row in rows)


def test_forgetting_and_not_on_a_short_run():
    """On a fresh stream the states of cells that cannot forget grow far beyond those of cells that can."""
    from papers import gers2000

    sizes = [
        gers2000.on_fresh_stream(gers2000.predictor(forget, 0, 100), 0, 2000)[2] for forget in (True, False)
    ]
    assert sizes[1] > 5 * sizes[0]
    assert sum(p.size for p in gers2000.Predictor(True, 0).parameters()) == 424
