"""The graph of the shipped code is the graph of the specification: node for node, edge for edge.

    python -m specs.compare                 within the bounds of the model Graph: on each commit
    python -m specs.compare --all           within those of every model in MODELS, one after the other
    python -m specs.compare NAME...         within those of these models of the manifest
    python -m specs.compare --concretely    no world of the code stands for another: see below

TLC dumps every state of `Scheduler.tla` that can be reached within the bounds of a `.cfg`, and every step between them. The
explorer of `fsmserver.testing` goes through everything that the shipped scheduler, listener, links and machines (and the
shipped server, where the bounds let it stop) can do on the simulated kernel within the same bounds. ABSTRACTION.md says what a
state of the code is in the specification; `Code.look` is that page as a function. The two graphs must be equal. A
difference is printed as the shortest list of steps after which there is one, with what each side does there.

*What this rests on.* The simulated kernel (held to real sockets by the parity tests), the abstraction function, TLC. Of each state
of the specification one world of the code is explored, the one that was found first: what the abstraction leaves out must
not matter. `--concretely` does not rely on that: there every world that differs in anything is explored, each must do
exactly what the specification says, and no order of the poller's reports is left out.

*Liveness* is asked of the code's graph itself: whatever peers and the application go on doing, there is no cycle on which
time passes and a connection whose peer has gone stays open all the way round.
"""

from __future__ import annotations

import argparse
import logging
import re
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from fsmserver.core.limits import Limits
from fsmserver.core.states import Hold, ListenerState
from fsmserver.runtime.journal import Journal
from fsmserver.runtime.link import NOBODY
from fsmserver.runtime.listener import Listener
from fsmserver.runtime.pollers import make_poller
from fsmserver.runtime.ports import READABLE, WRITABLE
from fsmserver.runtime.scheduler import Scheduler
from fsmserver.runtime.server import Server
from fsmserver.runtime.timers import NEVER_TICK, TICK_S
from fsmserver.runtime.waker import SocketWaker
from fsmserver.testing.bounded import ENDS, MACHINE, BoundedEcho
from fsmserver.testing.explorer import Graph, Result, explore
from fsmserver.testing.kernel import DESCRIPTORS, HOME, MICROSECONDS, SimKernel
from specs import graph
from specs.graph import freeze
from specs.models import HERE, CannotCheck, Model, join, load

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from fsmserver.runtime.link import Link
    from fsmserver.runtime.transport import Transport
    from fsmserver.testing.operations import Operation
    from fsmserver.testing.stream import Stream

MODELS: Final = ("Graph", "One", "Full", "Late", "HalfOpen")
"""Two connections; one, to which everything can happen, with a stop; room for one of two, with a stop; replies that wait for the
writable set, and newcomers that are refused; connections that are kept half open."""

ALONE: Final = "MCSafe.cfg"
"""Put behind a model's own configurations: what can happen within its bounds, with nothing else asked of TLC."""

QUIET: Final = logging.getLogger("specs.compare")
QUIET.disabled = True

# The bounds, as the configuration says them.

DEFINITION: Final = re.compile(r"^(\w+) == (.+)$", re.MULTILINE)
EACH: Final = re.compile(r"\[p \\in Peers \|-> (?:IF p = 1 THEN (.+) ELSE (.+)|(.+))\]")


class Bounds:
    """The constants of a model, as values of Python: sets, numbers, functions of peers as dicts."""

    def __init__(self, constants: Mapping[str, str], definitions: Mapping[str, str]) -> None:
        """Work out what each constant stands for."""
        self._definitions = definitions
        self._values: dict[str, Any] = {}
        for name, text in constants.items():  # Peers comes first: others are functions of it
            self._values[name] = self._value(text.split(maxsplit=1)[1])

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - numbers, sets, functions
        """Give the value of a constant."""
        return self._values[name]

    def _value(self, text: str) -> Any:  # noqa: ANN401 - as above
        text = text.strip()
        if text in self._definitions:
            return self._value(self._definitions[text])
        each = EACH.fullmatch(text)
        if each is not None:
            first, other, every = each.groups()
            return {p: self._value(every or (first if p == 1 else other)) for p in self._values["Peers"]}
        if " \\ " in text:
            most, least = text.split(" \\ ")
            return self._value(most) - self._value(least)
        if ".." in text:
            first, last = text.split("..")
            return range(int(first), int(last) + 1)
        return graph.parse(text)


