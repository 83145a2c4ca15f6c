"""A deterministic world for the runtime: a clock, a kernel of sockets, a poller and a waker, and what must hold in it.

The fakes do what the real ones do where the runtime can tell the difference: readiness is level-triggered, the lowest
free descriptor is given out again, sends are partial or refused, and a poller complains about registrations that are
stale. What a peer does is said on its socket: `feed`, `feed_eof`, `feed_error`, `feed_urgent`, `room_bytes`.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from fsmserver.core.limits import DEFAULT, Limits
from fsmserver.core.states import Interest, State
from fsmserver.runtime.link import NOBODY
from fsmserver.runtime.listener import Listener
from fsmserver.runtime.pollers import POLL_MASKS
from fsmserver.runtime.ports import ERROR, EXCEPTIONAL, HANGUP, INVALID, MOST_EVENTS, READABLE, WRITABLE, Address
from fsmserver.runtime.scheduler import Scheduler
from fsmserver.runtime.timers import NEVER_TICK, TICK_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fsmserver.core.outbox import Buffer
    from fsmserver.runtime.link import Link
    from fsmserver.runtime.transport import Transport

FIRST_DESCRIPTOR: Final = 3
UNLIMITED: Final = 1 << 60
PEER: Final = ("192.0.2.1", 40000)
HOME: Final = ("192.0.2.9", 8008)


def os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class FakeClock:
    """Virtual time: it moves when it is told to."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def advance(self, by_s: float) -> None:
        assert by_s >= 0, "time does not run backwards"
        self.now_s += by_s


class FakeKernel:
    """Gives out descriptors, the lowest free one first, and knows all sockets that ever were."""

    def __init__(self, most_descriptors: int = UNLIMITED) -> None:
        self.most_descriptors = most_descriptors
        self.open: dict[int, Any] = {}
        self.sockets: list[FakeSocket] = []
        self.strangers: set[int] = set()
        self.received_now: dict[int, int] = {}
        self.reported: dict[int, int] = {}

    def allocate(self, owner: object) -> int:
        if len(self.open) >= self.most_descriptors:
            raise os_error(errno.EMFILE)
        fd = FIRST_DESCRIPTOR
        while fd in self.open:
            fd += 1
        self.open[fd] = owner
        return fd

    def release(self, fd: int) -> None:
        assert fd in self.open, f"descriptor {fd} is closed twice"
        del self.open[fd]

    def occupy(self) -> int:
        """Take a descriptor for something that is no business of the server."""
        fd = self.allocate("a stranger")
        self.strangers.add(fd)
        return fd

    def vacate(self, fd: int) -> None:
        self.strangers.remove(fd)
        self.release(fd)

    def socket(self) -> FakeSocket:
        """Open a connected socket, as accept would give it."""
        sock = FakeSocket(self)
        sock.open()
        return sock

    def listening_socket(self, address: Address = HOME) -> FakeListeningSocket:
        return FakeListeningSocket(self, address)

    def close_behind(self, sock: FakeSocket) -> None:
        """Close a descriptor without its owner knowing, as a foreign `os.close` does."""
        self.release(sock.fd)
        sock.stolen = True

    def read(self, fd: int, length: int, /) -> bytes:
        data: bytes = self._socket(fd).recv(length)
        return data

    def write(self, fd: int, data: bytes, /) -> int:
        taken_bytes: int = self._socket(fd).send(data)
        return taken_bytes

    def _socket(self, fd: int) -> Any:
        if fd not in self.open:
            raise os_error(errno.EBADF)
        return self.open[fd]

    def begin_round(self) -> None:
        self.received_now.clear()
        self.reported.clear()

    def readiness(self, fd: int) -> int:
        owner = self.open.get(fd)
        return INVALID if owner is None else int(owner.readiness())


