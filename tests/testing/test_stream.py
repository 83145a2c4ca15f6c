"""One end of a simulated connection: what happens to bytes, ends, errors and urgent data."""

import errno
import socket
from typing import Any

import pytest

from fsmserver.testing.faults import Delay, Fail, Fault, Short
from fsmserver.testing.kernel import HOME, SimKernel
from fsmserver.testing.stream import ERR, HUP, IN, OUT, PRI, RDHUP, Stream

OOB, PEEK = socket.MSG_OOB, socket.MSG_PEEK
ENDED = IN | RDHUP


def connected(*, send_room_bytes: int = 100, receive_room_bytes: int = 100) -> tuple[Stream, Stream]:
    """Give both ends of a connection whose buffers have so much room."""
    kernel = SimKernel(send_room_bytes=send_room_bytes, receive_room_bytes=receive_room_bytes)
    listening = kernel.listen(HOME)
    near = kernel.connect(HOME)
    sock, _ = listening.accept()
    assert sock.stream is not None
    return near, sock.stream


def raises(number: int) -> Any:
    return pytest.raises(OSError, match=rf"\[Errno {number}\]")


# Bytes.


def test_what_is_sent_is_received_in_order() -> None:
    near, far = connected()
    assert [near.send(b"abc"), near.send(b"de")] == [3, 2]
    assert [far.recv(2), far.recv(100)] == [b"ab", b"cde"]


def test_nothing_there_is_eagain() -> None:
    near, _ = connected()
    with raises(errno.EAGAIN):
        near.recv(1)


def test_a_send_takes_what_fits_into_both_buffers_and_then_nothing() -> None:
    near, far = connected(send_room_bytes=20, receive_room_bytes=30)
    assert near.send(bytes(80)) == 50
    assert (len(far.unread), len(near.unsent), near.taken_bytes) == (30, 20, 50)
    with raises(errno.EAGAIN):
        near.send(b"x")


def test_a_send_of_nothing_takes_nothing_and_never_waits() -> None:
    near, _ = connected(send_room_bytes=20, receive_room_bytes=30)
    near.send(bytes(50))
    assert near.send(b"") == 0


def test_what_waits_moves_on_when_the_receiver_reads() -> None:
    near, far = connected(send_room_bytes=20, receive_room_bytes=30)
    near.send(bytes(range(50)))
    assert far.recv(5) + far.recv(100) + far.recv(100) == bytes(range(50))
    assert near.unsent == b""


def test_an_end_is_writable_while_a_third_of_its_buffer_is_free() -> None:
    near, far = connected(send_room_bytes=30, receive_room_bytes=10)
    near.send(bytes(30))
    assert (len(near.unsent), near.readiness()) == (20, OUT)
    near.send(bytes(1))
    assert (len(near.unsent), near.readiness()) == (21, 0)
    far.recv(1)
    assert (len(near.unsent), near.readiness()) == (20, OUT)


def test_a_peek_takes_nothing() -> None:
    near, far = connected()
    near.send(b"abc")
    assert [far.recv(2, PEEK), far.recv(100, PEEK), far.recv(100)] == [b"ab", b"abc", b"abc"]
    with raises(errno.EAGAIN):
        far.recv(1, PEEK)


def test_a_flag_that_means_nothing_here_changes_nothing() -> None:
    near, far = connected()
    near.send(b"abc")
    assert far.recv(100, socket.MSG_DONTWAIT) == b"abc"


# Ends.


def test_a_shutdown_for_writing_ends_the_stream_behind_its_bytes() -> None:
    near, far = connected()
    near.send(b"abc")
    near.shutdown(socket.SHUT_WR)
    assert far.readiness() == ENDED | OUT
    assert [far.recv(100), far.recv(100), far.recv(100)] == [b"abc", b"", b""]
    with raises(errno.EPIPE):
        near.send(b"x")


def test_the_end_waits_behind_what_does_not_fit() -> None:
    near, far = connected(send_room_bytes=20, receive_room_bytes=30)
    near.send(bytes(50))
    near.shutdown(socket.SHUT_WR)
    assert (near.fin_sent, far.readiness()) == (False, IN | OUT)
    far.recv(100)
    assert (near.fin_sent, far.readiness()) == (True, ENDED | OUT)


