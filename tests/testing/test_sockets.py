"""The face of `socket.socket` on the simulated kernel."""

import errno
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest

from fsmserver.testing.faults import Fail, Fault, Short
from fsmserver.testing.kernel import HOME, SimKernel
from fsmserver.testing.sockets import SimSocket, WouldBlock
from fsmserver.testing.stream import HUP, IN, OUT, RDHUP, Stream

THERE = ("192.0.2.9", 7007)
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def raises(number: int) -> Any:
    return pytest.raises(OSError, match=rf"\[Errno {number}\]")


@pytest.fixture
def kernel() -> SimKernel:
    return SimKernel(send_room_bytes=50, receive_room_bytes=50)


@pytest.fixture
def listening(kernel: SimKernel) -> SimSocket:
    return kernel.listen(THERE)


def accepted(listening: SimSocket) -> tuple[SimSocket, Stream]:
    """Give a non-blocking socket and its peer's end."""
    peer = listening.kernel.connect(THERE)
    sock, _ = listening.accept()
    sock.setblocking(False)
    return sock, peer


# Moving bytes.


def test_bytes_go_both_ways(listening: SimSocket) -> None:
    sock, peer = accepted(listening)
    assert [sock.send(b"abc"), sock.sendmsg([b"d", b"", bytearray(b"ef")])] == [3, 3]
    assert peer.recv(100) == b"abcdef"
    peer.send(b"xyz")
    buffer = bytearray(5)
    assert [sock.recv_into(buffer, 1), sock.recv_into(memoryview(buffer)[1:]), bytes(buffer)] == [1, 2, b"xyz\0\0"]


def test_a_send_takes_any_buffer_and_keeps_none(listening: SimSocket) -> None:
    sock, peer = accepted(listening)
    buffer = bytearray(b"abc")
    sock.send(memoryview(buffer))
    buffer.clear()  # a BufferError if somebody still held it
    assert peer.recv(100) == b"abc"


def test_sendall_sends_all_of_what_fits(listening: SimSocket) -> None:
    sock, peer = accepted(listening)
    sock.kernel.inject(Fault("send", Short(4), times=2))
    sock.sendall(b"0123456789")
    assert peer.recv(100) == b"0123456789"


def test_urgent_data_goes_out_and_comes_in(listening: SimSocket) -> None:
    sock, peer = accepted(listening)
    sock.send(b"a!", socket.MSG_OOB)
    assert peer.recv(1, socket.MSG_OOB) == b"!"
    peer.send(b"?", urgent=True)
    assert sock.recv(1, socket.MSG_OOB) == b"?"


def test_a_flag_that_means_nothing_here_sends_as_usual(listening: SimSocket) -> None:
    sock, peer = accepted(listening)
    sock.send(b"a", socket.MSG_DONTWAIT)
    assert peer.recv(1) == b"a"


def test_to_receive_no_bytes_asks_nobody(kernel: SimKernel) -> None:
    sock = kernel.open_socket()
    sock.close()
    assert (sock.recv(0), sock.recv_into(bytearray())) == (b"", 0)


def test_sizes_that_make_no_sense_are_refused(listening: SimSocket) -> None:
    sock, _ = accepted(listening)
    with pytest.raises(ValueError, match="negative buffersize in recv"):
        sock.recv(-1)
    with pytest.raises(ValueError, match="buffer too small for requested bytes"):
        sock.recv_into(bytearray(2), 3)


def test_what_would_wait_for_ever_is_an_error_on_a_blocking_socket(listening: SimSocket) -> None:
    sock, _ = accepted(listening)
    sock.setblocking(True)
    with pytest.raises(WouldBlock, match=f"a blocking call on descriptor {sock.fileno()} would wait"):
        sock.recv(1)


@pytest.mark.parametrize("flag", [True, False])
def test_blocking_is_what_was_asked_for(kernel: SimKernel, flag: bool) -> None:
    sock = kernel.open_socket()
    sock.setblocking(flag)
    assert (sock.getblocking(), sock.gettimeout()) == (flag, None if flag else 0.0)
    sock.settimeout(2.5)
    assert (sock.getblocking(), sock.gettimeout()) == (True, 2.5)


# Listening.


def test_accept_gives_who_connected_in_order(listening: SimSocket) -> None:
    names = [listening.kernel.connect(THERE).local for _ in range(2)]
    assert [listening.accept()[1] for _ in names] == names
    with raises(errno.EAGAIN):
        listening.accept()


