"""Change each fact of the two tables, one at a time, and see that a test fails.

    python -m specs.mutants                    all of them, on all cores
    python -m specs.mutants --sample 100       every n-th, so that about 100 remain
    python -m specs.mutants --without-copy     leave out the tests that hold the table written a second time

Tools for mutation testing change functions; the rules of this project stand in a grid. So here every arrow is removed
and redirected to each other state, every illegal pair is made legal, and every entry of interest, holds, deadlines and
renewals is changed to each other value.

A mutant lives in a forked process. There the declaration is changed where it stands, and every assignment that is
derived from it, in whatever module, is run again: what was looked up at import is looked up anew (`specs.rederive`).
Then the tests run, the quickest first, until one fails. Nothing that survives may be explained away: write the test.
"""

import argparse
import gc
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import product
from typing import Any, Final, TypeVar

import hypothesis
import pytest

from specs.rederive import rederive

COPY: Final = "tests/core/test_table.py"
"""The tests that hold the table written a second time: they see every change by themselves."""

TESTS: Final = (COPY, "tests/core", "tests/specs/test_model.py", "tests/runtime", "tests/properties/test_lockstep.py")
LONGEST_S: Final = 60
"""A mutant that keeps the tests busy for longer has been noticed: something waits for ever."""

TABLE, LISTENING = "fsmserver.core.table", "fsmserver.core.listening"

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True)
class Mutant:
    """One change: to what `name` stands for in `module`. `what` says it in words."""

    what: str
    module: str
    name: str
    change: Callable[[Any], Any]

    def apply(self) -> None:
        """Make the change in this process, and derive anew what rests on it."""
        rederive(self.module, {self.name: self.change})


# Which mutants there are.


def mutants() -> Iterator[Mutant]:
    """Give every mutant of the connection's table and of the listener's."""
    yield from _connection()
    yield from _listener()


def _connection() -> Iterator[Mutant]:
    from fsmserver.core import table  # noqa: PLC0415 - as in apply
    from fsmserver.core.states import Event, Hold, Interest, State  # noqa: PLC0415

    limits = sorted({limit for *_, limit in table.DEADLINES})
    yield from _arrows(TABLE, "CONNECTION", State, Event, table.CONNECTION)
    for state in State:
        yield Mutant(f"{state} in or out of SENDING", TABLE, "SENDING", _toggle_state(state))
    for state, holds in product(State, table.ALL_HOLDS):
        where = (state, holds)
        words = f"{state} holding {' and '.join(holds.words) or 'nothing'}"
        for value in Interest(0), Interest.READ, Interest.WRITE, Interest.READ | Interest.WRITE:
            if value != table.interest(*where):
                yield Mutant(f"{words}: watched for {value.words}", TABLE, "interest", _answer(where, value))
        for name, function in ("lingers", table.lingers), ("owes_nothing", table.owes_nothing):
            yield Mutant(f"{words}: {name} is {not function(*where)}", TABLE, name, _answer(where, not function(*where)))
        for limit in limits:
            if limit != table.deadline(*where):
                yield Mutant(f"{words}: {limit} runs", TABLE, "deadline", _answer(where, limit))
    yield from _deadline_rows(table.DEADLINES, limits, [Hold(bits) for bits in range(16)])
    for limit, moved in product(limits, ("received", "taken")):
        yield Mutant(f"{limit} moved on, or no more, by bytes {moved}", TABLE, "RENEWALS", _toggle(limit, moved))


def _listener() -> Iterator[Mutant]:
    from fsmserver.core import listening  # noqa: PLC0415 - as in apply
    from fsmserver.core.states import Interest, ListenerEvent, ListenerState  # noqa: PLC0415

    yield from _arrows(LISTENING, "LISTENER", ListenerState, ListenerEvent, listening.LISTENER)
    for state, refuses in product(ListenerState, (False, True)):
        value = Interest.READ ^ listening.listener_interest(state, refuses=refuses)
        words = f"a {state} listener that {'refuses' if refuses else 'waits'}: watched for {value.words}"
        yield Mutant(words, LISTENING, "listener_interest", _answer((state, refuses), value))


