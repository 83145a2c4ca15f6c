"""The vocabulary of the parity scripts: what is done, to which socket, with what.

An operation is a tuple of its name and its arguments. Sockets have numbers, which stand in the operations: a script from
which operations were removed still means what it meant.
"""

from __future__ import annotations

import socket
from typing import Any, Final, NamedTuple, TypeAlias

from fsmserver.testing.stream import ERR, HUP, IN, OUT, PRI, RDHUP

Operation: TypeAlias = tuple[Any, ...]

SIZES: Final = (1, 1, 2, 3, 10, 100, 1000)
SMALL_BYTES: Final = 100
"""What is read at once from a direction that is full: however often that is done in a script, it stays full."""

PLACES: Final = (0, 50, 500)
PATTERN: Final = bytes((7 * place + 13 * (place >> 8)) & 0xFF for place in range(1 << 14))
SETTINGS: Final = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
)
"""TCP_NODELAY is never switched off: what Nagle's algorithm does is timing."""

ALL_BITS: Final = IN | PRI | OUT | RDHUP


class Kind(NamedTuple):
    """One kind of operation: on which sockets, how likely, with arguments out of which lists."""

    role: str
    weight: int
    arguments: tuple[tuple[Any, ...], ...] = ()


KINDS: Final[dict[str, Kind]] = {
    # A new number, and for the second two the number of a listener.
    "listen": Kind("new", 3),
    "fresh": Kind("new", 1),
    "connect": Kind("new, listener", 16),
    "accept": Kind("new, listener", 20),
    # Moving bytes: where in the pattern they are from, how many.
    "send": Kind("open", 30, (PLACES, SIZES)),
    "sendmsg": Kind("open", 6, (PLACES, ((1, 2), (10, 100), (0, 3), ()))),
    "send_urgent": Kind("open", 9, (PLACES, (1, 1, 1, 2, 10))),
    "recv": Kind("reader", 24, ((*SIZES, 0, 100_000),)),
    "recv_into": Kind("reader", 6, ((*SIZES, 0, 100_000),)),
    "peek": Kind("reader", 6, ((1, 2, 10, 100_000),)),
    "recv_urgent": Kind("reader", 6, ((0, socket.MSG_PEEK),)),
    "fill": Kind("open", 3),
    "drain": Kind("reader", 8),
    # Ends.
    "shutdown": Kind("open", 16, ((socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_WR, socket.SHUT_RDWR),)),
    "close": Kind("open", 10),
    "reset": Kind("open", 4),
    "readopt": Kind("open", 1),
    # Options and names.
    "inline": Kind("open", 3, ((0, 1),)),
    "linger": Kind("open", 3, ((0, 1, 1),)),
    "option": Kind("open", 2, (SETTINGS,)),
    "options": Kind("open", 1),
    "error": Kind("open", 6),
    "names": Kind("open", 4),
    # What is wrong.
    "use_closed": Kind("closed", 2, (("recv", "send", "shutdown", "getpeername", "accept", "setsockopt", "close", "register"),)),
    "connect_again": Kind("open, listener", 1),
    "listen_again": Kind("open", 1),
    "bind_again": Kind("open, listener", 1),
    "starve": Kind("listener", 1),
    # Watching.
    "watch": Kind("open", 2, ((0, IN, OUT, PRI, RDHUP, IN | OUT, ERR | HUP, ALL_BITS, ALL_BITS, ALL_BITS),)),
    "rewatch": Kind("open", 1),
}


def words(operation: Operation) -> str:
    """Say an operation as a line of a script: `send(2, 0, 100)`."""
    name, *arguments = operation
    return f"{name}({', '.join(map(repr, arguments))})"
