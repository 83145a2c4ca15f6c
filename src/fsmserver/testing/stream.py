"""One end of a simulated TCP connection, as Linux keeps it: buffers, both directions' ends, the error, urgent data.

The rules, each held to real loopback sockets by the parity machine:

- What is sent goes into the receiver's buffer as far as there is room; the rest waits in the sender's own, and moves on when
  the receiver reads. A send takes what fits into both and refuses with EAGAIN when nothing does.
- `shutdown` for writing queues a FIN behind what waits. Once both FINs have arrived the connection is over (`over`): it
  is hung up, getpeername and shutdown say ENOTCONN.
- `shutdown` for reading says IN and RDHUP for ever, and that is all: bytes that arrive are received as before. But once both
  directions are shut, or the end is closed, nobody waits for bytes any more: those that arrive reset the connection, at both ends.
- Closing with unread input sends a reset; so does closing with SO_LINGER 0 s while either direction is open; otherwise
  what waits is still sent, then FIN.
- A reset throws away what waits to be sent, not what waits to be read. Its error is EPIPE for an end that had the peer's
  FIN and not sent its own, else ECONNRESET; the call that meets it clears it. A recv meets it after the data, and not at all
  after a FIN.
- A byte of urgent data stays in its place in the stream: the mark. A recv that begins before the mark stops at it. Unless
  the byte is to be inline, the next recv skips it, and recv with MSG_OOB gives it once. Newer urgent data makes an older byte
  ordinary, or eats it if it is next.
- Writable means that at least a third of the buffer for sending is free, as `sk_stream_is_writeable` has it.

Sources: tcp(7), and net/ipv4/tcp.c, tcp_input.c of Linux: tcp_poll, tcp_recvmsg, tcp_recv_urg, tcp_reset, tcp_close.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from fsmserver.testing.faults import Call, Delay, Fail, Short

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fsmserver.testing.kernel import SimKernel

IN: Final = 0x0001
PRI: Final = 0x0002
OUT: Final = 0x0004
ERR: Final = 0x0008
HUP: Final = 0x0010
NVAL: Final = 0x0020
RDHUP: Final = 0x2000

NOWHERE: Final = -1
"""Where an urgent byte is that is not there; the descriptor of an end that has none."""

RESPITE_S: Final = 0.001
"""What a split leaves behind arrives this much later: within the same breath, but not in the same round."""

LINGER: Final = struct.Struct("ii")
"""SO_LINGER's value: whether it is on, and seconds."""

OPTIONS: Final = frozenset((socket.SO_LINGER, socket.SO_OOBINLINE, socket.SO_RCVBUF, socket.SO_SNDBUF))
"""The options of SOL_SOCKET that change what happens here."""


words_of = lru_cache(os.strerror)


def os_error(number: int) -> OSError:
    """Make the OSError of an errno, with the system's own words."""
    return OSError(number, words_of(number))


