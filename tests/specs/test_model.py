"""`ConnectionFSM` and the model that the proof reasons about, side by side: whatever is called, they never differ.

With an outbox of at most three bytes everything is tried: each method, with each argument that makes a difference, at each
moment that can be reached. So the model says what the code does, and what is proved of the model, for any number of bytes,
is a statement about the code; the proof's own claims are asked of each moment again.
"""

from collections import deque
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import pytest

from fsmserver.core.connection import ConnectionFSM
from fsmserver.core.errors import FsmServerError
from fsmserver.core.limits import Limits
from fsmserver.core.states import Event, State
from specs.proof.model import STATES, Model, Plain, Point, beginning, index
from specs.proof.obligations import INVARIANTS
from specs.proof.tables import of_the_code

SMALL = Limits(outbox_high_bytes=2, outbox_low_bytes=1, outbox_cap_bytes=3, linger_bytes=1)
PLAIN = Model(Plain(), of_the_code())

Call = tuple[str, dict[str, Any], tuple[Any, ...]]


@dataclass
class Pair:
    """A connection and its model at the same moment, and what the application was given."""

    fsm: ConnectionFSM
    at: Point
    delivered: int = 0

    def copy(self) -> "Pair":
        fsm = copy(self.fsm)
        fsm.outbox = copy(self.fsm.outbox)
        fsm.outbox.rest = list(self.fsm.outbox.rest)
        return replace(self, fsm=fsm)

    def key(self) -> tuple[object, ...]:
        """What the future depends on; of counts that only grow, whether there is any."""
        at, outbox = self.at, self.fsm.outbox
        if not at.alive:
            return "closed", at.eof, at.finishing, at.graceful
        return (
            at.state, at.eof, at.finishing, at.paused, at.backpressure, at.sealed, at.outbox, at.high, at.low, at.lingered,
            at.now - at.since, at.taken > 0, len(outbox.rest),
        )  # fmt: skip


def beginning_pair() -> Pair:
    fsm = ConnectionFSM(limits=SMALL, now_s=0)
    return Pair(fsm, beginning(PLAIN.tables, high=2, low=1, cap=3, linger_limit=1, now=0))


def calls(pair: Pair) -> Iterator[Call]:
    """Give every call that is made from here: its name, what the model is told, what the code is."""
    now = pair.at.now
    for name in ("open", "close", "write_eof", "pause", "resume"):
        yield name, {}, (now,)
    for name in ("flush", "reset", "exceptional", "abort"):
        yield name, {}, ()
    yield "expire", {}, ("idle_s",)
    for half_open in (False, True):
        yield "eof", {"half_open": half_open}, (now,)
    yield "receive", {"count": 1}, (b"r", now)
    for count in (0, 1, 2, 4):
        yield "enqueue", {"count": count}, (b"w" * count, now)
    for count in (-1, 0, 1, 2, 3, 4):
        yield "sent", {"count": count}, (count, now)
    for high, low in ((2, 1), (0, 0), (1, 2), (1, -1)):
        yield "set_marks", {"high": high, "low": low}, (high, low)


def call(pair: Pair, name: str, told: dict[str, Any], args: tuple[Any, ...]) -> Pair:
    """Call a method on both; they refuse the same."""
    after = pair.copy()
    refused, after.at = getattr(PLAIN, name)(pair.at, **told)
    keywords = told if name == "eof" else {}
    try:
        given = getattr(after.fsm, name)(*args, **keywords)
    except (FsmServerError, ValueError):
        assert refused
        return after
    assert not refused
    if name == "receive" and given:
        after.delivered += told["count"]
    return after


def one_tick_later(pair: Pair) -> Pair:
    after = pair.copy()
    after.at = replace(pair.at, now=pair.at.now + 1)
    return after


def following(pair: Pair) -> Iterator[tuple[object, Pair]]:
    for name, told, args in calls(pair):
        yield (name, told), call(pair, name, told, args)
    if pair.at.now == pair.at.since:
        yield "a tick", one_tick_later(pair)


def check(pair: Pair) -> None:
    """The two are the same, and what is proved holds."""
    fsm, at, outbox = pair.fsm, pair.at, pair.fsm.outbox
    assert fsm.state is STATES[at.state]
    assert set(fsm.holds.words) == {name for name in ("eof", "finishing", "paused", "backpressure") if getattr(at, name)}
    assert (at.outbox, at.written, at.taken, at.discarded, at.received, at.lingered, at.delivered, at.sealed, at.low, at.high) == (
        outbox.size_bytes, outbox.written_bytes, outbox.taken_bytes, outbox.discarded_bytes, fsm.received_bytes, fsm.lingered_bytes,
        pair.delivered, outbox.sealed, *fsm.marks,
    )  # fmt: skip
    assert b"".join(bytes(chunk) for chunk in outbox.peek()) == b"w" * at.outbox
    assert fsm.closed or fsm.since_s == at.since
    assert fsm.closed is (fsm.close_reason is not None)
    assert at.graceful is (fsm.close_reason is not None and fsm.close_reason.graceful)
    for claim, holds in INVARIANTS.items():
        assert holds(PLAIN, at), claim


def check_what_follows(pair: Pair) -> None:
    """What the code derives fits the facts."""
    fsm, at = pair.fsm, pair.at
    lingering = at.alive and at.opened and not at.outbox and at.finishing and not at.eof
    unheld = not (at.eof or at.finishing or at.paused or at.backpressure)
    assert fsm.wants_write is (at.outbox > 0)
    assert fsm.wants_read is bool(at.alive and (unheld or lingering))
    assert set(fsm.allowed()) == {event for event in Event if PLAIN.possible(at, event)}
    assert fsm.deadline == limit_of(at)


@pytest.mark.slow
def test_whatever_is_called_in_whatever_order_the_code_and_the_model_are_the_same() -> None:
    """Every moment that these bounds allow is visited once, by breadth first, and everything is called there."""
    first = beginning_pair()
    seen, waiting, count = {first.key()}, deque([first]), 0
    while waiting:
        pair = waiting.popleft()
        check_what_follows(pair)
        for what, after in following(pair):
            count += 1
            try:
                check(after)
            except AssertionError as error:
                raise AssertionError(f"from {pair.fsm!r} by {what} to {after.fsm!r}: {error}") from error
            if after.key() not in seen:
                seen.add(after.key())
                waiting.append(after)
    assert len(seen) > 1000
    assert count > 25 * len(seen)


def limit_of(at: Point) -> str:
    if not at.alive:
        return "for ever"
    if not at.opened:
        return "handshake_s"
    if at.outbox:
        return "stall_s"
    return "half_closed_s" if at.eof else "linger_s" if at.finishing else "idle_s"


def test_the_model_notices_an_event_that_is_illegal_inside() -> None:
    tables = of_the_code().with_arrow(Event.FINISH, State.READING, None)
    model = Model(Plain(), tables)
    at = replace(beginning(tables, high=2, low=1, cap=9, linger_limit=3, now=0), state=index(State.READING), opened=True)
    _, after = model.eof(at, half_open=False)
    assert after.broken
