"""The interactive client: standard input and the socket in one select loop, both ways, without threads.

It is an embedding of `ConnectionFSM` too: the machine keeps what is not sent, and says what to wait for.
"""

import os
import select
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from fsmserver.core.connection import ConnectionFSM
from fsmserver.runtime.link import address_words

PIECE_BYTES: Final = 64 * 1024


class StreamFailed(Exception):
    """Standard input or output failed, not the server; the sentence says which and how."""


def run_client(host: str, port: int) -> int:
    """Talk until the server has said its last word; give the exit code: 1 if the server went first."""
    try:
        sock = socket.create_connection((host, port))
    except (OSError, UnicodeError) as error:  # UnicodeError: no host can have such a name
        sys.stderr.write(f"fsmserver: cannot connect to {address_words((host, port))}: {getattr(error, 'strerror', None) or error}\n")
        return 1
    with sock:
        sock.setblocking(False)
        try:
            return talk(sock, sys.stdin.fileno(), sys.stdout.fileno())
        except StreamFailed as error:
            sys.stderr.write(f"fsmserver: {error}\n")
            return 1
        except OSError:
            return server_down()


def talk(sock: socket.socket, source: int, sink: int) -> int:
    """Pass bytes both ways; the end of `source` ends our direction, and we go on listening.

    Raises:
        OSError: the connection failed.
        StreamFailed: `source` cannot be read, or `sink` takes no more.

    """
    fsm = ConnectionFSM()
    fsm.open()
    while not fsm.closed:
        asking = not fsm.outbox.sealed and not fsm.outbox  # more is read when all is sent: the bound of what we hold
        inputs: list[socket.socket | int] = [sock, source] if asking else [sock]
        readable, writable, _ = select.select(inputs, [sock] if fsm.wants_write else [], [])
        if source in readable:
            with failing_as("standard input"):
                data = os.read(source, PIECE_BYTES)
            _take(fsm, data)
        if writable:
            _offer(fsm, sock)
        if fsm.wants_fin:
            sock.shutdown(socket.SHUT_WR)
            fsm.fin_sent()
        if sock in readable:
            reply = _receive(sock)
            if reply == b"":
                if not fsm.outbox.sealed:
                    return server_down()
                fsm.eof()
            elif reply:
                fsm.receive(reply)
                _print(sink, reply)
    return 0


def _take(fsm: ConnectionFSM, data: bytes) -> None:
    if data:
        fsm.enqueue(data)
    else:
        fsm.write_eof()


def _offer(fsm: ConnectionFSM, sock: socket.socket) -> None:
    chunks = fsm.flush()
    try:
        fsm.sent(sock.send(chunks[0]))
    except BlockingIOError:
        fsm.sent(0)


def _receive(sock: socket.socket) -> bytes | None:
    try:
        return sock.recv(PIECE_BYTES)
    except BlockingIOError:
        return None


def _print(sink: int, data: bytes) -> None:
    view = memoryview(data)
    with failing_as("standard output"):
        while view:
            view = view[os.write(sink, view) :]


@contextmanager
def failing_as(name: str) -> Iterator[None]:
    """Tell the failure of a standard stream from a failure of the connection."""
    try:
        yield
    except OSError as error:
        raise StreamFailed(f"{name}: {error.strerror}") from error


def server_down() -> int:
    """Say that the server went first."""
    sys.stderr.write("Server Down!\n")
    return 1
