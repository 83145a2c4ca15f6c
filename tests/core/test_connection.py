"""What a connection does when it is told what happened."""

import math
from collections.abc import Callable, Sized
from typing import Any

import pytest

import fsmserver
from fsmserver.core.connection import ConnectionFSM
from fsmserver.core.errors import (
    DeadlinePassed,
    IllegalTransition,
    LimitError,
    LingerOverrun,
    OutboxOverflow,
    OutboxSealed,
    UrgentData,
)  # fmt: skip
from fsmserver.core.limits import Limits
from fsmserver.core.reasons import Who
from fsmserver.core.states import Event, Hold, Interest, State

SMALL = Limits(outbox_high_bytes=10, outbox_low_bytes=4, outbox_cap_bytes=20, linger_bytes=5)


def opened(limits: Limits = SMALL, now_s: float = 0.0) -> ConnectionFSM:
    fsm = ConnectionFSM(limits=limits, now_s=now_s)
    fsm.open(now_s)
    return fsm


def drain(fsm: ConnectionFSM, now_s: float = 0.0) -> bytes:
    data = b"".join(bytes(chunk) for chunk in fsm.flush())
    fsm.sent(len(data), now_s)
    return data


def reason(fsm: ConnectionFSM) -> fsmserver.CloseReason:
    assert fsm.close_reason is not None
    return fsm.close_reason


def test_an_echo_goes_through_the_states() -> None:
    fsm = opened()
    assert fsm.receive(b"abc")
    assert fsm.enqueue(b"abc") is False
    states = [fsm.state]
    assert fsm.flush() == [b"abc"]
    states.append(fsm.state)
    assert fsm.sent(1) is False
    states.append(fsm.state)
    assert [bytes(chunk) for chunk in fsm.flush()] == [b"bc"]
    fsm.sent(2)
    assert [*states, fsm.state] == [State.QUEUED, State.WRITING, State.WRITING, State.READING]


def test_nothing_can_be_written_before_open_or_after_the_end() -> None:
    fsm = ConnectionFSM()
    early: list[Callable[[], object]] = [lambda: fsm.enqueue(b"x"), fsm.write_eof, fsm.flush, lambda: fsm.sent(0)]
    for step in early:
        with pytest.raises(IllegalTransition):
            step()
    fsm.abort()
    late: list[Callable[[], object]] = [lambda: fsm.enqueue(b"x"), lambda: fsm.receive(b"x"), fsm.flush, fsm.abort, fsm.eof, fsm.reset]
    for step in late:
        with pytest.raises(IllegalTransition, match="nothing can happen there any more"):
            step()


def test_an_empty_write_changes_nothing() -> None:
    fsm = opened()
    assert fsm.enqueue(b"") is False
    assert fsm.state is State.READING


def test_data_before_open_keeps_it_accepted() -> None:
    fsm = ConnectionFSM()
    assert fsm.receive(b"PROXY ...")
    assert (fsm.state, fsm.received_bytes) == (State.ACCEPTED, 9)


def test_the_end_of_the_stream_ends_a_connection_that_owes_nothing() -> None:
    fsm = opened()
    fsm.eof()
    assert fsm.closed
    assert reason(fsm).who is Who.PEER
    assert fsm.all_sent


def test_the_end_of_the_stream_waits_for_what_is_queued() -> None:
    fsm = opened()
    fsm.enqueue(b"abc")
    fsm.eof()
    assert (fsm.state, fsm.wants_read, fsm.wants_write) == (State.QUEUED, False, True)
    assert drain(fsm) == b"abc"
    assert reason(fsm).graceful
    assert reason(fsm).discarded_bytes == 0


def test_a_connection_that_ends_before_it_is_open_is_closed() -> None:
    fsm = ConnectionFSM()
    fsm.eof()
    assert str(reason(fsm)) == "ended before it was open by the peer while accepted"


def test_a_half_open_connection_goes_on_sending_until_it_is_closed() -> None:
    fsm = opened()
    fsm.eof(half_open=True)
    assert (fsm.state, fsm.holds, fsm.deadline) == (State.READING, Hold.EOF, "half_closed_s")
    fsm.enqueue(b"abc")
    drain(fsm)
    assert not fsm.closed
    fsm.close()
    assert reason(fsm).who is Who.APPLICATION


