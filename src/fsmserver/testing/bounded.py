"""A server within bounds: everything that peers, the application and the system can do to it, and the canonical form of its states.

`BoundedServer` is what `fsmserver.testing.explorer` searches by default: the shipped scheduler, listener, links and machines on the
simulated kernel, serving an echo to a few peers that come, talk, stall, half-close, leave and reset at any moment, again and
again, so that descriptors are used again.

**Time** moves in ticks of one second: a tick and the round that it wakes are one operation. Every limit is a whole number of ticks.

**A round** is one operation for each order in which the system may report what is ready: the pollers rotate their reports by a counter,
and here every place to begin at is tried, so that the counter need not belong to the state.

**Canonical form.** Two worlds with the same form can do the same things from then on, and the same things hold in them. In it are:

- of each connection, what both ends of its stream hold in the kernel: sizes, ends, errors, urgent data;
- the machine's state, holds, marks, the layout of its outbox, and what it has said of its end;
- what the link is registered for, in its own record, the poller's and the kernel's, and whether it is to be settled;
- the age of its deadline and when it is armed, in seconds from now; what its protocol was told; what its peer has done;
- the order in which connections wait in the backlog, are to be settled, and will be asked for their deadlines;
- the listener's state, when its back-off ends, whether the system is short of descriptors, and which fault is prepared.

Not in it, and why nothing else matters:

- *absolute times*: the code adds and compares them only, so a world that is later as a whole behaves the same;
- *counters that only grow* (numbers of connections, bytes received and taken, statistics, lines of log): nobody decides by
  them. That they add up is checked in every state instead: written is taken and held, and what is under way is exactly
  what was sent and has not arrived;
- *the bytes themselves*: neither the server nor the echo looks at them, and at every delivery they are checked;
- *the numbers of peers*: all are alike. Descriptors stay: they decide who is served first;
- *who asked for a close*: it is reported only;
- *the order of the dictionary of links*: only checks go through it;
- *how often* a back-off was asked for at one time: the second call of `relieve` does nothing.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from fsmserver.core.limits import Limits
from fsmserver.core.states import ListenerState, State
from fsmserver.runtime.pollers import EpollPoller
from fsmserver.runtime.timers import NEVER_TICK, TICK_S
from fsmserver.testing.builds import must_be_pure
from fsmserver.testing.faults import ArmedFault
from fsmserver.testing.invariants import InvariantViolated
from fsmserver.testing.kernel import DESCRIPTORS, MICROSECONDS
from fsmserver.testing.operations import NAMELESS, Operation
from fsmserver.testing.stream import ERR, HUP
from fsmserver.testing.system import SELECT_EXCEPT, SELECT_READ, SELECT_WRITE
from fsmserver.testing.witness import Witness
from fsmserver.testing.world import Config, Peer, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fsmserver.core.connection import ConnectionFSM
    from fsmserver.runtime.link import Link

TICK_US: Final = MICROSECONDS
PEER_DOES: Final = ("say", "hear", "end", "cut")
APPLICATION_DOES: Final = ("write", "pause", "resume", "close", "abort")
WORLD_DOES: Final = ("tick", "run_out")
EVERYTHING: Final = (*PEER_DOES, "urge", *APPLICATION_DOES, "write_eof", *WORLD_DOES)
"""What can be allowed in `Bounds.operations`. That peers connect and leave, rounds, and the end of a shortage always are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What is searched within. Chunks are of `chunk_bytes`; times are in ticks."""

    connections: int = 2
    """Peers at once; each comes again when its connection is over."""
    most_connections: int = 2
    """The server's own limit: with fewer than `connections` its listener is full sometimes."""
    chunk_bytes: int = 2
    """What a peer says, the server receives and the echo writes at once."""
    outbox_chunks: int = 2
    """The cap of an outbox; over one chunk less, reading is held until it is empty."""
    receive_chunks: int = 1
    """What the kernel keeps for the server, of each connection."""
    send_bytes: int = 1
    """What the kernel keeps of each connection on the server's side, and once more on the peer's."""
    linger_chunks: int = 1
    """What is read and thrown away after our FIN."""
    ticks: int = 1
    """How long each deadline is, but that of an idle connection."""
    idle_ticks: int = 1
    """How long that one is."""
    accepts: int = 2
    """At most so many are accepted in a round."""
    operations: tuple[str, ...] = (*PEER_DOES, "tick")
    """What can happen, of `EVERYTHING`."""
    faults: tuple[Operation, ...] = ()
    """Operations of a world that prepare one fault, without the number of a peer: one at a time is prepared."""
    poller: str = "epoll"
    watched: bool = False
    """Whether each event is checked too; then the machine takes no short cuts."""
    eager_writes: bool = True
    half_open: bool = False
    """Whether the echo keeps a connection open after the peer's FIN."""
    handshake: bool = False
    exceptional: str = "discard"
    when_full: str = "wait"

    @property
    def limits(self) -> Limits:
        """The server's limits."""
        chunk_bytes, ticks = self.chunk_bytes, self.ticks
        return Limits(
            handshake_s=ticks, idle_s=self.idle_ticks, half_closed_s=ticks, linger_s=ticks, stall_s=ticks, accept_backoff_s=1,
            slow_callback_s=3600, outbox_cap_bytes=self.outbox_chunks * chunk_bytes, outbox_low_bytes=0,
            outbox_high_bytes=max(0, self.outbox_chunks - 1) * chunk_bytes, read_budget_bytes=chunk_bytes,
            linger_bytes=self.linger_chunks * chunk_bytes, connections=self.most_connections, accepts_per_round=self.accepts,
        )  # fmt: skip

    @property
    def config(self) -> Config:
        """The configuration of the world."""
        return Config(
            poller=self.poller, watched=self.watched, eager_writes=self.eager_writes, handshake=self.handshake,
            exceptional=self.exceptional, when_full=self.when_full, connections=self.most_connections,
            send_room_bytes=self.send_bytes, receive_room_bytes=self.receive_chunks * self.chunk_bytes,
        )  # fmt: skip


