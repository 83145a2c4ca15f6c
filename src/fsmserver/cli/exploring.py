"""The command `explore`: what it prints, and its exit codes (0 everything was searched, 1 something was found, or it was cut short)."""

import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.status import Status

from fsmserver.cli.failures import CommandFailed
from fsmserver.runtime.pollers import available
from fsmserver.testing.bounded import EVERYTHING, SMALL, BoundedServer, Bounds
from fsmserver.testing.builds import TakesPureBuild
from fsmserver.testing.explorer import Graph, Result, explore
from fsmserver.testing.operations import words
from fsmserver.testing.system import SimSystem

CHOICES: Final = {
    "poller": available(SimSystem),
    "exceptional": ("discard", "inline", "close"),
    "when_full": ("wait", "refuse"),
}
COMPLETE: Final = "complete: no state is left to explore; no violation, no dead end, no spin, no connection that stays for ever"


def bounds_of(operations: str, **choices: Any) -> Bounds:  # noqa: ANN401 - a value for each field
    """Make the bounds of what the command line gives; `operations` are names with commas between them, or `all`.

    Raises:
        ValueError: a value makes no sense; the sentence says which.

    """
    for name, value in choices.items():
        known = CHOICES.get(name)
        if known is not None and value not in known:
            raise ValueError(f"{name} is one of {', '.join(known)}, not {value!r}")
        if isinstance(value, int) and not isinstance(value, bool) and value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")
    bounds = Bounds(operations=EVERYTHING if operations == "all" else tuple(filter(None, operations.split(","))), **choices)
    BoundedServer(bounds)
    return bounds


def run_exploration(bounds: Bounds, *, small: bool, most_states: int | None, graph: Path | None) -> int:
    """Search within `bounds`, or with `small` within several small ones; print what was found; give the exit code.

    Raises:
        ValueError: the file for the graph cannot be written.
        CommandFailed: the package is compiled.

    """
    searches = SMALL.items() if small else [("", bounds)]
    return max(search(name, each, most_states, graph) for name, each in searches)


def search(name: str, bounds: Bounds, most_states: int | None, graph: Path | None) -> int:
    """Search once."""
    try:
        with status() as shown:
            result = explore(BoundedServer(bounds), most_states=most_states, on_progress=None if shown is None else Shown(shown))
    except TakesPureBuild as error:
        raise CommandFailed(str(error)) from error
    if name:
        sys.stdout.write(f"{name}\n")
    sys.stdout.write("\n".join(report(result)) + "\n")
    if graph is not None:
        try:
            with graph.open("w", encoding="utf-8") as file:
                result.graph.write(file)
        except OSError as error:
            raise ValueError(f"{str(graph)!r} cannot be written: {error.strerror}") from error
    return 0 if result.complete and result.violation is None else 1


class Shown:
    """Says on standard error how far a search is."""

    def __init__(self, status: Status) -> None:
        """Say it there."""
        self._status = status

    def __call__(self, graph: Graph) -> None:
        """Say it now."""
        self._status.update(f"{graph.explored():,} of {graph.states:,} states explored, {graph.transitions:,} transitions")


def status() -> AbstractContextManager[Status | None]:
    """Show how far it is, on standard error where that is a terminal."""
    console = Console(stderr=True)
    return console.status("begins") if console.is_terminal else nullcontext(None)


def report(result: Result) -> Iterable[str]:
    """Say what was found."""
    yield f"states       {result.states:,}"
    yield f"transitions  {result.transitions:,}"
    yield f"depth        {result.depth}"
    yield f"time         {result.seconds:.1f} s"
    violation = result.violation
    if violation is not None:
        yield f"violated: {violation.sentence}"
        yield f"the shortest trace, {len(violation.trace)} operations:"
        yield from (f"  {words(operation)}" for operation in violation.trace)
    elif result.complete:
        yield COMPLETE
    else:
        yield f"cut short: {result.states - result.graph.explored():,} states are left to explore"
