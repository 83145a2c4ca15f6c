"""The commands `simulate` and `replay`: what they print, and their exit codes (0 nothing found, 1 something found)."""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from fsmserver.cli.serving import find_protocol
from fsmserver.core.states import State
from fsmserver.runtime.pollers import available
from fsmserver.testing import campaign
from fsmserver.testing.campaign import FailedSeeds, Found, Plan, Report
from fsmserver.testing.operations import FAULTS
from fsmserver.testing.replay import Step, mermaid, replay
from fsmserver.testing.system import SimSystem

POLLERS: Final = available(SimSystem)
SHOWN_FAILURES: Final = 5
DASK_PATIENCE: Final = "10s"
ENOUGH_SEEDS: Final = 1000
"""Fewer than this are not expected to see everything, so that what they have not seen is not called blindness."""
PACE: Final = 100
"""Events a second of a server that has something to do: by these the speed of a simulation is given as times real time."""


def run_simulation(plan: Plan, seeds: int, *, first: int, jobs: int, dask: str | None, database: str | None, failures: Path) -> int:
    """Search; print what was seen; write each failure, reduced, to a file; give the exit code.

    Raises:
        ValueError: an argument is wrong; the sentence says which.

    """
    check_plan(plan, seeds, jobs)
    shelf = FailedSeeds(open_shelf(database), plan) if database else None
    before = [] if shelf is None else list(shelf)
    console = Console(soft_wrap=True)
    with open_executor(jobs, dask) as executor, progress_bar(seeds) as advance:
        report = campaign.run_campaign(plan, seeds, first=first, executor=executor, before=before, progress=advance)
    if shelf is not None:
        failed = {found.seed for found in report.found}
        shelf.update(failed, set(before) - failed)
    console.print(figures(report), coverage(report))
    for found in report.found[:SHOWN_FAILURES]:
        tell(plan, campaign.reduce_found(plan, found), failures, console)
    if len(report.found) > SHOWN_FAILURES:
        console.print(f"and {len(report.found) - SHOWN_FAILURES} more failing seeds")
    spots = report.coverage.blind_spots() if seeds >= ENOUGH_SEEDS and plan.faults == ("all",) else []
    for spot in spots:
        console.print(f"blind: {spot}")
    console.print(f"digest {report.digest}")
    return 1 if report.found or spots else 0


def check_plan(plan: Plan, seeds: int, jobs: int) -> None:
    """Refuse what cannot be searched.

    Raises:
        ValueError: an argument is wrong; the sentence says which.

    """
    if plan.poller not in POLLERS:
        raise ValueError(f"there is no simulated poller {plan.poller!r}; there are {', '.join(POLLERS)}")
    if seeds < 1 or jobs < 1:
        raise ValueError("at least one seed and one job are needed")
    plan.kinds()
    find_protocol(plan.protocol)


@contextmanager
def open_executor(jobs: int, dask: str | None) -> Iterator[Executor | None]:
    """Open what the seeds run on: a Dask cluster, a pool of processes, or nothing, which is this process.

    Raises:
        ValueError: the cluster cannot be reached, or what is needed for it is not installed.

    """
    if dask is not None:
        try:
            from distributed import Client  # noqa: PLC0415 - only who asks for it needs it

            client = Client(dask, timeout=DASK_PATIENCE)  # type: ignore[no-untyped-call] # it has no types
        except ImportError as error:
            raise ValueError(f"--dask needs the extra distributed: {error}") from error
        except (OSError, ValueError) as error:
            raise ValueError(f"the Dask cluster at {dask!r} cannot be reached: {error}") from error
        with client:
            yield client.get_executor()  # type: ignore[no-untyped-call] # as above
    elif jobs > 1:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=find_modules_here) as pool:
            yield pool
    else:
        yield None


def find_modules_here() -> None:
    """Search the current folder for modules first, as the command line does."""
    if "" not in sys.path:
        sys.path.insert(0, "")


def open_shelf(database: str) -> Any:  # noqa: ANN401 - an example database of Hypothesis
    """Open the database of failing seeds.

    Raises:
        ValueError: what is needed for it is not installed.

    """
    try:
        return campaign.open_database(database)
    except ImportError as error:
        raise ValueError(f"--database {database} needs the extras testing and distributed: {error}") from error


