"""One end of a simulated TCP connection, as Linux keeps it: buffers, both directions' ends, the error, urgent data.

The rules, each held to real loopback sockets by the parity machine:

- What is sent goes into the receiver's buffer as far as there is room; the rest waits in the sender's own, and moves on when
  the receiver reads. A send takes what fits into both and refuses with EAGAIN when nothing does.
- `shutdown` for writing queues a FIN behind what waits. Once both FINs have arrived the connection is over (`over`): it
  is hung up, getpeername and shutdown say ENOTCONN.
- Closing with unread input sends a reset; so does closing with SO_LINGER 0 s while either direction is open; otherwise
  what waits is still sent, then FIN. Bytes that arrive at a closed end are answered with a reset.
- A reset throws away what waits to be sent, not what waits to be read. Its error is EPIPE for an end that had the peer's
  FIN, else ECONNRESET; the call that meets it clears it. A recv meets it after the data, and not at all after a FIN.
- A byte of urgent data stays in its place in the stream. Unless it is to be inline, a recv stops before it and the next
  one skips it; recv with MSG_OOB gives it once. Newer urgent data makes an older byte ordinary, or eats it if it is next.
- Writable means that at least a third of the buffer for sending is free, as `sk_stream_is_writeable` has it.

Sources: tcp(7), and net/ipv4/tcp.c, tcp_input.c of Linux: tcp_poll, tcp_recvmsg, tcp_recv_urg, tcp_reset, tcp_close.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Any, Final

from fsmserver.testing.faults import Call, Delay, Fail, Short

if TYPE_CHECKING:
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


def os_error(number: int) -> OSError:
    """Make the OSError of an errno, with the system's own words."""
    return OSError(number, os.strerror(number))


