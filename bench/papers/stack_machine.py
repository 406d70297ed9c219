"""Machines with two stacks, and their compilation into a recurrent net of saturated-linear units.

Siegelmann & Sontag (1995) keep a stack of binary symbols w1 w2 ..., the top first, in one number of base 4,
q = sum (2 w_i + 1)/4^i. With s(z) = min(max(z, 0), 1), s(4q - 2) is its top and s(4q) whether there is one;
q/4 + 1/4 and q/4 + 3/4 have a 0 and a 1 pushed, 4q - 2 top - 1 is popped. A step of the machine is three of
the net:

    1  the control state, one unit each; each stack as the sum of four units, one for each action upon it
    2  what is on top
    3  one unit for each rule: 1 where the rule applies
    1  of the four units of a stack those three vanish whose action no rule took
"""

from collections.abc import Iterator
from fractions import Fraction
from itertools import product
from math import floor
from typing import Any, NamedTuple

import numpy as np

from lamina import nn, no_grad

STEPS = 3  # of the net for one of the machine
_STACKS = (0, 1)
_ACTIONS = ("keep", "0", "1", "pop")
_SYMBOLS = ("0", "1", "")


class Rule(NamedTuple):
    """In `state` with these tops, "0", "1", "" for an empty stack or "*" for any: what to do with each stack.

    Actions: "keep", "0" or "1" to push it, "pop" (which leaves an empty stack as it is).
    """

    state: str
    tops: tuple[str, str]
    then: str
    actions: tuple[str, str]

    def applies(self, state: str, tops: tuple[str, ...]) -> bool:
        return state == self.state and all(a in ("*", b) for a, b in zip(self.tops, tops, strict=True))


class Configuration(NamedTuple):
    """A control state and two stacks, each a string with its top first."""

    state: str
    stacks: tuple[str, str]


class Machine:
    """Rules of which one applies, or none in a state without rules, where the machine has halted."""

    def __init__(self, *rules: tuple[str, tuple[str, str], str, tuple[str, str]]) -> None:
        self.start = rules[0][0]
        found = [Rule(*rule) for rule in rules]
        working = {rule.state for rule in found}
        for state, tops in product(working, product(_SYMBOLS, repeat=2)):
            if (count := sum(rule.applies(state, tops) for rule in found)) != 1:
                raise ValueError(f"{count} rules apply in state {state!r} with the tops {tops}: expected 1")
        self.halted = sorted({rule.then for rule in found} - working)
        self.states = [*dict.fromkeys(rule.state for rule in found), *self.halted]
        self.rules = found + [Rule(state, ("*", "*"), state, ("keep", "keep")) for state in self.halted]

    def run(self, *stacks: str) -> Iterator[Configuration]:
        """Every configuration from the first, without an end; a halted machine stays as it is."""
        here = Configuration(self.start, (stacks[0], stacks[1]))
        while True:
            yield here
            tops = tuple(stack[:1] for stack in here.stacks)
            rule = next(rule for rule in self.rules if rule.applies(here.state, tops))
            first, second = (
                stack if action == "keep" else stack[1:] if action == "pop" else action + stack
                for stack, action in zip(here.stacks, rule.actions, strict=True)
            )
            here = Configuration(rule.then, (first, second))

    def until_halted(self, *stacks: str) -> list[Configuration]:
        found = []
        for here in self.run(*stacks):
            found.append(here)
            if here.state in self.halted:
                return found
        raise AssertionError("a run has no end")


def turing_machine(table: str) -> Machine:
    """From the usual notation of two symbols, "1RB 1LB, 1LA 0LC, ...": states A, B, ..., H halts.

    The stacks are the tape left and right of the head, blank beyond their ends; the symbol under the head is
    in the control state: "A0" is A on a 0.
    """
    rules = []
    for letter, pair in zip("ABCDEFG", table.split(","), strict=False):
        for head, (written, way, then) in zip("01", pair.split(), strict=True):
            for top in _SYMBOLS:
                tops, actions = ("*", top), (written, "pop")
                if way == "L":
                    tops, actions = tops[::-1], actions[::-1]
                rules.append((letter + head, tops, then + (top or "0"), actions))
    return Machine(*rules)


def encode(stack: str) -> Fraction:
    return sum((Fraction(2 * int(symbol) + 1, 4**i) for i, symbol in enumerate(stack, 1)), Fraction(0))


def decode(value: Any) -> str | None:
    """None if the number is the code of no stack."""
    rest, found = Fraction(value), []
    while rest:
        digit = floor(4 * rest)
        if digit not in (1, 3):
            return None
        found.append("1" if digit == 3 else "0")
        rest = 4 * rest - digit
    return "".join(found)


