"""The echo servers that are compared. Run as a program with a name, one prints its port and serves until it is ended."""

import asyncio
import socket
import sys
from typing import Any

HOST = "127.0.0.1"


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


def fsmserver() -> None:
    from fsmserver.runtime.binding import Tcp
    from fsmserver.runtime.server import Server

    with Server(Echo, Tcp(HOST, 0)) as server:
        announce(server.address[1])
        server.run()


async def serve_protocol() -> None:
    server = await asyncio.get_running_loop().create_server(Echo, HOST, 0, backlog=1024)  # type: ignore[arg-type]
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


async def serve_streams() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, HOST, 0, backlog=1024)
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def asyncio_protocol() -> None:
    asyncio.run(serve_protocol())


def asyncio_streams() -> None:
    asyncio.run(serve_streams())


def uvloop_protocol() -> None:
    import uvloop

    uvloop.run(serve_protocol())


def raw_epoll() -> None:
    """The floor in Python: a loop that does nothing but echo, with no server around it."""
    import select

    listener = socket.create_server((HOST, 0), backlog=1024)
    announce(listener.getsockname()[1])
    poller, peers = select.epoll(), {}
    poller.register(listener.fileno(), 1)
    while True:
        for fd, _ in poller.poll():
            if fd == listener.fileno():
                peer, _ = listener.accept()
                peer.setblocking(False)
                peers[peer.fileno()] = [peer, b""]
                poller.register(peer.fileno(), 1)
                continue
            entry = peers[fd]
            try:
                if not entry[1]:
                    entry[1] = entry[0].recv(65536)
                    if not entry[1]:
                        poller.unregister(fd)
                        peers.pop(fd)[0].close()
                        continue
                entry[1] = entry[1][entry[0].send(entry[1]) :]
            except BlockingIOError:
                pass
            except OSError:
                poller.unregister(fd)
                peers.pop(fd)[0].close()
                continue
            poller.modify(fd, 4 if entry[1] else 1) if len(entry) == 3 or entry[1] else None
            if entry[1]:
                entry[2:] = [True]
            elif len(entry) == 3:
                poller.modify(fd, 1)
                del entry[2]


SERVERS = {
    "fsmserver": fsmserver,
    "asyncio Protocol": asyncio_protocol,
    "asyncio streams": asyncio_streams,
    "uvloop Protocol": uvloop_protocol,
    "raw epoll": raw_epoll,
}

if __name__ == "__main__":
    SERVERS[sys.argv[1]]()
