"""Two checkers of traces, written apart over one table, say the same of the same traces: good ones and spoilt ones.

What is left to the Python checker alone (whose doing an end was, the words of its error) is not spoilt here.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from fsmserver.core.behaviour import Behaviour, NotABehaviour
from fsmserver.core.line import Line
from fsmserver.core.states import Event, Hold, State
from fsmserver.core.table import ALL_HOLDS, DEADLINES
from specs.trace_to_tla import Verdict, judge, main, module
from tests.driven import plain_trace, random_trace

needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="TLC needs Java")

SEEDS = range(400, 424)
SPOILT_EACH = 7
COUNTS = ("received", "written", "taken", "outbox", "discarded", "low", "high")


def python_says(lines: list[Line]) -> int:
    """Give the number of the first bad line, one past the last if it is the end that is wrong, 0 if nothing is."""
    behaviour = Behaviour()
    try:
        behaviour.follow(lines)
        behaviour.end()
    except NotABehaviour:
        return behaviour.lines + 1
    return 0


def another_time(line: Line, random: Random) -> Line:
    return line._replace(t=line.t + random.choice((-0.5, 0.5)))


def another_since(line: Line, random: Random) -> Line:
    return line._replace(since=line.since + random.choice((-0.5, 0.5)))


def another_event(line: Line, random: Random) -> Line:
    return line._replace(event=str(random.choice(list(Event))))


def another_origin(line: Line, random: Random) -> Line:
    return line._replace(origin=str(random.choice(list(State))))


def another_state(line: Line, random: Random) -> Line:
    return line._replace(to=str(random.choice(list(State))))


def other_holds(line: Line, random: Random) -> Line:
    return line._replace(holds=random.choice(ALL_HOLDS).words)


def holds_out_of_order(line: Line, random: Random) -> Line:
    return line._replace(holds=tuple(reversed(line.holds)))


def another_interest(line: Line, random: Random) -> Line:
    return line._replace(interest=random.choice(("nothing", "read", "write", "read and write", "both")))


def another_deadline(line: Line, random: Random) -> Line:
    return line._replace(deadline=random.choice(DEADLINES)[2])


def another_count(line: Line, random: Random) -> Line:
    name = random.choice(COUNTS)
    return line._replace(**{name: getattr(line, name) + random.choice((-1, 1))})


def bytes_from_nowhere(line: Line, random: Random) -> Line:
    return line._replace(written=line.written + 5, taken=line.taken + 5)


def another_descriptor(line: Line, random: Random) -> Line:
    return line._replace(fd=line.fd + random.choice((-1, 1)))


def another_connection(line: Line, random: Random) -> Line:
    return line._replace(connection=line.connection + random.choice((-1, 1)))


def another_limit(line: Line, random: Random) -> Line:
    if line.limit is None:
        return line
    return line._replace(limit="lifetime_s", error=None if line.error is None else line.error.replace(line.limit, "lifetime_s"))


SPOILERS: tuple[Callable[[Line, Random], Line], ...] = (
    another_time, another_since, another_event, another_origin, another_state, other_holds, holds_out_of_order, another_interest,
    another_deadline, another_count, another_count, bytes_from_nowhere, another_descriptor, another_connection, another_limit,
)  # fmt: skip


def spoilt(lines: list[Line], random: Random) -> list[Line]:
    place = random.randrange(len(lines))
    way = random.randrange(len(SPOILERS) + 3)
    if way == len(SPOILERS):
        return lines[:place] + lines[place + 1 :]
    if way == len(SPOILERS) + 1:
        return lines[: place + 1] + lines[place:]
    if way == len(SPOILERS) + 2:
        return lines[:place]
    return [*lines[:place], SPOILERS[way](lines[place], random), *lines[place + 1 :]]


def cases() -> Iterator[list[Line]]:
    for seed in SEEDS:
        lines = random_trace(seed, steps=8)[:40]
        yield lines
        random = Random(seed)
        for _ in range(SPOILT_EACH):
            yield spoilt(lines, random)


@needs_java
@pytest.mark.slow
def test_both_checkers_refuse_the_same_line_of_the_same_traces() -> None:
    traces = [lines for lines in cases() if lines]
    by_python = [python_says(lines) for lines in traces]
    by_tlc = judge(traces)
    for lines, python, tlc in zip(traces, by_python, by_tlc, strict=True):
        assert tlc.line == python, f"TLC: {tlc}; Python: line {python}; {lines[python - 1 : python] or lines[-1:]}"
    good = by_python.count(0)
    assert 20 < good < len(traces) - 80, "neither kind is missing"
    reasons = {word for verdict in by_tlc for word in verdict.wrong}
    assert len(reasons) >= 12, f"only {sorted(reasons)} were found wrong"


@needs_java
@pytest.mark.slow
def test_the_command_tells_a_behaviour_from_what_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = plain_trace(3, 10)
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_text("".join(json.dumps(line) + "\n" for line in lines))
    bad.write_text("".join(json.dumps(line | {"received": 1} if place == 0 else line) + "\n" for place, line in enumerate(lines)))
    assert main([str(good)]) == 0
    assert main([str(good), str(bad)]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("a behaviour of the machine")
    assert said[2].endswith("line 1: wrong: received")


def test_a_trace_becomes_a_module_with_a_record_for_each_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = plain_trace(3, 10)
    path = tmp_path / "trace.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["--module", str(path)]) == 0
    said = capsys.readouterr().out
    assert said == module([[Line.of(line) for line in lines]])
    assert said.count("event |->") == len(lines)
    assert Verdict(0, ()).line == 0
    assert f"holds |-> {Hold(0).value}" in said


def test_exchanges_become_records_of_the_lines_that_they_stand_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = plain_trace(3, 10)[0]
    path = tmp_path / "trace.jsonl"
    path.write_text(json.dumps(line) + "\n" + json.dumps({"t": line["t"], "event": "exchange", "of": [line["connection"], 5, 7]}) + "\n")
    assert main(["--module", str(path)]) == 0
    assert capsys.readouterr().out.count("event |->") == 5
