"""`--fsm-traces`: a test whose connections did what the table does not allow fails by that alone, on whatever they ran."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fsmserver.core.connection import ConnectionFSM
from fsmserver.core.states import Event
from fsmserver.runtime.scheduler import Scheduler
from fsmserver.testing.traces import Recorder
from tests.driven import plain_trace
from tests.fakes import Recorder as Protocol
from tests.fakes import make_world

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.pure

# A suite of somebody who serves with fsmserver: it looks at what comes back, which is right in spite of the fault.
SUITE = """
    import socket

    import pytest

    from fsmserver import Server
    from fsmserver.runtime.binding import Tcp


    class Echo:
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            self.transport.write(data)

        def connection_lost(self, error):
            self.transport.scheduler.call_soon(self.server.stop)


    @pytest.mark.parametrize("poller", ["select", "poll", "epoll"])
    def test_what_is_sent_comes_back(poller):
        with Server(Echo, Tcp("127.0.0.1", 0), poller=poller) as server:
            Echo.server = server
            with socket.create_connection(server.address) as client:
                client.sendall(b"hello")
                client.shutdown(socket.SHUT_WR)
                assert server.run()
                assert client.recv(100) == b"hello"

"""

# A build in which one event is skipped: the state is what it should be, and the event never happened.
FAULT = """
    from fsmserver.core.connection import ConnectionFSM
    from fsmserver.core.states import State


    def sent(fsm, count_bytes, now_s=0.0):
        outbox = fsm.outbox
        outbox.take(count_bytes)
        if count_bytes:
            fsm.since_s = now_s
        if not outbox.size_bytes:
            fsm.state = State.READING  # and no fire(DRAIN)
            if outbox.sealed:
                fsm._after_last_byte(now_s)
        return False


    ConnectionFSM.sent = sent
"""


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:cov", *arguments)


@pytest.mark.slow
@pytest.mark.network
def test_a_build_that_skips_drain_fails_on_the_trace_check_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    run(pytester, "--fsm-traces").assert_outcomes(passed=3)
    pytester.makeconftest(FAULT)
    run(pytester).assert_outcomes(passed=3)  # nobody sees it
    result = run(pytester, "--fsm-traces")
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines([
        "what the connections did is no behaviour of the machine:",
        "connection 1: expected it to go on from writing, where flush left it; this line begins in reading",
        '{"t": *"event": "open"*',
        "traces checked: * transitions of 3 schedulers",
    ])  # fmt: skip


@pytest.mark.slow
@pytest.mark.network
def test_what_is_wrong_on_purpose_is_passed_over_and_what_fails_anyway_shows_its_trace(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(FAULT)
    marked = SUITE.replace("    @pytest.mark.param", '    @pytest.mark.untraced("broken on purpose")\n    @pytest.mark.param')
    assert marked != SUITE
    pytester.makepyfile(marked)
    run(pytester, "--fsm-traces", "--strict-markers").assert_outcomes(passed=3)
    pytester.makepyfile(SUITE.replace('== b"hello"', '== b"olleh"'))
    result = run(pytester, "--fsm-traces")
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        ["*trace that is no behaviour of the machine*", "connection 1: expected it to go on from writing, where flush left it; *"]
    )


@pytest.mark.slow
def test_a_fault_while_a_fixture_begins_or_ends_is_an_error_of_the_test(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    pytester.makepyfile("""
        import pytest
        from tests.driven import plain_trace
        from tests.core.test_behaviour import FAULTS

        @pytest.fixture
        def early(monkeypatch):
            FAULTS["says nothing of open"](monkeypatch)
            plain_trace(7)

        @pytest.fixture
        def late(monkeypatch):
            FAULTS["says nothing of open"](monkeypatch)
            yield
            plain_trace(7)

        def test_early(early): pass
        def test_late(late): pass
    """)
    result = run(pytester, "--fsm-traces")
    result.assert_outcomes(passed=1, errors=2)


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()
    recorder.install()
    yield recorder
    recorder.remove()


def test_what_is_right_leaves_no_fault_and_is_counted(recorder: Recorder) -> None:
    lines = plain_trace(7)
    assert recorder.take_faults() == []
    assert recorder.schedulers == 1
    assert recorder.lines == len(lines) + 1  # and the end


@pytest.mark.untraced("the machine is broken on purpose")
@pytest.mark.parametrize("event", [Event.OPEN, Event.RECEIVE, Event.ENQUEUE, Event.FLUSH, Event.DRAIN, Event.EOF, Event.FINISH])
def test_each_event_that_is_skipped_is_seen(event: Event, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    fire = ConnectionFSM.fire

    def skip(fsm: ConnectionFSM, fired: Event, **options: Any) -> None:
        observer = fsm._observer
        if fired is event:
            fsm._observer = None
        fire(fsm, fired, **options)
        fsm._observer = observer

    monkeypatch.setattr(ConnectionFSM, "fire", skip)
    world = make_world()
    sock, _ = world.connect(Protocol(data_received=lambda me, data: me.say(data)))
    sock.feed(b"hello")
    world.round()
    sock.feed_eof()
    world.round()
    world.scheduler.close()
    (fault,) = recorder.take_faults()
    assert fault.startswith("connection 1: expected ")
    assert recorder.take_faults() == []


@pytest.mark.untraced("the connection is forgotten on purpose")
def test_a_connection_that_a_closed_scheduler_left_open_is_a_fault(recorder: Recorder) -> None:
    world = make_world()
    world.connect()
    world.scheduler.links.clear()
    world.scheduler.close()
    (fault,) = recorder.take_faults()
    assert "expected it to be closed before the trace ends, but open left it in reading" in fault


def test_who_watches_already_is_told_as_before(recorder: Recorder) -> None:
    seen: list[Event] = []
    world = make_world(watcher=lambda link, fsm, origin, event: seen.append(event))
    world.connect()
    world.scheduler.close()
    assert seen == [Event.OPEN, Event.ABORT]
    assert recorder.lines == 3


def test_while_it_is_idle_what_is_made_is_left_alone(recorder: Recorder) -> None:
    recorder.idle = True
    seen: list[Event] = []
    world = make_world(watcher=lambda link, fsm, origin, event: seen.append(event))
    world.connect()
    world.scheduler.close()
    assert seen == [Event.OPEN, Event.ABORT]
    assert (recorder.schedulers, recorder.lines) == (0, 0)


def test_a_scheduler_that_was_made_before_is_left_alone() -> None:
    world = make_world()
    recorder = Recorder()
    recorder.install()
    world.connect()
    world.scheduler.close()
    recorder.remove()
    assert (recorder.schedulers, recorder.lines) == (0, 0)


def test_nothing_is_changed_once_it_is_removed() -> None:
    made, closed = Scheduler.__init__, Scheduler.close
    recorder = Recorder()
    recorder.install()
    assert Scheduler.__init__ is not made
    recorder.remove()
    assert (Scheduler.__init__, Scheduler.close) == (made, closed)


def test_no_scheduler_is_kept_alive(recorder: Recorder) -> None:
    world = make_world()
    world.connect()
    world.scheduler.close()
    ended = weakref.ref(world.scheduler)
    del world
    gc.collect()
    assert ended() is None
    assert recorder.take_faults() == []
