"""The trace: lines that are put together from patterns are those that are made anew."""

import io
import json
from typing import Any

import pytest

from fsmserver.core.connection import ConnectionFSM
from fsmserver.core.line import Exchange, Exchanges, Line, Written, read
from fsmserver.core.states import Event, State
from fsmserver.runtime.link import Link
from fsmserver.runtime.ports import Teller
from fsmserver.runtime.scheduler import TIMED_EVENTS
from fsmserver.runtime.trace import Trace, transition
from tests.fakes import Recorder, assert_no_leaks, make_world

pytestmark = pytest.mark.untraced("who follows each transition is told of no exchanges, and what is told of them is asked here")


def test_each_line_is_what_the_transition_says() -> None:
    file = io.StringIO()
    trace = Trace(file)
    expected: list[dict[str, Any]] = []

    def watch(link: Link, fsm: ConnectionFSM, origin: State, event: Event) -> None:
        trace(link, fsm, origin, event)
        expected.append(json.loads(json.dumps(transition(link, fsm, origin, event))))

    world = make_world(watcher=watch)
    for _ in range(2):
        sock, protocol = world.connect(Recorder(data_received=lambda recorder, data: recorder.say(data)))
        for size_bytes, room_bytes in ((3, 1 << 20), (100, 7), (5, 0)):
            world.clock.advance(1 / 3)
            sock.feed(b"d" * size_bytes)
            sock.room_bytes = room_bytes
            world.round()
        protocol.transport.pause_reading()
        world.round()
        sock.room_bytes = 1 << 20
        world.round()
        protocol.transport.resume_reading()
        protocol.transport.set_write_buffer_limits(50, 20)
        sock.feed(b"100 % of it")
        world.round()
        sock.feed_eof()
        world.round()
    assert [json.loads(line) for line in file.getvalue().splitlines()] == expected
    assert len(expected) > 30
    assert all(Line.of(line) for line in expected)
    assert_no_leaks(world)


# The usual message.

A_GROUP = TIMED_EVENTS + 1
"""So many connections that are ready at once are served as a group."""

NUMBERS = range(1, A_GROUP + 1)


class Noted:
    """A world with a trace, and what that is taken apart."""

    def __init__(self, **options: Any) -> None:
        self.file = io.StringIO()
        self.trace = Trace(self.file)
        self.world = make_world(watcher=self.trace, **options)

    def lines(self) -> list[Written]:
        return [read(json.loads(line)) for line in self.file.getvalue().splitlines()]

    def words(self) -> list[str]:
        """Give event and connection of each line, and all numbers of exchanges; what was read before is gone."""
        lines = self.lines()
        self.file.seek(0)
        self.file.truncate()
        return [str(list(line.messages)) if isinstance(line, Exchanges) else f"{line.event} {line.connection}" for line in lines]


def echo(recorder: Recorder, data: bytes) -> None:
    recorder.say(data)


def test_a_trace_is_told_of_usual_messages_in_one_piece() -> None:
    teller: object = Trace(io.StringIO())
    assert isinstance(teller, Teller)


def test_the_usual_messages_of_a_group_are_one_line_of_its_time() -> None:
    noted = Noted()
    socks = [noted.world.connect(Recorder(data_received=echo))[0] for _ in range(A_GROUP)]
    assert noted.words() == [f"open {number}" for number in NUMBERS]
    noted.world.clock.advance(1 / 3)
    for sock in socks:
        sock.feed(b"d" * sock.fd)
    noted.world.round()
    sizes = ",".join(f"{number},{sock.fd},{sock.fd}" for number, sock in zip(NUMBERS, socks, strict=True))
    assert noted.file.getvalue() == f'{{"t":1000.333333,"event":"exchange","of":[{sizes}]}}\n'


def test_what_is_not_answered_is_a_line_and_the_next_message_comes_line_by_line() -> None:
    noted = Noted()
    script = [b"", b"answer", b"answer", b""]
    sock, _ = noted.world.connect(Recorder(data_received=lambda me, _: me.say(script.pop(0))))
    noted.words()
    for expected in (["receive 1"], ["receive 1", "enqueue 1", "flush 1", "drain 1"], ["[1, 1, 6]"], ["receive 1"]):
        sock.feed(b"d")
        noted.world.round()
        assert noted.words() == expected


def test_marks_that_are_set_are_told_before_messages_come_in_short_again() -> None:
    noted = Noted()
    sock, protocol = noted.world.connect(Recorder(data_received=echo))
    noted.words()
    protocol.transport.set_write_buffer_limits(50, 20)
    sock.feed(b"d" * 10)
    noted.world.round()
    assert {line.high for line in noted.lines() if isinstance(line, Line)} == {50}
    assert noted.words() == ["receive 1", "enqueue 1", "flush 1", "drain 1"]
    sock.feed(b"d" * 10)
    noted.world.round()
    assert noted.words() == ["[1, 10, 10]"]


@pytest.mark.parametrize("room_bytes", [0, 3])
def test_an_answer_that_is_not_taken_whole_comes_line_by_line(room_bytes: int) -> None:
    noted = Noted()
    sock, _ = noted.world.connect(Recorder(data_received=echo))
    noted.words()
    sock.room_bytes = room_bytes
    sock.feed(b"d" * 5)
    noted.world.round()
    assert noted.words() == ["receive 1", "enqueue 1", "flush 1"]


