"""The instruction counter: what it adds up, what it compares, and that the same code gives the same count."""

import json
import shutil

import pytest

from benchmarks import instructions
from benchmarks.build import built
from benchmarks.instructions import Length, Record, accepted, check, complaints, count, made_with, per_message
from benchmarks.servers import COMPILED, FLOOR, OURS

PROFILE = """\
# callgrind format
positions: line
events: Ir
ob=/usr/lib/libpython.so
fn=eval
10 600
12 300
cob=/tmp/shim.so
cfn=recv
calls=100 5
12 9999
13 100
ob=/tmp/shim.so
fn=recv
5 9999
totals: 10999
"""


def record(**figures: float) -> Record:
    return {made_with(): {OURS: figures}}


def test_a_profile_adds_up_by_object_without_the_shim_and_without_counting_calls_twice() -> None:
    assert per_message(PROFILE, messages=10) == (100.0, {"libpython.so": 100.0})


@pytest.mark.parametrize("now", [900.0, 1000.0, 1030.0])
def test_what_costs_at_most_three_percent_more_passes(now: float) -> None:
    assert complaints(record(b=1000.0), {OURS: {"b": now}}) == []


def test_what_costs_more_is_said_in_one_sentence_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert check({OURS: {"b": 1031.0}}, record(b=1000.0)) == 1
    assert capsys.readouterr().out == (
        "\nfsmserver executes 1,031 instructions a message in workload b, 3.1% more than the 1,000 of the record; at most 3% is allowed.\n"
    )


def test_what_is_cheaper_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert check({OURS: {"b": 1.0}}, record(b=1000.0)) == 0
    assert capsys.readouterr().out == "\nNo workload costs more than the record allows.\n"


def test_a_workload_without_a_record_fails() -> None:
    assert check({OURS: {"f": 1.0}}, record(b=1000.0)) == 1


def test_a_record_of_another_python_is_not_compared_passes_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert check({OURS: {"b": 1.0}}, {"CPython 2.7.18, glibc-2.0": {OURS: {"b": 0.1}}}) == 0
    assert capsys.readouterr().out.startswith(
        f"\nfsmserver is not compared: this is {made_with()}, and the record is of CPython 2.7.18, glibc-2.0."
    )


def test_another_compiler_is_said_and_leaves_the_pure_build_compared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(instructions, "made_with", lambda name=OURS: {OURS: "a", COMPILED: "a, mypyc 3"}[name])
    kept = {"a": {OURS: {"b": 1000.0}}, "a, mypyc 2": {COMPILED: {"b": 100.0}}}
    assert check({OURS: {"b": 1031.0}, COMPILED: {"b": 200.0}}, kept) == 1
    said = capsys.readouterr().out
    assert "fsmserver compiled is not compared: this is a, mypyc 3, and the record is of a, mypyc 2. --accept adds to it." in said
    assert "fsmserver executes 1,031" in said
    assert check({COMPILED: {"b": 104.0}}, accepted(kept, {COMPILED: {"b": 100.0}})) == 1


def test_what_is_accepted_of_the_compiled_build_stands_by_its_compilers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instructions, "made_with", lambda name=OURS: {OURS: "a", COMPILED: "a, mypyc 3"}[name])
    assert accepted({"a": {OURS: {"b": 1.0}}}, {COMPILED: {"b": 2.0}}) == {"a": {OURS: {"b": 1.0}}, "a, mypyc 3": {COMPILED: {"b": 2.0}}}


def test_accepting_replaces_what_was_counted_and_keeps_the_rest() -> None:
    other = {"CPython 2.7.18, glibc-2.0": {OURS: {"b": 1.0}}}
    assert accepted(other | record(b=1000.0, f=5.0), {OURS: {"b": 1200.0}}) == other | record(b=1200.0, f=5.0)


def test_the_record_in_the_repository_has_the_workloads_that_are_compared() -> None:
    kept = json.loads(instructions.RECORD.read_text(encoding="utf-8"))
    assert {name for counts in kept.values() for name in counts} == set(instructions.RECORDED)
    for counts in kept.values():
        for name, workloads in counts.items():
            assert "".join(sorted(workloads)) == instructions.RECORDED[name]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("valgrind") is None or shutil.which("cc") is None, reason="valgrind or the C compiler is not there")
def test_the_same_code_gives_the_same_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(instructions.LENGTHS, "b", Length(warm_up=100, messages=200))
    with built("shim", "loop") as paths:
        first, second = (count(FLOOR, "b", paths) for _ in range(2))
    assert first == second
    assert 50 < first.total < 200
