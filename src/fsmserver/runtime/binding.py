"""Where a server listens: from an address as people write it to sockets that listen.

TCP names are resolved to every family they have, with one port for all; unix paths are taken over only from the dead.
"""

import errno
import os
import socket
import stat
from contextlib import ExitStack, suppress
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

PORTS: Final = range(65536)

LARGEST_INT: Final = 2**31 - 1
"""A descriptor and a backlog are a C int. The kernel cuts the backlog down to net.core.somaxconn anyway."""

ABSENT_FAMILY: Final = frozenset((errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL))
"""What a host says that has IPv6 (or IPv4) switched off: a missing family is fine while another one is there."""


class BindError(OSError):
    """A server could not listen; the sentence says where and why."""


class Tcp(NamedTuple):
    """A TCP port on a host name or address; the port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        """Write it as a URL."""
        return f"tcp://[{self.host}]:{self.port}" if ":" in self.host else f"tcp://{self.host}:{self.port}"


class Unix(NamedTuple):
    """A path of a unix socket."""

    path: str

    def __str__(self) -> str:
        """Write it as a URL."""
        return f"unix://{self.path}"


class Inherited(NamedTuple):
    """A socket that already listens, handed on by the process that started this one."""

    fd: int

    def __str__(self) -> str:
        """Write it as a URL."""
        return f"fd://{self.fd}"


Endpoint = Tcp | Unix | Inherited


def parse_endpoint(text: str) -> Endpoint:
    """Read `tcp://HOST:PORT`, `unix://PATH`, `fd://NUMBER`, or plain `HOST:PORT`.

    Raises:
        ValueError: it is none of these; the sentence says what is wrong.

    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "tcp", text
    if scheme == "unix" and rest:
        return Unix(rest)
    if scheme == "fd" and rest.isdecimal() and int(rest) <= LARGEST_INT:
        return Inherited(int(rest))
    if scheme == "tcp":
        return _parse_tcp(text, rest)
    raise ValueError(f"{text!r} is not an address: write tcp://HOST:PORT, unix://PATH or fd://NUMBER")


def _parse_tcp(text: str, rest: str) -> Tcp:
    try:
        parts = urlsplit(f"//{rest}")
        port = parts.port if parts.netloc == rest and "@" not in rest else None
    except ValueError:
        port = None
    if port is None:
        raise ValueError(f"{text!r} needs a port from 0 to {PORTS[-1]}, such as 127.0.0.1:8008")
    if not parts.hostname:
        raise ValueError(f"{text!r} needs a host, such as 127.0.0.1:8008 (0.0.0.0 and [::] mean every address)")
    return Tcp(parts.hostname, port)


def bind(endpoint: Endpoint, backlog: int) -> list[socket.socket]:
    """Open non-blocking sockets that listen at `endpoint`: one for each family a host name has.

    Raises:
        BindError: it is in use, not ours, not permitted, or does not exist.

    """
    backlog = min(backlog, LARGEST_INT)
    try:
        match endpoint:
            case Tcp():
                return _bind_tcp(endpoint, backlog)
            case Unix():
                return [_bind_unix(endpoint, backlog)]
        return [_inherit(endpoint)]
    except (OSError, ValueError) as error:  # ValueError: a name that cannot be encoded, a path with a NUL
        raise BindError(f"cannot listen on {endpoint}: {getattr(error, 'strerror', None) or error}") from error


def _bind_tcp(endpoint: Tcp, backlog: int) -> list[socket.socket]:
    found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    port, absent = endpoint.port, None
    sockets: list[socket.socket] = []
    with ExitStack() as undo:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            try:
                sock = _open_tcp(family, kind, protocol, (address[0], port, *address[2:]))
            except OSError as error:
                if error.errno not in ABSENT_FAMILY:
                    raise
                absent = error
                continue
            port = port or sock.getsockname()[1]
            sockets.append(undo.enter_context(sock))
        if absent is not None and not sockets:
            raise absent
        for sock in sockets:
            sock.listen(backlog)
        undo.pop_all()
    return sockets


def _open_tcp(family: int, kind: int, protocol: int, address: tuple[Any, ...]) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        _prepare(sock, family)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def _prepare(sock: socket.socket, family: int) -> None:
    sock.setblocking(False)
    # On Windows SO_REUSEADDR would let another program take the port; there the opposite has to be asked for.
    exclusive = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR if exclusive is None else exclusive, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


def _bind_unix(endpoint: Unix, backlog: int) -> socket.socket:
    """Listen under a private name first, then rename: nobody can connect too early, and a live server is not robbed."""
    _refuse_living(endpoint.path)
    private = f"{endpoint.path}.{os.getpid()}"
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.bind(private)
        sock.listen(backlog)
        os.rename(private, endpoint.path)  # noqa: PTH104 - one path library is enough here
    except OSError:
        sock.close()
        with suppress(OSError):
            os.unlink(private)  # noqa: PTH108 - as above
        raise
    return sock


def _refuse_living(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):  # noqa: PTH116 - as above
            raise FileExistsError(errno.EEXIST, "the path exists and is not a socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return  # its server is dead
        except BlockingIOError:
            pass  # a full backlog is a living server
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _inherit(endpoint: Inherited) -> socket.socket:
    sock = socket.socket(fileno=endpoint.fd)
    try:
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise OSError(errno.EINVAL, "the inherited socket does not listen")
    except OSError:
        sock.detach()  # it is not ours to close
        raise
    os.set_inheritable(endpoint.fd, False)
    sock.setblocking(False)
    return sock
