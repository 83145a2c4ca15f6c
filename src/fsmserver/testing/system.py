"""The module `select` of the simulated kernel: what select, poll and epoll report, in their own words.

The shipped pollers run on it unchanged: `make_poller("epoll", kernel.system)`. A wait in which nothing is ready lets virtual
time pass: to the next thing under way, or to the end of the wait, in whole milliseconds, rounded up, for all three (select(2) and poll(2)
allow a wait to be late by the clock's granularity, so the three can be compared).

The order of a report is by descriptor for poll, and that of its arguments for select. epoll keeps a list of the ready
whose head goes to its tail once it is reported; here it begins one place further on in each report of several.
"""

from __future__ import annotations

import errno
import select as real_select
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Final, Self

from fsmserver.testing.stream import ERR, HUP, IN, NVAL, OUT, PRI, RDHUP, os_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fsmserver.testing.kernel import SimKernel

FD_SETSIZE: Final = 1024
ALWAYS: Final = ERR | HUP
"""What poll and epoll report whether it is asked for or not."""

SELECT_READ: Final = IN | HUP | ERR
SELECT_WRITE: Final = OUT | ERR
SELECT_EXCEPT: Final = PRI
"""Linux's own definition of the three sets of select(2)."""

NEEDED_FLAGS: Final = IN | PRI | OUT | ERR | HUP | RDHUP
EPOLLEXCLUSIVE: Final = 1 << 28
MICROSECONDS_A_MILLISECOND: Final = 1000
NANOSECONDS: Final = 1_000_000_000
NANOSECONDS_A_MILLISECOND: Final = 1_000_000


class WaitsForEver(AssertionError):
    """The process waits without a limit, nothing is ready and nothing is under way: it would never wake."""


def descriptor(thing: Any) -> int:
    """Give the descriptor of a socket, or of a number, as the standard library does.

    Raises:
        ValueError: it is closed.

    """
    fd = thing if isinstance(thing, int) else thing.fileno()
    if fd < 0:
        raise ValueError(f"file descriptor cannot be a negative integer ({fd})")
    return int(fd)


