"""Put the simulated kernel under a program that knows nothing of it: `with patched(kernel): the_program()`.

Inside, the modules `socket`, `select`, `selectors` and `time` are the kernel's, for the thread that entered; every other
thread goes on with the real ones. At the end all is as it was, whatever happened.

| module | what is replaced |
|---|---|
| `socket` | `socket` (a class: `isinstance` and subclasses work), `socketpair`, `getaddrinfo`; so `create_connection`, `create_server` |
| `select` | `select`, `poll`, `epoll` |
| `selectors` | what `SelectSelector`, `PollSelector` and `EpollSelector` took from `select` at import; `DefaultSelector` |
| `os` | `read` and `write` on a descriptor that the kernel has; on every other one they are the real ones |
| `time` | `monotonic`, `monotonic_ns`, `time`, `time_ns`; `sleep`, which lets virtual time pass |

What is looked up through the module is replaced, and nothing else. So not covered are:

- names taken before: `from socket import socket` at the top of a file. Import such a file inside (`importlib.import_module`, or
  `importlib.reload`), or have it say `socket.socket`;
- defaults that were taken before, as in `def __init__(self, clock=time.monotonic)`;
- other threads, and so executors: they have real sockets and real time, and cannot end a simulated wait;
- a simulated descriptor given to anything but the calls above: `os.dup`, `socket.fromfd`, `signal.set_wakeup_fd`,
  `ssl.SSLContext.wrap_socket`. It is a number only, and some file of this process may have the same one;
- waiting inside a call: what would block raises `WouldBlock`, with a time-out too. A connection is made at once or refused;
- edge-triggered and one-shot epoll, kqueue, datagrams, names of hosts other than `localhost`;
- a socket that is dropped without being closed: CPython closes it and warns; here it stays open, and is found.
"""

from __future__ import annotations

import os
import select
import selectors
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final, Self

from fsmserver.testing.sockets import SimSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fsmserver.testing.kernel import SimKernel

RealSocket: Final = socket.socket
REAL_GETADDRINFO: Final = socket.getaddrinfo

EPOCH_S: Final = 1_000_000_000
"""What `time.time` says when the kernel's clock is at 0: a Sunday in September 2001."""

NANOSECONDS_A_MICROSECOND: Final = 1000
ANY_HOST: Final = {"": {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}}  # noqa: S104 - what the system does with it
LOOPBACK: Final = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}

_MISSING: Final = object()
_one_world: Final = threading.Lock()


@contextmanager
def patched(kernel: SimKernel) -> Iterator[SimKernel]:
    """Put `kernel` under whatever this thread runs meanwhile; give it.

    Raises:
        RuntimeError: somebody is inside already: a process has one module `socket`.

    """
    if not _one_world.acquire(blocking=False):
        raise RuntimeError("a kernel is patched in already: one at a time, in one thread")
    try:
        with ExitStack() as undo:
            for owner, name, value in _replacements(kernel, threading.get_ident()):
                undo.callback(_put_back, owner, name, vars(owner).get(name, _MISSING))
                setattr(owner, name, value)
            yield kernel
    finally:
        _one_world.release()


def _put_back(owner: Any, name: str, value: Any) -> None:
    if value is _MISSING:
        delattr(owner, name)
    else:
        setattr(owner, name, value)


def _replacements(kernel: SimKernel, thread: int) -> Iterator[tuple[Any, str, Any]]:
    """Give owner, name and value of all that is replaced."""
    system = kernel.system
    sockets = _socket_class(kernel, thread)

    def here(ours: Callable[..., Any], owner: Any, name: str) -> tuple[Any, str, Any]:
        return owner, name, _for_thread(thread, ours, getattr(owner, name, None))

    yield socket, "socket", sockets
    yield here(sockets.pair, socket, "socketpair")
    yield here(resolve, socket, "getaddrinfo")
    yield here(system.select, select, "select")
    yield here(system.poll, select, "poll")
    yield here(system.epoll, select, "epoll")
    # Functions of a class would be bound to its objects; static ones are left alone.
    yield selectors.SelectSelector, "_select", staticmethod(_for_thread(thread, system.select, select.select))
    best: type[selectors.BaseSelector] = selectors.SelectSelector
    for class_name, ours in (("PollSelector", system.poll), ("EpollSelector", system.epoll)):
        found = getattr(selectors, class_name, None)
        if found is not None:
            best = found
            yield found, "_selector_cls", staticmethod(_for_thread(thread, ours, found._selector_cls))  # noqa: SLF001 - no other way in
    yield selectors, "DefaultSelector", best
    yield here(_by_descriptor(kernel, kernel.read, os.read), os, "read")
    yield here(_by_descriptor(kernel, kernel.write, os.write), os, "write")
    yield here(kernel.clock, time, "monotonic")
    yield here(lambda: kernel.now_us * NANOSECONDS_A_MICROSECOND, time, "monotonic_ns")
    yield here(lambda: EPOCH_S + kernel.clock(), time, "time")
    yield here(lambda: EPOCH_S * 1_000_000_000 + kernel.now_us * NANOSECONDS_A_MICROSECOND, time, "time_ns")
    yield here(_sleep(kernel), time, "sleep")


