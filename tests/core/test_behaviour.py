"""The checker of traces: it takes what the shipped scheduler writes, whatever happens, and refuses what differs in one field.

Each corruption says where it must be seen. Where it need not be, a correct machine could have written just that; those cases
are at the end, so that nobody believes more of the checker than it does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsmserver.core import connection
from fsmserver.core.behaviour import ROUNDING_S, Behaviour, NotABehaviour, _birth
from fsmserver.core.connection import ConnectionFSM
from fsmserver.core.line import Line
from fsmserver.core.outbox import Outbox
from fsmserver.core.shapes import BIRTH, HOLDS, SHAPES, Begun, Shape, Step, judge
from fsmserver.core.states import Event, Hold, Interest, State
from fsmserver.core.table import ALL_HOLDS, CONNECTION, DEADLINE, deadline, interest
from fsmserver.runtime.trace import describe
from tests.driven import random_trace
from tests.fakes import Recorder, make_world


@cache
def traces() -> list[list[Line]]:
    """Give some short ones, since each is checked anew for each corruption of each of its lines."""
    return [lines for lines in (random_trace(seed, steps=12) for seed in range(60)) if len(lines) <= 50]


def check(lines: list[Line], *, whole: bool = True) -> Behaviour:
    return follow_all(Behaviour(whole=whole), lines)


def follow_all(behaviour: Behaviour, lines: list[Line]) -> Behaviour:
    for line in lines:
        behaviour.take(line)
    behaviour.end()
    return behaviour


def expected(lines: list[Line], *, whole: bool = True) -> str:
    """Give the sentence with which a trace is refused."""
    with pytest.raises(NotABehaviour) as caught:
        check(lines, whole=whole)
    assert str(caught.value).startswith(f"connection {caught.value.connection}: ")
    assert caught.value.connection in {line.connection for line in lines}
    return str(caught.value)


def is_refused(lines: list[Line]) -> bool:
    try:
        check(lines)
    except NotABehaviour:
        return True
    return False


# What must be taken.


@settings(max_examples=80, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32))
def test_every_trace_that_the_scheduler_writes_is_taken(seed: int) -> None:
    lines = random_trace(seed)
    behaviour = check(lines)
    assert behaviour.lines == len(lines)
    assert behaviour.connections == len({line.connection for line in lines})
    assert behaviour.most_open <= behaviour.connections


def test_the_traces_that_are_corrupted_below_are_not_blind() -> None:
    arrows = {(line.origin, line.event) for lines in traces() for line in lines}
    assert len(arrows) >= 26
    assert len({line.holds for lines in traces() for line in lines}) >= 12
    assert {line.limit for lines in traces() for line in lines} >= {"idle_s", "stall_s", "handshake_s", "linger_s"}


@settings(max_examples=100, deadline=None, derandomize=True)
@given(data=st.data())
def test_every_piece_of_a_trace_is_taken_as_a_piece(data: st.DataObject) -> None:
    lines = data.draw(st.sampled_from(traces()))
    first = data.draw(st.integers(0, len(lines)))
    last = data.draw(st.integers(first, len(lines)))
    assert check(lines[first:last], whole=False).lines == last - first


def test_a_trace_is_whole_if_nobody_says_otherwise() -> None:
    lines = traces()[0]
    for piece in (lines[1:], lines[:1]):
        with pytest.raises(NotABehaviour):
            follow_all(Behaviour(), piece)


def test_a_trace_without_lines_is_one_of_a_server_that_nobody_met() -> None:
    assert check([]).lines == 0


# What must be refused.


class Place(NamedTuple):
    """A line, where it stands, and its neighbours among the lines of its connection."""

    number: int
    line: Line
    before: Line | None
    after: Line | None
    lines: list[Line]

    @property
    def alone(self) -> bool:
        return self.before is None and self.after is None

    @property
    def shown(self) -> Hold:
        return HOLDS[self.line.holds]


def places(lines: list[Line]) -> Iterator[Place]:
    for number, line in enumerate(lines):
        same = [other for other in lines if other.connection == line.connection]
        position = next(index for index, other in enumerate(same) if other is line)
        before = same[position - 1] if position else None
        yield Place(number, line, before, same[position + 1] if position + 1 < len(same) else None, lines)


def shape_of(line: Line) -> Shape:
    return SHAPES[line.event, line.origin, line.holds]


def begun_unseen(before: Line, line: Line) -> bool:
    """Tell whether a hold came without an event that changes which limit runs: then that began at any moment since."""
    former = shape_of(before)
    return deadline(former.state, former.lasting) != deadline(State(line.origin), HOLDS[line.holds])


Corruption = Callable[[Place], Iterator[list[Line]]]
CORRUPTIONS: dict[str, Corruption] = {}


def corruption(make: Corruption) -> Corruption:
    CORRUPTIONS[make.__name__.replace("_", " ")] = make
    return make


def put(place: Place, **values: Any) -> list[Line]:
    return [*place.lines[: place.number], place.line._replace(**values), *place.lines[place.number + 1 :]]


@corruption
def a_time_before_the_former_line(place: Place) -> Iterator[list[Line]]:
    if place.number:
        yield put(place, t=place.lines[place.number - 1].t - 0.001)


@corruption
def a_time_after_the_next_line(place: Place) -> Iterator[list[Line]]:
    if place.number + 1 < len(place.lines):
        yield put(place, t=place.lines[place.number + 1].t + 0.001)


@corruption
def a_time_that_moves_what_starts_a_deadline(place: Place) -> Iterator[list[Line]]:
    line, after = place.line, place.after
    later = place.number + 1 == len(place.lines) or place.lines[place.number + 1].t > line.t
    if later and after is not None:
        step = judge(shape_of(line), shape_of(after))
        assert isinstance(step, Step)
        if step.begun is Begun.WITH_THE_FORMER or (step.begun is Begun.WITH_WHAT_WAS_TAKEN and after.taken > line.taken):
            yield put(place, t=line.t + 1e-6)


@corruption
def the_number_of_another_connection(place: Place) -> Iterator[list[Line]]:
    for other in {line.connection for line in place.lines} - {place.line.connection}:
        yield put(place, connection=other)


@corruption
def a_number_that_nobody_has(place: Place) -> Iterator[list[Line]]:
    if not place.alone:
        yield put(place, connection=1000)
    yield put(place, connection=0)


@corruption
def another_descriptor(place: Place) -> Iterator[list[Line]]:
    if not place.alone:
        yield put(place, fd=place.line.fd + 1)


@corruption
def another_event(place: Place) -> Iterator[list[Line]]:
    for event in [*Event, "frob"]:
        # Two ends of the same one's doing are told apart by the error at most, which may be any with reset and abort.
        same_end = place.after is None and event in ("reset", "abort") and place.line.event not in ("expire", "finish")
        if event != place.line.event and not same_end:
            yield put(place, event=str(event))


@corruption
def another_origin(place: Place) -> Iterator[list[Line]]:
    for state in [*State, "frob"]:
        if state != place.line.origin:
            yield put(place, origin=str(state))


@corruption
def another_state(place: Place) -> Iterator[list[Line]]:
    for state in [*State, "frob"]:
        if state != place.line.to:
            yield put(place, to=str(state))


@corruption
def eof_held_or_not(place: Place) -> Iterator[list[Line]]:
    yield put(place, holds=(place.shown ^ Hold.EOF).words)


@corruption
def another_hold_where_the_interest_shows_it(place: Place) -> Iterator[list[Line]]:
    for hold in Hold:
        held = place.shown ^ hold
        if interest(State(place.line.to), held).words != place.line.interest:
            yield put(place, holds=held.words)


@corruption
def finishing_that_does_not_last(place: Place) -> Iterator[list[Line]]:
    if place.after is not None and Hold.FINISHING not in HOLDS[place.after.holds]:
        held = place.shown | Hold.FINISHING
        state = State(place.line.to)
        yield put(place, holds=held.words, interest=interest(state, held).words, deadline=deadline(state, held))


@corruption
def backpressure_that_is_not_there(place: Place) -> Iterator[list[Line]]:
    before = place.before
    if before is not None and before.event == "enqueue" and before.outbox > before.high:
        held = place.shown & ~Hold.BACKPRESSURE
        yield put(place, holds=held.words, interest=interest(State(place.line.to), held).words)


@corruption
def holds_in_another_order(place: Place) -> Iterator[list[Line]]:
    if len(place.line.holds) > 1:
        yield put(place, holds=place.line.holds[::-1])
    yield put(place, holds=(*place.line.holds, "frob"))


@corruption
def another_interest(place: Place) -> Iterator[list[Line]]:
    for other in [*(Interest(bits).words for bits in range(4)), "frob"]:
        if other != place.line.interest:
            yield put(place, interest=other)


@corruption
def another_deadline(place: Place) -> Iterator[list[Line]]:
    for other in {limit for row in DEADLINE.values() for limit in row} | {"frob"}:
        if other != place.line.deadline:
            yield put(place, deadline=other)


@corruption
def a_limit_that_began_at_another_moment(place: Place) -> Iterator[list[Line]]:
    if place.before is not None and not begun_unseen(place.before, place.line):  # accepted it was at any moment
        yield put(place, since=place.line.since - 1e-6)
        yield put(place, since=place.line.since + 1e-6)
    yield put(place, since=place.line.t + 1e-6)


@corruption
def bytes_received_that_were_not(place: Place) -> Iterator[list[Line]]:
    # How much came with the bytes of two `receive` in a row, or of the last one, is known from these lines alone.
    if not (place.before is not None and place.before.event == "receive" and (place.after is None or place.line.event == "receive")):
        yield put(place, received=place.line.received + 1)
        yield put(place, received=place.line.received - 1)


@corruption
def bytes_that_do_not_add_up(place: Place) -> Iterator[list[Line]]:
    for name in ("written", "taken", "outbox", "discarded"):
        for by in (-1, 1):
            yield put(place, **{name: getattr(place.line, name) + by})


@corruption
def bytes_that_add_up_and_are_lost(place: Place) -> Iterator[list[Line]]:
    """Two fields at once: what a scheduler would write that loses a byte and keeps its books."""
    line = place.line
    if line.outbox and place.after is not None:
        yield put(place, outbox=line.outbox - 1, discarded=line.discarded + 1)
    if line.taken and place.after is not None:
        yield put(place, taken=line.taken - 1, written=line.written - 1)
    if line.discarded:
        yield put(place, taken=line.taken + line.discarded, discarded=0)


@corruption
def marks_that_cross(place: Place) -> Iterator[list[Line]]:
    yield put(place, high=place.line.low - 1)
    yield put(place, low=place.line.high + 1)
    yield put(place, low=-1)


@corruption
def somebody_elses_end(place: Place) -> Iterator[list[Line]]:
    if place.after is not None:
        yield put(place, who="peer")
    elif place.line.event not in ("abort", "finish"):
        yield from (put(place, who=who) for who in ("peer", "application", "server") if who != place.line.who)
    if place.after is None:
        yield from (put(place, who=who) for who in (None, "frob"))


@corruption
def another_error(place: Place) -> Iterator[list[Line]]:
    if place.line.event in ("finish", "exceptional", "expire") and place.after is None:
        yield put(place, error="frob")
        if place.line.error is not None:
            yield put(place, error=None)


@corruption
def a_limit_that_did_not_pass(place: Place) -> Iterator[list[Line]]:
    if place.after is None:
        for limit in ("idle_s", "stall_s", "handshake_s", "drain_s", None):
            if limit != place.line.limit:
                yield put(place, limit=limit)
        yield put(place, after_s=(place.line.after_s or 0) + 1)
    if place.line.event == "expire":
        yield put(place, after_s=None)


@corruption
def no_line(place: Place) -> Iterator[list[Line]]:
    line, before, after = place.line, place.before, place.after
    # A flush that took nothing leaves no other mark; what the second receive or flush of two has moved, the first may have.
    in_vain = line.event == "flush" and line.origin == line.to and after is not None and after.taken == line.taken
    joined = (
        before is not None and before.event == line.event and (line.event == "receive" or (line.event == "flush" and before.t == line.t))
    )
    if not place.alone and not in_vain and not joined:
        yield [*place.lines[: place.number], *place.lines[place.number + 1 :]]


@corruption
def a_line_twice(place: Place) -> Iterator[list[Line]]:
    if place.line.event != "flush":
        yield [*place.lines[: place.number], place.line, *place.lines[place.number :]]


@corruption
def two_lines_of_a_connection_in_the_wrong_order(place: Place) -> Iterator[list[Line]]:
    if place.before is not None and not place.before.event == place.line.event == "flush":
        former = next(index for index, line in enumerate(place.lines) if line is place.before)
        lines = list(place.lines)
        lines[former], lines[place.number] = place.line, place.before
        yield lines


@pytest.mark.slow
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_trace_is_refused_that_has(name: str) -> None:
    count = 0
    for lines in traces():
        for place in places(lines):
            for corrupted in CORRUPTIONS[name](place):
                count += 1
                assert is_refused(corrupted), f"{name} at line {place.number + 1}: {place.line}"
    assert count, "nothing was corrupted"


# What a broken machine writes.


def silent(event: Event) -> Callable[[pytest.MonkeyPatch], None]:
    """Give a fault: the state moves, and nobody is told of `event`."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        fire = ConnectionFSM.fire

        def skip(fsm: ConnectionFSM, fired: Event, **options: Any) -> None:
            observer = fsm._observer
            if fired is event:
                fsm._observer = None
            fire(fsm, fired, **options)
            fsm._observer = observer

        patch.setattr(ConnectionFSM, "fire", skip)

    return plant