@pytest.mark.parametrize("order", ["eof first", "write_eof first"])
def test_a_connection_whose_two_directions_have_ended_is_over(order: str) -> None:
    fsm = opened()
    if order == "eof first":
        fsm.eof(half_open=True)
        fsm.enqueue(b"abc")
        fsm.write_eof()
        drain(fsm)
    else:
        fsm.write_eof()
        assert fsm.wants_fin
        fsm.fin_sent()
        fsm.eof(half_open=True)
    assert reason(fsm).graceful


def test_write_eof_with_nothing_queued_after_the_peers_end_closes() -> None:
    fsm = opened()
    fsm.eof(half_open=True)
    fsm.write_eof()
    assert fsm.closed


def test_a_close_sends_all_then_fin_then_waits_for_the_peers() -> None:
    fsm = opened()
    fsm.enqueue(b"abc")
    fsm.close(who=Who.SERVER)
    assert (fsm.closing, fsm.closed, fsm.wants_fin, fsm.wants_read) == (True, False, False, False)
    drain(fsm)
    assert (fsm.state, fsm.wants_fin, fsm.wants_read, fsm.deadline) == (State.READING, True, True, "linger_s")
    fsm.fin_sent()
    assert not fsm.wants_fin
    assert fsm.receive(b"late") is False
    fsm.eof(half_open=True)
    assert reason(fsm).who is Who.SERVER
    assert fsm.all_sent


def test_a_lingering_close_reads_so_much_and_no_more() -> None:
    fsm = opened()
    fsm.close()
    assert fsm.receive(b"12345") is False
    assert not fsm.closed
    assert fsm.receive(b"6") is False
    assert isinstance(reason(fsm).error, LingerOverrun)
    assert fsm.all_sent


def test_closing_again_changes_nothing_and_closing_before_open_aborts() -> None:
    fsm = opened()
    fsm.close(who=Who.SERVER)
    fsm.close(who=Who.APPLICATION)
    fsm.eof()
    assert reason(fsm).who is Who.SERVER
    fsm.close()
    early = ConnectionFSM()
    early.close()
    assert reason(early).event is Event.ABORT


def test_nothing_is_written_after_the_end_was_declared() -> None:
    fsm = opened()
    fsm.write_eof()
    with pytest.raises(OutboxSealed):
        fsm.enqueue(b"x")


def test_an_abort_counts_what_is_lost() -> None:
    fsm = opened()
    fsm.enqueue(b"abcdef")
    fsm.flush()
    fsm.sent(2)
    fsm.abort(ValueError("why"))
    assert str(reason(fsm)) == "aborted by the application while writing: why, 4 bytes discarded"
    assert not fsm.all_sent
    assert not fsm.outbox


def test_over_the_high_mark_reading_is_held_until_down_to_the_low_one() -> None:
    fsm = opened()
    assert fsm.enqueue(b"x" * 10) is False
    assert fsm.enqueue(b"x") is True
    assert fsm.enqueue(b"x") is False
    assert (fsm.holds, fsm.interest) == (Hold.BACKPRESSURE, Interest.WRITE)
    fsm.flush()
    assert fsm.sent(7) is False
    assert fsm.sent(1) is True
    assert fsm.wants_read


def test_the_hard_cap_keeps_nothing_of_what_is_too_much() -> None:
    fsm = opened()
    fsm.enqueue(b"x" * 15)
    with pytest.raises(OutboxOverflow, match="6 bytes more do not fit") as raised:
        fsm.enqueue(b"y" * 6)
    assert (raised.value.size_bytes, raised.value.offered_bytes, raised.value.cap_bytes) == (15, 6, 20)
    assert fsm.outbox.size_bytes == 15


def test_marks_of_its_own() -> None:
    fsm = opened()
    fsm.enqueue(b"x" * 6)
    assert fsm.set_marks(5, 0) is True
    assert fsm.set_marks(5, 0) is False
    assert fsm.marks == (0, 5)
    with pytest.raises(LimitError, match="low_bytes must be between 0 and high_bytes, 5"):
        fsm.set_marks(5, 6)


