"""A listening socket and its machine. It accepts last in a round, a bounded number, and never spins on an error."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from fsmserver.core.errors import IllegalTransition
from fsmserver.core.listening import LISTENER, LISTENER_INTEREST
from fsmserver.core.reasons import ErrnoClass, classify_accept
from fsmserver.core.states import Interest, ListenerEvent
from fsmserver.runtime.descriptor import Descriptor
from fsmserver.runtime.link import address_words, close_quietly
from fsmserver.runtime.ports import Address, ListeningSocket, RealSocket, Socket

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from fsmserver.runtime.scheduler import Scheduler

WhenFull: TypeAlias = Literal["wait", "refuse"]
"""What becomes of newcomers while the connection limit is reached: they wait in the backlog, or are closed at once."""

INHERITED: Final = sys.platform == "linux"
"""Whether what a connection accepts has the options that the listening socket has: a system call less for each."""

set_blocking: Final = os.set_blocking

EPISODE_S: Final = 10.0
"""Pressure that comes back sooner than this is still the same episode, and is not logged again."""


def quick_accept(sock: socket.socket) -> Callable[[], tuple[Socket, Address]]:
    """Make what `sock.accept` is at a quarter of its cost: it gives a `Descriptor`, which does not block.

    The standard library's asks the socket for its family and kind each time, and makes enumerations of them and a socket.
    """
    made_of: tuple[int, ...] = (int(sock.family), int(sock.type), sock.proto)  # one for all
    take: Callable[[], tuple[int, Address]] = sock._accept  # type: ignore[attr-defined] # noqa: SLF001 - what that accept itself calls

    def accept() -> tuple[Socket, Address]:
        fd, address = take()
        set_blocking(fd, False)
        return Descriptor(fd, made_of), address

    return accept


def _prepared(sock: socket.socket, scheduler: Scheduler) -> bool:
    try:
        scheduler.prepare(sock, sock.getsockname())
    except OSError:
        return False  # then each connection is asked by itself
    return True


class Listener:
    """One listening socket in the scheduler's care."""

    def __init__(
        self, scheduler: Scheduler, sock: ListeningSocket, protocol_factory: Callable[[], object], *, when_full: WhenFull = "wait"
    ) -> None:
        """Take charge of `sock`, which listens and does not block."""
        self.scheduler = scheduler
        self.sock = sock
        self.fd = sock.fileno()
        self.address: Address = sock.getsockname()
        self.protocol_factory = protocol_factory
        self.refuses = when_full == "refuse"
        self.state = LISTENER.initial
        self._calm_at_s = 0.0
        self._accept = quick_accept(sock) if type(sock) is RealSocket else sock.accept
        self._inherited = type(sock) is RealSocket and INHERITED and _prepared(sock, scheduler)

    @property
    def name(self) -> str:
        """How the log calls it: its address."""
        return address_words(self.address)

    def fire(self, event: ListenerEvent) -> None:
        """Move along the listener's table, and watch or unwatch the socket as the new state wants.

        Raises:
            IllegalTransition: `event` cannot happen in this state; nothing was changed.

        """
        if not self.can(event):
            raise IllegalTransition(self.state, event, LISTENER.legal(self.state))
        self.state = LISTENER.arrows[self.state][event]
        self.scheduler.follow_listener(self)

    def can(self, event: ListenerEvent) -> bool:
        """Tell whether `event` can happen now."""
        return event in LISTENER.arrows[self.state]

    @property
    def interest(self) -> Interest:
        """What the poller must watch now."""
        return LISTENER_INTEREST[self.refuses][self.state]

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        return self.state in LISTENER.final

    def readable(self) -> None:
        """Somebody waits in the backlog: accept after all connections of this round have been served."""
        self.scheduler.expect(self)

    def ready(self, readiness: int) -> None:  # noqa: ARG002 - accept says what is wrong
        """Treat every report alike."""
        self.readable()

    def accept(self) -> None:
        """Accept what waits in the backlog, at most `accepts_per_round`."""
        accept, scheduler, factory = self._accept, self.scheduler, self.protocol_factory
        ceiling = scheduler.poller.ceiling
        for _ in range(scheduler.limits.accepts_per_round):
            room = scheduler.most_connections - len(scheduler.links)  # `room`, without a call for each connection
            if room <= 0:
                self._fill()
            if not LISTENER_INTEREST[self.refuses][self.state]:
                return
            try:
                sock, peername = accept()
            except OSError as error:
                if not self._goes_on_after(error):
                    return
            else:
                if room > 0 and (ceiling is None or sock.fileno() < ceiling):
                    scheduler.admit(sock, peername, factory, self._inherited)
                else:
                    self._turn_away(sock)

    def _fill(self) -> None:
        if self.can(ListenerEvent.FILL):
            what = "refuses connections" if self.refuses else "lets connections wait in the backlog"
            self._tell(what, self._full())
            self.fire(ListenerEvent.FILL)

    def _full(self) -> str:
        return f"the limit of {self.scheduler.most_connections} connections is reached"

    def _turn_away(self, sock: Socket) -> None:
        scheduler = self.scheduler
        why = f"{scheduler.poller.name} cannot watch descriptors from {scheduler.poller.ceiling} on"
        self._tell("refuses connections", why if scheduler.room else self._full())
        scheduler.counts.refused += 1
        close_quietly(sock)

    def _goes_on_after(self, error: OSError) -> bool:
        kind = classify_accept(error.errno)
        if kind is ErrnoClass.AGAIN:
            return False
        self.scheduler.counts.accept_errors += 1
        if kind is ErrnoClass.PEER_GONE:
            return True
        if kind is ErrnoClass.EXHAUSTED:
            self._tell("pauses accepting", str(error))
            self.fire(ListenerEvent.EXHAUST)
            self.scheduler.call_later(self.scheduler.limits.accept_backoff_s, self.relieve)
        else:
            self.scheduler.journal.listener_failed(self, error)
            self.fire(ListenerEvent.CLOSE)
        return False

    def _tell(self, what: str, why: str) -> None:
        if self.scheduler.now_s >= self._calm_at_s:
            self.scheduler.journal.listener_pressed(self, what, why)
        self._calm_at_s = self.scheduler.now_s + EPISODE_S

    def relieve(self) -> None:
        """Listen again, if it was full or exhausted and there is room now."""
        if self.scheduler.room and self.can(ListenerEvent.RELIEVE):
            self.fire(ListenerEvent.RELIEVE)

    def drain(self) -> None:
        """Take in who waits in the backlog already, since closing resets them; then stop accepting for good."""
        self.accept()
        self.close()

    def close(self) -> None:
        """Stop accepting for good; the socket is closed at the end of the round."""
        for event in (ListenerEvent.DRAIN, ListenerEvent.CLOSE):
            if self.can(event):
                self.fire(event)

    def bury(self) -> None:
        """Close the socket."""
        close_quietly(self.sock)

    def __repr__(self) -> str:
        """Show the address and the state."""
        return f"<Listener {self.name} {self.state}>"
