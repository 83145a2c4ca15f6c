"""One live connection: what each report and each answer of the socket leads to."""

import errno
import gc
import os
import socket
import weakref
from typing import Any

import pytest

from fsmserver.core.limits import Limits
from fsmserver.core.states import Interest, State
from fsmserver.runtime.link import address_words
from fsmserver.runtime.ports import ERROR, EXCEPTIONAL, HANGUP, INVALID, READABLE, WRITABLE
from tests.fakes import BufferedRecorder, Recorder, assert_no_leaks, make_world

SMALL = Limits(outbox_high_bytes=100, outbox_low_bytes=20, outbox_cap_bytes=1000, read_budget_bytes=600, linger_bytes=50)


def echo(recorder: Recorder, data: bytes) -> None:
    recorder.say(data)


def fail(*_: Any) -> None:
    raise ValueError("a mistake of the application")


def test_an_echo_is_answered_in_the_round_that_brought_it() -> None:
    world = make_world()
    sock, protocol = world.connect(Recorder(data_received=echo))
    sock.feed(b"hello")
    world.round()
    assert bytes(sock.sent) == b"hello"
    sock.feed_eof()
    world.round()
    assert protocol.lost == [None]
    assert protocol.names == ["connection_made", "data_received", "eof_received", "connection_lost"]
    assert not sock.reset_on_close
    assert_no_leaks(world)


@pytest.mark.parametrize("protocol_class", [Recorder, BufferedRecorder])
@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EINTR])
def test_a_false_report_of_readiness_is_no_harm(protocol_class: type[Recorder], number: int) -> None:
    world = make_world()
    sock, protocol = world.connect(protocol_class())
    sock.feed_error(number)
    world.round()
    assert not protocol.lost
    sock.feed(b"x")
    world.round()
    assert bytes(protocol.received) == b"x"
    assert_no_leaks(world)


@pytest.mark.parametrize("protocol_class", [Recorder, BufferedRecorder])
def test_a_reset_on_receiving_ends_this_connection_with_its_errno(protocol_class: type[Recorder]) -> None:
    world = make_world()
    sock, protocol = world.connect(protocol_class())
    other_sock, other = world.connect()
    sock.feed_error(errno.ECONNRESET)
    other_sock.feed(b"still here")
    world.round()
    assert isinstance(protocol.lost[0], ConnectionResetError)
    assert bytes(other.received) == b"still here"
    assert_no_leaks(world)


def test_an_error_that_peers_do_not_cause_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world()
    sock, protocol = world.connect()
    sock.feed_error(errno.EBADMSG)
    world.round()
    assert protocol.lost[0].errno == errno.EBADMSG  # type: ignore[union-attr]
    assert "lost:" in caplog.text
    assert_no_leaks(world)


def test_the_receive_buffer_grows_with_what_comes_up_to_the_budget() -> None:
    world = make_world(limits=SMALL)
    sock, protocol = world.connect()
    sock.feed(b"a" * 2000)
    world.rounds(4)
    assert len(protocol.received) == 2000
    assert [len(data) for name, data in protocol.calls if name == "data_received"] == [448, 600, 600, 352]
    assert_no_leaks(world)


def test_a_buffer_that_was_filled_is_four_times_the_size_the_next_time() -> None:
    world = make_world()
    sock, protocol = world.connect()
    sock.feed(b"a" * (448 + 1792 + 7168))
    world.rounds(3)
    assert [len(data) for name, data in protocol.calls if name == "data_received"] == [448, 1792, 7168]
    assert_no_leaks(world)


def test_a_socket_that_is_shared_may_have_the_highest_descriptor_so_far() -> None:
    world = make_world()
    world.scheduler._by_descriptor = False
    sock, _ = world.connect(Recorder(data_received=echo))
    sock.feed(b"hello")
    world.round()
    assert bytes(sock.sent) == b"hello"
    assert_no_leaks(world)


def test_who_asks_twice_to_be_settled_is_settled_once() -> None:
    world = make_world()
    _, protocol = world.connect()
    link = protocol.link
    assert link is not None
    link.touch()
    link.touch()
    assert world.scheduler.touched == [link]
    world.round()
    assert_no_leaks(world)


