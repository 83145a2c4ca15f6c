"""The two sides: a simulated kernel and the real one, under the same code.

`Side.perform` does an operation with whatever modules it was given, and gives its result as a value that can be compared.
"""

from __future__ import annotations

import errno
import os
import resource
import select
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

from fsmserver.testing.kernel import SimKernel
from fsmserver.testing.stream import IN, OUT, PRI
from tests.parity.operations import ALL_BITS, PATTERN, SMALL_BYTES, Operation

HOST: Final = "127.0.0.1"
RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
NO_LINGER: Final = struct.pack("ii", 0, 0)
BACKLOG: Final = 16
ROOM_BYTES: Final = 1 << 16
"""Of the simulated buffers: what a script sends without `fill` always fits."""

REAL_RECEIVE_BYTES: Final = 1 << 16
REAL_SEND_BYTES: Final = 1 << 15
"""Of the real ones: small, so that filling them is cheap, and no smaller, so that no packet is ever dropped."""

PIECE_BYTES: Final = 1 << 13
PATIENCE_MS: Final = 200

ENDED_STATES: Final = (4, 5)
"""FIN-WAIT-1 and 2, as TCP_INFO has them: there TCP_QUICKACK does not send at once what is owed, and it is late by up to"""
DELAYED_MS: Final = 220


class SelectWatch:
    """Three lists for each look."""

    def __init__(self, system: Any) -> None:
        self.system = system
        self.masks: dict[int, int] = {}

    def register(self, fd: int, mask: int) -> None:
        self.masks[fd] = mask

    modify = register

    def unregister(self, fd: int) -> None:
        del self.masks[fd]

    def look(self) -> dict[int, int]:
        lists = [[fd for fd, mask in self.masks.items() if mask & bit] for bit in (IN, OUT, PRI)]
        found: dict[int, int] = {}
        for fds, bit in zip(self.system.select(*lists, 0), (IN, OUT, PRI), strict=True):
            for fd in fds:
                found[fd] = found.get(fd, 0) | bit
        return found

    def after_close(self, fd: int) -> Any:
        try:
            return self.system.select([fd], [], [], 0)
        finally:
            self.masks.pop(fd, None)

    def close(self) -> None:
        self.masks.clear()


class PollWatch:
    """One polling object."""

    def __init__(self, system: Any) -> None:
        self.poller = system.poll()
        self.register = self.poller.register
        self.modify = self.poller.modify
        self.unregister = self.poller.unregister

    def look(self) -> dict[int, int]:
        return dict(self.poller.poll(0))

    def after_close(self, fd: int) -> Any:
        found = self.look().get(fd)
        self.poller.unregister(fd)
        return found

    def close(self) -> None:
        """Nothing is held."""


class EpollWatch:
    """One epoll set, which has a descriptor itself."""

    def __init__(self, system: Any) -> None:
        self.poller = system.epoll()
        self.register = self.poller.register
        self.modify = self.poller.modify
        self.unregister = self.poller.unregister
        self.close = self.poller.close

    def look(self) -> dict[int, int]:
        return dict(self.poller.poll(0))

    def after_close(self, fd: int) -> Any:
        return self.poller.unregister(fd)


WATCHES: Final[dict[str, Callable[[Any], Any]]] = {"select": SelectWatch, "poll": PollWatch, "epoll": EpollWatch}


