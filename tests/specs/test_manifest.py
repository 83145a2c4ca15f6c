"""The manifest and what it names; what is made of the answers of TLC and Spin; and, where they are, the smallest models themselves."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from specs import compare, graph, models
from specs.__main__ import check, main, totals
from specs.compare import ALONE
from specs.models import HERE, CannotCheck, Model, Outcome, faults, join, load, read
from specs.promela import verifier

needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="TLC needs Java")
needs_spin = pytest.mark.skipif(None in map(shutil.which, verifier.TOOLS), reason="the Promela model needs Spin and gcc")

SOUND = Model(name="Some", module="Some", configs=(), expected="sound", about="", states=7, idle=("Sleep",))
BROKEN = replace(SOUND, expected="safety", violates="NothingIsWrong")
SPUN = replace(SOUND, module="model.pml", flags=("-DD=1",), idle=(), unreached=1)


# The manifest.


def test_each_model_has_a_name_of_its_own_and_files_that_exist() -> None:
    found = load()
    modules = {path.stem for path in HERE.rglob("*.tla")} | {"model.pml"}
    assert len({model.name for model in found}) == len(found)
    for model in found:
        assert model.module in modules, model.name
        assert all((HERE / name).is_file() for name in model.configs), model.name
        assert model.expected in models.EXIT_CODES
        assert model.about
        assert model.in_promela is bool(model.flags) is not bool(model.configs)


def test_no_configuration_lies_about_that_no_model_uses() -> None:
    used = {name for model in load() for name in model.configs} | {ALONE}
    there = {str(path.relative_to(HERE)) for path in HERE.rglob("*.cfg")} - {"Trace.cfg"}
    assert there - used == set()


def test_a_sound_model_has_its_states_counted_and_a_broken_one_names_a_property_of_its_configuration() -> None:
    asserted = re.findall(r"MUST\((\w+)", "".join(path.read_text() for path in (HERE / "promela").glob("*.pml")))
    for model in load():
        if model.expected == "sound":
            assert model.states > 0, model.name
            assert not model.violates
        elif model.in_promela:
            assert model.violates in (model.claim, *asserted), model.name
        else:
            joined = join(HERE / name for name in model.configs)
            assert re.search(rf"^(?:INVARIANT|PROPERTY) {model.violates}$", joined, re.MULTILINE), model.name


def test_there_are_enough_states_and_mistakes_in_the_small_set() -> None:
    small = [model for model in load() if model.size == "small"]
    of_tlc = [model for model in small if not model.in_promela]
    assert sum(model.expected != "sound" for model in small) >= 25
    assert max(model.states for model in of_tlc if not model.is_live) >= 450_000
    assert max(model.states for model in of_tlc if model.is_live) >= 99_000


def test_there_are_enough_states_in_the_large_set() -> None:
    large = [model for model in load() if model.in_promela and model.expected == "sound"]
    assert sum(model.states for model in large if not model.is_live) >= 30_000_000
    assert max(model.states for model in large if model.is_live) >= 3_000_000


def test_states_are_added_up_for_each_checker_by_what_is_asked() -> None:
    live = replace(SOUND, module="MCLiveness", states=5)
    assert totals([SOUND, SOUND, live, BROKEN, SPUN]) == [
        "Spin: 1 sound, 7 states of models of safety, 0 of models of liveness; 0 broken",
        "TLC: 3 sound, 14 states of models of safety, 5 of models of liveness; 1 broken",
    ]


def test_a_model_whose_graph_is_compared_is_not_run_a_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    run: set[str] = set()
    compared: list[str] = []
    equal = True

    def checks(chosen: list[Model], **_: object) -> bool:
        run.update(model.name for model in chosen)
        return True

    def compares(name: str, *, concretely: bool) -> bool:
        compared.append(name)
        return equal and not concretely

    monkeypatch.setattr("specs.__main__.check", checks)
    monkeypatch.setattr(compare, "check", compares)
    assert main([]) == 0
    assert compared == ["Graph"]
    assert "Graph" not in run
    assert {"One", "Ends"} <= run
    run.clear()
    assert main(["--all"]) == 0
    assert compared == ["Graph", *compare.MODELS]
    assert run & set(compare.MODELS) == {"Late", "HalfOpen"}, "what happens in the end TLC is asked apart"
    equal = False
    assert main([]) == 1
    assert main(["--no-graphs"]) == 0
    assert "Graph" in run


def test_every_mistake_that_is_written_is_put_in_place_by_a_configuration() -> None:
    written = set(re.findall(r"^(\w+)(?:\([^)]*\))? ==", (HERE / "broken" / "Mistakes.tla").read_text(), re.MULTILINE))
    placed = {word for path in (HERE / "broken").glob("*.cfg") for word in re.findall(r"<- (\w+)", path.read_text())}
    assert written <= placed, written - placed


def test_every_mistake_of_the_promela_model_is_made() -> None:
    assert {model.name for model in load() if model.in_promela and model.expected != "sound"} == set(verifier.mistakes())


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


SPIN_SAID = """\
State-vector 44 byte, depth reached 1335, errors: 0
        7 states, stored
     1301 transitions (= stored+matched)
