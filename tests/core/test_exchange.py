"""Exchanges: what each stands for follows from the last line of its connection, and is judged as those lines are."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest

from fsmserver.core import exchange
from fsmserver.core.behaviour import Behaviour, NotABehaviour
from fsmserver.core.exchange import apart
from fsmserver.core.line import Exchanges, Line, Written
from fsmserver.core.shapes import SHAPES
from tests.driven import random_trace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def opened(number: int = 1, *, t: float = 1.0, high: int = 100) -> Line:
    return Line(t, number, 10 + number, "open", "accepted", "reading", (), "read", "idle_s", t, 0, 0, 0, 0, 0, 10, high)


def closed(last: Line, *, t: float) -> Line:
    """Give the line of an abort right after `last`, which left nothing to be counted."""
    return last._replace(
        t=t, event="abort", origin="reading", to="closed", interest="nothing", deadline="for ever", since=last.t, who="server"
    )


def check(lines: Iterable[Written], *, whole: bool = True) -> Behaviour:
    behaviour = Behaviour(whole=whole)
    behaviour.follow(lines)
    return behaviour


def refused(lines: Sequence[Written], *, whole: bool = True) -> str:
    """Give the sentence with which the last of the lines is refused, and those before it are not."""
    behaviour = Behaviour(whole=whole)
    with pytest.raises(NotABehaviour) as caught:
        behaviour.follow(lines)
    assert behaviour.lines == len(lines) - 1
    return str(caught.value)


def shortened(lines: Sequence[Line]) -> list[Written]:
    """Put exchanges where four lines of one connection can be told so."""
    short: list[Written] = []
    last: dict[int, Line] = {}
    position = 0
    while position < len(lines):
        line = lines[position]
        four = tuple(lines[position : position + 4])
        group = Exchanges(line.t, (line.connection, four[-1].received - line.received, four[-1].taken - line.taken))
        former = last.get(line.connection)
        if former is not None and min(group.messages) > 0 and tuple(apart([former, group])) == (former, *four):
            short.append(group)
            position += 4
        else:
            short.append(line)
            position += 1
        last[line.connection] = lines[position - 1]
    return short


@cache
def traces() -> list[tuple[list[Line], list[Written]]]:
    """Give random traces of a scheduler as lines and in short: those in which there is an exchange."""
    both = [(lines, shortened(lines)) for lines in map(random_trace, range(200))]
    return [(lines, short) for lines, short in both if len(short) < len(lines)]


# What an exchange stands for.


def test_an_exchange_stands_for_four_lines_with_the_counts_marks_and_descriptor_of_the_line_before() -> None:
    lines = list(apart([opened(), Exchanges(2.0, (1, 5, 7)), Exchanges(3.5, (1, 50, 70))]))
    assert [line.event for line in lines] == ["open", *2 * ["receive", "enqueue", "flush", "drain"]]
    assert [line.t for line in lines] == [1.0, *4 * [2.0], *4 * [3.5]]
    assert [line.since for line in lines] == [1.0, 1.0, *3 * [2.0], 2.0, *3 * [3.5]]
    assert [line.received for line in lines] == [0, 0, 5, 5, 5, 5, 55, 55, 55]
    assert [line.written for line in lines] == [0, 0, 7, 7, 7, 7, 77, 77, 77]
    assert [line.taken for line in lines] == [0, 0, 0, 0, 7, 7, 7, 7, 77]
    assert [line.outbox for line in lines] == [0, 0, 7, 7, 0, 0, 70, 70, 0]
    assert {(line.fd, line.low, line.high, line.holds) for line in lines} == {(11, 10, 100, ())}


def test_the_lines_of_a_scheduler_are_got_back_and_judged_as_before() -> None:
    assert len(traces()) > 40
    for lines, short in traces():
        assert list(apart(short)) == lines
        plain, brief = check(lines), check(short)
        assert (brief.lines, brief.transitions) == (len(short), len(lines))
        assert (plain.lines, plain.transitions) == (len(lines), len(lines))
        assert (plain.connections, plain.most_open) == (brief.connections, brief.most_open)
        brief.end()


def test_an_exchange_of_a_connection_without_a_line_stands_for_nothing_that_could_be_told() -> None:
    unknown: list[list[Written]] = [[], [opened(2)], [opened()._replace(event="frob")]]
    for before in unknown:
        with pytest.raises(ValueError, match=r"^expected a line of connection 1 before its exchange at 2\.0 s$"):
            list(apart([*before, Exchanges(2.0, (1, 5, 7))]))


def test_the_last_line_of_an_exchange_is_given_at_once_as_it_is_when_all_are() -> None:
    last = opened()
    shape = SHAPES[last.event, last.origin, last.holds]
    assert exchange.drained(last, 2.0, 5, 7) == exchange.exchanged(last, shape, 2.0, 5, 7).lines()[-1]


# What must be taken.


def test_messages_of_many_connections_and_many_of_one_are_taken() -> None:
    behaviour = check([opened(), opened(2), Exchanges(2.0, (2, 5, 7, 1, 5, 100)), Exchanges(2.0, (1, 5, 7, 1, 1, 1))])
    assert (behaviour.lines, behaviour.transitions, behaviour.connections) == (4, 18, 2)
    behaviour.take(closed(exchange.drained(opened(), 2.0, 11, 108), t=2.0))


def test_an_exchange_can_be_taken_alone() -> None:
    behaviour = check([opened()])
    behaviour.take(Exchanges(2.0, (1, 5, 7)))
    assert (behaviour.lines, behaviour.transitions) == (2, 5)


# What must be refused.


@pytest.mark.parametrize("exchanges_before", [[], [Exchanges(1.5, (1, 5, 7))]])
@pytest.mark.parametrize(
    ("group", "sentence"),
    [
        (Exchanges(2.0, (3, 5, 7)), "connection 3: expected no exchange of it: it is not open"),
        (Exchanges(2.0, (1, 5, 7, 3, 5, 7)), "connection 3: expected no exchange of it: it is not open"),
        (Exchanges(1.25, (1, 5, 7)), "connection 1: expected 1.5 s or later, not 1.25 s: time does not run backwards"),
        (Exchanges(2.0, (1, 5, 101)), "connection 1: expected backpressure: the outbox held 101 bytes, over 100"),
    ],
)
def test_an_exchange_that_cannot_be_there_is_refused(exchanges_before: list[Written], group: Exchanges, sentence: str) -> None:
    assert refused([opened(), opened(2, t=1.5), *exchanges_before, group]) == sentence


def test_an_exchange_before_anything_is_known_is_refused_in_a_whole_trace() -> None:
    assert refused([Exchanges(2.0, (1, 5, 7))]) == "connection 1: expected no exchange of it: it is not open"


@pytest.mark.parametrize("whole", [False, True])
def test_an_exchange_of_a_connection_that_is_over_is_refused(*, whole: bool) -> None:
    lines: list[Written] = [opened(), closed(opened(), t=1.5), Exchanges(2.0, (1, 5, 7))]
    assert refused(lines, whole=whole) == "connection 1: expected no exchange of it: it is not open"


def test_an_exchange_after_a_message_whose_bytes_no_line_counts_is_refused() -> None:
    receive = list(apart([opened(), Exchanges(2.0, (1, 5, 7))]))[1]
    assert (
        refused([opened(), receive, Exchanges(3.0, (1, 5, 7))])
        == "connection 1: expected more than 0 bytes received since its receive, not 0"
    )


@pytest.mark.parametrize("count", [2, 3])
def test_an_exchange_of_a_connection_that_holds_or_owes_something_is_refused(count: int) -> None:
    begun = list(apart([opened(), Exchanges(2.0, (1, 5, 7))]))[: 1 + count]
    said = refused([*begun, Exchanges(3.0, (1, 5, 7))])
    assert said.startswith(f"connection 1: expected it to go on from {begun[-1].to}, where {begun[-1].event} left it")


def test_an_exchange_after_the_peer_has_ended_is_refused() -> None:
    ended = opened()._replace(t=1.5, event="eof", origin="reading", since=1.0)
    assert refused([opened(), ended, Exchanges(3.0, (1, 5, 7))]) == (
        "connection 1: expected eof to be held until the end: what the former line left is not held in this"
    )


def test_what_comes_after_an_exchange_is_held_against_it() -> None:
    last = exchange.drained(opened(), 2.0, 5, 7)
    for change, sentence in (
        ({"received": 4}, "expected 5 bytes received since its drain, not 4"),
        ({"taken": 6, "written": 6}, "expected 7 bytes written since its drain, not 6"),
        ({"since": 1.0}, "expected the limit that ran until abort to have begun at 2.0 s, not at 1.0 s"),
        ({"fd": 12}, "expected its descriptor 11, not 12"),
    ):
        line = closed(last, t=3.0)._replace(**change)
        assert refused([opened(), Exchanges(2.0, (1, 5, 7)), line]) == f"connection 1: {sentence}"
    assert check([opened(), Exchanges(2.0, (1, 5, 7)), closed(last, t=3.0)]).transitions == 6


def test_each_number_of_an_exchange_that_differs_is_seen() -> None:
    """Where the connection goes on; a last one's could be so."""
    seen = 0
    for _, short in traces():
        for position, group in enumerate(short):
            if isinstance(group, Line):
                continue
            number, message_bytes, answer_bytes = group.messages
            rest = short[position + 1 :]
            for wrong in (
                (number, message_bytes + 1, answer_bytes),
                (number, message_bytes, answer_bytes + 1),
                (999, message_bytes, answer_bytes),
            ):
                with pytest.raises(NotABehaviour):
                    check([*short[:position], group._replace(messages=wrong), *rest])
                seen += 1
    assert seen > 100