def test_accept_looks_for_a_free_descriptor_before_it_looks_for_a_connection(listening: SimSocket) -> None:
    listening.kernel.descriptors = 0
    with raises(errno.EMFILE):
        listening.accept()


def test_only_a_listening_socket_accepts(kernel: SimKernel) -> None:
    with raises(errno.EINVAL):
        kernel.open_socket().accept()


def test_an_address_is_given_once(kernel: SimKernel, listening: SimSocket) -> None:
    with raises(errno.EADDRINUSE):
        kernel.open_socket().bind(THERE)
    with raises(errno.EINVAL):
        listening.bind(HOME)
    sock, _ = accepted(listening)
    with raises(errno.EINVAL):
        sock.bind(HOME)


def test_of_two_bound_to_one_address_the_second_to_listen_is_refused(kernel: SimKernel) -> None:
    first, second = kernel.open_socket(), kernel.open_socket()
    first.bind(HOME)
    second.bind(HOME)
    first.listen()
    with raises(errno.EADDRINUSE):
        second.listen()


def test_port_0_is_a_port_of_the_kernels_choice(kernel: SimKernel) -> None:
    sock = kernel.open_socket(socket.AF_INET6)
    sock.bind(("::1", 0, 0, 0))
    assert sock.getsockname()[0] == "::1"
    assert sock.getsockname()[1] > 0


def test_a_socket_that_listens_without_an_address_gets_one(kernel: SimKernel) -> None:
    sock = kernel.open_socket()
    sock.listen()
    assert sock.getsockname()[1] > 0
    assert kernel.connect(sock.getsockname()).peer is not None


def test_listening_again_changes_the_room_for_those_who_wait(kernel: SimKernel, listening: SimSocket) -> None:
    listening.listen(0)
    first, second = kernel.connect(THERE), kernel.connect(THERE)
    assert listening.queue is not None
    assert [list(listening.queue.backlog), list(listening.queue.waiting)] == [[first.peer], [second.peer]]


def test_a_connected_socket_cannot_listen(listening: SimSocket) -> None:
    sock, _ = accepted(listening)
    with raises(errno.EINVAL):
        sock.listen()


def test_an_accepted_socket_begins_with_the_options_that_the_listener_had_when_its_peer_connected(listening: SimSocket) -> None:
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    listening.kernel.connect(THERE)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 0)
    sock, _ = listening.accept()
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE) == 1
    assert sock.stream is not None
    assert sock.stream.inline


# Connecting.


def test_a_socket_of_the_process_can_connect_to_another(kernel: SimKernel, listening: SimSocket) -> None:
    client = kernel.open_socket()
    client.connect(THERE)
    sock, name = listening.accept()
    assert client.getsockname() == name == sock.getpeername()
    assert client.getpeername() == THERE == sock.getsockname()
    client.send(b"abc")
    assert sock.recv(100) == b"abc"


def test_who_was_bound_connects_from_there(kernel: SimKernel, listening: SimSocket) -> None:
    client = kernel.open_socket()
    client.bind(("192.0.2.5", 99))
    client.connect(THERE)
    assert listening.accept()[1] == ("192.0.2.5", 99)


def test_a_unix_socket_connects_without_a_name(kernel: SimKernel) -> None:
    listening = kernel.open_socket(socket.AF_UNIX)
    listening.bind("/run/it")
    listening.listen()
    kernel.open_socket(socket.AF_UNIX).connect("/run/it")
    assert listening.accept()[1] == ""


def test_where_nobody_listens_a_connection_is_refused(kernel: SimKernel) -> None:
    client = kernel.open_socket()
    assert client.connect_ex(THERE) == errno.ECONNREFUSED
    assert client.readiness() == OUT | HUP
    kernel.listen(THERE)
    assert client.connect_ex(THERE) == 0


def test_who_is_connected_or_listens_cannot_connect(kernel: SimKernel, listening: SimSocket) -> None:
    sock, _ = accepted(listening)
    assert [sock.connect_ex(THERE), listening.connect_ex(THERE)] == [errno.EISCONN, errno.EISCONN]


def test_options_set_before_connecting_hold_afterwards(kernel: SimKernel, listening: SimSocket) -> None:
    client = kernel.open_socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    client.connect(THERE)
    sock, _ = listening.accept()
    client.close()
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET


# Without a connection.


