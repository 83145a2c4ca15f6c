"""Runs the tests on mutants, each in a process of its own that is forked when everything is imported and collected.

Most mutants need no import: the code of one function is exchanged where it stands, and only those tests run that reach the
changed lines, the mirror of the module and the quick ones first. What runs while the modules are imported has been run by
then; for those mutants the process is forked before this package is imported, and imports the changed file.
"""

import gc
import importlib.abc
import json
import math
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Final

import coverage
import hypothesis
import pytest

from fsmserver.core.shapes import SHAPES
from scripts.mutation.mutants import Mutant

ROOT: Final = Path(__file__).resolve().parents[2]
TESTS: Final = ("tests/core", "tests/runtime", "tests/properties/test_short_way.py")
QUIET: Final = (
    *("-o", "addopts=--import-mode=importlib", "-p", "no:terminal", "-p", "no:cacheprovider", "-s"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # hypothesis is here before pytest is
)
HEAVY: Final = {
    "tests/core/test_behaviour.py": ("core/behaviour.py", "core/shapes.py", "core/line.py"),
    "tests/properties/test_short_way.py": ("core/connection.py", "runtime/scheduler.py", "runtime/link.py"),
}
"""Tests that take many seconds and reach everything judge only what they are about."""

MIRRORS: Final = {"shapes.py": "behaviour.py", "states.py": "table.py", "listening.py": "table.py"}
"""What has no file of tests of its own."""

MACHINE_EXAMPLES: Final = 40
LONGEST_CPU_S: Final = 5.0
"""A test that takes so much longer than ten times what it takes without a mutant will not end."""

LONGEST_S: Final = 20.0
MOST_BYTES: Final = 3 * 1024**3
"""A mutant that takes more than these has been noticed: something goes on for ever."""

SURVIVED, TOO_LONG = "survived", "too long"


def settle_hypothesis(session: pytest.Session) -> None:
    """Have the first example that fails be enough: it need not be made small, nor kept. State machines make fewer of them."""
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("mutation", database=None, phases=phases, deadline=None, derandomize=True)
    hypothesis.settings.load_profile("mutation")
    for machine in {item.parent for item in session.items if isinstance(item.parent, pytest.Class)}:
        settings = getattr(machine.obj, "settings", None)
        if isinstance(settings, hypothesis.settings):
            machine.obj.settings = hypothesis.settings(settings, max_examples=MACHINE_EXAMPLES, phases=phases, database=None)


class Survey:
    """Which tests reach which lines, how long each takes, and which lines run before any test does."""

    def __init__(self, said: dict[str, Any], longest_s: float = math.inf) -> None:
        """Take what a survey process has written; tests that took longer than `longest_s` are left out."""
        self._longest_s = longest_s
        self.took_s: dict[str, float] = said["took_s"]
        self._lines: dict[str, dict[str, list[str]]] = said["lines"]

    def tests(self, mutant: Mutant) -> list[str]:
        """List the tests that reach a mutant, those first that will most probably kill it soonest."""
        lines = self._lines.get(mutant.file, {})
        first, last = mutant.lines
        names = {name for line in range(first, last + 1) for name in lines.get(str(line), ()) if name}
        mirror = mirror_of(mutant.file)
        names = {name for name in names if judges(name, mutant) and self.is_asked(name)}
        return sorted(names, key=lambda name: (not name.startswith(mirror), self.took_s[name]))

    def is_asked(self, test: str) -> bool:
        """Tell whether a test is short enough to be asked."""
        return self.took_s.get(test, 0.0) <= self._longest_s

    def at_import(self, mutant: Mutant) -> bool:
        """Tell whether the function runs while modules are imported and tests are collected."""
        lines = self._lines.get(mutant.file, {})
        first, last = mutant.body
        return mutant.in_signature or any("" in lines.get(str(line), ()) for line in range(first, last + 1))


def judges(test: str, mutant: Mutant) -> bool:
    """Tell whether a test (or a file of tests) judges a mutant."""
    return mutant.file.removeprefix("src/fsmserver/") in HEAVY.get(
        test.split("::", maxsplit=1)[0], (mutant.file.removeprefix("src/fsmserver/"),)
    )


class Surveyor:
    """A plugin of pytest that writes a survey to `path`."""

    def __init__(self, path: Path, files: Sequence[str]) -> None:
        """Watch `files` from now on."""
        self._path = path
        self._coverage = coverage.Coverage(data_file=None, include=[str(ROOT / file) for file in files], config_file=False)
        self._took_s: dict[str, float] = {}
        self.failed: list[str] = []
        self._coverage.start()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how long it took."""
        self._took_s[report.nodeid] = self._took_s.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.failed.append(report.nodeid)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Count lines as this test's. What an earlier one had judged is forgotten, or this one would not be seen to reach that."""
        for shape in SHAPES.values():
            shape.after.clear()
        self._coverage.switch_context(item.nodeid)
        return (yield)

    def pytest_sessionfinish(self) -> None:
        """Write the survey."""
        self._coverage.stop()
        data = self._coverage.get_data()
        lines = {
            os.path.relpath(file, ROOT): {str(line): names for line, names in data.contexts_by_lineno(file).items()}
            for file in data.measured_files()
        }
        self._path.write_text(json.dumps({"took_s": self._took_s, "lines": lines}))


class _Changed(importlib.abc.MetaPathFinder):
    """Has one module imported from a changed source."""

    def __init__(self, mutant: Mutant) -> None:
        self._name = module_name(mutant.file)
        self._source = mutant.whole().encode()

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:  # noqa: ANN401 - importlib's own
        if name != self._name:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            origin, source = str(spec.origin), self._source
            loader: Any = spec.loader
            loader.get_code = lambda _name: compile(source, origin, "exec", dont_inherit=True)
        return spec


def module_name(file: str) -> str:
    """Give the name by which a file of `src` is imported."""
    return file.removeprefix("src/").removesuffix(".py").replace("/", ".")


def mirror_of(file: str) -> str:
    """Give the file of tests that mirrors a file of `src`: the first to ask."""
    *_, package, name = file.split("/")
    return f"tests/{package}/test_{MIRRORS.get(name, name)}"


def exchange(mutant: Mutant) -> bool:
    """Exchange the function's code where it stands; give False if that cannot be done."""
    code = compile(mutant.alone, str(ROOT / mutant.file), "exec", dont_inherit=True)
    place: Any = sys.modules[module_name(mutant.file)]
    *classes, name = mutant.function.split(".")
    for part in (*classes, name):
        code = next(each for each in code.co_consts if isinstance(each, CodeType) and each.co_name == part)
    for part in classes:
        place = vars(place)[part]
    function = _plain(vars(place)[name])
    if function is None or len(function.__code__.co_freevars) != len(code.co_freevars):
        return False
    function.__code__ = code
    return True


def _plain(found: Any) -> FunctionType | None:  # noqa: ANN401 - whatever stands in a class
    for name in ("fget", "func", "__func__", "__wrapped__"):
        found = getattr(found, name, None) or found
    return found if isinstance(found, FunctionType) else None


class _Judge:
    """Runs tests until one fails."""

    def __init__(self, survey: Survey) -> None:
        self._survey = survey
        self.failed = ""

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        longest_s = 10 * self._survey.took_s.get(nodeid, 1.0)
        signal.alarm(int(LONGEST_S + longest_s))
        _limit_cpu(LONGEST_CPU_S + longest_s)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def run(self, items: Sequence[pytest.Item]) -> str:
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self.failed:
                return self.failed
        return SURVIVED


def _limit_cpu(more_s: float) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + more_s) + 1, hard))