def test_a_protocol_that_wants_it_half_open_can_go_on_sending() -> None:
    world = make_world()
    sock, protocol = world.connect(Recorder(eof_received=lambda *_: True))
    sock.feed_eof()
    world.rounds(2)
    assert not protocol.lost
    protocol.say(b"late answer")
    world.round()
    assert bytes(sock.sent) == b"late answer"
    protocol.transport.close()
    world.rounds(2)
    assert protocol.lost == [None]
    assert_no_leaks(world)


def test_an_eof_with_bytes_still_queued_ends_when_the_last_one_is_taken() -> None:
    world = make_world()
    sock, protocol = world.connect()
    sock.room_bytes = 3
    protocol.say(b"abcdef")
    sock.feed_eof()
    world.rounds(3)
    assert not protocol.lost
    sock.room_bytes = 100
    world.rounds(2)
    assert bytes(sock.sent) == b"abcdef"
    assert protocol.lost == [None]
    assert_no_leaks(world)


def test_a_buffered_protocol_gets_what_came_in_its_own_buffer() -> None:
    world = make_world()
    sock, protocol = world.connect(BufferedRecorder(size_bytes=4))
    sock.feed(b"abcdefghij")
    world.rounds(4)
    assert bytes(protocol.received) == b"abcdefghij"
    assert [size for name, size in protocol.calls if name == "buffer_updated"] == [4, 4, 2]
    sock.feed_eof()
    world.round()
    assert protocol.lost == [None]
    assert_no_leaks(world)


@pytest.mark.parametrize("buffer", [bytearray(), "no buffer at all"])
def test_a_buffer_that_is_none_aborts_this_connection_only(buffer: object) -> None:
    world = make_world()
    sock, protocol = world.connect(BufferedRecorder(get_buffer=lambda *_: buffer))
    sock.feed(b"x")
    world.round()
    assert isinstance(protocol.lost[0], RuntimeError | TypeError)
    assert world.scheduler.counts.protocol_errors == 1
    assert_no_leaks(world)


def test_a_protocol_may_abort_while_it_is_asked_for_a_buffer() -> None:
    world = make_world()
    buffer = bytearray(8)
    sock, protocol = world.connect(BufferedRecorder(get_buffer=lambda me, _: me.transport.abort() or buffer))
    sock.feed(b"x")
    world.round()
    assert protocol.lost == [None]
    assert_no_leaks(world)


@pytest.mark.parametrize("protocol_class", [Recorder, BufferedRecorder])
def test_a_lingering_close_discards_what_still_comes_until_the_fin(protocol_class: type[Recorder]) -> None:
    world = make_world()
    sock, protocol = world.connect(protocol_class())
    protocol.say(b"bye")
    protocol.transport.close()
    world.round()
    assert bytes(sock.sent) == b"bye"
    assert sock.shut
    sock.feed(b"too late")
    world.round()
    assert not protocol.received
    assert not protocol.lost
    sock.feed_eof()
    world.round()
    assert protocol.lost == [None]
    assert "eof_received" not in protocol.names
    assert_no_leaks(world)


@pytest.mark.parametrize("protocol_class", [Recorder, BufferedRecorder])
def test_a_lingering_close_gives_up_on_a_peer_that_sends_for_ever(protocol_class: type[Recorder]) -> None:
    world = make_world(limits=SMALL)
    sock, protocol = world.connect(protocol_class())
    protocol.transport.close()
    world.round()
    sock.feed(b"x" * 1000)
    world.rounds(2)
    assert protocol.lost == [None], "nothing that was written is lost"
    assert sock.reset_on_close
    assert_no_leaks(world)


def test_a_lingering_close_gives_up_on_a_silent_peer_at_its_deadline() -> None:
    world = make_world()
    _, protocol = world.connect()
    protocol.transport.close()
    world.pass_time(4.9)
    assert not protocol.lost
    world.pass_time(0.2)
    assert protocol.lost == [None]
    assert_no_leaks(world)


def test_urgent_data_is_consumed_and_counted_by_default() -> None:
    world = make_world()
    sock, protocol = world.connect()
    sock.feed_urgent()
    world.rounds(2)
    assert not sock.urgent
    assert world.scheduler.counts.urgent == 1
    sock.feed(b"after")
    world.round()
    assert bytes(protocol.received) == b"after"
    assert_no_leaks(world)


