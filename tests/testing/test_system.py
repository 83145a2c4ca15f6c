"""The module `select` of the simulated kernel: sets, bits, waits, errors."""

import errno
import select
import socket
from typing import Any

import pytest

from fsmserver.testing.faults import Delay, Fault
from fsmserver.testing.kernel import HOME, SimKernel
from fsmserver.testing.sockets import SimSocket
from fsmserver.testing.stream import ERR, HUP, IN, NVAL, OUT, PRI, RDHUP, Stream
from fsmserver.testing.system import FD_SETSIZE, WaitsForEver, whole_milliseconds


def raises(number: int) -> Any:
    return pytest.raises(OSError, match=rf"\[Errno {number}\]")


@pytest.fixture
def kernel() -> SimKernel:
    return SimKernel(send_room_bytes=50, receive_room_bytes=50)


@pytest.fixture
def pairs(kernel: SimKernel) -> list[tuple[SimSocket, Stream]]:
    """Three sockets (descriptors 4 to 6) and their peers."""
    listening = kernel.listen(HOME)
    made = []
    for _ in range(3):
        peer = kernel.connect(HOME)
        made.append((listening.accept()[0], peer))
    return made


class Delivered:
    """Sends something after so many looks at a wait that found nothing."""

    def __init__(self, peer: Stream, looks: int) -> None:
        self.peer, self.left = peer, looks

    def __call__(self) -> bool:
        self.left -= 1
        if self.left == 0:
            self.peer.send(b"x")
        return self.left >= 0


@pytest.mark.parametrize("name", ["POLLIN", "POLLPRI", "POLLOUT", "POLLERR", "POLLHUP", "POLLNVAL", "POLLRDHUP", "EPOLLIN", "EPOLLOUT",
                                  "EPOLLPRI", "EPOLLERR", "EPOLLHUP", "EPOLLRDHUP", "EPOLLET", "EPOLLONESHOT", "EPOLLEXCLUSIVE",
                                  "EPOLL_CLOEXEC", "PIPE_BUF"])  # fmt: skip
def test_the_constants_are_the_systems_own(kernel: SimKernel, name: str) -> None:
    real = getattr(select, name, None)
    if real is None:
        pytest.skip(f"this system has no {name}")
    assert getattr(kernel.system, name) & 0xFFFFFFFF == real & 0xFFFFFFFF


@pytest.mark.parametrize(("seconds", "milliseconds"), [(0.0, 0), (1e-12, 1), (0.001, 1), (0.0010001, 2), (0.1 + 0.2, 300), (5, 5000)])
def test_waits_are_rounded_up_to_whole_milliseconds(seconds: float, milliseconds: int) -> None:
    assert whole_milliseconds(seconds) == milliseconds


# Waiting.


@pytest.mark.parametrize("timeout_s", [0, 1.5])
def test_a_wait_for_nothing_ends_when_its_time_is_up(kernel: SimKernel, timeout_s: float) -> None:
    before_s = kernel.clock()
    assert kernel.system.select([], [], [], timeout_s) == ([], [], [])
    assert kernel.clock() == before_s + timeout_s


def test_a_wait_ends_when_something_arrives(kernel: SimKernel, pairs: list[tuple[SimSocket, Stream]]) -> None:
    (sock, peer), *_ = pairs
    kernel.inject(Fault("deliver", Delay(0.25)))
    peer.send(b"x")
    before_s = kernel.clock()
    assert kernel.system.select([sock], [], [], 10) == ([sock], [], [])
    assert kernel.clock() == before_s + 0.25


def test_a_wait_ends_before_what_arrives_later(kernel: SimKernel, pairs: list[tuple[SimSocket, Stream]]) -> None:
    (sock, peer), *_ = pairs
    kernel.inject(Fault("deliver", Delay(0.25)))
    peer.send(b"x")
    assert kernel.system.select([sock], [], [], 0.2) == ([], [], [])


def test_a_wait_without_limit_for_what_never_comes_is_an_error(kernel: SimKernel) -> None:
    with pytest.raises(WaitsForEver, match="nothing is ready, nothing is under way, and the wait has no limit"):
        kernel.system.select([], [], [])


def test_a_wait_without_limit_lasts_until_something_comes(kernel: SimKernel, pairs: list[tuple[SimSocket, Stream]]) -> None:
    (sock, peer), *_ = pairs
    kernel.inject(Fault("deliver", Delay(100)))
    peer.send(b"x")
    assert kernel.system.select([sock], [], []) == ([sock], [], [])


def test_who_drives_the_peers_is_asked_before_each_wait(kernel: SimKernel, pairs: list[tuple[SimSocket, Stream]]) -> None:
    (sock, peer), *_ = pairs
    kernel.system.before_wait = lambda: peer.send(b"x")
    assert kernel.system.select([sock], [], [], 0) == ([sock], [], [])


def test_who_is_to_act_when_nothing_is_ready_is_asked_until_it_has_nothing_to_do(
    kernel: SimKernel, pairs: list[tuple[SimSocket, Stream]]
) -> None:
    (sock, peer), *_ = pairs
    before_s = kernel.clock()
    kernel.system.when_idle = Delivered(peer, looks=3)
    assert kernel.system.select([sock], [], [], 10) == ([sock], [], [])
    assert kernel.clock() == before_s
    sock.recv(1)
    assert kernel.system.select([sock], [], [], 10) == ([], [], [])


