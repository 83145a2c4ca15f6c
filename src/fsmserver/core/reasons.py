"""Why connections close, and what each errno means. Total: every errno of the platform has a class."""

import errno
from enum import StrEnum
from typing import Final, NamedTuple

from fsmserver.core.states import Event, State

ABORT: Final = Event.ABORT
"""By itself, since every end is asked for it, and a member costs a call where it is named by its class."""


class Who(StrEnum):
    """Who ended a connection."""

    PEER = "peer"
    APPLICATION = "application"
    SERVER = "server"


class CloseReason(NamedTuple):
    """The edge that led to `closed`: who took it, from which state, by which event, because of what.

    `error` is None after a graceful end. `discarded_bytes` counts what the application wrote and the kernel never took.
    """

    who: Who
    state: State
    event: Event
    error: BaseException | None = None
    discarded_bytes: int = 0

    @property
    def graceful(self) -> bool:
        """Tell whether both sides had said all they wanted to say."""
        return self.event is Event.FINISH

    @property
    def with_reset(self) -> bool:
        """Tell whether the peer is told by a reset: only where somebody gave up at once."""
        return self.event is ABORT

    def __str__(self) -> str:
        """Say it in a line: `reset by the peer while writing: [Errno 104] Connection reset by peer, 512 bytes discarded`."""
        words = f"{VERBS[self.event]} the {self.who} while {self.state}"
        if self.error is not None:
            words += f": {str(self.error) or type(self.error).__name__}"
        if self.discarded_bytes:
            words += f", {self.discarded_bytes} bytes discarded"
        return words


VERBS: Final = {
    Event.EOF: "ended before it was open by",
    Event.FINISH: "finished by",
    Event.RESET: "reset by",
    Event.EXCEPTIONAL: "closed on urgent data by",
    Event.EXPIRE: "expired by",
    Event.ABORT: "aborted by",
}

DEFAULT_WHO: Final = {
    Event.EOF: Who.PEER,
    Event.FINISH: Who.PEER,
    Event.RESET: Who.PEER,
    Event.EXCEPTIONAL: Who.SERVER,
    Event.EXPIRE: Who.SERVER,
    Event.ABORT: Who.APPLICATION,
}
"""Who took an arrow into `closed` when nobody says otherwise."""


class ErrnoClass(StrEnum):
    """What an errno of a socket call means for the one who called."""

    AGAIN = "again"
    """Nothing happened; try when the descriptor is ready."""
    PEER_GONE = "peer gone"
    """The network or the other end took the connection away: quiet, expected, final."""
    EXHAUSTED = "exhausted"
    """The system has no more descriptors or memory: pause, then try again."""
    BROKEN = "broken"
    """Everything else: a mistake here or in the system. Final for that descriptor, and worth a line in the log."""


def _numbers(*names: str) -> frozenset[int]:
    # Not every platform has every name.
    return frozenset(getattr(errno, name) for name in names if hasattr(errno, name))


AGAIN: Final = _numbers("EAGAIN", "EWOULDBLOCK", "EINTR", "EINPROGRESS", "EALREADY", "WSAEWOULDBLOCK")
EXHAUSTED: Final = _numbers("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "WSAEMFILE", "WSAENOBUFS")
PEER_GONE: Final = _numbers(
    "ECONNRESET", "EPIPE", "ECONNABORTED", "ETIMEDOUT", "ENOTCONN", "ESHUTDOWN", "ECONNREFUSED",
    "EHOSTUNREACH", "ENETUNREACH", "EHOSTDOWN", "ENETDOWN", "ENETRESET", "ENONET", "EPROTO", "ENOPROTOOPT",
    # macOS answers a send on a socket that is being torn down with EPROTOTYPE (libuv/libuv#482).
    "EPROTOTYPE", "WSAECONNRESET", "WSAECONNABORTED",
)  # fmt: skip
ACCEPT_SKIPS: Final = PEER_GONE | _numbers("EOPNOTSUPP", "EPERM", "EINTR")
"""What accept(2) passes on of a connection that failed before it was accepted: "treat them like EAGAIN"."""


def classify(number: int | None) -> ErrnoClass:
    """Say what the errno of a failed socket call means; a number that nobody knows is `BROKEN`."""
    if number in AGAIN:
        return ErrnoClass.AGAIN
    if number in PEER_GONE:
        return ErrnoClass.PEER_GONE
    if number in EXHAUSTED:
        return ErrnoClass.EXHAUSTED
    return ErrnoClass.BROKEN


def classify_accept(number: int | None) -> ErrnoClass:
    """Say what the errno of a failed accept means: there PEER_GONE concerns one newcomer, never the listener."""
    if number in ACCEPT_SKIPS:
        return ErrnoClass.PEER_GONE
    return classify(number)
