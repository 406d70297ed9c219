"""Vocabularies of characters and words: numbers there and back, limits, unknown units, bad input."""

import pickle
import re

import numpy as np
import pytest

import lamina as lm
from lamina.text import Vocabulary

TEXT = "the cat sat on the mat and the dog sat on the cat"


def test_characters_there_and_back():
    vocabulary = Vocabulary.characters("žluťoučký kůň 😀")
    assert list(vocabulary.units) == sorted(set("žluťoučký kůň 😀"))
    codes = vocabulary.encode("kůň 😀")
    assert codes.dtype == np.int64
    assert vocabulary.decode(codes) == "kůň 😀"
    assert len(vocabulary) == len(vocabulary.units)


def test_characters_have_the_numbers_of_the_datasets():
    data = lm.datasets.encode(TEXT)
    np.testing.assert_array_equal(Vocabulary.characters(TEXT).encode(TEXT), data.codes)
    np.testing.assert_array_equal(Vocabulary(data.characters).encode(TEXT), data.codes)


def test_words_by_frequency():
    vocabulary = Vocabulary.words(TEXT)
    assert vocabulary.units == ("<unk>", "the", "cat", "on", "sat", "and", "dog", "mat")
    np.testing.assert_array_equal(vocabulary.encode("the dog\n saw\tthe  cat"), [1, 6, 0, 1, 2])
    assert vocabulary.decode(vocabulary.encode("the dog saw")) == "the dog <unk>"


def test_rare_words_are_unknown():
    vocabulary = Vocabulary.words(TEXT, least=2)
    assert vocabulary.units == ("<unk>", "the", "cat", "on", "sat")
    assert vocabulary.decode(vocabulary.encode("the mat")) == "the <unk>"
    assert Vocabulary.words(TEXT, least=100).units == ("<unk>",)


def test_the_limit_counts_the_unknown_word():
    assert Vocabulary.words(TEXT, most=3).units == ("<unk>", "the", "cat")
    assert Vocabulary.words(TEXT, most=1).units == ("<unk>",)
    assert Vocabulary.words(TEXT, most=7, unknown=None).units == Vocabulary.words(TEXT).units[1:]
    assert Vocabulary.characters("aabbc", most=3, unknown="?").units == ("?", "a", "b")
    assert Vocabulary.characters("cbbaa", least=2, unknown="?").encode("abcd").tolist() == [1, 2, 0, 0]


def test_a_text_that_holds_the_unknown_word():
    vocabulary = Vocabulary.words("<unk> a <unk> b a", most=2)
    assert vocabulary.units == ("<unk>", "a")
    assert vocabulary.encode("<unk> a c").tolist() == [0, 1, 0]


def test_nothing_to_encode_or_decode():
    vocabulary = Vocabulary("ab")
    assert vocabulary.encode("").shape == (0,)
    assert vocabulary.decode([]) == vocabulary.decode(np.zeros(0, np.int32)) == ""


def test_copies_and_print():
    vocabulary = pickle.loads(pickle.dumps(Vocabulary.words(TEXT)))
    assert vocabulary.encode("the zebra").tolist() == [1, 0]
    assert repr(vocabulary) == "Vocabulary(8 words)"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Vocabulary(""), "Vocabulary: units is empty"),
        (lambda: Vocabulary("aba"), "Vocabulary: units must be different, got 'a' more than once"),
        (lambda: Vocabulary(["ab"]), "Vocabulary: 'ab' is not one of the characters"),
        (lambda: Vocabulary(["a", ""], level="words"), "Vocabulary: '' is not one of the words"),
        (lambda: Vocabulary(["a b"], level="words"), "Vocabulary: 'a b' is not one of the words"),
        (lambda: Vocabulary("ab", level="bytes"), "Vocabulary: unknown level 'bytes'"),
        (lambda: Vocabulary("ab", unknown="?"), "Vocabulary: unknown must be one of the units, got '?'"),
        (lambda: Vocabulary.characters(""), "Vocabulary: text has no characters: it is empty"),
        (lambda: Vocabulary.words(" \n"), "Vocabulary: text has no words: it is blank"),
        (lambda: Vocabulary.words(TEXT, least=0), "Vocabulary: least must be at least 1, got 0"),
        (lambda: Vocabulary.words(TEXT, most=0), "Vocabulary: most must be at least 1, got 0"),
        (
            lambda: Vocabulary.characters("aab", least=2),
            "Vocabulary: 1 of 2 characters are left out: give `unknown`, a unit that stands for them",
        ),
        (lambda: Vocabulary("ab").encode("abc§d"), "Vocabulary: unknown characters: 'c', 'd', '§'"),
        (
            lambda: Vocabulary(["a"], level="words").encode("a dog ran"),
            "Vocabulary: unknown words: 'dog', 'ran'",
        ),
        (
            lambda: Vocabulary("ab").decode([0, 2]),
            "Vocabulary: token 2 at (1,) is out of range: decode takes 0..1",
        ),
        (lambda: Vocabulary("ab").decode([-1]), "Vocabulary: token -1 at (0,)"),
        (lambda: Vocabulary("ab").decode([[0]]), "Vocabulary: tokens must have 1 axes, T, got 2"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Vocabulary([1, 2]), "Vocabulary: units must be strings, got int"),
        (lambda: Vocabulary.words(b"a b"), "Vocabulary: text must be a string, got bytes"),
        (lambda: Vocabulary("ab").encode(["a"]), "Vocabulary: text must be a string, got list"),
        (
            lambda: Vocabulary("ab").decode([0.0]),
            "Vocabulary: tokens must be a NumPy array of integers, got an array of float64",
        ),
        (lambda: Vocabulary.words(TEXT, least=1.5), "Vocabulary: least must be an int, got 1.5"),
    ],
)
def test_wrong_types(call, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        call()
