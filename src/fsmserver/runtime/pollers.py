"""select, poll, epoll and kqueue behind one small face.

All are level-triggered. A descriptor watched for reading is also watched for urgent data (the exceptional set); one
that is watched for nothing is still watched for its peer's death, where the system can: poll and epoll report it by
themselves, and select has an epoll set of just these beside its own sets, where there is epoll.

Each takes `system`, the module `select` or what stands in for it: the simulated kernel's.
"""

import errno
import select
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from fsmserver.core.states import Interest
from fsmserver.runtime.ports import ERROR, EXCEPTIONAL, HANGUP, INVALID, MOST_EVENTS, READABLE, WRITABLE, Poller

Ready = list[tuple[int, int]]

FD_SETSIZE: Final = 1024
"""The size of select's bit sets: in glibc, musl, macOS and the BSDs. A higher descriptor makes the whole call fail."""

# By interest, since a look-up costs a tenth of an `&` of flags.
READS: Final = tuple(bool(interest & Interest.READ) for interest in range(4))
WRITES: Final = tuple(bool(interest & Interest.WRITE) for interest in range(4))
POLL_MASKS: Final = tuple((READABLE | EXCEPTIONAL) * reads | WRITABLE * writes for reads, writes in zip(READS, WRITES, strict=True))


class _Watched:
    """The record of what is watched. Subclasses tell the system."""

    name: str
    ceiling: int | None = None

    def __init__(self) -> None:
        self.inputs: set[int] = set()
        self.outputs: set[int] = set()

    def add(self, fd: int, interest: int) -> None:
        self._tell(fd, interest, new=True)
        self._note(fd, interest)

    def change(self, fd: int, interest: int) -> None:
        self._tell(fd, interest, new=False)
        self._note(fd, interest)

    def _note(self, fd: int, interest: int) -> None:
        if READS[interest]:
            self.inputs.add(fd)
        else:
            self.inputs.discard(fd)
        if WRITES[interest]:
            self.outputs.add(fd)
        else:
            self.outputs.discard(fd)

    def remove(self, fd: int) -> None:
        self.inputs.discard(fd)
        self.outputs.discard(fd)
        self.mute(fd)

    def mute(self, fd: int) -> None:
        """Take the descriptor out of the system's own set, if it has one."""

    def _tell(self, fd: int, interest: int, *, new: bool) -> None:
        """Bring the system's own set up to date, if it has one."""

    def close(self) -> None:
        """Give back what the poller itself holds."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {len(self.inputs)} inputs, {len(self.outputs)} outputs>"


class _Rotation:
    """Begins each round's list at another place, so that the low descriptors are not always served first."""

    def __init__(self) -> None:
        self._turn = 0

    def __call__(self, ready: list[tuple[int, int]]) -> Ready:
        if len(ready) < 2:
            return ready
        self._turn += 1
        start = self._turn % len(ready)
        return ready[start:] + ready[:start]


