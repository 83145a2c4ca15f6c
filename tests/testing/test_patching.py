"""`patched(kernel)`: inside, four modules of the standard library are the kernel's; afterwards all is as it was."""

import errno
import select
import selectors
import socket
import socketserver
import threading
import time
from typing import Any

import pytest

from fsmserver.cli.echo import Echo
from fsmserver.runtime.binding import Tcp
from fsmserver.runtime.server import Server
from fsmserver.testing.kernel import SimKernel, patched
from fsmserver.testing.sockets import SimSocket, WouldBlock
from fsmserver.testing.stream import IN

HOME = ("127.0.0.1", 8008)
OWNERS = (socket, select, selectors, selectors.SelectSelector, selectors.PollSelector, selectors.EpollSelector, time)


def everything() -> list[tuple[str, Any]]:
    return [(name, value) for owner in OWNERS for name, value in vars(owner).items()]


def interrupt(before: list[tuple[str, Any]]) -> None:
    assert everything() != before
    raise KeyboardInterrupt


def listener(host: str = HOME[0], port: int = HOME[1]) -> socket.socket:
    sock = socket.create_server((host, port))
    sock.setblocking(False)
    return sock


def test_everything_is_put_back_whatever_happened() -> None:
    before = everything()
    with pytest.raises(KeyboardInterrupt), patched(SimKernel()):
        interrupt(before)
    assert everything() == before


def test_what_a_system_does_not_have_is_gone_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(select, "epoll")
    monkeypatch.delattr(selectors, "EpollSelector")
    with patched(SimKernel()):
        assert vars(selectors)["DefaultSelector"] is selectors.PollSelector
        select.epoll().close()
    assert not hasattr(select, "epoll")


def test_one_kernel_at_a_time() -> None:
    with patched(SimKernel()), pytest.raises(RuntimeError, match="one at a time"), patched(SimKernel()):
        pytest.fail("it was let in")
    with patched(SimKernel()) as kernel:
        assert isinstance(kernel, SimKernel)


def test_other_threads_keep_the_real_modules() -> None:
    seen: dict[str, object] = {}

    def look() -> None:
        seen["time"] = time.monotonic()
        with socket.socket() as sock:
            seen["kind"] = isinstance(sock, SimSocket)
        seen["select"] = select.select([], [], [], 0)
        with selectors.DefaultSelector() as selector:
            seen["selector"] = selector.select(0)
            seen["real"] = type(vars(selector)["_selector"]).__module__

    real_s = time.monotonic()
    with patched(SimKernel()):
        assert time.monotonic() == 1000
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert isinstance(seen["time"], float)
    assert seen["time"] >= real_s
    assert (seen["kind"], seen["select"], seen["selector"], seen["real"]) == (False, ([], [], []), [], "select")


def test_sockets_are_instances_of_the_class_of_the_module_and_can_be_subclassed() -> None:
    with patched(SimKernel()) as kernel:

        class Own(socket.socket):
            def shout(self, data: bytes) -> int:
                return self.send(data.upper())

        listening = listener()
        client = Own()
        client.connect(HOME)
        accepted, name = listening.accept()
        assert type(accepted) is socket.socket
        assert isinstance(client, socket.socket)
        assert accepted.getpeername() == client.getsockname() == name
        assert client.shout(b"hello") == 5
        assert accepted.recv(100) == b"HELLO"
        assert (client.family, client.type, accepted.proto) == (socket.AF_INET, socket.SOCK_STREAM, 0)
        assert not client.get_inheritable()
        for sock in (listening, client, accepted):
            sock.close()
        assert kernel.open == {}


def test_descriptors_are_handed_on() -> None:
    with patched(SimKernel()):
        near, far = socket.socketpair()
        number = near.detach()
        assert near.fileno() == -1
        again = socket.socket(fileno=number)
        again.sendall(b"x")
        assert far.recv(10) == b"x"
        with pytest.raises(OSError, match="Bad file descriptor"):
            socket.socket(fileno=77)


def test_only_streams_are_simulated_and_their_flags_count() -> None:
    with patched(SimKernel()):
        with pytest.raises(NotImplementedError, match="stream"):
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        assert not socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC).getblocking()
        assert socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC).getblocking()


@pytest.mark.parametrize(
    ("bound", "called"),
    [("127.0.0.1", "127.0.0.1"), ("", "127.0.0.1"), ("0.0.0.0", "192.0.2.9"), ("localhost", "127.0.0.1"), ("127.0.0.1", "localhost")],
)
def test_a_client_reaches_a_listener_at_its_address(bound: str, called: str) -> None:
    with patched(SimKernel()):
        listening = listener(bound, 0)
        port = listening.getsockname()[1]
        client = socket.create_connection((called, port))
        accepted, _ = listening.accept()
        assert client.getpeername() == accepted.getsockname() == ("127.0.0.1" if called == "localhost" else called, port)


def test_ipv6_addresses_have_their_own_form() -> None:
    with patched(SimKernel()):
        listening = socket.create_server(("", 8008), family=socket.AF_INET6)
        assert listening.getsockname() == ("::", 8008, 0, 0)
        client = socket.create_connection(("::1", 8008))
        assert client.getpeername() == ("::1", 8008, 0, 0)


