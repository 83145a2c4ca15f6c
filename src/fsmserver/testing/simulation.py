"""Whole-server runs from one integer seed: generate, run, and repeat exactly.

A run draws a header first: the configuration of its world, and, in half of the runs, which kinds of operations are in play and
how likely each is (swarm testing: what is left out lets the rest go deep); the other half is uniform, which finds what is
shallow. Then it draws operations and applies them as it goes. A run that fails is a value: its configuration and its operations.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fsmserver.runtime.link import address_words
from fsmserver.testing.coverage import Coverage
from fsmserver.testing.operations import BRINGS, KINDS, NAMELESS, Operation
from fsmserver.testing.sources import EndOfTape, SeededSource, Source
from fsmserver.testing.world import Config, Peer, World

MOST_LIVE: Final = 7
"""Peers at once: more than the connection limit, so that a listener is full sometimes."""

LENGTHS: Final = (30, 60, 120, 240)
ALWAYS: Final = ("connect", "say", "hear", "round", "pass")
EIGHTHS: Final = 8
FOCUS: Final = (0, 3, 6, 7)
"""Of eight operations so many stay with the peer of the one before."""

CONNECTIONS: Final = (2, 6, 12, 18)
"""Limits on connections: with the first ones listeners are full, the last has room for a bustle."""

STIMULI: Final = (("say",), ("say",), ("write",), ("end",), ("urge",), ("urge",), ("say", "fail_recv"), ("abort",), ("pass", "pass"))
"""What can happen to a connection that cannot send, each to be read from its end. After a jam come two of these, each with its round."""

SWARM_WEIGHTS: Final = (1, 2, 4, 8)
ROOMS: Final = (64, 256, 4096)

WorldMaker = Callable[[Config], World]
"""Makes the world under test of a configuration."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong: the kind of it, by which a reduction knows it again, and the sentence."""

    kind: str
    sentence: str

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Describe an exception: an invariant by its number, anything else by its type."""
        number = getattr(error, "number", None)
        kind = f"invariant {number}" if isinstance(number, int) else type(error).__name__
        return cls(kind, str(error) or type(error).__name__)

    def names(self, peers: Iterable[Peer]) -> tuple[int, ...]:
        """Give the numbers of those of `peers` that the sentence names, by number or by address."""
        return tuple(
            peer.number
            for peer in peers
            if re.search(rf"\bpeer {peer.number}\b|{re.escape(address_words(peer.name))}\b", self.sentence) is not None
        )


@dataclass(slots=True)
class Outcome:
    """What became of a run. `digest` is empty if it failed; `events` are what it is made of: calls to the kernel, and transitions."""

    config: Config
    operations: list[Operation] = field(default_factory=list)
    failure: Failure | None = None
    named: tuple[int, ...] = ()
    digest: str = ""
    coverage: Coverage = field(default_factory=Coverage)
    checked: int = 0
    messages: int = 0
    transitions: int = 0
    events: int = 0
    rounds: int = 0
    connections: int = 0
    simulated_s: float = 0.0

    def close(self, world: World) -> None:
        """Take the figures of a world that has ended, well or not."""
        self.coverage = world.coverage
        self.checked = world.checked
        self.messages = world.messages
        self.transitions = len(world.transitions)
        self.events = self.transitions + len(world.kernel.log or ())
        self.rounds = world.rounds
        self.connections = len(world.peers)
        self.simulated_s = world.kernel.clock() - 1000.0
        if self.failure is not None:
            self.named = self.failure.names(world.peers.values())
        world.violation = None


class Generator:
    """Draws a header and operations from a source."""

    def __init__(self, source: Source, poller: str = "epoll", kinds: Sequence[str] = tuple(KINDS)) -> None:
        """Draw the header. `kinds` are those in play at all."""
        self.below = below = source.below
        self.swarm = bool(below(2))
        self.config = Config(
            poller=poller,
            watched=below(4) != 0,
            eager_writes=below(4) != 0,
            exceptional=("discard", "inline", "close", "close")[below(4)],
            when_full=("wait", "refuse")[below(2)],
            handshake=below(3) == 0,
            send_room_bytes=ROOMS[below(3)],
            receive_room_bytes=ROOMS[below(3)],
            connections=CONNECTIONS[below(4)],
        )
        self.length = LENGTHS[below(4)]
        self._focus = FOCUS[below(4)]
        self._peer: Peer | None = None
        self._names: list[str] = []
        for name in kinds:
            weight = KINDS[name].weight
            if self.swarm and weight:
                weight = SWARM_WEIGHTS[below(4)] if name in ALWAYS or below(2) else 0
            if name == "urge" and self.config.exceptional == "close":
                weight *= 3  # there it is the end of a connection, in whatever it was
            self._names += [name] * weight
        self._stimuli = [names for names in STIMULI if set(names) <= set(kinds)]
        self._planned: list[str] = []
        self._next_peer = 0

    def draw(self, world: World) -> Operation:
        """Draw one operation that makes sense in `world` now."""
        below = self.below
        live = world.live
        name = self._planned.pop() if self._planned else self._names[below(len(self._names))]
        if name not in NAMELESS and not live:
            name = "connect"
        if name == "connect" and len(live) >= MOST_LIVE:
            return ("leave", live[below(len(live))].number)
        kind = KINDS[name]
        arguments = [choices[below(len(choices))] for choices in kind.arguments]
        if name in BRINGS:
            first, self._next_peer = self._next_peer + 1, self._next_peer + BRINGS[name]
            return (name, first, *arguments)
        if name in NAMELESS:
            return (name, *arguments)
        peer = self._choose(live)
        if name == "jam":
            self._plan()
        elif peer.checked and below(4):
            name, arguments = "leave", []  # its connection is closed: it will not stay for long
        return (name, peer.number, *arguments)

    def _plan(self) -> None:
        for _ in range(2):
            self._planned += ["round", *self._stimuli[self.below(len(self._stimuli))]]

    def _choose(self, live: list[Peer]) -> Peer:
        """Choose a peer: the one that was chosen last, as often as the header says, so that something becomes of it."""
        peer = self._peer
        if peer is None or peer.over or (not self._planned and self.below(EIGHTHS) >= self._focus):
            peer = self._peer = live[self.below(len(live))]
        return peer


def run_generated(source: Source, make_world: WorldMaker, *, poller: str = "epoll", kinds: Sequence[str] = tuple(KINDS)) -> Outcome:
    """Draw and do a whole run; whatever goes wrong is in the outcome."""
    generator = Generator(source, poller, kinds)
    outcome = Outcome(generator.config)
    world = make_world(generator.config)
    operations, apply, draw = outcome.operations, world.apply, generator.draw
    try:
        try:
            for _ in range(generator.length):
                operation = draw(world)
                operations.append(operation)
                apply(operation)
        except EndOfTape:
            pass
        world.finish()
        outcome.digest = world.digest() if world.kernel.log is not None else ""
    except Exception as error:  # noqa: BLE001 - whatever is raised is what was looked for
        outcome.failure = Failure.of(error)
    outcome.close(world)
    return outcome


def run_seed(seed: int, make_world: WorldMaker, **options: Any) -> Outcome:
    """Do the run of one seed."""
    return run_generated(SeededSource(seed), make_world, **options)


def run_script(config: Config, operations: Sequence[Operation], make_world: WorldMaker) -> Outcome:
    """Do the operations given, in a world of this configuration. The outcome's operations are those up to the failure."""
    outcome = Outcome(config)
    world = make_world(config)
    try:
        for operation in operations:
            outcome.operations.append(operation)
            world.apply(operation)
        world.finish()
        outcome.digest = world.digest() if world.kernel.log is not None else ""
    except Exception as error:  # noqa: BLE001 - as above
        outcome.failure = Failure.of(error)
    outcome.close(world)
    return outcome
