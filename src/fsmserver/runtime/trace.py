"""Transitions as JSON lines: what happened to each connection, in order, for people and for checkers.

A line has the time, the connection's number and descriptor, the event and the two states, and what is in force then:
the holds, the interest, the deadline, and the byte counts that must add up (`written` = `taken` + `outbox` + `discarded`).
`core.line` says it name by name. Where no trace is asked for, no connection has an observer, and nothing is paid.

Most lines would be of the usual message, four for each: so the messages of a group of connections are one line,
`Exchanges`, with what their lines cannot be told without. The loop keeps a watcher that is a `ports.Teller` (`Trace`) told
of them without calls: what was delivered is `pending`, until it is one of the `exchanges`. If it comes otherwise, the
lines that it would have been come instead, before the next transition of whichever connection, or when the loop calls
`tell`. So the order of lines is that of events, and nothing is lost.
"""

import json
from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Protocol

from fsmserver.core.connection import REPLIED, ConnectionFSM
from fsmserver.core.errors import DeadlinePassed
from fsmserver.core.line import EXCHANGE, PER_EXCHANGE, TIME_DIGITS, Exchange, Line
from fsmserver.core.states import Event, State
from fsmserver.core.table import ALL_HOLDS

if TYPE_CHECKING:
    from fsmserver.runtime.link import Link
    from fsmserver.runtime.scheduler import Scheduler

HELD: Final = tuple(holds.words for holds in ALL_HOLDS)
"""The words of the holds, by their bits."""


PLACE: Final = "a number"
"""Stands where a number comes, until the line is text: no name of a state, an event, a hold or a limit is this."""


def describe(link: "Link", fsm: ConnectionFSM, origin: State, event: Event) -> Line:
    """Describe one transition of a connection."""
    outbox, reason = fsm.outbox, fsm.close_reason
    low_bytes, high_bytes = fsm.marks
    line = Line(
        round(link.scheduler.now_s, TIME_DIGITS), link.number, link.fd, event.value, origin.value, fsm.state.value, HELD[fsm.holds],
        fsm.interest.words, fsm.deadline, round(fsm.since_s, TIME_DIGITS), fsm.received_bytes, outbox.written_bytes, outbox.taken_bytes,
        outbox.size_bytes, outbox.discarded_bytes, low_bytes, high_bytes,
    )  # fmt: skip
    if reason is None:
        return line
    error = reason.error
    passed = (error.limit, error.after_s) if isinstance(error, DeadlinePassed) else (None, None)
    return line._replace(who=reason.who.value, error=None if error is None else str(error), limit=passed[0], after_s=passed[1])


def transition(link: "Link", fsm: ConnectionFSM, origin: State, event: Event) -> dict[str, Any]:
    """Describe one transition of a connection as the data that is written, and that `core.line.Line.of` reads."""
    return describe(link, fsm, origin, event).said()


Watcher = Callable[["Link", ConnectionFSM, State, Event], None]
"""Is told of every transition of every connection, once the state is the new one."""


def _pattern(line: Line) -> str:
    """Make the line with a place for each number, in the order of the names."""
    said = line.said()
    counts = {name: PLACE for name, value in said.items() if isinstance(value, int)}
    times = {name: f"{PLACE} of seconds" for name, value in said.items() if isinstance(value, float)}
    text = _to_json(said | counts | times).replace("%", "%%")
    return text.replace(f'"{PLACE}"', "%d").replace(f'"{PLACE} of seconds"', f"%.{TIME_DIGITS}f") + "\n"


def _to_json(said: dict[str, Any]) -> str:
    return json.dumps(said, separators=(",", ":"))


@cache
def _exchanges_pattern(count: int) -> str:
    """Make the line of a group's usual messages with a place for each of so many numbers: a sixth less than to write a list."""
    return f'{{"t":%.{TIME_DIGITS}f,"event":"{EXCHANGE}","of":[{",".join(["%d"] * count)}]}}\n'


class Writable(Protocol):
    """A text file, as far as it is needed."""

    def write(self, text: str, /) -> object:
        """Take whole lines, one or more."""


