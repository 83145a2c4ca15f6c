"""A peer of an echo server: what it said and heard, and whether it may complain."""

from __future__ import annotations

import errno
import random
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from fsmserver.testing.stream import Stream

URGENT: Final = b"\xff"
PATTERN_BYTES: Final = 65521
"""A prime: bytes that are lost or repeated show."""

_PATTERN: Final = random.Random(0).randbytes(PATTERN_BYTES).replace(URGENT, b"\0") * 2  # noqa: S311 - test data


@dataclass(frozen=True, slots=True)
class PeerReport:
    """What became of one peer: how much it said and heard, and what it was owed."""

    number: int
    said_bytes: int
    heard_bytes: int
    ended: bool
    owed: bool
    in_order: bool
    complete: bool
    closed_on: bool
    """The server closed or reset the connection, though this peer had not ended."""


@dataclass(slots=True)
class EchoPeer:
    """A peer's side of an echo."""

    number: int
    stream: Stream
    said: bytearray = field(default_factory=bytearray)
    heard: bytearray = field(default_factory=bytearray)
    ended: bool = False
    gone: bool = False
    excused: bool = False
    """It may be refused, and then is owed nothing."""
    closed_on: bool = False

    def say(self, size_bytes: int) -> int:
        """Send the next bytes of the pattern."""
        start = (self.number * 7919 + len(self.said)) % PATTERN_BYTES
        return self._send(_PATTERN[start : start + size_bytes], urgent=False)

    def urge(self) -> None:
        """Send one byte of urgent data."""
        self._send(URGENT, urgent=True)

    def _send(self, data: bytes, *, urgent: bool) -> int:
        if self.gone or self.ended:
            return 0
        try:
            count_bytes = self.stream.send(data, urgent=urgent)
        except OSError as error:
            self._note_error(error)
            return 0
        if not urgent:
            self.said += data[:count_bytes]
        return count_bytes

    def hear(self, size_bytes: int) -> int:
        """Receive; give how much."""
        if self.gone:
            return 0
        try:
            data = self.stream.recv(size_bytes)
        except OSError as error:
            self._note_error(error)
            return 0
        if not data and size_bytes:
            self.closed_on |= not self.ended
        self.heard += data
        return len(data)

    def _note_error(self, error: OSError) -> None:
        if error.errno != errno.EAGAIN:
            self.closed_on |= not self.ended

    def end(self) -> None:
        """Send FIN, and go on receiving."""
        if not self.gone and not self.ended and not self.stream.over:
            self.ended = True
            self.stream.shutdown(socket.SHUT_WR)

    def leave(self, how: Callable[[Stream], None]) -> None:
        """Be gone: `how` says what becomes of the connection."""
        if not self.gone:
            self.gone = True
            how(self.stream)

    @property
    def echo(self) -> bytes:
        """What it heard, less the urgent bytes, which may come back or not."""
        return bytes(self.heard).replace(URGENT, b"")

    @property
    def in_order(self) -> bool:
        """Whether it heard what it said, from the beginning."""
        return self.said.startswith(self.echo)

    @property
    def complete(self) -> bool:
        """Whether it heard as much as it said."""
        return len(self.echo) >= len(self.said)

    @property
    def owed(self) -> bool:
        """Whether it may expect its echo."""
        return not self.gone and not (self.excused and self.closed_on)

    def report(self) -> PeerReport:
        """Give what has become of it."""
        return PeerReport(
            self.number, len(self.said), len(self.heard), self.ended, self.owed, self.in_order, self.complete, self.closed_on
        )  # fmt: skip