class Network:
    """The weights of h_t = s(w_ih x_t + w_hh h_{t-1} + b) that simulate a machine.

    x_0 is (1, code of the first stack, code of the second), later inputs are 0. From h = 0, the state after
    step 3t + 1 is the machine's after t: `configuration` reads it.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._units: dict[Any, tuple[Any, list[Any]]] = {}  # name: bias, [(weight, name)]
        self._first_phase()
        self._second_phase()
        self._third_phase()
        places = {name: i for i, name in enumerate(self._units)}
        self.places = places
        self.bias = [bias for bias, _ in self._units.values()]
        self.weights = [[(w, places[name]) for w, name in terms] for _, terms in self._units.values()]
        # (unit, column) of the weights 1: the first column opens the gate for the codes, too
        self.inputs = [(places["state", machine.start], 0)]
        self.inputs += [(places["part", i, "keep"], column) for i in _STACKS for column in (0, 1 + i)]

    def __len__(self) -> int:
        return len(self._units)

    def _first_phase(self) -> None:
        rules = list(enumerate(self.machine.rules))
        for state in self.machine.states:
            self._units["state", state] = 0, [(1, ("rule", n)) for n, rule in rules if rule.then == state]
        quarter = Fraction(1, 4)
        for i, action in product(_STACKS, _ACTIONS):
            gate = [(1, ("rule", n)) for n, rule in rules if rule.actions[i] == action]
            value = {
                "keep": (0, [(1, ("held", i))]),
                "0": (quarter, [(quarter, ("held", i))]),
                "1": (3 * quarter, [(quarter, ("held", i))]),
                "pop": (-1, [(4, ("held", i)), (-2, ("held top", i))]),
            }[action]
            self._units["part", i, action] = value[0] - 1, value[1] + gate  # at most 0 with the gate shut

    def _second_phase(self) -> None:
        for state in self.machine.states:
            self._units["seen", state] = 0, [(1, ("state", state))]
        for i in _STACKS:
            parts = [("part", i, action) for action in _ACTIONS]
            self._units["top", i] = -2, [(4, part) for part in parts]
            self._units["some", i] = 0, [(4, part) for part in parts]
            self._units["stack", i] = 0, [(1, part) for part in parts]

    def _third_phase(self) -> None:
        for i in _STACKS:
            self._units["held", i] = 0, [(1, ("stack", i))]
            self._units["held top", i] = 0, [(1, ("top", i))]
        for n, rule in enumerate(self.machine.rules):
            terms = [(1, ("seen", rule.state))]
            for i, top in zip(_STACKS, rule.tops, strict=True):
                terms += {
                    "*": [],
                    "1": [(1, ("top", i))],
                    "0": [(1, ("some", i)), (-1, ("top", i))],
                    "": [(-1, ("some", i))],
                }[top]
            self._units["rule", n] = 1 - sum(w for w, _ in terms if w > 0), terms

    def in_floats(self, *stacks: str, steps: int) -> Iterator[Configuration | None]:
        """The configurations of so many steps, computed by lamina's kernel in float64."""
        size = len(self)
        rnn = nn.RNN(1 + len(_STACKS), size, nonlinearity="satlin").astype(np.float64)
        w_ih, w_hh = np.zeros((size, 3)), np.zeros((size, size))
        w_ih[tuple(zip(*self.inputs, strict=True))] = 1
        for i, row in enumerate(self.weights):
            for weight, j in row:
                w_hh[i, j] += float(weight)
        values = {"weight_ih_l0": w_ih, "weight_hh_l0": w_hh, "bias_l0": np.array(self.bias, np.float64)}
        rnn.load_state_dict(values)
        x = np.zeros((1, STEPS * steps + 1, 3))
        x[0, 0] = [1, *(float(encode(stack)) for stack in stacks)]
        with no_grad():
            y, _ = rnn(x)
        for state in y.data[0, ::STEPS]:
            yield self.configuration(state)

    def in_fractions(self, *stacks: str) -> Iterator[Configuration | None]:
        """The configurations, computed in exact rational numbers, without an end."""
        columns: list[list[Any]] = [[] for _ in range(len(self))]
        for i, row in enumerate(self.weights):
            for weight, j in row:
                columns[j].append((i, weight))
        x = [1, *map(encode, stacks)]
        total = list(self.bias)
        for i, column in self.inputs:
            total[i] += x[column]
        while True:
            h = [min(max(z, 0), 1) for z in total]
            yield self.configuration(h)
            for _ in range(STEPS):
                total = list(self.bias)
                for j, value in enumerate(h):
                    if value:
                        for i, weight in columns[j]:
                            total[i] += weight * value
                h = [min(max(z, 0), 1) for z in total]

    def configuration(self, h: Any) -> Configuration | None:
        """What the units of the first phase mean; None if it is no configuration."""
        states = [state for state in self.machine.states if h[self.places["state", state]]]
        stacks = [
            decode(sum(Fraction(h[self.places["part", i, action]]) for action in _ACTIONS)) for i in _STACKS
        ]
        if len(states) != 1 or h[self.places["state", states[0]]] != 1 or None in stacks:
            return None
        return Configuration(states[0], (stacks[0], stacks[1]))
