"""What an exchange leaves out: all that follows from the last line of its connection.

Descriptor, counts and marks are those of that line, and when the limit that ran had begun is what `core.shapes` asks of
the two. So exchanges stand only where the last line tells all of it: not after a `receive`, whose bytes no line has
counted yet, and not where the marks were set since. There the loop's short way is not taken (`ConnectionFSM.tell_all`).
"""

from collections.abc import Iterable, Iterator
from typing import Final

from fsmserver.core.connection import OFFERED, TAKEN, USUAL
from fsmserver.core.line import DRAIN, PER_EXCHANGE, Exchange, Exchanges, Line, Written
from fsmserver.core.shapes import SHAPES, Begun, Shape, judge
from fsmserver.core.states import Event, Hold

RECEIVED: Final = SHAPES[Event.RECEIVE.value, USUAL.value, Hold(0).words]
"""The shape of the first line that an exchange stands for."""

DRAINED: Final = SHAPES[Event.DRAIN.value, OFFERED.value, Hold(0).words]
"""The shape of the last."""

assert DRAINED.state is TAKEN is USUAL, "after a usual message there can be another"


def since(last: Line, former: Shape) -> float:
    """Give when the limit that runs at an exchange had begun: `last` is the connection's line before, and `former` its shape."""
    step = judge(former, RECEIVED)
    return last.t if not isinstance(step, str) and step.begun is Begun.WITH_THE_FORMER else last.since


def exchanged(last: Line, former: Shape, t: float, message_bytes: int, answer_bytes: int) -> Exchange:
    """Give the exchange that comes after the line `last` of its connection, which has the shape `former`."""
    return Exchange(
        t, last.connection, last.fd, since(last, former), last.received, message_bytes, last.taken, answer_bytes, last.low, last.high
    )


def drained(last: Line, t: float, message_bytes: int, answer_bytes: int) -> Line:
    """Give the last line of the exchange that comes after `last`."""
    taken = last.taken + answer_bytes
    return Line(t, last.connection, last.fd, *DRAIN, t, last.received + message_bytes, taken, taken, 0, 0, last.low, last.high)


def triples(exchanges: Exchanges) -> Iterator[tuple[int, int, int]]:
    """Give connection, message and answer of each."""
    numbers = iter(exchanges.messages)
    return zip(*[numbers] * PER_EXCHANGE, strict=True)


def apart(lines: Iterable[Written]) -> Iterator[Line]:
    """Give the lines of all transitions, those that exchanges stand for too; they are not judged.

    Raises:
        ValueError: there is an exchange of a connection that has no line before it that a machine could write.

    """
    last: dict[int, Line] = {}
    for line in lines:
        if isinstance(line, Line):
            last[line.connection] = line
            yield line
            continue
        for number, message_bytes, answer_bytes in triples(line):
            former = last.get(number)
            shape = None if former is None else SHAPES.get((former.event, former.origin, former.holds))
            if former is None or shape is None:
                raise ValueError(f"expected a line of connection {number} before its exchange at {line.t} s")
            stood_for = exchanged(former, shape, line.t, message_bytes, answer_bytes).lines()
            last[number] = stood_for[-1]
            yield from stood_for