ONE: Final = Bounds(connections=1, most_connections=1, operations=(*PEER_DOES, "tick"), watched=True)
TWO: Final = Bounds(operations=("say", "cut", "tick", "run_out"))
SMALL: Final[Mapping[str, Bounds]] = {
    "one connection": ONE,
    "urgent data": replace(ONE, operations=(*PEER_DOES, "urge")),
    "pauses": replace(ONE, operations=(*PEER_DOES, "pause", "resume", "tick")),
    "closes": replace(ONE, operations=(*PEER_DOES, "close", "write")),
    "aborts": replace(ONE, operations=(*PEER_DOES, "abort", "write", "tick"), poller="poll"),
    "half open": replace(ONE, operations=(*PEER_DOES, "write_eof", "tick"), half_open=True),
    "half open and paused": replace(ONE, operations=("end", "cut", "pause", "resume", "write_eof", "tick"), half_open=True),
    "late writes": replace(ONE, eager_writes=False, idle_ticks=2, poller="select"),
    "three chunks": replace(ONE, operations=("say", "hear", "write"), outbox_chunks=3),
    "handshake": replace(ONE, operations=("say", "hear", "tick"), handshake=True, chunk_bytes=3),
    "more than the budget": replace(ONE, operations=("say", "hear"), receive_chunks=2, watched=False),
    "room for one of two": replace(TWO, most_connections=1),
    "one of two refused": replace(TWO, most_connections=1, when_full="refuse"),
    "two, accepted one by one": replace(TWO, operations=("say",), accepts=1),
    "faults": replace(
        ONE,
        operations=("say", "tick"),
        faults=(
            ("fail_factory",), ("fail_set_up", errno.EINVAL), ("fail_accept", errno.ECONNABORTED), ("fail_accept", errno.EMFILE),
            ("raise", "data_received"), ("stop_in", "data_received", "close"), ("stop_in", "connection_made", "abort"),
        ),
    ),
    "interrupted": replace(ONE, operations=("say", "hear"), faults=(("false_recv", errno.EINTR), ("refuse_send", 1))),
}  # fmt: skip
"""Searches of a second each, that together look into every corner."""


