"""Machines with two stacks, compiled into recurrent nets and run by lamina's kernel beside a simulator."""

from collections.abc import Iterator
from itertools import islice, product
from typing import NamedTuple

import numpy as np

from papers.row import Effort, Row, progress
from papers.stack_machine import STEPS, Configuration, Machine, Network, turing_machine

TITLE = "Siegelmann & Sontag 1995, On the computational power of neural nets (JCSS 50)"

_KEEP = ("keep", "keep")

# The number stands on the first stack, its lowest bit on top.
INCREMENT = Machine(
    ("carry", ("1", "*"), "carry", ("pop", "0")),
    ("carry", ("0", "*"), "set", ("pop", "keep")),
    ("carry", ("", "*"), "set", _KEEP),
    ("set", ("*", "*"), "back", ("1", "keep")),
    ("back", ("*", "0"), "back", ("0", "pop")),
    ("back", ("*", "1"), "back", ("1", "pop")),
    ("back", ("*", ""), "done", _KEEP),
)

# The word stands on the second stack. Its first symbol is taken, the others go over to the first stack, whose
# top, the word's last symbol, must be the same; what is left comes back, and so on.
PALINDROME = Machine(
    ("take", ("*", "0"), "over, 0", ("keep", "pop")),
    ("take", ("*", "1"), "over, 1", ("keep", "pop")),
    ("take", ("*", ""), "yes", _KEEP),
    *((f"over, {s}", ("*", t), f"over, {s}", (t, "pop")) for s, t in product("01", repeat=2)),
    *((f"over, {s}", (s, ""), "back", ("pop", "keep")) for s in "01"),
    *((f"over, {s}", (t, ""), "no", _KEEP) for s, t in ("01", "10")),
    *((f"over, {s}", ("", ""), "yes", _KEEP) for s in "01"),
    ("back", ("0", "*"), "back", ("pop", "0")),
    ("back", ("1", "*"), "back", ("pop", "1")),
    ("back", ("", "*"), "take", _KEEP),
)

# Champions among machines of 3 and 4 states: table, steps, ones.
BUSY = {
    "BB(3), steps": ("1RB 1RH, 1LB 0RC, 1LC 1LA", 21, 5),
    "BB(3), ones": ("1RB 1RH, 0RC 1RB, 1LC 1LA", 14, 6),
    "BB(4)": ("1RB 1LB, 1LA 0LC, 1RH 1LD, 1RD 0RA", 107, 13),
}
# That of 5 states halts after 47,176,870 steps.
_LONG_RUN = "1RB 1LC, 1RC 1RB, 1RD 0LE, 1LA 1LD, 1RH 0LA"

_PUSH_ONES = Machine(("push", ("*", "*"), "push", ("1", "keep")))
_REVERSE = Machine(
    *(("move", (s, "*"), "move", ("pop", s)) for s in "01"),
    ("move", ("", "*"), "done", _KEEP),
)
_DEPTH = 26  # two bits a symbol, 53 bits in a float64


class Followed(NamedTuple):
    """How far a net did what the simulator did."""

    right: int  # configurations until the first that differs
    of: int
    last: Configuration  # the simulator's


def follow(net: Network, *stacks: str, steps: int | None = None) -> Followed:
    """In float64, for so many steps or until the machine has halted."""
    runs = net.machine.run(*stacks)
    expected = net.machine.until_halted(*stacks) if steps is None else list(islice(runs, steps + 1))
    found = net.in_floats(*stacks, steps=len(expected) - 1)
    return Followed(_agreeing(found, expected), len(expected), expected[-1])


def _agreeing(found: Iterator[Configuration | None], expected: list[Configuration]) -> int:
    for number, pair in enumerate(zip(found, expected, strict=False)):
        if pair[0] != pair[1]:
            return number
    return len(expected)


def run(effort: Effort) -> Iterator[Row]:
    yield _numbers(effort.pick(40, 300, 3000))
    yield _words(effort.pick(5, 8, 11))
    yield from map(_busy, BUSY)
    yield _exact(effort.pick(300, 10_000, 40_000))
    yield from _depth(effort.pick(3, 20, 200))


def _table(name: str, followed: list[Followed], right: bool, found: str) -> Row:
    """A line about runs that should all agree with the simulator and come out right."""
    steps = sum(each.of - 1 for each in followed)
    wrong = sum(each.right < each.of for each in followed)
    ours = f"{found}; {steps:,} steps, {wrong} runs differ from the simulator's"
    return Row(name, "every state that of the machine", ours, right and not wrong)


def _numbers(count: int) -> Row:
    net, followed, right = Network(INCREMENT), [], 0
    for n in progress_over(range(count), "increment"):
        followed.append(follow(net, f"{n:b}"[::-1], ""))
        right += followed[-1].last.stacks == (f"{n + 1:b}"[::-1], "")
    name = f"binary increment, a net of {len(net)} units"
    return _table(name, followed, right == count, f"{right} of {count} sums right")


def _words(longest: int) -> Row:
    words = ["".join(word) for n in range(longest + 1) for word in product("01", repeat=n)]
    net, followed, right = Network(PALINDROME), [], 0
    for word in progress_over(words, "palindromes"):
        followed.append(follow(net, "", word))
        right += followed[-1].last.state == ("yes" if word == word[::-1] else "no")
    name = f"palindromes, all words up to {longest} symbols, {len(net)} units"
    return _table(name, followed, right == len(words), f"{right} of {len(words)} told right")


def _busy(name: str) -> Row:
    table, steps, ones = BUSY[name]
    net = Network(turing_machine(table))
    found = follow(net, "", "")
    written = (found.last.state[1] + "".join(found.last.stacks)).count("1")
    return Row(
        f"{name}, a net of {len(net)} units ({STEPS} steps of the net for one)",
        f"{steps} steps, {ones} ones (a universal net: 886 units)",
        f"{found.of - 1} steps, {written} ones; {found.of - found.right} configurations differ",
        (found.of - 1, written, found.right) == (steps, ones, found.of),
    )


def _exact(steps: int) -> Row:
    machine = turing_machine(_LONG_RUN)
    expected = list(islice(machine.run("", ""), steps + 1))
    found = Network(machine).in_fractions("", "")
    right = _agreeing(iter(progress_over(islice(found, steps + 1), "fractions", steps + 1)), expected)
    depth = max(len(stack) for each in expected for stack in each.stacks)
    return Row(
        "BB(5) in exact rational numbers",
        f"every state that of the machine, {steps:,} steps",
        f"{right - 1:,} steps agree, stacks to {depth} symbols",
        right == steps + 1,
    )


def _depth(words: int) -> Iterator[Row]:
    rng = np.random.default_rng(0)
    drawn = ["".join(rng.choice(["0", "1"], _DEPTH)) for _ in range(words)]
    net = Network(_REVERSE)
    followed = [follow(net, word, "") for word in drawn]
    right = sum(each.last.stacks[1] == word[::-1] for each, word in zip(followed, drawn, strict=True))
    yield _table(
        f"float64, words of {_DEPTH} symbols turned round", followed, right == words, f"{right} right"
    )
    found = follow(Network(_PUSH_ONES), "", "", steps=2 * _DEPTH)
    yield Row(
        "float64, ones pushed without an end",
        f"53 bits hold a stack of {_DEPTH} symbols, no more",
        f"exact to depth {found.right - 1}, wrong at {found.right}",
        found.right == _DEPTH + 1,
    )


def progress_over(items, text: str, total: int | None = None):
    """The items, with a bar."""
    with progress(len(items) if total is None else total, text, "run" if total is None else "step") as bar:
        for item in items:
            yield item
            bar.update()
