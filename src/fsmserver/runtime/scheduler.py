"""The round: one wait, and the handling of all it returned.

1. compute the wait from the nearest deadline; 2. wait; 3. serve what is ready, for each connection exceptional, then
writable, then readable; 4. run what is due; 5. accept; 6. perform the closes that were asked for. A close is asked for
anywhere and done in 6 only, so no handler pulls a connection from under another, and no descriptor number is used
again inside a round.
"""

from __future__ import annotations

import errno
import math
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

from fsmserver.core.connection import BORN, TAKEN, ConnectionFSM
from fsmserver.core.limits import DEFAULT, Limits
from fsmserver.core.listening import LISTENER
from fsmserver.core.outbox import Outbox
from fsmserver.core.states import Interest
from fsmserver.core.table import INTEREST
from fsmserver.runtime.capacity import connection_limit
from fsmserver.runtime.descriptor import Descriptor
from fsmserver.runtime.handshake import Gate, Handshake
from fsmserver.runtime.journal import Journal
from fsmserver.runtime.link import CLOSED, NOBODY, NOWHERE, READ, Link, Way, close_quietly
from fsmserver.runtime.listener import Listener
from fsmserver.runtime.pollers import make_poller
from fsmserver.runtime.ports import MOST_EVENTS, READABLE, Address, Calls, Clock, Poller, RealSocket, Socket, Teller, Waker
from fsmserver.runtime.statistics import COUNTED, Counts, Statistics
from fsmserver.runtime.timers import NEVER_TICK, Agenda, Deadlines, Handle, Timers
from fsmserver.runtime.waker import SocketWaker

if TYPE_CHECKING:
    from fsmserver.runtime.trace import Watcher

Exceptional: TypeAlias = Literal["discard", "inline", "close"]
"""What is done about urgent data: it is consumed and counted, comes with the rest, or closes the connection."""

TIMED_EVENTS: Final = 8
"""In a round of up to so many events each one's time is taken."""

GROUP_EVENTS: Final = 16
"""In a fuller round the time of so many is taken together, since looking at the clock costs a twentieth of a message."""

TIMED_S: Final = 60.0
"""After a group of which one was slow, each event's time is taken for so long."""

BIRTH: Final = INTEREST[BORN][0]
assert BIRTH == READ, "what is not open yet is read for its handshake"

LONGEST_WAIT_S: Final = 3600.0
"""select and poll do not take any number of seconds; waking once an hour costs nothing."""


class Round(NamedTuple):
    """What one round saw, for `--show rounds`: the sets that were watched, and what was ready."""

    number: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    queues: Mapping[int, int]
    ready: tuple[tuple[int, int], ...]


class _Mailbox:
    """The waker as the scheduler sees it: when it is readable, other threads have left something."""

    fd: int

    def __init__(self, waker: Waker, deliver: Callable[[], None]) -> None:
        self.fd = waker.fileno()
        self._waker = waker
        self._deliver = deliver

    def readable(self) -> None:
        self._waker.quiet()
        self._deliver()

    def ready(self, readiness: int) -> None:  # noqa: ARG002 - whatever is reported, looking is right
        self.readable()