def test_a_socket_that_is_not_connected_is_hung_up_and_writable(kernel: SimKernel) -> None:
    sock = kernel.open_socket()
    assert sock.readiness() == OUT | HUP
    for call, number in ((sock.getpeername, errno.ENOTCONN), (lambda: sock.recv(1), errno.ENOTCONN), (lambda: sock.send(b""), errno.EPIPE)):
        with raises(number):
            call()
    with raises(errno.EINVAL):
        sock.recv(1, socket.MSG_OOB)
    assert sock.getsockname() == ("0.0.0.0", 0)


def test_a_shutdown_of_it_fails_and_leaves_its_mark(kernel: SimKernel) -> None:
    sock = kernel.open_socket()
    with raises(errno.ENOTCONN):
        sock.shutdown(socket.SHUT_WR)
    assert sock.readiness() == OUT | HUP
    with raises(errno.ENOTCONN):
        sock.shutdown(socket.SHUT_RD)
    assert (sock.readiness(), sock.recv(1)) == (OUT | HUP | IN | RDHUP, b"")


def test_a_listener_that_is_shut_down_for_reading_listens_no_more(listening: SimSocket) -> None:
    peer = listening.kernel.connect(THERE)
    listening.shutdown(socket.SHUT_WR)
    assert listening.readiness() == IN
    with raises(errno.ENOTCONN):
        listening.recv(1)
    listening.shutdown(socket.SHUT_RD)
    assert (listening.readiness(), peer.error) == (OUT | HUP, errno.ECONNRESET)
    with raises(errno.EINVAL):
        listening.accept()
    with raises(errno.ECONNREFUSED):
        listening.kernel.connect(THERE)


def test_there_are_three_ways_to_shut_down(listening: SimSocket) -> None:
    sock, _ = accepted(listening)
    with raises(errno.EINVAL):
        sock.shutdown(3)


# Ends.


def test_a_shutdown_ends_a_direction(listening: SimSocket) -> None:
    sock, peer = accepted(listening)
    sock.shutdown(socket.SHUT_WR)
    assert peer.recv(1) == b""


def test_over_is_not_connected(listening: SimSocket) -> None:
    sock, peer = accepted(listening)
    peer.close()
    sock.shutdown(socket.SHUT_WR)
    assert sock.getsockname() == THERE
    for call in (sock.getpeername, lambda: sock.shutdown(socket.SHUT_WR)):
        with raises(errno.ENOTCONN):
            call()


def test_closing_gives_the_descriptor_back_once(listening: SimSocket) -> None:
    sock, peer = accepted(listening)
    fd = sock.fileno()
    with sock:
        assert fd in sock.kernel.open
    sock.close()
    assert (sock.fileno(), fd in sock.kernel.open, peer.recv(1)) == (-1, False, b"")


@pytest.mark.parametrize(
    "call",
    [
        lambda sock: sock.recv(1),
        lambda sock: sock.send(b"x"),
        lambda sock: sock.sendmsg([b"x"]),
        lambda sock: sock.accept(),
        lambda sock: sock.bind(HOME),
        lambda sock: sock.listen(),
        lambda sock: sock.connect(THERE),
        lambda sock: sock.shutdown(socket.SHUT_WR),
        lambda sock: sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        lambda sock: sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR),
        lambda sock: sock.getsockname(),
        lambda sock: sock.getpeername(),
    ],
)
def test_nothing_can_be_done_with_a_closed_socket(kernel: SimKernel, call: Callable[[SimSocket], Any]) -> None:
    sock = kernel.open_socket()
    sock.close()
    with raises(errno.EBADF):
        call(sock)


def test_a_close_that_fails_has_closed(listening: SimSocket) -> None:
    sock, _ = accepted(listening)
    fd = sock.fileno()
    listening.kernel.inject(Fault("close", Fail(errno.EIO)))
    with raises(errno.EIO):
        sock.close()
    assert (sock.fileno(), fd in listening.kernel.open) == (-1, False)


def test_who_closes_a_descriptor_that_is_anothers_by_now_is_told(kernel: SimKernel) -> None:
    sock = kernel.open_socket()
    kernel.release(sock.fileno())
    another = kernel.open_socket()
    assert another.fileno() == sock.fileno()
    with raises(errno.EBADF):
        sock.close()
    assert kernel.open[another.fileno()] is another


def test_a_detached_descriptor_can_be_taken_over_with_all_that_belongs_to_it(listening: SimSocket) -> None:
    sock, peer = accepted(listening)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    former_fd = sock.fileno()
    again = listening.kernel.open_socket(fileno=sock.detach())
    assert (sock.fileno(), again.fileno()) == (-1, former_fd)
    assert again.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert (again.gettimeout(), again.getpeername()) == (None, peer.local)
    with raises(errno.EAGAIN):  # the descriptor itself does not block
        again.recv(1)


