"""What a test may leave behind of connections: nothing.

`LeakCheck` looks before and after: at the descriptors of this process, at every scheduler that was made meanwhile (what it still
watches, its connections, deadlines and timers), and, with the garbage collector switched off, at every protocol whose
connection was closed: it must be freed by reference counting alone, unless the test itself still holds it.
"""

from __future__ import annotations

import gc
import os
import weakref
from contextlib import suppress
from typing import Any, Final, Self

from fsmserver.runtime.link import Link
from fsmserver.runtime.scheduler import Scheduler
from fsmserver.testing.builds import must_be_pure

DESCRIPTORS: Final = "/proc/self/fd"
"""Where Linux lists a process's descriptors; elsewhere they are not looked at."""


def open_descriptors() -> set[str]:
    """Give what this process has open: each descriptor with what it leads to."""
    found = set()
    with suppress(OSError):
        for name in os.listdir(DESCRIPTORS):  # noqa: PTH208 - a path object for each would be no clearer
            with suppress(OSError):  # that of the listing itself
                found.add(f"{name} {os.readlink(f'{DESCRIPTORS}/{name}')}")  # noqa: PTH115 - as above
    return found


class LeakCheck:
    """A context in which nothing may leak. Not for two threads at once: it watches the classes themselves."""

    def __init__(self) -> None:
        """Begin with nothing watched."""
        self.schedulers: list[weakref.ref[Scheduler]] = []
        self.protocols: list[tuple[str, weakref.ref[Any]]] = []
        self._before: set[str] = set()
        self._collects = False
        self._make: Any = None
        self._bury: Any = None

    def __enter__(self) -> Self:
        """Look at what is there, and watch what is made from now on.

        Raises:
            TakesPureBuild: the package is compiled.

        """
        must_be_pure("the leak check")
        self._collects = gc.isenabled()
        gc.collect()
        gc.disable()
        self._before = open_descriptors()
        self._make, self._bury = Scheduler.__init__, Link.bury
        make, bury, schedulers, protocols = self._make, self._bury, self.schedulers, self.protocols

        def watched_make(scheduler: Scheduler, *args: Any, **options: Any) -> None:
            make(scheduler, *args, **options)
            schedulers.append(weakref.ref(scheduler))

        def watched_bury(link: Link) -> None:
            for protocol in (link.protocol, getattr(link.protocol, "inner", None)):  # in a simulated world, a witness has the protocol
                with suppress(TypeError):  # some protocols cannot be referred to weakly
                    protocols.append((link.name, weakref.ref(protocol)))
            bury(link)

        Scheduler.__init__, Link.bury = watched_make, watched_bury  # type: ignore[method-assign, assignment]
        return self

    def __exit__(self, *_: object) -> None:
        """Put everything back, whatever happened."""
        Scheduler.__init__, Link.bury = self._make, self._bury  # type: ignore[method-assign]
        if self._collects:
            gc.enable()

    def leaks(self) -> list[str]:
        """Say in sentences what has leaked; call it inside the context, when the test is over."""
        found = [f"descriptor {descriptor} is still open" for descriptor in sorted(open_descriptors() - self._before)]
        for reference in self.schedulers:
            scheduler = reference()
            if scheduler is not None:
                found += _left_in(scheduler)
        return found + self._cycles()

    def _cycles(self) -> list[str]:
        alive = [(name, reference) for name, reference in self.protocols if reference() is not None]
        if not alive:
            return []
        gc.collect()
        return [
            f"the protocol of {name} is closed, and only the garbage collector could free it: it is part of a cycle"
            for name, reference in alive
            if reference() is None  # who is alive even now is held by the test itself
        ]


def _left_in(scheduler: Scheduler) -> list[str]:
    found = [f"{link!r} was never closed" for link in scheduler.links.values()]
    if scheduler.closed:
        return found
    found += [f"{listener!r} was never closed" for listener in scheduler.listeners]
    statistics = scheduler.statistics()
    if len(scheduler.deadlines) > len(scheduler.links):
        found.append(f"{scheduler!r} has {len(scheduler.deadlines)} deadlines for {len(scheduler.links)} connections")
    if statistics.timers:
        found.append(f"{scheduler!r} has {statistics.timers} timers that were never cancelled")
    return found