def model_of(name: str) -> Model:
    """Find a model of Scheduler.tla in the manifest. TLC checks its safety while it dumps it; what happens in the end it is not asked here.

    Raises:
        CannotCheck: there is no such model.

    """
    model = next((model for model in load() if model.name == name), None)
    if model is None or model.module not in ("MCScheduler", "MCLiveness"):
        raise CannotCheck(f"{name} is no model of Scheduler.tla in the manifest")
    return replace(model, module="MCScheduler", configs=(*model.configs, ALONE), states=0) if model.is_live else model


def bounds_of(model: Model) -> Bounds:
    """Read the bounds of a model.

    Raises:
        CannotCheck: they are none that the abstraction knows.

    """
    section = join(HERE / config for config in model.configs).split("CONSTANTS\n")[1]
    lines = (line.split(maxsplit=1) for line in section.splitlines())
    bounds = Bounds(dict(sorted(((key, text) for key, text in lines), key=lambda pair: pair[0] != "Peers")), definitions())
    if bounds["MostChunks"] or bounds["PromptReaders"]:
        raise CannotCheck(f"{model.name} counts bytes, or bounds when time passes: the abstraction does neither")
    return bounds


def definitions() -> dict[str, str]:
    """Give the definitions of MCScheduler.tla."""
    return dict(DEFINITION.findall((HERE / "MCScheduler.tla").read_text(encoding="utf-8")))


# The code within these bounds.


class Conn(NamedTuple):
    """What the specification says of one connection."""

    place: str = "away"
    recvq: int = 0
    sendq: int = 0
    fin: bool = False
    rst: bool = False
    gone: bool = False
    shut: bool = False
    state: str = "closed"
    holds: int = 0
    outbox: int = 0
    sealed: bool = False
    age: int = 0
    lingered: int = 0
    fd: int = 0

    @property
    def alive(self) -> bool:
        """Whether the peer has something to say to it."""
        return (self.place == "waiting" or self.open) and not self.rst and not self.gone

    @property
    def open(self) -> bool:
        """Whether it is served and its machine is not closed."""
        return self.place == "served" and self.state != "closed"

    def frozen(self) -> Any:  # noqa: ANN401 - a value of the specification
        """Give it as `graph.freeze` has it."""
        count = {"sent": 0, "written": 0, "taken": 0, "read": 0}
        return graph.freeze(self._asdict() | {"count": count, "fault": ""})


AWAY: Final = Conn()