def test_urgent_data_that_has_not_come_yet_is_no_harm() -> None:
    world = make_world()
    sock, protocol = world.connect()
    world.poller.inject(sock.fd, 2)
    world.round()
    assert not protocol.lost
    assert_no_leaks(world)


def test_urgent_data_closes_the_connection_if_the_policy_says_so() -> None:
    world = make_world(exceptional="close")
    sock, protocol = world.connect()
    sock.feed_urgent()
    sock.feed(b"never delivered")
    world.round()
    assert "urgent" in str(protocol.lost[0])
    assert not protocol.received
    assert_no_leaks(world)


def test_urgent_data_comes_with_the_rest_if_it_is_inline() -> None:
    world = make_world(exceptional="inline")
    sock, protocol = world.connect()
    assert (socket.SOL_SOCKET, socket.SO_OOBINLINE, 1) in sock.options
    sock.feed(b"a!b")
    world.poller.inject(sock.fd, 2 | READABLE)
    world.round()
    assert bytes(protocol.received) == b"a!b"
    assert_no_leaks(world)


def test_a_hang_up_of_a_paused_connection_is_muted_and_comes_back_on_resume() -> None:
    world = make_world()
    sock, protocol = world.connect()
    protocol.transport.pause_reading()
    world.round()
    sock.feed_eof()
    sock.shut = True
    world.round()
    assert sock.fd in world.poller.muted
    before_s = world.clock.now_s
    world.round(10)
    assert world.clock.now_s == before_s + 10, "a wait that is not ended at once does not spin"
    protocol.transport.resume_reading()
    world.rounds(3)
    assert protocol.lost == [None]
    assert_no_leaks(world)


def test_a_hang_up_while_something_is_queued_is_left_to_the_send() -> None:
    world = make_world()
    sock, protocol = world.connect()
    protocol.transport.pause_reading()
    sock.room_bytes = 0
    protocol.say(b"x")
    world.round()
    world.poller.inject(sock.fd, HANGUP)
    world.round()
    assert not protocol.lost
    assert not world.poller.muted
    assert_no_leaks(world)


def test_a_hang_up_is_read_while_reading_is_wanted() -> None:
    world = make_world()
    sock, protocol = world.connect()
    sock.feed(b"last words")
    world.poller.inject(sock.fd, HANGUP)
    world.round()
    assert bytes(protocol.received) == b"last words"
    assert_no_leaks(world)


@pytest.mark.parametrize(
    ("bits", "so_error", "expected"),
    [
        (ERROR, errno.ETIMEDOUT, errno.ETIMEDOUT),
        (ERROR | HANGUP, 0, errno.ECONNRESET),
        (INVALID, errno.EPIPE, errno.EBADF),
    ],
)
def test_an_error_report_ends_the_connection_with_what_the_socket_says(bits: int, so_error: int, expected: int) -> None:
    world = make_world()
    sock, protocol = world.connect()
    world.poller.inject(sock.fd, bits)
    sock.so_error = so_error
    world.round()
    assert protocol.lost[0].errno == expected  # type: ignore[union-attr]
    assert_no_leaks(world)


def test_an_error_report_of_a_socket_that_cannot_say_more_is_a_bad_descriptor() -> None:
    world = make_world()
    sock, protocol = world.connect()
    sock.getsockopt_error = OSError(errno.EBADF, "bad")
    world.poller.inject(sock.fd, ERROR)
    world.round()
    assert protocol.lost[0].errno == errno.EBADF  # type: ignore[union-attr]
    assert_no_leaks(world)


def test_what_a_partial_send_left_over_is_sent_when_there_is_room() -> None:
    world = make_world()
    sock, protocol = world.connect(Recorder(data_received=echo))
    sock.room_bytes = 4
    sock.feed(b"0123456789")
    world.round()
    assert bytes(sock.sent) == b"0123"
    assert protocol.transport.fsm.state is State.WRITING
    assert world.scheduler.outputs == {sock.fd}
    sock.room_bytes = 3
    world.round()
    sock.room_bytes = 100
    world.round()
    assert bytes(sock.sent) == b"0123456789"
    assert world.scheduler.outputs == set()
    assert_no_leaks(world)


