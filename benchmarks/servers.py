"""The echo servers that are compared. Run as a program with a name, one prints its port and serves until it is ended; a folder
after the name is looked in first for what it imports.

Each is written as its own documentation would have it: with flow control (who does not read is not read from), with
Nagle's algorithm off, and the backlog that all have. Those that take a protocol class take the same one.
"""

import asyncio
import os
import shutil
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
HOST = "127.0.0.1"
BACKLOG = 1024
RECEIVE_BYTES = 65536


class Echo:
    """One protocol class for all who take one: like for like."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def eof_received(self) -> None:
        return None

    def connection_lost(self, error: BaseException | None) -> None:
        del self.transport

    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()


def announce(port: int) -> None:
    print(port, flush=True)


def listening() -> socket.socket:
    listener = socket.create_server((HOST, 0), backlog=BACKLOG)
    announce(listener.getsockname()[1])
    return listener


def no_delay(sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def must_be(*, compiled: bool) -> None:
    """Refuse to be measured under the name of the other build."""
    import fsmserver
    from fsmserver.core.compiling import is_compiled

    if is_compiled() != compiled:
        builds = {True: "the compiled build", False: "pure Python"}
        raise SystemExit(f"{fsmserver.__path__[0]} is {builds[not compiled]}, and {builds[compiled]} is to be measured.")


def fsmserver(*, compiled: bool = False, traced: bool = False) -> None:
    must_be(compiled=compiled)
    from fsmserver.runtime.binding import Tcp
    from fsmserver.runtime.server import Server

    with Server(Echo, Tcp(HOST, 0), watcher=trace_for_nobody() if traced else None) as server:
        announce(server.address[1])
        server.run()


def trace_for_nobody() -> Any:
    from fsmserver.runtime.trace import Trace

    return Trace(open(os.devnull, "w", encoding="utf-8", buffering=1 << 16))


async def serve_protocol() -> None:
    server = await asyncio.get_running_loop().create_server(Echo, HOST, 0, backlog=BACKLOG)  # type: ignore[arg-type]
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


async def serve_streams() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(RECEIVE_BYTES):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, HOST, 0, backlog=BACKLOG)
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def asyncio_protocol() -> None:
    asyncio.run(serve_protocol())


def asyncio_streams() -> None:
    asyncio.run(serve_streams())


def uvloop_protocol() -> None:
    import uvloop

    uvloop.run(serve_protocol())


def uvloop_streams() -> None:
    import uvloop

    uvloop.run(serve_streams())


def raw_epoll() -> None:
    """The floor in Python: a loop that does nothing but echo, with no server around it."""
    import select

    listener = listening()
    listener.setblocking(False)
    poller = select.epoll()
    poller.register(listener.fileno(), select.EPOLLIN)
    peers: dict[int, socket.socket] = {}
    rests: dict[int, bytes] = {}

    def end(fd: int) -> None:
        rests.pop(fd, None)
        peers.pop(fd).close()

    def greet() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except BlockingIOError:
                return
            peer.setblocking(False)
            no_delay(peer)
            peers[peer.fileno()] = peer
            poller.register(peer.fileno(), select.EPOLLIN)

    def offer(fd: int) -> None:
        data = rests.pop(fd)
        try:
            taken = peers[fd].send(data)
        except BlockingIOError:
            taken = 0
        if taken < len(data):
            rests[fd] = data[taken:]
        else:
            poller.modify(fd, select.EPOLLIN)

    while True:
        for fd, _ in poller.poll():
            peer = peers.get(fd)
            if peer is None:
                greet()
                continue
            try:
                if fd in rests:
                    offer(fd)
                    continue
                data = peer.recv(RECEIVE_BYTES)
                if not data:
                    end(fd)
                    continue
                taken = peer.send(data)
            except BlockingIOError:
                taken = 0
            except OSError:
                end(fd)
                continue
            if taken < len(data):
                rests[fd] = data[taken:]
                poller.modify(fd, select.EPOLLOUT)


def gevent_server() -> None:
    from gevent.server import StreamServer

    def echo(sock: Any, _: object) -> None:
        try:
            no_delay(sock)
            while data := sock.recv(RECEIVE_BYTES):
                sock.sendall(data)
        except OSError:
            pass

    server = StreamServer((HOST, 0), echo, backlog=BACKLOG)
    server.start()
    announce(server.server_port)
    server.serve_forever()


def twisted_server() -> None:
    from twisted.internet import reactor
    from twisted.internet.protocol import Factory, Protocol

    class Echoing(Protocol):
        def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
            self.transport.setTcpNoDelay(True)
            self.transport.registerProducer(self.transport, True)

        def dataReceived(self, data: bytes) -> None:  # noqa: N802 - as above
            self.transport.write(data)

        def connectionLost(self, reason: object = None) -> None:  # noqa: N802 - as above
            self.transport.unregisterProducer()

    port = reactor.listenTCP(0, Factory.forProtocol(Echoing), backlog=BACKLOG, interface=HOST)  # type: ignore[attr-defined]
    announce(port.getHost().port)
    reactor.run()  # type: ignore[attr-defined]


def tornado_server() -> None:
    from tornado.iostream import StreamClosedError
    from tornado.tcpserver import TCPServer

    class Echoing(TCPServer):
        async def handle_stream(self, stream: Any, address: object) -> None:
            stream.set_nodelay(True)
            try:
                while True:
                    await stream.write(await stream.read_bytes(RECEIVE_BYTES, partial=True))
            except StreamClosedError:
                pass

    async def serve() -> None:
        Echoing().add_socket(listening_unblocked())
        await asyncio.Event().wait()

    asyncio.run(serve())


def listening_unblocked() -> socket.socket:
    listener = listening()
    listener.setblocking(False)
    return listener


def trio_server() -> None:
    import trio

    async def echo(stream: trio.SocketStream) -> None:
        try:
            async for data in stream:
                await stream.send_all(data)
        except trio.BrokenResourceError:
            pass

    async def serve() -> None:
        listeners = await trio.open_tcp_listeners(0, host=HOST, backlog=BACKLOG)
        announce(listeners[0].socket.getsockname()[1])
        await trio.serve_listeners(echo, listeners)

    trio.run(serve)


def pyasyncore_server() -> None:
    import asyncore

    class Echoing(asyncore.dispatcher):
        def __init__(self, sock: socket.socket) -> None:
            super().__init__(sock)
            self.rest = b""

        def readable(self) -> bool:
            return not self.rest

        def writable(self) -> bool:
            return bool(self.rest)

        def handle_read(self) -> None:
            self.rest = self.recv(RECEIVE_BYTES)
            if self.rest:
                self.handle_write()

        def handle_write(self) -> None:
            self.rest = self.rest[self.send(self.rest) :]

        def handle_close(self) -> None:
            self.close()

    class Listening(asyncore.dispatcher):
        accepting = True

        def handle_accepted(self, sock: socket.socket, address: object) -> None:
            no_delay(sock)
            Echoing(sock)

        def writable(self) -> bool:
            return False

    Listening(listening())
    asyncore.loop(use_poll=True)


def threads() -> None:
    import threading

    threading.stack_size(256 * 1024)
    listener = listening()

    def echo(sock: socket.socket) -> None:
        with sock:
            no_delay(sock)
            try:
                while data := sock.recv(RECEIVE_BYTES):
                    sock.sendall(data)
            except OSError:
                pass

    while True:
        sock, _ = listener.accept()
        threading.Thread(target=echo, args=(sock,), daemon=True).start()


OURS = "fsmserver"
COMPILED = "fsmserver compiled"
TRACED = "fsmserver+trace"
COMPILED_TRACED = "fsmserver compiled+trace"

SERVERS: dict[str, Callable[[], None]] = {
    OURS: fsmserver,
    COMPILED: partial(fsmserver, compiled=True),
    TRACED: partial(fsmserver, traced=True),
    COMPILED_TRACED: partial(fsmserver, compiled=True, traced=True),
    "raw epoll": raw_epoll,
    "uvloop Protocol": uvloop_protocol,
    "uvloop streams": uvloop_streams,
    "asyncio Protocol": asyncio_protocol,
    "asyncio streams": asyncio_streams,
    "gevent": gevent_server,
    "Twisted": twisted_server,
    "Tornado": tornado_server,
    "trio": trio_server,
    "pyasyncore": pyasyncore_server,
    "threads": threads,
}
"""Those in Python."""

FLOOR = "C epoll"
NODE = "Node net"
PACKAGE = "package"
FROM_PACKAGE = {COMPILED, COMPILED_TRACED}
"""Those that import the package which the suite has compiled for them; the others import the one that is installed."""

COUNTED = [OURS, COMPILED, FLOOR, "raw epoll", "uvloop Protocol", "asyncio Protocol", "asyncio streams", "gevent", "Twisted", "trio"]
"""Those that wait in epoll, have one thread and are not compiled while they run: the instruction counter can play their kernel."""


def command(name: str, paths: dict[str, str]) -> list[str]:
    """Give the command that runs a server; `paths` says where what was compiled for it is."""
    if name == FLOOR:
        return [paths["loop"]]
    if name == NODE:
        return [shutil.which("node") or "node", str(HERE / "echo.js")]
    return [sys.executable, "-P", "-W", "ignore", str(HERE / "servers.py"), name, *([paths[PACKAGE]] if name in FROM_PACKAGE else [])]


def available() -> list[str]:
    """Name the servers that can be run here: whose packages are installed, and that can be compiled."""
    import sysconfig
    from importlib.util import find_spec

    needs = {"uvloop Protocol": ["uvloop"], "uvloop streams": ["uvloop"], "gevent": ["gevent"], "Twisted": ["twisted"]}
    needs |= {"Tornado": ["tornado"], "trio": ["trio"], "pyasyncore": ["asyncore"]}
    needs |= {name: ["pip", "hatchling", "mypyc", "setuptools"] for name in FROM_PACKAGE}
    there = [name for name in SERVERS if all(map(find_spec, needs.get(name, [])))]
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        there = [name for name in there if name not in FROM_PACKAGE]
    return [there[0], FLOOR, *there[1:], *([NODE] if shutil.which("node") else [])]


if __name__ == "__main__":
    sys.path[:0] = sys.argv[2:]
    SERVERS[sys.argv[1]]()