class FakeSocket:
    """One end of a connection; the test is the other end."""

    def __init__(self, kernel: FakeKernel) -> None:
        self.kernel = kernel
        self.fd = -1
        self.number = -1
        self.arrivals: deque[bytes | OSError] = deque()
        self.at_end = False
        self.urgent: deque[bytes] = deque()
        self.room_bytes = UNLIMITED
        self.send_error: OSError | None = None
        self.so_error = 0
        self.getsockopt_error: OSError | None = None
        self.setsockopt_error: OSError | None = None
        self.shutdown_error: OSError | None = None
        self.close_error: OSError | None = None
        self.sent = bytearray()
        self.sends: list[int] = []
        self.receives = 0
        self.options: list[tuple[int, int, Any]] = []
        self.shut = False
        self.blocking = True
        self.closes = 0
        self.detached = False
        self.stolen = False
        kernel.sockets.append(self)

    # What the peer does.

    def feed(self, *chunks: bytes) -> None:
        """Have bytes arrive; each chunk is received by a call of its own."""
        self.arrivals.extend(chunk for chunk in chunks if chunk)

    def feed_eof(self) -> None:
        self.at_end = True

    def feed_error(self, number: int) -> None:
        """Have the next recv that gets there fail."""
        self.arrivals.append(os_error(number))

    def feed_urgent(self, byte: bytes = b"!") -> None:
        self.urgent.append(byte)

    def reset_by_peer(self, number: int = errno.ECONNRESET) -> None:
        """Have the connection fail: the poller reports an error, and each call gives it."""
        self.so_error = number
        self.arrivals.clear()
        self.feed_error(number)
        self.send_error = os_error(number)

    # What the kernel knows.

    def open(self) -> None:
        self.fd = self.number = self.kernel.allocate(self)

    @property
    def reset_on_close(self) -> bool:
        return any(option == socket.SO_LINGER for _, option, _ in self.options)

    def readiness(self) -> int:
        bits = READABLE if self.arrivals or self.at_end else 0
        bits |= EXCEPTIONAL if self.urgent else 0
        bits |= WRITABLE if self.room_bytes or self.send_error or self.shut else 0
        bits |= ERROR if self.so_error else 0
        bits |= HANGUP if self.so_error or (self.at_end and self.shut) else 0
        return bits

    # The face that the runtime uses.

    def fileno(self) -> int:
        return self.fd

    def _check(self) -> None:
        if self.fd < 0 or self.stolen:
            raise os_error(errno.EBADF)

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        self._check()
        if flags & socket.MSG_OOB:
            if not self.urgent:
                raise os_error(errno.EINVAL)
            return self.urgent.popleft()
        self.receives += 1
        self.kernel.received_now.setdefault(self.fd, 0)
        if not self.arrivals:
            if self.at_end:
                return b""
            raise os_error(errno.EAGAIN)
        first = self.arrivals.popleft()
        if isinstance(first, OSError):
            raise first
        if len(first) > bufsize:
            self.arrivals.appendleft(first[bufsize:])
        self.kernel.received_now[self.fd] += len(first[:bufsize])
        return first[:bufsize]

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0, /) -> int:
        data = self.recv(nbytes or len(buffer), flags)
        memoryview(buffer)[: len(data)] = data
        return len(data)

    def send(self, data: Buffer, flags: int = 0, /) -> int:
        return self._take(bytes(data))

    def sendmsg(self, buffers: Sequence[Buffer], /) -> int:
        return self._take(b"".join(buffers))

    def _take(self, data: bytes) -> int:
        self._check()
        assert not self.blocking, "a blocking send could stop the loop"
        if self.send_error is not None:
            raise self.send_error
        if self.shut:
            raise os_error(errno.EPIPE)
        taken = data[: self.room_bytes]
        if data and not taken:
            raise os_error(errno.EAGAIN)
        self.room_bytes -= len(taken)
        self.sent += taken
        self.sends.append(len(taken))
        return len(taken)

    def shutdown(self, how: int, /) -> None:
        self._check()
        if self.shutdown_error is not None:
            raise self.shutdown_error
        assert how == socket.SHUT_WR
        self.shut = True

    def close(self) -> None:
        assert not self.stolen, "a stolen descriptor must be detached: its number is another's by now"
        if self.fd >= 0:
            self.closes += 1
            self.kernel.release(self.fd)
            self.fd = -1
        if self.close_error is not None:
            raise self.close_error

    def detach(self) -> int:
        fd, self.fd, self.detached = self.fd, -1, True
        self.stolen = False
        return fd

    def setsockopt(self, level: int, option: int, value: Any, /) -> None:
        if self.setsockopt_error is not None:
            raise self.setsockopt_error
        self._check()
        self.options.append((level, option, value))

    def getsockopt(self, level: int, option: int, /) -> int:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR)
        if self.getsockopt_error is not None:
            raise self.getsockopt_error
        number, self.so_error = self.so_error, 0
        return number

    def getsockname(self) -> Address:
        self._check()
        return HOME

    def setblocking(self, flag: bool, /) -> None:
        self.blocking = flag