class Trace:
    """Writes each transition of a scheduler to a text file, a line each, and usual messages in short. The file stays the caller's to close.

    Of two lines of the same transition only the numbers differ. So each transition's line is made once, by `describe` and
    `json`, as a pattern that the numbers are put into: a fraction of what making it anew costs.
    """

    __slots__ = ("_half_told", "_patterns", "_scheduler", "_write", "exchanges", "pending")

    def __init__(self, file: "Writable") -> None:
        """Write to `file`."""
        self._write = file.write
        self._patterns: dict[tuple[str, str, str, int], str] = {}
        self._scheduler: Scheduler | None = None
        self._half_told: tuple[Link, Exchange] | None = None
        self.pending: tuple[Link, float, float, int] | None = None
        self.exchanges: list[int] = []

    def __call__(self, link: "Link", fsm: ConnectionFSM, origin: State, event: Event) -> None:
        """Write one line, after what was before it."""
        if self.exchanges:
            self._write_exchanges()
        if self.pending is not None:
            pending = self.pending[0]
            self._write_pending(replied=(origin if link is pending else pending.fsm.state) is REPLIED)
        if self._half_told is not None and self._half_told[0] is link:
            self._half_told = None  # it goes on line by line
        self._scheduler = link.scheduler
        state, holds = fsm.state, fsm._holds  # noqa: SLF001 - the bits: the set costs as much as the rest of the line
        if state is State.CLOSED:
            self._write(_to_json(transition(link, fsm, origin, event)) + "\n")
            return
        pattern = self._patterns.get((event, origin, state, holds))
        if pattern is None:
            pattern = self._patterns[event, origin, state, holds] = _pattern(describe(link, fsm, origin, event))
        outbox = fsm.outbox
        low_bytes, high_bytes = fsm.marks
        size_bytes, taken_bytes, discarded_bytes = outbox.size_bytes, outbox.taken_bytes, outbox.discarded_bytes
        self._write(
            pattern
            % (
                link.scheduler.now_s, link.number, link.fd, fsm.since_s, fsm.received_bytes,
                taken_bytes + size_bytes + discarded_bytes, taken_bytes, size_bytes, discarded_bytes, low_bytes, high_bytes,
            )
        )  # fmt: skip

    # The usual message.

    def tell(self) -> None:
        """Write what was exchanged, and what is pending: it is not answered, or not as usual."""
        if self.exchanges:
            self._write_exchanges()
        if self.pending is not None:
            self._write_pending(replied=self.pending[0].fsm.state is REPLIED)

    def _write_exchanges(self) -> None:
        scheduler, exchanges = self._scheduler, self.exchanges
        assert scheduler is not None, "what exchanges messages was opened, which has a line"
        self.exchanges = []
        if self._half_told is not None:
            exchanges = self._rest_of(self._half_told[1], exchanges)
            self._half_told = None
        if exchanges:
            self._write(_exchanges_pattern(len(exchanges)) % (scheduler.now_s, *exchanges))

    def _rest_of(self, told: Exchange, exchanges: list[int]) -> list[int]:
        """Write the last two lines of what is told by half, if it was exchanged after all: as the first. Give the others."""
        if exchanges[0] != told.connection:
            return exchanges
        self._write_lines(told.lines()[2:])
        return exchanges[PER_EXCHANGE:]

    def _write_pending(self, *, replied: bool) -> None:
        """Write that bytes came and, if they were answered the short way, that."""
        assert self.pending is not None, "asked for where something is pending"
        link, t_s, since_s, message_bytes = self.pending
        self.pending = None
        fsm = link.fsm
        outbox, (low_bytes, high_bytes) = fsm.outbox, fsm.told_marks
        answer_bytes = outbox.discarded_bytes if outbox.front is None else len(outbox.front)  # lost with the connection, where it is
        begun = Exchange(
            t_s, link.number, link.fd, since_s, fsm.received_bytes - message_bytes, message_bytes, outbox.taken_bytes, answer_bytes,
            low_bytes, high_bytes,
        )  # fmt: skip
        if replied:
            self._half_told = link, begun
            self._write_lines(begun.lines()[:2])
        else:
            fsm.tell_all()
            self._write_lines(begun.lines()[:1])

    def _write_lines(self, lines: Iterable[Line]) -> None:
        """Write lines in which nothing is held."""
        for line in lines:
            key = (line.event, line.origin, line.to, 0)
            pattern = self._patterns.get(key)
            if pattern is None:
                pattern = self._patterns[key] = _pattern(line)
            self._write(
                pattern
                % (
                    line.t, line.connection, line.fd, line.since, line.received, line.written, line.taken, line.outbox, line.discarded,
                    line.low, line.high,
                )
            )  # fmt: skip
