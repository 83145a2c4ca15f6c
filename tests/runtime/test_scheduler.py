"""The round: calls, timers, other threads, and what the scheduler lets one see."""

import errno
import math
import os
import socket
import threading
from concurrent.futures import Future
from typing import Any

import pytest

from fsmserver.core.limits import Limits
from fsmserver.core.states import Event
from fsmserver.runtime.capacity import connection_limit
from fsmserver.runtime.pollers import make_poller
from fsmserver.runtime.ports import READABLE, RealSocket
from fsmserver.runtime.scheduler import GROUP_EVENTS, TIMED_EVENTS, TIMED_S, Round, Scheduler
from fsmserver.runtime.timers import Handle
from tests.fakes import PEER, BufferedRecorder, Recorder, World, assert_no_leaks, make_world


def rounds_until(scheduler: Scheduler, done: Any, most: int = 1000) -> None:
    for _ in range(most):
        if done():
            return
        scheduler.round(1.0)
    raise AssertionError("it did not come about")


def test_calls_come_in_order_in_the_next_round() -> None:
    world = make_world()
    called: list[str] = []

    def first() -> None:
        called.append("first")
        world.scheduler.call_soon(called.append, "third")

    world.scheduler.call_soon(first)
    world.scheduler.call_soon(called.append, "second")
    assert called == []
    world.round()
    assert called == ["first", "second"]
    world.round()
    assert called == ["first", "second", "third"]
    assert_no_leaks(world)


def test_a_timer_is_called_at_its_time_and_a_cancelled_one_never() -> None:
    world = make_world()
    called: list[float] = []
    start_s = world.clock.now_s
    world.scheduler.call_later(2.5, lambda: called.append(world.clock.now_s - start_s))
    world.scheduler.call_at(start_s + 1, called.append, -1.0).cancel()
    world.scheduler.call_at(start_s - 100, called.append, 0.0)
    assert world.scheduler.statistics().timers == 2
    world.pass_time(5)
    assert called == [0.0, 2.5]
    with pytest.raises(ValueError, match="not nan"):
        world.scheduler.call_at(math.nan, print)
    assert_no_leaks(world)


def test_time_that_passed_between_two_rounds_does_not_make_a_timer_late() -> None:
    world = make_world()
    called: list[float] = []
    world.clock.advance(100)
    world.scheduler.call_later(1, lambda: called.append(world.clock.now_s))
    world.round(50)
    assert called == [1101.0]
    assert_no_leaks(world)


def test_what_is_written_between_two_rounds_is_sent_in_the_next() -> None:
    world = make_world()
    sock, protocol = world.connect()
    protocol.say(b"hello")
    world.round()
    assert bytes(sock.sent) == b"hello"
    before_s = world.clock.now_s
    world.round(5)
    assert world.clock.now_s == before_s + 5
    assert_no_leaks(world)


def test_another_thread_ends_the_wait_with_a_call() -> None:
    scheduler = Scheduler()
    called: list[int] = []
    thread = threading.Thread(target=lambda: scheduler.call_soon_threadsafe(lambda: called.append(threading.get_ident())))
    thread.start()
    rounds_until(scheduler, lambda: called)
    thread.join()
    assert called == [threading.get_ident()]
    scheduler.close()


def test_the_mailbox_is_looked_into_whatever_is_reported() -> None:
    world = make_world()
    called: list[int] = []
    world.scheduler.call_soon_threadsafe(called.append, 1)
    world.waker.quiet()
    world.poller.inject(world.waker.fd, READABLE | 16)
    world.round()
    assert called == [1]
    assert_no_leaks(world)


def test_work_is_done_in_a_thread_and_its_result_comes_back_in_the_loop() -> None:
    scheduler = Scheduler()
    seen: list[Any] = []
    job = scheduler.run_in_executor(threading.get_ident)
    job.add_done_callback(lambda future: seen.append((future.result(), threading.get_ident())))
    rounds_until(scheduler, lambda: seen)
    worker, here = seen[0]
    assert here == threading.get_ident() != worker
    failed = scheduler.run_in_executor(int, "x")
    rounds_until(scheduler, failed.done)
    assert isinstance(failed.exception(), ValueError)
    scheduler.close()


def test_work_that_nobody_wants_any_more_is_dropped() -> None:
    scheduler = Scheduler(limits=Limits(executor_threads=1))  # so the first is over before the second
    let_go = threading.Event()
    job = scheduler.run_in_executor(let_go.wait)
    assert job.cancel()
    let_go.set()
    done: Future[Any] = scheduler.run_in_executor(int)
    rounds_until(scheduler, done.done)
    scheduler.close()


