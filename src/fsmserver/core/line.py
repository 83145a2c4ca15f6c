"""What a line of a trace says: the one declaration that writes lines, reads them and checks them.

On paper (a JSON object a line) the attribute `origin` is called `from`, which Python keeps for itself; every other
name is the same in both.
"""

from collections.abc import Mapping
from itertools import islice, product
from types import NoneType
from typing import Any, Final, NamedTuple, get_type_hints

TIME_DIGITS: Final = 6
"""Times are written to the microsecond."""


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
_HOLDS: Final = Line._fields.index("holds")
_TO_HIGH, _TO_ERROR = (Line._fields.index(last) + 1 for last in ("high", "error"))
_FITTING: Final = frozenset(product(*(types for _, types in _KINDS.values())))  # some two hundred; exactly: True is no number


def _misfit(said: Mapping[str, Any]) -> str:
    name = next(name for name, (_, types) in _KINDS.items() if type(said.get(name)) not in types)
    return f"{name!r} must be {_KINDS[name][0]}, not {said[name]!r}" if name in said else f"{name!r} is missing"
