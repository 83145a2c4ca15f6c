"""Each served example does what its docstring says, on real sockets."""

import runpy
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import fsmserver
from fsmserver.runtime.binding import Tcp

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

pytestmark = [pytest.mark.slow, pytest.mark.network]


@contextmanager
def running(name: str, *arguments: str) -> Iterator[int]:
    """Run an example on a port of the system's choice; it must end by itself, with 0, on SIGTERM."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / name), "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=30)
            assert process.returncode == 0, errors
        finally:
            process.kill()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def receive(client: socket.socket, wanted: bytes) -> None:
    got = b""
    while len(got) < len(wanted) and (data := client.recv(len(wanted) - len(got))):
        got += data
    assert got == wanted


def test_echo_gives_back_what_came() -> None:
    with running("echo.py") as port, connect(port) as client:
        client.sendall(b"x" * 100_000)
        client.shutdown(socket.SHUT_WR)
        receive(client, b"x" * 100_000)
        assert client.recv(1) == b""


def test_chat_gives_a_line_to_all_others_and_only_when_it_is_whole() -> None:
    with running("chat.py") as port, connect(port) as ann, connect(port) as bob, connect(port) as eve:
        for client in (ann, bob, eve):
            receive(client, b"welcome\n")
        ann.sendall(b"hel")
        bob.sendall(b"from bob\n")
        receive(ann, b"from bob\n")
        ann.sendall(b"lo\n")
        receive(eve, b"from bob\nhello\n")
        receive(bob, b"hello\n")


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_chat_says_goodbye_to_a_line_without_bound(end: bytes) -> None:
    with running("chat.py") as port, connect(port) as client:
        client.sendall(b"x" * 1001 + end)
        receive(client, b"welcome\nthat line is too long; goodbye\n")
        assert client.recv(1) == b""


def test_slow_work_stops_nobody_else() -> None:
    gate = threading.Event()  # the work ends when the test says so, however slow the machine is

    def work() -> bytes:
        assert gate.wait(30)
        return b"done\n"

    example = runpy.run_path(str(EXAMPLES / "slow_work.py"))
    example["Slow"].data_received.__globals__["work"] = work
    with fsmserver.Server(example["Slow"], Tcp("127.0.0.1", 0)) as server:
        assert isinstance(server.address, tuple)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            with connect(server.address[1]) as busy, connect(server.address[1]) as other:
                busy.sendall(b"work")
                for _ in range(3):
                    other.sendall(b"at once")
                    receive(other, b"at once")
                gate.set()
                receive(busy, b"done\n")
        finally:
            gate.set()
            server.stop()
            thread.join(30)
    assert not thread.is_alive()


def test_slow_work_is_done_in_the_end() -> None:
    with running("slow_work.py", "0.01") as port, connect(port) as busy:
        busy.sendall(b"work")
        receive(busy, b"done\n")


def test_timers_tick_three_times_and_close() -> None:
    with running("timers.py") as port, connect(port) as client:
        receive(client, b"tick\n" * 3)
        assert client.recv(1) == b""