def test_work_belongs_to_the_connection_that_asked() -> None:
    world = make_world()
    let_go, posted = threading.Event(), threading.Event()
    original = world.waker.wake

    def wake() -> None:
        original()
        posted.set()

    world.waker.wake = wake  # type: ignore[method-assign] # to know when the thread is done
    sock, protocol = world.connect(Recorder(data_received=lambda me, _: me.transport.scheduler.run_in_executor(let_go.wait)))
    sock.feed(b"x")
    world.round()
    assert protocol.link is not None
    assert protocol.link.jobs == 1
    let_go.set()
    assert posted.wait(10)
    world.rounds(2)
    assert protocol.link.jobs == 0
    assert_no_leaks(world)


def test_a_mistake_in_a_call_of_nobody_is_logged_and_the_loop_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world()
    called: list[int] = []
    world.scheduler.call_soon(int, "x")
    world.scheduler.call_soon(called.append, 1)
    world.round()
    assert called == [1]
    assert "invalid literal" in caplog.text
    assert_no_leaks(world)


def test_a_mistake_in_a_call_of_a_connection_aborts_it() -> None:
    world = make_world()
    _, protocol = world.connect(Recorder(connection_made=lambda me, _: me.transport.scheduler.call_soon(int, "x")))
    world.rounds(2)
    assert protocol.lost
    assert_no_leaks(world)


def test_a_call_can_end_the_program() -> None:
    world = make_world()

    def leave() -> None:
        raise SystemExit

    world.scheduler.call_soon(leave)
    with pytest.raises(SystemExit):
        world.round()
    assert_no_leaks(world)


def test_a_report_for_nobody_is_counted_and_not_delivered() -> None:
    world = make_world()
    world.poller.inject(77, READABLE)
    world.round()
    assert world.scheduler.statistics().stale == 1
    assert_no_leaks(world)