class Side:
    """Sockets by number, a poller, and what has been sent and received."""

    def __init__(self, system: Any, make_socket: Callable[[], Any], poller: str, base_fd: int) -> None:
        self.system = system
        self.make_socket = make_socket
        self.base_fd = base_fd
        self.watch = WATCHES[poller](system)
        self.socks: dict[int, Any] = {}
        self.closed: dict[int, Any] = {}
        self.owners: dict[Any, int] = {}  # of addresses: numbers
        self.listeners: list[int] = []
        self.peers: dict[int, int] = {}
        self.sent: dict[int, bytearray] = {}
        self.got: dict[int, bytearray] = {}
        self.filled: set[int] = set()  # those whose bytes are not all received, and may differ in number

    # What differs between the sides.

    def tune(self, sock: Any) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def acknowledge(self, number: int) -> bool:
        """Have a reader send what acknowledgements it owes; tell whether its peer is known to be writable then."""
        return False

    def wait_for_bytes(self, number: int) -> bool:
        """Tell whether bytes that are owed came, after a while."""
        return False

    def starving(self) -> AbstractContextManager[None]:
        """Have no descriptor left meanwhile."""
        raise NotImplementedError

    # Doing.

    def perform(self, operation: Operation) -> Any:
        """Do it; give its result, or the name of what was raised."""
        name, *arguments = operation
        return self.attempt(getattr(self, f"do_{name}"), *arguments)

    @staticmethod
    def attempt(call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        except (ValueError, KeyError) as error:
            return type(error).__name__

    def ready(self) -> dict[int, int]:
        """Give the readiness of the open sockets by number."""
        found = self.watch.look()
        return {number: found[sock.fileno()] for number, sock in self.socks.items() if sock.fileno() in found}

    def adopt(self, number: int, sock: Any) -> int:
        sock.setblocking(False)
        self.socks[number] = sock
        self.sent[number] = bytearray()
        self.got[number] = bytearray()
        self.watch.register(sock.fileno(), ALL_BITS)
        fd: int = sock.fileno() - self.base_fd
        return fd

    def owner(self, address: Any) -> Any:
        return self.owners.get(address, address[0])

    def do_listen(self, number: int) -> Any:
        sock = self.make_socket()
        self.tune(sock)
        sock.bind((HOST, 0))
        sock.listen(BACKLOG)
        self.owners[sock.getsockname()] = number
        self.listeners.append(number)
        return self.adopt(number, sock)

    def do_fresh(self, number: int) -> Any:
        sock = self.make_socket()
        self.tune(sock)
        return self.adopt(number, sock)

    def do_connect(self, number: int, listener: int) -> Any:
        sock = self.make_socket()
        self.tune(sock)
        refused = self.attempt(sock.connect, self.address_of(listener))
        if not refused:
            self.owners[sock.getsockname()] = number
        return refused, self.adopt(number, sock)

    def address_of(self, listener: int) -> Any:
        return next(address for address, number in self.owners.items() if number == listener)

    def do_accept(self, number: int, listener: int) -> Any:
        sock, address = self.socks[listener].accept()
        peer = self.owner(address)
        self.peers[number], self.peers[peer] = peer, number
        return peer, self.adopt(number, sock)

    def do_send(self, number: int, place: int, size_bytes: int) -> Any:
        return self.record_sent(number, PATTERN[place : place + size_bytes], self.socks[number].send)

    def record_sent(self, number: int, data: bytes, send: Callable[[bytes], int]) -> int:
        count_bytes = send(data)
        self.sent[number] += data[:count_bytes]
        return count_bytes

    def do_sendmsg(self, number: int, place: int, sizes: tuple[int, ...]) -> Any:
        chunks = [PATTERN[place : place + size_bytes] for size_bytes in sizes]
        return self.record_sent(number, b"".join(chunks), lambda _: self.socks[number].sendmsg(chunks))

    def do_send_urgent(self, number: int, place: int, size_bytes: int) -> Any:
        return self.record_sent(number, PATTERN[place : place + size_bytes], lambda data: self.socks[number].send(data, socket.MSG_OOB))

    def do_recv(self, number: int, size_bytes: int) -> Any:
        data = self.socks[number].recv(size_bytes)
        self.got[number] += data
        return data

    def do_recv_into(self, number: int, size_bytes: int) -> Any:
        buffer = bytearray(size_bytes)
        count_bytes = self.socks[number].recv_into(buffer)
        self.got[number] += buffer[:count_bytes]
        return bytes(buffer[:count_bytes])

    def do_peek(self, number: int, size_bytes: int) -> Any:
        return self.socks[number].recv(size_bytes, socket.MSG_PEEK)

    def do_recv_urgent(self, number: int, flag: int) -> Any:
        return self.socks[number].recv(10, socket.MSG_OOB | flag)

    def do_fill(self, number: int) -> Any:
        """Send until nothing more is taken, even after all acknowledgements."""
        while True:
            before_bytes = len(self.sent[number])
            while not isinstance(ended := self.attempt(self.do_send, number, 0, PIECE_BYTES), str):
                pass
            if ended != "EAGAIN" or (not self.acknowledge(self.peers[number]) and len(self.sent[number]) == before_bytes):
                break
        if self.peers[number] in self.socks:
            self.filled.add(number)
        return ended

    def do_drain(self, number: int) -> Any:
        """Receive until nothing more comes."""
        filled = self.peers.get(number) in self.filled
        parts: list[bytes] = []
        while True:
            data = self.attempt(self.do_recv, number, 100_000)
            if data and isinstance(data, bytes):
                parts.append(data)
            elif not filled or data != "EAGAIN" or self.all_arrived(number) or not self.wait_for_bytes(number):
                break
        self.acknowledge(number)
        if not filled:
            return b"".join(parts), data
        self.filled.remove(self.peers[number])
        in_order = self.sent[self.peers[number]].startswith(self.got[number])
        return in_order, self.all_arrived(number), data

    def all_arrived(self, number: int) -> bool:
        return number not in self.peers or len(self.sent[self.peers[number]]) == len(self.got[number])

    def do_shutdown(self, number: int, how: int) -> Any:
        return self.socks[number].shutdown(how)

    def do_close(self, number: int) -> Any:
        sock = self.socks.pop(number)
        fd = sock.fileno()
        failure = self.attempt(sock.close)
        self.closed[number] = sock
        return failure, self.attempt(self.watch.after_close, fd)

    def do_reset(self, number: int) -> Any:
        self.socks[number].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        return self.do_close(number)

    def do_readopt(self, number: int) -> Any:
        """Let the descriptor go, and make a new socket of it."""
        sock = self.socks[number]
        self.socks[number] = adopted = self.make_of(sock.detach())
        return sock.fileno(), adopted.fileno() - self.base_fd, adopted.gettimeout(), adopted.family, adopted.type

    def make_of(self, fd: int) -> Any:
        """Make a socket of a descriptor."""
        raise NotImplementedError

    def do_inline(self, number: int, on: int) -> Any:
        return self.socks[number].setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, on)

    def do_linger(self, number: int, on: int) -> Any:
        return self.socks[number].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE if on else NO_LINGER)

    def do_option(self, number: int, setting: tuple[int, int, int]) -> Any:
        level, option, value = setting
        self.socks[number].setsockopt(level, option, value)
        return self.socks[number].getsockopt(level, option)

    def do_options(self, number: int) -> Any:
        sock = self.socks[number]
        flags = [sock.getsockopt(socket.SOL_SOCKET, each) for each in (socket.SO_KEEPALIVE, socket.SO_OOBINLINE, socket.SO_ACCEPTCONN)]
        kind = sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
        linger = sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(NO_LINGER))
        return flags, kind, linger, sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    def do_error(self, number: int) -> Any:
        return errno.errorcode.get(self.socks[number].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), 0)

    def do_names(self, number: int) -> Any:
        sock = self.socks[number]
        return self.attempt(lambda: self.owner(sock.getsockname())), self.attempt(lambda: self.owner(sock.getpeername()))

    def do_use_closed(self, number: int, call: str) -> Any:
        sock = self.closed[number]
        if call == "register":
            return self.attempt(self.watch.register, sock, ALL_BITS) if not isinstance(self.watch, SelectWatch) else None
        arguments: dict[str, tuple[Any, ...]] = {
            "recv": (10,), "send": (b"x",), "shutdown": (socket.SHUT_WR,), "setsockopt": (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        }  # fmt: skip
        return getattr(sock, call)(*arguments.get(call, ()))

    def do_connect_again(self, number: int, listener: int) -> Any:
        return self.socks[number].connect(self.address_of(listener))

    def do_listen_again(self, number: int) -> Any:
        return self.socks[number].listen(BACKLOG)

    def do_bind_again(self, number: int, listener: int) -> Any:
        return self.socks[number].bind(self.address_of(listener))

    def do_starve(self, listener: int) -> Any:
        with self.starving():
            return self.attempt(self.make_socket), self.attempt(self.socks[listener].accept), self.attempt(self.system.epoll)

    def do_watch(self, number: int, mask: int) -> Any:
        return self.watch.modify(self.socks[number].fileno(), mask)

    def do_rewatch(self, number: int) -> Any:
        watch, fd = self.watch, self.socks[number].fileno()
        if isinstance(watch, SelectWatch):
            return None
        calls = (watch.register, ALL_BITS), (watch.unregister,), (watch.unregister,), (watch.modify, IN), (watch.register, ALL_BITS)
        return [self.attempt(call, fd, *mask) for call, *mask in calls]

    def end(self) -> None:
        """Close everything, and leave no port behind."""
        for sock in self.socks.values():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            sock.close()
        self.watch.close()


class SimulatedSide(Side):
    """On a simulated kernel. It also knows what cannot be compared: `allows`."""

    def __init__(self, poller: str) -> None:
        self.kernel = SimKernel(send_room_bytes=ROOM_BYTES, receive_room_bytes=ROOM_BYTES)
        self.urgent: set[int] = set()  # those who have sent urgent data
        super().__init__(self.kernel.system, self.kernel.open_socket, poller, 3)

    @contextmanager
    def starving(self) -> Iterator[None]:
        usual, self.kernel.descriptors = self.kernel.descriptors, 0
        yield
        self.kernel.descriptors = usual

    def make_of(self, fd: int) -> Any:
        return self.kernel.open_socket(fileno=fd)

    def do_send_urgent(self, number: int, place: int, size_bytes: int) -> Any:
        self.urgent.add(number)
        return super().do_send_urgent(number, place, size_bytes)

    def allows(self, operation: Operation) -> bool:
        """Tell whether the operation can be done now and its result compared."""
        name, number, *arguments = operation
        if name in ("listen", "fresh", "connect", "accept"):
            unknown = number not in self.socks and number not in self.closed
            return unknown and (not arguments or self.is_listener(arguments[0], must_be_open=name == "accept"))
        if name == "use_closed":
            return number in self.closed
        if number not in self.socks or (name.endswith("_again") and arguments and not self.is_listener(arguments[0])):
            return False
        check = getattr(self, f"_allows_{name}", None)
        return check is None or bool(check(number, *arguments))

    def is_listener(self, number: int, *, must_be_open: bool = False) -> bool:
        return number in self.listeners and (number in self.socks or not must_be_open)

    def listener_weight(self, number: int) -> int:
        """Give how likely a writer chooses this listener: one where somebody waits rather than one that is closed."""
        queue = self.socks[number].queue if number in self.socks else None
        return 1 if queue is None else 4 + 20 * len(queue.backlog)

    def open_weight(self, number: int) -> int:
        """Give how likely a writer chooses this socket: a connection that is alive rather than one that is not."""
        stream = self.socks[number].stream
        return 1 if stream is None else 4 if stream.over else 12

    def unread(self, number: int) -> bool:
        """Tell whether there is something to be received."""
        stream = self.socks[number].stream
        return stream is not None and bool(stream.unread)

    def _allows_send(self, number: int, *_: Any) -> bool:
        stream = self.socks[number].stream
        return stream is None or not stream.unsent or len(stream.unsent) == stream.send_room_bytes

    _allows_sendmsg = _allows_send

    def _allows_send_urgent(self, number: int, *_: Any) -> bool:
        stream = self.socks[number].stream
        return stream is None or (number not in self.filled and not stream.unsent)

    def _allows_recv(self, number: int, size_bytes: int) -> bool:
        return size_bytes <= SMALL_BYTES or self.peers.get(number) not in self.filled

    _allows_recv_into = _allows_peek = _allows_recv

    def _allows_fill(self, number: int) -> bool:
        if number not in self.peers or number in self.urgent:
            return False
        reader = self.socks[number].stream.peer
        return reader.orphan or not reader.read_shut or reader.write_shut

    def _allows_connect_again(self, number: int, _: int) -> bool:
        sock = self.socks[number]
        return sock.stream is not None or sock.queue is not None

    def _allows_listen_again(self, number: int) -> bool:
        sock = self.socks[number]
        return sock.stream is not None or sock.queue is not None or not sock.bound

    def _allows_bind_again(self, number: int, listener: int) -> bool:
        sock = self.socks[number]
        listening = listener in self.socks and self.socks[listener].queue is not None
        if sock.stream is not None:
            return listening and not sock.stream.over
        return listening and (sock.queue is not None or not sock.bound)

    def _allows_shutdown(self, number: int, how: int) -> bool:
        return how == socket.SHUT_WR or self.peers.get(number) not in self.filled


class RealSide(Side):
    """On the system's own sockets."""

    def __init__(self, poller: str) -> None:
        super().__init__(select, socket.socket, poller, lowest_free())

    def tune(self, sock: Any) -> None:
        super().tune(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, REAL_RECEIVE_BYTES)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, REAL_SEND_BYTES)

    def acknowledge(self, number: int) -> bool:
        sock, peer = self.socks.get(number), self.peers.get(number)
        if sock is None:
            return False
        self.attempt(sock.setsockopt, socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        if peer not in self.socks or sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] not in ENDED_STATES:
            return False
        return self.wait_for(peer, OUT, DELAYED_MS)

    def make_of(self, fd: int) -> Any:
        return socket.socket(fileno=fd)

    def wait_for_bytes(self, number: int) -> bool:
        return self.wait_for(number, IN, PATIENCE_MS)

    def wait_for(self, number: int, bits: int, milliseconds: int) -> bool:
        poller = select.poll()
        poller.register(self.socks[number], bits)
        return bool(poller.poll(milliseconds))

    @contextmanager
    def starving(self) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def lowest_free() -> int:
    """Give the number of the next descriptor."""
    fd = os.open(os.devnull, os.O_RDONLY)
    os.close(fd)
    return fd


@contextmanager
def no_holes() -> Iterator[None]:
    """Have the descriptors that are given out follow each other: the free numbers below the highest in use are used up meanwhile."""
    plugs = [os.open(os.devnull, os.O_RDONLY)]
    highest = max(map(int, os.listdir("/proc/self/fd")))
    while plugs[-1] < highest:
        plugs.append(os.dup(plugs[0]))
    try:
        yield
    finally:
        for plug in plugs:
            os.close(plug)
