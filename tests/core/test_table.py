"""The whole table, each pair, legal or not; and what follows from state and holds, each case."""

from itertools import product

import pytest
from transitions import Machine

from fsmserver.core.connection import ConnectionFSM
from fsmserver.core.declaration import Table
from fsmserver.core.errors import IllegalTransition
from fsmserver.core.limits import Limits
from fsmserver.core.listening import LISTENER, listener_interest
from fsmserver.core.states import Event, Hold, Interest, ListenerEvent, ListenerState, State
from fsmserver.core.table import (
    ALL_HOLDS,
    CONNECTION,
    DEADLINE,
    FOREVER,
    INTEREST,
    OWES_NOTHING,
    RECEIVED_RENEWS,
    deadline,
    interest,
    lingers,
    owes_nothing,
    renews,
)

A, R, Q, W, C = State

# Written a second time on purpose, from the design: a row that is lost or changed in the table is seen here.
DESIGN = {
    ("open", A): R,
    ("receive", A): A, ("receive", R): R, ("receive", Q): Q, ("receive", W): W,
    ("enqueue", R): Q, ("enqueue", Q): Q, ("enqueue", W): W,
    ("flush", Q): W, ("flush", W): W,
    ("drain", W): R,
    ("eof", A): C, ("eof", R): R, ("eof", Q): Q, ("eof", W): W,
    ("finish", R): C,
    **dict.fromkeys(product(("reset", "exceptional", "expire", "abort"), (A, R, Q, W)), C),
}  # fmt: skip

L = ListenerState
LISTENER_DESIGN = {
    ("fill", L.LISTENING): L.FULL, ("fill", L.EXHAUSTED): L.FULL,
    ("exhaust", L.LISTENING): L.EXHAUSTED, ("exhaust", L.FULL): L.EXHAUSTED,
    ("relieve", L.FULL): L.LISTENING, ("relieve", L.EXHAUSTED): L.LISTENING,
    ("drain", L.LISTENING): L.DRAINING, ("drain", L.FULL): L.DRAINING, ("drain", L.EXHAUSTED): L.DRAINING,
    **{("close", state): L.CLOSED for state in (L.LISTENING, L.FULL, L.EXHAUSTED, L.DRAINING)},
}  # fmt: skip


def in_state(state: State) -> ConnectionFSM:
    fsm = ConnectionFSM()
    fsm.state = state
    return fsm


@pytest.mark.parametrize(("event", "state"), list(product(Event, State)))
def test_each_pair_is_legal_or_not_as_the_design_says(event: Event, state: State) -> None:
    fsm = in_state(state)
    expected = DESIGN.get((event, state))
    if expected is None:
        with pytest.raises(IllegalTransition) as raised:
            fsm.fire(event)
        assert fsm.state is state
        assert fsm.close_reason is None
        assert (raised.value.state, raised.value.event) == (state, event)
        assert raised.value.legal == tuple(each for each in Event if (each, state) in DESIGN)
    else:
        fsm.fire(event)
        assert fsm.state is expected


@pytest.mark.parametrize(("event", "state"), list(product(ListenerEvent, ListenerState)))
def test_each_pair_of_the_listener_is_legal_or_not_as_the_design_says(event: ListenerEvent, state: ListenerState) -> None:
    assert LISTENER.arrows[state].get(event) == LISTENER_DESIGN.get((event, state))


@pytest.mark.parametrize("refuses", [False, True])
@pytest.mark.parametrize("state", ListenerState)
def test_a_listener_is_watched_while_it_listens_or_refuses(state: ListenerState, refuses: bool) -> None:
    watched = state is L.LISTENING or (state is L.FULL and refuses)
    assert listener_interest(state, refuses=refuses) == (Interest.READ if watched else Interest.NOTHING)


@pytest.mark.parametrize(("state", "holds"), list(product(State, ALL_HOLDS)))
def test_interest_owing_and_deadline_of_each_state_with_all_holds(state: State, holds: Hold) -> None:
    eof, finishing = Hold.EOF in holds, Hold.FINISHING in holds
    lingering = state is R and finishing and not eof
    reads = state is not C and (not holds or lingering)
    expected = (Interest.READ if reads else Interest.NOTHING) | (Interest.WRITE if state in (Q, W) else Interest.NOTHING)
    assert lingers(state, holds) is lingering
    assert interest(state, holds) == INTEREST[state][holds] == expected
    assert owes_nothing(state, holds) is OWES_NOTHING[state][holds] is (state is R and eof and finishing)
    reading = "half_closed_s" if eof else "linger_s" if finishing else "idle_s"
    limit = {A: "handshake_s", R: reading, Q: "stall_s", W: "stall_s", C: FOREVER}[state]
    assert deadline(state, holds) == DEADLINE[state][holds] == limit
    assert limit == FOREVER or limit in Limits.__slots__
    assert renews(state, holds, "received") is RECEIVED_RENEWS[state][holds] is (limit == "idle_s")
    assert renews(state, holds, "taken") is (limit in ("idle_s", "stall_s"))


@pytest.mark.pure
def test_a_hole_in_the_deadlines_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fsmserver.core.table.DEADLINES", ())
    with pytest.raises(LookupError, match="no deadline is declared for queued"):
        deadline(Q, Hold(0))


def test_each_machine_begins_where_the_design_says() -> None:
    assert CONNECTION.initial is A
    assert LISTENER.initial is L.LISTENING


def test_closed_is_the_only_end() -> None:
    assert CONNECTION.final == (C,)
    assert LISTENER.final == (L.CLOSED,)


def test_the_declaration_is_a_machine_of_the_library() -> None:
    assert isinstance(CONNECTION.machine, Machine)
    assert set(CONNECTION.machine.states) == set(State)
    assert set(CONNECTION.machine.events) == set(Event)


def test_a_grid_without_a_row_for_each_event_is_refused() -> None:
    with pytest.raises(ValueError, match="one row for each of"):
        Table(State, Event, initial=A, columns=(A,), grid={Event.OPEN: (R,)})


def test_a_row_without_a_cell_for_each_state_is_refused() -> None:
    with pytest.raises(ValueError, match="the row of open has 1 cells for 2 states"):
        Table(State, Event, initial=A, columns=(A, R), grid=dict.fromkeys(Event, (R,)))


def test_interest_and_holds_say_themselves_in_words() -> None:
    assert [Interest(bits).words for bits in range(4)] == ["nothing", "read", "write", "read and write"]
    assert (Hold.EOF | Hold.BACKPRESSURE).words == ("eof", "backpressure")