def _arrows(module: str, name: str, states: type[S], events: type[E], table: Any) -> Iterator[Mutant]:  # noqa: ANN401 - a Table of any states
    for event, origin in product(events, states):
        present = table.arrows[origin].get(event)
        for cell in (None, *states):
            if cell is not present:
                verb = "illegal" if cell is None else f"leads to {cell}" if present else f"legal, leads to {cell}"
                yield Mutant(f"{name}: {event} in {origin} {verb}", module, name, _cell(states, events, event, origin, cell))
    for state in states:
        if state is not table.initial:
            yield Mutant(f"{name}: begins in {state}", module, name, partial(_declared, states, events, initial=state))


def _declared(states: type[S], events: type[E], old: Any, *, initial: S, cells: Any = None) -> Any:  # noqa: ANN401
    """Declare a machine like `old`, but for `initial` and for `cells`, by (event, state)."""
    from fsmserver.core.declaration import Table  # noqa: PLC0415 - as in apply

    cells = cells or {}
    grid = {event: [cells.get((event, state), old.arrows[state].get(event)) for state in states] for event in events}
    return Table(states, events, initial=initial, columns=tuple(states), grid=grid)


def _cell(states: type[S], events: type[E], event: E, origin: S, cell: S | None) -> Callable[[Any], Any]:
    return lambda old: _declared(states, events, old, initial=old.initial, cells={(event, origin): cell})


def _answer(where: tuple[object, ...], value: object) -> Callable[[Any], Any]:
    """Have a function give `value` for the arguments `where`, and what it gave before for all others."""

    def change(old: Callable[..., object]) -> Callable[..., object]:
        def changed(*args: object, **kwargs: object) -> object:
            return value if (*args, *kwargs.values()) == where else old(*args, **kwargs)

        return changed

    return change


def _deadline_rows(rows: Sequence[Any], limits: Sequence[str], all_holds: Sequence[Any]) -> Iterator[Mutant]:
    for number, (state, holds, limit) in enumerate(rows):
        words = f"DEADLINES, {state} holding {' and '.join(holds.words) or 'nothing'}"
        yield Mutant(f"{words}: no row", TABLE, "DEADLINES", _no_row(number))
        for other in limits:
            if other != limit:
                yield Mutant(f"{words}: {other}", TABLE, "DEADLINES", _row(number, (state, holds, other)))
        for held in all_holds:
            if held != holds:
                yield Mutant(f"{words}: asks for {held.words}", TABLE, "DEADLINES", _row(number, (state, held, limit)))
        if number and rows[number - 1][0] is state:
            yield Mutant(f"{words}: before the row above it", TABLE, "DEADLINES", _swap(number))


def _no_row(number: int) -> Callable[[Any], Any]:
    return lambda old: (*old[:number], *old[number + 1 :])


def _row(number: int, row: object) -> Callable[[Any], Any]:
    return lambda old: (*old[:number], row, *old[number + 1 :])


def _swap(number: int) -> Callable[[Any], Any]:
    return lambda old: (*old[: number - 1], old[number], old[number - 1], *old[number + 1 :])


def _toggle_state(state: object) -> Callable[[Any], Any]:
    return lambda old: old ^ {state}


def _toggle(limit: str, moved: str) -> Callable[[Any], Any]:
    return lambda old: {**old, limit: old.get(limit, frozenset()) ^ {moved}}


# Running the tests on each.


