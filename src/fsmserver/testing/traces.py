"""What the schedulers of a test did, held against the machine's table: the pytest option `--fsm-traces`.

While a `Recorder` is installed, each Scheduler that is made, of whatever poller, on real sockets or simulated, has a watcher
more. It follows every transition as `python -m fsmserver check` follows the lines of a file. A watched machine walks `fire`
for each event where another takes short cuts, so a suite is to be run without the option too.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import pytest

from fsmserver.core.behaviour import Behaviour, NotABehaviour
from fsmserver.core.line import Line
from fsmserver.runtime.scheduler import Scheduler
from fsmserver.runtime.trace import Watcher, describe
from fsmserver.testing.builds import must_be_pure

if TYPE_CHECKING:
    from fsmserver.core.connection import ConnectionFSM
    from fsmserver.core.states import Event, State
    from fsmserver.runtime.link import Link

SHOWN_LINES: Final = 12
"""With a fault, so many lines are shown: those that led to it."""


class Recorder:
    """Follows the transitions of every Scheduler that is made while it is installed.

    `schedulers` and `lines` count what was followed; `take_faults` gives what was wrong. While it is `idle` what is made is left alone.
    """

    def __init__(self) -> None:
        """Begin with nothing recorded, not installed."""
        self.schedulers = self.lines = 0
        self.idle = False
        self._faults: list[str] = []
        self._followed: WeakKeyDictionary[Scheduler, _Followed] = WeakKeyDictionary()
        self._lock = threading.Lock()  # schedulers may run in several threads
        self._former: tuple[Any, Any] | None = None

    def install(self) -> None:
        """Watch every Scheduler from now on that is made.

        Raises:
            TakesPureBuild: the package is compiled.

        """
        must_be_pure("the check of all traces")
        made, closed = Scheduler.__init__, Scheduler.close

        def make(scheduler: Scheduler, *, watcher: Watcher | None = None, **options: Any) -> None:
            if self.idle:
                made(scheduler, watcher=watcher, **options)
                return
            followed = _Followed(self._note)
            made(scheduler, watcher=followed if watcher is None else _both(followed, watcher), **options)
            with self._lock:
                self.schedulers += 1
                self._followed[scheduler] = followed

        def close(scheduler: Scheduler) -> None:
            closed(scheduler)
            if scheduler in self._followed:  # not so where it was made before
                self._followed[scheduler].end()

        self._former = made, closed
        setattr(Scheduler, "__init__", make)  # noqa: B010 - said so that type checkers need not be told twice
        setattr(Scheduler, "close", close)  # noqa: B010 - as above

    def remove(self) -> None:
        """Watch nothing more that is made."""
        assert self._former is not None, "what was not installed cannot be removed"
        made, closed = self._former
        setattr(Scheduler, "__init__", made)  # noqa: B010 - as above
        setattr(Scheduler, "close", closed)  # noqa: B010 - as above
        self._former = None

    def _note(self, fault: str | None) -> None:
        with self._lock:
            self.lines += 1
            if fault is not None:
                self._faults.append(fault)

    def take_faults(self) -> list[str]:
        """Give what was wrong since this was last asked: for each scheduler its first fault, with the lines that led to it."""
        with self._lock:
            faults, self._faults = self._faults, []
        return faults


class _Followed:
    """The watcher of one scheduler. It follows until the first fault: what comes after that cannot be judged."""

    def __init__(self, note: Callable[[str | None], None]) -> None:
        self._behaviour: Behaviour | None = Behaviour()
        self._last: deque[Line] = deque(maxlen=SHOWN_LINES)
        self._note = note

    def __call__(self, link: Link, fsm: ConnectionFSM, origin: State, event: Event) -> None:
        if self._behaviour is not None:
            line = describe(link, fsm, origin, event)
            self._last.append(line)
            self._follow(self._behaviour.take, line)

    def end(self) -> None:
        if self._behaviour is not None:
            self._follow(self._behaviour.end)

    def _follow(self, step: Callable[..., None], *lines: Line) -> None:
        try:
            step(*lines)
        except NotABehaviour as error:
            self._behaviour = None
            self._note("\n".join([str(error), *(json.dumps(line.said()) for line in self._last)]))
        else:
            self._note(None)


def _both(first: Watcher, second: Watcher) -> Watcher:
    def watch(link: Link, fsm: ConnectionFSM, origin: State, event: Event) -> None:
        first(link, fsm, origin, event)
        second(link, fsm, origin, event)

    return watch


class TraceCheck:
    """The hooks of pytest behind `--fsm-traces`."""

    def __init__(self) -> None:
        """Watch from the beginning: what fixtures and imports make is watched as well."""
        self.recorder = Recorder()
        self.recorder.install()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        """Fail a test whose fixtures left no behaviour; leave one alone that is marked."""
        self.recorder.idle = item.get_closest_marker("untraced") is not None
        return (yield from self._checked(item, "setup"))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Fail a test that left no behaviour."""
        return (yield from self._checked(item, "call"))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """Fail a test after which something was left open for ever."""
        return (yield from self._checked(item, "teardown"))

    def _checked(self, item: pytest.Item, phase: str) -> Generator[None, object, object]:
        try:
            result = yield
        except BaseException:
            for fault in self._faults_of(item):
                item.add_report_section(phase, "trace that is no behaviour of the machine", fault)
            raise
        faults = self._faults_of(item)
        if faults:
            pytest.fail("what the connections did is no behaviour of the machine:\n" + "\n".join(faults), pytrace=False)
        return result

    def _faults_of(self, item: pytest.Item) -> list[str]:
        faults = self.recorder.take_faults()
        return [] if item.get_closest_marker("untraced") else faults

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say how much was checked: a check that saw nothing proves nothing."""
        terminalreporter.write_line(f"traces checked: {self.recorder.lines} transitions of {self.recorder.schedulers} schedulers")

    def pytest_unconfigure(self) -> None:
        """Leave the Scheduler as it was."""
        self.recorder.remove()
