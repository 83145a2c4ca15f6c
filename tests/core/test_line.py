"""What a line of a trace says, on paper and in the program."""

from typing import Any

import pytest

from fsmserver.core.line import NAMES, OPTIONAL, Exchanges, Line, read

SAID: dict[str, Any] = {
    "t": 2.5, "connection": 1, "fd": 7, "event": "open", "from": "accepted", "to": "reading", "holds": [], "interest": "read",
    "deadline": "idle_s", "since": 2.5, "received": 0, "written": 0, "taken": 0, "outbox": 0, "discarded": 0, "low": 1, "high": 2,
}  # fmt: skip
NEEDED = [name for attribute, name in NAMES.items() if attribute not in OPTIONAL]


def test_a_line_is_read_with_its_names_and_what_is_left_out_is_none() -> None:
    line = Line.of(SAID)
    assert (line.t, line.origin, line.to, line.holds, line.high, line.who, line.limit) == (2.5, "accepted", "reading", (), 2, None, None)
    assert Line.of({**SAID, "holds": ["eof", "paused"], "who": "peer", "after_s": 3}).holds == ("eof", "paused")


def test_names_that_nobody_knows_are_passed_over() -> None:
    assert Line.of({**SAID, "colour": "blue"}) == Line.of(SAID)


def test_whole_seconds_are_numbers_too() -> None:
    assert Line.of({**SAID, "t": 3, "since": 2}).t == 3


@pytest.mark.parametrize("name", NEEDED)
def test_what_is_missing_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"^'{name}' is missing$"):
        Line.of({each: value for each, value in SAID.items() if each != name})


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("t", "2", "'t' must be a number, not '2'"),
        ("t", None, "'t' must be a number, not None"),
        ("t", True, "'t' must be a number, not True"),
        ("fd", 7.5, "'fd' must be a whole number, not 7.5"),
        ("outbox", False, "'outbox' must be a whole number, not False"),
        ("from", 3, "'from' must be a word, not 3"),
        ("holds", "eof", "'holds' must be a list of words, not 'eof'"),
        ("holds", [3], "'holds' must be a list of words, not [3]"),
        ("error", 3, "'error' must be a word or null, not 3"),
        ("after_s", "3", "'after_s' must be a number or null, not '3'"),
    ],
)
def test_what_is_of_another_kind_is_named(name: str, value: object, sentence: str) -> None:
    with pytest.raises(ValueError) as caught:
        Line.of({**SAID, name: value})
    assert str(caught.value) == sentence


@pytest.mark.parametrize("more", [{}, {"who": "peer", "error": None}, {"who": "server", "error": "x", "limit": "idle_s", "after_s": 3.0}])
def test_a_line_is_written_as_it_was_read(more: dict[str, Any]) -> None:
    said = {**SAID, **more}
    assert {**Line.of(said).said(), "holds": []} == said
    assert list(Line.of(said).said()) == list(said)


# Exchanges.

GROUP: dict[str, Any] = {"t": 2.5, "event": "exchange", "of": [7, 64, 65, 8, 66, 67]}


def test_exchanges_are_read_and_written_as_they_were_read() -> None:
    group = read(GROUP)
    assert group == Exchanges(2.5, (7, 64, 65, 8, 66, 67))
    assert group.event == "exchange"
    assert group.said() == GROUP
    assert list(group.said()) == list(GROUP)


def test_what_has_another_event_is_a_line() -> None:
    assert read(SAID) == Line.of(SAID)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"t": "2"}, "'t' must be a number, not '2'"),
        ({"t": None}, "'t' must be a number, not None"),
        ({"of": "7"}, "'of' must be a list of whole numbers, not '7'"),
        ({"of": 7}, "'of' must be a list of whole numbers, not 7"),
        ({"of": []}, "'of' must have 3 numbers for each message, not 0 in all"),
        ({"of": [7, 64]}, "'of' must have 3 numbers for each message, not 2 in all"),
        ({"of": [7, 64, 65, 8]}, "'of' must have 3 numbers for each message, not 4 in all"),
        ({"of": [7, 0, 65]}, "'of' must be a list of whole numbers over 0, not with 0 in it"),
        ({"of": [7, 64, -1]}, "'of' must be a list of whole numbers over 0, not with -1 in it"),
        ({"of": [7, 64, 65.0]}, "'of' must be a list of whole numbers over 0, not with 65.0 in it"),
        ({"of": [True, 64, 65]}, "'of' must be a list of whole numbers over 0, not with True in it"),
        ({"of": [[7, 64, 65]]}, "'of' must be a list of whole numbers over 0, not with [7, 64, 65] in it"),
    ],
)
def test_what_is_wrong_with_exchanges_is_named(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as caught:
        read({**GROUP, **change})
    assert str(caught.value) == sentence


@pytest.mark.parametrize("name", ["t", "of"])
def test_what_is_missing_of_exchanges_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"^'{name}' is missing$"):
        read({each: value for each, value in GROUP.items() if each != name})
