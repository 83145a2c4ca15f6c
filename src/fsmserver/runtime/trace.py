"""Transitions as JSON lines: what happened to each connection, in order, for people and for checkers.

A line has the time, the connection's number and descriptor, the event and the two states, and what is in force then:
the holds, the interest, the deadline, and the byte counts that must add up (`written` = `taken` + `outbox` + `discarded`).
`core.line` says it name by name. Where no trace is asked for, no connection has an observer, and nothing is paid.
"""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TextIO

from fsmserver.core.connection import ConnectionFSM
from fsmserver.core.errors import DeadlinePassed
from fsmserver.core.line import TIME_DIGITS, Line
from fsmserver.core.states import Event, State
from fsmserver.core.table import ALL_HOLDS

if TYPE_CHECKING:
    from fsmserver.runtime.link import Link

HELD: Final = tuple(holds.words for holds in ALL_HOLDS)
"""The words of the holds, by their bits."""


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


class Trace:
    """Writes each transition to a text file, a line each. The file stays the caller's to close."""

    def __init__(self, file: TextIO) -> None:
        """Write to `file`."""
        self._file = file

    def __call__(self, link: "Link", fsm: ConnectionFSM, origin: State, event: Event) -> None:
        """Write one line."""
        self._file.write(json.dumps(transition(link, fsm, origin, event), separators=(",", ":")) + "\n")
