"""A simulated kernel: descriptors, stream sockets, readiness, a network and a clock, for one process and its peers.

The process under test has descriptors (`SimSocket`, the pollers of `kernel.system`, a waker's pair); its peers live
elsewhere and hold bare `Stream` ends, which `connect` gives. Time is virtual: it moves when somebody waits for it, or by
`advance`. Everything is deterministic: the same calls give the same results on every Python and every machine.

    kernel = SimKernel()
    poller = make_poller("epoll", kernel.system)
    scheduler = Scheduler(poller=poller, clock=kernel.clock, waker=SocketWaker(kernel.socketpair), calls=kernel)
    scheduler.listen(Listener(scheduler, kernel.listen(("192.0.2.9", 8008)), Echo))
    peer = kernel.connect(("192.0.2.9", 8008))
    peer.send(b"hello")
    scheduler.round(0)      # accepts
    scheduler.round(0)      # echoes
    assert peer.recv(100) == b"hello"
"""

from __future__ import annotations

import errno
import heapq
import socket
from collections import deque
from typing import Any, Final, Protocol

from fsmserver.testing.faults import TRAFFIC, ArmedFault, Call, Fail, Fault, Rule, Short, Verdict
from fsmserver.testing.patching import patched
from fsmserver.testing.sockets import SimSocket
from fsmserver.testing.stream import ERR, HUP, IN, Stream, os_error
from fsmserver.testing.system import SimSystem

__all__ = ["SimKernel", "patched"]

FIRST_DESCRIPTOR: Final = 3
DESCRIPTORS: Final = 1024
"""The usual soft limit on descriptors, RLIMIT_NOFILE."""

SEND_ROOM_BYTES: Final = 16 * 1024
RECEIVE_ROOM_BYTES: Final = 16 * 1024
"""Far smaller than Linux's own (2.5 MB and 128 KiB at least), so that full buffers are met soon."""

HOME: Final = ("192.0.2.9", 8008)
FIRST_PEER_PORT: Final = 40000
FIRST_FREE_PORT: Final = 50000
MICROSECONDS: Final = 1_000_000
START_US: Final = 1000 * MICROSECONDS


class Releasable(Protocol):
    """What waits for a moment: a stream with bytes under way, an alarm."""

    def release(self) -> None:
        """Learn that the moment has come."""


class Veil:
    """What is not reported of a descriptor, and until when."""

    __slots__ = ("bits", "fd", "kernel", "until_us")

    def __init__(self, kernel: SimKernel, fd: int, bits: int, until_us: int) -> None:
        """Hide `bits` of `fd`; one that was there before is part of this one."""
        former: Veil | None = kernel.withheld.get(fd)
        self.kernel = kernel
        self.fd = fd
        self.bits: int = bits if former is None else bits | former.bits
        self.until_us: int = until_us if former is None else max(until_us, former.until_us)

    def release(self) -> None:
        """Hide nothing more."""
        if self.kernel.withheld.get(self.fd) is self:
            del self.kernel.withheld[self.fd]


class ListenQueue:
    """A listening socket's own part: who has connected and is not accepted."""

    __slots__ = ("address", "backlog", "fd", "most", "options", "waiting")

    def __init__(self, address: Any, most: int) -> None:
        """Listen at `address`, with room for `most` + 1, as Linux counts."""
        self.address = address
        self.most = most
        self.fd = -1
        self.options: dict[tuple[int, int], Any] = {}  # the socket's own, for those who connect
        self.backlog: deque[Stream] = deque()
        self.waiting: deque[Stream] = deque()  # their SYN is sent again until there is room

    @property
    def full(self) -> bool:
        """Whether newcomers have to try again."""
        return len(self.backlog) > self.most

    def readiness(self) -> int:
        """Give the bits that poll(2) would report."""
        return IN if self.backlog else 0

    def take(self) -> Stream:
        """Take the first one out, and let one who waits in."""
        first = self.backlog.popleft()
        if self.waiting:
            self.backlog.append(self.waiting.popleft())
        return first


