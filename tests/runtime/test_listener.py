"""The listener: what each errno of accept leads to, and what happens when there is no room."""

import errno
import os
import select
import socket
from typing import Literal

import pytest

from fsmserver.core.errors import IllegalTransition
from fsmserver.core.limits import Limits
from fsmserver.core.reasons import ACCEPT_SKIPS, EXHAUSTED
from fsmserver.core.states import ListenerEvent, ListenerState
from fsmserver.runtime import listener as listener_module
from fsmserver.runtime.descriptor import Descriptor
from fsmserver.runtime.listener import EPISODE_S, Listener, quick_accept
from fsmserver.runtime.ports import ERROR
from fsmserver.runtime.scheduler import Scheduler
from tests.fakes import Recorder, assert_no_leaks, make_world

TWO = Limits(connections=2)


def test_all_that_wait_are_accepted_up_to_the_bound_of_a_round() -> None:
    world = make_world(limits=Limits(accepts_per_round=3))
    backlog, _ = world.listen()
    for _ in range(5):
        backlog.connect()
    world.round()
    assert len(world.protocols) == 3
    world.round()
    assert len(world.protocols) == 5
    assert_no_leaks(world)


@pytest.mark.parametrize("number", sorted(ACCEPT_SKIPS - {errno.EINTR}))
def test_a_newcomer_that_failed_before_it_was_accepted_is_skipped(number: int) -> None:
    world = make_world()
    backlog, listener = world.listen()
    backlog.fail(number)
    backlog.connect()
    world.round()
    assert len(world.protocols) == 1
    assert world.scheduler.counts.accept_errors == 1
    assert listener.state is ListenerState.LISTENING
    assert_no_leaks(world)


@pytest.mark.parametrize("number", sorted(EXHAUSTED))
def test_a_system_without_resources_pauses_accepting_and_is_tried_again(number: int, caplog: pytest.LogCaptureFixture) -> None:
    world = make_world()
    backlog, listener = world.listen()
    for _ in range(3):
        backlog.fail(number)
    backlog.connect()
    world.round()
    assert str(listener.state) == "exhausted"
    assert world.scheduler.inputs == set()
    world.pass_time(3.5)
    assert len(world.protocols) == 1
    assert str(listener.state) == "listening"
    assert backlog.accepts <= 6, "accepting never spins"
    assert caplog.text.count("pauses accepting") == 1, "one line an episode"
    assert_no_leaks(world)


def test_a_descriptor_that_comes_free_ends_the_pause_at_once() -> None:
    world = make_world(most_descriptors=4)
    backlog, listener = world.listen()
    backlog.connect()
    backlog.connect()
    backlog.connect()
    world.round()
    assert listener.state is ListenerState.EXHAUSTED
    assert len(world.protocols) == 2
    world.protocols[0].transport.abort()
    world.rounds(2)
    assert len(world.protocols) == 3
    assert_no_leaks(world)