# select.


def test_select_sorts_by_what_is_ready_in_the_order_it_was_asked(kernel: SimKernel, pairs: list[tuple[SimSocket, Stream]]) -> None:
    (first, _), (second, peer), (third, another) = pairs
    peer.send(b"x!", urgent=True)
    another.send(bytes(50))
    third.send(bytes(100))
    socks = [third, first, second]
    assert kernel.system.select(socks, socks, socks, 0) == ([third, second], [first, second], [second])
    fds = [sock.fileno() for sock in socks]
    assert kernel.system.select(fds, fds, fds, 0) == ([fds[0], fds[2]], fds[1:], [fds[2]])


def test_select_reports_an_end_as_readable_and_an_error_as_both(kernel: SimKernel, pairs: list[tuple[SimSocket, Stream]]) -> None:
    (first, peer), (second, another), _ = pairs
    first.send(bytes(100))
    peer.shutdown(socket.SHUT_WR)
    second.send(bytes(100))
    another.reset()
    socks = [first, second]
    assert kernel.system.select(socks, socks, socks, 0) == (socks, [second], [])


def test_select_refuses_what_is_not_open(kernel: SimKernel) -> None:
    sock = kernel.open_socket()
    fd = sock.fileno()
    sock.close()
    with raises(errno.EBADF):
        kernel.system.select([fd], [], [], 0)
    with pytest.raises(ValueError, match=r"file descriptor cannot be a negative integer \(-1\)"):
        kernel.system.select([], [sock], [], 0)
    with pytest.raises(ValueError, match="timeout must be non-negative"):
        kernel.system.select([], [], [], -1)


def test_select_cannot_see_high_descriptors() -> None:
    kernel = SimKernel(first_descriptor=FD_SETSIZE - 1, descriptors=2 * FD_SETSIZE)
    low, high = kernel.open_socket(), kernel.open_socket()
    assert kernel.system.select([low.fileno()], [], [], 0) == ([low.fileno()], [], [])
    for things in ([low.fileno(), high.fileno()], [high], [5000]):
        with pytest.raises(ValueError, match=r"filedescriptor out of range in select\(\)"):
            kernel.system.select(things, [], [], 0)


# poll.


def test_poll_reports_what_was_asked_for_and_what_always_is(kernel: SimKernel, pairs: list[tuple[SimSocket, Stream]]) -> None:
    (first, peer), (second, another), (third, _) = pairs
    peer.close()
    another.reset()
    poll = kernel.system.poll()
    poll.register(third, OUT)
    poll.register(second, 0)
    poll.register(first, RDHUP)
    assert poll.poll(0) == [(first.fileno(), RDHUP), (second.fileno(), ERR | HUP), (third.fileno(), OUT)]
    poll.modify(third, PRI)
    poll.unregister(first)
    assert poll.poll(0) == [(second.fileno(), ERR | HUP)]


def test_poll_says_of_a_closed_descriptor_that_it_is_none(kernel: SimKernel, pairs: list[tuple[SimSocket, Stream]]) -> None:
    (sock, _), *_ = pairs
    poll = kernel.system.poll()
    poll.register(sock)
    fd = sock.fileno()
    sock.close()
    assert poll.poll(0) == [(fd, NVAL)]
    kernel.report_falsely(99, IN)
    assert poll.poll(0) == [(fd, NVAL)]


def test_poll_knows_what_it_does_not_watch(kernel: SimKernel) -> None:
    poll = kernel.system.poll()
    with raises(errno.ENOENT):
        poll.modify(3, IN)
    with pytest.raises(KeyError):
        poll.unregister(3)


@pytest.mark.parametrize("timeout_ms", [None, -1])
def test_poll_waits_without_limit_where_none_is_given(kernel: SimKernel, timeout_ms: float | None) -> None:
    with pytest.raises(WaitsForEver):
        kernel.system.poll().poll(timeout_ms)


def test_poll_waits_for_milliseconds(kernel: SimKernel) -> None:
    before_s = kernel.clock()
    assert kernel.system.poll().poll(1500) == []
    assert kernel.clock() == before_s + 1.5


# epoll.


def test_an_epoll_set_has_a_descriptor_of_its_own_until_it_is_closed(kernel: SimKernel) -> None:
    with kernel.system.epoll(sizehint=5) as epoll:
        assert (epoll.fileno(), epoll.closed, list(kernel.open)) == (3, False, [3])
    epoll.close()
    assert (epoll.closed, kernel.open, kernel.watchers) == (True, {}, [])
    for call in (epoll.fileno, epoll.poll, lambda: epoll.register(3)):
        with pytest.raises(ValueError, match="I/O operation on closed epoll object"):
            call()


