"""One live connection: a socket, its machine and its protocol, and nothing that could disagree with the machine.

The scheduler calls `readable` (or `ready`, for everything rarer) with what the poller reported; the link does the one
system call, tells the machine, and calls the protocol. Afterwards `settle` makes the world follow the machine: it
offers the outbox to the kernel, brings the registration in line with the interest, and retires what is closed.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from fsmserver.core.connection import USUAL, ConnectionFSM
from fsmserver.core.reasons import AGAIN, ErrnoClass, Who, classify
from fsmserver.core.states import Event, Interest, State
from fsmserver.runtime.descriptor import Descriptor
from fsmserver.runtime.ports import (
    ERROR,
    EXCEPTIONAL,
    HANGUP,
    INVALID,
    READABLE,
    WRITABLE,
    Address,
    ListeningSocket,
    Socket,
)
from fsmserver.runtime.timers import NEVER_TICK, Dated
from fsmserver.runtime.transport import Transport

if TYPE_CHECKING:
    from fsmserver.core.outbox import Outbox
    from fsmserver.runtime.scheduler import Scheduler

FIRST_RECEIVE_BYTES: Final = 448
"""A bytes object of up to 479 bytes comes from CPython's small-object allocator; most messages fit, and who sends more
gets a buffer four times the size after each read that filled it."""

RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER, on, 0 s: close sends a reset instead of a FIN. A time other than 0 would block."""

NOWHERE: Final = -1
"""What a link is registered for that the poller does not know: not yet, or no more."""

READ: Final = Interest.READ.value

# The members of an enumeration cost a call each where they are named by their class.
ACCEPTED: Final = State.ACCEPTED
QUEUED: Final = State.QUEUED
CLOSED: Final = State.CLOSED
PEER: Final = Who.PEER

Way: TypeAlias = "tuple[Any, ConnectionFSM, Outbox, Any, int]"
"""All that the loop's short way needs of a connection, unpacked at once: attributes are what it would cost otherwise. The first
is the link and the fourth its protocol's `data_received` (both None in `NOBODY`), the last how many bytes to receive at most."""


