"""What a protocol writes to: asyncio's face, its answers and its errors."""

from typing import Any

import pytest

from fsmserver.core.limits import Limits
from fsmserver.core.states import State
from fsmserver.runtime.link import NOBODY
from tests.fakes import HOME, PEER, Recorder, World, assert_no_leaks, make_world

SMALL = Limits(outbox_high_bytes=100, outbox_low_bytes=20, outbox_cap_bytes=1000)


@pytest.fixture
def world() -> Any:
    world = make_world(limits=SMALL)
    yield world
    assert_no_leaks(world)


@pytest.mark.parametrize("data", [b"abc", bytearray(b"abc"), memoryview(b"abc")])
def test_any_bytes_can_be_written(world: World, data: Any) -> None:
    sock, protocol = world.connect()
    protocol.transport.write(data)
    world.round()
    assert bytes(sock.sent) == b"abc"


def test_a_mutable_buffer_is_copied(world: World) -> None:
    sock, protocol = world.connect()
    data = bytearray(b"abc")
    protocol.transport.write(data)
    data[:] = b"xyz"
    world.round()
    assert bytes(sock.sent) == b"abc"


@pytest.mark.parametrize("data", ["text", None, 7])
def test_what_is_not_bytes_is_refused_in_words(world: World, data: Any) -> None:
    _, protocol = world.connect()
    with pytest.raises(TypeError, match=f"data argument must be a bytes-like object, not '{type(data).__name__}'"):
        protocol.transport.write(data)


def test_lines_are_written_in_order_as_one(world: World) -> None:
    sock, protocol = world.connect()
    protocol.transport.writelines([b"a", bytearray(b"b"), memoryview(b"c")])
    world.round()
    assert sock.sends == [3]
    assert bytes(sock.sent) == b"abc"


def test_the_end_of_the_stream_follows_the_last_byte(world: World) -> None:
    sock, protocol = world.connect()
    assert protocol.transport.can_write_eof()
    sock.room_bytes = 2
    protocol.say(b"abc")
    protocol.transport.write_eof()
    world.round()
    shut_early = sock.shut
    sock.room_bytes = 10
    world.round()
    assert (shut_early, sock.shut) == (False, True)
    with pytest.raises(RuntimeError, match=r"Cannot call write\(\) after write_eof\(\)"):
        protocol.transport.write(b"more")
    sock.feed(b"still received")
    world.round()
    assert bytes(protocol.received) == b"still received"
    sock.feed_eof()
    world.rounds(2)
    assert protocol.lost == [None]
    protocol.transport.write_eof()


def test_what_is_written_after_the_close_is_dropped_and_counted(world: World) -> None:
    sock, protocol = world.connect()
    protocol.transport.close()
    assert protocol.transport.is_closing()
    protocol.transport.write(b"x")
    protocol.transport.write_eof()
    sock.feed_eof()
    world.rounds(2)
    protocol.transport.write(b"y")
    protocol.transport.close()
    protocol.transport.abort()
    assert not sock.sent
    assert world.scheduler.counts.dropped_writes == 2


def test_a_protocol_deaf_to_pause_writing_is_aborted_at_the_cap(world: World) -> None:
    sock, protocol = world.connect()
    sock.room_bytes = 0
    protocol.say(b"x" * 900)
    protocol.say(b"x" * 101)
    world.round()
    assert "outbox_cap_bytes" in str(protocol.lost[0])
    assert world.scheduler.counts.protocol_errors == 1


def test_the_marks_are_asyncios_by_default_and_errors_name_both(world: World) -> None:
    _, protocol = world.connect()
    transport = protocol.transport
    assert transport.get_write_buffer_limits() == (20, 100)
    transport.set_write_buffer_limits()
    assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
    transport.set_write_buffer_limits(low=10)
    assert transport.get_write_buffer_limits() == (10, 40)
    transport.set_write_buffer_limits(high=40)
    assert transport.get_write_buffer_limits() == (10, 40)
    with pytest.raises(ValueError, match=r"high \(1\) must be >= low \(2\) must be >= 0"):
        transport.set_write_buffer_limits(1, 2)


def test_lowering_the_marks_under_what_is_queued_pauses_at_once(world: World) -> None:
    sock, protocol = world.connect()
    sock.room_bytes = 0
    protocol.say(b"x" * 50)
    assert protocol.transport.get_write_buffer_size() == 50
    protocol.transport.set_write_buffer_limits(high=10)
    assert protocol.names[-1] == "pause_writing"
    sock.room_bytes = 100
    world.rounds(2)
    assert protocol.names[-1] == "resume_writing"


def test_a_paused_connection_delivers_nothing_until_it_is_resumed(world: World) -> None:
    sock, protocol = world.connect()
    assert protocol.transport.is_reading()
    protocol.transport.pause_reading()
    protocol.transport.pause_reading()
    assert not protocol.transport.is_reading()
    sock.feed(b"x")
    world.rounds(2)
    assert not protocol.received
    protocol.transport.resume_reading()
    world.rounds(2)
    assert bytes(protocol.received) == b"x"
    protocol.transport.close()
    assert not protocol.transport.is_reading()


def test_the_ends_are_named(world: World) -> None:
    sock, protocol = world.connect()
    transport = protocol.transport
    assert transport.get_extra_info("peername") == PEER
    assert transport.get_extra_info("sockname") == HOME
    assert transport.get_extra_info("socket") is sock
    assert world.scheduler.ways[sock.fd] is NOBODY, "whoever has the socket may close it: no more by the bare descriptor"
    assert transport.get_extra_info("cipher") is None
    assert transport.get_extra_info("cipher", "none") == "none"
    transport.abort()
    world.round()
    assert transport.get_extra_info("socket", "gone") == "gone"
    assert transport.get_extra_info("sockname", "gone") == "gone"
    _, unnamed = world.connect(peername="")
    assert unnamed.transport.get_extra_info("peername", "nobody") == "nobody"


def test_the_protocol_can_be_exchanged(world: World) -> None:
    sock, first = world.connect()
    second = Recorder()
    first.transport.set_protocol(second)
    assert first.transport.get_protocol() is second
    sock.feed(b"x")
    sock.feed_eof()
    world.round()
    assert bytes(second.received) == b"x"
    world.scheduler.round(0)
    assert (first.lost, second.lost) == ([], [None])
    assert first.transport.get_protocol() is None
    world.protocols.remove(first)


def test_it_shows_its_machine_and_its_loop(world: World) -> None:
    _, protocol = world.connect()
    assert protocol.transport.fsm.state is State.READING
    assert protocol.transport.scheduler is world.scheduler
    assert repr(protocol.transport).startswith("<Transport of #1 192.0.2.1:40000: <ConnectionFSM reading")
