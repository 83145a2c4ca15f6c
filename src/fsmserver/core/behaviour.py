"""Is this trace a behaviour of the machine? Line by line, judged by the table that the machine itself runs on.

A line shows a connection at the moment of an event: the arrow, what is in force once it was taken, and the counts. Each
is held against three things: itself (the arrow is in the table; `interest` and `deadline` are what the functions of the
table give; the counts add up), the line before it of the same connection (below), and the rest of the trace (time,
numbers, descriptors). What may differ between two lines of a connection:

- `received`: after a `receive`, and it must. `written`: with an `enqueue`, and it must. `taken`: after a `flush`, by at
  most what was offered; if that was all of it, `drain` follows at the same moment, and otherwise it does not.
- `eof` is held from the event `eof` on. `finishing` and `paused` come of calls, which have no event: `finishing` at any
  moment after `open`, and then for ever; `paused` comes and goes. `backpressure` is there after an `enqueue` over the high
  mark, and goes when the kernel has taken bytes, down to the low mark; it may come without an event where the marks are set anew.
- `since`: where the arrow or a hold changes which limit runs, and where RENEWALS says that bytes renew it, to the moment
  of that; where a hold came without an event, to a moment between the two lines.
- once nothing is owed any more, `finish` follows at the same moment, and nothing else can happen.

A line of exchanges is judged by the four lines that each of them stands for (`core.exchange`). Where nothing is known of a
connection yet, in a piece of a trace, its exchanges say nothing that could be judged.

What a correct machine can do is never refused. So no mistake is seen that leaves a trace which a correct run could have
left: a `flush` that took nothing and has no line, an `expire` that is late, a pause that the application did not ask for.
One kind of machine is out of reach: a subclass whose hooks fire events, since their lines stand inside the outer event.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from fsmserver.core.errors import DeadlinePassed, FsmServerError, UrgentData
from fsmserver.core.exchange import DRAINED, drained, exchanged, triples
from fsmserver.core.line import EXCHANGE, TIME_DIGITS, Exchanges, Line, Written
from fsmserver.core.reasons import DEFAULT_WHO, Who
from fsmserver.core.shapes import BIRTH, SHAPES, Asked, Begun, Shape, judge, why_unlike
from fsmserver.core.states import Event
from fsmserver.core.table import deadline

ROUNDING_S: Final = 2.0 * 10**-TIME_DIGITS
"""Two times that were rounded may seem this much closer than they were."""

LIFETIME: Final = "lifetime_s"
"""The limit that runs beside the one that the table names."""

ENDED_BY: Final[Mapping[Event, tuple[Who, ...]]] = {
    event: tuple(Who) if event in (Event.ABORT, Event.FINISH) else (who,) for event, who in DEFAULT_WHO.items()
}
"""Whose doing an end can be: one who gives up or closes says so, the rest is always the same one's."""

ERRORS: Final[Mapping[Event, str | None]] = {Event.EOF: None, Event.FINISH: None, Event.EXCEPTIONAL: str(UrgentData())}
"""What the last line gives as the error, where that is always the same."""


AS_BEFORE, _, WITH_WHAT_WAS_TAKEN, WITH_THE_LATTER, BETWEEN = Begun


class NotABehaviour(FsmServerError):
    """A machine of this table does not leave such a trace. Field: `connection`, the number of the one that is wrong."""

    def __init__(self, connection: int, sentence: str) -> None:
        """Keep the number and say what was expected."""
        self.connection = connection
        super().__init__(f"connection {connection}: {sentence}")


