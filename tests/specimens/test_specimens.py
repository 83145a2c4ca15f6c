"""Each specimen is found by the tools, within the work that `docs/specimens.md` says.

Where a row no longer holds because operations, seeds or bounds have changed, `python -m tests.specimens record` makes all of them anew.
"""

from typing import Any

import pytest

from tests.parity.removed import REMOVED
from tests.specimens import __main__ as command
from tests.specimens import page
from tests.specimens.catalogue import CATALOGUE
from tests.specimens.finding import MOST_EXAMPLES, PATIENCE_S, by_explorer, by_machine, by_parity, by_seeds
from tests.specimens.strangers import NAMED, OTHERS

pytestmark = pytest.mark.untraced("each specimen is broken on purpose")

RECORD = page.read()
SPECIMENS = RECORD["specimens"]
MOST_OPERATIONS = 20
SLOW_S = 0.2
AGAIN = "this row of docs/specimens.md does not hold any more; python -m tests.specimens record"


def listed(tool: str, time: str) -> list[Any]:
    """List the specimens; the tests that take a while, as far as the record tells, are marked."""
    slow = {name for name, accounts in SPECIMENS.items() if accounts[tool][time] > SLOW_S}
    return [pytest.param(name, marks=pytest.mark.slow) if name in slow else name for name in CATALOGUE]


def test_the_record_has_every_specimen_every_fault_of_the_tutorial_and_every_rule_of_the_kernel() -> None:
    assert list(SPECIMENS) == list(CATALOGUE)
    assert list(RECORD["tutorial"]) == [*NAMED, *OTHERS]
    assert list(RECORD["kernel"]) == list(REMOVED)
    assert len(CATALOGUE) >= 50


def test_the_page_is_made_of_the_record() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.page(RECORD)


@pytest.mark.parametrize("name", listed("seeds", "reduced_s"))
def test_a_specimen_is_found_by_its_seed_and_reduced_to_as_few_operations_as_the_page_says(name: str) -> None:
    recorded = SPECIMENS[name]["seeds"]
    assert recorded["found_s"] < PATIENCE_S
    found = by_seeds(CATALOGUE[name], [recorded["seed"]])
    assert found is not None, AGAIN
    assert len(found["operations"]) == len(recorded["operations"]) <= MOST_OPERATIONS, AGAIN


@pytest.mark.parametrize("name", listed("explorer", "found_s"))
def test_a_specimen_is_found_by_the_explorer_in_as_few_operations_as_the_page_says(name: str) -> None:
    recorded = SPECIMENS[name]["explorer"]
    found = by_explorer(CATALOGUE[name], [recorded["search"]])
    assert found is not None, AGAIN
    assert len(found["trace"]) == len(recorded["trace"]), AGAIN


def test_hypothesis_finds_a_specimen_and_says_after_how_many_runs() -> None:
    account = by_machine(CATALOGUE["closes performed at once"])
    assert account is not None
    assert 1 <= account["examples"] <= MOST_EXAMPLES


@pytest.mark.network
def test_parity_misses_a_rule_of_the_kernel() -> None:
    account = by_parity("closing with unread input resets")
    assert account is not None
    assert account["operations"] <= MOST_OPERATIONS


def test_the_shipped_code_has_none_of_the_faults_when_the_block_is_left() -> None:
    for specimen in CATALOGUE.values():
        before = [vars(owner)[name] for owner, name, _ in specimen.places]
        with specimen.planted():
            assert [vars(owner)[name] for owner, name, _ in specimen.places] != before
        assert [vars(owner)[name] for owner, name, _ in specimen.places] == before


# The command.


@pytest.fixture
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have few specimens and few faults of the tutorial's, so that all of them can be looked for."""
    few = {name: CATALOGUE[name] for name in ("queue left behind", "accepts without bound")}
    account = RECORD["tutorial"]["closes on urgent data"]
    monkeypatch.setattr(command, "CATALOGUE", few)
    monkeypatch.setattr(command, "of_the_tutorial", lambda: {"closes on urgent data": account})
    monkeypatch.setattr(command, "REMOVED", ["an error is ERR"])
    monkeypatch.setattr(command, "by_parity", RECORD["kernel"].get)


@pytest.mark.usefixtures("_few")
def test_the_command_prints_a_row_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    rows, summary = rows[:4], rows[4:]
    assert summary[0].startswith("By seeds: 2 of 2, after ")
    assert head.split()[:4] == ["fault", "seed", "drawn", "needed"]
    assert [row[:20].strip() for row in rows] == [
        "queue left behind",
        "accepts without boun",
        "tutorial: closes on",
        "kernel without: an e",
    ]


@pytest.mark.usefixtures("_few")
def test_the_command_fails_if_something_is_not_found(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def nothing(*_: Any) -> None:
        return None

    monkeypatch.setattr(command, "by_explorer", nothing)
    assert command.main([]) == 1
    assert command.MISSED in capsys.readouterr().out


def test_any_command_of_ours_can_be_run_with_a_specimen_planted(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--connections", "1", "--most-connections", "1"]
    assert command.main(["plant", "queue left behind", "explore", *arguments]) == 1
    assert "the shortest trace, 3 operations:\n  connect(1)\n" in capsys.readouterr().out
    assert command.main(["plant", "queue left behind", "diagram", "--format", "dot"]) == 0
    assert capsys.readouterr().out
