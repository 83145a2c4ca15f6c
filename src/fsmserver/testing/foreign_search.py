"""Search a server that knows nothing of us: run the scripts of many seeds, and reduce what shows a fault to what it takes."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from fsmserver.testing.foreign import Finding, Program, Report, drive
from fsmserver.testing.foreign_scripts import HELD_BYTES, KINDS, Host, Script, random_script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


def run(program: Program, script: Script, *, held_bytes: int = HELD_BYTES) -> Report:
    """Drive `program` through `script`, on a kernel made for it."""
    return drive(program, script.host.kernel(), script.operations, held_bytes=held_bytes)


@dataclass(frozen=True, slots=True)
class Found:
    """A finding, the seed that showed it first, and how much work it had taken until then."""

    finding: Finding
    seed: int
    runs: int
    operations: int
    cpu_s: float

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{self.finding}, found in run {self.runs}, after {self.operations} operations and {self.cpu_s:.3f} CPU seconds"


def search(program: Program, seeds: Iterable[int], *, held_bytes: int = HELD_BYTES) -> Iterator[Found]:
    """Run the scripts of `seeds`; give each different finding when it is met for the first time."""
    known: set[Finding] = set()
    operations = 0
    began_s = time.process_time()
    for runs, seed in enumerate(seeds, start=1):
        report = run(program, random_script(seed), held_bytes=held_bytes)
        operations += report.operations
        for finding in report.findings:
            if finding not in known:
                known.add(finding)
                yield Found(finding, seed, runs, operations, time.process_time() - began_s)


def reduce(program: Program, script: Script, finding: Finding, *, held_bytes: int = HELD_BYTES) -> Script:
    """Take out of `script` all that `finding` does not need: operations (delta debugging), then sizes and oddities.

    Raises:
        ValueError: `script` does not show `finding`.

    """

    def shows(candidate: Script) -> bool:
        return finding in run(program, candidate, held_bytes=held_bytes).findings

    if not shows(script):
        raise ValueError(f"this script does not show {str(finding)!r}")
    for each in fields(Host):
        plain: dict[str, Any] = {each.name: each.default}
        plainer = replace(script, host=replace(script.host, **plain))
        if plainer != script and shows(plainer):
            script = plainer
    former = None
    while script != former:
        former = script
        script = _without_the_needless(script, shows)
        script = _simplified(script, shows)
    return script


def _without_the_needless(script: Script, shows: Callable[[Script], bool]) -> Script:
    """Take out halves, quarters, ... single operations, as long as any can go."""
    size = max(1, len(script.operations) // 2)
    while True:
        start = 0
        before = script
        while start < len(script.operations):
            shorter = replace(script, operations=script.operations[:start] + script.operations[start + size :])
            if shows(shorter):
                script = shorter
            else:
                start += size
        if size == 1 and script == before:
            return script
        size = max(1, size // 2)


def _simplified(script: Script, shows: Callable[[Script], bool]) -> Script:
    """Give each argument the simplest value that will do."""
    for place, (name, *arguments) in enumerate(script.operations):
        first = len(arguments) - len(KINDS[name].arguments)
        for which, choices in enumerate(KINDS[name].arguments, start=first):
            for choice in choices[: choices.index(arguments[which])]:
                operation = (name, *arguments[:which], choice, *arguments[which + 1 :])
                simpler = replace(script, operations=(*script.operations[:place], operation, *script.operations[place + 1 :]))
                if shows(simpler):
                    script = simpler
                    arguments[which] = choice
                    break
    return script
