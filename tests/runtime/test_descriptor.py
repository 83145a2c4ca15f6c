"""What accept gives is as good as a socket, costs none until one is asked for, and is closed once."""

import os
import socket
from collections.abc import Iterator

import pytest

from fsmserver.runtime.descriptor import Descriptor

pytestmark = pytest.mark.network


@pytest.fixture
def pair() -> Iterator[tuple[Descriptor, socket.socket]]:
    near, far = socket.socketpair()
    made_of = int(near.family), int(near.type), near.proto
    descriptor = Descriptor(near.detach(), made_of)
    descriptor.setblocking(False)
    with far:
        yield descriptor, far
        descriptor.close()


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_bytes_go_both_ways_without_a_socket(pair: tuple[Descriptor, socket.socket]) -> None:
    near, far = pair
    with pytest.raises(BlockingIOError):
        near.recv(10)
    assert near.send(b"ab") == 2
    assert near.sendmsg([b"c", memoryview(b"de")]) == 3
    assert far.recv(10) == b"abcde"
    far.sendall(b"answer")
    assert near.recv(3) == b"ans"
    assert near._whole is None
    assert repr(near) == f"<Descriptor {near.fileno()}>"


def test_what_takes_flags_or_options_is_done_by_the_whole_socket(pair: tuple[Descriptor, socket.socket]) -> None:
    near, far = pair
    far.sendall(b"answer")
    assert near.recv(3, socket.MSG_PEEK) == b"ans"
    buffer = bytearray(10)
    assert near.recv_into(buffer, 4) == 4
    assert buffer.startswith(b"answ")
    assert near.send(b"x", socket.MSG_DONTWAIT) == 1
    near.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    assert near.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert near.getsockname() == far.getpeername()
    near.shutdown(socket.SHUT_WR)
    assert far.recv(10) == b"x"
    assert far.recv(10) == b""


def test_the_whole_socket_does_not_block_and_is_made_once(pair: tuple[Descriptor, socket.socket]) -> None:
    near, far = pair
    whole = near.whole()
    assert whole is near.whole()
    assert type(whole) is socket.socket
    assert (whole.family, whole.type, whole.proto) == (far.family, far.type, far.proto)
    assert whole.fileno() == near.fileno()
    with pytest.raises(BlockingIOError):
        whole.recv(1)


@pytest.mark.parametrize("asked", [False, True])
def test_it_is_closed_once_however_often_it_is_said(pair: tuple[Descriptor, socket.socket], asked: bool) -> None:
    near, _ = pair
    fd = near.fileno()
    if asked:
        near.whole()
    near.close()
    assert near.fileno() == -1
    assert not is_open(fd)
    other = os.open(os.devnull, os.O_RDONLY)  # the number is another's now
    try:
        near.close()
        assert other == fd
        assert is_open(fd)
    finally:
        os.close(other)


def test_who_closes_the_whole_socket_has_closed_it(pair: tuple[Descriptor, socket.socket]) -> None:
    near, _ = pair
    near.whole().close()
    assert near.fileno() == -1
    near.close()


@pytest.mark.parametrize("asked", [False, True])
def test_a_detached_one_is_open_and_somebody_elses(pair: tuple[Descriptor, socket.socket], asked: bool) -> None:
    near, _ = pair
    if asked:
        near.whole()
    fd = near.detach()
    near.close()
    assert near.fileno() == -1
    assert is_open(fd)
    os.close(fd)


def test_one_that_nobody_has_closed_is_closed_with_a_warning() -> None:
    near, far = socket.socketpair()
    with far:
        descriptor = Descriptor(near.detach(), (int(far.family), int(far.type), far.proto))
        fd = descriptor.fileno()
        with pytest.warns(ResourceWarning, match=f"unclosed <Descriptor {fd}>"):
            del descriptor
        assert not is_open(fd)
