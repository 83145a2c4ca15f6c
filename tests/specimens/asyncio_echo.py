"""Echo servers on asyncio: on streams, on a protocol that minds its buffer, and on the protocol that everybody writes."""

import asyncio
from typing import cast


async def echo_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(4096):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # the peer has gone
    finally:
        writer.close()


class Echo(asyncio.Protocol):
    """Writes what comes, however much the transport holds already."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class MindfulEcho(Echo):
    """Reads no more while the transport is full."""

    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()


async def serve_streams(host: str, port: int) -> None:
    server = await asyncio.start_server(echo_stream, host, port)
    await server.serve_forever()


async def serve_protocol(host: str, port: int, protocol: type[asyncio.Protocol]) -> None:
    server = await asyncio.get_running_loop().create_server(protocol, host, port)
    await server.serve_forever()