class Link(Dated):
    """A connection in the scheduler's care."""

    __slots__ = (
        "_buffered", "_shared", "fd", "fsm", "jobs", "peername", "protocol", "receive_bytes", "registered",
        "scheduler", "sock", "touched", "transport",
    )  # fmt: skip

    def __init__(self, scheduler: Scheduler, sock: Socket, peername: Address, fsm: ConnectionFSM, number: int) -> None:
        """Take charge of `sock`: from now on it is closed here and nowhere else."""
        self.number, self.armed_tick = number, NEVER_TICK  # what the base would say, at the cost of a call
        self.scheduler = scheduler
        self.sock: Socket | None = sock
        self.fd = sock.fileno()
        self.peername = peername
        self.fsm = fsm
        self.protocol: Any = None
        self.transport: Transport | None = Transport(self)
        self.registered = NOWHERE
        self.touched = False
        self.jobs = 0
        budget_bytes = fsm.limits.read_budget_bytes
        self.receive_bytes = budget_bytes if budget_bytes < FIRST_RECEIVE_BYTES else FIRST_RECEIVE_BYTES  # noqa: FURB136 - as min()
        self._buffered = False
        self._shared = False

    @property
    def name(self) -> str:
        """How the log calls it: its number and its peer."""
        return f"#{self.number} {address_words(self.peername)}"

    def set_protocol(self, protocol: object) -> None:
        """Call `protocol` from now on; one with `get_buffer` is a `BufferedProtocol`."""
        self.protocol = protocol
        self._buffered = hasattr(protocol, "get_buffer")
        self.choose_way()

    def begin(self, protocol: object) -> None:
        """Open the connection and introduce the protocol."""
        self.protocol = protocol
        self._buffered = hasattr(protocol, "get_buffer")
        fsm = self.fsm
        fsm.open(self.scheduler.now_s)
        made = getattr(protocol, "connection_made", None)
        if made is not None:
            try:
                made(self.transport)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:  # noqa: BLE001 - as in call_protocol, which costs three calls more
                self.blame(error)
        self.choose_way()
        if fsm.state is not USUAL:
            self.touch()

    def lend(self) -> Socket | None:
        """Give the application the socket, as the standard library's own class where it is a socket of the system."""
        sock = self.sock
        if type(sock) is Descriptor:
            sock = self.sock = sock.whole()
        self.share()
        return sock

    def share(self) -> None:
        """Do nothing by the bare descriptor from now on: the application has the socket too, and may close it."""
        self._shared = True
        self.choose_way()

    def choose_way(self) -> None:
        """Have the loop serve it by its short way while it is open and the poller watches it for reading alone.

        That this means `reading`, with nothing held, is so whenever it is settled: `interest` says it.
        """
        if self.registered == NOWHERE:
            return  # by now the place may be another's
        scheduler, fsm = self.scheduler, self.fsm
        way = NOBODY
        if (
            self.registered == READ
            and fsm.state is not ACCEPTED
            and not (self._buffered or self._shared or fsm.outbox.sealed)
            and scheduler.eager_writes
        ):
            deliver = getattr(self.protocol, "data_received", None)
            if deliver is not None:
                way = (self, fsm, fsm.outbox, deliver, self.receive_bytes)
        scheduler.ways[self.fd] = way

    def deliver(self, data: bytes) -> None:
        """Give the protocol bytes that are here already; the machine has counted them."""
        if not self._buffered:
            self.call_protocol("data_received", data)
            return
        while data and not self.fsm.closing:
            buffer = self._get_buffer()
            if buffer is None:
                return
            count_bytes = min(len(buffer), len(data))
            buffer[:count_bytes] = data[:count_bytes]
            self.call_protocol("buffer_updated", count_bytes)
            data = data[count_bytes:]

    # What the poller reported.

    def readable(self) -> None:
        """Receive once, up to the budget, and deliver it: what the scheduler's short way does for a plain connection."""
        if self._buffered:
            self._receive_into()
            return
        try:
            data = self.sock.recv(self.receive_bytes)  # type: ignore[union-attr] # a registered link has its socket
        except OSError as error:
            self.not_received(error)
            return
        if not data:
            self.end_of_stream()
            return
        if len(data) == self.receive_bytes:
            self.expect_more()
        if self.fsm.receive(data, self.scheduler.now_s):
            self.call_protocol("data_received", data)
        elif self.fsm.closed:
            self.touch()

    def not_received(self, error: OSError) -> None:
        """Say that nothing came: for now, or, if the socket failed, for ever."""
        if error.errno not in AGAIN:
            self.lose(error)

    def expect_more(self) -> None:
        """Receive more at a time from now on: what came has filled what there was for it."""
        if self.receive_bytes < self.fsm.limits.read_budget_bytes:
            self.receive_bytes = min(4 * self.receive_bytes, self.fsm.limits.read_budget_bytes)
            self.choose_way()

    def _receive_into(self) -> None:
        buffer = self._get_buffer() if not self.fsm.closing else bytearray(FIRST_RECEIVE_BYTES)
        if buffer is None:
            return
        try:
            count_bytes = self.sock.recv_into(buffer, min(len(buffer), self.fsm.limits.read_budget_bytes))  # type: ignore[union-attr]
        except OSError as error:
            self.not_received(error)
            return
        if not count_bytes:
            self.end_of_stream()
        elif self.fsm.receive(range(count_bytes), self.scheduler.now_s):
            self.call_protocol("buffer_updated", count_bytes)
        elif self.fsm.closed:
            self.touch()

    def _get_buffer(self) -> Any:  # noqa: ANN401 - any writable buffer
        try:
            buffer = memoryview(self.protocol.get_buffer(-1)).cast("B")
            if not len(buffer):
                raise RuntimeError("get_buffer() returned an empty buffer")
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - as above
            self.blame(error)
            return None
        return None if self.fsm.closed else buffer  # it may have been aborted in there

    def end_of_stream(self) -> None:
        """Say that the peer will send no more."""
        fsm, scheduler = self.fsm, self.scheduler
        now_s = scheduler.now_s
        delivers = not fsm.closing
        fsm.eof(now_s, True)  # half open, until the protocol has its say
        if delivers:
            stays_open: object = False
            heard = getattr(self.protocol, "eof_received", None)
            try:  # as in call_protocol, which costs two calls more
                stays_open = heard is not None and heard()
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:  # noqa: BLE001 - as there
                self.blame(error)
            if not stays_open:
                fsm.close(now_s, PEER)
        if fsm.state is CLOSED and not self.touched and self.registered != NOWHERE:
            self.registered = NOWHERE  # what `follow` would do, at once
            scheduler.retire(self)
        else:
            self.touch()

    def ready(self, readiness: int) -> None:
        """Act on any report: exceptional, then writable, then readable. The machine is asked before each.

        An error ends a connection by the call that meets it, send or recv, so that what came before a reset is delivered
        first. Where there is nothing to read, the socket is asked what is wrong.
        """
        fsm = self.fsm
        if readiness & INVALID:
            self._fail(errno.EBADF)
            return
        if readiness & EXCEPTIONAL and fsm.wants_read:
            self._exceptional()
        if readiness & WRITABLE and fsm.wants_write:
            self.offer()
            self.follow()  # at once, not when this returns: what is read now may end it, and it is retired once
        if fsm.closed:
            return
        if readiness & ERROR and not readiness & READABLE:
            self._fail(self._socket_error())
        elif fsm.wants_read:
            if readiness & (READABLE | HANGUP):
                self.readable()
        elif readiness & HANGUP and not fsm.interest:
            # Both directions have ended and what is left in the kernel may not be read yet: there is nothing more
            # to learn from this descriptor until its interest changes, and it would be reported for ever.
            self.scheduler.poller.mute(self.fd)

    def _socket_error(self) -> int:
        try:
            return self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or errno.ECONNRESET  # type: ignore[union-attr]
        except OSError as error:
            return error.errno or errno.EBADF

    def _fail(self, number: int) -> None:
        self.lose(OSError(number, os.strerror(number)))

    def _exceptional(self) -> None:
        """Treat urgent data as the policy says; with `inline` it comes with the rest and there is nothing to do."""
        policy = self.scheduler.exceptional
        self.scheduler.counts.urgent += 1
        if policy == "close":
            self.fsm.exceptional()
            self.touch()
        elif policy == "discard":
            with suppress(OSError):  # EINVAL or EAGAIN: the byte is gone, or has not come yet
                self.sock.recv(1, socket.MSG_OOB)  # type: ignore[union-attr]

    # Sending.

    def offer(self) -> None:
        """Offer the outbox to the kernel, once."""
        fsm = self.fsm
        chunks = fsm.flush()
        try:
            if len(chunks) == 1:
                taken_bytes = self.sock.send(chunks[0])  # type: ignore[union-attr] # as in readable
            else:
                taken_bytes = self.sock.sendmsg(chunks)  # type: ignore[union-attr]
        except OSError as error:
            self.not_sent(error)
        else:
            if fsm.sent(taken_bytes, self.scheduler.now_s):
                self.scheduler.eased.append(self)

    def not_sent(self, error: OSError) -> None:
        """Say that the kernel took nothing: for now, or, if the socket failed, for ever."""
        if error.errno in AGAIN:
            self.fsm.sent(0, self.scheduler.now_s)
        else:
            self.lose(error)

    def short_write(self, outcome: int | OSError) -> None:
        """Go on where the loop's short way cannot: the kernel took less than the answer, or refused it."""
        self.fsm.fire(Event.FLUSH)
        if isinstance(outcome, OSError):
            self.not_sent(outcome)
        else:
            self.fsm.sent(outcome, self.scheduler.now_s)
        self.touch()

    # Making the world follow the machine.

    def touch(self) -> None:
        """Ask to be settled once the present callback has returned."""
        if not self.touched:
            self.touched = True
            self.scheduler.touched.append(self)

    def settle(self) -> None:
        """Offer what was written, unless the kernel was offered it already; then follow the machine."""
        if self.fsm.state is QUEUED and self.scheduler.eager_writes:
            self.offer()
        self.follow()

    def follow(self) -> None:
        """Bring registration, deadline and the socket's own state in line with the machine, where it has moved."""
        fsm = self.fsm
        if fsm.state is CLOSED:
            if self.registered != NOWHERE:
                self.scheduler.retire(self)
                self.registered = NOWHERE
            return  # it stays touched: nothing asks for it to be settled again
        if fsm.outbox.sealed or fsm.interest != self.registered:
            self._adapt()
        self.touched = False

    def _adapt(self) -> None:
        fsm, scheduler = self.fsm, self.scheduler
        if fsm.wants_fin:
            with suppress(OSError):  # ENOTCONN: the peer was faster
                self.sock.shutdown(socket.SHUT_WR)  # type: ignore[union-attr]
            fsm.fin_sent()
        interest = fsm.interest
        if self.registered != interest:
            scheduler.poller.change(self.fd, interest)
            self.registered = interest.value
        self.choose_way()
        scheduler.deadlines.arm(self, fsm.due()[1])

    def expire_if_due(self) -> None:
        """Expire if the limit that runs has passed; otherwise be armed again for when it will."""
        limit, due_s = self.fsm.due()
        if due_s <= self.scheduler.now_s:
            self.fsm.expire(limit)
            self.touch()
        else:
            self.scheduler.deadlines.arm(self, due_s)

    # Mishaps.

    def lose(self, error: OSError) -> None:
        """Say that the socket failed."""
        if classify(error.errno) is not ErrnoClass.PEER_GONE:
            self.scheduler.journal.socket_failed(self, error)
        self.fsm.reset(error)
        self.touch()

    def blame(self, error: BaseException) -> None:
        """Abort because the protocol failed: the log names it once, with its traceback."""
        self.scheduler.counts.protocol_errors += 1
        self.scheduler.journal.protocol_failed(self, error)
        if not self.fsm.closed:
            self.fsm.abort(error)
            self.touch()

    def call_protocol(self, name: str, *args: object) -> object:
        """Call a method of the protocol if it has it; give what it gave."""
        method = getattr(self.protocol, name, None)
        try:
            return None if method is None else method(*args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a protocol raises ends its connection, not the server
            self.blame(error)
            return None

    def detach(self) -> None:
        """Let go of a descriptor that is no longer ours, without closing it."""
        assert self.sock is not None, "only an open link has a descriptor to let go of"
        self.sock.detach()

    def bury(self) -> None:
        """Tell the protocol, close the socket, and let go of everything, so that no cycle keeps a closed connection."""
        sock, reason = self.sock, self.fsm.close_reason
        assert sock is not None, "a link is buried once"
        assert reason is not None, "only a closed link is buried"
        lost = getattr(self.protocol, "connection_lost", None)
        try:  # as in call_protocol, which costs two calls more
            if lost is not None:
                lost(None if reason.error is None or self.fsm.all_sent else reason.error)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - as there
            self.blame(error)
        finally:  # SystemExit passes through here
            self.protocol = self.transport = self.sock = None  # who still has the transport keeps us, and not we ourselves
            if reason.with_reset:
                with suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            close_quietly(sock)

    def __repr__(self) -> str:
        """Show the name and the machine."""
        return f"<Link {self.name}: {self.fsm!r}>"


def close_quietly(sock: Socket | ListeningSocket) -> None:
    """Close a socket, whatever it says of it: the descriptor is gone all the same, and closing is never tried again."""
    try:  # noqa: SIM105 - suppress() costs three calls, and every connection comes by here
        sock.close()
    except OSError:
        pass


def address_words(address: Address) -> str:
    """Write an address as people do: `127.0.0.1:8008`, `[::1]:8008`, a path, or `unnamed`."""
    if isinstance(address, tuple) and len(address) >= 2:
        host = f"[{address[0]}]" if ":" in str(address[0]) else address[0]
        return f"{host}:{address[1]}"
    return str(address) if address else "unnamed"


def _nobodys_way() -> Any:  # noqa: ANN401 - a Way, but always the same one: compiled, a Way is made anew each time
    fsm = ConnectionFSM()
    fsm.abort()
    return None, fsm, fsm.outbox, None, 0  # nothing of it is ever looked at but the machine


NOBODY: Final[Any] = _nobodys_way()
"""Stands where there is no short way: a closed machine takes none."""
