"""Which lines a trace can have, and in what order, before anything is counted: all of it read from the table.

A *shape* is a line without its counts and times: an arrow, with what is held. A *step* is what one shape, after another of
the same connection, asks of the counts and times of the two lines. There are a few hundred shapes and a few thousand steps,
so each is judged once.
"""

from collections.abc import Mapping
from enum import Enum, StrEnum
from typing import Final, NamedTuple, TypeAlias

from fsmserver.core.errors import IllegalTransition
from fsmserver.core.line import Line
from fsmserver.core.states import Event, Hold, Interest, State
from fsmserver.core.table import ALL_HOLDS, CONNECTION, SENDING, deadline, interest, owes_nothing, renews

READS: Final = frozenset((Event.RECEIVE, Event.EOF, Event.EXCEPTIONAL))
"""What is learnt by reading only."""

HOLDS: Final[Mapping[tuple[str, ...], Hold]] = {holds.words: holds for holds in ALL_HOLDS}


class Shape:
    """All of a line but its counts and times. The attributes that are strings are as they stand in the line."""

    __slots__ = ("after", "deadline", "ends", "event", "held", "interest", "lasting", "origin", "sends", "state", "to")

    def __init__(self, event: Event | None, origin: State, state: State, held: Hold) -> None:
        """Derive everything from an arrow and what was held when it was taken; `event` is None in `BIRTH` only."""
        self.event = event
        self.origin = origin
        self.state = state
        self.held = held
        self.lasting = held | Hold.EOF if event is Event.EOF else held  # what is held when the event is over
        self.to = state.value
        self.interest = interest(state, held).words
        self.deadline = deadline(state, held)
        self.sends = state in SENDING
        self.ends = state in CONNECTION.final
        self.after: dict[Shape, Asked] = {}


BIRTH: Final = Shape(None, CONNECTION.initial, CONNECTION.initial, Hold(0))
"""What stands before the first line of a connection: it was accepted, which has no line."""


def objection(event: Event, origin: State, state: State, held: Hold) -> str | None:
    """Say why an arrow of the table cannot be taken with these holds in force; None if it can."""
    words = " and ".join(held.words) or "nothing"
    if event in READS and not interest(origin, held) & Interest.READ:
        return f"expected no {event} in {origin} holding {words}: it is not read then"
    if (event is Event.FINISH) is not owes_nothing(origin, held):
        return f"expected {event} not to happen in {origin} holding {words}: finish comes when nothing is owed, and nothing else then"
    if origin is CONNECTION.initial and held & ~Hold.PAUSED:
        return f"expected nothing but a pause to be held in {origin}, not {words}"
    if held & Hold.BACKPRESSURE and (origin not in SENDING or not (state in SENDING or state in CONNECTION.final)):
        return f"expected no backpressure with {event} from {origin} to {state}: the outbox is empty"
    if event is Event.ENQUEUE and held & Hold.FINISHING:
        return f"expected no {event} while finishing is held: the end of the stream is queued already"
    return None


def _shapes() -> dict[tuple[str, str, tuple[str, ...]], Shape]:
    return {
        (event.value, origin.value, held.words): Shape(event, origin, state, held)
        for origin, row in CONNECTION.arrows.items()
        for event, state in row.items()
        for held in ALL_HOLDS
        if objection(event, origin, state, held) is None
    }


SHAPES: Final = _shapes()
"""Every shape that a line can have, by its event, its origin and its holds."""


def why_unlike(line: Line) -> str:
    """Say what was expected where a line has no shape, or says something else than the shape of its arrow."""
    return _unknown_word(line) or _wrong_arrow(line) or _wrong_consequence(line)


def _choice(name: str, kind: type[StrEnum], value: str) -> str | None:
    words = [str(each) for each in kind]
    return None if value in words else f"expected {name!r} to be one of {', '.join(words)}, not {value!r}"


def _unknown_word(line: Line) -> str | None:
    unknown = _choice("event", Event, line.event) or _choice("from", State, line.origin) or _choice("to", State, line.to)
    if unknown is None and line.holds not in HOLDS:
        return f"expected the holds to be some of {', '.join(ALL_HOLDS[-1].words)}, in this order, not {', '.join(line.holds)}"
    return unknown


