"""The derived table and the library it was declared with, in lockstep; the short cuts and `fire`, in lockstep."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from transitions import Machine

from fsmserver.core.connection import ConnectionFSM
from fsmserver.core.errors import FsmServerError
from fsmserver.core.limits import Limits
from fsmserver.core.states import Event, State
from fsmserver.core.table import CONNECTION, SENDING

SMALL = Limits(outbox_high_bytes=20, outbox_low_bytes=5, outbox_cap_bytes=60, linger_bytes=30)


class Model:
    """What the library moves; it adds `state`, the triggers and `may_<event>`."""

    state: str


def reference() -> tuple[Model, Machine]:
    """Make the library's own machine, with a model, of the declaration."""
    declared = CONNECTION.machine
    rows = [
        [name, arrow.source, arrow.dest]
        for name, event in declared.events.items()
        for arrows in event.transitions.values()
        for arrow in arrows
    ]
    model = Model()
    machine = Machine(model=model, states=list(declared.states), transitions=rows, initial=declared.initial, auto_transitions=False)
    return model, machine


class TableAgainstLibrary(RuleBasedStateMachine):
    """Whatever is fired, the library and `fire` allow the same and arrive at the same state."""

    def __init__(self) -> None:
        super().__init__()
        self.model, self.machine = reference()
        self.fsm = ConnectionFSM()

    @rule(event=st.sampled_from(Event))
    def fire(self, event: Event) -> None:
        may = bool(getattr(self.model, f"may_{event}")())
        assert may is (event in self.fsm.allowed())
        if may:
            getattr(self.model, str(event))()
            self.fsm.fire(event)

    @precondition(lambda self: self.fsm.state is State.CLOSED)
    @rule()
    def begin_again(self) -> None:
        self.model, self.machine = reference()
        self.fsm = ConnectionFSM()

    @invariant()
    def same_state(self) -> None:
        assert self.model.state == self.fsm.state