class BoundedEcho:
    """Writes back what it is given, as long as it may."""

    __slots__ = ("_half_open", "_transport")

    def __init__(self, *, half_open: bool) -> None:
        """Choose what happens at the peer's FIN."""
        self._half_open = half_open
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Write it back."""
        if not self._transport.fsm.outbox.sealed:
            self._transport.write(data)

    def eof_received(self) -> bool:
        """Keep the connection half open, or not."""
        return self._half_open


class BoundedServer:
    """What the explorer asks: how to make a world, what can be done in it, how to do it, and what matters of its state."""

    waiting = frozenset(("round", "tick"))
    """What happens when nobody does anything."""
    timeless = frozenset(("round",))
    parting = frozenset(("round", "tick", "end", "leave", "cut", "come_back"))
    """What happens when everybody leaves."""

    def __init__(self, bounds: Bounds = Bounds(), *, make_world: Callable[..., World] = World) -> None:
        """Search within `bounds`. `make_world(factory, config, limits=, log=)` makes the world under test: `World`, or one with a fault."""
        unknown = set(bounds.operations) - set(EVERYTHING)
        if unknown:
            raise ValueError(f"there is no operation {', '.join(sorted(unknown))}; there are {', '.join(EVERYTHING)}")
        self.bounds = bounds
        self._make_world = make_world
        self._allowed = frozenset(bounds.operations)
        self._numbers = range(1, bounds.connections + 1)

    def make(self) -> World:
        """Make a world in which nothing has happened."""
        bounds = self.bounds
        world = self._make_world(lambda: BoundedEcho(half_open=bounds.half_open), bounds.config, limits=bounds.limits, log=False)
        world.transitions = _Forgetful()
        return world

    def untouched(self, world: World) -> tuple[object, ...]:
        """Name what only grows and decides nothing, and what never changes: it is not put back.

        Raises:
            TakesPureBuild: the package is compiled; nothing could be put back.

        """
        must_be_pure("the exhaustive search")
        scheduler = world.scheduler
        return (
            world.coverage, world.transitions, world._do, scheduler.counts, scheduler.journal, scheduler._waker,  # noqa: SLF001
            world.kernel.system, scheduler._sources[world.waker_fd], world.kernel.open[world.waker_fd],  # noqa: SLF001
        )  # fmt: skip

    # What can be done.

    def operations(self, world: World) -> list[Operation]:
        """List everything that can be done now and may change something."""
        allowed, peers = self._allowed, world.peers
        turns = range(max(1, self._ready(world)[1]))  # the listener only takes note, whenever it is reported
        found: list[Operation] = [("round", turn) for turn in turns]
        if "tick" in allowed:
            found += [("tick", turn) for turn in turns]
        if "run_out" in allowed:
            found.append(("come_back",) if not world.kernel.descriptors else ("run_out",))
        newcomer = next((number for number in self._numbers if number not in peers), None)
        if newcomer is not None:
            found.append(("connect", newcomer))
        for number in self._numbers:
            if number in peers:
                found += [(name, number) for name in self._peer_can(peers[number]) if name in allowed]
                if not peers[number].gone:
                    found.append(("leave", number))
        if self.bounds.faults and not _prepared(world):
            found += self._faults(world)
        return found

    def _faults(self, world: World) -> Iterable[Operation]:
        for name, *arguments in self.bounds.faults:
            if name in NAMELESS:
                yield (name, *arguments)
            else:
                served = [number for number, peer in world.peers.items() if peer.link is not None and not peer.failing]
                yield from ((name, number, *arguments) for number in served)

    def _ready(self, world: World) -> tuple[int, int]:
        """Count what is ready, and what of it is a connection."""
        readiness, listening = world.kernel.readiness, world.listener.fd
        ready = [fd for fd, mask in _registered(world).items() if (readiness(fd) or 0) & mask]
        return len(ready), len(ready) - (listening in ready)

    def _peer_can(self, peer: Peer) -> Iterable[str]:
        stream, ours = peer.stream, peer.ours
        talks = not peer.gone and not peer.ended and not stream.over
        if talks and len(ours.unread) + self.bounds.chunk_bytes <= ours.receive_room_bytes:
            yield "say"
        if talks and ours.urgent < 0 and len(ours.unread) < ours.receive_room_bytes:
            yield "urge"
        if not peer.gone:
            if stream.unread:
                yield "hear"
            if talks:
                yield "end"
            if not stream.over:
                yield "cut"
        if peer.witness is not None and not peer.witness.lost:
            yield from self._application_can(peer.link.fsm)

    def _application_can(self, fsm: ConnectionFSM) -> Iterable[str]:
        if fsm.closed:
            yield "write"
            return
        yield "abort"
        yield "resume" if fsm.paused else "pause"
        if not fsm.closing:
            yield "close"
        if fsm.closing or not fsm.outbox.sealed:
            yield "write"
        if not fsm.outbox.sealed:
            yield "write_eof"

    def apply(self, world: World, operation: Operation) -> bool:
        """Do it, and check everything. Give True if the loop was woken though nothing came from outside: it has to get somewhere then.

        Raises:
            InvariantViolated: something does not hold.

        """
        name = operation[0]
        woken = False
        if name == "round":
            woken = self._round(world, operation[1])
        elif name == "tick":
            world.kernel.advance_to(world.kernel.now_us + TICK_US)
            self._round(world, operation[1])
        elif name == "run_out":
            world.kernel.descriptors = 0
        elif name == "come_back":
            world.kernel.descriptors = DESCRIPTORS
        else:
            world.apply(self._in_full(operation))
        self._let_go(world)
        for peer in world.live:
            check_bytes(peer)
        return woken

    def _in_full(self, operation: Operation) -> Operation:
        match operation[0]:
            case "connect":
                return (*operation, 0, self.bounds.send_bytes)
            case "say" | "hear" | "write":
                return (*operation, self.bounds.chunk_bytes)
        return operation

    def _round(self, world: World, turn: int) -> bool:
        ready, connections = self._ready(world)
        if ready > 1:  # the listener's descriptor is lower than any connection's; the next report adds one
            _rotation(world)._turn = turn + ready - connections - 1  # noqa: SLF001
        world.round(0.0)
        return ready > 0

    def _let_go(self, world: World) -> None:
        """Forget who is over, so that the world does not grow: a peer hears what was sent to it, and leaves."""
        for peer in list(world.live):
            if peer.checked or (peer.link is None and peer.ours.orphan):
                if peer.link is not None and peer.link.fsm.close_reason.error is not None:
                    peer.link.fsm.close_reason.error.__traceback__ = None  # its frames hold views of buffers
                world._part(peer)  # noqa: SLF001 - as at the end of every world
                world.live.remove(peer)
        for number, peer in list(world.peers.items()):
            if peer not in world.live:
                del world.peers[number], world.by_name[peer.name]
                world.kernel.connections.remove(peer.ours)
                if peer.link is not None:
                    world.overdue.pop(peer.link.number, None)

    # What matters of a state.

    def is_over(self, world: World) -> bool:
        """Tell whether nothing is left: no peer, no connection, and a listener that listens."""
        return not world.peers and not world.scheduler.links and world.listener.state is ListenerState.LISTENING

    def is_serving(self, world: World) -> bool:
        """Tell whether a connection is open."""
        return bool(world.scheduler.links)

    def canonical(self, world: World) -> bytes:
        """Give the canonical form; see the module."""
        scheduler, kernel, now_s = world.scheduler, world.kernel, world.scheduler.now_s
        registered = _registered(world)
        served = sorted((peer.ours.fd, peer) for peer in world.live if peer.link is not None)
        queue = world.listener.sock.queue  # type: ignore[attr-defined] # a SimSocket's
        places = {id(peer.ours): peer for peer in world.live if peer.link is None}
        newcomers = [places[id(stream)] for stream in (*queue.backlog, *queue.waiting) if id(stream) in places]
        assert len(served) + len(newcomers) == len(world.live), "whoever is neither served nor waiting was let go"
        backoffs = {when_s for when_s, _, handle in scheduler._timers._heap if not handle.cancelled}  # noqa: SLF001
        form = [LISTENER_STATES.index(world.listener.state), not kernel.descriptors, len(served), len(newcomers), len(backoffs)]
        form += [int(when_s - now_s) for when_s in sorted(backoffs)]
        for fd, peer in served:
            form.append(fd)
            form += _form_of_peer(peer)
            form += _form_of_link(world, peer.link, registered.get(fd, ABSENT), now_s)
        for peer in newcomers:
            form += _form_of_peer(peer)
        form += [link.fd for link in scheduler.touched]
        form.append(SEPARATOR)
        pages = scheduler.deadlines._pages  # noqa: SLF001
        form += [link.fd for tick in sorted(pages) for link in pages[tick].values()]
        if self.bounds.faults and (prepared := _prepared(world)):
            return bytes(form) + repr(prepared).encode()
        return bytes(form)


LISTENER_STATES: Final = tuple(ListenerState)
STATES: Final = {state: place for place, state in enumerate(State)}
ABSENT: Final = 128
"""Stands for the bits of a descriptor that the kernel does not watch."""
NEVER: Final = 255
"""Stands for the time of what is not armed."""
SEPARATOR: Final = 0
LATE_TICKS: Final = 16
"""Added to times from now, so that those that are past are numbers from 0 to 255 too."""

ENDS: Final = attrgetter(
    "fin_sent", "fin_received", "write_shut", "read_shut", "reset_received", "error", "over", "orphan", "held", "linger_reset",
    "urgent_valid",
)  # fmt: skip
DOINGS: Final = attrgetter("ended", "gone", "heard_end", "half_open", "failing", "exact")
TOLD: Final = attrgetter("made", "lost", "paused")
MACHINE: Final = attrgetter(
    "_holds", "_fin_sent", "_leaving", "lingered_bytes", "_high_bytes", "_low_bytes", "outbox.sealed", "outbox._growing",
    "outbox._front_bytes",
)  # fmt: skip


def _form_of_peer(peer: Peer) -> list[int]:
    form = [*DOINGS(peer)]
    for stream in (peer.ours, peer.stream):
        form += ENDS(stream)
        form += (len(stream.unread), len(stream.unsent), stream.urgent + 1, stream.unsent_urgent + 1)
    return form


def _form_of_link(world: World, link: Link, watched: int, now_s: float) -> list[int]:
    fsm, poller, fd = link.fsm, world.scheduler.poller, link.fd
    outbox = fsm.outbox
    form = [STATES[fsm.state], int(now_s - fsm.since_s), *MACHINE(fsm)]
    form += (fsm.received_bytes if fsm.state is State.ACCEPTED else 0, outbox.size_bytes, len(outbox.front or b""), len(outbox.rest))
    form += map(len, outbox.rest)
    form += divmod(link.receive_bytes, 256)
    form += (link.registered + 1, link.touched, link.jobs, watched, fd in poller.inputs, fd in poller.outputs)
    form.append(NEVER if link.armed_tick == NEVER_TICK else int(link.armed_tick * TICK_S - now_s) + LATE_TICKS)
    form.append(world.overdue.get(link.number, 0))
    protocol = link.protocol
    form += TOLD(protocol) if isinstance(protocol, Witness) else (NEVER,)
    return form


def _registered(world: World) -> dict[int, int]:
    """Give what the kernel watches, by descriptor; with select, what a call would ask for."""
    registered = world.registered()
    if registered is not None:
        return registered
    poller: Any = world.scheduler.poller
    watched = dict.fromkeys(poller._idle.watched, ERR | HUP)  # noqa: SLF001
    for fds, mask in ((poller.inputs, SELECT_READ | SELECT_EXCEPT), (poller.outputs, SELECT_WRITE)):
        for fd in fds:
            watched[fd] = watched.get(fd, 0) | mask
    return watched


def _prepared(world: World) -> list[object]:
    """List what was prepared to go wrong and has not yet."""
    prepared: list[object] = [
        (str(rule.fault), rule.left) for rule in (*world.kernel.rules, *world.kernel.rare) if isinstance(rule, ArmedFault)
    ]
    prepared += world.kernel.spurious.items()
    prepared += [("fail_factory",)] * world.factory_failures + [("fail_handshake",)] * world.handshake_failures
    return prepared + [(peer.ours.fd, peer.troubles) for peer in world.live if peer.troubles]


def _rotation(world: World) -> Any:
    """Give what counts the reports of more than one descriptor."""
    poller: Any = world.scheduler.poller
    return poller._epoll if isinstance(poller, EpollPoller) else poller._rotated  # noqa: SLF001


def check_bytes(peer: Peer) -> None:
    """Check that what is under way is what was sent and has not arrived, in both directions, and that the counts say so.

    Raises:
        InvariantViolated: a byte is missing, or there is one too many.

    """
    ours, stream, link = peer.ours, peer.stream, peer.link
    fsm = None if link is None else link.fsm
    if peer.exact and ours.urgent < 0:
        coming = peer.sent[0 if fsm is None else fsm.received_bytes :]
        under_way = ours.unread + stream.unsent
        if not coming.startswith(under_way) or (not stream.over and coming != under_way):
            raise InvariantViolated(4, f"{coming!r} is to come from peer {peer.number}, and {under_way!r} is under way")
    if fsm is None:
        return
    outbox = fsm.outbox
    if outbox.taken_bytes != ours.taken_bytes or outbox.written_bytes != len(fsm.written):
        raise InvariantViolated(4, f"{len(fsm.written)} B written, {ours.taken_bytes} B taken, counted as {fsm!r} of {link.name}")
    if not ours.over and not fsm.closed:
        going = fsm.written[peer.got_bytes :]
        held = b"" if outbox.front is None else outbox.front[outbox._front_bytes :] + b"".join(outbox.rest)  # noqa: SLF001
        under_way = stream.unread + ours.unsent + held
        if going != under_way:
            raise InvariantViolated(4, f"{going!r} is to go to peer {peer.number}, and {under_way!r} is under way or held")


class _Forgetful(list[Any]):
    """A list that keeps nothing."""

    def append(self, _: Any, /) -> None:
        pass
