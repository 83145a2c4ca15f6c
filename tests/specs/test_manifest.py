"""The manifest and what it names; what is made of TLC's answers; and, where there is Java, the smallest models themselves."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from specs import graph, models
from specs.compare import ALONE
from specs.models import HERE, CannotCheck, Model, Outcome, faults, join, load, main, read

needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="TLC needs Java")

SOUND = Model(name="Some", module="Some", configs=(), expected="sound", about="", states=7, idle=("Sleep",))
BROKEN = replace(SOUND, expected="safety", violates="NothingIsWrong")


# The manifest.


def test_each_model_has_a_name_of_its_own_and_files_that_exist() -> None:
    found = load()
    modules = {path.stem for path in HERE.rglob("*.tla")}
    assert len({model.name for model in found}) == len(found)
    for model in found:
        assert model.module in modules, model.name
        assert all((HERE / name).is_file() for name in model.configs), model.name
        assert model.expected in models.EXIT_CODES
        assert model.about


def test_no_configuration_lies_about_that_no_model_uses() -> None:
    used = {name for model in load() for name in model.configs} | {ALONE}
    there = {str(path.relative_to(HERE)) for path in HERE.rglob("*.cfg")} - {"Trace.cfg"}
    assert there - used == set()


def test_a_sound_model_has_its_states_counted_and_a_broken_one_names_a_property_of_its_configuration() -> None:
    for model in load():
        if model.expected == "sound":
            assert model.states > 0, model.name
            assert not model.violates
        else:
            assert re.search(rf"^(?:INVARIANT|PROPERTY) {model.violates}$", join(HERE / name for name in model.configs), re.MULTILINE), (
                model.name
            )


def test_there_are_enough_states_and_mistakes_in_the_small_set() -> None:
    small = [model for model in load() if model.size == "small"]
    assert sum(model.expected != "sound" for model in small) >= 25
    assert sum(model.states for model in small if model.module == "MCScheduler") >= 450_000
    assert max(model.states for model in small if model.module == "MCLiveness") >= 99_000


def test_every_mistake_that_is_written_is_put_in_place_by_a_configuration() -> None:
    written = set(re.findall(r"^(\w+)(?:\([^)]*\))? ==", (HERE / "broken" / "Mistakes.tla").read_text(), re.MULTILINE))
    placed = {word for path in (HERE / "broken").glob("*.cfg") for word in re.findall(r"<- (\w+)", path.read_text())}
    assert written <= placed, written - placed


def test_each_property_of_the_scheduler_is_checked_and_most_have_a_mistake_that_violates_them() -> None:
    checked = {word for model in load() if model.expected == "sound" for word in join(HERE / name for name in model.configs).split()}
    live = set(re.findall(r"^(\w+) == (?:\\A p.*: ?)?.*~>", (HERE / "Liveness.tla").read_text(), re.MULTILINE))
    assert live <= checked, live - checked
    assert {"Invariants", "AfterARound", "EveryRoundIsRight", "NeverSpins"} <= checked


# Joining.


def test_of_constants_the_last_one_wins_and_a_specification_begins_anew(tmp_path: Path) -> None:
    bounds, mistake = tmp_path / "bounds.cfg", tmp_path / "mistake.cfg"
    bounds.write_text("\\* Bounds.\nSPECIFICATION Spec\nINVARIANTS One Two\nCONSTANTS\n    High = 2  \\* chunks\n    Peers <- Two\n")
    mistake.write_text("SPECIFICATION Other\nPROPERTY Three\nCONSTANT High = 3\n")
    assert join([bounds]) == "SPECIFICATION Spec\nINVARIANT One\nINVARIANT Two\nCONSTANTS\n    High = 2\n    Peers <- Two\n"
    assert join([bounds, mistake]) == "SPECIFICATION Other\nPROPERTY Three\nCONSTANTS\n    High = 3\n    Peers <- Two\n"


def test_a_line_outside_every_section_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "odd.cfg"
    path.write_text("High = 2\n")
    with pytest.raises(CannotCheck, match="belongs to no section"):
        join([path])


# What TLC said.

SAID = """\
The coverage statistics at 2026-11-25 03:01:00
<Init line 1, col 1 to line 1, col 4 of module Some>: 1:1
<Run line 5, col 1 to line 5, col 3 of module Some>: 0:0
The coverage statistics at 2026-11-25 03:02:00
<Init line 1, col 1 to line 1, col 4 of module Some>: 1:1
<Run line 5, col 1 to line 5, col 3 of module Some>: 2:1300
<Sleep line 9, col 1 to line 9, col 5 of module Some>: 0:0
1,301 states generated, 7 distinct states found, 0 states left on queue.
"""


def test_states_steps_and_actions_are_read_from_the_last_that_tlc_printed() -> None:
    outcome = read(0, SAID, 1.5)
    assert outcome == Outcome(exit_code=0, text=SAID, seconds=1.5, states=7, generated=1301, actions={"Run": 1300, "Sleep": 0})


def test_a_sound_model_is_as_expected_if_its_states_and_its_actions_are() -> None:
    assert faults(SOUND, read(0, SAID, 0)) == []
    assert faults(replace(SOUND, states=8), read(0, SAID, 0)) == ["7 states, and the manifest says 8"]
    assert faults(replace(SOUND, idle=()), read(0, SAID, 0)) == ["never taken: Sleep"]
    assert faults(replace(SOUND, idle=("Run", "Sleep")), read(0, SAID, 0)) == ["said to be idle, and taken: Run"]
    assert faults(SOUND, read(0, SAID.splitlines()[-1], 0)) == ["TLC printed no coverage"]
    assert faults(replace(SOUND, coverage=False), read(0, SAID.splitlines()[-1], 0)) == []


@pytest.mark.parametrize("code", [11, 12, 13, 75, 150, 255])
def test_a_sound_model_is_not_as_expected_with_any_other_exit_code(code: int) -> None:
    assert len(faults(SOUND, read(code, SAID, 0))) == 1


def test_a_mistake_counts_as_found_only_if_the_very_property_is_violated() -> None:
    found = "Error: Invariant NothingIsWrong is violated.\n"
    assert faults(BROKEN, read(12, found, 0)) == []
    assert faults(BROKEN, read(12, "Error: Invariant NothingIsWrongEither is violated.\n", 0)) == [
        "something else than NothingIsWrong is violated"
    ]
    for code in (0, 11, 13, 75, 150):
        assert len(faults(BROKEN, read(code, found, 0))) == 1
    step = replace(BROKEN, expected="step")
    assert faults(step, read(13, "Error: Action property NothingIsWrong is violated.\n", 0)) == []
    assert faults(step, read(13, "Error: Temporal properties were violated.\n", 0)) == ["something else than NothingIsWrong is violated"]
    assert faults(replace(BROKEN, expected="liveness"), read(13, "Error: Temporal properties were violated.\n", 0)) == []


# What is needed.


def test_without_java_the_check_says_what_to_install(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["Drain"]) == 2
    said = capsys.readouterr().err
    assert "needs Java 11 or later" in said
    assert "apt-get install default-jre-headless" in said


@pytest.mark.parametrize(
    ("version", "enough"), [("1.8.0_392", False), ("10.0.2", False), ("11.0.21", True), ("17.0.15", True), ("21", True)]
)
def test_an_old_java_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, *, enough: bool) -> None:
    java = tmp_path / "java"
    java.write_text(f"#!{sys.executable}\nimport sys\nsys.stderr.write('openjdk version \"{version}\" 2024-01-16\\n')\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    if enough:
        assert models.find_java() == str(java)
    else:
        with pytest.raises(CannotCheck, match=re.escape(version)):
            models.find_java()


def test_a_name_that_no_model_has_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["Nonsense"]) == 2
    assert "there is no model Nonsense" in capsys.readouterr().err


def test_the_command_lists_the_models_and_prints_a_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list", "--all"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(load())
    assert main(["--config", "DeathIsMuted"]) == 0
    said = capsys.readouterr().out
    assert "BadNews <- DeathIsMuted" in said
    assert "SPECIFICATION Safe" in said


def test_the_manifest_is_written_one_model_a_line() -> None:
    text = models.MANIFEST.read_text(encoding="utf-8")
    assert [json.loads(line.strip(",")) for line in text.splitlines()[1:-1]] == json.loads(text)


# Graphs.

DUMPED = r"""strict digraph DiskGraph {
-5 [label="/\\ listener = [state |-> \"full\", backoff |-> {1}, backlog |-> <<2, 1>>, short |-> FALSE]\n/\\ conn = << [ fd |-> 1,\n     count |-> [sent |-> 0] ],\n  [ fd |-> -1,\n     count |-> [sent |-> 0] ] >>\n/\\ server = [left |-> 0]\n/\\ registry = [armed |-> {}]",style = filled]
-5 -> 7 [label="Round",color="black",fontcolor="black"];
7 [label="/\\ listener = [state |-> \"full\", backoff |-> {1}, backlog |-> <<>>, short |-> TRUE]\n/\\ conn = << >>\n/\\ server = [left |-> 0]\n/\\ registry = [armed |-> {2, 1}]"];
7 -> 7 [label="Round",color="black",fontcolor="black"];
"""  # noqa: E501 - as TLC writes it


def test_a_dump_is_read_into_nodes_that_equal_what_is_frozen_of_the_same_state() -> None:
    found = graph.read(DUMPED.splitlines())
    listener = {"state": "full", "backoff": {1}, "backlog": [2, 1], "short": False}
    first = {
        "conn": [{"fd": 1, "count": {"sent": 0}}, {"count": {"sent": 0}, "fd": -1}],
        "registry": {"armed": set()},
        "server": {"left": 0},
        "listener": listener,
    }
    second = first | {"conn": [], "registry": {"armed": {1, 2}}, "listener": listener | {"backlog": [], "short": True}}
    assert found.nodes == [graph.freeze(first), graph.freeze(second)]
    assert found.edges == {(0, "Round", 1), (1, "Round", 1)}


def test_a_dump_that_was_cut_off_is_refused() -> None:
    with pytest.raises(ValueError, match="1 nodes have edges and no line"):
        graph.read(DUMPED.splitlines()[:3])


# TLC.


@needs_java
@pytest.mark.slow
def test_the_smallest_models_are_as_the_manifest_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["Prompt", "TimerStays", "--jobs", "1"]) == 0
    said = capsys.readouterr().out
    assert "1 sound, 1 broken; all as expected" in said
    assert "found: EveryRoundIsRight is violated (step)" in said


@needs_java
@pytest.mark.slow
def test_a_graph_has_as_many_nodes_as_the_model_has_states() -> None:
    bytes_counted = next(model for model in load() if model.name == "Bytes")
    found = graph.dump("Bytes", heap="-Xmx512m")
    assert len(found.nodes) == bytes_counted.states
    assert {"Round", "TimePasses", "Send"} <= {action for _, action, _ in found.edges}