class SelectPoller(_Watched):
    """select(2): three sets, rebuilt by the kernel in each call; descriptors below `FD_SETSIZE` only."""

    name = "select"
    ceiling: int | None = FD_SETSIZE

    def __init__(self, system: Any = select) -> None:  # noqa: ANN401 - the module `select`, or a stand-in
        """Watch nothing."""
        super().__init__()
        self._select = system.select
        self._rotated = _Rotation()
        self._idle = _DeathWatch(system) if hasattr(system, "epoll") else None

    def _tell(self, fd: int, interest: int, *, new: bool) -> None:  # noqa: ARG002 - the watch knows what is new
        if self._idle is not None:
            if interest:
                self._idle.drop(fd)
            else:
                self._idle.take(fd)

    def mute(self, fd: int) -> None:
        """Watch not even for the peer's death."""
        if self._idle is not None:
            self._idle.drop(fd)

    def wait(self, timeout_s: float, most_events: int = MOST_EVENTS, /) -> Ready:  # noqa: ARG002 - it costs more to give less
        """Wait at most `timeout_s`; all that is ready is given. What has gone bad is reported as `INVALID`, the others are served."""
        idle = self._idle
        inputs = [*self.inputs, idle.fd] if idle is not None and idle.watched else self.inputs
        try:
            readable, writable, exceptional = self._select(inputs, self.outputs, self.inputs, timeout_s)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            return self._culprits()
        ready: dict[int, int] = {}
        for fds, bit in ((readable, READABLE), (writable, WRITABLE), (exceptional, EXCEPTIONAL)):
            for fd in fds:
                ready[fd] = ready.get(fd, 0) | bit
        if idle is not None and ready.pop(idle.fd, 0):
            ready.update(idle.deaths())
        return self._rotated(sorted(ready.items()))

    def _culprits(self) -> Ready:
        return [(fd, INVALID) for fd in sorted(self.inputs | self.outputs) if self._is_bad(fd)]

    def _is_bad(self, fd: int) -> bool:
        try:
            self._select((fd,), (), (), 0)
        except OSError:
            return True
        return False

    def close(self) -> None:
        """Give the watch over the idle back."""
        if self._idle is not None:
            self._idle.close()


class _DeathWatch:
    """What select cannot say: that the peer of a descriptor watched for nothing has gone. An epoll set, itself selectable."""

    def __init__(self, system: Any) -> None:  # noqa: ANN401 - as above
        self._epoll = system.epoll()
        self.fd: int = self._epoll.fileno()
        self.watched: set[int] = set()

    def take(self, fd: int) -> None:
        if fd not in self.watched:
            self._epoll.register(fd, 0)
            self.watched.add(fd)

    def drop(self, fd: int) -> None:
        if fd in self.watched:
            self.watched.remove(fd)
            with suppress(OSError):  # it was closed elsewhere, and is out already
                self._epoll.unregister(fd)

    def deaths(self) -> Ready:
        return list(self._epoll.poll(0, max(1, len(self.watched))))

    def close(self) -> None:
        self._epoll.close()


class PollPoller(_Watched):
    """poll(2): no limit on descriptors; the list goes to the kernel in each call."""

    name = "poll"

    def __init__(self, system: Any = select) -> None:  # noqa: ANN401 - as above
        """Watch nothing."""
        super().__init__()
        self._poll = system.poll()
        self._rotated = _Rotation()

    def _tell(self, fd: int, interest: int, *, new: bool) -> None:  # noqa: ARG002 - poll takes both as one
        self._poll.register(fd, POLL_MASKS[interest])

    def mute(self, fd: int) -> None:
        """Take the descriptor out of the list; a muted one is out already."""
        try:
            self._poll.unregister(fd)
        except KeyError:
            return

    def wait(self, timeout_s: float, most_events: int = MOST_EVENTS, /) -> Ready:  # noqa: ARG002 - it costs more to give less
        """Wait at most `timeout_s`; all that is ready is given."""
        return self._rotated(sorted(self._poll.poll(timeout_s * 1000)))


class EpollPoller(_Watched):
    """epoll(7): the kernel keeps the set, and rotates what it reports by itself."""

    name = "epoll"

    def __init__(self, system: Any = select) -> None:  # noqa: ANN401 - as above
        """Open an epoll set (close-on-exec). It belongs to this process: a child that was forked must make its own."""
        super().__init__()
        self._epoll = system.epoll()
        self._register, self._unregister = self._epoll.register, self._epoll.unregister
        self.wait: Callable[..., Ready] = self._epoll.poll  # itself: a call of Python's costs more than what it would do

    def fileno(self) -> int:
        """Give the descriptor of the set itself."""
        fd: int = self._epoll.fileno()
        return fd

    def _tell(self, fd: int, interest: int, *, new: bool) -> None:
        assert not new, "what is new is added in one piece"
        try:
            self._epoll.modify(fd, POLL_MASKS[interest])
        except FileNotFoundError:  # it was muted
            self._register(fd, POLL_MASKS[interest])

    def add(self, fd: int, interest: int) -> None:
        """Begin to watch a new descriptor. This and `remove` are all in one piece: every connection comes by here."""
        self._register(fd, POLL_MASKS[interest])
        if READS[interest]:
            self.inputs.add(fd)
        if WRITES[interest]:
            self.outputs.add(fd)

    def mute(self, fd: int) -> None:
        """Take the descriptor out of the set; one that is muted or was closed elsewhere is out already."""
        try:
            self._unregister(fd)
        except OSError:
            return

    def remove(self, fd: int) -> None:
        """Forget a descriptor, before it is closed."""
        self.inputs.discard(fd)
        self.outputs.discard(fd)
        try:
            self._unregister(fd)
        except OSError:
            return  # as above

    def close(self) -> None:
        """Close the epoll set."""
        self._epoll.close()