def test_a_half_closed_end_still_receives() -> None:
    near, far = connected()
    near.shutdown(socket.SHUT_WR)
    far.send(b"late")
    assert near.recv(100) == b"late"


def test_when_both_have_ended_the_connection_is_over_and_hung_up_at_both_ends() -> None:
    near, far = connected()
    near.shutdown(socket.SHUT_WR)
    far.shutdown(socket.SHUT_WR)
    for end in (near, far):
        assert end.over
        assert end.readiness() == ENDED | OUT | HUP
        with raises(errno.ENOTCONN):
            end.shutdown(socket.SHUT_WR)


def test_a_second_shutdown_for_writing_changes_nothing() -> None:
    near, far = connected()
    near.shutdown(socket.SHUT_WR)
    near.shutdown(socket.SHUT_WR)
    assert (far.fin_received, near.over) == (True, False)


def test_an_end_shut_for_reading_says_that_it_has_ended_and_receives_as_before() -> None:
    near, far = connected()
    far.shutdown(socket.SHUT_RD)
    assert far.readiness() == ENDED | OUT
    assert far.recv(1) == b""
    near.send(b"abc")
    assert far.recv(100) == b"abc"
    assert not near.fin_received


@pytest.mark.parametrize("steps", [(socket.SHUT_RDWR,), (socket.SHUT_RD, socket.SHUT_WR), (socket.SHUT_WR, socket.SHUT_RD)])
def test_bytes_for_an_end_that_is_shut_in_both_directions_reset_both(steps: tuple[int, ...]) -> None:
    near, far = connected()
    for how in steps:
        far.shutdown(how)
    assert near.send(b"abc") == 3
    assert (near.error, far.error) == (errno.EPIPE, errno.ECONNRESET)
    assert near.readiness() == far.readiness() == ENDED | OUT | HUP | ERR


def test_urgent_bytes_for_such_an_end_are_seen_to_be_urgent_first() -> None:
    near, far = connected()
    far.shutdown(socket.SHUT_RDWR)
    near.send(b"!", urgent=True)
    assert far.readiness() == ENDED | OUT | HUP | ERR | PRI
    with raises(errno.ENOTCONN):
        far.recv(1, OOB)
    with raises(errno.ECONNRESET):
        far.recv(1)
    assert far.readiness() & PRI


# Closing and resets.


def test_closing_with_nothing_unread_is_an_ordinary_end() -> None:
    near, far = connected()
    near.send(b"bye")
    near.close()
    assert [far.recv(100), far.recv(100)] == [b"bye", b""]
    assert not far.error


def test_closing_twice_is_closing_once() -> None:
    near, far = connected()
    near.close()
    near.close()
    assert (near.orphan, far.fin_received) == (True, True)


def test_closing_after_the_own_end_sends_no_second_one() -> None:
    near, far = connected()
    near.shutdown(socket.SHUT_WR)
    near.close()
    assert (far.fin_received, far.over) == (True, False)
    far.shutdown(socket.SHUT_WR)
    assert far.over


def test_closing_what_is_over_sends_nothing() -> None:
    near, far = connected()
    near.send(b"unread")
    near.shutdown(socket.SHUT_WR)
    far.shutdown(socket.SHUT_WR)
    far.close()
    assert near.error == 0


def test_closing_with_unread_input_resets() -> None:
    near, far = connected()
    near.send(b"unread")
    far.close()
    assert near.readiness() == ENDED | OUT | HUP | ERR
    with raises(errno.ECONNRESET):
        near.recv(1)
    assert near.recv(1) == b""
    with raises(errno.EPIPE):
        near.send(b"x")


def test_a_reset_resets_even_where_nothing_is_unread() -> None:
    near, far = connected()
    far.reset()
    assert (near.error, near.reset_received) == (errno.ECONNRESET, True)


def test_an_end_that_had_the_peers_fin_meets_a_reset_as_epipe_in_a_send_and_never_in_a_recv() -> None:
    near, far = connected()
    far.close()
    assert near.send(b"to nobody") == 9
    assert near.recv(1) == b""
    with raises(errno.EPIPE):
        near.send(b"x")
    assert near.error == 0


