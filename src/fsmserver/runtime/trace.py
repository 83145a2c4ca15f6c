"""Transitions as JSON lines: what happened to each connection, in order, for people and for checkers.

A line has the time, the connection's number and descriptor, the event and the two states, and what is in force then:
the holds, the interest, the deadline, and the byte counts that must add up (`written` = `taken` + `outbox` + `discarded`).
`core.line` says it name by name. Where no trace is asked for, no connection has an observer, and nothing is paid.
"""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

from fsmserver.core.connection import ConnectionFSM
from fsmserver.core.errors import DeadlinePassed
from fsmserver.core.line import TIME_DIGITS
from fsmserver.core.states import Event, State

if TYPE_CHECKING:
    from fsmserver.runtime.link import Link


def transition(link: "Link", fsm: ConnectionFSM, origin: State, event: Event) -> dict[str, Any]:
    """Describe one transition of a connection as plain data, which `core.line.Line.of` reads."""
    outbox = fsm.outbox
    low_bytes, high_bytes = fsm.marks
    line: dict[str, Any] = {
        "t": round(link.scheduler.now_s, TIME_DIGITS),
        "connection": link.number,
        "fd": link.fd,
        "event": str(event),
        "from": str(origin),
        "to": str(fsm.state),
        "holds": list(fsm.holds.words),
        "interest": fsm.interest.words,
        "deadline": fsm.deadline,
        "since": round(fsm.since_s, TIME_DIGITS),
        "received": fsm.received_bytes,
        "written": outbox.written_bytes,
        "taken": outbox.taken_bytes,
        "outbox": outbox.size_bytes,
        "discarded": outbox.discarded_bytes,
        "low": low_bytes,
        "high": high_bytes,
    }
    if fsm.close_reason is not None:
        error = fsm.close_reason.error
        line["who"] = str(fsm.close_reason.who)
        line["error"] = None if error is None else str(error)
        if isinstance(error, DeadlinePassed):
            line["limit"], line["after_s"] = error.limit, error.after_s
    return line


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
