"""What a line of a trace says: the one declaration that writes lines, reads them and checks them.

A `Line` is one transition. Most would be of the usual message, four for each: bytes come to a connection that holds and
owes nothing, the application answers with one write, and the kernel takes it whole. So these are told in short: `Exchanges`
gives the two counts of each message of a group of connections. All else that their lines would say follows from the last
line of the connection (`core.exchange`), with the states that the table has for this path: `Exchange.lines` gives them.

On paper (a JSON object a line) the attribute `origin` is called `from`, which Python keeps for itself, and `messages` is
called `of`; every other name is the same in both. The `event` of exchanges is "exchange".
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
"""What stands in place of an event where a line is of exchanges; no event is called so."""

PER_EXCHANGE: Final = 3
"""So many numbers a message has there: the connection, the bytes of the message, and those of the answer."""


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
            raise ValueError(_misfit(said))
        values[_HOLDS] = holds = tuple(values[_HOLDS])
        if not all(type(word) is str for word in holds):
            raise ValueError(f"'holds' must be {_KINDS['holds'][0]}, not {list(holds)!r}")
        return cls._make(values)

    def said(self) -> dict[str, Any]:
        """Give the line as it is written: who ended it and why in a last line only, and what expired only where something did."""
        count = len(self) if self.limit is not None else _TO_ERROR if self.who is not None else _TO_HIGH
        return dict(islice(zip(_KINDS, self, strict=True), count))


class Exchanges(NamedTuple):
    """The usual messages of a group of connections. On paper `messages` is called `of`."""

    t: float
    """When all of them happened, in this order."""
    messages: tuple[int, ...]
    """Three numbers for each: the connection's, how many bytes its message had, and how many its answer."""

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> "Exchanges":
        """Make it of what JSON gave; names that are not known are passed over.

        Raises:
            ValueError: as for `Line.of`.

        """
        for name, (kind, types) in _EXCHANGES_KINDS.items():
            if type(said.get(name)) not in types:
                raise ValueError(_no_fit(said, name, kind))
        messages = tuple(said["of"])
        if not all(type(number) is int and number > 0 for number in messages):
            wrong = next(number for number in messages if type(number) is not int or number <= 0)
            raise ValueError(f"'of' must be a list of whole numbers over 0, not with {wrong!r} in it")
        if not messages or len(messages) % PER_EXCHANGE:
            raise ValueError(f"'of' must have {PER_EXCHANGE} numbers for each message, not {len(messages)} in all")
        return cls(said["t"], messages)

    @property
    def event(self) -> str:
        """What stands on paper as the event."""
        return EXCHANGE

    def said(self) -> dict[str, Any]:
        """Give it as it is written."""
        return {"t": self.t, "event": EXCHANGE, "of": list(self.messages)}


Written: TypeAlias = Line | Exchanges
"""What a line on paper can be."""


class Exchange(NamedTuple):
    """One usual message with all that its four lines say. Seconds and bytes, as in a line."""

    t: float
    connection: int
    fd: int
    since: float
    """When the limit that ran until now last began anew."""
    received: int
    """What came before this message."""
    message: int
    taken: int
    """What was taken before the answer, which is all that had been written."""
    answer: int
    low: int
    high: int

    def lines(self) -> tuple[Line, Line, Line, Line]:
        """Take it apart: these are the lines of the four transitions, in their order."""
        received, taken = self.received + self.message, self.taken + self.answer
        return (
            self._line(_RECEIVE, since=self.since, received=self.received, taken=self.taken, outbox=0),
            self._line(_ENQUEUE, since=self.t, received=received, taken=self.taken, outbox=self.answer),
            self._line(_FLUSH, since=self.t, received=received, taken=self.taken, outbox=self.answer),
            self._line(DRAIN, since=self.t, received=received, taken=taken, outbox=0),
        )

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
DRAIN: Final = _arrow(Event.DRAIN, OFFERED, TAKEN)


def read(said: Mapping[str, Any]) -> Written:
    """Make of what JSON gave a line, or the exchanges of a group.

    Raises:
        ValueError: as for `Line.of`.

    """
    return Exchanges.of(said) if said.get("event") == EXCHANGE else Line.of(said)


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
_EXCHANGES_KINDS: Final = {"t": _TYPES[float], "of": ("a list of whole numbers", (list, tuple))}
_HOLDS: Final = Line._fields.index("holds")
_TO_HIGH, _TO_ERROR = (Line._fields.index(last) + 1 for last in ("high", "error"))
_FITTING: Final[Collection[tuple[type, ...]]] = frozenset(product(*(types for _, types in _KINDS.values())))
"""The types that the values may have: some two hundred; exactly, since True is no number."""


def _misfit(said: Mapping[str, Any]) -> str:
    name = next(name for name, (_, types) in _KINDS.items() if type(said.get(name)) not in types)
    return _no_fit(said, name, _KINDS[name][0])


def _no_fit(said: Mapping[str, Any], name: str, kind: str) -> str:
    return f"{name!r} must be {kind}, not {said[name]!r}" if name in said else f"{name!r} is missing"