def test_an_end_that_had_ended_itself_meets_a_reset_as_econnreset() -> None:
    near, far = connected(send_room_bytes=20, receive_room_bytes=30)
    near.send(bytes(50))
    far.shutdown(socket.SHUT_WR)
    near.shutdown(socket.SHUT_WR)
    far.close()
    assert near.error == errno.ECONNRESET


def test_a_reset_throws_away_what_waits_and_leaves_what_has_arrived() -> None:
    near, far = connected(send_room_bytes=20, receive_room_bytes=30)
    near.send(bytes(50))
    near.reset()
    assert (near.unsent, far.recv(100)) == (b"", bytes(30))
    with raises(errno.ECONNRESET):
        far.recv(100)


def test_a_reset_of_what_is_over_is_nothing() -> None:
    near, far = connected()
    near.shutdown(socket.SHUT_WR)
    far.shutdown(socket.SHUT_WR)
    near.take_reset()
    assert near.error == 0


def test_a_closed_end_sends_what_waits_and_resets_what_comes() -> None:
    near, far = connected(send_room_bytes=20, receive_room_bytes=30)
    near.send(bytes(50))
    near.close()
    far.send(b"x")
    assert far.error == errno.ECONNRESET
    assert far.recv(100) == bytes(30)
    assert (near.over, near.error) == (True, 0)


def test_a_connection_that_the_network_gives_up_fails_at_both_ends() -> None:
    near, far = connected()
    near.kernel.lose(near, errno.ETIMEDOUT)
    for end in (near, far):
        with raises(errno.ETIMEDOUT):
            end.recv(1)
        assert end.recv(1) == b""


def test_what_is_over_cannot_be_given_up() -> None:
    near, far = connected()
    far.reset()
    near.take_error()
    near.fail(errno.ETIMEDOUT)
    assert near.error == 0


# Urgent data.


def test_a_recv_stops_at_the_mark_and_the_next_skips_the_urgent_byte() -> None:
    near, far = connected()
    near.send(b"ab")
    near.send(b"c!", urgent=True)
    near.send(b"de")
    assert far.readiness() == IN | PRI | OUT
    assert [far.recv(100), far.recv(100)] == [b"abc", b"de"]
    assert far.readiness() == OUT


def test_an_urgent_byte_alone_is_not_readable_and_is_skipped_all_the_same() -> None:
    near, far = connected()
    near.send(b"!", urgent=True)
    assert far.readiness() == PRI | OUT
    with raises(errno.EAGAIN):
        far.recv(1)
    assert far.readiness() == OUT


def test_the_urgent_byte_can_be_received_out_of_band_once() -> None:
    near, far = connected()
    near.send(b"a!", urgent=True)
    assert [far.recv(1, OOB | PEEK), far.recv(1, OOB)] == [b"!", b"!"]
    with raises(errno.EINVAL):
        far.recv(1, OOB)
    assert far.readiness() == IN | OUT
    assert far.recv(100) == b"a"
    with raises(errno.EAGAIN):
        far.recv(100)


def test_out_of_band_there_is_nothing_to_receive_without_urgent_data() -> None:
    near, _ = connected()
    with raises(errno.EINVAL):
        near.recv(1, OOB)


def test_an_inline_urgent_byte_stays_in_the_stream_and_stops_what_comes_before_it() -> None:
    near, far = connected()
    far.inline = True
    near.send(b"ab!", urgent=True)
    near.send(b"c")
    with raises(errno.EINVAL):
        far.recv(1, OOB)
    assert [far.recv(100), far.readiness(), far.recv(100)] == [b"ab", IN | PRI | OUT, b"!c"]
    assert far.readiness() == OUT


@pytest.mark.parametrize(("inline", "seen"), [(False, b"bc"), (True, b"!bc")])
def test_a_peek_sees_what_a_recv_would_give(inline: bool, seen: bytes) -> None:
    near, far = connected()
    far.inline = inline
    near.send(b"a!", urgent=True)
    near.send(b"bc")
    assert [far.recv(100, PEEK), far.recv(100), far.recv(100, PEEK), far.recv(100)] == [b"a", b"a", seen, seen]


def test_newer_urgent_data_makes_an_older_byte_ordinary() -> None:
    near, far = connected()
    near.send(b"a1", urgent=True)
    near.send(b"b2", urgent=True)
    assert [far.recv(1, OOB), far.recv(100)] == [b"2", b"a1b"]


