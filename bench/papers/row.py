"""What every paper's module shares: a line of the table, how long to take, and progress.

A module has TITLE, the paper, and `run(effort) -> Iterator[Row]`, which yields each line once it is known.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tqdm import tqdm

import lamina as lm
from lamina import config


class Row(NamedTuple):
    """One experiment: what the paper reports, what we found, and whether ours meets the paper's criterion."""

    experiment: str
    published: str
    ours: str
    met: bool | None  # None: the paper sets no criterion, or a quick run is too short for it


class Effort(NamedTuple):
    """How much a run may take: usually minutes, with `quick` seconds, with `long` as long as it needs."""

    quick: bool = False
    long: bool = False

    def pick(self, quick: int, usual: int, long: int) -> int:
        """A number of seeds, sequences or epochs."""
        return quick if self.quick else long if self.long else usual


def progress(total: int, text: str, unit: str = "sequence") -> tqdm:
    """A bar that vanishes when it is done, and is not drawn where nobody looks."""
    return tqdm(total=total, desc=text, unit=unit, disable=None, leave=False)


@contextmanager
def all_processors() -> Iterator[None]:
    """As many threads as there are processors; papers start with one, for most of their nets are tiny."""
    former = config.get_num_threads()
    config.set_num_threads(int(lm.build_info()["cpu_limit"]))
    try:
        yield
    finally:
        config.set_num_threads(former)
