"""`ConnectionFSM` and the model that the proof reasons about, in lockstep: whatever is called, they never differ.

So what is proved of the model is proved of the code, as far as these runs reach; and what the proof claims to hold
always is asked of each of them again.
"""

from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fsmserver.core.connection import ConnectionFSM
from fsmserver.core.errors import FsmServerError
from fsmserver.core.limits import Limits
from fsmserver.core.states import Event, State
from specs.proof.model import STATES, Model, Plain, Point, beginning, index
from specs.proof.obligations import INVARIANTS
from specs.proof.tables import of_the_code

SMALL = Limits(outbox_high_bytes=20, outbox_low_bytes=5, outbox_cap_bytes=60, linger_bytes=30)


class ModelAgainstCode(RuleBasedStateMachine):
    """A connection and its model refuse the same calls and are the same after each."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model(Plain(), of_the_code())
        self.now_s = 0
        self.begin()

    def begin(self) -> None:
        self.fsm = ConnectionFSM(limits=SMALL, now_s=self.now_s)
        self.closes = 0
        self.delivered = 0
        self.fsm.observe(self.count)
        self.at = beginning(self.model.tables, high=20, low=5, cap=60, linger_limit=30, now=self.now_s)

    def count(self, fsm: ConnectionFSM, _origin: State, _event: Event) -> None:
        self.closes += fsm.closed

    def both(self, name: str, told: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Call a method on both."""
        refused, self.at = getattr(self.model, name)(self.at, **told)
        try:
            given = getattr(self.fsm, name)(*args, **kwargs)
        except (FsmServerError, ValueError):
            assert refused
            return None
        assert not refused
        return given

    @initialize(opened=st.sampled_from([True, True, True, False]), watched=st.booleans())
    def start(self, opened: bool, watched: bool) -> None:
        if not watched:  # then it takes the short cuts
            self.fsm.observe(None)
        if opened:
            self.open()

    @rule()
    def open(self) -> None:
        self.both("open", {}, self.now_s)

    @rule(count=st.integers(1, 20))
    def receive(self, count: int) -> None:
        if self.both("receive", {"count": count}, b"r" * count, self.now_s):
            self.delivered += count

    @rule(count=st.integers(0, 30))
    def enqueue(self, count: int) -> None:
        self.both("enqueue", {"count": count}, b"w" * count, self.now_s)

    @rule()
    def flush(self) -> None:
        self.both("flush", {})

    @rule(share=st.sampled_from([0.0, 0.3, 0.7, 1.0, 1.0]), more=st.sampled_from([0, 0, 0, 0, 1, -70]))
    def sent(self, share: float, more: int) -> None:
        count = int(self.fsm.outbox.size_bytes * share) + more
        self.both("sent", {"count": count}, count, self.now_s)

    @precondition(lambda self: self.fsm.wants_flush)
    @rule(share=st.sampled_from([0.0, 0.5, 1.0, 1.0]))
    def pass_on(self, share: float) -> None:
        counts: list[int] = []

        def send(data: Any) -> int:
            counts.append(int(len(data) * share))
            return counts[-1]

        self.fsm.pass_on(send, self.now_s)
        for count in counts:
            _, self.at = self.model.flush(self.at)
            _, self.at = self.model.sent(self.at, count)

    @rule(half_open=st.booleans())
    def eof(self, half_open: bool) -> None:
        self.both("eof", {"half_open": half_open}, self.now_s, half_open=half_open)

    @rule(name=st.sampled_from(["close", "write_eof", "pause", "resume"]))
    def ask(self, name: str) -> None:
        self.both(name, {}, self.now_s)

    @rule(high=st.integers(0, 80), low=st.integers(-1, 20))
    def set_marks(self, high: int, low: int) -> None:
        self.both("set_marks", {"high": high, "low": low}, high, low)

    @rule()
    def time_passes(self) -> None:
        self.now_s += 1
        self.at = replace(self.at, now=self.now_s)

    @precondition(lambda self: self.now_s > 3)
    @rule(name=st.sampled_from(["reset", "exceptional", "abort", "expire"]))
    def end(self, name: str) -> None:
        self.both(name, {}, *(["idle_s"] if name == "expire" else []))

    @precondition(lambda self: self.fsm.closed)
    @rule()
    def begin_again(self) -> None:
        self.begin()
        self.open()

    @invariant()
    def they_are_equal(self) -> None:
        fsm, at = self.fsm, self.at
        assert fsm.state is STATES[at.state]
        assert set(fsm.holds.words) == {name for name in ("eof", "finishing", "paused", "backpressure") if getattr(at, name)}
        assert self.counts_of_the_code() == (
            at.outbox, at.written, at.taken, at.discarded, at.received, at.lingered, at.delivered, at.sealed, at.low, at.high,
        )  # fmt: skip
        assert fsm.closed or fsm.since_s == at.since
        assert fsm.closed is (fsm.close_reason is not None)
        assert at.graceful is (fsm.close_reason is not None and fsm.close_reason.graceful)
        assert fsm._observer is None or self.closes == at.closes

    def counts_of_the_code(self) -> tuple[object, ...]:
        fsm, outbox = self.fsm, self.fsm.outbox
        return (
            outbox.size_bytes, outbox.written_bytes, outbox.taken_bytes, outbox.discarded_bytes, fsm.received_bytes, fsm.lingered_bytes,
            self.delivered, outbox.sealed, *fsm.marks,
        )  # fmt: skip

    @invariant()
    def all_that_is_proved_holds(self) -> None:
        for claim, holds in INVARIANTS.items():
            assert holds(self.model, self.at), claim

    @invariant()
    def what_the_code_derives_fits_the_facts(self) -> None:
        fsm, at = self.fsm, self.at
        lingering = at.alive and at.opened and not at.outbox and at.finishing and not at.eof
        unheld = not (at.eof or at.finishing or at.paused or at.backpressure)
        assert fsm.wants_write is (at.outbox > 0)
        assert fsm.wants_read is bool(at.alive and (unheld or lingering))
        assert set(fsm.allowed()) == {event for event in Event if self.model.possible(at, event)}
        assert fsm.deadline == limit_of(at)


def limit_of(at: Point) -> str:
    if not at.alive:
        return "for ever"
    if not at.opened:
        return "handshake_s"
    if at.outbox:
        return "stall_s"
    return "half_closed_s" if at.eof else "linger_s" if at.finishing else "idle_s"


TestModelAgainstCode = ModelAgainstCode.TestCase
TestModelAgainstCode.settings = settings(max_examples=200, stateful_step_count=40, deadline=None, derandomize=True)


def test_the_model_notices_an_event_that_is_illegal_inside() -> None:
    tables = of_the_code().with_arrow(Event.FINISH, State.READING, None)
    model = Model(Plain(), tables)
    at = replace(beginning(tables, high=2, low=1, cap=9, linger_limit=3, now=0), state=index(State.READING), opened=True)
    _, after = model.eof(at, half_open=False)
    assert after.broken