def test_an_answer_that_is_lost_with_its_connection_has_been_told() -> None:
    noted = Noted()

    def give_up(me: Recorder, data: bytes) -> None:
        me.say(data)
        me.transport.abort()

    sock, _ = noted.world.connect(Recorder(data_received=give_up))
    sock.feed(b"d" * 5)
    noted.world.round()
    enqueue, abort = (line for line in noted.lines()[-2:] if isinstance(line, Line))
    assert (enqueue.event, enqueue.outbox) == ("enqueue", 5)
    assert (abort.event, abort.discarded) == ("abort", 5)


def test_what_happens_to_others_meanwhile_comes_after_the_message_and_before_the_answer() -> None:
    noted = Noted()
    other_sock, other = noted.world.connect(Recorder(data_received=echo))

    def tell_the_other_first(me: Recorder, data: bytes) -> None:
        other.say(b"news")
        me.say(data)

    sock, _ = noted.world.connect(Recorder(data_received=tell_the_other_first))
    noted.words()
    other_sock.feed(b"o")
    sock.feed(b"d")
    noted.world.round()
    words = noted.words()
    assert words[:4] == ["[1, 1, 1]", "receive 2", "enqueue 1", "enqueue 2"]
    assert sorted(words[4:]) == ["drain 1", "drain 2", "flush 1", "flush 2"]


@pytest.mark.parametrize("alone", [False, True])
def test_an_exchange_that_is_told_by_half_when_another_connection_begins_is_told_to_its_end(*, alone: bool) -> None:
    noted = Noted()

    def answer_and_connect(me: Recorder, data: bytes) -> None:
        me.say(data)
        noted.world.connect()

    socks = [noted.world.connect(Recorder(data_received=answer_and_connect if number == 2 else echo))[0] for number in NUMBERS]
    noted.words()
    for sock in socks[1:2] if alone else socks:
        sock.feed(b"d")
    noted.world.round()
    lines = ["receive 2", "enqueue 2", f"open {A_GROUP + 1}", "flush 2", "drain 2"]
    others = str([count for number in NUMBERS[2:] for count in (number, 1, 1)])
    assert noted.words() == (lines if alone else ["[1, 1, 1]", *lines, others])


def test_one_that_is_told_by_half_and_went_on_by_lines_is_not_told_again() -> None:
    noted = Noted()
    _, other = noted.world.connect(Recorder(data_received=echo))
    news = [b"news"]

    def tell_the_other_last(me: Recorder, data: bytes) -> None:
        me.say(data)
        if news:
            other.say(news.pop())

    sock, _ = noted.world.connect(Recorder(data_received=tell_the_other_last))
    noted.words()
    sock.feed(b"d")
    noted.world.round()
    assert noted.words()[:3] == ["receive 2", "enqueue 2", "enqueue 1"]
    sock.feed(b"d")
    noted.world.round()
    assert noted.words() == ["[2, 1, 1]"]


@pytest.mark.parametrize("first", ["answer", "marks"])
def test_marks_that_are_set_upon_a_message_are_in_the_lines_from_then_on(first: str) -> None:
    noted = Noted()

    def set_marks(me: Recorder, data: bytes) -> None:
        if first == "answer":
            me.say(data)
        me.transport.set_write_buffer_limits(50, 20)
        if first == "marks":
            me.say(data)

    sock, protocol = noted.world.connect(Recorder(data_received=set_marks))
    _, former = protocol.transport.get_write_buffer_limits()
    noted.words()
    sock.feed(b"d")
    noted.world.round()
    lines = [line for line in noted.lines() if isinstance(line, Line)]
    assert [line.event for line in lines] == ["receive", "enqueue", "flush", "drain"]
    assert [line.high for line in lines] == [former, former if first == "answer" else 50, 50, 50]


def test_what_one_was_told_by_half_is_not_taken_for_another() -> None:
    noted = Noted()
    sock, _ = noted.world.connect(Recorder(data_received=echo))
    link = noted.world.scheduler.links[sock.fd]
    noted.words()
    noted.trace._half_told = link, Exchange(1000.0, 9, 9, 1000.0, 0, 1, 0, 1, 1, 2)
    sock.feed(b"d")
    noted.world.round()
    assert noted.words() == ["[1, 1, 1]"]


def test_nothing_is_lost_where_the_loop_stops_in_the_middle_of_a_group() -> None:
    noted = Noted()

    def leave(_: Recorder, __: bytes) -> None:
        raise SystemExit

    for number in NUMBERS:
        noted.world.connect(Recorder(data_received=leave if number == 2 else echo))[0].feed(b"d")
    noted.words()
    with pytest.raises(SystemExit):
        noted.world.round()
    noted.world.clock.advance(5.0)
    noted.world.scheduler.close()
    assert [line.t for line in noted.lines()[:2]] == [1000.0, 1000.0]
    assert noted.words() == ["[1, 1, 1]", "receive 2", *(f"abort {number}" for number in NUMBERS)]