class Stream:
    """One end of a connection. A peer in another process has no descriptor here; it uses these methods directly."""

    __slots__ = (
        "error", "fd", "fin_received", "fin_sent", "held", "inline", "kernel", "linger_reset", "local", "number", "options",
        "orphan", "over", "peer", "plain", "read_shut", "receive_room_bytes", "reset_received", "send_room_bytes", "taken_bytes",
        "unread", "unsent", "unsent_urgent", "urgent", "urgent_valid", "write_shut",
    )  # fmt: skip

    peer: Stream

    def __init__(self, kernel: SimKernel, local: Any, number: int, *, send_room_bytes: int, receive_room_bytes: int) -> None:
        """Make one end; `join` gives it the other."""
        self.kernel = kernel
        self.local = local
        self.number = number
        self.fd = NOWHERE
        self.send_room_bytes = send_room_bytes
        self.receive_room_bytes = receive_room_bytes
        self.options: Mapping[tuple[int, int], Any] = {}  # what it began with, from the socket that listened
        self.unsent = b""  # the kernel has it, the peer's end has not
        self.unread = b""  # arrived
        self.taken_bytes = 0
        self.plain = True  # nothing but ordinary bytes has come, and nothing has ended
        self.fin_sent = False  # it has arrived at the peer
        self.fin_received = False
        self.write_shut = False
        self.read_shut = False
        self.reset_received = False
        self.error = 0
        self.over = False
        self.orphan = False
        self.held = 0  # deliveries that are late: what follows them waits too
        self.inline = False
        self.linger_reset = False
        self.urgent = NOWHERE  # the place in `unread`: the mark
        self.urgent_valid = False
        self.unsent_urgent = NOWHERE  # the place in `unsent`

    def join(self, peer: Stream) -> None:
        """Connect two ends."""
        self.peer = peer
        peer.peer = self

    # What the owner of this end asks for.

    def send(self, data: bytes, *, urgent: bool = False) -> int:
        """Take what fits of `data`; give how much that was.

        Raises:
            OSError: EAGAIN if nothing fits; the connection's error; EPIPE after our own end.

        """
        if self.error:
            raise os_error(self.take_error())
        if self.write_shut:
            raise os_error(errno.EPIPE)
        size_bytes = len(data)
        unsent = self.unsent
        room_bytes = self.send_room_bytes - len(unsent)
        peer, kernel = self.peer, self.kernel
        if not unsent and not self.held and not urgent and not (kernel.rules and kernel.may_strike(peer.fd)):
            peer_room_bytes = peer.receive_room_bytes - len(peer.unread)
            if size_bytes <= peer_room_bytes and not peer.read_shut:  # the usual case: all of it goes over at once
                peer.unread += data
                self.taken_bytes += size_bytes
                return size_bytes
            room_bytes += max(0, peer_room_bytes)
        if room_bytes <= 0 < size_bytes:
            raise os_error(errno.EAGAIN)
        if size_bytes > room_bytes:
            data = data[:room_bytes]
            size_bytes = room_bytes
        if urgent and size_bytes:
            self.unsent_urgent = len(unsent) + size_bytes - 1
        self.unsent = unsent + data
        self.taken_bytes += size_bytes
        self.push()
        return size_bytes

    def recv(self, size_bytes: int, flags: int = 0) -> bytes:
        """Give at most `size_bytes` of what has arrived; nothing at the end of the stream.

        Raises:
            OSError: EAGAIN if there is nothing yet; the connection's error.

        """
        if flags:
            if flags & socket.MSG_OOB:
                return self._recv_urgent(size_bytes, flags)
            if flags & socket.MSG_PEEK:
                return self._peek(size_bytes)
        if self.urgent >= 0 and self.unread:
            size_bytes = self._meet_mark(size_bytes)
        unread = self.unread
        if not unread:
            return self._recv_nothing()
        if size_bytes >= len(unread):
            data = unread
            self.unread = b""
        else:
            data = unread[:size_bytes]
            self.unread = unread[size_bytes:]
        if self.urgent > 0:
            self.urgent -= len(data)
        if self.peer.unsent:
            self.peer.push()
        return data

    def _meet_mark(self, size_bytes: int) -> int:
        """Give how much may be received at once; pass the mark if it is the next byte."""
        if self.urgent > 0:
            return min(size_bytes, self.urgent)
        self.urgent, self.urgent_valid = NOWHERE, False
        if not self.inline:
            self.unread = self.unread[1:]
            self.peer.push()
        return size_bytes

    def _recv_nothing(self) -> bytes:
        if self.fin_received:
            return b""
        if self.error:
            raise os_error(self.take_error())
        if self.read_shut:
            return b""
        raise os_error(errno.EAGAIN)

    def _peek(self, size_bytes: int) -> bytes:
        unread = self.unread
        if self.urgent > 0:
            unread = unread[: self.urgent]
        elif self.urgent == 0 and not self.inline:
            unread = unread[1:]
        return unread[:size_bytes] or self._recv_nothing()

    def _recv_urgent(self, size_bytes: int, flags: int) -> bytes:
        if self.inline or not self.urgent_valid:
            raise os_error(errno.EINVAL)
        if self.over and not self.fin_received:
            raise os_error(errno.ENOTCONN)
        self.urgent_valid = bool(flags & socket.MSG_PEEK)
        return self.unread[self.urgent : self.urgent + 1][:size_bytes]

    def take_error(self) -> int:
        """Give the error, and clear it, as SO_ERROR does."""
        number, self.error = self.error, 0
        return number

    def set_options(self, options: Mapping[tuple[int, int], Any]) -> None:
        """Obey those options that change what happens here."""
        for (level, option), value in options.items():
            if level == socket.SOL_SOCKET and option in OPTIONS:
                self._set_option(option, value)

    def _set_option(self, option: int, value: Any) -> None:
        if option == socket.SO_LINGER:
            active, seconds = LINGER.unpack(value)
            self.linger_reset = bool(active) and seconds == 0
        elif option == socket.SO_OOBINLINE:
            self.inline = bool(value)
        elif option == socket.SO_RCVBUF:
            self.receive_room_bytes = value
        else:
            self.send_room_bytes = value

    def shutdown(self, how: int) -> None:
        """End one direction, or both.

        Raises:
            OSError: ENOTCONN if the connection is over.

        """
        if self.over:
            raise os_error(errno.ENOTCONN)
        self.plain = False
        if how in (socket.SHUT_RD, socket.SHUT_RDWR):
            self.read_shut = True
        if how in (socket.SHUT_WR, socket.SHUT_RDWR) and not self.write_shut:
            self.write_shut = True
            self.push()

    def close(self) -> None:
        """Let go of this end: a reset if there is unread input or SO_LINGER says so, else what waits and then FIN."""
        if self.orphan:
            return
        self.orphan = True
        self.plain = False
        self.fd = NOWHERE
        if self.over:
            return
        if self.unread or self.linger_reset:
            self._cut()
            self.peer.take_reset()
        else:
            self.read_shut = True
            if not self.write_shut:
                self.write_shut = True
                self.push()

    def reset(self) -> None:
        """Close this end with a reset, as with SO_LINGER 0 s."""
        self.linger_reset = True
        self.close()

    # What the network does.

    def push(self) -> None:
        """Move what waits on to the peer, as far as there is room and nothing holds it up; then FIN, if that is due."""
        if self.held or self.over:
            return
        if self.unsent and not self._deliver():
            return
        if self.write_shut and not self.fin_sent and not self.unsent:
            self.fin_sent = True
            self.peer.take_fin()

    def _deliver(self) -> bool:
        """Move bytes; give False if the rest, if any, has to wait."""
        peer, unsent = self.peer, self.unsent
        if peer.read_shut and peer.write_shut:  # nobody waits for bytes there any more
            if self.unsent_urgent >= 0:
                peer.note_urgent(self.unsent_urgent)  # that they are urgent is seen before that they are not wanted
            peer.take_reset()
            self.take_reset()
            return False
        size_bytes = min(len(unsent), max(0, peer.receive_room_bytes - len(peer.unread)))
        rest_waits = False
        if self.kernel.rules and size_bytes:
            verdict = self.kernel.judge(Call("deliver", peer.fd, size_bytes))
            if isinstance(verdict, Delay):
                self._hold(verdict.seconds)
                return False
            if isinstance(verdict, Short) and verdict.size_bytes < size_bytes:
                size_bytes = max(1, verdict.size_bytes)
                rest_waits = True
            elif isinstance(verdict, Fail):
                self.kernel.lose(self, verdict.number)
                return False
        if size_bytes:
            self._hand_over(size_bytes)
        if rest_waits:
            self._hold(RESPITE_S)
        return not rest_waits

    def _hand_over(self, size_bytes: int) -> None:
        peer, unsent = self.peer, self.unsent
        if self.unsent_urgent >= 0:
            if self.unsent_urgent < size_bytes:
                peer.note_urgent(self.unsent_urgent)
            self.unsent_urgent = max(NOWHERE, self.unsent_urgent - size_bytes)
        peer.unread += unsent[:size_bytes]
        self.unsent = unsent[size_bytes:]

    def _hold(self, seconds: float) -> None:
        self.held += 1
        self.kernel.later(seconds, self)

    def release(self) -> None:
        """End one delay."""
        self.held -= 1
        self.push()

    def note_urgent(self, place: int) -> None:
        """Learn that an urgent byte comes, `place` bytes behind what is here. If the byte before it is next, it is passed over."""
        if self.urgent == 0 and not self.inline:
            self.unread = self.unread[1:]
        self.plain = False
        self.urgent, self.urgent_valid = len(self.unread) + place, True

    def take_fin(self) -> None:
        """Learn that the peer sends no more. With both FINs there, the connection is over at both ends."""
        self.fin_received = True
        self.plain = False
        if self.fin_sent:
            self._end()
            self.peer._end()  # noqa: SLF001 - the two are one

    def take_reset(self) -> None:
        """Learn that the connection is no more; what waits to be read stays."""
        if self.over:
            return
        if not self.orphan:
            self.error = errno.EPIPE if self.fin_received and not self.write_shut else errno.ECONNRESET
            self.reset_received = True
        self._cut()

    def fail(self, number: int) -> None:
        """Have the network give the connection up, as after a time-out or for want of a route; the peer hears nothing."""
        if not self.over:
            self.error = number
            self._cut()

    def _cut(self) -> None:
        self._end()
        self.unsent = b""
        self.unsent_urgent = NOWHERE

    def _end(self) -> None:
        self.over = self.write_shut = self.read_shut = True
        self.plain = False

    # What can be seen.

    def readiness(self) -> int:
        """Give the bits that poll(2) would report, all of them; the pollers mask them."""
        bits = 0 if self.unsent and 3 * len(self.unsent) > 2 * self.send_room_bytes else OUT
        if self.plain:
            return bits | IN if self.unread else bits
        if self.fin_received or self.read_shut:
            bits |= IN | RDHUP
        elif len(self.unread) > (self.urgent == 0 and not self.inline):
            bits |= IN
        if self.write_shut:
            bits |= OUT | HUP if bits & RDHUP else OUT
        if self.urgent_valid:
            bits |= PRI
        if self.error:
            bits |= ERR
        return bits

    def __repr__(self) -> str:
        """Show what is under way and what has ended."""
        ends = [word for word in ("fin_sent", "fin_received", "reset_received", "over", "orphan") if getattr(self, word)]
        return f"<Stream {self.number} {len(self.unread)} B unread, {len(self.unsent)} B unsent {' '.join(ends)}>"