class System:
    """A world: the shipped parts on a simulated kernel, and who has connected."""

    def __init__(self, bounds: Bounds) -> None:
        """Make it, with nobody there."""
        chunk_bytes = bounds["ChunkUnits"]
        ticks = bounds["Ticks"]
        limits = Limits(
            **ticks, accept_backoff_s=bounds["BackoffTicks"], drain_quiet_s=bounds["QuietTicks"], drain_s=bounds["DrainTicks"],
            outbox_high_bytes=bounds["HighUnits"], outbox_low_bytes=bounds["LowUnits"], outbox_cap_bytes=bounds["CapUnits"],
            read_budget_bytes=chunk_bytes, linger_bytes=bounds["LingerChunks"] * chunk_bytes, connections=bounds["MostConnections"],
            accepts_per_round=bounds["AcceptsPerRound"], slow_callback_s=3600,
        )  # fmt: skip
        self.kernel = SimKernel(
            send_room_bytes=bounds["SendRoom"] - bounds["PeerRoom"], receive_room_bytes=bounds["ReceiveRoom"] * chunk_bytes
        )
        self.scheduler = Scheduler(
            poller=make_poller("epoll", self.kernel.system), clock=self.kernel.clock, waker=SocketWaker(self.kernel.socketpair),
            calls=self.kernel, limits=limits, eager_writes=bounds["Eager"],
        )  # fmt: skip
        self.scheduler.journal = Journal(limits, QUIET)
        half_open = bounds["HalfOpen"]
        self.listener = Listener(
            self.scheduler,
            self.kernel.listen(HOME),
            lambda: BoundedEcho(half_open=half_open),
            when_full="refuse" if bounds["Refuses"] else "wait",
        )
        self.scheduler.listen(self.listener)
        self.queue = self.listener.sock.queue  # type: ignore[attr-defined] # a SimSocket's
        self.server = self._make_server(limits) if "stop" in bounds["WorldDoes"] else None
        self.asked = False
        self.peers: dict[int, Stream] = {}
        self.first_fd = self.listener.fd + 1

    def _make_server(self, limits: Limits) -> Server:
        """Make a server that runs this loop instead of the one that it has made."""
        server = Server(object, limits=limits)  # its own factory is not used: the listener has one
        server.scheduler.close()
        server.scheduler = self.scheduler
        return server

    def round(self) -> None:
        """Do what `Server.run` does in a round."""
        self.scheduler.round(0.0)
        server = self.server
        if server is not None:
            self.asked = False
            if server._stopping and not self.scheduler.links:  # noqa: SLF001 - as `run` has it
                server._stopped = True  # noqa: SLF001

    def link(self, peer: Stream) -> Link | None:
        """Give the connection of a peer, if it was accepted."""
        return self.scheduler.links.get(peer.peer.fd)


class Part:
    """Values of one kind, numbered in the order of their discovery: states are made of few different parts."""

    def __init__(self) -> None:
        """Begin with none."""
        self._numbers: dict[Any, int] = {}

    def number(self, value: Any) -> int:  # noqa: ANN401 - as it says
        """Give the number of a value."""
        return self._numbers.setdefault(value, len(self._numbers))

    def values(self) -> list[Any]:
        """Give all of them, in order."""
        return list(self._numbers)


class Registry(NamedTuple):
    """What the specification says of the scheduler's and the kernel's tables, by descriptor."""

    open: tuple[int, ...]
    links: tuple[int, ...]
    watched: tuple[int, ...]
    armed: frozenset[int]


NOWHERE: Final = -1
MUTED: Final = 4
STRANGER: Final = -2
"""Stands where a descriptor is somebody's whom the specification does not know."""