class Behaviour:
    """Follows a trace, line by line; of those connections that have ended it keeps next to nothing.

    Call `take` with each line, or `follow` with many, and `end` after the last. With `whole=False` the trace is a piece of a
    longer one: it may begin and end with connections that are open. `lines`, `transitions` (of exchanges four each),
    `connections` and `most_open` count what was judged.
    """

    def __init__(self, *, whole: bool = True) -> None:
        """Begin before the first line."""
        self.whole = whole
        self.lines = self.transitions = self.connections = self.most_open = 0
        self._now_s = -math.inf
        self._open: dict[int, _Known] = {}
        self._users: dict[int, int] = {}  # which connection has a descriptor
        self._numbers = _Numbers()

    def take(self, line: Written) -> None:
        """Follow one line.

        Raises:
            NotABehaviour: the machine does not write this here; what comes after it cannot be judged.

        """
        self.follow((line,))

    def follow(self, lines: Iterable[Written]) -> None:
        """Follow lines, one after the other; `lines` counts those that were right.

        Raises:
            NotABehaviour: as for `take`, at the first line that is wrong.

        """
        now_s, exchange, shapes, known_by_number = self._now_s, EXCHANGE, SHAPES, self._open
        count = groups = 0
        of_either_kind: Iterable[Any] = lines  # the event tells which; a decoder's own types will do
        try:
            for line in of_either_kind:
                event = line.event
                if event == exchange:
                    self._now_s = now_s
                    self._follow_exchanges(line)
                    now_s = line.t
                    groups += 1
                    continue
                shape = shapes.get((event, line.origin, line.holds))
                if shape is None or line.to != shape.to or line.interest != shape.interest or line.deadline != shape.deadline:
                    raise NotABehaviour(line.connection, why_unlike(line))
                if line.t < now_s:
                    raise NotABehaviour(line.connection, _backwards(now_s, line.t))
                now_s = line.t
                adds_up = line.written == line.taken + line.outbox + line.discarded
                if not adds_up or (line.outbox > 0) is not shape.sends or not 0 <= line.low <= line.high:
                    raise NotABehaviour(line.connection, _why_not_those_counts(shape, line))
                known = known_by_number.get(line.connection)
                if known is None:
                    known = self._meet(line)
                if known.shape is not None:
                    _check_step(shape.after.get(known.shape) or _judge(known.shape, shape, line), known.line, line)
                known.line, known.shape = line, shape
                if shape.ends:
                    self._part(known, shape, line)
                elif line.discarded or line.who is not None:
                    raise NotABehaviour(line.connection, f"expected nothing to be lost and nobody named by {line.event}: it ends nothing")
                count += 1
        finally:
            self._now_s = now_s
            self.lines += count + groups
            self.transitions += count

    def _follow_exchanges(self, group: Exchanges) -> None:
        t = group.t
        for number, message_bytes, answer_bytes in triples(group):
            known = self._open.get(number)
            if known is None:
                if self.whole or number in self._numbers:
                    raise NotABehaviour(number, "expected no exchange of it: it is not open")
            elif known.shape is DRAINED and answer_bytes <= known.line.high and t >= self._now_s:
                known.line = drained(known.line, t, message_bytes, answer_bytes)
                self.transitions += 4
            else:
                self._follow_apart(known, t, message_bytes, answer_bytes)
        if t < self._now_s:
            raise NotABehaviour(group.messages[0], _backwards(self._now_s, t))

    def _follow_apart(self, known: "_Known", t: float, message_bytes: int, answer_bytes: int) -> None:
        """Judge the four lines of an exchange, and count none of them as a line."""
        assert known.shape is not None, "known is who has a line"
        lines = self.lines
        try:
            self.follow(exchanged(known.line, known.shape, t, message_bytes, answer_bytes).lines())
        finally:
            self.lines = lines

    def _meet(self, line: Line) -> "_Known":
        """Take in a connection whose first line this is; in a whole trace it begins where connections begin."""
        if line.connection < 1:
            raise NotABehaviour(line.connection, "expected connections to be numbered from 1 on")
        if not self._numbers.add(line.connection):
            raise NotABehaviour(line.connection, f"expected nothing more of it, not {line.event}: it has ended, and numbers are not reused")
        user = self._users.setdefault(line.fd, line.connection)
        if user != line.connection:
            raise NotABehaviour(line.connection, f"expected another descriptor than {line.fd}: connection {user} has that, and is open")
        if line.since > line.t:
            raise NotABehaviour(line.connection, f"expected it to be accepted before {line.event}, at {line.t} s, not at {line.since} s")
        known = _Known(_birth(line), BIRTH, line.since) if self.whole else _Known(line, None, -math.inf)
        self._open[line.connection] = known
        self.connections += 1
        self.most_open = max(self.most_open, len(self._open))
        return known

    def _part(self, known: "_Known", shape: Shape, line: Line) -> None:
        event = Event(line.event)
        if line.who not in ENDED_BY[event]:
            raise NotABehaviour(line.connection, f"expected {event} to be done by the {' or '.join(ENDED_BY[event])}, not by {line.who}")
        if event is Event.EXPIRE:
            _check_expiry(deadline(shape.origin, shape.held), known.born_s, line)
        elif line.limit is not None or line.after_s is not None:
            raise NotABehaviour(line.connection, f"expected no limit and no after_s with {event}: nothing expired")
        elif line.error != ERRORS.get(event, line.error):
            raise NotABehaviour(line.connection, f"expected the error {ERRORS[event]!r} with {event}, not {line.error!r}")
        del self._open[line.connection], self._users[line.fd]

    def end(self) -> None:
        """Say that the trace is over.

        Raises:
            NotABehaviour: it was to be whole, and a connection has no end in it.

        """
        if self.whole and self._open:
            number, known = next(iter(self._open.items()))
            others = f" ({len(self._open) - 1} others are open too)" if len(self._open) > 1 else ""
            left = f"{known.line.event} left it in {known.line.to}"
            raise NotABehaviour(number, f"expected it to be closed before the trace ends, but {left}{others}")


