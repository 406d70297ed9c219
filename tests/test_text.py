"""Models of text: batches that follow each other, generation, perplexity, clipped gradients."""

import numpy as np
import pytest

import lamina as lm
from lamina import nn, optim, text

WORDS = lm.datasets.encode("the quick brown fox jumps over the lazy dog. " * 40)


@pytest.fixture
def model():
    return text.CharModel(WORDS.characters, hidden_size=16, num_layers=1, rng=0)


def test_the_parameters_of_char_rnn():
    """240,321 with both of its biases: 2 x 512 of them stand for one here."""
    full = text.CharModel("".join(map(chr, range(65))))
    assert sum(p.size for p in full.parameters()) == 240_321 - 2 * 512


def test_batches_follow_each_other():
    codes = np.arange(23)
    parts = list(text.batches(codes, batch_size=3, steps=4))
    assert [x.shape for x, _ in parts] == [(3, 4), (3, 3)]
    np.testing.assert_array_equal(np.concatenate([x for x, _ in parts], axis=1), codes[:21].reshape(3, 7))
    for x, y in parts:
        np.testing.assert_array_equal(y, x + 1)


def test_tokens_are_one_hot_vectors(model):
    tokens = WORDS.codes[:12].reshape(2, 6)
    vectors = np.eye(len(WORDS.characters), dtype=np.float32)[tokens]
    np.testing.assert_allclose(model(tokens)[0].data, model(vectors)[0].data, atol=1e-6)


def test_it_learns_to_write_the_sentence(model):
    optimizer, loss, state = optim.Adam(model.parameters(), 0.02), nn.CrossEntropyLoss(), None
    before = text.perplexity(model, WORDS.codes, batch_size=4)
    for _ in range(12):
        for x, y in text.batches(WORDS.codes, batch_size=10, steps=20):
            optimizer.zero_grad()
            logits, state = model(x, state)
            value = loss(logits, y)
            value.backward()
            optim.clip_grad_norm(model.parameters(), 5)
            optimizer.step()
            state = tuple(part.data for part in state)
    assert text.perplexity(model, WORDS.codes, batch_size=4) < 1.5 < before
    written = "".join(lm.generate(model, "the quick br", 32, temperature=0))
    assert written == "own fox jumps over the lazy dog. "[:32]


def test_generation_streams_and_repeats(model):
    assert "".join(lm.generate(model, "the", 30, seed=1)) == "".join(lm.generate(model, "the", 30, seed=1))
    assert "".join(lm.generate(model, "the", 30, seed=1)) != "".join(lm.generate(model, "the", 30, seed=2))
    stream = lm.generate(model, "the", 10**9)
    assert len(next(stream)) == 1
    assert model.training
    assert "".join(lm.generate(model, "t", 0)) == ""


def test_colder_text_is_less_varied(model):
    """The entropy of what is drawn rises with the temperature."""

    def entropy(temperature):
        written = "".join(lm.generate(model, "t", 400, temperature=temperature, seed=0))
        shares = np.unique(list(written), return_counts=True)[1] / len(written)
        return -(shares * np.log(shares)).sum()

    assert entropy(0) < entropy(0.3) < entropy(3.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: lm.generate(m, "", 3), "prime is empty"),
        (lambda m: lm.generate(m, "the §", 3), "characters unknown to the model: '§'"),
        (lambda m: lm.generate(m, "the", -1), "n must be at least 0"),
        (lambda m: lm.generate(m, "the", 3, temperature=-1), "temperature must be finite"),
        (lambda m: text.CharModel(""), "at least one"),
        (lambda m: text.CharModel("aa"), "different characters"),
        (lambda m: text.CharModel("ab", cell="elman"), "unknown cell 'elman'"),
        (lambda m: list(text.batches([1, 2], batch_size=2, steps=1)), "too few for 2 streams"),
        (lambda m: m(np.array([[0, 99]])), r"token 99 at \(0, 1\) is out of range: weight_ih takes 0..\d+"),
        (lambda m: m(np.array([[-1, 0]])), r"token -1 at \(0, 0\)"),
        (lambda m: optim.clip_grad_norm(m.parameters(), 0), "most must be above 0"),
    ],
)
def test_bad_input(model, call, message):
    with pytest.raises(ValueError, match=message):
        call(model)


def test_wrong_types():
    with pytest.raises(TypeError, match="model must have `characters`"):
        lm.generate(nn.Linear(2, 2), "a", 3)
    with pytest.raises(TypeError, match="vector of whole numbers"):
        list(text.batches([[1.0]], batch_size=1, steps=1))


def _with_gradients():
    layer = nn.Linear(3, 2, rng=0)
    layer.weight.grad = np.array([[3.0, -4, 0], [0, 12, 0]], np.float32)
    return layer


def test_clipping_by_value_and_by_norm():
    layer = _with_gradients()
    optim.clip_grad_value(layer.parameters(), 3.5)
    np.testing.assert_array_equal(layer.weight.grad, [[3, -3.5, 0], [0, 3.5, 0]])
    layer = _with_gradients()
    assert optim.clip_grad_norm(layer.parameters(), 6.5) == 13
    np.testing.assert_allclose(layer.weight.grad, [[1.5, -2, 0], [0, 6, 0]])
    assert optim.clip_grad_norm(layer.parameters(), 100) == pytest.approx(6.5)
    layer.weight.grad[0, 0] = np.nan
    assert np.isnan(optim.clip_grad_norm(layer.parameters(), 1))
    assert layer.weight.grad[1, 1] == 6