class Code:
    """The shipped code, to be explored; its states are states of the specification."""

    waiting = frozenset(("Round", "TimePasses"))
    timeless = frozenset(("Round",))
    parting = frozenset(("Round", "TimePasses", "Fin", "Reset", "PeerCloses", "Read", "DescriptorsComeBack"))

    def __init__(self, bounds: Bounds, *, concretely: bool = False) -> None:
        """Search within `bounds`."""
        self.bounds = bounds
        self._concretely = concretely
        self._numbers = tuple(bounds["Peers"])
        self._conns, self._rest = Part(), Part()

    def make(self) -> System:
        """Make a world in which nothing has happened."""
        return System(self.bounds)

    def untouched(self, world: System) -> tuple[object, ...]:
        """Name what only grows and decides nothing."""
        scheduler = world.scheduler
        found: list[object] = [scheduler.counts, scheduler.journal, world.kernel.system]
        if world.server is None:  # else the waker rings
            waker_fd = scheduler._waker.fileno()  # noqa: SLF001
            found += [scheduler._waker, scheduler._sources[waker_fd], world.kernel.open[waker_fd]]  # noqa: SLF001
        return tuple(found)

    # What a state of the code is in the specification.

    def canonical(self, world: System) -> tuple[Any, ...]:
        """Give the numbers of the parts of a state; with `concretely` also everything that the abstraction leaves out."""
        peers = world.peers
        form: tuple[Any, ...] = tuple([self._conns.number(self.conn(world, peers.get(number))) for number in self._numbers])
        owners = {id(peer.peer): number for number, peer in peers.items()}
        rest = (self.registry(world, owners), self.listener(world, owners), self.server(world))
        form += (self._rest.number(rest),)
        return (*form, left_out(world)) if self._concretely else form

    def nodes(self, forms: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """Give each of these states as `graph.read` has those of TLC."""
        conns = [conn.frozen() for conn in self._conns.values()]
        rests = [tuple((name, freeze(part)) for name, part in self._named(rest)) for rest in self._rest.values()]
        peers = len(self._numbers)
        for form in forms:
            yield (("conn", tuple(conns[number] for number in form[:peers])), *rests[form[peers]])

    def _named(self, rest: tuple[Registry, Any, Any]) -> Iterator[tuple[str, Any]]:
        registry, listener, server = rest
        yield "listener", dict(zip(("state", "backlog", "backoff", "short"), listener, strict=True))
        yield "registry", registry._asdict()
        yield "server", dict(zip(("state", "left"), server, strict=True))

    def conns(self, form: tuple[Any, ...]) -> list[Conn]:
        """Give the connections of a state."""
        values = self._conns.values()
        return [values[number] for number in form[: len(self._numbers)]]

    def conn(self, world: System, peer: Stream | None) -> Conn:
        """Look at one connection."""
        if peer is None:
            return AWAY
        ours, link, chunk_bytes = peer.peer, world.link(peer), self.bounds["ChunkUnits"]
        rst = ours.reset_received
        gone = peer.orphan and not rst
        recvq = exactly(len(ours.unread), chunk_bytes)
        if link is None:
            return Conn("waiting", recvq, fin=ours.fin_received, rst=rst, gone=gone)
        sendq = 0 if rst or gone else len(ours.unsent) + len(peer.unread)
        fsm, fd = link.fsm, ours.fd - world.first_fd + 1
        if fsm.closed:
            return Conn("served", recvq, sendq, ours.fin_received, rst, gone, fsm._fin_sent, fd=fd)  # noqa: SLF001
        age, lingered = int(world.kernel.clock() - fsm.since_s), exactly(fsm.lingered_bytes, chunk_bytes)
        size_bytes, sealed = fsm.outbox.size_bytes, fsm.outbox.sealed
        return Conn(
            "served", recvq, sendq, ours.fin_received, rst, gone, fsm._fin_sent,  # noqa: SLF001
            str(fsm.state), fsm._holds, size_bytes, sealed, age, lingered, fd,  # noqa: SLF001
        )  # fmt: skip

    def registry(self, world: System, owners: Mapping[int, int]) -> Registry:
        """Look at the tables of the scheduler, of the poller and of the kernel; they must agree."""
        scheduler, sockets = world.scheduler, world.kernel.open
        poller: Any = scheduler.poller
        masks = poller._epoll._masks  # noqa: SLF001 - what the kernel has
        owned, served, masked, armed = [], [], [], []
        for fd in range(world.first_fd, world.first_fd + len(self._numbers)):
            link = scheduler.links.get(fd)
            for way in scheduler.ways[fd : fd + 1]:
                assert way is NOBODY or way[0] is link, f"ways and links do not agree on {fd}"
            owned.append(owners.get(id(sockets[fd].stream), STRANGER) if fd in sockets else 0)
            sock: Any = None if link is None else link.sock
            served.append(0 if sock is None else owners.get(id(sock.stream), STRANGER))
            masked.append(watched(scheduler, fd, link, masks.get(fd)))
            if link is not None and link.armed_tick != NEVER_TICK:
                armed.append(served[-1])
        return Registry(tuple(owned), tuple(served), tuple(masked), frozenset(armed))

    def listener(self, world: System, owners: Mapping[int, int]) -> tuple[str, tuple[int, ...], frozenset[int], bool]:
        """Look at the listener: its state, the backlog, when its back-offs end, and whether descriptors are short."""
        listener, timers = world.listener, world.scheduler._timers._heap  # noqa: SLF001
        backlog = tuple([owners[id(stream)] for stream in world.queue.backlog if id(stream) in owners])
        backoff: frozenset[int] = frozenset()
        if timers and not listener.closed:
            now_s, relieve = world.kernel.clock(), listener.relieve
            backoff = frozenset(int(when_s - now_s) for when_s, _, handle in timers if handle._callback == relieve)  # noqa: SLF001
        return str(listener.state), backlog, backoff, not world.kernel.descriptors

    def server(self, world: System) -> tuple[str, int]:
        """Look at the server: what it is doing, and the ticks that are left to its connections."""
        server = world.server
        if server is None:
            return "serving", 0
        if server._stopped:  # noqa: SLF001
            return "stopped", 0
        if not server._stopping:  # noqa: SLF001
            return ("asked" if world.asked else "serving"), 0
        timers = world.scheduler._timers._heap  # noqa: SLF001
        (end_s,) = (when_s for when_s, _, handle in timers if handle._callback == server._give_up_draining)  # noqa: SLF001
        return "draining", int(end_s - world.kernel.clock())

    def is_over(self, world: System) -> bool:
        """Tell whether nothing is left."""
        return not world.peers and (world.listener.state is ListenerState.LISTENING or self.server(world)[0] == "stopped")

    def is_serving(self, world: System) -> bool:
        """Tell whether a connection is open."""
        return bool(world.scheduler.links)

    # What can be done.

    def operations(self, world: System) -> list[Operation]:
        """List the steps whose conditions hold."""
        if self.server(world)[0] == "stopped":
            return []
        bounds, listening = self.bounds, not world.listener.closed
        turns = range(max(1, ready(world)) if self._concretely else 1)
        found: list[Operation] = [("Round", turn) for turn in turns]
        if "time" in bounds["WorldDoes"]:
            found += [("TimePasses", turn) for turn in turns]
        if "descriptors" in bounds["WorldDoes"] and not world.kernel.descriptors:
            found.append(("DescriptorsComeBack",))
        elif "descriptors" in bounds["WorldDoes"] and listening:
            found.append(("DescriptorsRunOut",))
        if self.server(world)[0] == "serving" and "stop" in bounds["WorldDoes"]:
            found.append(("Stop",))
        for number in self._numbers:
            conn = self.conn(world, world.peers.get(number))
            if conn is AWAY and listening and "connect" in bounds["PeerDoes"][number]:
                found.append(("Connect", number))
            elif conn is not AWAY:
                found += [(name, number) for name in self._possible(number, conn)]
        return found

    def _possible(self, number: int, conn: Conn) -> Iterator[str]:
        for word in sorted(self.bounds["PeerDoes"][number]):
            if conn.alive and word in PEER_DOES and PEER_DOES[word][1](conn, self.bounds):
                yield PEER_DOES[word][0]
        for word in sorted(self.bounds["ApplicationDoes"][number]):
            if conn.open and APPLICATION_DOES[word][1](conn):
                yield APPLICATION_DOES[word][0]

    def apply(self, world: System, operation: Operation) -> bool:
        """Do a step."""
        name, *arguments = operation
        links = list(world.scheduler.links.values())
        getattr(self, f"_{name}")(world, *arguments)
        for number, peer in list(world.peers.items()):
            if peer.peer.orphan:  # the server has closed it: what the peer still holds of it is forgotten
                peer.close()
                del world.peers[number]
                world.kernel.connections.remove(peer.peer)
        for link in links:
            reason = link.fsm.close_reason
            if reason is not None and reason.error is not None:
                reason.error.__traceback__ = None  # its frames hold views of buffers
        return False

    def _Round(self, world: System, turn: int) -> None:  # noqa: N802 - as the specification has it
        world.scheduler.poller._epoll._turn = turn  # type: ignore[attr-defined] # noqa: SLF001 - the order of the reports
        world.round()

    def _TimePasses(self, world: System, turn: int) -> None:  # noqa: N802
        world.kernel.advance_to(world.kernel.now_us + MICROSECONDS)
        self._Round(world, turn)

    def _Connect(self, world: System, number: int) -> None:  # noqa: N802
        world.peers[number] = world.kernel.connect(HOME, receive_room_bytes=self.bounds["PeerRoom"])

    def _Send(self, world: System, number: int) -> None:  # noqa: N802
        sent_bytes = world.peers[number].send(bytes(self.bounds["ChunkUnits"]))
        assert sent_bytes == self.bounds["ChunkUnits"], "there was room"

    def _Read(self, world: System, number: int) -> None:  # noqa: N802
        world.peers[number].recv(self.bounds["ReadUnits"])

    def _Fin(self, world: System, number: int) -> None:  # noqa: N802
        world.peers[number].shutdown(socket.SHUT_WR)

    def _Reset(self, world: System, number: int) -> None:  # noqa: N802
        world.peers[number].reset()

    def _PeerCloses(self, world: System, number: int) -> None:  # noqa: N802
        world.peers[number].close()

    def _transport(self, world: System, number: int) -> Transport:
        link = world.link(world.peers[number])
        assert link is not None, "the application has those that are served"
        assert link.transport is not None, "only what is buried has none"
        return link.transport

    def _Pause(self, world: System, number: int) -> None:  # noqa: N802
        self._transport(world, number).pause_reading()

    def _Resume(self, world: System, number: int) -> None:  # noqa: N802
        self._transport(world, number).resume_reading()

    def _Close(self, world: System, number: int) -> None:  # noqa: N802
        self._transport(world, number).close()

    def _Abort(self, world: System, number: int) -> None:  # noqa: N802
        self._transport(world, number).abort()

    def _EndOutput(self, world: System, number: int) -> None:  # noqa: N802
        self._transport(world, number).write_eof()

    def _DescriptorsRunOut(self, world: System) -> None:  # noqa: N802
        world.kernel.descriptors = 0

    def _DescriptorsComeBack(self, world: System) -> None:  # noqa: N802
        world.kernel.descriptors = DESCRIPTORS

    def _Stop(self, world: System) -> None:  # noqa: N802
        assert world.server is not None, "within these bounds there is one"
        world.server.stop()
        world.asked = True


PEER_DOES: Final[Mapping[str, tuple[str, Callable[[Conn, Bounds], bool]]]] = {
    "send": ("Send", lambda conn, bounds: not conn.fin and conn.recvq < bounds["ReceiveRoom"]),
    "read": ("Read", lambda conn, _: conn.sendq > 0),
    "fin": ("Fin", lambda conn, _: not conn.fin),
    "reset": ("Reset", lambda *_: True),
    "close": ("PeerCloses", lambda *_: True),
}
"""What a peer does to a connection that is alive, by its word in the bounds: the action, and when it can."""

APPLICATION_DOES: Final[Mapping[str, tuple[str, Callable[[Conn], bool]]]] = {
    "pause": ("Pause", lambda conn: not conn.holds & (Hold.PAUSED | Hold.FINISHING | Hold.EOF)),
    "resume": ("Resume", lambda conn: conn.holds & (Hold.PAUSED | Hold.FINISHING) == Hold.PAUSED),
    "close": ("Close", lambda conn: not conn.holds & Hold.FINISHING),
    "abort": ("Abort", lambda _: True),
    "write_eof": ("EndOutput", lambda conn: not conn.sealed),
}
"""What the application does to a connection that is open."""


ACTIONS: Final = frozenset(
    ("Round", "TimePasses", "Connect", "DescriptorsRunOut", "DescriptorsComeBack", "Stop",
     *(action for does in (PEER_DOES, APPLICATION_DOES) for action, _ in does.values()))
)  # fmt: skip
"""Every action of the specification."""


def exactly(size_bytes: int, chunk_bytes: int) -> int:
    """Divide without a rest."""
    assert size_bytes % chunk_bytes == 0, f"{size_bytes} bytes are no whole chunks"
    return size_bytes // chunk_bytes


def watched(scheduler: Scheduler, fd: int, link: Link | None, mask: int | None) -> int:
    """Say what a descriptor is watched for; link, poller and kernel must agree."""
    registered = NOWHERE if link is None else link.registered
    poller = scheduler.poller
    noted = (fd in poller.inputs) + 2 * (fd in poller.outputs)
    assert noted == max(0, registered), f"{fd} is registered for {registered}, and the poller has noted {noted}"
    if registered == 0 and mask is None:
        return MUTED
    bits = NOWHERE if mask is None else bool(mask & READABLE) + 2 * bool(mask & WRITABLE)
    assert bits == registered, f"{fd} is registered for {registered}, and the kernel watches it for {bits}"
    return registered


def ready(world: System) -> int:
    """Count the connections that a poller would report."""
    masks = world.scheduler.poller._epoll._masks  # type: ignore[attr-defined] # noqa: SLF001
    return sum(1 for fd in world.scheduler.links if (world.kernel.readiness(fd) or 0) & masks.get(fd, 0))


def left_out(world: System) -> tuple[Any, ...]:
    """Give what the abstraction leaves out, but for what only grows."""
    now_s = world.kernel.clock()
    found: list[Any] = [[link.fd for link in world.scheduler.touched]]
    for number, peer in sorted(world.peers.items()):
        ours, link = peer.peer, world.link(peer)
        found.append((number, *ENDS(ours), len(ours.unread), len(ours.unsent), *ENDS(peer), len(peer.unread), len(peer.unsent)))
        if link is not None:
            outbox = link.fsm.outbox
            armed = link.armed_tick and link.armed_tick * TICK_S - now_s
            found.append((armed, link.touched, *MACHINE(link.fsm), len(outbox.front or b""), *map(len, outbox.rest)))
    timers = sorted((when_s - now_s, repr(handle._callback)) for when_s, _, handle in world.scheduler._timers._heap)  # noqa: SLF001
    return tuple(map(tuple, (*found, *timers)))


# The comparison.


class Difference(NamedTuple):
    """Where the two graphs part: how to get there, what is the case there, and what only one of them does."""

    path: tuple[Operation, ...]
    node: Any
    only_code: list[tuple[str, Any]]
    only_specification: list[tuple[str, Any]]


def compare(code: Graph, nodes: Sequence[Any], specified: graph.Graph) -> Difference | None:
    """Compare two graphs; `nodes` are the states of the code's. Give the nearest difference, or None.

    States are looked at in the order in which a breadth-first search finds them. As long as nothing has differed, each
    is a state of both.
    """
    numbers = {node: number for number, node in enumerate(specified.nodes)}
    following: list[set[tuple[str, int]]] = [set() for _ in specified.nodes]
    for source, action, target in specified.edges:
        following[source].add((action, target))
    if nodes[0] != specified.nodes[0]:
        return Difference((), nodes[0], [("Init", nodes[0])], [("Init", specified.nodes[0])])
    places = [numbers.get(node, -1 - state) for state, node in enumerate(nodes)]
    for state in range(code.explored()):
        done = {(operation[0], places[target]) for operation, target in code.edges(state)}
        wanted = following[places[state]]
        if done != wanted:
            return Difference(
                code.path(state),
                nodes[state],
                sorted((action, nodes[-1 - place] if place < 0 else specified.nodes[place]) for action, place in done - wanted),
                sorted((action, specified.nodes[place]) for action, place in wanted - done),
            )
    assert len(set(places)) == len(specified.nodes), "what TLC lists can be reached"
    return None


def kept_open(result: Result, code: Code, peers: Iterable[int]) -> list[int]:
    """Give states on cycles on which time passes and a connection whose peer has gone is open all the way."""
    found = []
    for peer in peers:
        dead = bytearray(len(result.forms))
        for state, form in enumerate(result.forms):
            conn = code.conns(form)[peer - 1]  # type: ignore[arg-type] # a form of `canonical`
            dead[state] = conn.open and (conn.rst or conn.gone)
        found += result.graph.cycles(dead, through="TimePasses")
    return found


# The command.


def words(operation: Operation) -> str:
    """Say a step: `Send(1)`; a round has no number."""
    name, *arguments = operation
    return name if name in Code.waiting or not arguments else f"{name}({arguments[0]})"


def changes(before: Any, after: Any, path: str = "") -> Iterator[str]:  # noqa: ANN401 - values of the specification
    """Say what differs between two values of the specification."""
    if before == after:
        return
    if isinstance(before, tuple) and isinstance(after, tuple) and len(before) == len(after):
        for place, (one, other) in enumerate(zip(before, after, strict=True)):
            if is_field(one) and is_field(other) and one[0] == other[0]:
                yield from changes(one[1], other[1], f"{path}.{one[0]}".lstrip("."))
            else:
                yield from changes(one, other, f"{path}[{place + 1}]")
    else:
        yield f"{path}: {before} -> {after}"


def is_field(value: Any) -> bool:  # noqa: ANN401 - as above
    """Tell whether a value is a field of a record."""
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str)


