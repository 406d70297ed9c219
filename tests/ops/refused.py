"""A table of calls that must fail, as a test."""

import re
from collections.abc import Callable
from typing import Any

import pytest


def refused(error: type[Exception], table: dict[str, tuple[Callable[[], Any], str]]) -> Callable[[str], None]:
    """The test that each call of the table, {name: (call, words)}, raises this error with these words."""

    @pytest.mark.parametrize("name", table)
    def test(name: str) -> None:
        call, words = table[name]
        with pytest.raises(error, match=re.escape(words)):
            call()

    return test
