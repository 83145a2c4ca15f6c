"""What a line of a trace says: the one declaration that writes lines, reads them and checks them.

On paper (a JSON object a line) the attribute `origin` is called `from`, which Python keeps for itself; every other
name is the same in both.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from types import NoneType
from typing import Any, Final, get_type_hints

TIME_DIGITS: Final = 6
"""Times are written to the microsecond."""


@dataclass(frozen=True, slots=True)
class Line:
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
        values: dict[str, Any] = {attribute: _value(said, name, attribute) for attribute, name in NAMES.items()}
        return cls(**values)


NAMES: Final = {each.name: "from" if each.name == "origin" else each.name for each in fields(Line)}
"""What each attribute is called on paper."""

OPTIONAL: Final = frozenset(each.name for each in fields(Line) if each.default is not MISSING)
"""The attributes that may be left out; then they are None."""

_KINDS: Final[Mapping[Any, tuple[str, tuple[type, ...]]]] = {
    int: ("a whole number", (int,)),
    float: ("a number", (int, float)),
    str: ("a word", (str,)),
    tuple[str, ...]: ("a list of words", (list, tuple)),
    str | None: ("a word or null", (str, NoneType)),
    float | None: ("a number or null", (int, float, NoneType)),
}
_EXPECTED: Final = {attribute: _KINDS[kind] for attribute, kind in get_type_hints(Line).items()}


def _value(said: Mapping[str, Any], name: str, attribute: str) -> object:
    if name not in said and attribute not in OPTIONAL:
        raise ValueError(f"{name!r} is missing")
    value = said.get(name)
    words, kinds = _EXPECTED[attribute]
    fits = isinstance(value, kinds) and not isinstance(value, bool)
    if isinstance(value, list | tuple):
        fits = fits and all(isinstance(each, str) for each in value)
        value = tuple(value)
    if not fits:
        raise ValueError(f"{name!r} must be {words}, not {said.get(name)!r}")
    return value