def replacing(owner: Any, name: str, value: Any) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(owner, name, value)


def ease_too_early(fsm: ConnectionFSM) -> bool:
    fsm._holds &= ~Hold.BACKPRESSURE
    return True


DISCARD, DUE, SENT, HOLD = Outbox.discard, ConnectionFSM.due, ConnectionFSM.sent, ConnectionFSM._change_holds


def count_a_lost_byte_as_sent(outbox: Outbox) -> int:
    lost_bytes = DISCARD(outbox)
    outbox.discarded_bytes -= min(lost_bytes, 1)
    outbox.taken_bytes += min(lost_bytes, 1)
    return lost_bytes


def half_due(fsm: ConnectionFSM) -> tuple[str, float]:
    limit, due_s = DUE(fsm)
    return limit, fsm.since_s + (due_s - fsm.since_s) / 2


FAULTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    **{f"says nothing of {event}": silent(event) for event in Event},
    "never presses back": replacing(ConnectionFSM, "_press", lambda fsm: True),
    "never eases": replacing(ConnectionFSM, "_ease", lambda fsm: False),
    "eases too early": replacing(ConnectionFSM, "_ease", ease_too_early),
    "lets what comes renew each limit": replacing(connection, "RECEIVED_RENEWS", dict.fromkeys(State, (True,) * 16)),
    "lets nothing that comes renew a limit": replacing(connection, "RECEIVED_RENEWS", dict.fromkeys(State, (False,) * 16)),
    "lets nothing that is taken renew a limit": replacing(
        ConnectionFSM, "sent", lambda fsm, count_bytes, now_s=0.0: SENT(fsm, count_bytes, fsm.since_s)
    ),
    "does not hold eof": replacing(ConnectionFSM, "_change_holds", lambda fsm, holds, now_s: HOLD(fsm, holds & ~Hold.EOF, now_s)),
    "does not finish": replacing(ConnectionFSM, "_finish", lambda fsm: None),
    "expires too early": replacing(ConnectionFSM, "due", half_due),
    "expires by another limit": replacing(ConnectionFSM, "due", lambda fsm: ("idle_s", DUE(fsm)[1])),
    "watches for what it should not": replacing(ConnectionFSM, "interest", Interest.READ),
    "counts a lost byte as sent": replacing(Outbox, "discard", count_a_lost_byte_as_sent),
}


