"""The words of the machines: states are nouns, events are what happened, holds are reasons not to read.

All of them are strings that print as themselves, so errors, traces and tests read well.
"""

from enum import IntFlag, StrEnum


class State(StrEnum):
    """Where a connection stands. Exactly one holds at any time."""

    ACCEPTED = "accepted"
    READING = "reading"
    QUEUED = "queued"
    WRITING = "writing"
    CLOSED = "closed"


class Event(StrEnum):
    """What happened to a connection."""

    OPEN = "open"
    RECEIVE = "receive"
    ENQUEUE = "enqueue"
    FLUSH = "flush"
    DRAIN = "drain"
    EOF = "eof"
    FINISH = "finish"
    RESET = "reset"
    EXCEPTIONAL = "exceptional"
    EXPIRE = "expire"
    ABORT = "abort"


class ListenerState(StrEnum):
    """Where a listener stands."""

    LISTENING = "listening"
    FULL = "full"
    EXHAUSTED = "exhausted"
    DRAINING = "draining"
    CLOSED = "closed"


class ListenerEvent(StrEnum):
    """What happened to a listener."""

    FILL = "fill"
    EXHAUST = "exhaust"
    RELIEVE = "relieve"
    DRAIN = "drain"
    CLOSE = "close"


class Hold(IntFlag):
    """Why a connection is not read. Any number may be held at once; none held means it is read."""

    EOF = 1
    """The peer has said that it sends no more."""
    FINISHING = 2
    """A graceful close is under way: what is owed is still sent, nothing more is delivered."""
    PAUSED = 4
    """The application asked for a pause."""
    BACKPRESSURE = 8
    """The outbox went over its high mark and has not come down to its low mark yet."""

    @property
    def words(self) -> tuple[str, ...]:
        """The names of the holds in force, in the order of their declaration."""
        return tuple(hold.name.lower() for hold in Hold if hold in self and hold.name is not None)


class Interest(IntFlag):
    """What the poller watches a descriptor for."""

    NOTHING = 0
    READ = 1
    WRITE = 2

    @property
    def words(self) -> str:
        """Say the interest as people do: `read and write`, `read`, `write`, `nothing`."""
        return INTEREST_WORDS[self]


INTEREST_WORDS = ("nothing", "read", "write", "read and write")