@contextmanager
def progress_bar(seeds: int) -> Iterator[Any]:
    """Show how far it is, on standard error where that is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("seeds"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("seeds", total=seeds)
        yield lambda count: progress.advance(task, count)


def figures(report: Report) -> Table:
    """Say how much was done, and how fast."""
    table = Table("what", "how much", "a CPU second", title=f"{report.seeds} seeds, each run twice")
    cpu_s = report.figures["cpu_s"] or 1e-9
    for label, value in (
        ("checked steps", report.figures["checked"] + report.figures["operations"]),
        ("messages delivered", report.figures["messages"]),
        ("transitions", report.figures["transitions"]),
        ("events (calls, transitions)", report.figures["events"]),
        ("connections", report.figures["connections"]),
        ("simulated hours", report.figures["simulated_s"] / 3600),
    ):
        table.add_row(label, f"{value:,.0f}", f"{value / cpu_s:,.0f}" if label != "simulated hours" else f"{value / cpu_s:.2f}")
    table.add_row("CPU seconds", f"{cpu_s:.1f}", "")
    table.add_row(f"times real time, at {PACE} events a simulated second", f"{report.figures['events'] / cpu_s / PACE:,.0f}", "")
    return table


def coverage(report: Report) -> Table:
    """Say what was seen."""
    seen = report.coverage
    table = Table("seen", "", title="coverage")
    shares = seen.shares()
    table.add_row("states", ", ".join(f"{state} {shares[state]:.0%}" for state in State))
    table.add_row("pairs of transitions", f"{len(seen.pairs)}, not seen: {', '.join(seen.missing_pairs) or 'none'}")
    table.add_row("faults", ", ".join(f"{name} {seen.sometimes[name]}" for name in FAULTS if seen.sometimes[name]) or "none")
    table.add_row("errnos", ", ".join(f"{os.strerror(number)} {count}" for number, count in sorted(seen.errnos.items())) or "none")
    return table


def tell(plan: Plan, found: Found, folder: Path, console: Console) -> None:
    """Print a failure, and keep it."""
    console.print(f"seed {found.seed}: {found.failure.sentence}")
    console.print(f"  {len(found.operations)} operations are enough: {'; '.join(map(str, found.operations))}", highlight=False)
    try:
        path = campaign.save(plan, found, folder)
    except OSError as error:
        console.print(f"  it cannot be kept in {str(folder)!r}: {error.strerror}")
    else:
        console.print(f"  python -m fsmserver replay {path} repeats it")


def run_replay(path: Path, *, step: bool, diagram: bool) -> int:
    """Repeat a recorded failure; give the exit code: 1 if it fails again, 0 if it does not any more.

    Raises:
        ValueError: the file cannot be read, or is no recorded failure.

    """
    try:
        plan, found = campaign.read_failure(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{str(path)!r} cannot be replayed: {error}") from error
    find_protocol(plan.protocol)
    steps: list[Step] = []
    for each in replay(found.config, found.operations, plan.make_world()):
        steps.append(each)
        if not diagram:
            show(each)
            if step and sys.stdin.isatty():
                input("-- Enter for the next step --")
    if diagram:
        sys.stdout.write(mermaid(steps))
    failure = steps[-1].failure
    sys.stderr.write(f"{failure.sentence}\n" if failure is not None else "it does not fail any more\n")
    return 0 if failure is None else 1


def show(step: Step) -> None:
    """Print one step: the operation, and what came of it."""
    name, *arguments = step.operation
    passed_over = "" if step.done else "  (cannot be done now)"
    sys.stdout.write(f"{step.at_s:10.3f} s  {name} {' '.join(map(str, arguments))}{passed_over}\n")
    for line in step.happened:
        sys.stdout.write(f"              {line}\n")


def plan_of(protocol: str, poller: str, faults: str, world: str = "") -> Plan:
    """Make a plan of what stands on the command line."""
    return replace(Plan(), protocol=protocol, poller=poller, faults=tuple(faults.split(",")), world=world)