def test_more_than_it_holds_was_never_taken() -> None:
    fsm = opened()
    fsm.enqueue(b"abc")
    fsm.flush()
    with pytest.raises(ValueError, match="4 bytes were taken"):
        fsm.sent(4)
    assert fsm.outbox.size_bytes == 3


@pytest.mark.parametrize(
    ("call", "args", "event", "kind"),
    [
        ("reset", (ConnectionResetError(),), Event.RESET, ConnectionResetError),
        ("exceptional", (), Event.EXCEPTIONAL, UrgentData),
        ("expire", ("idle_s",), Event.EXPIRE, DeadlinePassed),
    ],
)
def test_each_hard_end_has_its_reason(call: str, args: tuple[Any, ...], event: Event, kind: type[BaseException]) -> None:
    fsm = opened()
    getattr(fsm, call)(*args)
    assert reason(fsm).event is event
    assert isinstance(reason(fsm).error, kind)


@pytest.mark.parametrize("name", ["idle", "idle_bytes_s", "outbox_cap_bytes", "connections"])
def test_only_deadlines_expire(name: str) -> None:
    with pytest.raises(LimitError, match="the name of a deadline"):
        opened().expire(name)


def test_the_deadline_of_an_open_connection_moves_with_its_bytes() -> None:
    fsm = opened(now_s=100.0)
    assert fsm.due() == ("idle_s", 400.0)
    fsm.receive(b"x", 110.0)
    assert fsm.due() == ("idle_s", 410.0)
    fsm.enqueue(b"abc", 120.0)
    assert fsm.due() == ("stall_s", 180.0)
    fsm.flush()
    fsm.sent(0, 130.0)
    fsm.receive(b"x", 140.0)
    assert fsm.due() == ("stall_s", 180.0), "neither a refusal nor what the peer sends helps it"
    fsm.sent(1, 150.0)
    assert fsm.due() == ("stall_s", 210.0)
    fsm.sent(2, 160.0)
    assert fsm.due() == ("idle_s", 460.0)
    fsm.close(170.0)
    fsm.receive(b"x", 172.0)
    assert fsm.due() == ("linger_s", 175.0), "what comes while it lingers does not move it"


def test_the_handshake_is_not_moved_and_the_lifetime_ends_all() -> None:
    fsm = ConnectionFSM(limits=Limits(lifetime_s=8.0), now_s=100.0)
    fsm.receive(b"x", 105.0)
    assert fsm.due() == ("lifetime_s", 108.0)
    slow = ConnectionFSM(now_s=100.0)
    slow.receive(b"x", 105.0)
    assert slow.due() == ("handshake_s", 110.0)
    slow.abort()
    assert slow.due() == ("for ever", math.inf)


def test_where_two_limits_end_at_once_the_one_of_the_state_is_named() -> None:
    fsm = opened(Limits(lifetime_s=300.0, idle_s=300.0), now_s=100.0)
    assert fsm.due() == ("idle_s", 400.0)


def test_a_pause_holds_reading_and_after_the_end_means_nothing() -> None:
    fsm = opened()
    fsm.pause()
    assert (fsm.paused, fsm.wants_read) == (True, False)
    fsm.resume()
    assert fsm.wants_read
    fsm.abort()
    fsm.pause()
    assert not fsm.paused


def test_observers_are_told_after_each_transition() -> None:
    told: list[tuple[State, Event, State]] = []
    fsm = ConnectionFSM()
    fsm.observe(lambda fsm, origin, event: told.append((origin, event, fsm.state)))
    fsm.open()
    fsm.enqueue(b"a")
    fsm.observe(None)
    fsm.abort()
    assert told == [(State.ACCEPTED, Event.OPEN, State.READING), (State.READING, Event.ENQUEUE, State.QUEUED)]


class Hooked(ConnectionFSM):
    log: list[str]

    def on_exit_accepted(self) -> None:
        self.log.append(f"exit accepted in {self.state}")

    def on_enter_reading(self) -> None:
        self.log.append(f"enter reading in {self.state}")

    def on_exit_reading(self) -> None:
        self.log.append("exit reading")

    def on_enter_closed(self) -> None:
        self.log.append("enter closed")


