"""What a line of a trace says: the one declaration that writes lines, reads them and checks them.

A `Line` is one transition. An `Exchange` is the four of the usual message, in one: bytes came to a connection that held
and owed nothing, the application answered with one write, and the kernel took it whole. It says nothing else than they do:
`Exchange.lines` gives them, with the states that the table has for this path.

On paper (a JSON object a line) the attribute `origin` is called `from`, which Python keeps for itself; every other
name is the same in both. An exchange has the `event` "exchange" there.
"""

from collections.abc import Collection, Mapping
from itertools import islice, product
from types import NoneType
from typing import Any, Final, NamedTuple, TypeAlias, get_type_hints

from fsmserver.core.connection import OFFERED, REPLIED, TAKEN, USUAL
from fsmserver.core.states import Event, Hold, State
from fsmserver.core.table import deadline, interest

TIME_DIGITS: Final = 6
"""Times are written to the microsecond."""

EXCHANGE: Final = "exchange"
"""What stands in place of an event where a line is an `Exchange`; no event is called so."""


class Line(NamedTuple):
    """One transition of one connection. Times are seconds of the server's monotonic clock, counts are bytes."""

    t: float
    """When it happened; equal to `since` where it starts a deadline."""
    connection: int
    """The connection's number, never given out again."""
    fd: int
    """Its descriptor, given out again once it is closed."""
    event: str
    origin: str
    to: str
    holds: tuple[str, ...]
    """What was held when the event came, in the order of `Hold`; what follows from the event shows in the next line."""
    interest: str
    deadline: str
    """The name of the limit that runs from now on."""
    since: float
    """When the limit that ran until now last began anew."""
    received: int
    """What came before this event: the bytes of a `receive` are in the count from the next line on."""
    written: int
    taken: int
    outbox: int
    discarded: int
    low: int
    """The marks of the outbox at this moment."""
    high: int
    who: str | None = None
    """Who ended the connection; in its last line only, as all that follows."""
    error: str | None = None
    limit: str | None = None
    """The deadline that passed, and how long it was; with `expire` only."""
    after_s: float | None = None

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> "Line":
        """Make a line of what JSON gave; names that are not known are passed over.

        Raises:
            ValueError: a name is missing, or its value is of another kind; the sentence says which.

        """
        values: list[Any] = [said.get(name) for name in _KINDS]
        if tuple(map(type, values)) not in _FITTING:
            raise ValueError(_misfit(said, _KINDS))
        values[_HOLDS] = holds = tuple(values[_HOLDS])
        if not all(type(word) is str for word in holds):
            raise ValueError(f"'holds' must be {_KINDS['holds'][0]}, not {list(holds)!r}")
        return cls._make(values)

    def said(self) -> dict[str, Any]:
        """Give the line as it is written: who ended it and why in a last line only, and what expired only where something did."""
        count = len(self) if self.limit is not None else _TO_ERROR if self.who is not None else _TO_HIGH
        return dict(islice(zip(_KINDS, self, strict=True), count))


Written: TypeAlias = "Line | Exchange"
"""What a line on paper can be."""


