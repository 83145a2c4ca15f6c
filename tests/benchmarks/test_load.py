"""The load generator compares every byte: an honest server gets through, and each kind of liar is found."""

import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from benchmarks.build import built

pytestmark = [pytest.mark.network, pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")]

Answer = Callable[[list[socket.socket], int, bytes], None]
"""What a server does when `data` came from the peer of that number."""

PATIENCE_S = 30


@pytest.fixture(scope="module")
def load() -> Iterator[str]:
    with built("load") as paths:
        yield paths["load"]


@contextmanager
def serving(answer: Answer) -> Iterator[int]:
    """Serve on a port until the end of the block, each connection in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    peers: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def serve(number: int) -> None:
        try:
            while data := peers[number].recv(65536):
                answer(peers, number, data)
        except OSError:
            pass
        finally:
            peers[number].close()

    def accept() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            peers.append(peer)
            threads.append(threading.Thread(target=serve, args=(len(peers) - 1,)))
            threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join(PATIENCE_S)
        listener.close()
        for thread in threads:
            thread.join(PATIENCE_S)


def run(load: str, answer: Answer, *arguments: int, slices: str = "10 1\n") -> subprocess.CompletedProcess[str]:
    with serving(answer) as port:
        words = [load, str(port), *map(str, arguments)]
        return subprocess.run(words, input=slices, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def echo(peers: list[socket.socket], number: int, data: bytes) -> None:
    peers[number].sendall(data)


def false_byte(peers: list[socket.socket], number: int, data: bytes) -> None:
    peers[number].sendall(data[:-1] + bytes([data[-1] ^ 1]))


def twice(peers: list[socket.socket], number: int, data: bytes) -> None:
    peers[number].sendall(data + data)


class Mixed:
    """Gives each of two peers what the other sent."""

    def __init__(self) -> None:
        self.letters: dict[int, bytes] = {}
        self.lock = threading.Lock()

    def __call__(self, peers: list[socket.socket], number: int, data: bytes) -> None:
        with self.lock:
            self.letters[number] = data
            if len(self.letters) == 2:
                for who, letter in self.letters.items():
                    peers[1 - who].sendall(letter)


def hang_up(peers: list[socket.socket], number: int, data: bytes) -> None:
    del data
    peers[number].shutdown(socket.SHUT_RDWR)


def swapped(peers: list[socket.socket], number: int, data: bytes) -> None:
    peers[number].sendall(data[64:] + data[:64])


@pytest.mark.parametrize(
    "arguments",
    [(3, 64, 1, 0, 0, 0), (2, 64, 4, 0, 0, 0), (1, 65536, 1, 0, 0, 0), (2, 64, 1, 5, 0, 0), (2, 64, 1, 0, 1, 0), (2, 64, 1, 0, 0, 1)],
    ids=["ping-pong", "outstanding", "large", "idle beside", "connect, message, close", "firehose beside"],
)
def test_an_honest_server_gets_through(load: str, arguments: tuple[int, ...]) -> None:
    result = run(load, echo, *arguments)
    assert result.returncode == 0, result.stderr
    ready, figures = result.stdout.splitlines()
    assert ready == "ready"
    assert int(figures.split()[0]) > 0


def test_each_message_of_a_ping_pong_has_its_latency(load: str) -> None:
    messages, _, _, *buckets = run(load, echo, 2, 64, 1, 0, 0, 0).stdout.splitlines()[1].split()
    assert sum(int(each.split(":")[1]) for each in buckets) == int(messages)


def test_the_end_of_the_input_ends_it_without_a_slice(load: str) -> None:
    result = run(load, echo, 1, 64, 1, 0, 0, 0, slices="")
    assert (result.returncode, result.stdout) == (0, "ready\n")


@pytest.mark.parametrize(
    ("liar", "arguments", "words"),
    [
        (false_byte, (1, 64, 1, 0, 0, 0), "an echo is wrong"),
        (Mixed(), (2, 64, 1, 0, 0, 0), "an echo is wrong"),
        (swapped, (1, 64, 2, 0, 0, 0), "an echo is wrong"),
        (twice, (1, 64, 1, 0, 0, 0), "more comes back than was sent"),
        (hang_up, (1, 64, 1, 0, 0, 0), "the server ended a connection"),
    ],
)
def test_a_liar_is_found(load: str, liar: Answer, arguments: tuple[int, ...], words: str) -> None:
    result = run(load, liar, *arguments)
    assert result.returncode == 1
    assert words in result.stderr