def test_newer_urgent_data_eats_an_older_byte_that_is_next() -> None:
    near, far = connected()
    near.send(b"1", urgent=True)
    near.send(b"b2", urgent=True)
    assert [far.recv(100), far.recv(1, OOB)] == [b"b", b"2"]


def test_of_urgent_data_of_which_a_part_fits_the_last_byte_taken_is_urgent() -> None:
    near, far = connected(send_room_bytes=3, receive_room_bytes=30)
    assert near.send(b"abcdef", urgent=True) == 3
    assert [far.recv(1, OOB), far.recv(100)] == [b"c", b"ab"]


def test_no_urgent_data_is_no_urgent_data() -> None:
    near, far = connected()
    near.send(b"", urgent=True)
    assert far.readiness() == OUT


def test_an_urgent_byte_keeps_its_place_behind_a_full_buffer() -> None:
    near, far = connected(send_room_bytes=20, receive_room_bytes=10)
    near.send(bytes(15))
    near.send(b"abc!", urgent=True)
    assert far.recv(3) + far.recv(100) + far.recv(100) == bytes(15) + b"abc"
    assert far.recv(1, OOB) == b"!"


def test_skipping_the_urgent_byte_makes_room_for_what_waits() -> None:
    near, far = connected(send_room_bytes=20, receive_room_bytes=1)
    near.send(b"!", urgent=True)
    near.send(b"ab")
    assert [far.recv(100), far.recv(100)] == [b"a", b"b"]


def test_after_a_fin_urgent_data_can_still_be_received() -> None:
    near, far = connected()
    near.send(b"!", urgent=True)
    near.close()
    far.shutdown(socket.SHUT_WR)
    assert (far.over, far.recv(1, OOB)) == (True, b"!")


# The network's faults.


def test_delayed_bytes_arrive_later_and_in_order_with_what_follows() -> None:
    near, far = connected()
    near.kernel.inject(Fault("deliver", Delay(0.5)))
    near.send(b"ab")
    near.send(b"c")
    near.shutdown(socket.SHUT_WR)
    near.kernel.advance(0.4)
    assert far.readiness() == OUT
    near.kernel.advance(0.1)
    assert [far.recv(100), far.recv(100)] == [b"abc", b""]


def test_split_bytes_arrive_in_pieces_a_moment_apart() -> None:
    near, far = connected()
    near.kernel.inject(Fault("deliver", Short(2)))
    assert near.send(b"abcde") == 5
    assert far.recv(100) == b"ab"
    with raises(errno.EAGAIN):
        far.recv(100)
    near.kernel.advance(0.001)
    assert far.recv(100) == b"cde"


def test_a_split_into_more_than_there_is_is_none() -> None:
    near, far = connected()
    near.kernel.inject(Fault("deliver", Short(9)))
    near.send(b"abc")
    assert far.recv(100) == b"abc"


def test_a_delivery_that_fails_loses_the_connection() -> None:
    near, far = connected()
    near.kernel.inject(Fault("deliver", Fail(errno.EHOSTUNREACH)))
    assert near.send(b"abc") == 3
    assert near.error == far.error == errno.EHOSTUNREACH


def test_a_rule_that_lets_a_delivery_pass_changes_nothing() -> None:
    near, far = connected()
    near.kernel.inject(Fault("deliver", Fail(errno.EIO), skip=5))
    near.send(b"abc")
    assert far.recv(100) == b"abc"


# Options and words.


def test_options_that_change_nothing_here_are_ignored() -> None:
    near, _ = connected()
    near.set_options({(socket.IPPROTO_TCP, socket.TCP_NODELAY): 1, (socket.SOL_SOCKET, socket.SO_KEEPALIVE): 1})
    assert (near.inline, near.linger_reset) == (False, False)


def test_a_stream_shows_what_is_under_way_and_what_has_ended() -> None:
    near, far = connected(send_room_bytes=5, receive_room_bytes=2)
    near.send(b"abc")
    far.shutdown(socket.SHUT_WR)
    assert repr(near) == "<Stream 0 0 B unread, 1 B unsent fin_received>"
    assert repr(far) == "<Stream 0 2 B unread, 0 B unsent fin_sent>"