class Scheduler:
    """One thread's loop over listeners and connections.

    `inputs`, `outputs` and `queues` are there to be looked at: the descriptors watched for reading, those watched for
    writing, and each connection's outbox.
    """

    __slots__ = (
        "__weakref__", "_agenda", "_by_descriptor", "_closing", "_executor", "_fsm_class", "_handshake", "_last_number", "_mail",
        "_on_round", "_read", "_soon", "_sources", "_teller", "_timed_until_s", "_timers", "_wait", "_waker", "_watcher", "_write",
        "accepting", "clock", "closed", "counts", "current", "deadlines", "eager_writes", "eased", "exceptional", "journal", "limits",
        "links", "listeners", "most_connections", "now_s", "poller", "touched", "ways",
    )  # fmt: skip

    def __init__(
        self,
        *,
        poller: Poller | None = None,
        clock: Clock | None = None,
        waker: Waker | None = None,
        calls: Calls | None = None,
        limits: Limits = DEFAULT,
        eager_writes: bool = True,
        exceptional: Exceptional = "discard",
        watcher: Watcher | None = None,
        on_round: Callable[[Round], None] | None = None,
        fsm_class: type[ConnectionFSM] = ConnectionFSM,
        handshake: Callable[[], Handshake] | None = None,
    ) -> None:
        """Make a loop. It owns the poller and the waker, and closes them in `close()`.

        With `eager_writes=False` replies wait for the writable set, as in the select tutorials. `watcher` is told of
        every transition, `on_round` of every round. `calls` has `read` and `write` by descriptor, for sockets that the
        module `os` cannot serve so; without it they are served by their own methods. `handshake` makes what each
        connection goes through before it is open; without it connections are open at once.
        """
        self.poller: Poller = make_poller() if poller is None else poller
        self._wait = self.poller.wait
        self.clock: Clock = time.monotonic if clock is None else clock
        self.limits = limits
        self.eager_writes = eager_writes
        self.exceptional: Exceptional = exceptional
        self.journal = Journal(limits)
        self.counts = Counts()
        self.now_s = self.clock()
        self.most_connections = connection_limit(limits.connections, self.poller.ceiling)
        self.links: dict[int, Link] = {}  # by descriptor
        self.ways: list[Any] = []  # by descriptor: what the short way needs, a Way; NOBODY where it is not taken
        self.listeners: list[Listener] = []
        self.touched: list[Link] = []
        self.eased: list[Link] = []
        self.accepting: list[Listener] = []
        self._agenda = Agenda()
        self.deadlines = Deadlines(self._agenda)
        self.current: object = None
        self._timed_until_s = -math.inf
        self.closed = False
        self._watcher = watcher
        teller: Any = watcher
        self._teller: Teller | None = teller if hasattr(teller, "exchanges") else None  # isinstance() loads inspect, from 3.12 on
        self._on_round = on_round
        self._fsm_class = fsm_class
        self._handshake = handshake
        self._timers = Timers(self._agenda)
        self._soon: deque[Handle] = deque()
        self._mail: deque[Handle] = deque()
        self._closing: deque[Link | Listener] = deque()
        self._last_number = 0
        self._executor: ThreadPoolExecutor | None = None
        self._by_descriptor = calls is not None
        self._read, self._write = (os.read, os.write) if calls is None else (calls.read, calls.write)
        self._waker: Waker = SocketWaker() if waker is None else waker
        self._sources: dict[int, Any] = {}
        mailbox = _Mailbox(self._waker, self._collect_mail)
        self._watch(mailbox.fd, mailbox, Interest.READ)

    # Rounds.

    def round(self, longest_s: float = LONGEST_WAIT_S) -> None:
        """Wait for the nearest of readiness, deadline, call and `longest_s`, and handle all there is."""
        self.now_s = self.clock()
        self._rounds(min(longest_s, LONGEST_WAIT_S), None)

    def run(self, over: Callable[[], bool]) -> None:
        """Do rounds until `over()`: it is asked after each in which more happened than messages."""
        self.now_s = self.clock()
        if not over():
            self._rounds(LONGEST_WAIT_S, over)

    def _rounds(self, longest_s: float, over: Callable[[], bool] | None) -> None:  # noqa: PLR0912, PLR0915 - see below
        """Do one round, or with `over` one after another.

        All that is done for each message is here, in one piece, since Python's calls are what a message costs. The
        short way: bytes come to a connection that holds and owes nothing, the protocol answers with one write, and the
        kernel takes it whole. Its states are those that `core.connection` looked up in the table. Whatever else happens
        goes on by the methods, from where it is.
        """
        ways: list[Way] = self.ways
        clock, wait, read, write, find = self.clock, self._wait, self._read, self._write, self._find
        touched, agenda, teller, on_round, slow_s = self.touched, self._agenda, self._teller, self._on_round, self.limits.slow_callback_s
        readable, taken, most_events = READABLE, TAKEN, MOST_EVENTS  # a global costs three times what a local does
        now_s = self.now_s
        if touched:
            self._settle()  # who wrote between two rounds
        rounds = 0
        while True:
            rounds += 1
            wait_s = agenda.next_s - now_s
            if wait_s > longest_s:
                wait_s = longest_s
            elif wait_s < 0.0:
                wait_s = 0.0
            events = wait(wait_s, most_events)
            self.now_s = now_s = clock()
            if on_round is not None:
                self.counts.rounds += rounds
                rounds = 0
                self._show(events)
            for group in self._groups(events) if len(events) > 1 else [events]:
                for fd, readiness in group:
                    try:
                        link, fsm, outbox, deliver, receive_bytes = ways[fd]
                    except IndexError:  # no descriptor that we watched was ever so high
                        link, fsm, outbox, deliver, receive_bytes = NOBODY
                    turn_bytes = fsm.usual_bytes
                    if readiness != readable or turn_bytes <= 0:
                        self._serve(find(fd), readiness)
                        continue
                    self.current = link
                    try:
                        data = read(fd, receive_bytes)
                    except OSError as error:
                        link.not_received(error)
                        if touched:
                            self._settle()
                        continue
                    size_bytes = len(data)
                    if size_bytes >= receive_bytes:
                        link.expect_more()
                    elif size_bytes <= 0:
                        link.end_of_stream()
                        if touched:
                            self._settle()
                        continue
                    if teller is not None:
                        teller.pending = (link, now_s, fsm.since_s, size_bytes)
                    fsm.received_bytes += size_bytes
                    fsm.since_s = now_s
                    fsm.turn_bytes = turn_bytes
                    try:
                        deliver(data)
                    except (SystemExit, KeyboardInterrupt):
                        raise
                    except BaseException as error:  # noqa: BLE001 - whatever a protocol raises ends its connection, not the server
                        link.blame(error)
                    if touched:
                        link.touch()  # it did more than answer, or others have something to send too
                    else:
                        answer = outbox.front
                        if answer is not None:
                            try:
                                taken_bytes = write(fd, answer)  # type: ignore[arg-type] # bytes, as it was written to an empty outbox
                            except OSError as error:
                                link.short_write(error)
                            else:
                                if taken_bytes == outbox.size_bytes:
                                    outbox.front = None
                                    outbox.size_bytes = 0
                                    outbox.taken_bytes += taken_bytes
                                    fsm.state = taken
                                    if teller is not None:
                                        teller.pending = None
                                        teller.exchanges += (link.number, size_bytes, taken_bytes)
                                    continue
                                link.short_write(taken_bytes)
                    fsm.turn_bytes = 0
                    if teller is not None:
                        teller.tell()
                    if touched:
                        self._settle()
                if teller is not None:
                    teller.tell()
                self.now_s = after_s = clock()
                if after_s - now_s > slow_s:
                    self._name_slow_of(group, after_s - now_s)
                now_s = after_s
            self.current = None
            if agenda.next_s <= now_s:
                self.counts.rounds += rounds
                rounds = 0
                self._end_round()
                now_s = self.now_s
                if over is not None and over():
                    return
            if over is None:
                self.counts.rounds += rounds
                return

    def _end_round(self) -> None:
        """Do what comes after all connections have been served: what is due, then accepting, then closing."""
        now_s = self.now_s
        if self._soon or self.deadlines.next_s <= now_s or self._timers.next_s <= now_s:
            self._run_due()
        if self.accepting:
            self._accept()
        if self._closing:
            self._perform_closes()
        self.now_s = self.clock()
        self._agenda.next_s = -math.inf if self._soon or self._closing else min(self.deadlines.next_s, self._timers.next_s)

    def _groups(self, events: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
        """Divide what is ready into what has its time taken together."""
        if len(events) <= TIMED_EVENTS or self.now_s < self._timed_until_s:
            return [[event] for event in events]
        return [events[first : first + GROUP_EVENTS] for first in range(0, len(events), GROUP_EVENTS)]

    def _find(self, fd: int) -> Any:  # noqa: ANN401 - a link, a listener, the mailbox or nobody
        return self.links.get(fd) or self._sources.get(fd)

    def _serve(self, source: Any, readiness: int) -> None:  # noqa: ANN401 - a link, a listener, the mailbox or nobody
        """Serve what the short way is not for."""
        if source is None:
            self.counts.stale += 1
            return
        self.current = source
        source.ready(readiness)
        if self.touched or self.eased:
            self._settle()

    def _settle(self) -> None:
        for link in self.touched:
            link.settle()
        self.touched.clear()
        if self.eased:
            self._resume()

    def _resume(self) -> None:
        """Tell those whose outbox came down. What they write now waits for the writable set: so this ends."""
        for link in self.eased:
            if not link.fsm.closed:
                link.call_protocol("resume_writing")
        self.eased.clear()
        for link in self.touched:
            link.follow()
        self.touched.clear()

    def _run_due(self) -> None:
        most = self.limits.timers_per_round
        for link in self.deadlines.due(self.now_s, most):
            self.current = link
            link.expire_if_due()
            self._settle()
        # What these callbacks ask for comes in the next round.
        due = self._timers.due(self.now_s, most)
        due += [self._soon.popleft() for _ in range(len(self._soon))]
        for handle in due:
            self._run(handle)
        self.current = None

    def _run(self, handle: Handle) -> None:
        self.current = handle.owner
        before_s = self.now_s
        try:
            handle.run()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a callback raises must not end the loop
            if isinstance(handle.owner, Link):
                handle.owner.blame(error)
            else:
                self.journal.callback_failed(repr(handle), error)
        self._settle()
        self.now_s = self.clock()
        if self.now_s - before_s > self.limits.slow_callback_s:
            self._name_slow(self.now_s - before_s)

    def _name_slow_of(self, group: Sequence[tuple[int, int]], took_s: float) -> None:
        """Name the one of a group that was slow, or else all of it: then each is timed for a while, and named the next time."""
        if len(group) == 1:
            self._name_slow(took_s)
            return
        self._timed_until_s = self.now_s + TIMED_S
        self.counts.slow_callbacks += 1
        links = [source for fd, _ in group if (source := self.links.get(fd)) is not None]
        self.journal.slow("one of " + ", ".join(link.name for link in links), "each was served", took_s)

    def _name_slow(self, took_s: float) -> None:
        self.counts.slow_callbacks += 1
        who = self.current
        if isinstance(who, Link):
            self.journal.slow(who.name, who.fsm.state, took_s)
        else:
            self.journal.slow("a callback that belongs to no connection", "running", took_s)

    def _accept(self) -> None:
        for listener in self.accepting:
            listener.accept()
        self.accepting.clear()
        self._settle()

    def _perform_closes(self) -> None:
        while self._closing:
            self.current = source = self._closing.popleft()
            source.bury()
            if isinstance(source, Link):
                self._count_closed(source)
            if self.touched:
                self._settle()
        self.current = None
        for listener in self.listeners:
            if listener.state is not LISTENER.initial:
                listener.relieve()

    def _count_closed(self, link: Link) -> None:
        counts, fsm = self.counts, link.fsm
        outbox, received_bytes, reason = fsm.outbox, fsm.received_bytes, fsm.close_reason
        assert reason is not None, "only closed connections are counted as closed"
        event = reason.event
        counts.closed[event] = counts.closed.get(event, 0) + 1
        counts.taken_bytes += outbox.taken_bytes
        counts.discarded_bytes += outbox.discarded_bytes
        if received_bytes:
            counts.received_bytes += received_bytes
        else:
            counts.silent += 1
        if self.journal.verbose:
            self.journal.closed(link)

    # Connections and listeners.

    def expect(self, listener: Listener) -> None:
        """Have a listener accept at the end of this round."""
        self.accepting.append(listener)
        self._agenda.at_once()

    def listen(self, listener: Listener) -> None:
        """Watch a listener from now on."""
        self.listeners.append(listener)
        self._watch(listener.fd, listener, listener.interest)

    def _watch(self, fd: int, source: Any, interest: Interest) -> None:  # noqa: ANN401 - a listener or the mailbox
        self._make_place(fd)
        self._sources[fd] = source
        self.poller.add(fd, interest)

    def _make_place(self, fd: int) -> None:
        self.ways += [NOBODY] * (fd + 1 - len(self.ways))

    def follow_listener(self, listener: Listener) -> None:
        """Watch a listener as its state wants; when it is over, forget it and close it at the end of the round."""
        if listener.closed:
            self.poller.remove(listener.fd)
            del self._sources[listener.fd]
            self.listeners.remove(listener)
            self._closing.append(listener)
            self._agenda.at_once()
        else:
            self.poller.change(listener.fd, listener.interest)

    @property
    def room(self) -> int:
        """How many connections more may be open."""
        room = self.most_connections - len(self.links)
        return room if room > 0 else 0  # noqa: FURB136 - asked twice for each connection

    def admit(
        self,
        sock: Socket,
        peername: Address,
        protocol_factory: Callable[[], object],
        prepared: bool = False,  # noqa: FBT001, FBT002 - a keyword costs as much as a call
    ) -> Link | None:
        """Make a connection of a socket that is connected. If that fails, this socket is closed and nothing else.

        The socket is the scheduler's from now on, whatever happens. With `prepared` it does not block, and has its options.
        """
        ready = False
        protocol: object = None
        handshake = None
        try:
            if not prepared:
                sock.setblocking(False)
                self.prepare(sock, peername)
            ready = True
            if self._handshake is None:
                protocol = protocol_factory()
            else:
                handshake = self._handshake()
            link = self._take_in(sock, peername)
        except (SystemExit, KeyboardInterrupt):
            close_quietly(sock)
            raise
        except BaseException as error:  # noqa: BLE001 - a factory may raise anything; it costs this one connection
            close_quietly(sock)
            self.counts.accept_errors += 1
            if ready:  # before, it is only that the peer is gone already
                self.journal.not_admitted(str(peername), error, self.now_s)
            return None
        self.current = link
        if self.journal.verbose:
            self.journal.opened(link)
        if handshake is None:
            link.begin(protocol)
        else:
            link.set_protocol(Gate(link, handshake, protocol_factory))
        fsm = link.fsm
        if link.registered != NOWHERE and fsm.state is not CLOSED:
            self.deadlines.arm(link, fsm.due()[1])
        if self.touched:
            self._settle()
        return link

    def prepare(self, sock: Socket, address: Address) -> None:
        """Set what every connection has set; `address` is its own or its peer's."""
        if isinstance(address, tuple):  # TCP: neither a path nor an unnamed peer of a unix socket
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.exceptional == "inline":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)

    def _take_in(self, sock: Socket, peername: Address) -> Link:
        # The class by its own name: compiled, that is a third of a call.
        plain = self._fsm_class is ConnectionFSM
        fsm = ConnectionFSM(limits=self.limits, now_s=self.now_s) if plain else self._fsm_class(limits=self.limits, now_s=self.now_s)
        self._last_number += 1
        link = Link(self, sock, peername or None, fsm, self._last_number)
        fd, links = link.fd, self.links
        if not self._by_descriptor and type(sock) is not Descriptor and type(sock) is not RealSocket:
            link.share()
        if self._watcher is not None:
            self._have_watched(link, self._watcher)
        if fd in links:
            self._disown(links[fd])
        elif fd >= len(self.ways):
            self._make_place(fd)
        self.poller.add(fd, BIRTH)
        link.registered = READ
        links[fd] = link
        self.counts.accepted += 1
        return link

    def _have_watched(self, link: Link, watcher: Watcher) -> None:
        link.fsm.observe(lambda fsm, origin, event: watcher(link, fsm, origin, event), exchanges=self._teller is not None)

    def _disown(self, former: Link) -> None:
        """Give up a connection whose descriptor somebody closed behind our back: the number is another's by now."""
        former.detach()
        former.lose(OSError(errno.EBADF, "the descriptor was closed outside the server"))
        self._settle()

    def retire(self, link: Link) -> None:
        """Forget a closed connection at once; it is buried at the end of the round."""
        fd = link.fd
        self.poller.remove(fd)
        self.ways[fd] = NOBODY
        del self.links[fd]
        if link.armed_tick != NEVER_TICK:
            self.deadlines.disarm(link)
        self._closing.append(link)
        self._agenda.next_s = -math.inf

    # Calls.

    def call_soon(self, callback: Callable[..., object], *args: Any) -> Handle:  # noqa: ANN401 - the callback's own
        """Call `callback(*args)` in the next round; in the loop's thread only."""
        handle = Handle(self.now_s, callback, args, self._owner())
        self._soon.append(handle)
        self._agenda.at_once()
        return handle

    def call_later(self, delay_s: float, callback: Callable[..., object], *args: Any) -> Handle:  # noqa: ANN401
        """Call `callback(*args)` once, `delay_s` seconds from now; in the loop's thread only."""
        return self.call_at(self.clock() + delay_s, callback, *args)

    def call_at(self, when_s: float, callback: Callable[..., object], *args: Any) -> Handle:  # noqa: ANN401
        """Call `callback(*args)` once, at `when_s` of the loop's clock; a time that is past means the next round.

        Raises:
            ValueError: `when_s` is not a number.

        """
        if math.isnan(when_s):
            raise ValueError("a timer's time must be a number of seconds, not nan")
        handle = Handle(when_s, callback, args, self._owner())
        self._timers.add(handle)
        return handle

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> Handle:  # noqa: ANN401
        """Call `callback(*args)` in the loop's thread, soon; may be called from any thread, and from signal handlers."""
        handle = Handle(0.0, callback, args, None)
        self._mail.append(handle)
        self._waker.wake()
        return handle

    def run_in_executor(self, function: Callable[..., Any], *args: Any) -> Future[Any]:  # noqa: ANN401
        """Run `function(*args)` in a thread and give a Future whose callbacks run in the loop's thread.

        `future.add_done_callback(callback)` has `callback(future)` called when the result is there. A connection whose
        protocol asked for work is not closed by a stopping server before the result has come back.
        """
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self.limits.executor_threads, thread_name_prefix="fsmserver")
        owner = self._owner()
        outcome: Future[Any] = Future()
        job = self._executor.submit(function, *args)
        if isinstance(owner, Link):
            owner.jobs += 1
        job.add_done_callback(lambda job: self._post(Handle(0.0, self._hand_over, (job, outcome, owner), owner)))
        return outcome

    def _post(self, handle: Handle) -> None:
        self._mail.append(handle)
        self._waker.wake()

    def _hand_over(self, job: Future[Any], outcome: Future[Any], owner: object) -> None:
        if isinstance(owner, Link):
            owner.jobs -= 1
        if not outcome.set_running_or_notify_cancel():
            return  # nobody wants it any more
        error = job.exception()
        if error is None:
            outcome.set_result(job.result())
        else:
            outcome.set_exception(error)

    def _owner(self) -> object:
        return self.current if isinstance(self.current, Link) else None

    def _collect_mail(self) -> None:
        for _ in range(len(self._mail)):
            self._soon.append(self._mail.popleft())
        self._agenda.at_once()

    # Looking.

    @property
    def bell(self) -> int:
        """The descriptor that ends a wait when a byte is written to it: for `signal.set_wakeup_fd`."""
        return self._waker.bell()

    @property
    def inputs(self) -> set[int]:
        """The descriptors watched for reading: listeners and connections."""
        return self.poller.inputs - {self._waker.fileno()}

    @property
    def outputs(self) -> set[int]:
        """The descriptors watched for writing."""
        return set(self.poller.outputs)

    @property
    def queues(self) -> dict[int, Outbox]:
        """The outbox of each connection that is not closed, by descriptor."""
        return {fd: link.fsm.outbox for fd, link in self.links.items()}

    def statistics(self) -> Statistics:
        """Give all counters of this moment."""
        totals = {name: getattr(self.counts, name) for name in COUNTED}
        totals["closed"] = dict(self.counts.closed)
        for link in self.links.values():
            totals["received_bytes"] += link.fsm.received_bytes
            totals["taken_bytes"] += link.fsm.outbox.taken_bytes
        return Statistics(
            connections=len(self.links),
            most_connections=self.most_connections,
            listeners={listener.name: str(listener.state) for listener in self.listeners},
            timers=len(self._timers),
            **totals,
        )

    def _show(self, events: Iterable[tuple[int, int]]) -> None:
        assert self._on_round is not None, "asked for by round() only"
        queues = {fd: outbox.size_bytes for fd, outbox in sorted(self.queues.items())}
        self._on_round(Round(self.counts.rounds, tuple(sorted(self.inputs)), tuple(sorted(self.outputs)), queues, tuple(events)))

    # The end.

    def abort_all(self) -> None:
        """Close all listeners and abort all connections, and perform it."""
        for listener in list(self.listeners):
            listener.close()
        for link in list(self.links.values()):
            if not link.fsm.closed:
                link.fsm.abort()
            link.settle()
        self.touched.clear()
        self._perform_closes()

    def close(self) -> None:
        """Abort what is left and give back every descriptor. Threads still at work are left to end by themselves."""
        self.abort_all()
        self.closed = True
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
        self.poller.remove(self._waker.fileno())
        self._waker.close()
        self.poller.close()

    def __repr__(self) -> str:
        """Show how much there is."""
        return f"<Scheduler {self.poller.name}: {len(self.links)} connections, {len(self.listeners)} listeners>"