def test_several_chunks_are_offered_in_one_call() -> None:
    world = make_world()
    sock, protocol = world.connect()
    protocol.say(b"a" * 5000)
    protocol.say(b"b" * 5000)
    world.round()
    assert sock.sends == [10000]
    assert_no_leaks(world)


def test_a_full_kernel_is_asked_again_when_writable() -> None:
    world = make_world()
    sock, protocol = world.connect(Recorder(data_received=echo))
    sock.room_bytes = 0
    sock.feed(b"x")
    world.round()
    assert protocol.transport.fsm.state is State.WRITING
    sock.room_bytes = 1
    world.round()
    assert bytes(sock.sent) == b"x"
    assert_no_leaks(world)


@pytest.mark.parametrize("where", ["at once", "later"])
def test_a_send_to_a_peer_that_is_gone_ends_the_connection(where: str) -> None:
    world = make_world()
    sock, protocol = world.connect(Recorder(data_received=echo))
    sock.send_error = OSError(errno.EPIPE, "Broken pipe")
    if where == "at once":
        sock.feed(b"x")
    else:
        protocol.say(b"x")
    world.round()
    assert isinstance(protocol.lost[0], BrokenPipeError)
    reason = protocol.transport.fsm.close_reason
    assert reason is not None
    assert reason.discarded_bytes == 1
    assert_no_leaks(world)


def test_a_connection_that_fails_when_it_is_writable_is_retired_once() -> None:
    world = make_world()
    sock, protocol = world.connect()
    sock.room_bytes = 0
    protocol.say(b"x")
    world.round()
    sock.send_error = OSError(errno.EPIPE, "Broken pipe")
    world.round()
    assert isinstance(protocol.lost[0], BrokenPipeError)
    assert_no_leaks(world)


def test_without_eager_writes_a_reply_waits_for_the_writable_set() -> None:
    world = make_world(eager_writes=False)
    sock, protocol = world.connect(Recorder(data_received=echo))
    sock.feed(b"x")
    world.round()
    assert protocol.transport.fsm.state is State.QUEUED
    assert world.scheduler.outputs == {sock.fd}
    world.round()
    assert bytes(sock.sent) == b"x"
    assert_no_leaks(world)


def test_a_peer_that_never_reads_is_not_read_and_is_given_up_in_the_end() -> None:
    world = make_world(limits=SMALL)
    sock, protocol = world.connect(Recorder(data_received=echo))
    sock.room_bytes = 0
    for _ in range(50):
        sock.feed(b"x" * 60)
        world.round()
    assert protocol.names.count("pause_writing") == 1
    assert protocol.transport.fsm.outbox.size_bytes <= 120
    assert not protocol.transport.fsm.wants_read
    world.pass_time(61)
    assert isinstance(protocol.lost[0], TimeoutError)
    assert_no_leaks(world)


def test_what_resume_writing_writes_waits_for_the_writable_set() -> None:
    world = make_world(limits=SMALL)
    sock, protocol = world.connect(Recorder(resume_writing=lambda me: me.say(b"y" * 90)))
    sock.room_bytes = 150
    protocol.say(b"x" * 150)
    world.round()
    assert sock.sends == [150]
    assert protocol.names[-1] == "resume_writing"
    assert protocol.transport.fsm.state is State.QUEUED
    sock.room_bytes = 1000
    world.round()
    assert sock.sends == [150, 90]
    assert_no_leaks(world)


CALLBACKS = ("connection_made", "data_received", "eof_received", "pause_writing", "resume_writing", "connection_lost", "buffer_updated")


@pytest.mark.parametrize("callback", CALLBACKS)
def test_a_mistake_in_a_callback_aborts_that_connection_alone(callback: str, caplog: pytest.LogCaptureFixture) -> None:
    world = make_world(limits=SMALL)
    protocol_class = BufferedRecorder if callback == "buffer_updated" else Recorder
    on: dict[str, Any] = {"data_received": lambda me, _: me.say(b"z" * 150), callback: fail}
    sock, protocol = world.connect(protocol_class(**on))
    other_sock, other = world.connect()
    sock.feed(b"x")
    other_sock.feed(b"y")
    world.rounds(2)
    sock.feed_eof()
    world.rounds(2)
    assert len(protocol.lost) == 1
    assert caplog.text.count("ValueError: a mistake of the application") == 1
    assert world.scheduler.counts.protocol_errors == 1
    assert bytes(other.received) == b"y"
    assert not other.lost
    assert_no_leaks(world)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("callback", [*CALLBACKS, "get_buffer"])
