"""The simulated kernel itself: time, descriptors, who listens, who connects, faults."""

import errno
from typing import Any

import pytest

from fsmserver.runtime.listener import Listener
from fsmserver.runtime.pollers import make_poller
from fsmserver.runtime.scheduler import Scheduler
from fsmserver.runtime.waker import SocketWaker
from fsmserver.testing.faults import Call, Delay, Fail, Fault, Short, Verdict
from fsmserver.testing.kernel import HOME, SimKernel
from fsmserver.testing.stream import IN


class Moment:
    """Notes when it came."""

    def __init__(self, kernel: SimKernel, name: str, came: list[tuple[str, int]]) -> None:
        self.kernel, self.name, self.came = kernel, name, came

    def release(self) -> None:
        self.came.append((self.name, self.kernel.now_us))


class Echo:
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


def raises(number: int) -> Any:
    return pytest.raises(OSError, match=rf"\[Errno {number}\]")


@pytest.fixture
def kernel() -> SimKernel:
    return SimKernel()


@pytest.mark.parametrize("poller", ["select", "poll", "epoll"])
def test_the_shipped_scheduler_serves_on_it_unchanged(kernel: SimKernel, poller: str) -> None:
    scheduler = Scheduler(poller=make_poller(poller, kernel.system), clock=kernel.clock, waker=SocketWaker(kernel.socketpair), calls=kernel)
    scheduler.listen(Listener(scheduler, kernel.listen(), Echo))
    peer = kernel.connect()
    peer.send(b"hello")
    scheduler.round(0)
    scheduler.round(0)
    assert peer.recv(100) == b"hello"
    scheduler.close()
    assert kernel.open == {}


# Time.


def test_time_passes_only_when_it_is_asked_to(kernel: SimKernel) -> None:
    before_s = kernel.clock()
    kernel.advance(1.5)
    assert kernel.clock() == before_s + 1.5


def test_what_is_due_on_the_way_happens_at_its_moment_and_in_order(kernel: SimKernel) -> None:
    came: list[tuple[str, int]] = []
    begin_us = kernel.now_us
    for name, seconds in (("late", 0.2), ("soon", 0.1), ("as soon", 0.1), ("too late", 0.4)):
        kernel.later(seconds, Moment(kernel, name, came))
    assert kernel.next_event_us() == begin_us + 100_000
    kernel.advance(0.3)
    assert came == [("soon", begin_us + 100_000), ("as soon", begin_us + 100_000), ("late", begin_us + 200_000)]
    assert kernel.now_us == begin_us + 300_000


def test_nothing_is_under_way_at_first(kernel: SimKernel) -> None:
    assert kernel.next_event_us() is None


# Descriptors.


def test_the_lowest_free_number_is_the_next(kernel: SimKernel) -> None:
    socks = [kernel.open_socket() for _ in range(4)]
    assert [sock.fileno() for sock in socks] == [3, 4, 5, 6]
    for place in (2, 0):
        socks[place].close()
    assert [kernel.open_socket().fileno() for _ in range(3)] == [3, 5, 7]


def test_there_are_no_more_descriptors_than_the_limit() -> None:
    kernel = SimKernel(descriptors=5)
    socks = [kernel.open_socket(), kernel.open_socket()]
    assert not kernel.has_descriptor
    for call in (kernel.open_socket, kernel.system.epoll):
        with raises(errno.EMFILE):
            call()
    socks[0].close()
    assert kernel.open_socket().fileno() == 3


def test_a_limit_that_falls_leaves_what_is_open_and_what_is_free_below_it(kernel: SimKernel) -> None:
    socks = [kernel.open_socket() for _ in range(4)]
    socks[0].close()
    kernel.descriptors = 5
    assert kernel.open_socket().fileno() == 3
    with raises(errno.EMFILE):
        kernel.open_socket()


def test_a_number_that_is_not_open_has_no_readiness(kernel: SimKernel) -> None:
    assert kernel.readiness(77) is None


def test_a_number_that_is_given_back_takes_what_was_said_of_it_along(kernel: SimKernel) -> None:
    kernel.listen()
    peer = kernel.connect()
    sock = kernel.open_socket()
    fd = sock.fileno()
    kernel.report_falsely(fd, IN)
    kernel.withhold(fd, IN, 1.0)
    sock.close()
    assert (kernel.spurious, kernel.withheld) == ({}, {})
    kernel.withhold(fd, IN, 2.0)
    kernel.advance(1.5)  # the first veil has an end too, and it is not that of the second
    assert fd in kernel.withheld
    kernel.advance(0.5)
    assert kernel.withheld == {}
    assert peer.over is False