def _for_thread(thread: int, ours: Callable[..., Any], theirs: Callable[..., Any] | None) -> Callable[..., Any]:
    """Make a function that is `ours` in that thread and `theirs` in all others."""

    def call(*arguments: Any, **options: Any) -> Any:
        function = ours if threading.get_ident() == thread else theirs
        assert function is not None, "this system has no such function"
        return function(*arguments, **options)

    return call


def _by_descriptor(kernel: SimKernel, ours: Callable[..., Any], theirs: Callable[..., Any]) -> Callable[..., Any]:
    def call(fd: int, what: Any, /) -> Any:
        return (ours if fd in kernel.open else theirs)(fd, what)

    return call


def _sleep(kernel: SimKernel) -> Callable[[float], None]:
    def sleep(seconds: float, /) -> None:
        """Wait for nothing: so whoever drives the peers gets a turn, and virtual time passes."""
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        kernel.system.wait({}, seconds)

    return sleep


def resolve(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:  # noqa: A002, PLR0917 - as there
    """Stand in for `getaddrinfo`: addresses, and `localhost`; a simulated world has no name server.

    Raises:
        socket.gaierror: it is another name.

    """
    if host in ("localhost", b"localhost"):
        host = LOOPBACK[socket.AF_INET6 if family == socket.AF_INET6 else socket.AF_INET]
    return REAL_GETADDRINFO(host, port, family, type, proto, flags | socket.AI_NUMERICHOST)


class _OfOneThread(type):
    """Makes simulated sockets in one thread, real ones in the others."""

    def __call__(cls, *arguments: Any, **options: Any) -> Any:
        if threading.get_ident() != cls.thread:  # type: ignore[attr-defined] # each class that `_socket_class` makes has it
            return RealSocket(*arguments, **options)
        return super().__call__(*arguments, **options)


class PatchedSocket(SimSocket, metaclass=_OfOneThread):
    """`socket.socket` as a program under `patched` sees it. Each kernel has a class of its own, with `home` and `thread`."""

    home: SimKernel
    thread: int

    makefile = RealSocket.makefile  # it is plain Python over recv_into and send
    _decref_socketios = RealSocket._decref_socketios  # type: ignore[attr-defined] # noqa: SLF001 - belongs to makefile

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:  # noqa: A002 - as there
        """Open a socket, or take a descriptor over; what is left out is as in the standard library.

        Raises:
            OSError: EMFILE; EBADF for a descriptor that is no socket.
            NotImplementedError: it is not a stream socket.

        """
        family = socket.AF_INET if family == -1 else family
        kind = socket.SOCK_STREAM if type == -1 else type & ~_FLAGS
        if kind != socket.SOCK_STREAM:
            raise NotImplementedError("the simulated kernel has stream sockets only")
        super().__init__(self.home, socket.AddressFamily(family), socket.SocketKind(kind), proto=max(proto, 0), fileno=fileno)
        self._io_refs = 0
        self._closed = False
        if type != -1 and type & _NONBLOCK:
            self.setblocking(False)

    @classmethod
    def pair(cls, family: int | None = None, type: int = socket.SOCK_STREAM, proto: int = 0) -> tuple[Self, Self]:  # noqa: A002 - as there
        """Stand in for `socketpair`."""
        del family, type, proto  # whatever the family, two streams
        near, far = cls.home.socketpair()
        return cls(fileno=near.detach()), cls(fileno=far.detach())

    def accept(self) -> tuple[PatchedSocket, Any]:
        """Take the next connection; its socket is of the plain class, as in the standard library."""
        sock, name = super().accept()
        return socket.socket(fileno=sock.detach()), name  # type: ignore[return-value] # it is ours while we are inside

    def bind(self, address: Any, /) -> None:
        """Take an address; an empty host is every address."""
        super().bind(self._numeric(address))

    def connect(self, address: Any, /) -> None:
        """Connect to who listens in this kernel, there or on every address."""
        there = self._numeric(address)
        listening = there
        if isinstance(there, tuple) and there not in self.kernel.ports:
            listening = (ANY_HOST[""].get(socket.AddressFamily(self.family)), *there[1:])
        super().connect(listening if listening in self.kernel.ports else there)
        if self.stream is not None and isinstance(there, tuple):
            self.stream.peer.local = there
            self.stream.local = (there[0], *self.stream.local[1:])

    def _numeric(self, address: Any) -> Any:
        if not isinstance(address, tuple):
            return address
        host = ANY_HOST.get(address[0], {}).get(socket.AddressFamily(self.family), address[0])
        return resolve(host, address[1], self.family, socket.SOCK_STREAM)[0][4]

    def close(self) -> None:
        """Give the descriptor back, now or when the last file made of it is closed."""
        self._closed = True
        if self._io_refs <= 0:
            super().close()

    def get_inheritable(self) -> bool:
        """Tell whether another program would have it: there is none."""
        return False


_NONBLOCK: Final = getattr(socket, "SOCK_NONBLOCK", 0)
_FLAGS: Final = _NONBLOCK | getattr(socket, "SOCK_CLOEXEC", 0)


def _socket_class(kernel: SimKernel, thread: int) -> type[PatchedSocket]:
    made: type[PatchedSocket] = _OfOneThread("socket", (PatchedSocket,), {"home": kernel, "thread": thread})  # type: ignore[assignment]
    return made