class SimKernel:
    """What one process sees of its kernel, and the peers of its connections.

    Sizes are bytes: each new connection's buffers have `send_room_bytes` and `receive_room_bytes` at both ends.
    `descriptors` is how many the process may have, numbers below `first_descriptor` included.
    """

    def __init__(
        self,
        *,
        descriptors: int = DESCRIPTORS,
        send_room_bytes: int = SEND_ROOM_BYTES,
        receive_room_bytes: int = RECEIVE_ROOM_BYTES,
        first_descriptor: int = FIRST_DESCRIPTOR,
    ) -> None:
        """Begin with nothing open."""
        self.descriptors = descriptors
        self.send_room_bytes = send_room_bytes
        self.receive_room_bytes = receive_room_bytes
        self.now_us = START_US
        self.open: dict[int, Any] = {}
        self.watchers: list[Any] = []  # epoll sets: what is closed leaves them
        self.ports: dict[Any, ListenQueue] = {}
        self.rules: list[Rule] = []
        self.rare: list[ArmedFault] = []  # of calls that move no bytes: kept apart, so that traffic goes its shortest way
        self.spurious: dict[int, int] = {}
        self.withheld: dict[int, Veil] = {}
        self.log: list[tuple[int, str, int, int]] | None = None
        self.connections: list[Stream] = []  # the process's ends, in the order of their making
        self.closes = 0
        self.system = SimSystem(self)
        self._free: list[int] = []
        self.end_fd = first_descriptor  # no number from here on was ever given out
        self._events: list[tuple[int, int, Releasable]] = []
        self._event_count = 0
        self._peer_ports = FIRST_PEER_PORT
        self._free_ports = FIRST_FREE_PORT

    # Time.

    def clock(self) -> float:
        """Give the monotonic time, in seconds."""
        return self.now_us / MICROSECONDS

    def advance(self, seconds: float) -> None:
        """Let time pass, and what was under way arrive."""
        self.advance_to(self.now_us + round(seconds * MICROSECONDS))

    def advance_to(self, when_us: int) -> None:
        """Let time pass until `when_us`, in microseconds; what is due on the way happens at its moment."""
        events = self._events
        while events and events[0][0] <= when_us:
            due_us, _, stream = heapq.heappop(events)
            self.now_us = max(self.now_us, due_us)
            stream.release()
        self.now_us = max(self.now_us, when_us)

    def later(self, seconds: float, what: Releasable) -> None:
        """Have `what.release()` called so much later."""
        self._event_count += 1
        heapq.heappush(self._events, (self.now_us + round(seconds * MICROSECONDS), self._event_count, what))

    def next_event_us(self) -> int | None:
        """Give when something under way arrives next, in microseconds; None if nothing is under way."""
        return self._events[0][0] if self._events else None

    # Descriptors.

    def allocate(self, owner: Any) -> int:
        """Give out the lowest free number.

        Raises:
            OSError: EMFILE.

        """
        if not self.has_descriptor:
            raise os_error(errno.EMFILE)
        if self._free:
            fd = heapq.heappop(self._free)
        else:
            fd = self.end_fd
            self.end_fd += 1
        self.open[fd] = owner
        return fd

    @property
    def has_descriptor(self) -> bool:
        """Whether one more can be opened."""
        return (self._free[0] if self._free else self.end_fd) < self.descriptors

    def release(self, fd: int) -> None:
        """Take a number back; epoll sets forget it."""
        del self.open[fd]
        self.withheld.pop(fd, None)
        self.spurious.pop(fd, None)
        heapq.heappush(self._free, fd)
        self.closes += 1
        for watcher in self.watchers:
            watcher.forget(fd)

    def readiness(self, fd: int) -> int | None:
        """Give all the bits of a descriptor, false ones that were asked for included; None if it is not open."""
        owner = self.open.get(fd)
        if owner is None:
            return None
        bits: int = owner.readiness()
        if self.withheld and not bits & (ERR | HUP):
            veil = self.withheld.get(fd)
            bits &= -1 if veil is None else ~veil.bits
        return bits | self.spurious.pop(fd, 0) if self.spurious else bits

    # Sockets of the process.

    def read(self, fd: int, length: int, /) -> bytes:
        """Receive by descriptor, as `os.read` does.

        Raises:
            OSError: what `recv` would say; EBADF for a descriptor that is no socket.

        """
        owner = self.open.get(fd)
        stream = None if owner is None else owner.stream
        if stream is None or not stream.plain or not 0 < len(stream.unread) <= length or (self.rules and self.may_strike(fd)):
            return self._socket(fd).recv(length)
        data: bytes = stream.unread  # the usual case: all that there is
        stream.unread = b""
        if stream.peer.unsent:
            stream.peer.push()
        if self.log is not None:
            self.log.append((self.now_us, "recv", fd, len(data)))
        return data

    def write(self, fd: int, data: bytes, /) -> int:
        """Send by descriptor, as `os.write` does.

        Raises:
            OSError: what `send` would say; EBADF for a descriptor that is no socket.

        """
        owner = self.open.get(fd)
        stream = None if owner is None else owner.stream
        if stream is None or not stream.plain or type(data) is not bytes or (self.rules and self.may_strike(fd)):
            return self._socket(fd).send(data)
        count_bytes: int = stream.send(data)
        if self.log is not None:
            self.log.append((self.now_us, "send", fd, count_bytes))
        return count_bytes

    def _socket(self, fd: int) -> SimSocket:
        owner = self.open.get(fd)
        if not isinstance(owner, SimSocket):
            raise os_error(errno.EBADF)
        return owner

    def open_socket(
        self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, proto: int = 0, fileno: int | None = None
    ) -> SimSocket:
        """Open a socket that is not connected."""
        return SimSocket(self, family, kind, proto=proto, fileno=fileno)

    def listen(self, address: Any = HOME, backlog: int = 128) -> SimSocket:
        """Open a non-blocking socket that listens."""
        sock = self.open_socket()
        sock.setblocking(False)
        sock.bind(address)
        sock.listen(backlog)
        return sock

    def socketpair(self, *_: Any) -> tuple[SimSocket, SimSocket]:
        """Open two sockets that are connected to each other, both the process's own."""
        near, far = self._pair("")
        near_sock, far_sock = self.adopt(near, socket.AF_UNIX), self.adopt(far, socket.AF_UNIX)
        return near_sock, far_sock

    def adopt(self, stream: Stream, family: int = socket.AF_INET) -> SimSocket:
        """Give a connected end a descriptor.

        Raises:
            OSError: EMFILE.

        """
        return SimSocket(self, family, stream=stream)

    def bind_port(self, address: Any, most: int) -> ListenQueue:
        """Listen at an address.

        Raises:
            OSError: EADDRINUSE.

        """
        if address in self.ports:
            raise os_error(errno.EADDRINUSE)
        queue = self.ports[address] = ListenQueue(address, most)
        return queue

    def free_port(self) -> int:
        """Give a port for those who asked for port 0."""
        self._free_ports += 1
        return self._free_ports

    def unbind(self, queue: ListenQueue) -> None:
        """Stop listening: who was not accepted is reset."""
        if self.ports.get(queue.address) is queue:
            del self.ports[queue.address]
        for stream in (*queue.backlog, *queue.waiting):
            stream.reset()

    # Peers.

    def connect(self, address: Any = HOME, *, name: Any = None, send_room_bytes: int = 0, receive_room_bytes: int = 0) -> Stream:
        """Have a peer in another process connect; give its end. The room is the kernel's where it is left at 0.

        `name` is the peer's address as accept gives it; left out, it is a fresh port of a documentation network.

        Raises:
            OSError: ECONNREFUSED if nobody listens there.

        """
        queue = self.ports.get(address)
        if queue is None:
            raise os_error(errno.ECONNREFUSED)
        if name is None:
            self._peer_ports += 1
            name = ("192.0.2.1", self._peer_ports)
        peer, ours = self._pair(name)
        ours.local = address
        if queue.options:
            ours.options = dict(queue.options)
            ours.set_options(queue.options)
        peer.send_room_bytes = send_room_bytes or self.send_room_bytes
        peer.receive_room_bytes = receive_room_bytes or self.receive_room_bytes
        self.connections.append(ours)
        (queue.waiting if queue.full else queue.backlog).append(ours)
        return peer

    def _pair(self, name: Any) -> tuple[Stream, Stream]:
        number = len(self.connections)
        near, far = (
            Stream(self, name, number, send_room_bytes=self.send_room_bytes, receive_room_bytes=self.receive_room_bytes) for _ in range(2)
        )
        near.join(far)
        return near, far

    def lose(self, stream: Stream, number: int) -> None:
        """Have the network give a connection up, at both ends, with this errno."""
        stream.fail(number)
        stream.peer.fail(number)

    # Faults.

    def inject(self, rule: Rule | Fault) -> Rule:
        """Ask `rule` about every call from now on, after those that were given before; faults of calls that move no bytes come last.

        Gives what stands for it in the kernel: of a fault, one that knows what is left of it.
        """
        if not isinstance(rule, Fault):
            self.rules.append(rule)
            return rule
        armed = ArmedFault(rule)
        (self.rules if rule.call in TRAFFIC else self.rare).append(armed)
        return armed

    def calm(self) -> None:
        """Forget all faults, and let everything that is held up arrive."""
        self.rules.clear()
        self.rare.clear()
        self.spurious.clear()
        self.withheld.clear()
        while self._events:
            self.advance_to(self._events[0][0])

    def judge(self, call: Call) -> Verdict | None:
        """Ask the rules; give the first verdict that is not "pass". Faults that are spent are dropped."""
        name, fd, _ = call
        for rules in (self.rules,) if name in TRAFFIC else (self.rules, self.rare):
            for place, rule in enumerate(rules):
                fault = rule if isinstance(rule, ArmedFault) else None
                if fault is not None and (name not in fault.names or fault.fd not in (None, fd)):
                    continue  # most of those that are asked
                verdict = rule(call)
                if verdict is not None:
                    if fault is not None and not fault.left:
                        del rules[place]
                    return verdict
        return None

    def may_strike(self, fd: int) -> bool:
        """Tell whether any rule about traffic may concern this descriptor; most faults are of another one."""
        for rule in self.rules:  # noqa: SIM110 - any() costs three times this
            if not isinstance(rule, ArmedFault) or rule.fd is None or rule.fd == fd:
                return True
        return False

    def check(self, name: str, fd: int, size_bytes: int = 0) -> int:
        """Judge a call of the process; give how many bytes it may move.

        Raises:
            OSError: a rule wants it to fail.

        """
        verdict = self.judge(Call(name, fd, size_bytes))
        if isinstance(verdict, Fail):
            raise os_error(verdict.number)
        if isinstance(verdict, Short):
            return min(size_bytes, max(1, verdict.size_bytes))
        return size_bytes

    def report_falsely(self, fd: int, bits: int) -> None:
        """Have the next wait report these bits of `fd`, true or not, if they are watched."""
        self.spurious[fd] = bits

    def withhold(self, fd: int, bits: int, seconds: float) -> None:
        """Report these bits of `fd` so much later than they are true; the death of the peer is never held back."""
        veil = self.withheld[fd] = Veil(self, fd, bits, self.now_us + round(seconds * MICROSECONDS))
        self.later((veil.until_us - self.now_us) / MICROSECONDS, veil)

    def note(self, name: str, fd: int, outcome: int) -> None:
        """Keep a call in the log, if there is one: its outcome is a size, or minus an errno."""
        if self.log is not None:
            self.log.append((self.now_us, name, fd, outcome))

    def __repr__(self) -> str:
        """Show the time and what is open."""
        return f"<SimKernel at {self.clock():.3f} s, {len(self.open)} descriptors, {len(self.connections)} connections made>"