class Stream:
    """One end of a connection. A peer in another process has no descriptor here; it uses these methods directly."""

    __slots__ = (
        "error", "fd", "fin_received", "fin_sent", "held", "inline", "kernel", "linger_reset", "local", "number", "orphan",
        "over", "peer", "read_shut", "receive_room_bytes", "reset_received", "send_room_bytes", "taken_bytes", "unread",
        "unsent", "unsent_urgent", "urgent", "urgent_valid", "write_shut",
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
        self.unsent = bytearray()  # the kernel has it, the peer's end has not
        self.unread = bytearray()  # arrived
        self.taken_bytes = 0
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
        self.urgent = NOWHERE  # the place in `unread`
        self.urgent_valid = False
        self.unsent_urgent = NOWHERE  # the place in `unsent`

    def join(self, peer: Stream) -> None:
        """Connect two ends."""
        self.peer = peer
        peer.peer = self

    # What the owner of this end asks for.

    def send(self, data: Any, *, urgent: bool = False) -> int:
        """Take what fits of `data`; give how much that was.

        Raises:
            OSError: EAGAIN if nothing fits; the connection's error; EPIPE after our own end.

        """
        size_bytes = len(data)
        if self.error:
            raise os_error(self.take_error())
        if self.write_shut or self.over:
            raise os_error(errno.EPIPE)
        room_bytes = self.send_room_bytes - len(self.unsent)
        peer = self.peer
        if not self.unsent and not self.held and not self.kernel.rules and not urgent and not peer.orphan:
            peer_room_bytes = peer.receive_room_bytes - len(peer.unread)
            if size_bytes <= peer_room_bytes:  # the usual case: all of it goes over at once
                peer.unread += data
                self.taken_bytes += size_bytes
                return size_bytes
            room_bytes += max(0, peer_room_bytes)
        if room_bytes <= 0 < size_bytes:
            raise os_error(errno.EAGAIN)
        taken = data[:room_bytes] if size_bytes > room_bytes else data
        if urgent and len(taken) == size_bytes:
            self.unsent_urgent = len(self.unsent) + size_bytes - 1
        self.unsent += taken
        self.taken_bytes += len(taken)
        self.push()
        return len(taken)

    def recv(self, size_bytes: int, flags: int = 0) -> bytes:
        """Give at most `size_bytes` of what has arrived; nothing at the end of the stream.

        Raises:
            OSError: EAGAIN if there is nothing yet; the connection's error.

        """
        if flags and flags & socket.MSG_OOB:
            return self._recv_urgent(size_bytes)
        unread = self.unread
        if self.urgent >= 0:
            if self.urgent == 0:
                if not self.inline and size_bytes:
                    del unread[0]
                if size_bytes:
                    self.urgent, self.urgent_valid = NOWHERE, False
            else:
                size_bytes = min(size_bytes, self.urgent)
        if not unread:
            if size_bytes == 0:
                return b""
            return self._recv_nothing()
        data = bytes(unread[:size_bytes]) if size_bytes < len(unread) else bytes(unread)
        if flags and flags & socket.MSG_PEEK:
            return data
        del unread[: len(data)]
        if self.urgent > 0:
            self.urgent -= len(data)
        if self.peer.unsent:
            self.peer.push()
        return data

    def _recv_nothing(self) -> bytes:
        if self.fin_received:
            return b""
        if self.error:
            raise os_error(self.take_error())
        if self.read_shut or self.over:
            return b""
        raise os_error(errno.EAGAIN)

    def _recv_urgent(self, size_bytes: int) -> bytes:
        if self.inline or self.urgent < 0 or not self.urgent_valid:
            raise os_error(errno.EINVAL)
        if self.over and not self.fin_received:
            raise os_error(errno.ENOTCONN)
        self.urgent_valid = False
        return bytes(self.unread[self.urgent : self.urgent + 1])[:size_bytes]

    def take_error(self) -> int:
        """Give the error, and clear it, as SO_ERROR does."""
        number, self.error = self.error, 0
        return number

    def shutdown(self, how: int) -> None:
        """End one direction, or both.

        Raises:
            OSError: ENOTCONN if the connection is over.

        """
        if self.over:
            raise os_error(errno.ENOTCONN)
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
        self.fd = NOWHERE
        if self.over:
            return
        if self.unread or self.linger_reset:
            self._cut()
            self.peer.take_reset()
        else:
            self.write_shut = self.read_shut = True
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
        if self.write_shut and not self.fin_sent and not self.unsent and not self.over:
            self.fin_sent = True
            self.peer.take_fin()

    def _deliver(self) -> bool:
        """Move bytes; give False if the rest, if any, has to wait."""
        peer, unsent = self.peer, self.unsent
        if peer.orphan:
            peer.over = True  # nobody reads there any more: bytes are answered with a reset
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
        if 0 <= self.unsent_urgent < size_bytes:
            peer.note_urgent(len(peer.unread) + self.unsent_urgent)
            self.unsent_urgent = NOWHERE
        elif self.unsent_urgent >= 0:
            self.unsent_urgent -= size_bytes
        if size_bytes == len(unsent):
            peer.unread += unsent
            unsent.clear()
        else:
            peer.unread += unsent[:size_bytes]
            del unsent[:size_bytes]

    def _hold(self, seconds: float) -> None:
        self.held += 1
        self.kernel.later(seconds, self)

    def release(self) -> None:
        """End one delay."""
        self.held -= 1
        self.push()

    def note_urgent(self, place: int) -> None:
        """Learn that the byte that will stand at `place` of what is unread is urgent."""
        if self.urgent == 0 and not self.inline and self.unread:
            del self.unread[0]
            place -= 1
        self.urgent, self.urgent_valid = place, True

    def take_fin(self) -> None:
        """Learn that the peer sends no more. With both FINs there, the connection is over at both ends."""
        self.fin_received = True
        if self.fin_sent:
            self.over = self.peer.over = True
            self.write_shut = self.read_shut = True
            self.peer.write_shut = self.peer.read_shut = True

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
        self.over = True
        self.write_shut = self.read_shut = True
        self.unsent.clear()
        self.unsent_urgent = NOWHERE

    # What can be seen.

    def readiness(self) -> int:
        """Give the bits that poll(2) would report, all of them; the pollers mask them."""
        bits = PRI if self.urgent_valid else 0
        unread = self.unread
        if self.fin_received or self.read_shut:
            bits |= IN | RDHUP
            if self.write_shut:
                bits |= HUP
        elif unread and (self.urgent != 0 or self.inline or len(unread) > 1):
            bits |= IN
        if self.write_shut or 3 * len(self.unsent) <= 2 * self.send_room_bytes:
            bits |= OUT
        if self.error:
            bits |= ERR
        return bits

    def __repr__(self) -> str:
        """Show what is under way and what has ended."""
        ends = [word for word in ("fin_sent", "fin_received", "reset_received", "over", "orphan") if getattr(self, word)]
        return f"<Stream {self.number} {len(self.unread)} B unread, {len(self.unsent)} B unsent {' '.join(ends)}>"