class _Known:
    """An open connection: its last line and when it was accepted. Without a shape that line cannot be told."""

    __slots__ = ("born_s", "line", "shape")

    def __init__(self, line: Line, shape: Shape | None, born_s: float) -> None:
        self.line = line
        self.shape = shape
        self.born_s = born_s


class _Numbers:
    """All numbers that were ever added, as what is missing below the highest: little, since they are given out in order."""

    def __init__(self) -> None:
        self._highest = 0
        self._missing: dict[int, int] = {}  # the last number of each gap: its first

    def add(self, number: int) -> bool:
        """Add a number; give False if it was there already."""
        if number > self._highest:
            self._note_gap(self._highest + 1, number - 1)
            self._highest = number
            return True
        gap = next(((first, last) for last, first in self._missing.items() if first <= number <= last), None)
        if gap is None:
            return False
        del self._missing[gap[1]]
        self._note_gap(gap[0], number - 1)
        self._note_gap(number + 1, gap[1])
        return True

    def __contains__(self, number: int) -> bool:
        """Tell whether a number was added."""
        return number <= self._highest and not any(first <= number <= last for last, first in self._missing.items())

    def _note_gap(self, first: int, last: int) -> None:
        if first <= last:
            self._missing[last] = first


def _birth(line: Line) -> Line:
    """Make the line that accept would have had, had it one: nothing has moved yet."""
    return Line(
        line.since, line.connection, line.fd, "accept", BIRTH.to, BIRTH.to, (), BIRTH.interest, BIRTH.deadline, line.since,
        received=0, written=0, taken=0, outbox=0, discarded=0, low=line.low, high=line.high,
    )  # fmt: skip


def _backwards(now_s: float, t: float) -> str:
    return f"expected {now_s} s or later, not {t} s: time does not run backwards"


def _why_not_those_counts(shape: Shape, line: Line) -> str:
    total = line.taken + line.outbox + line.discarded
    if line.written != total:
        parts = f"taken, in the outbox and discarded: {line.taken} + {line.outbox} + {line.discarded}"
        return f"expected the {line.written} bytes written to be those {parts} is {total}"
    if (line.outbox > 0) is not shape.sends:
        what = "bytes in the outbox" if shape.sends else "an empty outbox"
        return f"expected {what} in {shape.to}, not {line.outbox} bytes"
    return f"expected 0 <= low <= high, not a low mark of {line.low} and a high one of {line.high}"