def whole_milliseconds(timeout_s: float) -> int:
    """Round a wait up to whole milliseconds; what is less than a nanosecond is an error of the arithmetic, unless it is all there is."""
    nanoseconds = round(timeout_s * NANOSECONDS) or timeout_s > 0
    return -(-nanoseconds // NANOSECONDS_A_MILLISECOND)


class SimSystem:
    """Stands in for the module `select`."""

    error = OSError
    POLLIN, POLLPRI, POLLOUT, POLLERR, POLLHUP, POLLNVAL, POLLRDHUP = IN, PRI, OUT, ERR, HUP, NVAL, RDHUP
    EPOLLIN, EPOLLPRI, EPOLLOUT, EPOLLERR, EPOLLHUP, EPOLLRDHUP = IN, PRI, OUT, ERR, HUP, RDHUP
    EPOLLET, EPOLLONESHOT, EPOLL_CLOEXEC, EPOLLEXCLUSIVE = 1 << 31, 1 << 30, 0o2000000, EPOLLEXCLUSIVE
    PIPE_BUF = real_select.PIPE_BUF

    def __init__(self, kernel: SimKernel) -> None:
        """Speak for `kernel`."""
        self._kernel = kernel
        self.before_wait: Callable[[], object] | None = None
        """Called before each wait: who drives the peers of a program that knows nothing of the simulation."""
        self.when_idle: Callable[[], bool] | None = None
        """Called whenever a wait has found nothing ready, before time passes; true if it did something, so that looking again may help."""

    def select(
        self, inputs: Collection[Any], outputs: Collection[Any], exceptional: Collection[Any], timeout_s: float | None = None, /
    ) -> tuple[list[Any], list[Any], list[Any]]:
        """Wait for any of three sets of descriptors, or of objects that have one.

        Raises:
            OSError: EBADF for a descriptor that is not open.
            ValueError: a descriptor is closed, or too high for select; the time is negative.

        """
        kernel = self._kernel
        if timeout_s is not None and timeout_s < 0:
            raise ValueError("timeout must be non-negative")
        masks = dict.fromkeys(inputs, SELECT_READ)
        for fd in outputs:
            masks[fd] = masks.get(fd, 0) | SELECT_WRITE
        for fd in exceptional:
            masks[fd] = masks.get(fd, 0) | SELECT_EXCEPT
        if not masks.keys() <= kernel.open.keys() or (kernel.end_fd > FD_SETSIZE and masks and max(masks) >= FD_SETSIZE):
            return self._select_things((inputs, outputs, exceptional), timeout_s)
        bits = dict(self.wait(masks, timeout_s))
        if not bits:
            return [], [], []
        return (
            [fd for fd in inputs if fd in bits and bits[fd] & SELECT_READ],
            [fd for fd in outputs if fd in bits and bits[fd] & SELECT_WRITE],
            [fd for fd in exceptional if fd in bits and bits[fd] & SELECT_EXCEPT],
        )

    def _select_things(
        self, sets: tuple[Collection[Any], Collection[Any], Collection[Any]], timeout_s: float | None
    ) -> tuple[list[Any], list[Any], list[Any]]:
        """Wait for what are not all numbers, or not all open."""
        inputs, outputs, exceptional = fds = [[descriptor(thing) for thing in things] for things in sets]
        for fd in (*inputs, *outputs, *exceptional):
            if fd >= FD_SETSIZE:
                raise ValueError("filedescriptor out of range in select()")
            if fd not in self._kernel.open:
                raise os_error(errno.EBADF)
        found = self.select(inputs, outputs, exceptional, timeout_s)
        readable, writable, urgent = (
            [thing for thing, fd in zip(things, numbers, strict=True) if fd in ready]
            for things, numbers, ready in zip(sets, fds, found, strict=True)
        )
        return readable, writable, urgent

    def poll(self) -> SimPoll:
        """Make a polling object, as `select.poll()`."""
        return SimPoll(self._kernel)

    def epoll(self, sizehint: int = -1, flags: int = 0) -> SimEpoll:  # noqa: ARG002 - as in the standard library
        """Open an epoll set.

        Raises:
            OSError: EMFILE.

        """
        return SimEpoll(self._kernel)

    def wait(self, masks: dict[int, int], timeout_s: float | None) -> list[tuple[int, int]]:
        """Give the pairs of descriptor and bits that are ready, waiting at most `timeout_s` (None: without limit) for the first.

        `masks` has the bits asked for, by descriptor. The pairs are in the order of the descriptors.
        """
        kernel = self._kernel
        if self.before_wait is not None:
            self.before_wait()
        ready = self._ready(masks)
        if ready or timeout_s == 0:
            return ready
        end_us = None
        if timeout_s is not None and timeout_s >= 0:
            end_us = kernel.now_us + whole_milliseconds(timeout_s) * MICROSECONDS_A_MILLISECOND
        while not ready:
            if self.when_idle is not None and self.when_idle():
                ready = self._ready(masks)
                continue
            event_us = kernel.next_event_us()
            if event_us is None or (end_us is not None and event_us > end_us):
                if end_us is None:
                    raise WaitsForEver("nothing is ready, nothing is under way, and the wait has no limit")
                kernel.advance_to(end_us)
                return self._ready(masks)
            kernel.advance_to(event_us)
            ready = self._ready(masks)
        return ready

    def _ready(self, masks: dict[int, int]) -> list[tuple[int, int]]:
        kernel = self._kernel
        if kernel.spurious or kernel.withheld:
            return self._reported(masks)
        opened = kernel.open
        ready = []
        for fd, mask in masks.items():
            owner = opened.get(fd)
            if owner is None:
                ready.append((fd, NVAL))
                continue
            stream = owner.stream
            if stream is None:
                bits = owner.readiness() & mask
            elif stream.plain and not stream.unsent:  # the usual case
                bits = (IN | OUT if stream.unread else OUT) & mask
            else:
                bits = stream.readiness() & mask
            if bits:
                ready.append((fd, bits))
        ready.sort()
        return ready

    def _reported(self, masks: dict[int, int]) -> list[tuple[int, int]]:
        """Give what is ready while some of it is reported falsely, or not."""
        ready = []
        for fd in sorted(masks):
            bits = self._kernel.readiness(fd)
            bits = NVAL if bits is None else bits & masks[fd]
            if bits:
                ready.append((fd, bits))
        return ready


class SimPoll:
    """A polling object: a list of descriptors, given to the kernel at each wait."""

    def __init__(self, kernel: SimKernel) -> None:
        """Watch nothing."""
        self._kernel = kernel
        self._masks: dict[int, int] = {}

    def register(self, thing: Any, eventmask: int = IN | PRI | OUT) -> None:
        """Watch a descriptor, or change what it is watched for."""
        self._masks[descriptor(thing)] = eventmask | ALWAYS

    def modify(self, thing: Any, eventmask: int) -> None:
        """Change what a descriptor is watched for.

        Raises:
            OSError: ENOENT if it is not watched.

        """
        fd = descriptor(thing)
        if fd not in self._masks:
            raise os_error(errno.ENOENT)
        self._masks[fd] = eventmask | ALWAYS

    def unregister(self, thing: Any) -> None:
        """Watch a descriptor no more.

        Raises:
            KeyError: it is not watched.

        """
        del self._masks[descriptor(thing)]

    def poll(self, timeout_ms: float | None = None) -> list[tuple[int, int]]:
        """Wait at most `timeout_ms` milliseconds; None or a negative number: without limit."""
        forever = timeout_ms is None or timeout_ms < 0
        return self._kernel.system.wait(self._masks, None if forever else (timeout_ms or 0) / 1000)


class SimEpoll:
    """An epoll set: level-triggered, in the kernel; a descriptor that is closed leaves it."""

    stream: Final = None
    """It is a descriptor of the process, and no connection."""

    def __init__(self, kernel: SimKernel) -> None:
        """Open a set that is empty."""
        self._kernel = kernel
        self._masks: dict[int, int] = {}
        self._turn = 0
        self._fd = kernel.allocate(self)
        kernel.watchers.append(self)

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._fd < 0

    @property
    def watched(self) -> dict[int, int]:
        """What the kernel itself has in the set: the bits asked for, by descriptor."""
        return {fd: mask & ~ALWAYS for fd, mask in self._masks.items()}

    def fileno(self) -> int:
        """Give the descriptor of the set.

        Raises:
            ValueError: it is closed.

        """
        self._see_that_it_is_open()
        return self._fd

    def register(self, thing: Any, eventmask: int = IN | PRI | OUT) -> None:
        """Put a descriptor into the set.

        Raises:
            OSError: EEXIST if it is in it, EBADF if it is not open, EINVAL if it is the set itself.

        """
        fd = self._open(thing)
        if fd in self._masks:
            raise os_error(errno.EEXIST)
        self._masks[fd] = self._mask(eventmask)

    def modify(self, thing: Any, eventmask: int) -> None:
        """Change what a descriptor is watched for.

        Raises:
            OSError: ENOENT if it is not in the set, EBADF if it is not open.

        """
        fd = self._open(thing)
        if fd not in self._masks:
            raise os_error(errno.ENOENT)
        self._masks[fd] = self._mask(eventmask)

    def unregister(self, thing: Any) -> None:
        """Take a descriptor out of the set.

        Raises:
            OSError: ENOENT if it is not in the set, EBADF if it is not open.

        """
        fd = self._open(thing)
        if fd not in self._masks:
            raise os_error(errno.ENOENT)
        del self._masks[fd]

    def _see_that_it_is_open(self) -> None:
        if self._fd < 0:
            raise ValueError("I/O operation on closed epoll object")

    def _open(self, thing: Any) -> int:
        self._see_that_it_is_open()
        fd = descriptor(thing)
        if fd not in self._kernel.open:
            raise os_error(errno.EBADF)
        if fd == self._fd:
            raise os_error(errno.EINVAL)
        return fd

    def _mask(self, eventmask: int) -> int:
        if eventmask & ~(NEEDED_FLAGS | EPOLLEXCLUSIVE):
            raise NotImplementedError("the simulated epoll is level-triggered: neither EPOLLET nor EPOLLONESHOT is simulated")
        return eventmask & NEEDED_FLAGS | ALWAYS

    def forget(self, fd: int) -> None:
        """Learn that a descriptor was closed."""
        self._masks.pop(fd, None)

    def poll(self, timeout_s: float | None = None, maxevents: int = -1) -> Sequence[tuple[int, int]]:
        """Wait at most `timeout_s` seconds (None or negative: without limit), for at most `maxevents` reports (-1: as many as there are).

        Raises:
            ValueError: the set is closed, or `maxevents` is 0.

        """
        self._see_that_it_is_open()
        if maxevents < 1 and maxevents != -1:
            raise ValueError(f"maxevents must be greater than 0, got {maxevents}")
        ready = self._kernel.system.wait(self._masks, timeout_s)
        if len(ready) > 1:
            self._turn += 1
            start = self._turn % len(ready)
            ready = ready[start:] + ready[:start]
        return ready[:maxevents] if maxevents > 0 else ready

    def readiness(self) -> int:
        """Give the bits of the set itself: readable if anything in it is ready."""
        return IN if self._kernel.system._ready(self._masks) else 0  # noqa: SLF001 - the two are one

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd >= 0:
            self._kernel.watchers.remove(self)
            self._kernel.release(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        """Give the set."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()