def test_hooks_are_called_as_transitions_does_also_where_a_state_follows_itself() -> None:
    fsm = Hooked()
    fsm.log = []
    fsm.open()
    fsm.receive(b"x")
    fsm.abort()
    assert fsm.log == [
        "exit accepted in accepted", "enter reading in reading", "exit reading", "enter reading in reading", "exit reading", "enter closed",
    ]  # fmt: skip


def test_data_that_a_hook_answered_by_closing_is_not_delivered() -> None:
    class Strict(ConnectionFSM):
        def on_exit_reading(self) -> None:
            if not self.closed:
                self.abort()

    fsm = Strict()
    fsm.open()
    assert fsm.receive(b"x") is False
    assert fsm.closed


def test_a_machine_shows_itself() -> None:
    fsm = opened(Limits())
    assert repr(fsm) == "<ConnectionFSM reading>"
    fsm.enqueue(b"x" * 12_595)
    fsm.set_marks(1000, 10)
    fsm.flush()
    assert repr(fsm) == "<ConnectionFSM writing 12.3 KiB in outbox, holding backpressure>"
    fsm.abort()
    assert repr(fsm) == "<ConnectionFSM closed, aborted by the application while writing, 12595 bytes discarded>"


def explained(*steps: str, now_s: float | None = None) -> str:
    fsm = ConnectionFSM(limits=Limits(outbox_high_bytes=1 << 20, outbox_low_bytes=1 << 18))
    actions: dict[str, Any] = {
        "open": fsm.open,
        "big": lambda: fsm.enqueue(b"x" * 1_258_291),
        "small": lambda: fsm.enqueue(b"x" * 500),
        "half": lambda: (fsm.flush(), fsm.sent(629_145)),
        "pause": fsm.pause,
        "eof": lambda: fsm.eof(half_open=True),
        "close": fsm.close,
        "abort": fsm.abort,
    }
    for step in steps:
        actions[step]()
    return fsm.explain(now_s)


@pytest.mark.parametrize(
    ("steps", "now_s", "sentence"),
    [
        ((), None, "accepted, waiting for the handshake; handshake_s applies"),
        (("open",), 14.2, "reading, nothing to send for 14.2 s; idle_s ends this in 285.8 s"),
        (("open", "small"), None, "reading, and 500 B to send; stall_s applies"),
        (
            ("open", "big"),
            14.2,
            "not reading because the outbox holds 1.2 MiB, over 1 MiB; 1.2 MiB to send for 14.2 s; stall_s ends this in 45.8 s",
        ),
        (
            ("open", "big", "half"),
            None,
            "not reading because the outbox holds 614.4 KiB and is not down to 256 KiB yet; 614.4 KiB to send; stall_s applies",
        ),
        (
            ("open", "pause", "eof"),
            None,
            "not reading because the peer has sent its last byte and the application paused it; half_closed_s applies",
        ),
        (("open", "close"), None, "all is sent, reading and discarding until the peer's FIN; linger_s applies"),
        (("open", "abort"), 5.0, "closed: aborted by the application while reading"),
    ],
)
def test_it_explains_itself(steps: tuple[str, ...], now_s: float | None, sentence: str) -> None:
    assert explained(*steps, now_s=now_s) == sentence


def test_the_package_gives_the_machine_without_the_runtime() -> None:
    assert fsmserver.ConnectionFSM is ConnectionFSM
    assert callable(fsmserver.serve)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fsmserver.nothing  # noqa: B018


def test_who_leaves_the_time_out_lives_at_zero() -> None:
    fsm = ConnectionFSM()
    assert fsm.due() == ("handshake_s", 10.0)
    fsm.open()
    fsm.receive(b"x")
    assert fsm.since_s == 0.0
    fsm.enqueue(b"abc")
    fsm.flush()
    fsm.sent(3)
    assert fsm.since_s == 0.0
    fsm.enqueue(b"abc")
    fsm.flush()
    fsm.sent(1)
    assert fsm.since_s == 0.0
    fsm.sent(2)
    fsm.eof(half_open=True)
    assert fsm.since_s == 0.0
    lingering = opened()
    lingering.close()
    assert lingering.since_s == 0.0
    watched = opened()
    watched.observe(lambda *_: None)
    watched.receive(b"x")
    assert watched.since_s == 0.0