class Exchange(NamedTuple):
    """The usual message: received, answered with one write, and the answer taken whole. Seconds and bytes, as in a line."""

    t: float
    """When all of it happened."""
    connection: int
    fd: int
    since: float
    """When the limit that ran until now last began anew."""
    received: int
    """What came before this message."""
    message: int
    """How long the message was: more than nothing."""
    written: int
    """What was written before the answer; the kernel had taken all of it."""
    answer: int
    """How long the answer was: more than nothing, and not over the high mark."""
    low: int
    high: int

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> "Exchange":
        """Make an exchange of what JSON gave; names that are not known are passed over.

        Raises:
            ValueError: as for `Line.of`.

        """
        values = [said.get(name) for name in EXCHANGE_KINDS]
        if tuple(map(type, values)) not in _EXCHANGE_FITTING:
            raise ValueError(_misfit(said, EXCHANGE_KINDS))
        return cls._make(values)

    @property
    def event(self) -> str:
        """What stands on paper as the event."""
        return EXCHANGE

    def said(self) -> dict[str, Any]:
        """Give the exchange as it is written."""
        said = self._asdict()
        return {name: said.pop(name) for name in ("t", "connection", "fd")} | {"event": EXCHANGE} | said

    def receive(self) -> Line:
        """Give the line of the message."""
        return self._line(_RECEIVE, since=self.since, received=self.received, taken=self.written, outbox=0)

    def enqueue(self) -> Line:
        """Give the line of the answer."""
        return self._line(_ENQUEUE, since=self.t, received=self.received + self.message, taken=self.written, outbox=self.answer)

    def lines(self) -> tuple[Line, Line, Line, Line]:
        """Take it apart: these are the lines of the four transitions, in their order."""
        enqueue, taken = self.enqueue(), self.written + self.answer
        flush = self._line(_FLUSH, since=self.t, received=enqueue.received, taken=self.written, outbox=self.answer)
        drain = self._line(_DRAIN, since=self.t, received=enqueue.received, taken=taken, outbox=0)
        return self.receive(), enqueue, flush, drain

    def _line(self, arrow: "_Arrow", *, since: float, received: int, taken: int, outbox: int) -> Line:
        return Line(
            self.t, self.connection, self.fd, *arrow, since, received, written=taken + outbox, taken=taken, outbox=outbox, discarded=0,
            low=self.low, high=self.high,
        )  # fmt: skip


_Arrow: TypeAlias = tuple[str, str, str, tuple[str, ...], str, str]


def _arrow(event: Event, origin: State, state: State) -> _Arrow:
    """Give what a line says from `event` to `deadline` where nothing is held."""
    held = Hold(0)
    return event.value, origin.value, state.value, held.words, interest(state, held).words, deadline(state, held)


_RECEIVE: Final = _arrow(Event.RECEIVE, USUAL, USUAL)
_ENQUEUE: Final = _arrow(Event.ENQUEUE, USUAL, REPLIED)
_FLUSH: Final = _arrow(Event.FLUSH, REPLIED, OFFERED)
_DRAIN: Final = _arrow(Event.DRAIN, OFFERED, TAKEN)


def read(said: Mapping[str, Any]) -> Written:
    """Make of what JSON gave a line or an exchange.

    Raises:
        ValueError: as for `Line.of`.

    """
    return Exchange.of(said) if said.get("event") == EXCHANGE else Line.of(said)


NAMES: Final = {attribute: "from" if attribute == "origin" else attribute for attribute in Line._fields}
"""What each attribute is called on paper."""

OPTIONAL: Final = frozenset(Line._field_defaults)
"""The attributes that may be left out; then they are None."""

_TYPES: Final[Mapping[Any, tuple[str, tuple[type, ...]]]] = {
    int: ("a whole number", (int,)),
    float: ("a number", (float, int)),
    str: ("a word", (str,)),
    tuple[str, ...]: ("a list of words", (list, tuple)),
    str | None: ("a word or null", (str, NoneType)),
    float | None: ("a number or null", (float, int, NoneType)),
}
_KINDS: Final = {NAMES[attribute]: _TYPES[hint] for attribute, hint in get_type_hints(Line).items()}
EXCHANGE_KINDS: Final = {name: _TYPES[hint] for name, hint in get_type_hints(Exchange).items()}
_HOLDS: Final = Line._fields.index("holds")
_TO_HIGH, _TO_ERROR = (Line._fields.index(last) + 1 for last in ("high", "error"))


def _fitting(kinds: Mapping[str, tuple[str, tuple[type, ...]]]) -> Collection[tuple[type, ...]]:
    return frozenset(product(*(types for _, types in kinds.values())))  # some two hundred; exactly: True is no number


_FITTING: Final = _fitting(_KINDS)
_EXCHANGE_FITTING: Final = _fitting(EXCHANGE_KINDS)


def _misfit(said: Mapping[str, Any], kinds: Mapping[str, tuple[str, tuple[type, ...]]]) -> str:
    name = next(name for name, (_, types) in kinds.items() if type(said.get(name)) not in types)
    return f"{name!r} must be {kinds[name][0]}, not {said[name]!r}" if name in said else f"{name!r} is missing"