class InPlace(_Judge):
    """A plugin of pytest: takes mutants from a list, forks for each, exchanges the function and runs the tests that reach it."""

    def __init__(self, mutants: Sequence[Mutant], survey: Survey, jobs: int, note: Callable[[Mutant, str], None]) -> None:
        """Judge `mutants`, and say each verdict to `note`: a test, `SURVIVED` or `TOO_LONG`."""
        super().__init__(survey)
        self._mutants, self._jobs, self._note = mutants, jobs, note

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Replace what the tests' own configuration chose."""
        settle_hypothesis(session)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Take the place of pytest's own loop."""
        by_name = {item.nodeid: item for item in session.items}
        gc.collect()
        gc.freeze()  # what was collected is shared with the processes, not walked by each
        hunch = ""

        def judge(mutant: Mutant) -> str:
            names = self._survey.tests(mutant)
            if not exchange(mutant):
                return "cannot be exchanged"
            names.sort(key=lambda name: name != hunch)
            unknown = [name for name in by_name if name not in self._survey.took_s]  # younger than the survey
            return self.run([by_name[name] for name in (*unknown, *names) if name in by_name])

        def note(mutant: Mutant, verdict: str) -> None:
            nonlocal hunch
            hunch = verdict
            self._note(mutant, verdict)

        in_processes(self._mutants, judge, self._jobs, note)
        return True


