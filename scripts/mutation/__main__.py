"""Change each expression of the core and of the loop, one at a time, and see that a test fails.

    python -m scripts.mutation                          everything, then docs/mutation.md is written anew
    python -m scripts.mutation --only core/outbox.py    one file (or several: `--only` again)
    python -m scripts.mutation --only scheduler.py --function _accept
    python -m scripts.mutation --survivors              what survived when it was last recorded: after a new test
    python -m scripts.mutation --page                   write docs/mutation.md from what was recorded

Prints each survivor. A mutant that survives is either a hole in the tests or changes nothing that can be seen; then
`explained.toml` says why, in one line. Exit code 1 where a survivor has no explanation, an explanation has no survivor any
more, or a file is below its bound; 2 if the run did not come to its end.

Only functions are changed: what stands in the tables of the modules is changed by `python -m specs.mutants`.
"""

import argparse
import hashlib
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from scripts.mutation.judging import QUIET, ROOT, SURVIVED, TESTS, TOO_LONG, InPlace, Survey, Surveyor, anew, in_processes
from scripts.mutation.mutants import Mutant, mutants
from scripts.mutation.page import explanations, findings, read_record, write_page, write_record

RUNTIME: Final = ("scheduler.py", "link.py", "listener.py")
ANEW_TESTS: Final = TESTS[:2]
DECIDING: Final = (
    "scripts/mutation/judging.py",
    "src/fsmserver/core/*.py",
    "src/fsmserver/runtime/*.py",
    "tests/core/*.py",
    "tests/runtime/*.py",
    "tests/*.py",
    TESTS[2],
)
"""What a survey rests on."""

OLDER: Final = "FSMSERVER_SURVEY"
QUICK_S: Final = 0.5
PRELOADED: Final = (
    "hypothesis.stateful",
    "hypothesis.strategies",
    "transitions",
    "rich.console",
    "asyncio",
    "typer",
    "concurrent.futures",
    "ssl",
)

say: Final = partial(print, flush=True)


def files() -> list[str]:
    """List what is mutated."""
    core = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "src/fsmserver/core").glob("*.py"))
    return [*core, *(f"src/fsmserver/runtime/{name}" for name in RUNTIME)]


def survey(*, quick: bool) -> Survey:
    """Run all tests once without a mutant, unless that was done for these very files, or FSMSERVER_SURVEY names a file."""
    digest = hashlib.sha256()
    for pattern in DECIDING:
        for path in sorted(ROOT.glob(pattern)):
            digest.update(path.read_bytes())
    path = Path(tempfile.gettempdir()) / f"fsmserver-mutation-{digest.hexdigest()[:16]}.json"
    path = Path(os.environ.get(OLDER, path))
    if not path.exists():
        pid = os.fork()
        if not pid:
            plugin = Surveyor(path, files())
            code = pytest.main([*QUIET, *TESTS], plugins=[plugin])
            if plugin.failed:
                say(f"fails without any mutant: {', '.join(plugin.failed)}", file=sys.stderr)
                path.unlink(missing_ok=True)
            os._exit(int(code))
        if os.waitpid(pid, 0)[1] or not path.exists():
            raise SystemExit(2)
    return Survey(json.loads(path.read_text()), QUICK_S if quick else math.inf)


class Verdicts:
    """What became of each mutant."""

    def __init__(self, total: int, known: frozenset[tuple[str, str]]) -> None:
        """Expect `total` of them."""
        self.by_mutant: dict[tuple[str, str], str] = {}
        self._total, self._known = total, known
        self._began_s = time.monotonic()

    def note(self, mutant: Mutant, verdict: str) -> None:
        """Keep a verdict, and print what survives."""
        self.by_mutant[mutant.file, mutant.key] = verdict
        if verdict in (SURVIVED, TOO_LONG) or verdict == "raised in the judge":
            word = "explained" if (mutant.file, mutant.key) in self._known else verdict.upper()
            say(f"{time.strftime('%T')} {word} {mutant.file}:{mutant.lines[0]} {mutant.key}")
        if not len(self.by_mutant) % 100:
            say(f"{time.strftime('%T')} {len(self.by_mutant)} of {self._total}, {time.monotonic() - self._began_s:.0f} s")


