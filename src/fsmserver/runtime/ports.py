"""What the runtime asks of the world: a socket, a poller, a clock, a waker. Real ones and simulated ones both fit."""

import socket
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

from fsmserver.core.outbox import Buffer
from fsmserver.core.states import Interest

Clock: TypeAlias = Callable[[], float]
"""Gives the monotonic time in seconds."""

Address: TypeAlias = Any
"""A socket address as the standard library gives it: a tuple, a path, or None."""

# What a poller reports of a descriptor: the bits of poll(2), which epoll(7) shares.
READABLE: Final = 0x001
EXCEPTIONAL: Final = 0x002
WRITABLE: Final = 0x004
ERROR: Final = 0x008
HANGUP: Final = 0x010
INVALID: Final = 0x020


MOST_EVENTS: Final = 64
"""How many reports a wait is asked for: a buffer for more costs a twentieth of a round in which there is one."""

RealSocket: Final = socket.socket
"""The standard library's class itself, whatever stands under its name later."""


class Socket(Protocol):
    """A non-blocking stream socket: the part of `socket.socket` that the runtime uses."""

    def fileno(self) -> int:
        """Give the descriptor, -1 once closed."""

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive at most `bufsize` bytes; empty at the end of the stream."""

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0, /) -> int:  # noqa: ANN401 - any writable buffer
        """Receive into `buffer`; give the number of bytes."""

    def send(self, data: Buffer, flags: int = 0, /) -> int:
        """Offer bytes to the kernel; give how many it took."""

    def sendmsg(self, buffers: Sequence[Buffer], /) -> int:
        """Offer several buffers at once; give how many bytes the kernel took."""

    def shutdown(self, how: int, /) -> None:
        """End one direction."""

    def close(self) -> None:
        """Give the descriptor back."""

    def detach(self) -> int:
        """Hand the descriptor on without closing it."""

    def setsockopt(self, level: int, option: int, value: Any, /) -> None:  # noqa: ANN401 - int or bytes
        """Set an option."""

    def getsockopt(self, level: int, option: int, /) -> int:
        """Read an option."""

    def getsockname(self) -> Address:
        """Give our own address."""

    def setblocking(self, flag: bool, /) -> None:  # noqa: FBT001 - the standard library's signature
        """Choose blocking calls or EAGAIN."""


class Calls(Protocol):
    """The two system calls of the usual message, by descriptor: the module `os` has them."""

    def read(self, fd: int, length: int, /) -> bytes:
        """Receive at most `length` bytes; empty at the end of the stream."""

    def write(self, fd: int, data: bytes, /) -> int:
        """Offer bytes to the kernel; give how many it took."""


class ListeningSocket(Protocol):
    """A non-blocking socket that listens."""

    def fileno(self) -> int:
        """Give the descriptor, -1 once closed."""

    def accept(self) -> tuple[Socket, Address]:
        """Take the next connection from the backlog."""

    def close(self) -> None:
        """Give the descriptor back."""

    def getsockname(self) -> Address:
        """Give the address that is listened on."""


class Poller(Protocol):
    """Waits for descriptors. The two sets are its only record of what it watches, and it alone edits them."""

    name: str
    ceiling: int | None
    """Only descriptors below this can be watched; None if any can."""
    inputs: set[int]
    outputs: set[int]

    def add(self, fd: int, interest: Interest) -> None:
        """Begin to watch a new descriptor."""

    def change(self, fd: int, interest: Interest) -> None:
        """Watch a known descriptor for something else, or, for nothing, only for its hang-up and errors."""

    def mute(self, fd: int) -> None:
        """Stop reports of a known descriptor until its interest changes."""

    def remove(self, fd: int) -> None:
        """Forget a descriptor, before it is closed."""

    @property
    def wait(self) -> Callable[..., list[tuple[int, int]]]:
        """`wait(timeout_s, most_events)`: wait at most that long; give pairs of a descriptor and the bits of what is ready.

        Where more than `most_events` are ready some may be left for the next time; then they come first.
        """

    def close(self) -> None:
        """Give back what the poller itself holds."""


@runtime_checkable
class Teller(Protocol):
    """A watcher that is told of a usual message in one piece: its connections keep to the loop's short way.

    What else happens comes to it as to any watcher; what it was left before happened before.
    """

    pending: tuple[Any, float, float, int] | None
    """Set when bytes have come to a connection that holds and owes nothing: its link, the time, `since_s` until then, and how many."""
    exchanges: list[int]
    """When they were answered with one write and the kernel took it whole: the connection's number, their bytes, the answer's."""

    def tell(self) -> None:
        """Say what there is to say: the group is over, or there was no answer. All exchanges were at the loop's `now_s`."""


class Waker(Protocol):
    """Ends a wait from another thread or a signal handler."""

    def fileno(self) -> int:
        """Give the descriptor that becomes readable."""

    def bell(self) -> int:
        """Give the descriptor that a byte may be written to, by the system too, to make it readable."""

    def wake(self) -> None:
        """Make it readable; may be called from anywhere, any number of times."""

    def quiet(self) -> None:
        """Make it unreadable again."""

    def close(self) -> None:
        """Give the descriptors back."""