class ShortCutsAgainstFire(RuleBasedStateMachine):
    """A machine that takes the short cuts and one that is watched, and so walks `fire`, never differ."""

    def __init__(self) -> None:
        super().__init__()
        self.quick = ConnectionFSM(limits=SMALL)
        self.watched = ConnectionFSM(limits=SMALL)
        self.watched.observe(lambda *_: None)
        self.now_s = 0.0
        self.written = b""
        self.taken = b""

    @initialize(opened=st.sampled_from([True, True, True, False]))
    def start(self, opened: bool) -> None:
        if opened:
            self.both("open", 0.0)

    def both(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method on both; they give, or refuse, the same."""
        outcomes: list[Any] = []
        for fsm in (self.quick, self.watched):
            try:
                outcomes.append(getattr(fsm, name)(*args, **kwargs))
            except (FsmServerError, ValueError) as error:
                outcomes.append((type(error), str(error)))
        assert outcomes[0] == outcomes[1]
        return outcomes[0]

    @rule(size_bytes=st.integers(1, 20))
    def receive(self, size_bytes: int) -> None:
        self.both("receive", b"r" * size_bytes, self.now_s)

    @rule(data=st.binary(max_size=30))
    def enqueue(self, data: bytes) -> None:
        if isinstance(self.both("enqueue", data, self.now_s), bool):
            self.written += data

    @rule(share=st.sampled_from([0.0, 0.3, 0.7, 1.0, 1.0]))
    def send(self, share: float) -> None:
        count_bytes = int(self.quick.outbox.size_bytes * share)
        before = b"".join(bytes(chunk) for chunk in self.quick.outbox.peek())
        assert before == b"".join(bytes(chunk) for chunk in self.watched.outbox.peek())
        if isinstance(self.both("flush"), tuple):
            return
        self.both("sent", count_bytes, self.now_s)
        self.taken += before[:count_bytes]

    @rule()
    def send_too_much(self) -> None:
        self.both("sent", self.quick.outbox.size_bytes + 1, self.now_s)

    @rule(half_open=st.booleans())
    def eof(self, half_open: bool) -> None:
        self.both("eof", self.now_s, half_open=half_open)

    @rule(name=st.sampled_from(["close", "write_eof", "pause", "resume"]))
    def ask(self, name: str) -> None:
        self.both(name, self.now_s)

    @rule(high_bytes=st.integers(0, 80), low_bytes=st.integers(0, 20))
    def set_marks(self, high_bytes: int, low_bytes: int) -> None:
        self.both("set_marks", high_bytes, low_bytes)

    @rule()
    def time_passes(self) -> None:
        self.now_s += 1.0

    @precondition(lambda self: self.now_s > 3)
    @rule(name=st.sampled_from(["reset", "exceptional", "abort"]))
    def end(self, name: str) -> None:
        self.both(name)

    @precondition(lambda self: self.quick.closed)
    @rule()
    def begin_again(self) -> None:
        self.__init__()  # type: ignore[misc]
        self.both("open", 0.0)

    @invariant()
    def they_are_equal(self) -> None:
        left, right = (
            (
                fsm.state, fsm.holds, fsm.outbox.size_bytes, fsm.outbox.taken_bytes, fsm.outbox.discarded_bytes, fsm.outbox.sealed,
                fsm.received_bytes, fsm.lingered_bytes, fsm.since_s, str(fsm.close_reason), fsm.interest, fsm.due(), fsm.marks,
            )
            for fsm in (self.quick, self.watched)
        )  # fmt: skip
        assert left == right

    @invariant()
    def the_outbox_holds_bytes_exactly_while_sending(self) -> None:
        assert (self.quick.state in SENDING) is bool(self.quick.outbox.size_bytes)

    @invariant()
    def nothing_written_is_lost_or_reordered_unseen(self) -> None:
        outbox = self.quick.outbox
        assert len(self.written) == outbox.taken_bytes + outbox.size_bytes + outbox.discarded_bytes
        assert self.written.startswith(self.taken)
        assert len(self.taken) == outbox.taken_bytes

    @invariant()
    def a_graceful_end_loses_nothing(self) -> None:
        reason = self.quick.close_reason
        assert reason is None or not reason.graceful or self.quick.outbox.discarded_bytes == 0


TestTableAgainstLibrary = TableAgainstLibrary.TestCase
TestTableAgainstLibrary.settings = settings(max_examples=100, stateful_step_count=50, deadline=None, derandomize=True)
TestShortCutsAgainstFire = ShortCutsAgainstFire.TestCase
TestShortCutsAgainstFire.settings = settings(max_examples=300, stateful_step_count=40, deadline=None, derandomize=True)


class Closes(ConnectionFSM):
    """Closes itself in the hook that it is told to."""

    where: str = ""

    def hook(self, name: str) -> None:
        if name == self.where and not self.closed:
            self.abort()


HOOKS = [f"on_{moment}_{state}" for moment in ("enter", "exit") for state in State]
Closing = type("Closing", (Closes,), {name: (lambda self, name=name: self.hook(name)) for name in HOOKS})
"""It has every hook that there is."""


@pytest.mark.parametrize("moment", ["enter", "exit"])
@pytest.mark.parametrize("state", [State.READING, State.QUEUED, State.WRITING])
def test_a_connection_closed_in_a_hook_never_comes_back(state: State, moment: str) -> None:
    fsm = Closing()
    fsm.where = f"on_{moment}_{state}"
    steps: list[Any] = [
        lambda: fsm.open(),
        lambda: fsm.receive(b"abc"),
        lambda: fsm.enqueue(b"defg"),
        lambda: fsm.flush(),
        lambda: fsm.sent(2),
        lambda: fsm.sent(2),
    ]
    closed = False
    for step in steps:
        try:
            step()
        except (FsmServerError, ValueError):
            assert fsm.closed
        closed = closed or fsm.closed
        assert fsm.closed is closed
        assert (fsm.state in SENDING) is bool(fsm.outbox.size_bytes)
    assert closed


def test_the_library_itself_overwrites_a_close_inside_a_callback() -> None:
    model, machine = reference()
    machine.add_transition("leave", "accepted", "reading", before=lambda: model.abort())  # type: ignore[attr-defined]
    model.leave()  # type: ignore[attr-defined]
    assert model.state == "reading", "this is what ours must not do"