def judge_all(chosen: Sequence[Mutant], known: Survey, jobs: int, verdicts: Verdicts) -> None:
    """Judge the mutants: those whose function runs at import each with an import of its own, the others in one process's forks."""
    for name in PRELOADED:
        __import__(name)
    at_import = [mutant for mutant in chosen if known.at_import(mutant)]
    others = [mutant for mutant in chosen if not known.at_import(mutant)]
    reached = [mutant for mutant in others if known.tests(mutant) or OLDER in os.environ]  # newer tests may reach it
    for mutant in others:
        if mutant not in reached:
            verdicts.note(mutant, SURVIVED)
    say(f"{len(chosen)} mutants: {len(at_import)} run at import, {len(others) - len(reached)} are reached by no test")
    _in_place(reached, known, jobs, verdicts)
    left = [mutant for mutant in reached if verdicts.by_mutant.get((mutant.file, mutant.key)) == "cannot be exchanged"]
    hunch = ""

    def note(mutant: Mutant, verdict: str) -> None:
        nonlocal hunch
        hunch = verdict
        verdicts.note(mutant, verdict)

    in_processes(at_import + left, lambda mutant: anew(mutant, known, hunch, ANEW_TESTS), jobs, note)


def _in_place(chosen: Sequence[Mutant], known: Survey, jobs: int, verdicts: Verdicts) -> None:
    """Judge in a process of its own, since this one must not import what is to be judged."""
    if not chosen:
        return
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        by_mutant = {id(mutant): index for index, mutant in enumerate(chosen)}
        plugin = InPlace(chosen, known, jobs, lambda mutant, verdict: _send(writing, by_mutant[id(mutant)], verdict))
        code = pytest.main([*QUIET, *TESTS], plugins=[plugin])
        os._exit(int(code))
    os.close(writing)
    with os.fdopen(reading) as lines:
        for line in lines:
            index, verdict = json.loads(line)
            verdicts.note(chosen[index], verdict)
    os.waitpid(pid, 0)


def _send(pipe: int, index: int, verdict: str) -> None:
    os.write(pipe, f"{json.dumps([index, verdict])}\n".encode())


def main(argv: list[str] | None = None) -> int:
    """Run the mutants; give 0 if every survivor is explained and every bound is kept."""
    parser = argparse.ArgumentParser(prog="python -m scripts.mutation", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", default=[], metavar="FILE", help="the end of a file's path, such as core/outbox.py")
    parser.add_argument("--function", action="append", default=[], metavar="NAME", help="only functions with this in their name")
    parser.add_argument("--survivors", action="store_true", help="only the mutants that survived when a run was last recorded")
    parser.add_argument("--quick", action="store_true", help="ask quick tests only: to be followed by --survivors")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at a time (default: one a core)")
    parser.add_argument("--page", action="store_true", help="only write docs/mutation.md from the record")
    options = parser.parse_args(argv)
    os.chdir(ROOT)
    os.environ["COVERAGE_CORE"] = "ctrace"
    if not options.page:
        run(options)
    write_page()
    problems = findings()
    for problem in problems:
        say(problem)
    return 1 if problems else 0


def run(options: argparse.Namespace) -> None:
    """Judge what the options choose, and record it."""
    asked = [file for file in files() if not options.only or any(file.endswith(end) for end in options.only)]
    made = [mutant for file in asked for mutant in mutants(ROOT, file)]
    chosen = [mutant for mutant in made if not options.function or any(name in mutant.function for name in options.function)]
    if options.survivors:
        record = read_record()
        chosen = [mutant for mutant in chosen if mutant.key in record.get(mutant.file, {}).get("survived", ())]
    known = survey(quick=options.quick)
    verdicts = Verdicts(len(chosen), frozenset(explanations()))
    judge_all(chosen, known, options.jobs, verdicts)
    missing = len(chosen) - len(verdicts.by_mutant)
    if missing:
        say(f"the run did not come to its end: {missing} mutants have no verdict", file=sys.stderr)
        raise SystemExit(2)
    write_record(made, verdicts.by_mutant)


if __name__ == "__main__":
    sys.exit(main())