# Who listens, who connects.


def test_each_peer_has_a_name_of_its_own(kernel: SimKernel) -> None:
    listening = kernel.listen()
    names = [kernel.connect().local, kernel.connect(name=("192.0.2.77", 5)).local, kernel.connect().local]
    assert [listening.accept()[1] for _ in names] == names
    assert names[1] == ("192.0.2.77", 5)
    assert names[0] != names[2]


def test_a_peer_can_have_buffers_of_its_own(kernel: SimKernel) -> None:
    kernel.listen()
    peer = kernel.connect(send_room_bytes=3, receive_room_bytes=4)
    assert (peer.send_room_bytes, peer.receive_room_bytes, peer.peer.send_room_bytes) == (3, 4, kernel.send_room_bytes)


def test_nobody_can_connect_where_nobody_listens(kernel: SimKernel) -> None:
    with raises(errno.ECONNREFUSED):
        kernel.connect()


def test_a_full_backlog_lets_the_next_one_in_when_one_is_taken_out(kernel: SimKernel) -> None:
    listening = kernel.listen(backlog=1)
    peers = [kernel.connect() for _ in range(4)]
    assert listening.queue is not None
    assert (listening.queue.full, len(listening.queue.backlog), len(listening.queue.waiting)) == (True, 2, 2)
    taken = [listening.accept()[0].stream for _ in peers]
    assert taken == [peer.peer for peer in peers]
    assert not listening.queue.full


def test_who_waits_is_reset_when_the_listener_closes(kernel: SimKernel) -> None:
    listening = kernel.listen(backlog=0)
    peers = [kernel.connect() for _ in range(2)]
    listening.close()
    assert [peer.error for peer in peers] == [errno.ECONNRESET, errno.ECONNRESET]
    kernel.listen()


def test_unbinding_twice_leaves_the_newcomer_listening(kernel: SimKernel) -> None:
    first = kernel.listen()
    assert first.queue is not None
    kernel.unbind(first.queue)
    kernel.listen()
    first.close()
    assert HOME in kernel.ports


def test_a_pair_of_sockets_is_connected(kernel: SimKernel) -> None:
    near, far = kernel.socketpair()
    near.send(b"x")
    assert far.recv(10) == b"x"
    assert kernel.connections == []


# Faults.


def test_the_first_rule_that_has_a_verdict_wins(kernel: SimKernel) -> None:
    asked: list[Call] = []

    def passing(call: Call) -> Verdict | None:
        asked.append(call)
        return None

    kernel.inject(passing)
    kernel.inject(Fault("recv", Short(1)))
    kernel.inject(Fault("recv", Fail(errno.EIO)))
    assert [kernel.check("recv", 3, 10), len(kernel.rules)] == [1, 2]
    with raises(errno.EIO):
        kernel.check("recv", 3, 10)
    assert kernel.check("recv", 3, 10) == 10
    assert asked == [Call("recv", 3, 10)] * 3


def test_a_rule_that_is_no_fault_stays(kernel: SimKernel) -> None:
    kernel.inject(lambda _: Short(0))
    assert [kernel.check("send", 3, 10), kernel.check("send", 3, 0), len(kernel.rules)] == [1, 0, 1]


def test_a_fault_stays_until_it_is_spent(kernel: SimKernel) -> None:
    kernel.inject(Fault("send", Short(1), times=2))
    kernel.check("send", 3, 10)
    assert len(kernel.rules) == 1
    kernel.check("send", 3, 10)
    assert kernel.rules == []


def test_when_it_is_calm_everything_has_arrived_and_no_fault_is_left(kernel: SimKernel) -> None:
    listening = kernel.listen()
    peer = kernel.connect()
    sock, _ = listening.accept()
    kernel.inject(Fault("deliver", Delay(60)))
    kernel.inject(Fault("recv", Fail(errno.EIO)))
    peer.send(b"late")
    kernel.report_falsely(sock.fileno(), IN)
    kernel.withhold(sock.fileno(), IN, 1.0)
    kernel.calm()
    assert (kernel.rules, kernel.spurious, kernel.withheld, kernel.next_event_us()) == ([], {}, {}, None)
    assert sock.recv(100) == b"late"


def test_without_a_log_nothing_is_noted(kernel: SimKernel) -> None:
    kernel.note("recv", 3, 1)
    assert kernel.log is None


def test_the_kernel_shows_the_time_and_what_is_open(kernel: SimKernel) -> None:
    kernel.listen()
    kernel.connect()
    assert repr(kernel) == "<SimKernel at 1000.000 s, 1 descriptors, 1 connections made>"