class FakeListeningSocket:
    """A backlog that the test fills with connections and errors."""

    def __init__(self, kernel: FakeKernel, address: Address = HOME) -> None:
        self.kernel = kernel
        self.address = address
        self.backlog: deque[tuple[FakeSocket, Address] | OSError] = deque()
        self.accepts = 0
        self.closes = 0
        self.fd = self.number = kernel.allocate(self)

    def connect(self, peername: Address = PEER) -> FakeSocket:
        """Have a peer connect; its socket gets its descriptor when it is accepted."""
        sock = FakeSocket(self.kernel)
        self.backlog.append((sock, peername))
        return sock

    def fail(self, number: int) -> None:
        self.backlog.append(os_error(number))

    def readiness(self) -> int:
        return READABLE if self.backlog else 0

    def fileno(self) -> int:
        return self.fd

    def accept(self) -> tuple[FakeSocket, Address]:
        self.accepts += 1
        if not self.backlog:
            raise os_error(errno.EAGAIN)
        first = self.backlog[0]
        if isinstance(first, OSError):
            self.backlog.popleft()
            raise first
        first[0].open()  # or EMFILE, and it stays in the backlog
        return self.backlog.popleft()  # type: ignore[return-value] # it is no error, as was seen above

    def close(self) -> None:
        self.closes += 1
        self.kernel.release(self.fd)
        self.fd = -1

    def getsockname(self) -> Address:
        return self.address


class FakePoller:
    """Level-triggered readiness of the fake sockets. With nothing ready the clock moves on to the end of the wait."""

    name = "fake"

    def __init__(self, kernel: FakeKernel, clock: FakeClock, ceiling: int | None = None) -> None:
        self.kernel = kernel
        self.clock = clock
        self.ceiling = ceiling
        self.inputs: set[int] = set()
        self.outputs: set[int] = set()
        self.registered: dict[int, Interest] = {}
        self.muted: set[int] = set()
        self.injected: list[tuple[int, int]] = []
        self.waits: list[float] = []
        self.closed = False

    def add(self, fd: int, interest: Interest) -> None:
        assert fd not in self.registered, f"descriptor {fd} is added a second time"
        assert fd in self.kernel.open, f"descriptor {fd} is added and is not open"
        self._note(fd, interest)

    def change(self, fd: int, interest: Interest) -> None:
        assert fd in self.registered, f"descriptor {fd} is changed and was never added"
        self.muted.discard(fd)
        self._note(fd, interest)

    def _note(self, fd: int, interest: Interest) -> None:
        self.registered[fd] = Interest(interest)
        for watched, bit in ((self.inputs, Interest.READ), (self.outputs, Interest.WRITE)):
            if interest & bit:
                watched.add(fd)
            else:
                watched.discard(fd)

    def mute(self, fd: int) -> None:
        assert fd in self.registered, f"descriptor {fd} is muted and was never added"
        self.muted.add(fd)

    def remove(self, fd: int) -> None:
        assert fd in self.registered, f"descriptor {fd} is removed and was never added"
        del self.registered[fd]
        self.muted.discard(fd)
        self.inputs.discard(fd)
        self.outputs.discard(fd)

    def inject(self, fd: int, bits: int) -> None:
        """Have the next wait report this, true or not."""
        self.injected.append((fd, bits))

    def wait(self, timeout_s: float, most_events: int = MOST_EVENTS, /) -> list[tuple[int, int]]:
        assert not self.closed
        self.waits.append(timeout_s)
        self.kernel.begin_round()
        ready, self.injected = self.injected, []
        for fd, interest in sorted(self.registered.items()):
            bits = self.kernel.readiness(fd) & (POLL_MASKS[interest] | ERROR | HANGUP | INVALID)
            if bits and fd not in self.muted:
                ready.append((fd, bits))
        self.kernel.reported.update(ready)
        if not ready:
            self.clock.advance(timeout_s)
        return ready

    def close(self) -> None:
        assert not self.closed, "a poller is closed once"
        self.closed = True