class KqueuePoller(_Watched):
    """kqueue(2), for macOS and the BSDs: one filter for each direction. Urgent data is not reported."""

    name = "kqueue"

    def __init__(self, system: Any = select) -> None:  # noqa: ANN401 - as above
        """Open a kqueue."""
        super().__init__()
        self._system = system
        self._kqueue = system.kqueue()

    def _tell(self, fd: int, interest: int, *, new: bool) -> None:  # noqa: ARG002 - the sets know what is new
        for bit, known, event_filter in (
            (Interest.READ, self.inputs, self._system.KQ_FILTER_READ),
            (Interest.WRITE, self.outputs, self._system.KQ_FILTER_WRITE),
        ):
            wanted = bool(interest & bit)
            if wanted != (fd in known):
                action = self._system.KQ_EV_ADD if wanted else self._system.KQ_EV_DELETE
                self._control(self._system.kevent(fd, event_filter, action))

    def _control(self, change: Any) -> None:  # noqa: ANN401 - a select.kevent
        try:
            self._kqueue.control([change], 0)
        except OSError:  # a filter that went with its descriptor is gone already
            return

    def remove(self, fd: int) -> None:
        """Forget a descriptor, before it is closed."""
        self._tell(fd, Interest.NOTHING, new=False)
        super().remove(fd)

    def wait(self, timeout_s: float, most_events: int = MOST_EVENTS, /) -> Ready:
        """Wait at most `timeout_s`."""
        ready: dict[int, int] = {}
        for event in self._kqueue.control(None, most_events, timeout_s):
            bit = READABLE if event.filter == self._system.KQ_FILTER_READ else WRITABLE
            if event.flags & self._system.KQ_EV_EOF and event.fflags:
                bit |= ERROR
            ready[event.ident] = ready.get(event.ident, 0) | bit
        return list(ready.items())

    def close(self) -> None:
        """Close the kqueue."""
        self._kqueue.close()


POLLERS: Final[dict[str, Callable[..., Any]]] = {
    "select": SelectPoller,
    "poll": PollPoller,
    "epoll": EpollPoller,
    "kqueue": KqueuePoller,
}
BEST_FIRST: Final = ("epoll", "kqueue", "poll", "select")


def available(system: Any = select) -> tuple[str, ...]:  # noqa: ANN401 - as above
    """Name the pollers that this system has, the best first."""
    return tuple(name for name in BEST_FIRST if hasattr(system, name))


def make_poller(name: str = "auto", system: Any = select) -> Poller:  # noqa: ANN401 - as above
    """Make the poller called `name`, or with `auto` the best that the system has.

    Raises:
        ValueError: there is no such poller here; the sentence lists those there are.

    """
    names = available(system)
    if name == "auto":
        name = names[0]
    if name not in names:
        raise ValueError(f"there is no poller {name!r} on {sys.platform}; there are {', '.join(names)} (or auto)")
    made: Poller = POLLERS[name](system)
    return made


__all__ = ["HANGUP", "POLLERS", "EpollPoller", "KqueuePoller", "PollPoller", "SelectPoller", "available", "make_poller"]