unreached in proctype Server
	round.pml:30, state 4, "a"
	round.pml:30, state 4, "else"
	round.pml:97, state 20, "-end-"
	(2 of 20 states)
unreached in proctype House
	world.pml:12, state 5, "-end-"
	(1 of 5 states)
"""


def test_states_steps_and_statements_are_read_from_what_a_verifier_printed() -> None:
    outcome = verifier.read(SPIN_SAID, 1.5)
    assert (outcome.exit_code, outcome.states, outcome.generated, outcome.statements) == (0, 7, 1301, 23)
    assert verifier.read(SPIN_SAID.replace(" 1301 ", " 1.0716552e+08 "), 0).generated == 107_165_520
    assert outcome.unreached == ('round.pml:30, state 4, "else"',)
    assert faults(SPUN, outcome) == []
    assert faults(replace(SPUN, states=8), outcome) == ["7 states, and the manifest says 8"]
    assert faults(replace(SPUN, unreached=0), outcome) == [
        '1 statements never reached, and the manifest says 0: round.pml:30, state 4, "else"'
    ]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("pan:1: assertion violated (one_close||0)\nerrors: 1", 12),
        ("pan:1: acceptance cycle (at depth 9)\nerrors: 1", 13),
        ("pan:1: invalid end state (at depth 9)\nerrors: 1", 11),
        ("error: max search depth too small\nerrors: 0", 1),
        ("pan: reached -DMEMLIM bound\nWarning: Search not completed\nerrors: 0", 1),
        ("Segmentation fault", 1),
    ],
)
def test_a_verifier_s_words_become_the_numbers_of_tlc_and_a_search_that_was_cut_off_is_no_success(said: str, code: int) -> None:
    assert verifier.read(said, 0).exit_code == code


def test_a_mistake_of_the_promela_model_counts_only_if_its_own_property_is_violated() -> None:
    safety = replace(SPUN, expected="safety", violates="one_close")
    said = "pan:1: assertion violated ((one_close||(c[0].used)))\nerrors: 1"
    assert faults(safety, verifier.read(said, 0)) == []
    assert faults(replace(safety, violates="one"), verifier.read(said, 0)) == ["something else than one is violated"]
    live = replace(SPUN, expected="liveness", violates="drain_ends", claim="drain_ends")
    said = "pan: ltl formula drain_ends\npan:1: acceptance cycle (at depth 9)\nerrors: 1"
    assert faults(live, verifier.read(said, 0)) == []
    assert faults(live, verifier.read("pan: ltl formula drain_ends\nerrors: 0", 0)) == [
        "Spin found no error, and that drain_ends (liveness) is violated was expected"
    ]


# What is needed.


def test_without_spin_the_check_says_what_to_install(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["PromelaOne"]) == 2
    said = capsys.readouterr().err
    assert "there is no spin and no gcc" in said
    assert "apt-get install spin gcc libc6-dev" in said


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
    assert main(["--config", "PromelaFull"]) == 0
    assert capsys.readouterr().out.startswith("spin -a -DD=2 -DLIMIT=1")


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
    assert "TLC: 1 sound, 0 states of models of safety, 742 of models of liveness; 1 broken\nall as expected" in said
    assert "found: EveryRoundIsRight is violated (step)" in said


@needs_java
@pytest.mark.slow
def test_a_graph_has_as_many_nodes_as_the_model_has_states() -> None:
    bytes_counted = next(model for model in load() if model.name == "Bytes")
    found = graph.dump("Bytes", heap="-Xmx512m")
    assert len(found.nodes) == bytes_counted.states
    assert {"Round", "TimePasses", "Send"} <= {action for _, action, _ in found.edges}


# Spin.


@needs_spin
@pytest.mark.slow
def test_one_verifier_makes_no_mistake_or_the_one_that_it_is_told_to_and_a_wrong_count_is_noticed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    full, room = (model for model in load() if model.name in ("PromelaFull", "ROOM_FOR_ONE_MORE"))
    assert check([full, room], jobs=1, verbose=False)
    assert "found: limit_is_kept is violated (safety)" in capsys.readouterr().out
    assert not check([replace(full, states=full.states - 1), replace(room, expected="sound", name="PromelaFull")], jobs=1, verbose=False)
    assert "NOT as expected: PromelaFull" in capsys.readouterr().out