def test_each_end_says_who_took_it() -> None:
    for end in (ConnectionFSM.abort, ConnectionFSM.close):
        fsm = ConnectionFSM()
        end(fsm, who=Who.SERVER)
        assert reason(fsm).who is Who.SERVER
    overrun = opened()
    overrun.close()
    overrun.receive(b"123456")
    assert reason(overrun).who is Who.SERVER
    assert str(reason(overrun).error) == "the peer sent more than 5 bytes after the connection was closed (linger_bytes)"


def test_a_peer_that_ended_first_has_ended_it_also_when_the_last_byte_is_sent() -> None:
    fsm = opened()
    fsm.eof(half_open=True)
    fsm.enqueue(b"abc")
    fsm.write_eof()
    assert not fsm.closing, "the last bytes are still to be sent"
    drain(fsm)
    assert reason(fsm).who is Who.PEER


def test_the_end_of_our_stream_alone_does_not_close() -> None:
    fsm = opened()
    fsm.enqueue(b"abc")
    fsm.write_eof()
    drain(fsm)
    assert (fsm.state, fsm.holds, fsm.wants_fin, fsm.wants_read) == (State.READING, Hold(0), True, True)
    silent = opened()
    silent.write_eof()
    assert (silent.closing, silent.wants_fin) == (False, True)


@pytest.mark.parametrize(
    ("call", "event"),
    [(lambda fsm: fsm.enqueue(b"x"), Event.ENQUEUE), (lambda fsm: fsm.write_eof(), Event.ENQUEUE), (lambda fsm: fsm.sent(0), Event.DRAIN)],
)
def test_what_is_refused_before_open_names_the_event(call: Callable[[ConnectionFSM], object], event: Event) -> None:
    with pytest.raises(IllegalTransition) as raised:
        call(ConnectionFSM())
    assert raised.value.event is event


def test_a_deadline_that_passes_says_which_and_what_is_none_says_its_name() -> None:
    fsm = opened()
    fsm.expire("stall_s")
    assert str(reason(fsm).error) == "stall_s passed: 60 s"
    with pytest.raises(LimitError) as raised:
        opened().expire("idle")
    assert str(raised.value) == "limit must be the name of a deadline, such as idle_s, not 'idle'"
    assert (raised.value.name, raised.value.value) == ("limit", "idle")


def test_the_marks_and_the_cap_may_be_reached_and_not_passed() -> None:
    fsm = opened()
    fsm.enqueue(b"x" * 5)
    assert fsm.enqueue(b"x" * 5) is False
    assert fsm.holds == Hold(0), "10 bytes are not over a high mark of 10"
    assert fsm.set_marks(10, 10) is False
    assert fsm.holds == Hold(0)
    fsm.enqueue(b"x" * 10)
    assert fsm.outbox.size_bytes == 20
    with pytest.raises(LimitError) as raised:
        fsm.set_marks(5, 6)
    assert raised.value.value == 6


def test_backpressure_is_held_beside_what_is_held_already() -> None:
    fsm = opened()
    fsm.pause()
    fsm.enqueue(b"x" * 11)
    assert fsm.holds == Hold.PAUSED | Hold.BACKPRESSURE


def test_hooks_are_found_when_a_class_is_made_and_called_though_nobody_observes() -> None:
    entered: list[str] = []

    class Telling(ConnectionFSM):
        def on_enter_queued(self) -> None:
            entered.append("queued")

    fsm = Telling()
    fsm.open()
    fsm.observe(None)
    fsm.enqueue(b"x")
    assert entered == ["queued"]


@pytest.mark.parametrize("watched", [True, False])
def test_what_is_received_is_counted_up(watched: bool) -> None:
    fsm = opened()
    if watched:
        fsm.observe(lambda *_: None)
    for data in (b"ab", b"cde"):
        assert fsm.receive(data)
    assert fsm.received_bytes == 5


def test_a_stall_counts_from_the_first_byte_that_is_queued() -> None:
    fsm = opened()
    fsm.observe(lambda *_: None)
    fsm.enqueue(b"a", 5.0)
    fsm.enqueue(b"b", 6.0)
    assert fsm.since_s == 5.0


