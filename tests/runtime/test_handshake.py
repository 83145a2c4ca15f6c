"""What happens in `accepted`: nothing reaches a protocol before its connection is open."""

import errno
from typing import Any

import pytest

from fsmserver.core.errors import DeadlinePassed, HandshakeFailed
from fsmserver.core.limits import Limits
from fsmserver.core.states import Event
from fsmserver.runtime.link import Link
from tests.fakes import BufferedRecorder, FakeSocket, Recorder, World, assert_no_leaks, make_world


class Password:
    """Three bytes that have to be `yes`."""

    def __init__(self) -> None:
        self.heard = b""

    def feed(self, data: bytes, /) -> bytes | None:
        self.heard += data
        if not b"yes".startswith(self.heard[:3]):
            raise HandshakeFailed("it is not yes")
        return self.heard[3:] if len(self.heard) >= 3 else None


def greeted(protocol: Recorder | None = None, **options: Any) -> tuple[World, FakeSocket, Recorder, Link]:
    world = make_world(handshake=Password, **options)
    sock, recorder = world.connect(protocol)
    [link] = world.scheduler.links.values()
    return world, sock, recorder, link


@pytest.mark.parametrize("pieces", [[b"yes"], [b"y", b"e", b"s"], [b"ye", b"s"]])
def test_a_connection_opens_when_its_handshake_is_done_however_it_is_split(pieces: list[bytes]) -> None:
    world, sock, protocol, link = greeted()
    assert str(link.fsm.state) == "accepted"
    assert protocol.names == []
    sock.feed(*pieces)
    world.rounds(len(pieces))
    assert str(link.fsm.state) == "reading"
    assert protocol.names == ["connection_made"]
    sock.feed(b"hello")
    world.round()
    assert protocol.received == b"hello"
    sock.feed_eof()
    world.round()
    assert_no_leaks(world)


@pytest.mark.parametrize("protocol_class", [Recorder, lambda: BufferedRecorder(size_bytes=2)])
def test_what_comes_behind_the_handshake_is_handed_on(protocol_class: Any) -> None:
    world, sock, protocol, _ = greeted(protocol_class())
    sock.feed(b"yeshello")
    world.round()
    assert protocol.received == b"hello"


def test_a_protocol_that_ends_in_what_is_handed_on_gets_no_more_of_it() -> None:
    world, sock, protocol, _ = greeted(BufferedRecorder(size_bytes=2, buffer_updated=lambda recorder, _: recorder.transport.abort()))
    sock.feed(b"yeshello")
    world.round()
    assert protocol.received == b"he"
    assert protocol.lost == [None]


def test_a_protocol_whose_buffer_fails_gets_nothing_of_what_is_handed_on() -> None:
    world, sock, protocol, _ = greeted(BufferedRecorder(get_buffer=lambda *_: b""))
    sock.feed(b"yeshello")
    world.round()
    assert protocol.received == b""
    assert len(protocol.lost) == 1


def test_a_protocol_that_closes_at_once_gets_nothing_that_is_left_over() -> None:
    world, sock, protocol, _ = greeted(Recorder(connection_made=lambda recorder, _: recorder.transport.close()))
    sock.feed(b"yeshello")
    world.round()
    assert protocol.received == b""
    assert sock.shut


def test_a_failed_handshake_aborts_and_the_protocol_never_hears_of_it(caplog: pytest.LogCaptureFixture) -> None:
    world, sock, protocol, link = greeted()
    sock.feed(b"no")
    world.round()
    reason = link.fsm.close_reason
    assert reason is not None
    assert str(reason) == "aborted by the peer while accepted: it is not yes"
    assert protocol.names == []
    assert not caplog.records
    assert sock.closes == 1


def test_an_end_a_reset_or_silence_during_the_handshake_closes() -> None:
    for trouble, event in (("eof", Event.EOF), ("reset", Event.RESET), ("silence", Event.EXPIRE)):
        world, sock, protocol, link = greeted(limits=Limits(handshake_s=2))
        sock.feed(b"y")
        world.round()
        if trouble == "eof":
            sock.feed_eof()
        elif trouble == "reset":
            sock.reset_by_peer(errno.ECONNRESET)
        world.pass_time(3)
        reason = link.fsm.close_reason
        assert reason is not None
        assert reason.event is event
        assert trouble != "silence" or isinstance(reason.error, DeadlinePassed)
        assert protocol.names == []


def test_a_factory_that_fails_after_the_handshake_costs_that_connection(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world(handshake=Password)

    def fails() -> object:
        raise ValueError("no protocol")

    listening, _ = world.listen(fails)
    sock = listening.connect()
    sock.feed(b"yes")
    world.rounds(2)
    assert sock.closes == 1
    assert "no protocol" in caplog.text
