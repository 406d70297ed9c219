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


class ByLayers(text.CharModel):
    """Not a CharModel itself, so `generate` calls it for every character."""


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_the_packed_model_writes_what_its_layers_write(cell, dtype, machine):
    options = {"hidden_size": 70, "num_layers": 2, "cell": cell, "dropout": 0.5}
    packed = text.CharModel(WORDS.characters, rng=0, **options).astype(dtype)
    for p in packed.parameters():
        p.data *= 3  # or every character is about as likely
    layers = ByLayers(WORDS.characters, **options).astype(dtype)
    layers.load_state_dict(packed.state_dict())
    for temperature in (0, 1):
        written = [
            "".join(lm.generate(m, "the", 60, temperature=temperature, seed=0)) for m in (packed, layers)
        ]
        assert written[0] == written[1]
        assert len(set(written[0])) > 3 or temperature == 0


def test_other_models_are_called_for_every_character():
    """Changed weights count at once; of a CharModel those at the start."""
    for kind, same in [(text.CharModel, True), (ByLayers, False)]:
        model = kind(WORDS.characters, hidden_size=8, num_layers=1, rng=0)
        stream = lm.generate(model, "t", 40, temperature=0)
        first = [next(stream), next(stream)]
        model.head.bias.data[:] = 0
        model.head.bias.data[3] = 100
        rest = "".join(stream)
        assert (rest != WORDS.characters[3] * 38) == same, first


def test_generation_keeps_each_module_in_its_mode(model):
    model.recurrent.eval()
    next(lm.generate(model, "t", 3))
    text.perplexity(model, WORDS.codes, batch_size=4)
    assert model.training
    assert not model.recurrent.training


def test_a_model_of_words():
    vocabulary = text.Vocabulary.words("the cat sat on the mat and the dog sat on the cat")
    model = text.CharModel(vocabulary, hidden_size=8, num_layers=1, rng=0)
    written = list(lm.generate(model, "the zebra", 20, seed=0))
    assert set(written) <= set(vocabulary.units)
    assert len(written) == 20


def test_diverged_models_say_so(model):
    model.head.weight.data[0, 0] = np.nan
    with pytest.raises(ValueError, match=r"generate: the model's logits .* row 0 of x holds NaN"):
        next(lm.generate(model, "t", 3))


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
        (lambda m: lm.generate(m, "the §", 3), "Vocabulary: unknown characters: '§'"),
        (lambda m: lm.generate(m, "the", -1), "n must be at least 0"),
        (lambda m: lm.generate(m, "the", 3, temperature=-1), "temperature must be finite"),
        (lambda m: text.CharModel(""), "units is empty: there must be at least one"),
        (lambda m: text.CharModel("aa"), "units must be different, got 'a' more than once"),
        (lambda m: text.CharModel("ab", cell="elman"), "unknown cell 'elman'"),
        (lambda m: list(text.batches([1, 2], batch_size=2, steps=1)), "too few for 2 streams"),
        (lambda m: m(np.array([[0, 99]])), r"token 99 at \(0, 1\) is out of range: weight_ih takes 0..\d+"),
        (lambda m: m(np.array([[-1, 0]])), r"token -1 at \(0, 0\)"),
        (lambda m: m(np.zeros((2, 3), int), np.zeros((1, 2, 16))), r"state must be a pair \(h, c\)"),
        (
            lambda m: m(np.zeros((2, 3), int), (np.zeros((1, 2, 16)), np.zeros((1, 3, 16)))),
            r"state c must have shape \(1, 2, 16\), \(layers \* directions, N, H\), got \(1, 3, 16\)",
        ),
        (lambda m: text.perplexity(m, []), "0 characters are too few for 50 streams"),
        (lambda m: optim.clip_grad_norm(m.parameters(), 0), "most must be above 0"),
    ],
)
def test_bad_input(model, call, message):
    with pytest.raises((ValueError, TypeError), match=message):
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


# stateful training ------------------------------------------------------------------------------------
def test_chunks_with_a_smaller_last_batch_and_explicit_states(model):
    """Five sequences in batches of two, in chunks of four steps: the same logits as all at once."""
    tokens = WORDS.codes[: 5 * 11].reshape(5, 11)
    whole = model(tokens)[0].data
    for rows in (slice(0, 2), slice(2, 4), slice(4, 5)):
        state, found = None, []
        for start in range(0, 11, 4):
            logits, state = model(tokens[rows, start : start + 4], state)
            state = tuple(part.data for part in state)
            found.append(logits.data)
        np.testing.assert_allclose(np.concatenate(found, axis=1), whole[rows], rtol=0, atol=1e-6)


def test_a_state_is_cut_for_a_smaller_last_batch(model):
    """The rows that go on keep their states; the whole state does not fit the fewer rows."""
    tokens = WORDS.codes[:24].reshape(3, 8)
    _, state = model(tokens[:, :5])
    h, c = (part.data for part in state)
    logits, _ = model(tokens[:2, 5:], (h[:, :2], c[:, :2]))
    np.testing.assert_allclose(logits.data, model(tokens)[0].data[:2, 5:], rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match=r"state h must have shape \(1, 2, 16\).* got \(1, 3, 16\)"):
        model(tokens[:2, 5:], (h, c))


def test_the_gradient_stops_at_the_chunk(model):
    """A state given as arrays has a value and no history; as tensors it has both."""
    tokens = WORDS.codes[:12].reshape(2, 6)

    def gradient(cut):
        model.zero_grad()
        _, state = model(tokens[:, :3])
        state = tuple(part.data for part in state) if cut else state
        model(tokens[:, 3:], state)[0].sum().backward()
        return model.recurrent.weight_ih_l0.grad.copy()

    only_there = np.setdiff1d(tokens[:, :3], tokens[:, 3:])
    assert len(only_there)
    assert not gradient(cut=True)[:, only_there].any()
    assert gradient(cut=False)[:, only_there].any()


def test_no_steps_and_no_rows(model):
    _, state = model(WORDS.codes[:6].reshape(2, 3))
    logits, after = model(np.zeros((2, 0), int), state)
    assert logits.shape == (2, 0, len(WORDS.characters))
    np.testing.assert_array_equal(after[0].data, state[0].data)
    assert model(np.zeros((0, 3), int))[0].shape == (0, 3, len(WORDS.characters))
