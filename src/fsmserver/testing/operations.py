"""What can happen to a server: one vocabulary for the seeded generator, the byte tape, Hypothesis and replays.

An operation is a tuple of its name and its arguments, all of them plain numbers or words, so that a script is a value: it is
printed, kept as JSON, cut down and replayed. Connections are named by the number of the peer that made them, which stands
in the operation itself: so a script from which operations were removed still means what it meant. An operation that
cannot be done (its peer is gone, its connection closed) is passed over.
"""

from __future__ import annotations

import errno
from typing import Any, Final, NamedTuple, TypeAlias

Operation: TypeAlias = tuple[Any, ...]


class Kind(NamedTuple):
    """One kind of operation: who does it, how likely it is among the others, what its arguments are drawn from."""

    group: str
    weight: int
    arguments: tuple[tuple[Any, ...], ...]
    about: str


SIZES: Final = (1, 2, 3, 5, 7, 16, 30, 60, 64, 65, 100, 150, 300, 500)
MESSAGE_SIZES: Final = (1, 7, 16, 30, 60)
"""Messages that fit into any buffer: for traffic that flows."""

READ_SIZES: Final = (1, 7, 60, 500, 5000, 100_000)
CALLBACKS: Final = ("connection_made", "data_received", "eof_received", "pause_writing", "resume_writing", "connection_lost")
GONE: Final = (errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT, errno.EHOSTUNREACH)
ACCEPT_ERRORS: Final = (
    errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN, errno.ENONET, errno.EHOSTUNREACH,
    errno.EOPNOTSUPP, errno.ENETUNREACH, errno.EPERM, errno.EINTR, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM,
)  # fmt: skip
MILLISECONDS: Final = (1, 20, 70, 300, 1000, 2500, 5000, 9000)

