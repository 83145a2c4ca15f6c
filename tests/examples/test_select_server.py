"""The 40-line embedding serves alone."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "select_server.py"


@pytest.fixture
def port() -> Iterator[int]:
    with subprocess.Popen([sys.executable, str(EXAMPLE), "0"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


def receive_all(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(1 << 16), b""))


@pytest.mark.slow
@pytest.mark.network
def test_it_echoes_what_came_before_a_half_close(port: int) -> None:
    for size_bytes in (0, 5, 200_000):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(b"x" * size_bytes)
            client.shutdown(socket.SHUT_WR)
            assert receive_all(client) == b"x" * size_bytes


@pytest.mark.slow
@pytest.mark.network
def test_it_outlives_a_reset(port: int) -> None:
    for _ in range(5):
        client = socket.create_connection(("127.0.0.1", port), timeout=10)
        client.sendall(b"x" * 1000)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"still there")
        assert client.recv(100) == b"still there"


def test_it_uses_nothing_of_the_package_but_the_machine_and_has_no_more_than_forty_lines_of_code() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    assert re.findall(r"^(?:from|import) fsmserver.*", text, flags=re.MULTILINE) == ["from fsmserver import ConnectionFSM"]
    assert len([line for line in text.splitlines() if line.strip()]) <= 41, "40 lines and the docstring"