def test_a_slow_callback_is_named_with_its_connection_and_state(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world()
    sock, _ = world.connect(Recorder(data_received=lambda *_: world.clock.advance(0.25)))
    sock.feed(b"x")
    world.round()
    assert "slow callback: #1 192.0.2.1:40000 kept the loop for 250 ms while reading" in caplog.text
    world.scheduler.call_soon(world.clock.advance, 0.5)
    world.round()
    assert "a callback that belongs to no connection kept the loop for 500 ms" in caplog.text
    assert world.scheduler.statistics().slow_callbacks == 2
    assert_no_leaks(world)


def test_a_connection_whose_descriptor_was_closed_elsewhere_is_disowned() -> None:
    world = make_world()
    sock, protocol = world.connect()
    fd = sock.fd
    world.kernel.close_behind(sock)
    fresh_sock, fresh = world.connect()
    assert fresh_sock.fd == fd
    world.round()
    assert protocol.lost[0].errno == errno.EBADF  # type: ignore[union-attr]
    assert sock.closes == 0
    fresh_sock.feed(b"mine")
    world.round()
    assert bytes(fresh.received) == b"mine"
    assert_no_leaks(world)


def test_the_statistics_add_up() -> None:
    world = make_world()
    world.listen()
    sock, protocol = world.connect(Recorder(data_received=lambda me, data: me.say(data)))
    silent_sock, _ = world.connect()
    sock.feed(b"hello")
    silent_sock.feed_eof()
    world.rounds(2)
    numbers = world.scheduler.statistics()
    assert (numbers.connections, numbers.accepted, numbers.silent) == (1, 2, 1)
    assert (numbers.received_bytes, numbers.taken_bytes) == (5, 5)
    assert numbers.listeners == {"192.0.2.9:8008": "listening"}
    assert numbers.closed == {"finish": 1}
    protocol.transport.abort()
    world.round()
    assert world.scheduler.statistics().received_bytes == 5
    assert repr(world.scheduler) == "<Scheduler fake: 0 connections, 1 listeners>"
    assert_no_leaks(world)


def test_each_round_can_be_watched() -> None:
    seen: list[Round] = []
    world = make_world(on_round=seen.append)
    sock, _ = world.connect()
    fd = sock.fd
    sock.feed(b"x")
    world.round()
    assert seen == [Round(1, (fd,), (), {fd: 0}, ((fd, READABLE),))]
    assert_no_leaks(world)


def test_each_transition_can_be_watched() -> None:
    seen: list[str] = []
    world = make_world(watcher=lambda link, fsm, origin, event: seen.append(f"{origin} {event} {fsm.state}"))
    sock, _ = world.connect(Recorder(data_received=lambda me, data: me.say(data)))
    sock.feed(b"x")
    world.round()
    assert seen == [
        "accepted open reading", "reading receive reading", "reading enqueue queued", "queued flush writing", "writing drain reading",
    ]  # fmt: skip
    assert_no_leaks(world)


def test_a_protocol_that_ends_the_program_in_connection_lost_leaks_no_other() -> None:
    world = make_world()

    def leave(*_: Any) -> None:
        raise SystemExit

    socks = [world.connect(Recorder(connection_lost=leave if number == 0 else print))[0] for number in range(3)]
    for sock in socks:
        sock.feed_eof()
    with pytest.raises(SystemExit):
        world.scheduler.round(0)
    assert_no_leaks(world)


def test_closing_aborts_everybody() -> None:
    world = make_world(limits=Limits(timers_per_round=1))
    backlog, _ = world.listen()
    _, first = world.connect()
    _, second = world.connect()
    world.scheduler.run_in_executor(int)
    assert_no_leaks(world)
    assert (first.lost, second.lost) == ([None], [None])
    assert backlog.closes == 1


def test_a_socket_that_fails_to_close_after_a_failed_factory_stops_nobody() -> None:
    world = make_world()

    def fails() -> object:
        raise ValueError("no protocol")

    listening, _ = world.listen(fails)
    for _ in range(2):
        listening.connect().close_error = OSError(errno.EIO, "not closed well")
    world.rounds(2)
    assert not listening.backlog
    assert_no_leaks(world)


class Desk:
    """An executor that does the work when it is told to, so that a test needs no thread."""

    def __init__(self, most_threads: int, thread_name_prefix: str) -> None:
        self.made_with = most_threads, thread_name_prefix
        self.waiting: list[tuple[Future[Any], Any, tuple[Any, ...]]] = []

    def submit(self, function: Any, *args: Any) -> Future[Any]:
        job: Future[Any] = Future()
        self.waiting.append((job, function, args))
        return job

    def work(self) -> None:
        while self.waiting:
            job, function, args = self.waiting.pop(0)
            try:
                job.set_result(function(*args))
            except ValueError as error:
                job.set_exception(error)

    def shutdown(self, *, wait: bool, cancel_futures: bool) -> None:
        assert (wait, cancel_futures) == (False, True)


def at_a_desk(monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[Any, list[Desk]]:
    desks: list[Desk] = []

    def make(*args: Any, **kwargs: Any) -> Desk:
        desks.append(Desk(*args, **kwargs))
        return desks[-1]

    monkeypatch.setattr("fsmserver.runtime.scheduler.ThreadPoolExecutor", make)
    return make_world(**options), desks


def test_work_is_handed_over_with_its_arguments_and_so_is_its_result(monkeypatch: pytest.MonkeyPatch) -> None:
    world, desks = at_a_desk(monkeypatch, limits=Limits(executor_threads=3))
    good = world.scheduler.run_in_executor(max, 3, 7)
    bad = world.scheduler.run_in_executor(int, "x")
    unwanted = world.scheduler.run_in_executor(max, 1, 2)
    assert unwanted.cancel()
    desks[0].work()
    assert not good.done(), "the loop's thread alone says so"
    world.rounds(2)
    assert good.result(0) == 7
    assert isinstance(bad.exception(0), ValueError)
    assert unwanted.cancelled()
    assert [desk.made_with for desk in desks] == [(3, "fsmserver")]
    assert_no_leaks(world)


def test_a_connection_waits_for_all_of_its_work_and_is_blamed_for_what_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    world, desks = at_a_desk(monkeypatch)

    def ask(me: Recorder, _: bytes) -> None:
        for number in ("1", "2"):
            me.transport.scheduler.run_in_executor(int, number).add_done_callback(
                lambda _: me.transport.scheduler.call_soon(int, "no number")
            )

    sock, protocol = world.connect(Recorder(data_received=ask))
    sock.feed(b"x")
    world.round()
    assert protocol.link is not None
    assert protocol.link.jobs == 2
    desks[0].work()
    world.rounds(3)
    assert protocol.link.jobs == 0
    assert str(protocol.lost[0]) == "invalid literal for int() with base 10: 'no number'"
    assert_no_leaks(world)


def test_a_mistake_in_a_timer_of_a_connection_aborts_it_with_the_error() -> None:
    world = make_world()
    _, protocol = world.connect(Recorder(connection_made=lambda me, _: me.transport.scheduler.call_later(1, int, "x")))
    world.pass_time(2)
    assert isinstance(protocol.lost[0], ValueError)
    assert_no_leaks(world)


def test_what_a_call_of_a_connection_calls_belongs_to_it_too() -> None:
    world = make_world()

    def begin(me: Recorder, _: Any) -> None:
        me.transport.scheduler.call_soon(lambda: me.transport.scheduler.call_soon(int, "x"))

    _, protocol = world.connect(Recorder(connection_made=begin))
    world.rounds(3)
    assert isinstance(protocol.lost[0], ValueError)
    assert_no_leaks(world)


def test_a_call_that_fails_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world()
    handle = world.scheduler.call_soon(int, "x")
    world.round()
    assert f"callback {handle!r} failed" in caplog.text
    assert_no_leaks(world)


def test_only_a_callback_that_takes_longer_than_the_limit_is_slow(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world(limits=Limits(slow_callback_s=0.25))
    for took_s in (0.0, 0.25):
        world.scheduler.call_soon(world.clock.advance, took_s)
        world.round()
    assert world.scheduler.statistics().slow_callbacks == 0
    world.scheduler.call_soon(world.clock.advance, 0.5)
    world.round()
    assert "a callback that belongs to no connection kept the loop for 500 ms while running" in caplog.text
    assert_no_leaks(world)


def test_a_timer_without_a_time_is_told_what_a_time_is() -> None:
    world = make_world()
    with pytest.raises(ValueError, match=r"^a timer's time must be a number of seconds, not nan$"):
        world.scheduler.call_at(math.nan, print)
    assert_no_leaks(world)


def test_a_later_call_gets_its_arguments() -> None:
    world = make_world()
    called: list[int] = []
    world.scheduler.call_later(1, called.append, 7)
    world.pass_time(1)
    assert called == [7]
    assert_no_leaks(world)


def test_the_statistics_add_up_over_all_connections() -> None:
    world = make_world(limits=Limits(connections=12))
    for data in (b"ab", b"cde"):
        sock, _ = world.connect(Recorder(data_received=lambda me, data: me.say(data)))
        sock.feed(data)
    world.round()
    numbers = world.scheduler.statistics()
    assert (numbers.received_bytes, numbers.taken_bytes, numbers.most_connections) == (5, 5, 12)
    assert_no_leaks(world)


def test_who_is_disowned_is_told_why() -> None:
    world = make_world()
    sock, protocol = world.connect()
    world.kernel.close_behind(sock)
    world.connect()
    world.round()
    assert str(protocol.lost[0]) == f"[Errno {errno.EBADF}] the descriptor was closed outside the server"
    assert_no_leaks(world)


def slow_one(world: World, crowd: int, at: int) -> None:
    """Have `crowd` connections hear something in one round, of which the one at `at` is slow."""
    for number in range(crowd):
        took_s = 0.25 if number == at else 0.0
        sock, _ = world.connect(Recorder(data_received=lambda *_, took_s=took_s: world.clock.advance(took_s)))
        sock.feed(b"x")
    world.round()


def test_in_a_full_round_the_slow_one_is_named_among_few_and_then_exactly(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world()
    slow_one(world, GROUP_EVENTS + TIMED_EVENTS, at=1)
    assert "slow callback: one of #1 192.0.2.1:40000, #2 192.0.2.1:40000, #3" in caplog.text
    assert "kept the loop for 250 ms while each was served" in caplog.text
    assert f"#{GROUP_EVENTS} " in caplog.text
    assert f"#{GROUP_EVENTS + 1} " not in caplog.text
    caplog.clear()
    slow_one(world, GROUP_EVENTS, at=1)
    assert f"slow callback: #{GROUP_EVENTS + TIMED_EVENTS + 2} 192.0.2.1:40000 kept the loop for 250 ms while reading" in caplog.text
    caplog.clear()
    world.clock.advance(TIMED_S)
    slow_one(world, GROUP_EVENTS, at=1)
    assert "slow callback: one of" in caplog.text
    assert world.scheduler.statistics().slow_callbacks == 3


def test_in_a_round_of_few_each_is_timed(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world()
    slow_one(world, TIMED_EVENTS, at=1)
    assert "slow callback: #2 192.0.2.1:40000 kept the loop for 250 ms while reading" in caplog.text


def test_a_descriptor_that_its_application_gave_back_is_not_read_for_whoever_has_it_now() -> None:
    near, far = socket.socketpair()
    scheduler = Scheduler(poller=make_poller("select"))
    with far:
        protocol = Recorder()
        scheduler.admit(near, None, lambda: protocol)
        given, fd = protocol.transport.get_extra_info("socket"), near.fileno()
        given.close()
        reading, writing = os.pipe()  # the lowest number that is free: the same
        try:
            assert reading == fd
            os.write(writing, b"a secret")
            scheduler.round(0.0)
            assert protocol.names == ["connection_made", "connection_lost"]
            assert os.read(reading, 100) == b"a secret"
        finally:
            os.close(reading)
            os.close(writing)
            scheduler.close()


class OwnSocket(socket.socket):
    """A socket with a `recv` of its own, such as one that deciphers."""

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        return super().recv(bufsize, flags).upper()


def test_a_socket_of_another_class_is_served_by_its_methods() -> None:
    near, far = socket.socketpair()
    scheduler = Scheduler()
    with far:
        protocol = Recorder(data_received=lambda recorder, data: recorder.transport.write(data))
        scheduler.admit(OwnSocket(fileno=near.detach()), None, lambda: protocol)
        far.send(b"abc")
        scheduler.round(0.0)
        assert far.recv(9) == b"ABC"
        scheduler.close()


def test_a_new_loop_is_open_and_takes_as_many_as_its_poller_can_watch() -> None:
    world = make_world(ceiling=8)
    assert world.scheduler.closed is False
    assert world.scheduler.most_connections == connection_limit(None, 8)
    assert_no_leaks(world)


def test_rounds_are_counted() -> None:
    world = make_world()
    world.rounds(3)
    assert world.scheduler.counts.rounds == 3
    assert_no_leaks(world)


def test_a_wait_ends_with_the_nearer_of_deadline_and_timer() -> None:
    world = make_world()
    world.connect()
    scheduler = world.scheduler
    waits: list[float] = []
    for timer_s in (10_000.0, 1.0):
        scheduler.call_later(timer_s, lambda: None)
        nearest_s = min(scheduler.deadlines.next_s, world.clock.now_s + timer_s)
        waits.append(nearest_s - world.clock.now_s)
        scheduler.round(20_000.0)
    assert world.poller.waits[-2:] == waits
    assert_no_leaks(world)


def test_nothing_is_waited_for_while_there_is_something_to_do() -> None:
    world = make_world()
    world.scheduler.call_soon(lambda: None)
    world.scheduler.round(100.0)
    world.scheduler.call_at(world.clock.now_s - 5.0, lambda: None)
    world.scheduler.round(100.0)
    assert world.poller.waits == [0.0, 0.0]
    assert_no_leaks(world)


def test_in_a_full_round_everybody_is_served_whatever_comes_of_those_before() -> None:
    world = make_world()
    (first, _), (second, _), (third, _) = world.connect(BufferedRecorder()), world.connect(), world.connect()
    others = [world.connect(Recorder(data_received=lambda me, data: me.say(data)))[0] for _ in range(TIMED_EVENTS)]
    first.feed(b"by the methods")
    second.feed_error(errno.EAGAIN)
    third.feed_eof()
    for sock in others:
        sock.feed(b"hello")
    world.round()
    assert [bytes(sock.sent) for sock in others] == [b"hello"] * TIMED_EVENTS
    assert_no_leaks(world)


def test_of_two_in_a_round_the_slow_one_is_named_alone(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world()
    slow, _ = world.connect(Recorder(data_received=lambda me, data: world.clock.advance(1.0)))
    other, _ = world.connect()
    slow.feed(b"x")
    other.feed(b"x")
    world.round()
    assert [record.getMessage() for record in caplog.records if "one of" in record.getMessage()] == []
    assert caplog.text.count("#1 ") == 1
    assert_no_leaks(world)


def test_what_goes_the_short_way_leaves_the_outbox_empty_and_is_counted_up() -> None:
    world = make_world()
    sock, protocol = world.connect(Recorder(data_received=lambda me, data: me.say(data)))
    for data in (b"hello", b"world"):
        sock.feed(data)
        world.round()
    outbox = protocol.transport.fsm.outbox
    assert (outbox.front, outbox.peek(), outbox.taken_bytes) == (None, [], 10)
    assert_no_leaks(world)


@pytest.mark.parametrize(("took_s", "count"), [(0.25, 0), (0.5, 1)])
def test_only_what_takes_longer_than_the_limit_to_hear_is_slow(took_s: float, count: int) -> None:
    world = make_world(limits=Limits(slow_callback_s=0.25))
    sock, _ = world.connect(Recorder(data_received=lambda *_: world.clock.advance(took_s)))
    sock.feed(b"x")
    world.round()
    assert world.scheduler.counts.slow_callbacks == count
    assert_no_leaks(world)


def test_many_events_are_divided_into_groups_until_one_was_slow() -> None:
    world = make_world()
    scheduler = world.scheduler
    events = [(fd, READABLE) for fd in range(2 * GROUP_EVENTS + 8)]
    scheduler._timed_until_s = scheduler.now_s
    groups = scheduler._groups(events)
    assert [len(group) for group in groups] == [GROUP_EVENTS, GROUP_EVENTS, 8]
    assert [event for group in groups for event in group] == events
    scheduler._timed_until_s = scheduler.now_s + 1.0
    assert [len(group) for group in scheduler._groups(events)] == [1] * len(events)
    assert_no_leaks(world)


def test_what_is_called_from_a_callback_by_the_methods_belongs_to_the_connection_too() -> None:
    world = make_world()
    handles: list[Handle] = []
    sock, protocol = world.connect(BufferedRecorder(buffer_updated=lambda *_: handles.append(world.scheduler.call_soon(lambda: None))))
    sock.feed(b"x")
    world.round()
    assert [handle.owner for handle in handles] == [protocol.link]
    assert_no_leaks(world)


def test_what_closed_connections_moved_and_lost_is_counted_up() -> None:
    world = make_world()
    for received, room_bytes in ((b"12345", 3), (b"123", 2)):
        sock, protocol = world.connect(Recorder(data_received=lambda me, data: me.say(data)))
        sock.room_bytes = room_bytes
        sock.feed(received)
        world.round()
        protocol.transport.abort()
        world.round()
    counts = world.scheduler.counts
    assert counts.closed == {Event.ABORT: 2}
    assert (counts.received_bytes, counts.taken_bytes, counts.discarded_bytes) == (8, 5, 3)
    assert_no_leaks(world)


def test_reports_for_nobody_are_counted_up() -> None:
    world = make_world()
    for _ in range(2):
        world.poller.inject(99, READABLE)
        world.round()
    assert world.scheduler.counts.stale == 2
    assert_no_leaks(world)


def test_who_said_nothing_is_counted_up() -> None:
    world = make_world()
    for data in (b"", b"", b"x"):
        sock, protocol = world.connect()
        sock.feed(data)
        world.round()
        protocol.transport.abort()
        world.round()
    assert world.scheduler.counts.silent == 2
    assert_no_leaks(world)


def test_there_is_one_place_for_each_descriptor_up_to_the_highest_that_is_watched() -> None:
    world = make_world()
    for _ in range(3):
        sock, _ = world.connect()
        assert len(world.scheduler.ways) == sock.fd + 1
    assert_no_leaks(world)


def test_where_there_are_more_than_the_limit_there_is_no_room_and_not_less() -> None:
    world = make_world(limits=Limits(connections=2))
    rooms = []
    for _ in range(3):
        world.connect()
        rooms.append(world.scheduler.room)
    assert rooms == [1, 0, 0]
    assert_no_leaks(world)


def test_newcomers_without_a_protocol_are_counted_up_and_named(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world()

    def factory() -> object:
        raise ValueError("no protocol today")

    for _ in range(2):
        world.scheduler.admit(world.kernel.socket(), PEER, factory)
    assert world.scheduler.counts.accept_errors == 2
    assert str(PEER) in caplog.text
    assert_no_leaks(world)


def test_a_plain_socket_is_served_by_its_bare_descriptor() -> None:
    near, far = socket.socketpair()
    scheduler = Scheduler()
    link = scheduler.admit(RealSocket(fileno=near.detach()), None, Recorder)
    assert link is not None
    assert link._shared is False
    scheduler.close()
    far.close()


def test_a_descriptor_that_was_closed_outside_is_no_trouble_when_its_connection_is_buried() -> None:
    near, far = socket.socketpair()
    scheduler = Scheduler()
    protocol = Recorder()
    link = scheduler.admit(RealSocket(fileno=near.detach()), None, lambda: protocol)
    assert link is not None
    os.close(link.fd)
    scheduler.close()
    assert protocol.names[-1] == "connection_lost"
    far.close()
