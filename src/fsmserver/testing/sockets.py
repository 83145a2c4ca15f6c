"""A socket of the simulated kernel, with the face of `socket.socket` as far as servers and clients of TCP use it.

What would wait for ever raises `WouldBlock`: in a simulation nobody else runs while a call waits, and in a server
with one thread it is the mistake that stops everyone.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING, Any, Final, Self

from fsmserver.testing.stream import HUP, OUT, Stream, os_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fsmserver.testing.kernel import ListenQueue, SimKernel

LINGER: Final = struct.Struct("ii")
SENDS: Final = ("send", "sendmsg")


class WouldBlock(AssertionError):
    """A blocking call would have waited: with one thread, for ever."""


class SimSocket:
    """A descriptor of the process under test: fresh, listening or connected."""

    def __init__(
        self,
        kernel: SimKernel,
        family: int = socket.AF_INET,
        kind: int = socket.SOCK_STREAM,
        *,
        proto: int = 0,
        fileno: int | None = None,
        stream: Stream | None = None,
    ) -> None:
        """Open a socket, or with `fileno` take over a descriptor that was detached.

        Raises:
            OSError: EMFILE; EBADF for a descriptor that is no socket.

        """
        self.kernel = kernel
        self.family = family
        self.type = kind
        self.proto = proto
        self.blocking = True
        self.timeout: float | None = None
        self.stream = stream
        self.queue: ListenQueue | None = None
        self.options: dict[tuple[int, int], Any] = {}
        self.address: Any = ("0.0.0.0", 0) if family == socket.AF_INET else ""  # noqa: S104 - what getsockname gives before bind
        if fileno is None:
            self.fd = kernel.allocate(self)
        else:
            self._take_over(fileno)
        if self.stream is not None:
            self.stream.fd = self.fd

    def _take_over(self, fd: int) -> None:
        former = self.kernel.open.get(fd)
        if not isinstance(former, SimSocket):
            raise os_error(errno.EBADF)
        self.fd = fd
        self.family, self.type, self.proto = former.family, former.type, former.proto
        self.stream, self.queue, self.options, self.address = former.stream, former.queue, former.options, former.address
        self.kernel.open[fd] = self

    # What may go wrong with every call.

    def _check(self, name: str, size_bytes: int = 0) -> int:
        if self.fd < 0 or self.kernel.open.get(self.fd) is not self:
            raise os_error(errno.EBADF)
        if not self.kernel.rules or (name in SENDS and self.stream is not None and self.stream.error):
            return size_bytes  # a send meets the error that is there before anything else, as in tcp_sendmsg_locked
        return self.kernel.check(name, self.fd, size_bytes)

    def _connected(self) -> Stream:
        if self.stream is None:
            raise os_error(errno.ENOTCONN)
        return self.stream

    def _again(self, error: OSError) -> OSError | WouldBlock:
        if self.blocking and error.errno == errno.EAGAIN:
            return WouldBlock(f"a blocking call on descriptor {self.fd} would wait, and nobody else could run")
        return error

    def _note(self, name: str, outcome: int) -> None:
        self.kernel.note(name, self.fd, outcome)

    # Moving bytes.

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive at most `bufsize` bytes; empty at the end of the stream."""
        try:
            most = self._check("recv", bufsize)
            data = self._connected().recv(most, flags)
        except OSError as error:
            self._note("recv", -(error.errno or 0))
            raise self._again(error) from None
        if self.kernel.log is not None:
            self._note("recv", len(data))
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0, /) -> int:
        """Receive into `buffer`; give the number of bytes."""
        data = self.recv(nbytes or memoryview(buffer).nbytes, flags)
        memoryview(buffer).cast("B")[: len(data)] = data
        return len(data)

    def send(self, data: Any, flags: int = 0, /) -> int:
        """Offer bytes; give how many were taken. A copy is offered: the frames of an error must not hold on to the caller's buffer."""
        return self._send("send", data if type(data) is bytes else bytes(data), flags)

    def sendmsg(self, buffers: Iterable[Any], *_: Any) -> int:
        """Offer several buffers at once; give how many bytes were taken."""
        return self._send("sendmsg", b"".join(buffers), 0)

    def _send(self, name: str, data: Any, flags: int) -> int:
        try:
            size_bytes = len(data)
            most = self._check(name, size_bytes)
            if most < size_bytes:
                data = data[:most]
            count_bytes = self._connected().send(data, urgent=bool(flags and flags & socket.MSG_OOB))
        except OSError as error:
            self._note(name, -(error.errno or 0))
            raise self._again(error) from None
        if self.kernel.log is not None:
            self._note(name, count_bytes)
        return count_bytes

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Offer bytes until all are taken; on a blocking socket too, they have to fit."""
        view = memoryview(data).cast("B")
        while view:
            view = view[self.send(view, flags) :]

    # Beginning and ending.

    def bind(self, address: Any, /) -> None:
        """Take an address; for TCP the port 0 lets the kernel choose."""
        self._check("bind")
        if isinstance(address, tuple) and address[1] == 0:
            address = (address[0], self.kernel.free_port(), *address[2:])
        if address in self.kernel.ports:
            raise os_error(errno.EADDRINUSE)
        self.address = address

    def listen(self, backlog: int = 128, /) -> None:
        """Begin to listen."""
        self._check("listen")
        if self.queue is None:
            self.queue = self.kernel.bind_port(self.address, backlog)
            self.queue.fd = self.fd
        self.queue.most = backlog

    def accept(self) -> tuple[SimSocket, Any]:
        """Take the next connection from the backlog. Like Linux, look for a free descriptor before looking for one."""
        try:
            self._check("accept")
            if not self.kernel.has_descriptor:
                raise os_error(errno.EMFILE)
            if self.queue is None:
                raise os_error(errno.EINVAL)
            if not self.queue.backlog:
                raise os_error(errno.EAGAIN)
        except OSError as error:
            self._note("accept", -(error.errno or 0))
            raise self._again(error) from None
        sock = self._accepted(self.queue.take())
        self._note("accept", sock.fd)
        peer = sock.stream.peer.local if sock.stream is not None else None
        return sock, peer

    def _accepted(self, stream: Stream) -> SimSocket:
        sock = self.kernel.adopt(stream, self.family)
        sock.address = self.address
        return sock

    def connect(self, address: Any, /) -> None:
        """Connect; in the simulation that is done at once, or waits for room in the backlog without telling."""
        self._check("connect")
        if self.stream is not None:
            raise os_error(errno.EISCONN)
        self.stream = self.kernel.connect(address, name=(self.address[0], self.kernel.free_port()))
        self.stream.fd = self.fd

    def connect_ex(self, address: Any, /) -> int:
        """Connect, and give the errno."""
        try:
            self.connect(address)
        except OSError as error:
            return error.errno or errno.EINVAL
        return 0

    def shutdown(self, how: int, /) -> None:
        """End one direction, or both."""
        try:
            self._check("shutdown")
            self._connected().shutdown(how)
        except OSError as error:
            self._note("shutdown", -(error.errno or 0))
            raise
        self._note("shutdown", how)

    def close(self) -> None:
        """Give the descriptor back; the second time this does nothing. An error comes after the descriptor is gone."""
        fd = self.fd
        if fd < 0:
            return
        failure: OSError | None = None
        try:
            self._check("close")
        except OSError as error:
            if error.errno == errno.EBADF and self.kernel.open.get(fd) is not self:
                raise
            failure = error
        self.kernel.note("close", fd, 0)
        self.fd = -1
        self.kernel.release(fd)
        if self.queue is not None:
            self.kernel.unbind(self.queue)
        if self.stream is not None:
            self.stream.close()
        if failure is not None:
            raise failure

    def detach(self) -> int:
        """Let go of the descriptor without closing it."""
        fd, self.fd = self.fd, -1
        return fd

    # Options and names.

    def setsockopt(self, level: int, option: int, value: Any, /) -> None:
        """Set an option; those that change what happens here are SO_LINGER (on, 0 s), SO_OOBINLINE and SO_RCVBUF, SO_SNDBUF."""
        self._check("setsockopt")
        self.options[level, option] = value
        stream = self.stream
        if level != socket.SOL_SOCKET or stream is None:
            return
        if option == socket.SO_LINGER:
            active, seconds = LINGER.unpack(value)
            stream.linger_reset = bool(active) and seconds == 0
        elif option == socket.SO_OOBINLINE:
            stream.inline = bool(value)
        elif option == socket.SO_RCVBUF:
            stream.receive_room_bytes = value
        elif option == socket.SO_SNDBUF:
            stream.send_room_bytes = value

    def getsockopt(self, level: int, option: int, *_: Any) -> Any:
        """Read an option; SO_ERROR clears the error that it gives."""
        self._check("getsockopt")
        if (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR):
            return self.stream.take_error() if self.stream is not None else 0
        if (level, option) == (socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return int(self.queue is not None)
        if (level, option) == (socket.SOL_SOCKET, socket.SO_TYPE):
            return self.type
        return self.options.get((level, option), 0)

    def getsockname(self) -> Any:
        """Give our own address."""
        self._check("getsockname")
        return self.stream.local if self.stream is not None else self.address

    def getpeername(self) -> Any:
        """Give the peer's address.

        Raises:
            OSError: ENOTCONN if there is no connection, or no more.

        """
        self._check("getpeername")
        stream = self._connected()
        if stream.over:
            raise os_error(errno.ENOTCONN)
        return stream.peer.local

    def setblocking(self, flag: bool, /) -> None:  # noqa: FBT001 - the standard library's signature
        """Choose blocking calls or EAGAIN."""
        self.settimeout(None if flag else 0.0)

    def settimeout(self, timeout_s: float | None, /) -> None:
        """Choose blocking calls (None, or a time, which is not waited for here), or with 0 EAGAIN."""
        self.timeout = timeout_s
        self.blocking = timeout_s != 0

    def gettimeout(self) -> float | None:
        """Give what `settimeout` was given."""
        return self.timeout

    def getblocking(self) -> bool:
        """Tell whether calls block."""
        return self.blocking

    def set_inheritable(self, inheritable: bool, /) -> None:  # noqa: FBT001 - the standard library's signature
        """Do nothing: there is no other program."""

    def fileno(self) -> int:
        """Give the descriptor, -1 once closed."""
        return self.fd

    def readiness(self) -> int:
        """Give the bits that poll(2) would report."""
        if self.stream is not None:
            return self.stream.readiness()
        return self.queue.readiness() if self.queue is not None else OUT | HUP

    def __enter__(self) -> Self:
        """Give the socket."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def __repr__(self) -> str:
        """Show the descriptor and what it is."""
        what: Sequence[object] = [each for each in (self.queue and f"listening at {self.address}", self.stream) if each]
        return f"<SimSocket fd={self.fd} {what[0] if what else 'fresh'}>"