class FakeWaker:
    """A descriptor that `wake` makes readable."""

    def __init__(self, kernel: FakeKernel) -> None:
        self.kernel = kernel
        self.rung = False
        self.fd = kernel.allocate(self)

    def readiness(self) -> int:
        return READABLE if self.rung else 0

    def fileno(self) -> int:
        return self.fd

    def bell(self) -> int:
        return self.fd

    def wake(self) -> None:
        self.rung = True

    def quiet(self) -> None:
        self.rung = False

    def close(self) -> None:
        self.kernel.release(self.fd)


class Recorder:
    """A protocol that writes down every callback, and runs what the test put into `on` under the callback's name."""

    def __init__(self, **on: Callable[..., object]) -> None:
        self.on = on
        self.calls: list[tuple[str, Any]] = []
        self.received = bytearray()
        self.written = bytearray()
        self.lost: list[BaseException | None] = []
        self._transport: Transport | None = None
        self.link: Link | None = None
        self.sock: FakeSocket | None = None

    @property
    def transport(self) -> Transport:
        assert self._transport is not None, "the connection was never made"
        return self._transport

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    def say(self, data: Buffer) -> None:
        """Write, and keep what was written, so that it can be compared with what arrived."""
        outbox, start = self.transport.fsm.outbox, len(self.written)
        before_bytes = outbox.written_bytes
        self.written += data  # before what pause_writing says, which is called inside
        try:
            self.transport.write(data)
        finally:
            if outbox.written_bytes == before_bytes:
                del self.written[start : start + len(data)]  # it was refused

    def _call(self, name: str, *args: Any) -> object:
        self.calls.append((name, args[0] if args else None))
        action = self.on.get(name)
        return None if action is None else action(self, *args)

    def connection_made(self, transport: Transport) -> None:
        assert not self.calls, "connection_made comes first and once"
        self._transport, self.link = transport, transport._link
        self.sock = cast("FakeSocket", self.link.sock)  # not asked for by name: then it would be shared
        self._call("connection_made", transport)

    def data_received(self, data: bytes) -> None:
        assert not self.lost, "nothing is delivered after connection_lost"
        self.received += data
        self._call("data_received", data)

    def eof_received(self) -> object:
        assert not self.lost, "nothing is delivered after connection_lost"
        return self._call("eof_received")

    def pause_writing(self) -> None:
        self._call("pause_writing")

    def resume_writing(self) -> None:
        self._call("resume_writing")

    def connection_lost(self, error: BaseException | None) -> None:
        assert not self.lost, "connection_lost comes once"
        self.lost.append(error)
        self._call("connection_lost", error)


class BufferedRecorder(Recorder):
    """The same with `get_buffer` and `buffer_updated`."""

    def __init__(self, size_bytes: int = 64, **on: Callable[..., object]) -> None:
        super().__init__(**on)
        self.buffer = bytearray(size_bytes)

    def get_buffer(self, sizehint: int) -> object:
        action = self.on.get("get_buffer")
        return self.buffer if action is None else action(self, sizehint)

    def buffer_updated(self, count_bytes: int) -> None:
        self.received += self.buffer[:count_bytes]
        self._call("buffer_updated", count_bytes)