def test_an_error_that_nobody_expects_closes_the_listener_alone(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world()
    backlog, listener = world.listen()
    _, protocol = world.connect()
    backlog.fail(errno.EBADF)
    world.round()
    assert listener.closed
    assert backlog.closes == 1
    assert "is closed" in caplog.text
    assert not protocol.lost
    listener.relieve()
    listener.accept()
    listener.drain()
    assert_no_leaks(world)


def test_when_full_newcomers_wait_in_the_backlog_until_there_is_room(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world(limits=TWO)
    backlog, listener = world.listen()
    for _ in range(3):
        backlog.connect()
    world.rounds(3)
    assert listener.state is ListenerState.FULL
    assert len(world.protocols) == 2
    before_s = world.clock.now_s
    world.round(5)
    assert world.clock.now_s == before_s + 5, "no spin while full"
    world.protocols[0].transport.close()
    world.protocols[0].transport.abort()
    world.rounds(2)
    assert len(world.protocols) == 3
    assert caplog.text.count("lets connections wait in the backlog: the limit of 2 connections is reached") == 1
    assert_no_leaks(world)


def test_when_full_newcomers_can_be_refused(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world(limits=TWO)
    backlog, listener = world.listen(when_full="refuse")
    socks = [backlog.connect() for _ in range(4)]
    world.rounds(3)
    assert listener.state is ListenerState.FULL
    assert [sock.closes for sock in socks] == [0, 0, 1, 1]
    assert world.scheduler.counts.refused == 2
    assert caplog.text.count("refuses connections") == 1
    world.pass_time(20)
    backlog.connect()
    world.round()
    assert caplog.text.count("the limit of 2 connections is reached") == 2
    assert_no_leaks(world)


def test_a_descriptor_over_the_ceiling_of_the_poller_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world(ceiling=8, limits=Limits(connections=100))
    backlog, _ = world.listen()
    strangers = [world.kernel.occupy() for _ in range(3)]
    sock = backlog.connect()
    world.round()
    assert sock.closes == 1
    assert "fake cannot watch descriptors from 8 on" in caplog.text
    for fd in strangers:
        world.kernel.vacate(fd)
    backlog.connect()
    world.round()
    assert len(world.protocols) == 1
    assert_no_leaks(world)


def test_a_newcomer_that_cannot_be_set_up_costs_only_itself(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world()
    backlog, _ = world.listen()
    bad = backlog.connect()
    bad.setsockopt_error = OSError(errno.EINVAL, "the peer is gone")
    backlog.connect()
    world.round()
    assert bad.closes == 1
    assert len(world.protocols) == 1
    assert world.scheduler.counts.accept_errors == 1
    assert not caplog.text
    assert_no_leaks(world)


@pytest.mark.parametrize("error", [ValueError("no protocol today"), FileNotFoundError("no protocol today")])
def test_a_factory_that_raises_costs_that_connection_and_is_logged(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    world = make_world()

    def factory() -> Recorder:
        raise error

    backlog, _ = world.listen(factory)
    sock = backlog.connect()
    world.round()
    assert sock.closes == 1
    assert "no protocol today" in caplog.text
    assert_no_leaks(world)


def test_a_factory_that_ends_the_program_closes_its_socket_first() -> None:
    world = make_world()

    def factory() -> Recorder:
        raise SystemExit(3)

    backlog, _ = world.listen(factory)
    sock = backlog.connect()
    with pytest.raises(SystemExit):
        world.scheduler.round(0)
    assert sock.closes == 1
    assert_no_leaks(world)


def test_tcp_connections_get_no_delay() -> None:
    world = make_world()
    sock, _ = world.connect()
    assert sock.options == [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    assert not sock.blocking
    assert_no_leaks(world)


def test_an_error_report_of_a_listener_is_left_to_accept() -> None:
    world = make_world()
    backlog, listener = world.listen()
    world.poller.inject(listener.fd, ERROR)
    world.round()
    assert backlog.accepts == 1
    assert_no_leaks(world)


def test_a_drained_listener_is_closed_and_knows_no_way_back() -> None:
    world = make_world()
    backlog, listener = world.listen()
    listener.drain()
    world.round()
    assert backlog.closes == 1
    with pytest.raises(IllegalTransition, match="relieve cannot happen in the state closed"):
        listener.fire(ListenerEvent.RELIEVE)
    assert repr(listener) == "<Listener 192.0.2.9:8008 closed>"
    assert_no_leaks(world)


def test_what_presses_a_listener_is_said_in_full(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world()
    backlog, _ = world.listen()
    backlog.fail(errno.EMFILE)
    world.round()
    told = f"listener 192.0.2.9:8008 pauses accepting: {OSError(errno.EMFILE, os.strerror(errno.EMFILE))} (said once an episode)"
    assert [record.getMessage() for record in caplog.records] == [told]
    assert_no_leaks(world)


def test_a_descriptor_that_cannot_be_watched_is_said_to_be_refused(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world(ceiling=5, limits=Limits(connections=100))
    backlog, _ = world.listen()
    world.kernel.occupy()
    backlog.connect()
    world.round()
    told = "listener 192.0.2.9:8008 refuses connections: fake cannot watch descriptors from 5 on (said once an episode)"
    assert [record.getMessage() for record in caplog.records] == [told]
    assert_no_leaks(world)


def test_a_limit_that_is_reached_is_said_in_full(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world(limits=TWO)
    backlog, _ = world.listen(when_full="refuse")
    for _ in range(3):
        backlog.connect()
    world.rounds(2)
    told = "listener 192.0.2.9:8008 refuses connections: the limit of 2 connections is reached (said once an episode)"
    assert [record.getMessage() for record in caplog.records] == [told]
    assert_no_leaks(world)


def test_why_a_listener_is_closed_is_said_in_full(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world()
    backlog, _ = world.listen()
    backlog.fail(errno.EBADF)
    world.round()
    told = f"listener 192.0.2.9:8008 is closed: {OSError(errno.EBADF, os.strerror(errno.EBADF))}"
    assert [record.getMessage() for record in caplog.records] == [told]
    assert_no_leaks(world)


def test_a_full_listener_without_resources_tries_once_and_pauses() -> None:
    world = make_world(limits=TWO)
    backlog, listener = world.listen(when_full="refuse")
    backlog.connect()
    backlog.connect()
    world.rounds(2)
    for _ in range(5):
        backlog.fail(errno.EMFILE)
    world.round()
    assert listener.state is ListenerState.EXHAUSTED
    assert world.scheduler.counts.accept_errors == 1
    assert_no_leaks(world)


def test_pressure_is_said_at_the_very_beginning_of_the_clock_too(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world()
    _, listener = world.listen()
    world.scheduler.now_s = 0.0
    listener._tell("is pressed", "in a test")
    assert "is pressed" in caplog.text
    assert_no_leaks(world)


def test_errors_of_accept_are_counted_up() -> None:
    world = make_world()
    backlog, _ = world.listen()
    backlog.fail(errno.ECONNABORTED)
    backlog.fail(errno.ECONNABORTED)
    world.round()
    assert world.scheduler.counts.accept_errors == 2
    assert_no_leaks(world)


def test_an_episode_is_over_when_it_has_been_calm_for_so_long(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world()
    _, listener = world.listen()
    for after_s in (0.0, EPISODE_S / 2, EPISODE_S):
        world.scheduler.now_s += after_s
        listener._tell("is pressed", "in a test")
    assert caplog.text.count("is pressed") == 2
    assert_no_leaks(world)


def test_the_quick_accept_gives_what_the_standard_library_gives() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as client:
        accepted, address = quick_accept(listening)()
        assert isinstance(accepted, Descriptor)
        with accepted.whole() as whole:
            assert address == client.getsockname()
            assert (whole.family, whole.type, whole.proto) == (listening.family, listening.type, listening.proto)
            assert not whole.get_inheritable()
            assert not whole.getblocking()
            client.sendall(b"x")
            assert select.select([whole], [], [], 10)[0]
            assert accepted.recv(1) == b"x"


@pytest.mark.parametrize("exceptional", ["discard", "inline"])
def test_what_is_accepted_has_its_options_from_the_listening_socket_or_is_given_them(
    exceptional: Literal["discard", "inline"], monkeypatch: pytest.MonkeyPatch
) -> None:
    for inherits in (True, False):
        monkeypatch.setattr("fsmserver.runtime.listener.INHERITED", inherits and listener_module.INHERITED)
        scheduler = Scheduler(exceptional=exceptional)
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setblocking(False)
        scheduler.listen(Listener(scheduler, listening, Recorder))
        with socket.create_connection(listening.getsockname()):
            while not scheduler.links:
                scheduler.round(1.0)
            (link,) = scheduler.links.values()
            assert link.sock is not None
            assert link.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert bool(link.sock.getsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE)) is (exceptional == "inline")
        scheduler.close()


@pytest.mark.pure
def test_a_listening_socket_that_takes_no_options_leaves_them_to_its_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> None:
        raise OSError(92, "Protocol not available")

    scheduler = Scheduler()
    with monkeypatch.context() as patched:
        patched.setattr(Scheduler, "prepare", refuses)
        listening = socket.create_server(("127.0.0.1", 0))
        listener = Listener(scheduler, listening, Recorder)
    assert listener._inherited is False
    listening.close()
    scheduler.close()


def test_an_application_that_asks_for_the_socket_of_what_was_accepted_gets_a_whole_one() -> None:
    scheduler, protocol = Scheduler(), Recorder()
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    scheduler.listen(Listener(scheduler, listening, lambda: protocol))
    with socket.create_connection(listening.getsockname()) as client:
        while not scheduler.links:
            scheduler.round(1.0)
        (link,) = scheduler.links.values()
        assert type(link.sock) is Descriptor
        whole = protocol.transport.get_extra_info("socket")
        assert type(whole) is socket.socket
        assert whole.getpeername() == client.getsockname()
        assert protocol.transport.get_extra_info("socket") is whole
        client.sendall(b"by its methods from now on")
        while not protocol.received:
            scheduler.round(1.0)
        protocol.transport.write(b"answer")
        scheduler.round(0.0)
        assert client.recv(10) == b"answer"
    scheduler.close()
    assert whole.fileno() == -1