def test_what_is_no_socket_cannot_be_taken_over(kernel: SimKernel) -> None:
    with raises(errno.EBADF):
        kernel.open_socket(fileno=77)


# Options.


def test_an_option_is_what_it_was_set_to(kernel: SimKernel) -> None:
    sock = kernel.open_socket()
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 4) == struct.pack("i", 1)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == bytes(8)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == RESET_ON_CLOSE


def test_the_kernel_answers_some_options_itself(kernel: SimKernel, listening: SimSocket) -> None:
    fresh = kernel.open_socket()
    assert fresh.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    assert fresh.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
    accepting = [each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) for each in (fresh, listening)]
    assert accepting == [0, 1]


def test_so_error_gives_an_error_once(listening: SimSocket) -> None:
    sock, peer = accepted(listening)
    peer.reset()
    assert [sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) for _ in range(2)] == [errno.ECONNRESET, 0]


def test_lingering_0_s_makes_closing_a_reset(listening: SimSocket) -> None:
    sock, peer = accepted(listening)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    sock.close()
    assert peer.error == errno.ECONNRESET


def test_the_sizes_of_the_buffers_can_be_set(listening: SimSocket) -> None:
    sock, peer = accepted(listening)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 5)
    assert sock.send(bytes(100)) == 55
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 7)
    assert peer.send(bytes(100)) == 57


def test_every_socket_is_inherited_by_nobody(kernel: SimKernel) -> None:
    kernel.open_socket().set_inheritable(False)


# Faults and the log.


@pytest.mark.parametrize("name", ["recv", "send", "sendmsg", "shutdown", "setsockopt", "getsockopt", "getsockname", "getpeername"])
def test_any_call_can_be_made_to_fail(listening: SimSocket, name: str) -> None:
    sock, _ = accepted(listening)
    listening.kernel.inject(Fault(name, Fail(errno.EHOSTUNREACH), fd=sock.fileno()))
    arguments: dict[str, tuple[Any, ...]] = {
        "recv": (1,), "send": (b"x",), "sendmsg": ([b"x"],), "shutdown": (socket.SHUT_WR,), "setsockopt": (socket.SOL_SOCKET, 1, 1),
        "getsockopt": (socket.SOL_SOCKET, 1),
    }  # fmt: skip
    with raises(errno.EHOSTUNREACH):
        getattr(sock, name)(*arguments.get(name, ()))


def test_a_short_send_and_a_short_recv_move_less(listening: SimSocket) -> None:
    sock, peer = accepted(listening)
    for name in ("send", "recv"):
        listening.kernel.inject(Fault(name, Short(2)))
    peer.send(b"abcdef")
    assert [sock.send(b"uvwxyz"), sock.recv(100), sock.recv(100)] == [2, b"ab", b"cdef"]


def test_a_send_meets_the_error_that_is_there_before_a_fault(listening: SimSocket) -> None:
    sock, peer = accepted(listening)
    peer.reset()
    listening.kernel.inject(Fault("send", Fail(errno.EAGAIN)))
    with raises(errno.ECONNRESET):
        sock.send(b"x")


def test_the_log_has_every_call_with_its_size_or_errno(kernel: SimKernel) -> None:
    kernel.log = []
    listening = kernel.listen(THERE)
    sock, peer = accepted(listening)
    peer.send(b"abc")
    sock.recv(100)
    sock.send(b"de")
    sock.shutdown(socket.SHUT_WR)
    for call in (lambda: sock.recv(1), lambda: sock.send(b"x"), listening.accept):
        with pytest.raises(OSError):
            call()
    sock.close()
    here, there = listening.fileno(), 4
    assert [entry[1:] for entry in kernel.log] == [
        ("accept", here, there), ("recv", there, 3), ("send", there, 2), ("shutdown", there, socket.SHUT_WR),
        ("recv", there, -errno.EAGAIN), ("send", there, -errno.EPIPE), ("accept", here, -errno.EAGAIN), ("close", there, 0),
    ]  # fmt: skip


def test_a_socket_shows_its_descriptor_and_what_it_is(kernel: SimKernel, listening: SimSocket) -> None:
    sock, _ = accepted(listening)
    assert repr(listening) == "<SimSocket fd=3 listening at ('192.0.2.9', 7007)>"
    assert repr(sock) == "<SimSocket fd=4 <Stream 0 0 B unread, 0 B unsent >>"
    assert repr(kernel.open_socket()) == "<SimSocket fd=5 fresh>"
