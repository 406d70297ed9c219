"""Vocabularies: the characters or words of a text and their numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lamina.ops import _check as check

_Codes = npt.NDArray[np.int64]


class Vocabulary:
    """The units of a text, characters or words, by number: token i stands for `units[i]`.

    units: different strings; of characters a string will do. level: "characters", or "words", which white
    space parts. unknown: the unit among them that stands for any other; with None, `encode` refuses those.
    `len` is the number of units. Raises ValueError for no units, an empty one, one that comes twice or does
    not fit the level, and for an `unknown` that is not among them, TypeError for units that are no strings.
    """

    def __init__(
        self, units: Sequence[str], *, level: str = "characters", unknown: str | None = None
    ) -> None:
        self.level = check.choice("Vocabulary", "level", level, ("characters", "words"))
        self.units = tuple(units)
        if not self.units:
            raise ValueError("Vocabulary: units is empty: there must be at least one")
        for unit in self.units:
            self._check_unit(unit, unknown)
        twice = [unit for unit, count in Counter(self.units).items() if count > 1]
        if twice:
            raise ValueError(f"Vocabulary: units must be different, got {_some(twice)} more than once")
        self._places = {unit: i for i, unit in enumerate(self.units)}
        if unknown is not None and unknown not in self._places:
            raise ValueError(f"Vocabulary: unknown must be one of the units, got {unknown!r}")
        self.unknown = unknown

    def _check_unit(self, unit: str, unknown: str | None) -> None:
        if not isinstance(unit, str):
            raise TypeError(f"Vocabulary: units must be strings, got {type(unit).__name__}")
        if unit == unknown:
            return
        fits = len(unit) == 1 if self.level == "characters" else unit.split() == [unit]
        if not fits:
            raise ValueError(f"Vocabulary: {unit!r} is not one of the {self.level} that the level asks for")

    @classmethod
    def characters(
        cls, text: str, *, least: int = 1, most: int | None = None, unknown: str | None = None
    ) -> Vocabulary:
        """The characters of a text, sorted.

        Only those that come `least` times or more, and of them the `most` most frequent (of equals the first
        in the alphabet); `most` counts `unknown` too, which becomes the first unit. Raises ValueError for an
        empty text, for numbers out of range, and where characters are left out without an `unknown`.
        """
        kept = _frequent("characters", text, list(_text(text)), least, most, unknown)
        return cls(_with_unknown(sorted(kept), unknown), unknown=unknown)

    @classmethod
    def words(
        cls, text: str, *, least: int = 1, most: int | None = None, unknown: str | None = "<unk>"
    ) -> Vocabulary:
        """The words of a text, between white space, the most frequent first; the rest as `characters`."""
        kept = _frequent("words", text, _text(text).split(), least, most, unknown)
        return cls(_with_unknown(kept, unknown), level="words", unknown=unknown)

    def encode(self, text: str) -> _Codes:
        """The number of each unit of `text`, (len,).

        ValueError for units that are not here, unless `unknown` stands for them.
        """
        parts = list(_text(text)) if self.level == "characters" else _text(text).split()
        if self.unknown is not None:
            other = self._places[self.unknown]
            return np.array([self._places.get(part, other) for part in parts], np.int64)
        strange = sorted(set(parts) - self._places.keys())
        if strange:
            raise ValueError(f"Vocabulary: unknown {self.level}: {_some(strange)}")
        return np.array([self._places[part] for part in parts], np.int64)

    def decode(self, tokens: npt.ArrayLike) -> str:
        """The text of tokens (len,), words with a space between. ValueError for a token out of range."""
        found = np.asarray(tokens)
        if found.size == 0:
            found = found.astype(np.int64)
        check.ndim("Vocabulary", "tokens", found, "T")
        between = "" if self.level == "characters" else " "
        codes = check.tokens("Vocabulary", "tokens", found, len(self), "decode")
        return between.join([self.units[token] for token in codes.tolist()])

    def __len__(self) -> int:
        return len(self.units)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self):,} {self.level})"


def _text(text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"Vocabulary: text must be a string, got {type(text).__name__}")
    return text


def _some(units: Sequence[str]) -> str:
    return ", ".join(map(repr, units[:10])) + (", ..." if len(units) > 10 else "")


def _frequent(
    level: str, text: str, parts: list[str], least: int, most: int | None, unknown: str | None
) -> list[str]:
    """The units to keep, the most frequent first, without `unknown`."""
    if not parts:
        raise ValueError(f"Vocabulary: text has no {level}: it is {'blank' if text else 'empty'}")
    least = check.integer("Vocabulary", "least", least, 1)
    counts = Counter(parts)
    if unknown is not None:
        counts.pop(unknown, None)
    kept = sorted((unit for unit, n in counts.items() if n >= least), key=lambda unit: (-counts[unit], unit))
    if most is not None:
        most = check.integer("Vocabulary", "most", most, 1)
        kept = kept[: most - (unknown is not None)]
    if unknown is None and len(kept) < len(counts):
        raise ValueError(
            f"Vocabulary: {len(counts) - len(kept)} of {len(counts)} {level} are left out: "
            "give `unknown`, a unit that stands for them"
        )
    return kept


def _with_unknown(units: list[str], unknown: str | None) -> list[str]:
    return units if unknown is None else [unknown, *units]