def tell(difference: Difference) -> Iterator[str]:
    """Say a difference."""
    yield f"the graphs part after {len(difference.path)} steps:"
    yield from (f"  {words(operation)}" for operation in difference.path)
    for who, steps in (("the code", difference.only_code), ("the specification", difference.only_specification)):
        for action, target in steps:
            yield f"  only {who}: {action} leads to {', '.join(changes(difference.node, target)) or 'where it is'}"


def never_taken(model: Model, specified: graph.Graph) -> list[str]:
    """Give the actions that a model neither takes nor says to be idle, if its actions are counted at all."""
    taken = {action for _, action, _ in specified.edges}
    return sorted(ACTIONS - taken - set(model.idle)) if model.coverage else []


def check(name: str, *, concretely: bool) -> bool:
    """Compare the graphs of one model, print what was found, and tell whether they are equal."""
    model = model_of(name)
    bounds = bounds_of(model)
    before_s = time.monotonic()
    specified = graph.dump(model)
    dumped_s = time.monotonic()
    print(f"{name}: the specification has {len(specified.nodes):,} states, {len(specified.edges):,} steps ({dumped_s - before_s:.0f} s)")
    if model.states and len(specified.nodes) != model.states:
        print(f"{name}: the manifest says {model.states:,} states")
        return False
    never = never_taken(model, specified)
    if never:
        print(f"{name}: never taken: {', '.join(never)}")
        return False
    code = Code(bounds, concretely=concretely)
    result = explore(code)
    if result.violation is not None and not result.complete:
        print(f"the code fails: {result.violation.sentence}", *map(words, result.violation.trace), sep="\n  ")
        return False
    print(f"{name}: the code has {result.states:,} states, {result.transitions:,} steps ({result.seconds:.0f} s)")
    difference = compare(result.graph, list(code.nodes(result.forms)), specified)  # type: ignore[arg-type] # forms of `canonical`
    if difference is not None:
        print("\n".join(tell(difference)))
        return False
    open_for_ever = kept_open(result, code, bounds["Peers"])
    if open_for_ever:
        print("a connection whose peer has gone is kept open for ever:", *map(words, result.graph.path(open_for_ever[0])), sep="\n  ")
        return False
    print(f"{name}: equal, state for state and step for step; no cycle keeps a dead connection open ({time.monotonic() - before_s:.0f} s)")
    return True


def main() -> int:
    """Compare; give the exit code: 0 equal, 1 not, 2 something that is needed is missing."""
    parser = argparse.ArgumentParser(prog="python -m specs.compare", description="Compare the code's graph with the specification's.")
    parser.add_argument("names", nargs="*", default=[MODELS[0]], metavar="NAME", help="models of the manifest")
    parser.add_argument("--all", action="store_true", help=f"compare {', '.join(MODELS)}")
    parser.add_argument("--concretely", action="store_true", help="explore every world that differs in anything")
    options = parser.parse_args()
    try:
        equal = [check(name, concretely=options.concretely) for name in (MODELS if options.all else options.names)]
    except CannotCheck as error:
        print(error, file=sys.stderr)
        return 2
    return 0 if all(equal) else 1


if __name__ == "__main__":
    sys.exit(main())
