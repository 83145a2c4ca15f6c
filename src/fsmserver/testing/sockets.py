"""A socket of the simulated kernel, with the face of `socket.socket` as far as servers and clients of TCP use it.

What would wait for ever raises `WouldBlock`: in a simulation nobody else runs while a call waits, and in a server
with one thread it is the mistake that stops everyone.

A socket that is neither connected nor listening is hung up and writable, as tcp_poll has it, and `shutdown` leaves its mark on
it although it fails. A listening socket that is shut down for reading becomes such a one. An accepted socket begins with the
options that the listening one had when its peer connected.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING, Any, Final, Self

from fsmserver.testing.stream import HUP, IN, LINGER, OUT, RDHUP, Stream, os_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fsmserver.testing.kernel import ListenQueue, SimKernel

ANYWHERE: Final[dict[int, Any]] = {socket.AF_INET: ("0.0.0.0", 0), socket.AF_INET6: ("::", 0, 0, 0)}  # noqa: S104 - what getsockname gives before bind
DIRECTIONS: Final = {socket.SHUT_RD: IN | RDHUP, socket.SHUT_WR: 0, socket.SHUT_RDWR: IN | RDHUP}
"""What `shutdown` has a socket report that is not connected."""

INT: Final = struct.Struct("i")


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
        self.blocking = True  # of the descriptor, O_NONBLOCK
        self.timeout: float | None = None  # of this object
        self.stream = stream
        self.queue: ListenQueue | None = None
        self.options: dict[tuple[int, int], Any] = {}
        self.address: Any = ANYWHERE.get(family, "")
        self.bound = False
        self.fresh_bits = OUT | HUP
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
        self.family, self.type, self.proto, self.blocking = former.family, former.type, former.proto, former.blocking
        self.stream, self.queue, self.options, self.fresh_bits = former.stream, former.queue, former.options, former.fresh_bits
        self.address, self.bound = former.address, former.bound
        self.kernel.open[fd] = self

    # What may go wrong with every call.

    def _check(self, name: str) -> None:
        """See that the descriptor is there, and that no fault wants the call to fail."""
        if self.kernel.open.get(self.fd) is not self:
            raise os_error(errno.EBADF)
        if self.kernel.rules or self.kernel.rare:
            self.kernel.check(name, self.fd)

    def _failed(self, name: str, error: OSError) -> OSError | WouldBlock:
        """Note a call that failed; give what it raises."""
        self.kernel.note(name, self.fd, -(error.errno or 0))
        if self.blocking and error.errno == errno.EAGAIN:
            return WouldBlock(f"a blocking call on descriptor {self.fd} would wait, and nobody else could run")
        return error

    # Moving bytes.

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive at most `bufsize` bytes; empty at the end of the stream. To receive 0 bytes asks nobody, as in the standard library."""
        if bufsize <= 0:
            return self._recv_none(bufsize)
        kernel, stream = self.kernel, self.stream
        if stream is not None and stream.plain and not flags and kernel.open.get(self.fd) is self:
            unread = stream.unread
            usual = 0 < len(unread) <= bufsize and not stream.peer.unsent  # all that there is
            if usual and not (kernel.rules and kernel.may_strike(self.fd)):
                stream.unread = b""
                if kernel.log is not None:
                    kernel.log.append((kernel.now_us, "recv", self.fd, len(unread)))
                return unread
        try:
            if kernel.open.get(self.fd) is not self:
                raise os_error(errno.EBADF)
            most = kernel.check("recv", self.fd, bufsize) if kernel.rules else bufsize
            data: bytes = self._recv_unconnected(flags) if stream is None else stream.recv(most, flags)
        except OSError as error:
            raise self._failed("recv", error) from None
        if kernel.log is not None:
            kernel.log.append((kernel.now_us, "recv", self.fd, len(data)))
        return data

    @staticmethod
    def _recv_none(bufsize: int) -> bytes:
        if bufsize < 0:
            raise ValueError("negative buffersize in recv")
        return b""

    def _recv_unconnected(self, flags: int) -> bytes:
        if self.queue is None:
            if flags & socket.MSG_OOB:
                raise os_error(errno.EINVAL)
            if self.fresh_bits & RDHUP:
                return b""
        raise os_error(errno.ENOTCONN)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0, /) -> int:
        """Receive into `buffer`; give the number of bytes."""
        size_bytes = memoryview(buffer).nbytes
        if nbytes > size_bytes:
            raise ValueError("buffer too small for requested bytes")
        data = self.recv(nbytes or size_bytes, flags)
        memoryview(buffer).cast("B")[: len(data)] = data
        return len(data)

    def send(self, data: Any, flags: int = 0, /) -> int:
        """Offer bytes; give how many were taken. A copy is offered: the frames of an error must not hold on to the caller's buffer."""
        kernel, stream = self.kernel, self.stream
        offered: bytes = data if type(data) is bytes else bytes(data)
        usual = not flags and stream is not None and stream.plain and kernel.open.get(self.fd) is self
        if stream is None or not usual or (kernel.rules and kernel.may_strike(self.fd)):
            return self._send("send", offered, flags)
        try:  # the usual case
            count_bytes: int = stream.send(offered)
        except OSError as error:
            raise self._failed("send", error) from None
        if kernel.log is not None:
            kernel.log.append((kernel.now_us, "send", self.fd, count_bytes))
        return count_bytes

    def sendmsg(self, buffers: Iterable[Any], *_: Any) -> int:
        """Offer several buffers at once; give how many bytes were taken."""
        return self._send("sendmsg", b"".join(buffers), 0)

    def _send(self, name: str, data: bytes, flags: int) -> int:
        kernel = self.kernel
        stream = self.stream
        try:
            if kernel.open.get(self.fd) is not self:
                raise os_error(errno.EBADF)
            if stream is None:
                raise os_error(errno.EPIPE)
            if kernel.rules and not stream.error:  # a send meets the error that is there before anything else
                data = data[: kernel.check(name, self.fd, len(data))]
            count_bytes = stream.send(data, urgent=flags & socket.MSG_OOB != 0) if flags else stream.send(data)
        except OSError as error:
            raise self._failed(name, error) from None
        if kernel.log is not None:
            kernel.log.append((kernel.now_us, name, self.fd, count_bytes))
        return count_bytes

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Offer bytes until all are taken; on a blocking socket too, they have to fit."""
        rest = bytes(data)
        while rest:
            rest = rest[self.send(rest, flags) :]

    # Beginning and ending.

    def bind(self, address: Any, /) -> None:
        """Take an address; for TCP the port 0 lets the kernel choose.

        Raises:
            OSError: EINVAL if the socket has one already; EADDRINUSE if somebody listens there.

        """
        self._check("bind")
        if self.bound or self.stream is not None:
            raise os_error(errno.EINVAL)
        if address in self.kernel.ports:
            raise os_error(errno.EADDRINUSE)
        self._bind(address)

    def _bind(self, address: Any) -> None:
        if isinstance(address, tuple) and address[1] == 0:
            address = (address[0], self.kernel.free_port(), *address[2:])
        self.address, self.bound = address, True

    def listen(self, backlog: int = 128, /) -> None:
        """Begin to listen; a second time, change the room for those who wait.

        Raises:
            OSError: EINVAL if the socket is connected.

        """
        self._check("listen")
        if self.stream is not None:
            raise os_error(errno.EINVAL)
        if not self.bound:
            self._bind(self.address)
        if self.queue is None:
            self.queue = self.kernel.bind_port(self.address, backlog)
            self.queue.fd = self.fd
            self.queue.options = self.options
        self.queue.most = backlog

    def accept(self) -> tuple[SimSocket, Any]:
        """Take the next connection from the backlog. Like Linux, look for a free descriptor before looking for one."""
        kernel = self.kernel
        try:
            self._check("accept")
            if not kernel.has_descriptor:
                raise os_error(errno.EMFILE)
            if self.queue is None:
                raise os_error(errno.EINVAL)
            if not self.queue.backlog:
                raise os_error(errno.EAGAIN)
        except OSError as error:
            raise self._failed("accept", error) from None
        stream = self.queue.take()
        sock = kernel.adopt(stream, self.family)
        sock.address, sock.bound = self.address, True
        sock.options.update(stream.options)
        kernel.note("accept", self.fd, sock.fd)
        return sock, stream.peer.local

    def connect(self, address: Any, /) -> None:
        """Connect; in the simulation that is done at once, or waits for room in the backlog without telling.

        Raises:
            OSError: EISCONN; ECONNREFUSED if nobody listens there.

        """
        self._check("connect")
        if self.stream is not None or self.queue is not None:
            raise os_error(errno.EISCONN)
        name = self.address
        if not self.bound and isinstance(address, tuple):
            name = (address[0], self.kernel.free_port(), *address[2:])
        self.stream = self.kernel.connect(address, name=name)
        self.stream.fd = self.fd
        self.stream.set_options(self.options)

    def connect_ex(self, address: Any, /) -> int:
        """Connect, and give the errno."""
        try:
            self.connect(address)
        except OSError as error:
            return error.errno or errno.EINVAL
        return 0

    def shutdown(self, how: int, /) -> None:
        """End one direction, or both.

        Raises:
            OSError: ENOTCONN if there is no connection, or no more; EINVAL.

        """
        try:
            self._check("shutdown")
            if how not in DIRECTIONS:
                raise os_error(errno.EINVAL)
            if self.stream is None:
                self._shut_unconnected(how)
            else:
                self.stream.shutdown(how)
        except OSError as error:
            raise self._failed("shutdown", error) from None
        self.kernel.note("shutdown", self.fd, how)

    def _shut_unconnected(self, how: int) -> None:
        if self.queue is None:
            self.fresh_bits |= DIRECTIONS[how]
            raise os_error(errno.ENOTCONN)
        if how != socket.SHUT_WR:
            queue, self.queue = self.queue, None
            self.fresh_bits = OUT | HUP
            self.kernel.unbind(queue)

    def close(self) -> None:
        """Give the descriptor back; the second time this does nothing. An error comes after the descriptor is gone."""
        fd = self.fd
        if fd < 0:
            return
        failure: OSError | None = None
        try:
            self._check("close")
        except OSError as error:
            if self.kernel.open.get(fd) is not self:
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
        if self.stream is not None:
            self.stream.set_options({(level, option): value})

    def getsockopt(self, level: int, option: int, buflen: int = 0, /) -> Any:
        """Read an option, with `buflen` as bytes; SO_ERROR clears the error that it gives."""
        self._check("getsockopt")
        value = self._known_option(option) if level == socket.SOL_SOCKET else None
        if value is None:
            value = self.options.get((level, option), bytes(LINGER.size) if option == socket.SO_LINGER else 0)
        return INT.pack(value) if buflen and isinstance(value, int) else value

    def _known_option(self, option: int) -> int | None:
        if option == socket.SO_ERROR:
            return self.stream.take_error() if self.stream is not None else 0
        if option == socket.SO_ACCEPTCONN:
            return int(self.queue is not None)
        return self.type if option == socket.SO_TYPE else None

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
        stream = self.stream
        if stream is None or stream.over:
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
        return self.timeout != 0

    def set_inheritable(self, inheritable: bool, /) -> None:  # noqa: FBT001 - the standard library's signature
        """Do nothing: there is no other program."""

    def fileno(self) -> int:
        """Give the descriptor, -1 once closed."""
        return self.fd

    def readiness(self) -> int:
        """Give the bits that poll(2) would report."""
        if self.stream is not None:
            return self.stream.readiness()
        return self.queue.readiness() if self.queue is not None else self.fresh_bits

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