KINDS: Final[dict[str, Kind]] = {
    # What peers do. The first argument is the peer's number and is not drawn from a list.
    "connect": Kind("peer", 14, ((0, 0, 0, 16, 60), (0, 0, 0, 16, 60)), "a peer connects; its buffers for sending and receiving, 0: usual"),
    "say": Kind("peer", 30, (SIZES,), "a peer sends so many bytes, as far as its buffer has room"),
    "tell": Kind("peer", 0, (("",),), "a peer sends these bytes, written as latin-1; for scripts of a protocol's own, never drawn"),
    "flood": Kind("peer", 3, ((4, 12),), "a peer sends so often, a round each time, and hears nothing: both sides' buffers fill up"),
    "chat": Kind(
        "peer",
        2,
        ((2, 10, 40), SIZES, (1, 40)),
        "a peer says so many messages of so many bytes, each heard before the next, so many ms apart",
    ),
    "hear": Kind("peer", 14, (READ_SIZES,), "a peer receives at most so many bytes"),
    "end": Kind("peer", 4, (), "a peer sends FIN and goes on receiving"),
    "leave": Kind("peer", 3, (), "a peer closes: with unread bytes that is a reset"),
    "cut": Kind("peer", 2, (), "a peer resets the connection"),
    "urge": Kind("peer", 6, (), "a peer sends one byte of urgent data"),
    # What the application does of its own accord.
    "write": Kind("application", 6, ((*SIZES, 1000, 4000),), "the application writes so many bytes"),
    "close": Kind("application", 2, (), "the application closes gracefully"),
    "abort": Kind("application", 2, (), "the application gives the connection up"),
    "pause": Kind("application", 4, (), "the application stops reading"),
    "resume": Kind("application", 3, (), "the application reads again"),
    "write_eof": Kind("application", 3, (), "the application ends its direction"),
    "turn_away": Kind("application", 3, (), "the application stops reading and ends its direction"),
    "marks": Kind("application", 1, ((0, 10, 100),), "the application sets its own high mark"),
    # What the kernel and the network do. An argument that is an errno is one.
    "fail_send": Kind("fault", 2, (GONE,), "the next send on the connection fails"),
    "refuse_send": Kind("fault", 3, ((1, 3),), "the next sends on the connection would block"),
    "short_send": Kind("fault", 4, ((1, 3, 20), (1, 4)), "the next sends take at most so many bytes, so many times"),
    "fail_recv": Kind("fault", 6, (GONE,), "the next recv on the connection fails"),
    "false_recv": Kind("fault", 2, ((errno.EAGAIN, errno.EINTR),), "the next recv on the connection finds nothing"),
    "fail_set_up": Kind("fault", 1, ((errno.EINVAL, errno.ENOTCONN),), "setting up the next connection fails"),
    "fail_accept": Kind("fault", 3, (ACCEPT_ERRORS,), "the next accept fails"),
    "fail_close": Kind("fault", 1, ((errno.EIO, errno.EINTR),), "the next close on the connection gives an error"),
    "fail_shutdown": Kind("fault", 2, ((errno.ENOTCONN,),), "the next shutdown on the connection fails"),
    "false_report": Kind("fault", 2, ((1, 4, 5),), "the next wait reports the connection readable (1) or writable (4), true or not"),
    "withhold": Kind(
        "fault",
        4,
        ((1, 4, 5), (1, 70, 1000, 5000)),
        "that the connection is readable (1) or writable (4) is reported so many milliseconds late",
    ),
    "stall": Kind("fault", 4, ((70, 1000, 5000),), "for so many milliseconds the kernel takes nothing more of the connection's bytes"),
    "jam": Kind(
        "fault",
        7,
        ((1000, 5000), (0, 1)),
        "a stall with bytes of the application behind it; the protocol keeps quiet, with 1 half open too",
    ),
    "delay": Kind("fault", 2, ((1, 70, 1000, 5000),), "what the peer sends next arrives so many milliseconds late"),
    "split": Kind("fault", 2, ((1, 2, 10),), "what the peer sends next arrives in pieces: first at most so many bytes"),
    "lose": Kind("fault", 1, ((errno.ETIMEDOUT, errno.EHOSTUNREACH),), "the network gives the connection up"),
    "exhaust": Kind("fault", 1, ((30, 800, 2500),), "the process has no descriptor left for so many milliseconds: a spell of EMFILE"),
    # What goes wrong in the application.
    "raise": Kind("handler", 2, (CALLBACKS,), "the protocol raises in the next callback of this name"),
    "stop_in": Kind("handler", 3, (CALLBACKS, ("close", "abort")), "the protocol closes or aborts in the next callback of this name"),
    "stop_other": Kind("handler", 2, (CALLBACKS,), "the protocol aborts another connection in its next callback of this name"),
    "stay_open": Kind("handler", 5, (), "the protocol keeps the connection half open after the peer's FIN"),
    "keep_quiet": Kind("handler", 4, ((1, 3, 10),), "the protocol does nothing about the next so many messages"),
    "dawdle": Kind("handler", 1, ((150, 3000),), "the protocol's next callback takes so many milliseconds"),
    "fail_factory": Kind("handler", 1, (), "making the next protocol fails"),
    "fail_handshake": Kind("handler", 1, (), "the next bytes of a handshake are not what it expects"),
    # Time.
    "bustle": Kind(
        "time",
        2,
        ((60, 120, 180), MESSAGE_SIZES, (1, 40, 100)),
        "a crowd comes; so often, so many ms apart, all peers say so many bytes and hear what is there",
    ),
    "round": Kind("time", 30, (), "one round of the loop"),
    "pass": Kind("time", 6, (MILLISECONDS,), "so many milliseconds go by, with rounds at whatever comes due"),
    "jump": Kind("time", 1, ((30_000, 600_000),), "the machine slept: so many milliseconds went by at once"),
}
"""Every kind of operation. The order is that of the byte tape and must not change without a reason."""

CROWD: Final = 16
BRINGS: Final = {"connect": 1, "bustle": CROWD}
"""The kinds that bring peers, and how many: their first argument is the number of the first of these, never used before."""

NAMELESS: Final = frozenset(("fail_set_up", "fail_accept", "exhaust", "fail_factory", "fail_handshake", "bustle", "round", "pass", "jump"))
"""The kinds that concern no one connection."""

FAULTS: Final = tuple(name for name, kind in KINDS.items() if kind.group in ("fault", "handler"))
"""Those that `sometimes` has to have struck in a search that is not blind."""

GROUPS: Final = ("peer", "application", "fault", "handler", "time")


def words(operation: Operation) -> str:
    """Say an operation as a line of a script: `say(2, 64)`."""
    name, *arguments = operation
    return f"{name}({', '.join(map(repr, arguments))})"