def test_a_wish_to_end_the_program_passes_through_every_callback(callback: str, error: type[BaseException]) -> None:
    world = make_world(limits=SMALL)

    def leave(*_: Any) -> None:
        raise error

    protocol_class = BufferedRecorder if callback in ("buffer_updated", "get_buffer") else Recorder
    on: dict[str, Any] = {"data_received": lambda me, _: me.say(b"z" * 150), callback: leave}

    def live() -> None:
        sock, _ = world.connect(protocol_class(**on))
        sock.feed(b"x")
        world.scheduler.round(0)
        sock.feed_eof()
        world.scheduler.round(0)
        world.scheduler.round(0)

    with pytest.raises(error):
        live()
    world.protocols.clear()
    assert_no_leaks(world)


def test_a_protocol_need_not_have_all_the_callbacks() -> None:
    world = make_world()
    sock = world.kernel.socket()
    world.scheduler.admit(sock, None, object)
    sock.feed_eof()
    world.rounds(2)
    assert sock.closes == 1
    assert not sock.options, "an unnamed peer is no TCP peer"
    assert_no_leaks(world)


def test_connection_lost_comes_from_the_loop_and_not_from_within_abort() -> None:
    world = make_world()
    sock, protocol = world.connect(Recorder(data_received=lambda me, _: (me.transport.abort(), me.calls.append(("after", None)))))
    sock.feed(b"x")
    world.round()
    assert protocol.names == ["connection_made", "data_received", "after", "connection_lost"]
    assert protocol.lost == [None]
    assert_no_leaks(world)


