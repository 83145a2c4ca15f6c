"""The proof holds of the table as it is, and of no table that was changed."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from fsmserver.core.states import Event, Interest, State
from fsmserver.core.table import FOREVER
from specs.proof import __main__ as command
from specs.proof import prove as proving
from specs.proof.obligations import obligations
from specs.proof.prove import Outcome, prove
from specs.proof.solvers import Answer, Symbols
from specs.proof.tables import Tables, of_the_code

Q, W, R, C, A = State.QUEUED, State.WRITING, State.READING, State.CLOSED, State.ACCEPTED


def asked(tables: Tables, *groups: str) -> list[Outcome]:
    return list(prove(tables, [each for each in obligations(tables) if each.group in groups]))


@pytest.mark.slow
def test_everything_is_proved_by_both_solvers() -> None:
    tables = of_the_code()
    outcomes = list(prove(tables, obligations(tables)))
    assert [f"{each.obligation.group}: {each.obligation.claim}" for each in outcomes if not each.proved] == []
    assert {name for each in outcomes for name in each.answers} == {"z3", "cvc5"}
    assert len(outcomes) > 400


ARROWS: Mapping[str, tuple[Event, State, State | None, str]] = {
    "finish with unsent bytes": (Event.FINISH, Q, C, "legal only with nothing unsent"),
    "finish that is lost": (Event.FINISH, R, None, "legal wherever it can happen"),
    "drain into queued": (Event.DRAIN, W, Q, "leads to the state that belongs to what is so then"),
    "drain of what was never offered": (Event.DRAIN, Q, R, "legal only where it can happen"),
    "flush that does not show": (Event.FLUSH, Q, Q, "leads to the state that belongs to what is so then"),
    "write before it is open": (Event.ENQUEUE, A, Q, "legal only where it can happen"),
    "write as if it were offered": (Event.ENQUEUE, R, W, "leads to the state that belongs to what is so then"),
    "a peer's end that is not heard": (Event.EOF, W, None, "legal wherever it can happen"),
    "a peer's end that loses what is queued": (Event.EOF, Q, C, "leads to the state that belongs to what is so then"),
    "a deadline that does not close": (Event.EXPIRE, Q, Q, "leads to the state that belongs to what is so then"),
    "a failure that nothing follows": (Event.RESET, A, None, "legal wherever it can happen"),
    "a way back from closed": (Event.RECEIVE, C, R, "legal only where it can happen"),
}


@pytest.mark.parametrize("name", ARROWS)
def test_a_table_with_a_changed_arrow_fails_with_a_counterexample_in_words(name: str) -> None:
    event, origin, destination, claim = ARROWS[name]
    outcomes = asked(of_the_code().with_arrow(event, origin, destination), f"event {event}")
    [failed] = [each for each in outcomes if not each.proved]
    assert failed.obligation.claim == claim
    assert set(failed.answers.values()) == {"refuted"}
    assert failed.counterexample.startswith(f"before: {origin} with ")


def entry(rows: Mapping[State, Any], state: State, bits: int, value: object) -> dict[State, Any]:
    """Give `rows` with one entry changed."""
    return {**rows, state: [value if number == bits else each for number, each in enumerate(rows[state])]}


ENTRIES: Mapping[str, Callable[[Tables], Tables]] = {
    "writing is watched if and only if": lambda old: replace(old, interest=entry(old.interest, Q, 9, Interest.NOTHING)),
    "reading is watched if and only if": lambda old: replace(old, interest=entry(old.interest, R, 4, Interest.READ)),
    "it lingers if and only if": lambda old: replace(old, lingers=entry(old.lingers, W, 2, True)),
    "nothing is owed if and only if": lambda old: replace(old, owes_nothing=entry(old.owes_nothing, W, 3, True)),
    "stall_s runs while bytes are unsent, and only then": lambda old: replace(old, deadline=entry(old.deadline, W, 0, "idle_s")),
    "one limit runs always, and a known one": lambda old: replace(old, deadline=entry(old.deadline, A, 0, "drain_s")),
    "idle_s runs on an open connection": lambda old: replace(old, deadline=entry(old.deadline, R, 0, FOREVER)),
    "bytes received move on idle_s, and nothing else": lambda old: replace(
        old, renews={**old.renews, "received": entry(old.renews["received"], Q, 0, True)}
    ),
    "bytes taken move on idle_s and stall_s": lambda old: replace(
        old, renews={**old.renews, "taken": entry(old.renews["taken"], W, 0, False)}
    ),
}


@pytest.mark.parametrize("claim", ENTRIES)
def test_a_table_with_a_changed_entry_fails_with_a_counterexample_in_words(claim: str) -> None:
    failed = [each for each in asked(ENTRIES[claim](of_the_code()), "the table") if not each.proved]
    assert any(each.obligation.claim.startswith(claim) for each in failed)
    assert all("before: " in each.counterexample for each in failed)


def test_a_pair_that_is_declared_twice_fails() -> None:
    tables = of_the_code()
    twice = replace(tables, declared=[*tables.declared, (Event.OPEN, A, Q)])
    [failed] = [each for each in asked(twice, "event open") if not each.proved]
    assert failed.obligation.claim == "leads to one state"


def test_a_connection_that_begins_open_fails_at_the_beginning() -> None:
    failed = [each for each in asked(replace(of_the_code(), initial=R), "at the beginning") if not each.proved]
    assert [each.obligation.claim for each in failed] == ["the state is the one that belongs to what is open, offered and unsent"]


def test_a_state_that_cannot_be_reached_is_not_proved_to_be_possible() -> None:
    tables = of_the_code()
    stuck = replace(tables, owes_nothing={state: [True] * 16 for state in State})
    failed = [each for each in asked(stuck, "not empty") if not each.proved]
    assert "some connection is queued" in [each.obligation.claim for each in failed]
    assert {each.counterexample for each in failed} == {"there is no such moment"}


def test_one_solver_that_does_not_know_is_not_a_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    def shrug(symbols: Symbols, _: object) -> Answer:
        return Answer("unknown" if symbols.name == "cvc5" else "unsat", {})

    monkeypatch.setattr(proving, "_ask", shrug)
    outcomes = asked(of_the_code(), "event drain")
    assert not any(each.proved for each in outcomes)
    assert outcomes[0].answers == {"z3": "proved", "cvc5": "unknown"}


def test_the_command_says_what_is_proved(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--only", "event finish"]) == 0
    printed = capsys.readouterr().out
    assert "proved  z3 proved  cvc5 proved  event finish: legal only with nothing unsent" in printed
    assert "4 of 4 obligations proved by both solvers" in printed


def test_the_command_fails_on_a_changed_table_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--quiet", "--only", "event finish", "--change", "finish", "queued", "closed"]) == 1
    printed = capsys.readouterr().out
    assert "FAILED  z3 refuted  cvc5 refuted  event finish: legal only with nothing unsent" in printed
    assert "before: queued with 1 bytes in the outbox, of which the kernel was offered none" in printed
    assert "3 of 4 obligations proved" in printed