def test_an_epoll_set_reports_what_is_in_it(kernel: SimKernel, pairs: list[tuple[SimSocket, Stream]]) -> None:
    (first, peer), (second, _), _ = pairs
    epoll = kernel.system.epoll()
    epoll.register(first, IN)
    epoll.register(second, IN)
    assert epoll.watched == {first.fileno(): IN, second.fileno(): IN}
    peer.send(b"x")
    assert epoll.poll(0) == [(first.fileno(), IN)]
    epoll.modify(first, OUT)
    assert epoll.poll(0) == [(first.fileno(), OUT)]
    epoll.unregister(first)
    assert epoll.poll(0) == []


def test_an_epoll_set_begins_each_report_one_place_further_on(kernel: SimKernel, pairs: list[tuple[SimSocket, Stream]]) -> None:
    epoll = kernel.system.epoll()
    for sock, _ in pairs:
        epoll.register(sock, OUT)
    reports = [[fd for fd, _ in epoll.poll(0)] for _ in range(4)]
    assert reports == [[5, 6, 4], [6, 4, 5], [4, 5, 6], [5, 6, 4]]
    assert [fd for fd, _ in epoll.poll(0, 1)] == [6]


@pytest.mark.parametrize("most", [0, -2])
def test_an_epoll_wait_wants_room_for_a_report(kernel: SimKernel, most: int) -> None:
    with pytest.raises(ValueError, match=f"maxevents must be greater than 0, got {most}"):
        kernel.system.epoll().poll(0, most)


def test_an_epoll_set_has_everything_once(kernel: SimKernel, pairs: list[tuple[SimSocket, Stream]]) -> None:
    (sock, _), *_ = pairs
    epoll = kernel.system.epoll()
    with raises(errno.ENOENT):
        epoll.modify(sock, IN)
    with raises(errno.ENOENT):
        epoll.unregister(sock)
    epoll.register(sock)
    with raises(errno.EEXIST):
        epoll.register(sock)
    with raises(errno.EINVAL):
        epoll.register(epoll)


def test_a_closed_descriptor_leaves_the_epoll_set_and_its_number_is_a_stranger(
    kernel: SimKernel, pairs: list[tuple[SimSocket, Stream]]
) -> None:
    (sock, peer), *_ = pairs
    epoll = kernel.system.epoll()
    fd = sock.fileno()
    epoll.register(sock, IN)
    peer.send(b"x")
    sock.close()
    assert epoll.poll(0) == []
    with raises(errno.EBADF):
        epoll.unregister(fd)
    assert kernel.open_socket().fileno() == fd
    with raises(errno.ENOENT):
        epoll.unregister(fd)


def test_an_epoll_set_in_another_is_readable_when_something_in_it_is_ready(
    kernel: SimKernel, pairs: list[tuple[SimSocket, Stream]]
) -> None:
    (sock, peer), *_ = pairs
    inner, outer = kernel.system.epoll(), kernel.system.epoll()
    inner.register(sock, IN)
    outer.register(inner, IN)
    assert outer.poll(0) == []
    peer.send(b"x")
    assert outer.poll(0) == [(inner.fileno(), IN)]


@pytest.mark.parametrize("flag", ["EPOLLET", "EPOLLONESHOT"])
def test_what_is_not_simulated_says_so(kernel: SimKernel, flag: str) -> None:
    sock = kernel.open_socket()
    with pytest.raises(NotImplementedError, match="level-triggered"):
        kernel.system.epoll().register(sock, IN | getattr(kernel.system, flag))


# What is reported falsely, or late.


@pytest.mark.parametrize("watched", [True, False])
def test_a_false_report_is_made_once_and_only_of_what_is_watched(
    kernel: SimKernel, pairs: list[tuple[SimSocket, Stream]], watched: bool
) -> None:
    (sock, _), *_ = pairs
    epoll = kernel.system.epoll()
    epoll.register(sock, IN if watched else PRI)
    kernel.report_falsely(sock.fileno(), IN)
    assert epoll.poll(0) == ([(sock.fileno(), IN)] if watched else [])
    assert epoll.poll(0) == []


def test_what_is_withheld_is_reported_later_once_for_all(kernel: SimKernel, pairs: list[tuple[SimSocket, Stream]]) -> None:
    (sock, peer), (other, _), _ = pairs
    epoll = kernel.system.epoll()
    epoll.register(sock, IN | OUT)
    epoll.register(other, OUT)
    peer.send(b"x")
    kernel.withhold(sock.fileno(), IN, 1.0)
    assert epoll.poll(0) == [(other.fileno(), OUT), (sock.fileno(), OUT)]
    epoll.unregister(other)
    kernel.withhold(sock.fileno(), OUT, 0.5)
    before_s = kernel.clock()
    assert epoll.poll(5) == [(sock.fileno(), IN | OUT)]
    assert kernel.clock() == before_s + 1.0


def test_the_death_of_a_peer_is_never_withheld(kernel: SimKernel, pairs: list[tuple[SimSocket, Stream]]) -> None:
    (sock, peer), *_ = pairs
    poll = kernel.system.poll()
    poll.register(sock, IN)
    kernel.withhold(sock.fileno(), IN, 1.0)
    peer.reset()
    assert poll.poll(0) == [(sock.fileno(), IN | ERR | HUP)]