def _wrong_arrow(line: Line) -> str | None:
    event, origin = Event(line.event), State(line.origin)
    state = CONNECTION.arrows[origin].get(event)
    if state is None:
        return f"expected an arrow of the table: {IllegalTransition(origin, event, CONNECTION.legal(origin))}"
    if line.to != state:
        return f"expected {event} to lead from {origin} to {state}, not to {line.to}"
    return objection(event, origin, state, HOLDS[line.holds])


def _wrong_consequence(line: Line) -> str:
    state, held = State(line.to), HOLDS[line.holds]
    in_force = f"in {state} holding {' and '.join(held.words) or 'nothing'}"
    if line.interest != interest(state, held).words:
        return f"expected the interest {interest(state, held).words!r} {in_force}, not {line.interest!r}"
    return f"expected the deadline {deadline(state, held)!r} {in_force}, not {line.deadline!r}"


class Begun(Enum):
    """When the limit that ran until a line had begun anew."""

    AS_BEFORE = 0
    WITH_THE_FORMER = 1
    """At the moment of the line before it."""
    WITH_WHAT_WAS_TAKEN = 2
    """At the moment of the line before it if the kernel took something, else as before."""
    WITH_THE_LATTER = 3
    """At its own moment."""
    BETWEEN = 4
    """At some moment between the line before it and its own."""


Asked: TypeAlias = tuple[bool, bool, bool, bool, bool, bool, bool, Begun]
"""A step as a plain tuple, which CPython unpacks without an iterator."""


class Step(NamedTuple):
    """What two shapes in a row ask of the counts and times of their lines."""

    receives: bool
    """Bytes came with the former event."""
    enqueues: bool
    """Bytes are written with the latter."""
    offers: bool
    """The former offered the outbox to the kernel."""
    drains: bool
    """The latter is drain."""
    at_once: bool
    """The latter comes at the moment of the former."""
    unpressed: bool
    """The former wrote, and no backpressure is held since: so the outbox was not over its high mark."""
    eased: bool
    """Backpressure has gone: so the outbox is down to its low mark."""
    begun: Begun


def judge(former: Shape, latter: Shape) -> Step | str:
    """Judge two shapes in a row; give the step, or, in words, what was expected instead of the latter."""
    fault = _clash(former, latter)
    if fault is not None:
        return fault
    return Step(
        receives=former.event is Event.RECEIVE,
        enqueues=latter.event is Event.ENQUEUE,
        offers=former.event is Event.FLUSH,
        drains=latter.event is Event.DRAIN,
        at_once=latter.event is Event.DRAIN or owes_nothing(former.state, former.lasting),
        unpressed=former.event is Event.ENQUEUE and not latter.held & Hold.BACKPRESSURE,
        eased=bool(former.lasting & ~latter.held & Hold.BACKPRESSURE),
        begun=_begun(former, latter),
    )


def _clash(former: Shape, latter: Shape) -> str | None:
    if latter.origin is not former.state:
        left = "accept" if former.event is None else former.event
        return f"expected it to go on from {former.state}, where {left} left it; this line begins in {latter.origin}"
    come, gone = latter.held & ~former.lasting, former.lasting & ~latter.held
    if come & Hold.EOF:
        return "expected eof to be held from the event eof on only, and there was none"
    lost = gone & (Hold.EOF | Hold.FINISHING)
    if lost:
        return f"expected {' and '.join(lost.words)} to be held until the end: what the former line left is not held in this"
    if gone & Hold.BACKPRESSURE and former.event is not Event.FLUSH:
        return "expected backpressure to be held until the kernel takes bytes: nothing was offered since the former line"
    return None


def _begun(former: Shape, latter: Shape) -> Begun:
    ran = deadline(former.state, former.lasting)
    if deadline(latter.origin, latter.held) != ran:
        return Begun.BETWEEN  # what was held since came without an event
    if latter.event is Event.ENQUEUE and latter.deadline != ran:
        return Begun.WITH_THE_LATTER  # its bytes are in the outbox before the event, and so is the time
    if former.event is not None and deadline(former.origin, former.held) != ran:
        return Begun.WITH_THE_FORMER
    if former.event is Event.RECEIVE and renews(former.state, former.held, "received"):
        return Begun.WITH_THE_FORMER
    if former.event is Event.FLUSH and renews(former.state, former.held, "taken"):
        return Begun.WITH_WHAT_WAS_TAKEN
    return Begun.AS_BEFORE
