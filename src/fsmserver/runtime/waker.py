"""How another thread or a signal handler ends a wait: a byte through a socket pair."""

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

DRAIN_BYTES: Final = 4096


class SocketWaker:
    """A non-blocking, close-on-exec socket pair. One end is watched, the other is written to."""

    def __init__(self, open_pair: Callable[[], tuple[Any, Any]] | None = None) -> None:
        """Open the pair, with another function than the system's where the world is simulated."""
        pair: tuple[Any, Any] = socket.socketpair() if open_pair is None else open_pair()
        self._watched, self._rung = pair
        self._watched.setblocking(False)
        self._rung.setblocking(False)

    def fileno(self) -> int:
        """Give the descriptor that becomes readable."""
        fd: int = self._watched.fileno()
        return fd

    def bell(self) -> int:
        """Give the descriptor that a byte is written to, for `signal.set_wakeup_fd`."""
        fd: int = self._rung.fileno()
        return fd

    def wake(self) -> None:
        """Make it readable. A full pair is readable already; a closed one has nobody left to wake."""
        with suppress(OSError):
            self._rung.send(b"\0")

    def quiet(self) -> None:
        """Take out all that was written, so that it is readable no more."""
        with suppress(BlockingIOError):
            while self._watched.recv(DRAIN_BYTES):
                pass

    def close(self) -> None:
        """Close both ends."""
        self._watched.close()
        self._rung.close()