class Anew(_Judge):
    """A plugin of pytest: runs everything that is collected, quick tests first, until one fails."""

    def __init__(self, survey: Survey, mutant: Mutant, hunch: str) -> None:
        """Run the mirror of the mutant's module first."""
        super().__init__(survey)
        self._mirror = mirror_of(mutant.file)
        self._hunch = hunch
        self.verdict = ""

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a file that cannot be collected: the mutant is killed by its import."""
        if report.failed and not self.failed:
            self.failed = f"collecting {report.nodeid}"

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Replace what the tests' own configuration chose."""
        settle_hypothesis(session)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Take the place of pytest's own loop."""
        took_s = self._survey.took_s
        order = {
            item: (item.nodeid != self._hunch, self._mirror not in item.nodeid, took_s.get(item.nodeid, 0.0)) for item in session.items
        }
        self.verdict = self.failed or self.run(
            sorted(filter(lambda item: self._survey.is_asked(item.nodeid), session.items), key=order.__getitem__)
        )
        return True


def anew(mutant: Mutant, survey: Survey, hunch: str, tests: Sequence[str]) -> str:
    """Import everything with the changed file, and run the tests; to be called in a process that has imported none of it."""
    ignored = [f"--ignore={file}" for file in HEAVY if not judges(file, mutant)]
    mirror = mirror_of(mutant.file)
    sys.meta_path.insert(0, _Changed(mutant))
    for stage in [[mirror], tests] if (ROOT / mirror).exists() else [tests]:  # most need no more than their mirror
        plugin = Anew(survey, mutant, hunch)
        try:
            pytest.main([*QUIET, "--continue-on-collection-errors", *ignored, *stage], plugins=[plugin])
        except BaseException as error:  # noqa: BLE001 - whatever a module raises while it is imported
            return f"importing: {type(error).__name__}"
        verdict = plugin.verdict or plugin.failed or "importing"
        if verdict != SURVIVED:
            break
    return verdict


def in_processes(mutants: Sequence[Mutant], judge: Callable[[Mutant], str], jobs: int, note: Callable[[Mutant, str], None]) -> None:
    """Call `judge` with each mutant in a process of its own, `jobs` at a time, and `note` with what it gave."""
    waiting = list(reversed(mutants))
    running: dict[int, tuple[Mutant, int]] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop()
            pid, told = _start(mutant, judge)
            running[pid] = mutant, told
        pid, _ = os.wait()
        mutant, told = running.pop(pid)
        with os.fdopen(told) as pipe:
            note(mutant, pipe.read() or TOO_LONG)


def _start(mutant: Mutant, judge: Callable[[Mutant], str]) -> tuple[int, int]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    try:
        devnull = os.open(os.devnull, os.O_WRONLY)
        if not os.environ.get("MUTATION_LOUD"):
            os.dup2(devnull, 1)
            os.dup2(devnull, 2)
        signal.alarm(int(LONGEST_S))
        _limit_cpu(LONGEST_CPU_S)
        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
        verdict = "raised in the judge"
        with suppress(BaseException):  # whatever a test of a broken machine raises, SystemExit too
            verdict = judge(mutant)
        os.write(writing, verdict.encode())
    finally:
        os._exit(0)