@pytest.mark.pure
@pytest.mark.slow
@pytest.mark.untraced("the machine is broken on purpose")
@pytest.mark.parametrize("fault", FAULTS)
def test_its_trace_gives_a_machine_away_that(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    FAULTS[fault](monkeypatch)
    assert any(is_refused(random_trace(seed, steps=15)) for seed in range(60))


# What is said.


def story() -> list[Line]:
    """Give a usual life: opened, served in two parts, ended by the peer."""
    lines: list[Line] = []
    world = make_world(watcher=lambda link, fsm, origin, event: lines.append(describe(link, fsm, origin, event)))
    sock, _ = world.connect(Recorder(data_received=lambda me, data: me.say(data)))
    for data, at_end in ((b"hello", False), (b"", False), (b"", True)):
        world.clock.advance(1)
        sock.room_bytes = 3
        sock.feed(data)
        sock.at_end = at_end
        world.round()
    world.scheduler.close()
    assert [line.event for line in lines] == ["open", "receive", "enqueue", "flush", "flush", "drain", "eof", "finish"]
    return lines


OPEN, RECEIVE, ENQUEUE, FLUSH, AGAIN, DRAIN, EOF, FINISH = range(8)
ABORTED: dict[str, Any] = {
    "event": "abort", "origin": "accepted", "to": "closed", "interest": "nothing", "deadline": "for ever", "who": "application",
}  # fmt: skip
EXPIRED: dict[str, Any] = {
    "event": "expire", "who": "server", "limit": "lifetime_s", "after_s": 3.0, "error": "lifetime_s passed: 3 s", "holds": ("eof",),
}  # fmt: skip


@pytest.mark.parametrize(
    ("number", "values", "sentence"),
    [
        (RECEIVE, {"event": "frob"}, "expected 'event' to be one of open, receive, enqueue, flush, drain, eof, finish, reset, "),
        (
            RECEIVE, {"holds": ("frob", "glub")},
            "expected the holds to be some of eof, finishing, paused, backpressure, in this order, not frob, glub",
        ),
        (ENQUEUE, {"holds": ("paused",)}, "expected the interest 'write' in queued holding paused, not 'read and write'"),
        (FINISH, {"holds": ()}, "expected finish not to happen in reading holding nothing: finish comes when nothing is owed"),
        (FINISH, {"interest": "read"}, "expected the interest 'nothing' in closed holding eof and finishing, not 'read'"),
        (RECEIVE, {"origin": "frob"}, "expected 'from' to be one of accepted, reading, queued, writing, closed, not 'frob'"),
        (RECEIVE, {"to": "frob"}, "expected 'to' to be one of accepted, reading, queued, writing, closed, not 'frob'"),
        (RECEIVE, {"holds": ("frob",)}, "expected the holds to be some of eof, finishing, paused, backpressure, in this order, not frob"),
        (
            RECEIVE, {"event": "drain"}, "expected an arrow of the table: drain cannot happen in the state reading (possible there: receive"
        ),
        (RECEIVE, {"to": "queued"}, "expected receive to lead from reading to reading, not to queued"),
        (RECEIVE, {"holds": ("paused",)}, "expected no receive in reading holding paused: it is not read then"),
        (OPEN, {"holds": ("finishing",)}, "expected nothing but a pause to be held in accepted, not finishing"),
        (
            FINISH, {"event": "reset"},
            "expected reset not to happen in reading holding eof and finishing: finish comes when nothing is owed, and nothing else then",
        ),
        (DRAIN, {"holds": ("backpressure",)}, "expected no backpressure with drain from writing to reading: the outbox is empty"),
        (ENQUEUE, {"holds": ("finishing",)}, "expected no enqueue while finishing is held: the end of the stream is queued already"),
        (RECEIVE, {"interest": "write"}, "expected the interest 'read' in reading holding nothing, not 'write'"),
        (RECEIVE, {"deadline": "stall_s"}, "expected the deadline 'idle_s' in reading holding nothing, not 'stall_s'"),
        (RECEIVE, {"t": 999.0}, "expected 1000.0 s or later, not 999.0 s: time does not run backwards"),
        (FLUSH, {"taken": 1}, "expected the 5 bytes written to be those taken, in the outbox and discarded: 1 + 5 + 0 is 6"),
        (FLUSH, {"discarded": 2}, "expected the 5 bytes written to be those taken, in the outbox and discarded: 0 + 5 + 2 is 7"),
        (FLUSH, {"taken": 5, "outbox": 0}, "expected bytes in the outbox in writing, not 0 bytes"),
        (DRAIN, {"taken": 4, "outbox": 1}, "expected an empty outbox in reading, not 1 bytes"),
        (FLUSH, {"low": 9, "high": 8}, "expected 0 <= low <= high, not a low mark of 9 and a high one of 8"),
        (FLUSH, {"outbox": 4, "discarded": 1}, "expected nothing to be lost and nobody named by flush: it ends nothing"),
        (RECEIVE, {"connection": 0}, "expected connections to be numbered from 1 on"),
        (RECEIVE, {"fd": 70}, "expected its descriptor 4, not 70"),
        (OPEN, {"since": 1001.0}, "expected it to be accepted before open, at 1000.0 s, not at 1001.0 s"),
        (DRAIN, {"origin": "queued", "event": "flush", "to": "writing"}, "expected the interest 'read and write' in writing"),
        (EOF, {"holds": ("eof",), "event": "abort", "to": "closed", "interest": "nothing", "deadline": "for ever"}, "expected eof to be"),
        (ENQUEUE, {"origin": "queued"}, "expected it to go on from reading, where receive left it; this line begins in queued"),
        (OPEN, {"event": "receive", "origin": "reading"}, "expected it to go on from accepted, where accept left it; this line begins in"),
        (ENQUEUE, {"received": 0}, "expected more than 0 bytes received since its receive, not 0"),
        (FLUSH, {"received": 9}, "expected 5 bytes received since its enqueue, not 9"),
        (FLUSH, {"written": 6, "outbox": 6}, "expected 5 bytes written since its enqueue, not 6"),
        (ENQUEUE, {"written": 0, "outbox": 0}, "expected bytes in the outbox in queued, not 0 bytes"),
        (FINISH, {"event": "reset", "holds": ("eof",), "who": "server"}, "expected reset to be done by the peer, not by server"),
        (FLUSH, {"outbox": 4, "taken": 1}, "expected 0 bytes taken, not 1: nothing was offered"),
        (AGAIN, {"outbox": 6, "taken": -1}, "expected 0 to 5 of the bytes offered to be taken, not -1"),
        (AGAIN, {"since": 1000.5}, "expected the limit that ran until flush to have begun at 1001.0 s, not at 1000.5 s"),
        (FINISH, {"since": 1000.5}, "expected the limit that ran until finish to have begun at 1003.0 s, not at 1000.5 s"),
        (ENQUEUE, {"t": 1001.5, "since": 1000.5}, "expected the limit that ran until enqueue to have begun at 1001.5 s, not at 1000.5 s"),
        (FINISH, {**EXPIRED, "after_s": None}, "expected the error 'lifetime_s passed: inf s', not 'lifetime_s passed: 3 s'"),
        (DRAIN, {"t": 1002.5}, "expected drain at once after flush, at 1002.0 s, not at 1002.5 s"),
        (FINISH, {"who": "frob"}, "expected finish to be done by the peer or application or server, not by frob"),
        (FINISH, {"limit": "idle_s"}, "expected no limit and no after_s with finish: nothing expired"),
        (FINISH, {"error": "frob"}, "expected the error None with finish, not 'frob'"),
        (FINISH, {**EXPIRED, "limit": "stall_s"}, "expected half_closed_s or lifetime_s to expire, not stall_s"),
        (FINISH, {**EXPIRED, "error": "frob"}, "expected the error 'lifetime_s passed: 3 s', not 'frob'"),
        (
            FINISH, {**EXPIRED, "after_s": 4.0, "error": "lifetime_s passed: 4 s"},
            "expected lifetime_s to expire at 1004.0 s or later, 4.0 s after it began, not at 1003.0 s",
        ),
    ],
)  # fmt: skip
def test_the_first_bad_line_is_named_with_what_was_expected(number: int, values: dict[str, Any], sentence: str) -> None:
    lines = story()
    lines[number] = lines[number]._replace(**values)
    who = values.get("connection", 1)
    assert expected(lines).startswith(f"connection {who}: {sentence}")


def test_a_flush_that_took_all_is_followed_by_drain() -> None:
    lines = story()
    more = lines[DRAIN]._replace(event="enqueue", to="writing", interest="read and write", deadline="stall_s", outbox=3, written=8)
    assert expected([*lines[:DRAIN], more]) == "connection 1: expected drain, not enqueue: 2 of the 2 bytes offered were taken"


def test_backpressure_comes_over_the_high_mark_and_goes_at_the_low_one() -> None:
    opened, received, written, flushed, again, drained, *rest = (line._replace(high=4, low=2) for line in story())
    pressed: dict[str, Any] = {"holds": ("backpressure",), "interest": "write"}
    right = [opened, received, written, flushed._replace(**pressed), again, drained, *rest]
    assert check(right).lines == 8
    assert expected([*right[:FLUSH], flushed]) == "connection 1: expected backpressure: the outbox held 5 bytes, over 4"
    right[FLUSH] = right[FLUSH]._replace(low=1)
    assert expected(right) == "connection 1: expected backpressure still: over 1 bytes were left, 2"
    dropped = received._replace(t=1001.0, event="receive", origin="writing", to="writing", interest="read and write", deadline="stall_s")
    dropped = dropped._replace(since=1001.0, received=5, written=5, taken=3, outbox=2)
    early = dropped._replace(**pressed, event="enqueue", written=6, outbox=3)
    assert expected([*right[:FLUSH], right[FLUSH]._replace(low=2), early, dropped._replace(written=6, outbox=3)]) == (
        "connection 1: expected backpressure to be held until the kernel takes bytes: nothing was offered since the former line"
    )


def test_what_is_held_until_the_end_is() -> None:
    *lines, eof, finish = story()
    lost = finish._replace(event="abort", holds=(), since=1003.0)
    assert expected([*lines, eof, lost]) == (
        "connection 1: expected eof to be held until the end: what the former line left is not held in this"
    )


def test_a_lifetime_that_has_passed_ends_a_connection() -> None:
    lines = story()
    lines[FINISH] = lines[FINISH]._replace(**EXPIRED)
    assert check(lines).lines == 8


def test_before_its_first_line_a_connection_was_accepted_and_nothing_had_moved() -> None:
    first = story()[OPEN]._replace(t=1000.5)
    moved: dict[str, Any] = dict.fromkeys(("received", "written", "taken", "outbox", "discarded"), 0)
    more: dict[str, Any] = dict.fromkeys(moved, 3)
    assert _birth(first._replace(**more)) == first._replace(
        t=1000.0, event="accept", to="accepted", interest="read", deadline="handshake_s", since=1000.0, **moved
    )


def test_an_enqueue_writes_something() -> None:
    lines = story()
    empty = lines[FLUSH]._replace(event="enqueue", origin="writing")
    assert expected([*lines[:AGAIN], empty]) == "connection 1: expected more than 5 bytes written since its flush, not 5"


def test_an_outbox_may_be_as_full_as_its_high_mark_without_backpressure() -> None:
    assert check([line._replace(high=5, low=2) for line in story()]).lines == 8


def test_more_than_the_low_mark_may_be_left_where_there_was_no_backpressure() -> None:
    assert check([line._replace(low=1) for line in story()]).lines == 8


def test_once_nothing_is_owed_finish_follows_at_once_and_what_is_held_is_held() -> None:
    *_, drain, _, finish = story()
    drain = drain._replace(holds=("eof", "finishing"), interest="nothing", deadline="half_closed_s")
    finish = finish._replace(t=1002.0, since=1002.0)
    assert check([drain, finish], whole=False).lines == 2
    assert expected([drain, finish._replace(t=1002.5)], whole=False) == (
        "connection 1: expected finish at once after drain, at 1002.0 s, not at 1002.5 s"
    )
    assert expected([drain, finish._replace(event="abort", holds=())], whole=False) == (
        "connection 1: expected eof and finishing to be held until the end: what the former line left is not held in this"
    )


def test_bytes_that_came_renew_the_idle_limit_and_not_that_of_a_stall() -> None:
    lines = story()
    twice = lines[RECEIVE]._replace(t=1002.0, since=1001.0, received=5)
    assert check([*lines[:ENQUEUE], twice], whole=False).lines == ENQUEUE + 1
    heard = lines[AGAIN]._replace(t=1001.5, event="receive")
    again = lines[AGAIN]._replace(received=lines[AGAIN].received + 1)
    assert check([*lines[:AGAIN], heard, again], whole=False).lines == AGAIN + 2


def test_a_flush_in_vain_leaves_the_limit_as_it_was() -> None:
    lines = story()
    in_vain = lines[FLUSH]._replace(t=1001.5, origin="writing")
    assert check([*lines[:AGAIN], in_vain], whole=False).lines == AGAIN + 1
    assert check([*lines[:AGAIN], in_vain, in_vain._replace(t=1002.0)], whole=False).lines == AGAIN + 2
    for since_s in (1000.5, 1001.5):
        assert expected([*lines[:AGAIN], in_vain._replace(since=since_s)], whole=False) == (
            f"connection 1: expected the limit that ran until flush to have begun at 1001.0 s, not at {since_s} s"
        )


def test_a_limit_may_seem_to_end_as_much_too_early_as_times_are_rounded() -> None:
    lines = story()
    lines[FINISH] = lines[FINISH]._replace(**EXPIRED)
    assert (3.0 + ROUNDING_S) - ROUNDING_S == 3.0
    lines[FINISH] = lines[FINISH]._replace(after_s=3.0 + ROUNDING_S)
    assert check(lines).lines == 8


def test_of_a_connection_whose_beginning_is_not_seen_any_lifetime_may_pass() -> None:
    lines = story()
    lines[FINISH] = lines[FINISH]._replace(**EXPIRED)
    assert check(lines[FLUSH:], whole=False).lines == 8 - FLUSH


def test_a_limit_that_began_unseen_began_between_two_lines() -> None:
    lines = story()
    lingering = lines[EOF]._replace(event="receive", holds=("finishing",), deadline="linger_s")
    for since_s in (1002.0, 1002.5, 1003.0):
        assert check([*lines[:EOF], lingering._replace(since=since_s)], whole=False).lines == EOF + 1
    for since_s in (1001.9, 1003.1):
        assert expected([*lines[:EOF], lingering._replace(since=since_s)], whole=False) == (
            f"connection 1: expected the limit that ran until receive to have begun between 1002.0 and 1003.0 s, not at {since_s} s"
        )


def test_a_connection_that_is_open_at_the_end_of_a_whole_trace_is_named() -> None:
    lines = story()[:-2]
    assert expected(lines) == "connection 1: expected it to be closed before the trace ends, but drain left it in reading"
    second = [line._replace(connection=2, fd=9, t=1003.0, since=1003.0) for line in lines[:1]]
    assert expected(lines + second).endswith("but drain left it in reading (1 others are open too)")
    assert check(lines + second, whole=False).most_open == 2


def test_a_number_is_not_used_again_though_a_descriptor_is() -> None:
    lines = story()
    assert "expected nothing more of it, not open: it has ended, and numbers are not reused" in expected(
        [*lines, *(line._replace(t=1003.0, since=1003.0) for line in lines[:1])]
    )
    later = [line._replace(connection=2, t=line.t + 10, since=line.since + 10) for line in lines]
    assert check(lines + later).connections == 2


def test_two_open_connections_do_not_share_a_descriptor() -> None:
    lines = story()
    second = lines[0]._replace(connection=2)
    assert "expected another descriptor than 4: connection 1 has that, and is open" in expected([lines[0], second])


def test_numbers_may_show_in_another_order_than_they_were_given_out_in() -> None:
    """A connection whose handshake takes long shows late; whichever has shown is known, in little memory."""
    (first, *_) = story()
    behaviour = Behaviour()
    order = [5, 2, 9, 7, 1, 3, 8, 4, 6]
    for number in order:
        behaviour.take(first._replace(connection=number, **ABORTED))
        with pytest.raises(NotABehaviour):
            behaviour.take(first._replace(connection=number, **ABORTED))
    assert behaviour.connections == len(order)
    assert not behaviour._numbers._missing


def test_a_million_connections_that_have_ended_leave_nothing_behind() -> None:
    (first, *_) = story()
    behaviour = Behaviour()
    behaviour.follow(first._replace(connection=number, **ABORTED) for number in range(1, 2001))
    assert (behaviour.lines, behaviour.most_open) == (2000, 1)
    assert not behaviour._open
    assert not behaviour._users
    assert not behaviour._numbers._missing


# What is not seen, because a correct machine could have written it.


@pytest.mark.parametrize(
    ("number", "values"),
    [
        (OPEN, {"since": 990.0}),  # when it was accepted is known from its first line alone
        (FINISH, {"who": "server"}),  # anyone may have closed it
        (FINISH, {"who": "application", "error": None}),
        (FLUSH, {"high": 7, "low": 5}),  # the application may set its marks at any moment
        (FINISH, {"received": 5}),
    ],
)
def test_what_a_correct_machine_could_have_written_is_taken(number: int, values: dict[str, Any]) -> None:
    lines = story()
    lines[number] = lines[number]._replace(**values)
    assert check(lines).lines == 8


def test_a_flush_in_vain_may_be_missing_or_there_twice() -> None:
    lines = story()
    in_vain = lines[FLUSH]._replace(origin="writing")
    assert check([*lines[:AGAIN], in_vain._replace(taken=3, outbox=2), *lines[AGAIN:]]).lines == 9


# The table behind it.


def test_only_holds_that_come_with_an_event_or_last_change_which_limit_runs() -> None:
    """Else a limit could begin anew between two lines, there and back, and the checker would refuse a correct machine."""
    for state in State:
        for held in ALL_HOLDS:
            for fleeting in (Hold.PAUSED, Hold.BACKPRESSURE):
                assert deadline(state, held) == deadline(state, held ^ fleeting)


def test_each_shape_can_be_judged_after_each_other() -> None:
    verdicts = [judge(former, latter) for former in [BIRTH, *SHAPES.values()] for latter in SHAPES.values()]
    steps = [verdict for verdict in verdicts if not isinstance(verdict, str)]
    assert len(steps) > 1000
    assert {type(verdict) for verdict in verdicts} == {Step, str}


def test_there_is_a_shape_for_each_arrow() -> None:
    arrows = {(shape.event, shape.origin, shape.state) for shape in SHAPES.values()}
    assert arrows == {(event, origin, state) for origin, row in CONNECTION.arrows.items() for event, state in row.items()}
