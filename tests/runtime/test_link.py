"""One live connection."""

from tests.fakes import Recorder, assert_no_leaks, make_world


def echo(recorder: Recorder, data: bytes) -> None:
    recorder.say(data)


def test_an_echo_is_answered_in_the_round_that_brought_it() -> None:
    world = make_world()
    sock, protocol = world.connect(Recorder(data_received=echo))
    sock.feed(b"hello")
    world.round()
    assert bytes(sock.sent) == b"hello"
    sock.feed_eof()
    world.round()
    assert protocol.lost == [None]
    assert_no_leaks(world)