# Pieces.


def test_every_piece_of_a_trace_in_short_is_taken_as_a_piece() -> None:
    for _, short in traces():
        for first in range(len(short)):
            check(short[first:], whole=False)


def test_in_a_piece_an_exchange_of_one_that_is_not_known_yet_is_passed_over_and_not_counted() -> None:
    behaviour = check([opened(2), Exchanges(2.0, (1, 5, 7, 2, 5, 7))], whole=False)
    assert (behaviour.lines, behaviour.transitions, behaviour.connections) == (2, 5, 1)
    last = exchange.drained(opened(), 1.0, 500, 700)
    behaviour.take(closed(last, t=3.0))
    assert (behaviour.lines, behaviour.transitions, behaviour.connections) == (3, 6, 2)


def test_in_a_piece_numbers_that_were_left_out_are_still_to_come() -> None:
    lines: list[Written] = [opened(5), closed(opened(5), t=1.5), Exchanges(2.0, (3, 5, 7))]
    assert check(lines, whole=False).transitions == 2
    assert refused([*lines, Exchanges(2.0, (5, 5, 7))], whole=False) == "connection 5: expected no exchange of it: it is not open"


def test_in_a_piece_too_time_does_not_run_backwards() -> None:
    assert "time does not run backwards" in refused([opened(2, t=3.0), Exchanges(2.0, (1, 5, 7))], whole=False)
    assert "time does not run backwards" in refused([Exchanges(2.0, (1, 5, 7)), opened(2, t=1.0)], whole=False)