def test_only_an_abort_tells_the_peer_by_a_reset() -> None:
    world = make_world()
    sock, protocol = world.connect()
    protocol.transport.abort()
    world.round()
    assert sock.options[-1] == (socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    idle_sock, idle = world.connect()
    world.pass_time(301)
    assert isinstance(idle.lost[0], TimeoutError)
    assert not idle_sock.reset_on_close
    assert_no_leaks(world)


def test_a_socket_that_fails_to_shut_down_or_close_is_given_up_all_the_same() -> None:
    world = make_world()
    sock, protocol = world.connect()
    sock.shutdown_error = sock.setsockopt_error = OSError(errno.ENOTCONN, "not connected")
    sock.close_error = OSError(errno.ECONNRESET, "reset")
    protocol.transport.close()
    world.round()
    protocol.transport.abort()
    world.round()
    assert sock.closes == 1
    assert_no_leaks(world)


def test_a_report_for_reading_after_another_callback_held_it_is_left_alone() -> None:
    world = make_world()
    first_sock, _ = world.connect(Recorder(data_received=lambda *_: second.transport.pause_reading()))
    second_sock, second = world.connect()
    first_sock.feed(b"x")
    second_sock.feed(b"y")
    world.round()
    assert second_sock.receives == 0
    assert not second.received
    assert_no_leaks(world)


def test_one_connection_may_end_another_in_the_same_round() -> None:
    world = make_world()
    first_sock, _ = world.connect(Recorder(data_received=lambda *_: second.transport.abort()))
    second_sock, second = world.connect()
    first_sock.feed(b"x")
    second_sock.feed(b"y")
    world.round()
    assert not second.received
    assert second.lost == [None]
    assert world.scheduler.counts.stale == 1
    assert_no_leaks(world)


def test_a_report_for_writing_with_nothing_to_write_is_no_harm() -> None:
    world = make_world()
    sock, protocol = world.connect()
    world.poller.inject(sock.fd, WRITABLE)
    world.round()
    assert not protocol.lost
    assert_no_leaks(world)


def test_a_hook_of_the_machine_may_abort_on_receiving() -> None:
    from fsmserver.core.connection import ConnectionFSM

    class Touchy(ConnectionFSM):
        touched = False

        def on_exit_reading(self) -> None:
            if not self.touched:
                self.touched = True  # the reset below leaves the state too
                self.reset()

    for protocol_class in (Recorder, BufferedRecorder):
        world = make_world(fsm_class=Touchy)
        sock, protocol = world.connect(protocol_class())
        sock.feed(b"x")
        world.round()
        assert len(protocol.lost) == 1
        assert_no_leaks(world)


def test_a_deadline_that_moved_on_is_armed_again_and_not_fired() -> None:
    world = make_world()
    sock, protocol = world.connect()
    world.pass_time(200)
    sock.feed(b"x")
    world.round()
    world.pass_time(200)
    assert not protocol.lost
    world.pass_time(101)
    assert "idle_s" in str(protocol.lost[0])
    assert_no_leaks(world)


def test_a_closed_connection_is_freed_without_the_garbage_collector() -> None:
    world = make_world()
    sock = world.kernel.socket()
    kept: list[weakref.ref[Any]] = []

    class Quiet:
        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            kept.extend((weakref.ref(self), weakref.ref(sock)))

    gc.collect()
    gc.disable()
    try:
        world.scheduler.admit(sock, None, Quiet)
        sock.feed_eof()
        world.rounds(2)
        assert kept[0]() is None
    finally:
        gc.enable()
    assert_no_leaks(world)


def test_a_link_shows_its_peer_and_its_machine() -> None:
    world = make_world()
    _, protocol = world.connect()
    assert repr(protocol.link).startswith("<Link #1 192.0.2.1:40000: <ConnectionFSM reading")
    assert protocol.link is not None
    assert protocol.link.registered == Interest.READ
    assert_no_leaks(world)


@pytest.mark.parametrize(
    ("address", "words"),
    [(("127.0.0.1", 1), "127.0.0.1:1"), (("::1", 2, 0, 0), "[::1]:2"), ("/run/x", "/run/x"), (None, "unnamed"), ("", "unnamed")],
)
def test_addresses_are_written_as_people_do(address: object, words: str) -> None:
    assert address_words(address) == words


def test_what_came_before_a_reset_is_delivered_first() -> None:
    world = make_world()
    sock, protocol = world.connect()
    sock.feed(b"last words")
    sock.feed_error(errno.ECONNRESET)
    sock.so_error = errno.ECONNRESET
    world.rounds(2)
    assert protocol.received == b"last words"
    assert protocol.lost[0].errno == errno.ECONNRESET  # type: ignore[union-attr]


def test_a_false_error_report_among_true_readiness_reads_only() -> None:
    world = make_world()
    sock, protocol = world.connect()
    sock.room_bytes = 0
    protocol.say(b"x")
    protocol.transport.pause_reading()
    world.round()
    world.poller.inject(sock.fd, ERROR | READABLE)
    world.round()
    assert protocol.transport.fsm.state is State.WRITING


def test_a_closed_connection_acts_on_no_more_of_the_same_report() -> None:
    world = make_world(exceptional="close")
    sock, protocol = world.connect()
    sock.feed_urgent()
    sock.feed(b"never delivered")
    world.round()
    assert protocol.received == b""
    assert len(protocol.lost) == 1


def test_a_buffered_protocol_is_asked_for_any_size_and_gets_no_more_than_the_budget() -> None:
    world = make_world(limits=SMALL)
    hints: list[int] = []

    def give(recorder: Recorder, hint: int) -> object:
        hints.append(hint)
        return recorder.buffer  # type: ignore[attr-defined] # a BufferedRecorder's

    sock, protocol = world.connect(BufferedRecorder(2000, get_buffer=give))
    sock.feed(b"x" * 1500)
    world.round()
    assert (hints, len(protocol.received)) == ([-1], 600)
    protocol.transport.close()
    sock.feed(b"late")
    world.rounds(2)
    assert hints == [-1], "after a close it is not asked any more"
    assert_no_leaks(world)


def test_an_empty_buffer_is_named_in_the_error() -> None:
    world = make_world()
    sock, protocol = world.connect(BufferedRecorder(0))
    sock.feed(b"x")
    world.round()
    assert str(protocol.lost[0]) == "get_buffer() returned an empty buffer"
    assert_no_leaks(world)


def test_each_part_of_a_report_is_heard_for_itself() -> None:
    world = make_world()
    sock, protocol = world.connect()
    link = protocol.link
    assert link is not None
    link.ready(WRITABLE)
    assert sock.receives == 0, "what is writable is not read"
    sock.room_bytes = 3
    protocol.say(b"abcdef")
    world.round()
    taken = len(sock.sends)
    sock.room_bytes = 3
    link.ready(READABLE)
    assert len(sock.sends) == taken, "what is readable is not written"
    assert sock.receives == 1
    assert world.scheduler.counts.urgent == 0
    sock.room_bytes = 99
    world.round()
    assert bytes(sock.sent) == b"abcdef"
    protocol.transport.pause_reading()
    link.ready(EXCEPTIONAL)
    assert world.poller.muted == set(), "only a hang-up is muted"
    assert world.scheduler.counts.urgent == 0
    assert_no_leaks(world)


def test_urgent_bytes_are_taken_one_at_a_time_and_each_is_counted() -> None:
    world = make_world()
    sock, _ = world.connect()
    asked: list[tuple[int, int]] = []

    def recv(count_bytes: int, flags: int = 0) -> bytes:
        asked.append((count_bytes, flags))
        return sock.urgent.popleft()

    sock.recv = recv  # type: ignore[method-assign] # to see what it is asked for
    for _ in range(2):
        sock.feed_urgent()
        world.round()
    assert asked == [(1, socket.MSG_OOB)] * 2
    assert world.scheduler.counts.urgent == 2
    del sock.recv
    assert_no_leaks(world)


def test_what_cannot_be_asked_of_a_socket_is_what_it_is_lost_by() -> None:
    world = make_world()
    sock, protocol = world.connect()
    sock.getsockopt_error = OSError(errno.ENOTSOCK, "no socket")
    world.poller.inject(sock.fd, ERROR)
    world.round()
    lost = protocol.lost[0]
    assert isinstance(lost, OSError)
    assert (lost.errno, lost.strerror) == (errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))
    assert_no_leaks(world)