@dataclass
class World:
    """A scheduler and all it stands on."""

    scheduler: Scheduler
    kernel: FakeKernel
    clock: FakeClock
    poller: FakePoller
    waker: FakeWaker
    protocols: list[Recorder] = field(default_factory=list)
    offset: int = 0

    def __iter__(self) -> Any:
        """Unpack as (scheduler, kernel, clock)."""
        return iter((self.scheduler, self.kernel, self.clock))

    def round(self, longest_s: float = 0.0) -> None:
        """Do one round and check everything."""
        self.scheduler.round(longest_s)
        assert_invariants(self)

    def rounds(self, count: int) -> None:
        for _ in range(count):
            self.round()

    def connect(self, protocol: Recorder | None = None, peername: Address = PEER) -> tuple[FakeSocket, Recorder]:
        """Admit a fresh connection with this protocol."""
        sock = self.kernel.socket()
        recorder = Recorder() if protocol is None else protocol
        self.protocols.append(recorder)
        self.scheduler.admit(sock, peername, lambda: recorder)
        return sock, recorder

    def listen(self, factory: Callable[[], object] | None = None, **options: Any) -> tuple[FakeListeningSocket, Listener]:
        sock = self.kernel.listening_socket()
        listener = Listener(self.scheduler, sock, factory or self.make_protocol, **options)
        self.scheduler.listen(listener)
        return sock, listener

    def make_protocol(self) -> Recorder:
        self.protocols.append(Recorder())
        return self.protocols[-1]

    def pass_time(self, seconds: float) -> None:
        """Let time pass with a round at each thing that comes due."""
        end_s = self.clock.now_s + seconds
        while self.clock.now_s < end_s:
            self.round(end_s - self.clock.now_s)
        self.round()


def make_world(*, limits: Limits = DEFAULT, ceiling: int | None = None, most_descriptors: int = UNLIMITED, **options: Any) -> World:
    """Give a scheduler in a world of its own; unpacked it is (scheduler, kernel, clock)."""
    clock = FakeClock()
    kernel = FakeKernel(most_descriptors)
    poller = FakePoller(kernel, clock, ceiling)
    waker = FakeWaker(kernel)
    scheduler = Scheduler(poller=poller, clock=clock, waker=waker, calls=kernel, limits=limits, **options)
    return World(scheduler, kernel, clock, poller, waker)


# What must always hold: numbered as in the design. To be asked between rounds.


def assert_invariants(world: World) -> None:
    scheduler = world.scheduler
    assert not scheduler.touched, "everything touched is settled at the end of a round"
    assert not scheduler.eased, "everybody who may write again was told"
    for link in scheduler.links.values():
        _assert_open(world, link)
    for protocol in world.protocols:
        if protocol.link is not None and protocol.transport.fsm.closed:
            _assert_closed(world, protocol, protocol.link)
        if protocol.link is not None and protocol.sock is not None:
            _assert_bytes_add_up(protocol, protocol.sock)
    _assert_sets(world)
    _assert_descriptors(world)
    _assert_served(world)


def _assert_open(world: World, link: Link) -> None:
    scheduler, fsm, limits = world.scheduler, link.fsm, link.fsm.limits
    assert not fsm.closed, "3: a closed connection is not among the links"
    assert scheduler.links[link.fd] is link
    assert (fsm.state in (State.QUEUED, State.WRITING)) == bool(fsm.outbox), f"1: {fsm!r}"
    assert fsm.outbox.size_bytes <= limits.outbox_cap_bytes, "5: the outbox is over its cap"
    assert fsm.lingered_bytes <= limits.linger_bytes, "5: more is discarded than a lingering close may"
    assert link.registered == fsm.interest, f"2: registered for {link.registered}, {fsm!r}"
    due_s = fsm.due()[1]
    if due_s != float("inf"):
        assert link.armed_tick != NEVER_TICK, f"8: no deadline is armed for {link!r}"
        assert link.armed_tick * TICK_S <= due_s + TICK_S, f"8: the deadline is armed too late for {link!r}"