class Runner:
    """A plugin of pytest: instead of running the tests once, it runs them once for each mutant, each in its own process."""

    def __init__(self, chosen: Sequence[Mutant], jobs: int) -> None:
        """Prepare to run the tests on each of `chosen`, `jobs` at a time."""
        self.chosen = chosen
        self.jobs = jobs
        self.killers: dict[str, str] = {}
        self.survivors: list[str] = []
        self._failed = ""
        self._hunch = ""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Put the quickest judge first."""
        items.sort(key=lambda item: not item.nodeid.startswith(COPY))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the first test that fails."""
        if report.failed and not self._failed:
            self._failed = report.nodeid

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Take the place of pytest's own loop."""
        self._run(session.items)
        if self._failed:
            raise SystemExit(f"a test fails without any mutant: {self._failed}")
        gc.freeze()  # what was collected so far is shared with the processes, not walked by each
        rederive(TABLE, {})  # changes nothing, and reads every module: a process for each mutant need not do it again
        waiting = list(reversed(self.chosen))
        running: dict[int, tuple[Mutant, int]] = {}
        while waiting or running:
            while waiting and len(running) < self.jobs:
                mutant = waiting.pop()
                pid, told = self._start(mutant, session)
                running[pid] = mutant, told
            pid, status = os.wait()
            mutant, told = running.pop(pid)
            with os.fdopen(told) as pipe:
                self._note(mutant, pipe.read(), status)
        return True

    def _start(self, mutant: Mutant, session: pytest.Session) -> tuple[int, int]:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid:
            os.close(writing)
            return pid, reading
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            signal.alarm(LONGEST_S)
            with suppress(BaseException):  # whatever a test of a broken machine raises, SystemExit too
                os.write(writing, self._killer(mutant, session).encode())
        finally:
            os._exit(0)

    def _killer(self, mutant: Mutant, session: pytest.Session) -> str:
        try:
            mutant.apply()
        except Exception as error:  # noqa: BLE001 - a declaration that refuses the change has noticed it
            return f"the declaration itself: {error}"
        # Neighbours are mostly killed by the same test: it goes first.
        self._run(sorted(session.items, key=lambda item: item.nodeid != self._hunch))
        return self._failed or "nothing"

    def _run(self, items: Sequence[pytest.Item]) -> None:
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self._failed:
                return

    def _note(self, mutant: Mutant, killer: str, status: int) -> None:
        if killer == "nothing" and status == 0:
            self.survivors.append(mutant.what)
            print(f"SURVIVED {mutant.what}", flush=True)
        else:
            if not killer:
                print(f"after {LONGEST_S} s, or by a crash (status {status}): {mutant.what}", flush=True)
            self.killers[mutant.what] = killer or "time, or a crash"
            self._hunch = killer


def _where(killer: str) -> str:
    return killer.split("::", maxsplit=1)[0].split(": ", maxsplit=1)[0]


def main(argv: list[str] | None = None) -> int:
    """Run the mutants; give 0 if each was killed."""
    parser = argparse.ArgumentParser(prog="python -m specs.mutants", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sample", type=int, metavar="N", help="run every n-th mutant, so that about N remain")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at a time (default: one a core)")
    parser.add_argument("--only", default="", metavar="WORDS", help="run the mutants whose description has these words")
    parser.add_argument("--without-copy", action="store_true", help=f"without {COPY}, which holds the table a second time")
    options = parser.parse_args(argv)
    everything = list(mutants())
    chosen = [mutant for mutant in everything if options.only in mutant.what]
    if options.sample:
        chosen = chosen[:: max(1, len(chosen) // options.sample)]
    runner = Runner(chosen, options.jobs)
    began_s = time.monotonic()
    unwanted = [f"--deselect={COPY}", f"--ignore={COPY}"] if options.without_copy else []
    tests = TESTS[1:] if options.without_copy else TESTS
    # The first example that fails is enough: it need not be made small, nor kept.
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("mutants", database=None, phases=phases, deadline=None)
    quiet = ["-o", "addopts=--import-mode=importlib", "-p", "no:terminal", "-p", "no:cacheprovider", "-s", "-W", "ignore"]
    code = pytest.main([*quiet, "--hypothesis-profile=mutants", *unwanted, *tests], plugins=[runner])
    if code != 0 or len(runner.killers) + len(runner.survivors) != len(chosen):
        print(f"the run did not come to its end (exit code {code})", file=sys.stderr)
        return 2
    for where, count in Counter(_where(killer) for killer in runner.killers.values()).most_common():
        print(f"{count:6} killed first by {where}")
    print(
        f"{len(runner.killers)} of {len(chosen)} mutants killed, {len(runner.survivors)} survived "
        f"({len(everything)} there are), {time.monotonic() - began_s:.0f} s"
    )
    return 1 if runner.survivors else 0


if __name__ == "__main__":
    sys.exit(main())