def test_writes_are_judged_by_the_marks_that_were_set_last() -> None:
    fsm = opened()
    fsm.set_marks(2, 1)
    assert fsm.enqueue(b"abc") is True
    assert fsm.holds == Hold.BACKPRESSURE
    roomy = opened()
    roomy.set_marks(1000, 1)
    with pytest.raises(OutboxOverflow):
        roomy.enqueue(b"x" * 21)


def test_an_answer_needs_no_second_look_up_to_the_high_mark_and_the_cap() -> None:
    fsm = ConnectionFSM(limits=Limits(outbox_high_bytes=10, outbox_low_bytes=5, outbox_cap_bytes=20))
    assert (fsm.usual_bytes, fsm.turn_bytes) == (10, 0)
    fsm.set_marks(15, 5)
    assert fsm.usual_bytes == 15
    fsm.set_marks(30, 5)
    assert fsm.usual_bytes == 20
    fsm.observe(lambda *_: None)
    assert fsm.usual_bytes == 0
    fsm.observe(None)
    assert fsm.usual_bytes == 20


def test_one_who_is_told_of_exchanges_leaves_the_short_way_until_all_was_told() -> None:
    fsm, told = opened(), list[Event]()
    fsm.observe(lambda fsm, origin, event: told.append(event), exchanges=True)
    usual_bytes = fsm.limits.outbox_high_bytes
    for what, expected in (
        (lambda: fsm.receive(b"x"), 0),  # its bytes are told with the next event
        (lambda: fsm.enqueue(b"x"), usual_bytes),
        (lambda: fsm.set_marks(3, 1), 0),  # so are the marks
        (lambda: fsm.flush(), 3),
        (lambda: fsm.tell_all(), 0),
        (lambda: fsm.sent(1), 3),
        (lambda: fsm.abort(), 0),
    ):
        fsm.turn_bytes = 1
        what()
        assert (fsm.usual_bytes, fsm.turn_bytes) == (expected, 0)
    assert told == [Event.RECEIVE, Event.ENQUEUE, Event.FLUSH, Event.DRAIN, Event.ABORT]


def test_the_marks_that_were_told_last_are_known_until_others_are() -> None:
    fsm = opened()
    marks = fsm.marks
    fsm.observe(lambda *_: None, exchanges=True)
    assert fsm.told_marks == marks
    fsm.set_marks(3, 1)
    fsm.set_marks(0, 0)
    assert (fsm.told_marks, fsm.marks) == (marks, (0, 0))
    fsm.receive(b"x")
    assert fsm.told_marks == (0, 0)
    fsm.set_marks(3, 1)
    assert fsm.told_marks == (0, 0)


def test_a_subclass_with_hooks_or_methods_of_its_own_is_always_asked() -> None:
    class Hooked(ConnectionFSM):
        def on_enter_queued(self) -> None: ...

    class Changed(ConnectionFSM):
        def receive(self, data: Sized, now_s: float = 0.0) -> bool:
            return super().receive(data, now_s)

    class Named(ConnectionFSM):
        name = "x"

    for fsm_class, usual_bytes in ((Hooked, 0), (Changed, 0), (Named, Limits().outbox_high_bytes)):
        fsm = fsm_class()
        assert fsm.usual_bytes == usual_bytes
        fsm.observe(None)
        assert fsm.usual_bytes == usual_bytes


@pytest.mark.parametrize(
    "what",
    [
        lambda fsm: fsm.enqueue(b"x"),
        lambda fsm: fsm.close(),
        lambda fsm: fsm.write_eof(),
        lambda fsm: fsm.abort(),
        lambda fsm: fsm.eof(half_open=True),
        lambda fsm: fsm.set_marks(9, 3),
        lambda fsm: fsm.observe(None),
    ],
)
def test_whatever_changes_the_machine_ends_the_turn(what: Callable[[ConnectionFSM], object]) -> None:
    fsm = opened()
    fsm.turn_bytes = fsm.usual_bytes
    what(fsm)
    assert fsm.turn_bytes == 0


def test_a_queue_of_which_nothing_was_offered_wants_to_be_flushed() -> None:
    fsm = ConnectionFSM()
    fsm.open()
    assert not fsm.wants_flush
    fsm.enqueue(b"x")
    assert fsm.wants_flush
    fsm.flush()  # type: ignore[unreachable] # mypy takes a property for a fact
    assert not fsm.wants_flush
