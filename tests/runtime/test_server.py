"""A server on the loopback interface: it starts, serves, drains and gives everything back."""

import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import fsmserver
from fsmserver.core.limits import Limits
from fsmserver.runtime.binding import BindError, Tcp, Unix
from fsmserver.runtime.pollers import available
from fsmserver.runtime.server import Server, serve

pytestmark = pytest.mark.network
HERE = Tcp("127.0.0.1", 0)
BRISK = Limits(drain_quiet_s=0.04, drain_s=10)


class Echo:
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


@contextmanager
def running(server: Server) -> Iterator[list[bool]]:
    """Run it in a thread; the list has its result at the end."""
    results: list[bool] = []
    with server:
        thread = threading.Thread(target=lambda: results.append(server.run(handle_signals=True)))
        thread.start()
        try:
            yield results
        finally:
            server.stop()
            thread.join(20)
            assert not thread.is_alive()


def connect(server: Server) -> socket.socket:
    sock = socket.create_connection(server.address[:2], 10)
    sock.sendall(b"hi")
    assert sock.recv(10) == b"hi"
    return sock


@pytest.mark.parametrize("poller", available())
def test_it_serves_and_drains_on_every_poller(poller: str) -> None:
    server = Server(Echo, HERE, poller=poller, limits=BRISK)
    with running(server) as results, connect(server) as client:
        server.stop()
        assert client.recv(1) == b"", "a quiet connection is closed gracefully"
    assert results == [True]
    assert server.statistics().connections == 0
    assert repr(server).startswith("<Server 127.0.0.1:")


def test_a_second_stop_aborts_what_is_left() -> None:
    server = Server(Echo, HERE, limits=Limits(drain_quiet_s=10))
    with running(server) as results, connect(server) as client:
        server.stop()
        server.stop()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert results == [False]


def test_a_drain_that_takes_too_long_aborts_and_names_who(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(Echo, HERE, limits=Limits(drain_quiet_s=10, drain_s=0.01))
    with running(server) as results, connect(server) as client:
        name = client.getsockname()
        server.stop()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert results == [False]
    assert f"aborting 1 connections: #1 127.0.0.1:{name[1]}" in caplog.text


def test_work_in_a_thread_keeps_its_connection_while_draining() -> None:
    let_go = threading.Event()

    class Works(Echo):
        def data_received(self, data: bytes) -> None:
            if data == b"hi":
                self.transport.write(data)
            else:
                job = self.transport.scheduler.run_in_executor(let_go.wait, 10)
                job.add_done_callback(lambda _: self.transport.write(b"done"))
                self.transport.write(b"working")

    server = Server(Works, HERE, limits=BRISK)
    with running(server) as results, connect(server) as client, connect(server) as quiet:
        client.sendall(b"work")
        assert client.recv(10) == b"working"
        server.stop()
        assert quiet.recv(1) == b"", "the drain is under way"
        let_go.set()
        assert client.recv(10) == b"done"
        assert client.recv(1) == b""
    assert results == [True]


def test_a_fork_must_make_its_own_server() -> None:
    with Server(Echo, HERE) as server:
        own, server._pid = server._pid, -1
        with pytest.raises(RuntimeError, match="made in another process"):
            server.run()
        server.close()
        assert not server.scheduler.closed, "what belongs to the parent is left to it"
        server._pid = own


def test_there_is_no_address_before_the_start() -> None:
    server = Server(Echo)
    assert server.endpoints == (Tcp("127.0.0.1", 8008),)
    with pytest.raises(RuntimeError, match=r"no address before start\(\)"):
        _ = server.address
    assert "not listening" in repr(server)
    server.close()
    server.close()


def test_a_server_that_cannot_listen_everywhere_listens_nowhere() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as probe:
        free, port = probe.getsockname()[1], taken.getsockname()[1]
        probe.close()
        server = Server(Echo, Tcp("127.0.0.1", free), Tcp("127.0.0.1", port))
        with pytest.raises(BindError), server:
            raise AssertionError("it must not start")
        assert server.scheduler.closed
        socket.create_server(("127.0.0.1", free)).close()


def test_a_unix_path_is_removed_at_the_end_if_it_is_still_ours(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    with Server(Echo, Unix(str(ours)), Unix(str(theirs))):
        os.rename(theirs, tmp_path / "kept")  # so that its inode is not used again
        theirs.write_text("somebody else's")
    assert not ours.exists()
    assert theirs.exists()


@pytest.mark.parametrize("call", [Server.stop, lambda _: os.kill(os.getpid(), signal.SIGTERM)])
def test_a_signal_stops_it_and_the_former_handlers_come_back(call: Callable[[Server], None]) -> None:
    former = signal.getsignal(signal.SIGTERM)
    server = Server(Echo, HERE)
    server.scheduler.call_soon(call, server)
    assert server.run(handle_signals=True)
    assert signal.getsignal(signal.SIGTERM) is former
    assert server.address[1] > 0
    server._give_up_draining()  # the timer of a drain that was over before it
    assert server.run(), "it is over, and all had ended by themselves"
    server.close()


def test_a_signal_ends_a_wait_though_its_handler_has_not_run_yet() -> None:
    heard: list[bool] = []

    def ready() -> None:
        former = signal.signal(signal.SIGUSR1, lambda *_: None)  # which does nothing that the loop could see
        signal.raise_signal(signal.SIGUSR1)
        signal.signal(signal.SIGUSR1, former)
        heard.append(select.select([server.scheduler._waker.fileno()], [], [], 0)[0] != [])
        server.stop()

    before = signal.set_wakeup_fd(-1)
    with Server(Echo, HERE) as server:
        assert server.run(handle_signals=True, when_ready=ready)
    assert heard == [True]
    assert signal.set_wakeup_fd(before) == -1, "what was there before is there again"


def test_serve_is_all_one_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fsmserver.serve is serve
    stops: list[int] = []

    def stop(*_: object) -> None:
        if not stops:
            stops.append(1)
            os.kill(os.getpid(), signal.SIGINT)

    started = Server.start

    def start(server: Server) -> Server:
        server.scheduler.call_soon(stop)
        return started(server)

    monkeypatch.setattr(Server, "start", start)
    assert serve(Echo, port=0)


def test_whoever_is_told_that_it_is_ready_may_send_a_signal() -> None:
    with Server(Echo, HERE, limits=BRISK) as server:
        assert server.run(handle_signals=True, when_ready=lambda: signal.raise_signal(signal.SIGTERM))