def _judge(former: Shape, latter: Shape, line: Line) -> Asked:
    step = judge(former, latter)
    if isinstance(step, str):
        raise NotABehaviour(line.connection, step)
    latter.after[former] = asked = step[:]  # which is a plain tuple
    return asked


def _check_step(asked: Asked, last: Line, line: Line) -> None:  # noqa: PLR0912 - the hot path is one function on purpose
    """Check what has changed since the last line of a connection."""
    receives, enqueues, offers, drains, at_once, unpressed, eased, begun = asked
    received, written, taken, since = line.received, line.written, line.taken, line.since
    if received <= last.received if receives else received != last.received:
        raise NotABehaviour(line.connection, _expected_count("received", last.received, received, more=receives, after=last.event))
    if written <= last.written if enqueues else written != last.written:
        raise NotABehaviour(line.connection, _expected_count("written", last.written, written, more=enqueues, after=last.event))
    took = taken - last.taken
    if offers or took:
        if not offers:
            raise NotABehaviour(line.connection, f"expected {last.taken} bytes taken, not {taken}: nothing was offered")
        if not 0 <= took <= last.outbox:
            raise NotABehaviour(line.connection, f"expected 0 to {last.outbox} of the bytes offered to be taken, not {took}")
        if took == last.outbox and not drains:
            raise NotABehaviour(line.connection, f"expected drain, not {line.event}: {took} of the {took} bytes offered were taken")
        if eased and last.outbox - took > last.low:
            raise NotABehaviour(line.connection, f"expected backpressure still: over {last.low} bytes were left, {last.outbox - took}")
    if unpressed and last.outbox > last.high:
        raise NotABehaviour(line.connection, f"expected backpressure: the outbox held {last.outbox} bytes, over {last.high}")
    if begun is AS_BEFORE or (begun is WITH_WHAT_WAS_TAKEN and not took):
        if since != last.since:
            raise NotABehaviour(line.connection, _expected_since(last.since, last.since, line))
    elif begun is BETWEEN:
        if not last.t <= since <= line.t:
            raise NotABehaviour(line.connection, _expected_since(last.t, line.t, line))
    elif since != (line.t if begun is WITH_THE_LATTER else last.t):
        moment_s = line.t if begun is WITH_THE_LATTER else last.t
        raise NotABehaviour(line.connection, _expected_since(moment_s, moment_s, line))
    if at_once and line.t != last.t:
        raise NotABehaviour(line.connection, f"expected {line.event} at once after {last.event}, at {last.t} s, not at {line.t} s")
    if line.fd != last.fd:
        raise NotABehaviour(line.connection, f"expected its descriptor {last.fd}, not {line.fd}")


def _expected_since(earliest_s: float, latest_s: float, line: Line) -> str:
    when = f"at {earliest_s} s" if earliest_s == latest_s else f"between {earliest_s} and {latest_s} s"
    return f"expected the limit that ran until {line.event} to have begun {when}, not at {line.since} s"


def _expected_count(what: str, before: int, now: int, *, more: bool, after: str) -> str:
    return f"expected {'more than ' if more else ''}{before} bytes {what} since its {after}, not {now}"


def _check_expiry(ran: str, born_s: float, line: Line) -> None:
    limit, after_s = line.limit or "", math.inf if line.after_s is None else line.after_s
    begun_s = {ran: line.since, LIFETIME: born_s}.get(limit)
    if begun_s is None:
        raise NotABehaviour(line.connection, f"expected {ran} or {LIFETIME} to expire, not {line.limit}")
    if line.error != str(DeadlinePassed(limit, after_s)):
        raise NotABehaviour(line.connection, f"expected the error {str(DeadlinePassed(limit, after_s))!r}, not {line.error!r}")
    if line.t - begun_s < after_s - ROUNDING_S:
        earliest = f"{begun_s + after_s} s or later, {after_s} s after it began"
        raise NotABehaviour(line.connection, f"expected {limit} to expire at {earliest}, not at {line.t} s")