def test_only_what_peers_do_not_cause_is_logged_with_its_error(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world()
    quiet, _ = world.connect()
    quiet.feed_error(errno.ECONNRESET)
    world.round()
    assert "lost:" not in caplog.text
    loud, _ = world.connect()
    loud.feed_error(errno.EBADMSG)
    world.round()
    assert f"lost: [Errno {errno.EBADMSG}] {os.strerror(errno.EBADMSG)}" in caplog.text
    assert_no_leaks(world)


def test_a_deadline_passes_at_its_very_moment() -> None:
    world = make_world()
    _, protocol = world.connect()
    link = protocol.link
    assert link is not None
    world.scheduler.now_s = link.fsm.due()[1]
    link.expire_if_due()
    assert str(link.fsm.close_reason) == "expired by the server while reading: idle_s passed: 300 s"
    assert_no_leaks(world)


def test_mistakes_of_protocols_are_counted_up() -> None:
    world = make_world()
    for _ in range(2):
        sock, _ = world.connect(Recorder(data_received=fail))
        sock.feed(b"x")
    world.round()
    assert world.scheduler.statistics().protocol_errors == 2
    assert_no_leaks(world)


def test_bytes_that_are_here_already_are_given_to_a_buffered_protocol_piece_by_piece_until_it_closes() -> None:
    world = make_world()
    _, protocol = world.connect(BufferedRecorder(2))
    assert protocol.link is not None
    protocol.link.deliver(b"abcde")
    assert bytes(protocol.received) == b"abcde"
    assert [count for name, count in protocol.calls if name == "buffer_updated"] == [2, 2, 1]
    _, closing = world.connect(BufferedRecorder(2, buffer_updated=lambda me, _: me.transport.close()))
    assert closing.link is not None
    closing.link.deliver(b"abcde")
    assert bytes(closing.received) == b"ab"
    assert_no_leaks(world)


def test_a_protocol_set_after_the_end_leaves_the_newcomer_of_the_same_descriptor_alone() -> None:
    world = make_world()
    sock, protocol = world.connect()
    fd = sock.fd
    protocol.transport.abort()
    world.round()
    _, newcomer = world.connect()
    assert newcomer.link is not None
    assert newcomer.link.fd == fd
    protocol.transport.set_protocol(Recorder())
    assert world.scheduler.ways[fd][0] is newcomer.link
