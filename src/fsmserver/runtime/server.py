"""A server: listeners, a scheduler, signals, and a stop that drains."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Self

from fsmserver.core.limits import DEFAULT, Limits
from fsmserver.core.reasons import Who
from fsmserver.runtime.binding import Endpoint, Tcp, Unix, bind
from fsmserver.runtime.link import address_words
from fsmserver.runtime.listener import Listener, WhenFull
from fsmserver.runtime.pollers import make_poller
from fsmserver.runtime.scheduler import Exceptional, Round, Scheduler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fsmserver.runtime.handshake import Handshake
    from fsmserver.runtime.link import Link
    from fsmserver.runtime.ports import Address
    from fsmserver.runtime.statistics import Statistics
    from fsmserver.runtime.trace import Watcher

DRAIN_LOOKS: int = 4
"""A draining server looks this often, in each `drain_quiet_s`, for connections that have gone quiet."""


class Server:
    """Serves a protocol on one or more endpoints, in the thread that calls `run`.

    `protocol_factory` is called once for each connection and gives any `asyncio.Protocol`-shaped object. After
    `start` (or on entering it as a context) the server listens and `address` tells where; `run` serves until `stop`
    and gives True if everything ended by itself. Used as a context manager, it gives every descriptor back at the end.
    """

    def __init__(
        self,
        protocol_factory: Callable[[], object],
        *endpoints: Endpoint,
        poller: str = "auto",
        limits: Limits = DEFAULT,
        eager_writes: bool = True,
        exceptional: Exceptional = "discard",
        when_full: WhenFull | None = None,
        watcher: Watcher | None = None,
        on_round: Callable[[Round], None] | None = None,
        handshake: Callable[[], Handshake] | None = None,
    ) -> None:
        """Prepare; nothing is opened but the poller.

        `when_full` is `wait` by default, but `refuse` under select: what select cannot watch it never will.

        Raises:
            ValueError: there is no such poller here.

        """
        self.endpoints: Sequence[Endpoint] = endpoints or (Tcp("127.0.0.1", 8008),)
        self.protocol_factory = protocol_factory
        self.limits = limits
        made = make_poller(poller)
        self.when_full: WhenFull = when_full or ("wait" if made.ceiling is None else "refuse")
        self.scheduler = Scheduler(
            poller=made,
            limits=limits,
            eager_writes=eager_writes,
            exceptional=exceptional,
            watcher=watcher,
            on_round=on_round,
            handshake=handshake,
        )
        self.addresses: list[Address] = []
        self._pid = os.getpid()
        self._stopping = False
        self._stopped = False
        self._drained = True
        self._own_paths: list[tuple[str, int]] = []

    # Starting and stopping.

    def start(self) -> Self:
        """Listen on every endpoint, or on none.

        Raises:
            BindError: an endpoint cannot be listened on; none of the others is then.

        """
        sockets: list[socket.socket] = []
        try:
            for endpoint in self.endpoints:
                sockets += bind(endpoint, self.limits.backlog)
        except OSError:
            for sock in sockets:
                sock.close()
            raise
        for sock in sockets:
            self.scheduler.listen(Listener(self.scheduler, sock, self.protocol_factory, when_full=self.when_full))
            self.addresses.append(sock.getsockname())
        for endpoint in self.endpoints:
            if isinstance(endpoint, Unix):
                self._own_paths.append((endpoint.path, os.stat(endpoint.path).st_ino))  # noqa: PTH116 - a number is wanted
        return self

    @property
    def address(self) -> Address:
        """Where it listens (the first address): for TCP a host and the real port.

        Raises:
            RuntimeError: it has not been started.

        """
        if not self.addresses:
            raise RuntimeError("the server has no address before start()")
        return self.addresses[0]

    def run(self, *, handle_signals: bool = False, when_ready: Callable[[], object] | None = None) -> bool:
        """Serve in this thread until stopped; give True if every connection ended by itself.

        With `handle_signals` (in the main thread only) SIGINT and SIGTERM stop the server and a second one aborts it;
        the former handlers are put back at the end. `when_ready` is called before the first round, when clients are
        queued already and signals are handled: whoever is told then may connect, and may send a signal.

        Raises:
            RuntimeError: this is a fork of the process that made the server; make a server in the child instead.

        """
        if os.getpid() != self._pid:
            raise RuntimeError("this server was made in another process; make one after the fork")
        if not self.addresses:
            self.start()
        with self._signals_heard() if handle_signals else nullcontext():
            if when_ready is not None:
                when_ready()
            self.scheduler.run(self._is_over)
        return self._drained

    def _is_over(self) -> bool:
        return self._stopped or (self._stopping and not self.scheduler.links)

    @contextmanager
    def _signals_heard(self) -> Iterator[None]:
        """Have signals stop the server, in the main thread. Each rings the waker as well.

        A handler runs between two steps of Python. What comes after the last of them and before a wait would be heard when
        that wait has ended; and a compiled loop makes no steps of Python at all.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        former = {number: signal.signal(number, lambda *_: self.stop()) for number in (signal.SIGINT, signal.SIGTERM)}
        former_bell = signal.set_wakeup_fd(self.scheduler.bell, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(former_bell)
            for number, handler in former.items():
                signal.signal(number, handler)

    def stop(self) -> None:
        """Stop gracefully; asked for a second time, abort what is left. May be called from any thread or signal handler."""
        self.scheduler.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        if self._stopping:
            self._abort()
            return
        self._stopping = True
        for listener in list(self.scheduler.listeners):
            listener.drain()
        self.scheduler.call_later(self.limits.drain_s, self._give_up_draining)
        self._close_the_quiet()

    def _close_the_quiet(self) -> None:
        """Close what has nothing under way: nothing came for a while, nothing is queued, no thread works for it."""
        for link in list(self.scheduler.links.values()):
            if self._is_quiet(link):
                link.fsm.close(self.scheduler.now_s, who=Who.SERVER)
                link.touch()
        self.scheduler.call_later(self.limits.drain_quiet_s / DRAIN_LOOKS, self._close_the_quiet)

    def _is_quiet(self, link: Link) -> bool:
        quiet_s = self.scheduler.now_s - link.fsm.since_s
        return not link.jobs and not link.fsm.outbox and not link.fsm.closing and quiet_s >= self.limits.drain_quiet_s

    def _give_up_draining(self) -> None:
        if self.scheduler.links:
            self.scheduler.journal.not_drained([link.name for link in self.scheduler.links.values()], self.limits.drain_s)
            self._abort()

    def _abort(self) -> None:
        self._drained = not self.scheduler.links
        self._stopped = True
        self.scheduler.abort_all()

    def close(self) -> None:
        """Abort what is left, give back every descriptor and remove the unix paths that are still ours. Again: nothing."""
        if os.getpid() == self._pid and not self.scheduler.closed:
            self.scheduler.close()
            for path, inode in self._own_paths:
                with suppress(OSError):
                    if os.stat(path).st_ino == inode:  # noqa: PTH116 - a number is wanted
                        os.unlink(path)  # noqa: PTH108 - as above

    def __enter__(self) -> Self:
        """Start listening; a failure gives everything back."""
        try:
            return self.start()
        except OSError:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        """Give everything back."""
        self.close()

    # Looking.

    def statistics(self) -> Statistics:
        """Give all counters of this moment; in the thread that runs it."""
        return self.scheduler.statistics()

    def __repr__(self) -> str:
        """Show where it listens and what it holds."""
        where = ", ".join(address_words(address) for address in self.addresses) or "not listening"
        return f"<Server {where}: {self.scheduler!r}>"


def serve(protocol_factory: Callable[[], object], host: str = "127.0.0.1", port: int = 8008, **options: Any) -> bool:  # noqa: ANN401
    """Serve `protocol_factory` on a TCP port until SIGINT or SIGTERM; give True if every connection ended by itself.

    `options` are those of `Server`. For the address before it blocks, or to stop it from elsewhere, make a `Server`.

    Raises:
        BindError: the port cannot be listened on.

    """
    with Server(protocol_factory, Tcp(host, port), **options) as server:
        return server.run(handle_signals=True)