def _assert_closed(world: World, protocol: Recorder, link: Link) -> None:
    assert link not in world.scheduler.links.values()
    assert not link.fsm.outbox, "3: a closed connection holds no bytes"
    assert link.armed_tick == NEVER_TICK, "3: a closed connection has no timer"
    if link in world.scheduler._closing:
        return  # asked for outside a round; the next one performs it
    assert len(protocol.lost) == 1, "3: connection_lost comes once"
    assert link.sock is None
    assert link.protocol is None
    if protocol.sock is not None:
        assert protocol.sock.closes + protocol.sock.detached == 1, "3: one close on the socket"


def _assert_bytes_add_up(protocol: Recorder, sock: FakeSocket) -> None:
    outbox = protocol.transport.fsm.outbox
    assert outbox.taken_bytes == len(sock.sent), "4: the kernel took something else than the outbox counts"
    assert outbox.written_bytes == outbox.taken_bytes + outbox.size_bytes + outbox.discarded_bytes, "4"
    if protocol.written:
        assert protocol.written.startswith(sock.sent), "4: what the kernel took is no prefix of what was written"
        assert outbox.written_bytes == len(protocol.written), "4: what was written is not what the outbox counts"


def _assert_sets(world: World) -> None:
    scheduler, poller = world.scheduler, world.poller
    reading = {fd for fd, link in scheduler.links.items() if link.fsm.wants_read}
    listening = {listener.fd for listener in scheduler.listeners if listener.interest & Interest.READ}
    writing = {fd for fd, link in scheduler.links.items() if link.fsm.wants_write}
    assert scheduler.inputs == reading | listening, "2: inputs"
    assert scheduler.outputs == writing, "2: outputs"
    assert set(scheduler.queues) == set(scheduler.links), "2: queues"
    known = {world.waker.fd} | set(scheduler.links) | {listener.fd for listener in scheduler.listeners}
    assert set(poller.registered) == known, "2: the kernel's own registration"
    assert all(poller.registered[fd] == link.fsm.interest for fd, link in scheduler.links.items()), "2: the kernel's own registration"
    assert all(not poller.registered[fd] for fd in poller.muted), "2: only what wants nothing is muted"
    assert all(fd == link.fd for fd, link in scheduler.links.items()), "the descriptor belongs to another source"
    assert set(scheduler._sources) | set(scheduler.links) == known, "3: a token is left of something closed"
    for fd, way in enumerate(scheduler.ways):
        assert way is NOBODY or scheduler.links.get(fd) is way[0], "3: a way is left of something closed"


def _assert_descriptors(world: World) -> None:
    waiting = {source.fd for source in world.scheduler._closing}
    known = set(world.poller.registered) | waiting | world.kernel.strangers
    stolen = {sock.fd for sock in world.kernel.sockets if sock.stolen}
    assert set(world.kernel.open) | stolen == known | stolen, "6: open descriptors are listeners, connections and the waker"


def _assert_served(world: World) -> None:
    links = world.scheduler.links
    for fd, count_bytes in world.kernel.received_now.items():
        if fd in links:
            assert count_bytes <= links[fd].fsm.limits.read_budget_bytes, "7: more than the budget was received in a round"
    for fd, bits in world.kernel.reported.items():
        if bits == READABLE and fd in links and links[fd].fsm.wants_read and fd in world.kernel.open:
            assert fd in world.kernel.received_now, f"7: {links[fd]!r} was readable and was not served"


def assert_no_leaks(world: World) -> None:
    """Close the scheduler, and see that nothing at all is left of any connection."""
    if not world.scheduler.closed:
        world.scheduler.close()
    assert not world.scheduler.links
    assert not world.scheduler.listeners
    assert len(world.scheduler.deadlines) == 0
    assert not world.poller.registered
    assert not world.poller.inputs
    assert not world.poller.outputs
    assert world.poller.closed
    assert set(world.kernel.open) == world.kernel.strangers, "descriptors are left open"
    for sock in world.kernel.sockets:
        assert sock.closes + sock.detached == (sock.number >= 0), "each socket is closed once"
    for protocol in world.protocols:
        assert len(protocol.lost) == (protocol.link is not None), "each protocol hears of the end once"
