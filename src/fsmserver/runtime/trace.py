"""Transitions as JSON lines: what happened to each connection, in order, for people and for checkers.

A line has the time, the connection's number and descriptor, the event and the two states, and what is in force then:
the holds, the interest, the deadline, and the byte counts that must add up (`written` = `taken` + `outbox` + `discarded`).
`core.line` says it name by name. Where no trace is asked for, no connection has an observer, and nothing is paid.

Most lines would be of the usual message, four for each: so that is one line, an `Exchange`. The loop tells a watcher that
has the methods for it (`Trace`) of these connections in two calls where it tells others of four transitions:

1. `received(link)`, when bytes were read, before anything of the machine has changed;
2. `exchanged(link)`, when the protocol answered with one write and the kernel took it whole.

Between the two, the line is pending. If it comes otherwise, the lines that it would have been come instead, and
nothing is lost: they are written before the next transition of whichever connection, or by `unanswered()`.
"""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TextIO

from fsmserver.core.connection import REPLIED, ConnectionFSM
from fsmserver.core.errors import DeadlinePassed
from fsmserver.core.line import EXCHANGE, TIME_DIGITS, Exchange, Line
from fsmserver.core.states import Event, State
from fsmserver.core.table import ALL_HOLDS

if TYPE_CHECKING:
    from fsmserver.runtime.link import Link

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


MOST_TIMES: Final = 4096
"""So many texts of times are kept. Most are asked for again: a time is shared by a group of connections, and is `since` in their next."""


class Trace:
    """Writes each transition to a text file, a line each, and the four of a usual message as one. The file stays the caller's to close.

    Of two lines of the same transition only the numbers differ. So each transition's line is made once, by `describe` and
    `json`, as a pattern that the numbers are put into: a fraction of what making it anew costs.
    """

    def __init__(self, file: TextIO) -> None:
        """Write to `file`."""
        self._write = file.write
        self._patterns: dict[tuple[str, str, str, int], str] = {}
        self._times: dict[float, str] = {}
        self.pending: tuple[Link, float, float, int] | None = None
        self.exchanges: list[int] = []

    def __call__(self, link: "Link", fsm: ConnectionFSM, origin: State, event: Event) -> None:
        """Write one line, after what is pending."""
        self.tell()
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

    def tell(self):
        if self.exchanges:
            self._write('{"t":%.6f,"event":"exchange","of":%s}\n' % (0.0, self.exchanges))
            self.exchanges = []
        if self.pending is not None:
            self.pending = None

    def _write_line(self, line: Line) -> None:
        """Write a line in which nothing is held."""
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

    def _time(self, time_s: float) -> str:
        if len(self._times) >= MOST_TIMES:
            self._times.clear()
        text = self._times[time_s] = f"{time_s:.{TIME_DIGITS}f}"
        return text
