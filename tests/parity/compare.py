"""Drive both sides with the same script, and find the shortest script in which they differ."""

from __future__ import annotations

import random
import select
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from tests.parity.operations import KINDS, Operation, words
from tests.parity.sides import PATIENCE_MS, RealSide, SimulatedSide, no_holes

POLLERS: Final = ("select", "poll", "epoll")
STEPS: Final = 30
TRIES: Final = 3
"""What differs once and not again was late: the real kernel leaves work to a thread of its own when it is busy."""

OPENING: Final[tuple[Operation, ...]] = (("listen", 1), ("connect", 2, 1), ("accept", 3, 1))
SWARM: Final = (0.1, 0.3, 1, 3)

LITTLE_PATIENCE_MS: Final = 20
MOST_SOCKETS: Final = 8
MOST_ATTEMPTS: Final = 10
"""A script may come to an end early: so many operations are drawn for each that is done."""


class Difference(NamedTuple):
    """The first operation whose results differ."""

    script: tuple[Operation, ...]
    simulated: Any
    real: Any

    def __str__(self) -> str:
        lines = "\n".join(f"    {words(operation)}" for operation in self.script)
        return f"{lines}\n  simulated: {self.simulated!r}\n  real:      {self.real!r}"


class Pair:
    """A simulated and a real side, and what was done on both."""

    def __init__(self, poller: str, patience_ms: int = PATIENCE_MS) -> None:
        self.patience_ms = patience_ms
        self.simulated = SimulatedSide(poller)
        self.real = RealSide(poller)
        self.done: list[Operation] = []

    def step(self, operation: Operation) -> Difference | None:
        """Do one operation on both sides, if it can be compared."""
        if not self.simulated.allows(operation):
            return None
        self.done.append(operation)
        simulated, real = self.simulated.perform(operation), self.real.perform(operation)
        if simulated != real:
            return Difference(tuple(self.done), simulated, real)
        expected = self.simulated.ready()
        found = self.real.ready()
        if found != expected:
            found = self._look_again(expected)
        return Difference(tuple(self.done), expected, found) if found != expected else None

    def _look_again(self, expected: dict[int, int]) -> dict[int, int]:
        """Look until what is found is what is expected, or patience ends."""
        nobody = select.poll()
        end_s = time.monotonic() + self.patience_ms / 1000
        while (found := self.real.ready()) != expected and time.monotonic() < end_s:
            nobody.poll(1)
        return found

    def end(self) -> None:
        self.simulated.end()
        self.real.end()


@contextmanager
def pair(poller: str, patience_ms: int = PATIENCE_MS) -> Iterator[Pair]:
    """Make a pair, and close everything in the end."""
    both = Pair(poller, patience_ms)
    try:
        yield both
    finally:
        both.end()


def run(script: Iterable[Operation], poller: str, patience_ms: int = PATIENCE_MS) -> Difference | None:
    """Run a script; give the first difference."""
    with pair(poller, patience_ms) as both:
        return next(filter(None, map(both.step, script)), None)


def confirmed(difference: Difference, poller: str) -> Difference | None:
    """Give a difference if it is there each time."""
    found: Difference | None = difference
    for _ in range(TRIES):
        if found is not None:
            with no_holes():
                found = run(difference.script, poller)
    return found


def reduced(difference: Difference, poller: str) -> Difference:
    """Leave operations out as long as the sides still differ. That is tried with little patience, and the result with all of it."""
    found = difference
    place = len(found.script) - 1
    while place >= 0:
        shorter = run(found.script[:place] + found.script[place + 1 :], poller, patience_ms=LITTLE_PATIENCE_MS)
        if shorter is not None and len(shorter.script) < len(found.script):
            found = shorter
        place = min(place, len(found.script)) - 1
    return run(found.script, poller) or difference


class Writer:
    """Writes scripts: draws operations that can be done in the state in which a simulated side is.

    Half the writers have all kinds of operations in play, the others some, with weights of their own. Most begin with a
    connection, and most of what they do, they do to connections that are alive.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.names = list(KINDS)
        self.weights = [float(kind.weight) for kind in KINDS.values()]
        if self.random.random() < 0.5:
            self.weights = [weight * self.random.choice(SWARM) for weight in self.weights]
        self.opening = list(OPENING) if self.random.random() < 0.8 else []

    def write(self, side: SimulatedSide) -> Operation:
        """Draw one operation; it may be one that the side does not allow."""
        if self.opening:
            return self.opening.pop(0)
        (name,) = self.random.choices(self.names, self.weights)
        numbers = [self.number(role, side) for role in KINDS[name].role.split(", ")]
        return (name, *numbers, *map(self.random.choice, KINDS[name].arguments))

    def number(self, role: str, side: SimulatedSide) -> int:
        """Draw the number of a socket in this role; 0 if there is none."""
        match role:
            case "new":
                known = len(side.socks) + len(side.closed)
                return known + 1 if len(side.socks) < MOST_SOCKETS else known
            case "listener":
                return self.choice({number: side.listener_weight(number) for number in side.listeners})
            case "open":
                return self.choice({number: side.open_weight(number) for number in side.socks})
            case "reader":
                return self.choice({number: side.open_weight(number) * (4 if side.unread(number) else 1) for number in side.socks})
            case _:
                return self.choice(dict.fromkeys(side.closed, 1))

    def choice(self, numbers: dict[int, int]) -> int:
        return self.random.choices(list(numbers), list(numbers.values()))[0] if numbers else 0


def play(writer: Writer, both: Pair, steps: int = STEPS) -> Difference | None:
    """Write and run a script; give the first difference."""
    for _ in range(MOST_ATTEMPTS * steps):
        if len(both.done) == steps:
            break
        difference = both.step(writer.write(both.simulated))
        if difference is not None:
            return difference
    return None


def drive(seed: int, poller: str, patience_ms: int = PATIENCE_MS) -> Difference | None:
    """Write and run the script of a seed; give the first difference."""
    with pair(poller, patience_ms) as both:
        return play(Writer(seed), both)


def search(seeds: Iterable[int], poller: str, late: Callable[[int], object] = lambda _: None) -> tuple[int, Difference] | None:
    """Drive one seed after another; give the first that differs, and its shortest script. `late` is told of those that differ only once."""
    for seed in seeds:
        difference = drive(seed, poller)
        if difference is None:
            continue
        found = confirmed(difference, poller)
        if found is not None:
            return seed, reduced(found, poller)
        late(seed)
    return None


__all__ = ["Difference", "Pair", "Writer", "confirmed", "drive", "no_holes", "pair", "play", "reduced", "run", "search"]