def test_unix_paths_are_names_only() -> None:
    with patched(SimKernel()):
        listening = socket.socket(socket.AF_UNIX)
        listening.bind("/run/echo")
        listening.listen()
        client = socket.socket(socket.AF_UNIX)
        client.connect("/run/echo")
        accepted, _ = listening.accept()
        client.send(b"x")
        assert accepted.recv(1) == b"x"


def test_nobody_listens_and_nobody_knows_names() -> None:
    with patched(SimKernel()):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(HOME)
        with pytest.raises(socket.gaierror):
            socket.create_connection(("example.org", 80))


def test_what_would_wait_is_said() -> None:
    with patched(SimKernel()):
        with pytest.raises(WouldBlock):
            socket.create_server(HOME).accept()
        near, _far = socket.socketpair()
        near.setblocking(False)
        with pytest.raises(BlockingIOError):
            near.recv(1)


def test_a_failed_call_does_not_hold_on_to_the_buffer() -> None:
    with patched(SimKernel()):
        near, _far = socket.socketpair()
        near.setblocking(False)
        incoming, outgoing = bytearray(10), bytearray(1 << 20)
        with pytest.raises(BlockingIOError) as kept:
            near.recv_into(incoming)
        assert 0 < near.send(outgoing) < len(outgoing)
        with pytest.raises(BlockingIOError) as also_kept:
            near.send(outgoing)
        incoming.clear()  # BufferError if a frame of the errors has a view of it
        outgoing.clear()
        assert kept.value.errno == also_kept.value.errno == errno.EAGAIN


def test_files_made_of_a_socket() -> None:
    with patched(SimKernel()) as kernel:
        near, far = socket.socketpair()
        file = near.makefile("rwb")
        near.close()
        assert near.fileno() in kernel.open, "the file still uses it"
        far.sendall(b"one\ntwo\n")
        assert file.readline() == b"one\n"
        file.write(b"answer")
        file.flush()
        assert far.recv(100) == b"answer"
        file.close()
        assert far.fileno() in kernel.open
        assert len(kernel.open) == 1


def test_time_is_virtual_and_sleeping_lets_it_pass() -> None:
    with patched(SimKernel()) as kernel:
        began = time.monotonic(), time.time(), time.monotonic_ns(), time.time_ns()
        time.sleep(86400)
        kernel.advance(0.000001)
        assert time.monotonic() - began[0] == pytest.approx(86400.000001, abs=1e-9)
        assert time.monotonic_ns() - began[2] == time.time_ns() - began[3] == 86400_000_001_000
        assert time.time() - began[1] == pytest.approx(86400.000001, abs=1e-6)
        assert time.gmtime(began[1]).tm_year == 2001
        with pytest.raises(ValueError, match="non-negative"):
            time.sleep(-1)


def test_sleeping_gives_those_who_drive_the_peers_a_turn() -> None:
    with patched(SimKernel()) as kernel:
        turns: list[float] = []
        kernel.system.before_wait = lambda: turns.append(kernel.clock())
        time.sleep(1)
        time.sleep(1)
        assert turns == [1000, 1001]


@pytest.mark.parametrize("name", ["SelectSelector", "PollSelector", "EpollSelector", "DefaultSelector"])
def test_each_selector_waits_for_simulated_sockets(name: str) -> None:
    with patched(SimKernel()) as kernel, getattr(selectors, name)() as selector:
        listening = listener()
        selector.register(listening, selectors.EVENT_READ, "the listener")
        assert selector.select(2.5) == []
        assert time.monotonic() == 1002.5
        kernel.connect(HOME)
        [(key, events)] = selector.select()
        assert (key.data, events) == ("the listener", selectors.EVENT_READ)


def test_select_poll_and_epoll_wait_for_simulated_sockets() -> None:
    with patched(SimKernel()) as kernel:
        listening = listener()
        poll, epoll = select.poll(), select.epoll()
        poll.register(listening, select.POLLIN)
        epoll.register(listening, select.EPOLLIN)
        kernel.connect(HOME)
        assert select.select([listening], [], [], 0) == ([listening], [], [])
        assert poll.poll() == epoll.poll() == [(listening.fileno(), IN)]


def test_a_server_of_the_standard_library_serves_simulated_peers() -> None:
    class Upper(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(self.rfile.readline().upper())

    with patched(SimKernel()) as kernel, socketserver.TCPServer(HOME, Upper) as server:
        peer = kernel.connect(HOME)
        peer.send(b"hello\n")
        server.handle_request()
        assert peer.recv(100) == b"HELLO\n"
        assert peer.recv(100) == b""


def test_numbers_are_given_out_again_the_lowest_first() -> None:
    with patched(SimKernel(descriptors=6)):
        first, second, third = (socket.socket() for _ in range(3))
        with pytest.raises(OSError, match="Too many open files") as caught:
            socket.socket()
        assert caught.value.errno == errno.EMFILE
        second.close()
        assert socket.socket().fileno() == 4
        assert (first.fileno(), third.fileno()) == (3, 5)


def test_our_own_server_runs_under_it_unchanged() -> None:
    kernel = SimKernel()
    with patched(kernel), Server(Echo, Tcp("127.0.0.1", 8008)) as server:
        peer = kernel.connect(("127.0.0.1", 8008))
        peer.send(b"hello")
        server.scheduler.call_later(60, server.stop)
        before_s = time.monotonic()
        assert server.run()
        assert time.monotonic() - before_s >= 60
        assert peer.recv(100) == b"hello"
    assert not kernel.open
