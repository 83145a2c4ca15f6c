"""A server in a simulated world: the shipped scheduler, listener, links and transports on a simulated kernel, and its peers.

A world is told what happens by operations (`apply`), lets the server do its rounds, and checks everything that must hold
after each transition and after each round. `finish` ends it: the faults stop, the peers leave, time passes, and nothing at
all may be left. The same configuration and the same operations give the same world, to the last byte.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import socket
import struct
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from fsmserver.core.connection import ConnectionFSM
from fsmserver.core.errors import HandshakeFailed
from fsmserver.core.limits import Limits
from fsmserver.core.reasons import CloseReason
from fsmserver.core.states import Event, ListenerState, State
from fsmserver.runtime.journal import Journal
from fsmserver.runtime.listener import Listener
from fsmserver.runtime.pollers import EpollPoller, PollPoller, make_poller
from fsmserver.runtime.scheduler import Scheduler
from fsmserver.runtime.waker import SocketWaker
from fsmserver.testing.coverage import POSSIBLE_PAIRS, Coverage
from fsmserver.testing.faults import ArmedFault, Call, Delay, Fail, Fault, Short, Verdict
from fsmserver.testing.invariants import (
    BACKPRESSURE,
    ROUNDS_TO_NOTICE,
    USUAL,
    InvariantViolated,
    check_closed,
    check_event,
    check_farewell,
    check_round,
)
from fsmserver.testing.kernel import DESCRIPTORS, HOME, SimKernel
from fsmserver.testing.operations import BRINGS, CROWD, KINDS, NAMELESS, Operation
from fsmserver.testing.stream import IN, OUT, PRI
from fsmserver.testing.witness import BufferedWitness, HandlerError, Witness, recorded

if TYPE_CHECKING:
    from collections.abc import Callable

    from fsmserver.runtime.link import Link
    from fsmserver.testing.stream import Stream

SIM_LIMITS: Final = Limits(
    handshake_s=2, idle_s=8, half_closed_s=3, linger_s=2, stall_s=4, lifetime_s=60, outbox_high_bytes=200, outbox_low_bytes=50,
    outbox_cap_bytes=3000, read_budget_bytes=256, linger_bytes=400, connections=6, accepts_per_round=3, timers_per_round=4,
    drain_s=5, slow_callback_s=0.1,
)  # fmt: skip
"""Bounds that are met within a few operations."""

PREFACE_BYTES: Final = 8
"""The handshake of a simulated world: this many bytes, whatever they are."""

JAM_BYTES: Final = 30
JAM_MESSAGES: Final = 3

TALKERS: Final = 3
"""With fewer than this there is no bustle."""

SPIN_ROUNDS: Final = 40
"""So many rounds in a row without a byte moved, a connection accepted or closed, or time passed are a spin."""

FLOOD_BYTES: Final = 100
"""What a peer that never hears says at a time."""

PATIENCE_S: Final = 90
"""When the faults are over and the peers have left, everything is over after this: the longest limit and some more."""

PATTERN: Final = bytes((7 * place + 13 * (place >> 8) + (place >> 5)) & 0xFF for place in range(1 << 15))
"""What peers send, from a place of their own: bytes whose neighbours tell where they belong."""

PATTERN_BYTES: Final = len(PATTERN)

CODES: Final[dict[str, int]] = {word: code for code, word in enumerate((*State, *Event))}
"""States and events in a digest."""

CLOSED, EXHAUSTED = State.CLOSED, ListenerState.EXHAUSTED
NOBODY: Final[dict[int, Any]] = {}

NUMBER: Final = itemgetter(1)
"""The connection of a transition."""

QUIET: Final = logging.getLogger("fsmserver.simulated")
QUIET.disabled = True


@dataclass(frozen=True, slots=True)
class Config:
    """Everything about a world that is not an operation: plain values, so that it can be kept with a script."""

    poller: str = "epoll"
    watched: bool = True
    eager_writes: bool = True
    exceptional: str = "discard"
    when_full: str = "wait"
    handshake: bool = False
    send_room_bytes: int = 256
    receive_room_bytes: int = 256
    connections: int = 6

    def as_dict(self) -> dict[str, Any]:
        """Give the fields by name."""
        return asdict(self)


class Peer:
    """The other side of one connection: its end of the stream, and what both sides have said."""

    __slots__ = (
        "checked", "ended", "exact", "failing", "gone", "got_bytes", "half_open", "heard_end", "link", "name", "number", "ours", "quiet",
        "sealed", "sent", "stream", "tampered", "troubles", "witness",
    )  # fmt: skip

    def __init__(self, number: int, stream: Stream) -> None:
        """Begin connected, with nothing said."""
        self.number = number
        self.stream = stream
        self.ours = stream.peer
        self.name = stream.local
        self.link: Any = None
        self.witness: Witness | None = None
        self.sent = bytearray()
        self.got_bytes = 0
        self.exact = True
        self.ended = False
        self.gone = False
        self.heard_end = False
        self.half_open = False
        self.sealed = False
        self.tampered = False
        self.quiet = 0
        self.failing = 0
        self.checked = False
        self.troubles: dict[str, tuple[str, Any]] = {}

    @property
    def heard(self) -> bytes:
        """All that the peer has received."""
        return b"" if self.link is None else bytes(self.link.fsm.written[: self.got_bytes])

    @property
    def state(self) -> State:
        """The state of the connection; `accepted` while it waits in the backlog."""
        if self.link is not None:
            state: State = self.link.fsm.state
            return state
        return State.CLOSED if self.ours.orphan else State.ACCEPTED

    @property
    def over(self) -> bool:
        """Whether nothing more can happen to it."""
        return self.gone and self.state is State.CLOSED


class Stall(ArmedFault):
    """What is sent on a connection would block, until that is over."""

    __slots__ = ("stream",)

    def __init__(self, stream: Stream) -> None:
        """Begin at once."""
        super().__init__(Fault("send", Fail(errno.EAGAIN), stream.fd, times=sys.maxsize))
        self.stream = stream

    def __call__(self, call: Call, /) -> Verdict | None:
        """Refuse what is sent, unless the connection is over: then there is nothing to wait for."""
        return None if self.stream.over else super().__call__(call)

    def release(self) -> None:
        """Refuse nothing more."""
        rules = self.stream.kernel.rules
        if self in rules:
            rules.remove(self)


class Preface:
    """A handshake of so many bytes."""

    def __init__(self, world: World) -> None:
        """Begin with nothing heard."""
        self.world = world
        self.heard = b""

    def feed(self, data: bytes, /) -> bytes | None:
        """Take bytes; be done when there are enough, unless trouble was ordered."""
        if self.world.handshake_failures:
            self.world.handshake_failures -= 1
            self.world.coverage.sometimes["fail_handshake"] += 1
            raise HandshakeFailed("the preface is wrong")
        self.heard += data
        return self.heard[PREFACE_BYTES:] if len(self.heard) >= PREFACE_BYTES else None


class World:
    """See the module. `violate` and `coverage` are for protocols' own checks."""

    def __init__(
        self,
        factory: Callable[[], object],
        config: Config = Config(),
        *,
        limits: Limits = SIM_LIMITS,
        payload: Callable[[Peer, int], bytes] | None = None,
        fsm_class: type[ConnectionFSM] = ConnectionFSM,
        scheduler_class: type[Scheduler] = Scheduler,
        listener_class: type[Listener] = Listener,
        log: bool = True,
    ) -> None:
        """Make a world in which `factory`'s protocols are served.

        `payload(peer, size_bytes)` gives what a peer says next, for protocols that want more than any bytes.
        """
        self.config = config
        self.factory = factory
        self.payload = payload
        self.kernel = SimKernel(send_room_bytes=config.send_room_bytes, receive_room_bytes=config.receive_room_bytes)
        self.coverage = Coverage()
        self.violation: AssertionError | None = None
        self.transitions: list[tuple[float, int, State, Event]] = []
        self.peers: dict[int, Peer] = {}
        self.by_name: dict[Any, Peer] = {}
        self.live: list[Peer] = []
        self.strangers: set[int] = set()
        self.armed: list[tuple[str, Any]] = []
        self.overdue: Counter[int] = Counter()
        self.exhausted_until_us = 0
        self.messages = 0
        self.rounds = 0
        self.operations = 0
        self.inside = 0
        self.factory_failures = 0
        self.handshake_failures = 0
        self.preface_bytes = PREFACE_BYTES if config.handshake else 0
        if log:
            self.kernel.log = []
        waker = SocketWaker(self.kernel.socketpair)
        self.waker_fd = waker.fileno()
        exact_limits = limits if limits.connections == config.connections else _with_connections(limits, config.connections)
        self.scheduler = scheduler_class(
            poller=make_poller(config.poller, self.kernel.system),
            clock=self.kernel.clock,
            waker=waker,
            calls=self.kernel,
            limits=exact_limits,
            eager_writes=config.eager_writes,
            exceptional=config.exceptional,  # type: ignore[arg-type] # a plain word, as JSON has it
            watcher=self._watch if config.watched else None,
            fsm_class=recorded(fsm_class),  # type: ignore[arg-type] # a class is hashable
            handshake=self._make_handshake if config.handshake else None,
        )
        self.scheduler.journal = Journal(exact_limits, QUIET)
        # poll has no descriptor of its own; one is kept for it, so that numbers, and digests, are the same with every poller.
        self._reserved = self.kernel.system.epoll() if config.poller == "poll" else None
        self.base_descriptors = len(self.kernel.open)
        home = self.kernel.listen(HOME)
        self.queue = self.kernel.ports[HOME]
        self.listener = listener_class(
            self.scheduler,
            home,
            self._make_protocol,
            when_full=config.when_full,  # type: ignore[arg-type] # as above
        )
        self.scheduler.listen(self.listener)
        self.kernels_own = self.registered()
        self._do = actions_of(type(self))  # type: ignore[arg-type] # a class is hashable

    @property
    def checked(self) -> int:
        """How many transitions and rounds were checked."""
        return len(self.transitions) + self.rounds

    # What the scheduler tells.

    def _watch(self, link: Link, fsm: ConnectionFSM, origin: State, event: Event) -> None:
        self.transitions.append((self.scheduler.now_s, link.number, origin, event))
        if USUAL[origin].get(event) == (fsm.state, fsm.outbox.size_bytes > 0):
            return
        try:
            check_event(self, link, fsm, origin, event)
        except InvariantViolated as violation:
            self.violation = self.violation or violation

    def violate(self, number: int, finding: str) -> None:
        """Say that something does not hold; the run fails at the end of the round, whatever catches exceptions until then."""
        self.violation = self.violation or InvariantViolated(number, finding)

    def _make_handshake(self) -> Preface:
        return Preface(self)

    def _make_protocol(self) -> object:
        if self.factory_failures:
            self.factory_failures -= 1
            self.coverage.sometimes["fail_factory"] += 1
            raise HandlerError("the factory fails")
        inner = self.factory()
        return BufferedWitness(self, inner) if hasattr(inner, "get_buffer") else Witness(self, inner)

    def make_trouble(self, peer: Peer, callback: str, transport: Any) -> None:
        """Do what was ordered for this callback of this connection."""
        kind, detail = peer.troubles.pop(callback)
        self.coverage.sometimes[kind] += 1
        match kind:
            case "raise":
                raise HandlerError(f"{callback} fails")
            case "stop_in":
                getattr(transport, detail)()
            case "stop_other":
                others = [other for other in self.live if other is not peer and other.witness is not None]
                if others:
                    others[0].witness.transport.abort()  # type: ignore[union-attr] # as was just asked
            case "dawdle":
                self.kernel.advance(detail / 1000)

    # Rounds.

    def round(self, longest_s: float = 0.0) -> None:
        """Let the server do one round, and check everything.

        Raises:
            InvariantViolated: something does not hold.

        """
        kernel = self.kernel
        if self.exhausted_until_us and kernel.now_us >= self.exhausted_until_us:
            kernel.descriptors, self.exhausted_until_us = DESCRIPTORS, 0
        scheduler, counts, budget_bytes = self.scheduler, self.scheduler.counts, self.scheduler.limits.read_budget_bytes
        expecting = () if kernel.rules or kernel.withheld else self._expect_service()
        accepted = counts.accepted + counts.refused
        before = dict(scheduler.links) if self.queue.backlog else NOBODY  # if nobody waits, nobody is accepted
        scheduler.round(longest_s)
        self.rounds += 1
        if self.violation is not None:
            raise self.violation
        check_round(self)
        for link, before_bytes in expecting:
            received_bytes = link.fsm.received_bytes - before_bytes
            if not 0 < received_bytes <= budget_bytes:
                self._check_served(link, received_bytes)
        if counts.accepted + counts.refused != accepted:
            self._check_accepted(before, counts.accepted + counts.refused - accepted)
        self._look_at_peers()
        if self.listener.state is EXHAUSTED:
            self.coverage.sometimes["exhaust"] += 1

    def _expect_service(self) -> list[tuple[Link, int]]:
        return [
            (peer.link, peer.link.fsm.received_bytes)
            for peer in self.live
            if peer.link is not None
            and peer.ours.unread
            and peer.link.registered & 1
            and not peer.link.touched
            and (peer.ours.plain or peer.ours.readiness() & 1)
        ]

    def _check_accepted(self, before: dict[int, Link], accepted: int) -> None:
        if accepted > self.scheduler.limits.accepts_per_round:
            raise InvariantViolated(7, f"{accepted} connections were accepted in one round, while others waited")
        for fd, link in self.scheduler.links.items():
            if before.get(fd, link) is not link:
                raise InvariantViolated(3, f"the descriptor {fd} was used again in the round in which it was closed, by {link.name}")

    def _check_served(self, link: Link, received_bytes: int) -> None:
        fsm = link.fsm
        if received_bytes > fsm.limits.read_budget_bytes:
            raise InvariantViolated(7, f"{received_bytes} bytes were received from {link.name} in one round")
        if not received_bytes and not fsm.closed and not fsm.holds and not self.kernel.rules:
            raise InvariantViolated(7, f"{link.name} was readable and was not served")

    def _look_at_peers(self) -> None:
        over = False
        for peer in self.live:
            link = peer.link
            if link is None:
                self._find_link(peer)
                over = over or (peer.gone and peer.link is None and peer.ours.orphan)
                continue
            fsm, ours, witness = link.fsm, peer.ours, peer.witness
            if fsm.state is CLOSED:
                if not peer.checked:
                    peer.checked = True
                    self._check_end(peer)
                over = over or peer.gone
                continue
            if ours.error and not ours.unread:
                self._count_failing(peer)
            if witness is not None and witness.paused is not (fsm._holds & BACKPRESSURE > 0):  # noqa: SLF001 - as a number
                raise InvariantViolated(5, f"{fsm!r} of {link.name} was {'' if witness.paused else 'not '}told to pause writing")
        if over:
            self.live = [peer for peer in self.live if not peer.over]

    def _find_link(self, peer: Peer) -> None:
        link = self.scheduler.links.get(peer.ours.fd)
        if link is not None and link.sock is not None and link.sock.stream is peer.ours:  # type: ignore[attr-defined] # a SimSocket
            peer.link = link

    def _count_failing(self, peer: Peer) -> None:
        peer.failing += not self.kernel.rules
        if peer.failing > ROUNDS_TO_NOTICE:
            raise InvariantViolated(8, f"{peer.link.name} has failed, and nobody has noticed for {peer.failing} rounds")

    def _check_end(self, peer: Peer) -> None:
        check_closed(self, peer)
        if self.kernel.rules or self.kernel.rare:  # what was to happen to it must not happen to who has its number next
            fd = peer.link.fd
            self.kernel.rules[:] = [rule for rule in self.kernel.rules if getattr(rule, "fd", None) != fd]
            self.kernel.rare[:] = [rule for rule in self.kernel.rare if rule.fd != fd]
        reason: CloseReason = peer.link.fsm.close_reason
        error = reason.error
        if isinstance(error, OSError) and error.errno is not None:
            self.coverage.errnos[error.errno] += 1

    # Operations.

    def apply(self, operation: Operation) -> bool:
        """Do an operation; give False if it cannot be done now.

        Raises:
            InvariantViolated: something does not hold afterwards.

        """
        do, nameless = self._do[operation[0]]
        if nameless:
            done = do(self, *operation[1:]) is not False
        else:
            peer = self.peers.get(operation[1])
            if peer is None or (peer.gone and peer.over):
                return False
            done = do(self, peer, *operation[2:]) is not False
            if done and peer.link is not None:
                self.coverage.steps[peer.link.fsm.state] += 1
        self.operations += done
        return done

    def _do_connect(self, number: int, send_room_bytes: int, receive_room_bytes: int) -> bool:
        if number in self.peers:
            return False
        try:
            stream = self.kernel.connect(HOME, send_room_bytes=send_room_bytes, receive_room_bytes=receive_room_bytes)
        except ConnectionRefusedError:
            return False
        peer = Peer(number, stream)
        self.peers[number] = self.by_name[peer.name] = peer
        self.live.append(peer)
        return True

    def _do_say(self, peer: Peer, size_bytes: int) -> bool | None:
        if peer.gone or peer.ended:
            return False
        if self.payload is not None:
            data = self.payload(peer, size_bytes)
        else:
            start = (97 * peer.number + len(peer.sent)) % (PATTERN_BYTES - size_bytes)
            data = PATTERN[start : start + size_bytes]
        try:
            taken_bytes = peer.stream.send(data)
        except OSError:
            return None
        peer.sent += data if taken_bytes == len(data) else data[:taken_bytes]
        return None

    def _do_tell(self, peer: Peer, text: str) -> bool | None:
        if peer.gone or peer.ended:
            return False
        data = text.encode("latin-1")
        with suppress(OSError):
            peer.sent += data[: peer.stream.send(data)]
        return None

    def _do_chat(self, peer: Peer, times: int, size_bytes: int, milliseconds: int) -> bool | None:
        if peer.gone or peer.ended:
            return False
        for _ in range(times):
            self._do_say(peer, size_bytes)
            self.round(milliseconds / 1000)
            self._do_hear(peer, 100_000)
            self.kernel.advance_to(self.kernel.now_us + 1000 * milliseconds)
            if peer.checked:
                break
        return None

    def _do_flood(self, peer: Peer, times: int) -> bool | None:
        if peer.gone or peer.ended:
            return False
        for _ in range(times):
            self._do_say(peer, FLOOD_BYTES)
            self.round()
        return None

    def _do_hear(self, peer: Peer, size_bytes: int) -> bool | None:
        if peer.gone:
            return False
        stream = peer.stream
        unread = stream.unread
        if stream.plain and len(unread) <= size_bytes and not peer.ours.unsent:  # the usual case: all that there is
            if not unread:
                return None
            data, stream.unread = unread, b""
        elif not unread and not stream.fin_received and not stream.over:
            return None  # it would be EAGAIN, and an exception is dear
        else:
            try:
                data = stream.recv(size_bytes)
            except OSError:
                return None
            if not data:
                peer.heard_end = True
        before_bytes = peer.got_bytes
        peer.got_bytes = after_bytes = before_bytes + len(data)
        if data and (peer.link is None or peer.link.fsm.written[before_bytes:after_bytes] != data):
            raise InvariantViolated(4, f"peer {peer.number} received what was not written: {data[:40]!r}, at {before_bytes}")
        return None

    def _do_end(self, peer: Peer) -> bool | None:
        if peer.gone or peer.ended:
            return False
        peer.ended = True
        if not peer.stream.over:
            peer.stream.shutdown(socket.SHUT_WR)
        return None

    def _do_leave(self, peer: Peer) -> bool | None:
        if peer.gone:
            return False
        peer.gone = True
        peer.stream.close()
        return None

    def _do_cut(self, peer: Peer) -> bool | None:
        if peer.gone:
            return False
        peer.gone = True
        peer.stream.reset()
        return None

    def _do_urge(self, peer: Peer) -> bool | None:
        if peer.gone or peer.ended:
            return False
        if peer.ours.urgent >= 0 or peer.stream.unsent_urgent >= 0:
            peer.exact = False  # the older byte becomes ordinary, or is eaten
        try:
            taken_bytes = peer.stream.send(b"!", urgent=True)
        except OSError:
            return None
        if self.config.exceptional == "inline":
            peer.sent += b"!"[:taken_bytes]
        if peer.state is State.ACCEPTED:
            peer.exact = False  # whether it is inline is decided when it is accepted, and a byte of the preface is none
        return None

    def _transport(self, peer: Peer) -> Any:
        witness = peer.witness
        return None if witness is None or witness.lost else witness.transport

    def _do_write(self, peer: Peer, size_bytes: int) -> bool | None:
        transport = self._transport(peer)
        if transport is None or (transport.fsm.outbox.sealed and not transport.fsm.closing):
            return False
        transport.write(PATTERN[size_bytes : 2 * size_bytes])
        return None

    def _do_close(self, peer: Peer) -> bool | None:
        return self._tell(peer, "close")

    def _do_abort(self, peer: Peer) -> bool | None:
        return self._tell(peer, "abort")

    def _do_pause(self, peer: Peer) -> bool | None:
        return self._tell(peer, "pause_reading")

    def _do_resume(self, peer: Peer) -> bool | None:
        return self._tell(peer, "resume_reading")

    def _do_write_eof(self, peer: Peer) -> bool | None:
        peer.sealed = True
        return self._tell(peer, "write_eof")

    def _do_turn_away(self, peer: Peer) -> bool | None:
        return False if self._do_pause(peer) is False else self._do_write_eof(peer)

    def _do_marks(self, peer: Peer, high_bytes: int) -> bool | None:
        return self._tell(peer, "set_write_buffer_limits", high_bytes)

    def _tell(self, peer: Peer, name: str, *args: Any) -> bool | None:
        transport = self._transport(peer)
        if transport is None:
            return False
        self.inside += 1
        getattr(transport, name)(*args)
        self.inside -= 1
        return None

    # Faults.

    def _arm(self, kind: str, call: str, verdict: Any, peer: Peer | None, times: int = 1) -> bool | None:
        fd = None if peer is None else peer.ours.fd
        if fd is not None and fd < 0:
            return False
        self.armed.append((kind, self.kernel.inject(Fault(call, verdict, fd, times))))
        return None

    def _do_fail_send(self, peer: Peer, number: int) -> bool | None:
        return self._arm("fail_send", "send", Fail(number), peer)

    def _do_refuse_send(self, peer: Peer, times: int) -> bool | None:
        return self._arm("refuse_send", "send", Fail(11), peer, times)

    def _do_short_send(self, peer: Peer, size_bytes: int, times: int) -> bool | None:
        return self._arm("short_send", "send", Short(size_bytes), peer, times)

    def _do_fail_recv(self, peer: Peer, number: int) -> bool | None:
        peer.tampered = True
        return self._arm("fail_recv", "recv", Fail(number), peer)

    def _do_false_recv(self, peer: Peer, number: int) -> bool | None:
        return self._arm("false_recv", "recv", Fail(number), peer)

    def _do_fail_set_up(self, number: int) -> None:
        self._arm("fail_set_up", "setsockopt", Fail(number), None)

    def _do_fail_accept(self, number: int) -> None:
        self._arm("fail_accept", "accept", Fail(number), None)

    def _do_fail_close(self, peer: Peer, number: int) -> bool | None:
        return self._arm("fail_close", "close", Fail(number), peer)

    def _do_fail_shutdown(self, peer: Peer, number: int) -> bool | None:
        return self._arm("fail_shutdown", "shutdown", Fail(number), peer)

    def _do_delay(self, peer: Peer, milliseconds: int) -> bool | None:
        return self._arm("delay", "deliver", Delay(milliseconds / 1000), peer)

    def _do_split(self, peer: Peer, size_bytes: int) -> bool | None:
        return self._arm("split", "deliver", Short(size_bytes), peer)

    def _do_lose(self, peer: Peer, number: int) -> bool | None:
        if peer.gone:
            return False
        self.kernel.lose(peer.stream, number)
        self.coverage.sometimes["lose"] += 1
        return None

    def _do_false_report(self, peer: Peer, bits: int) -> bool | None:
        if peer.ours.fd < 0:
            return False
        self.kernel.report_falsely(peer.ours.fd, bits)
        self.coverage.sometimes["false_report"] += 1
        return None

    def _do_withhold(self, peer: Peer, bits: int, milliseconds: int) -> bool | None:
        if peer.ours.fd < 0:
            return False
        # Urgent data that is read inline is readable: the two bits are late together.
        self.kernel.withhold(peer.ours.fd, bits | PRI if bits & IN else bits, milliseconds / 1000)
        self.coverage.sometimes["withhold"] += 1
        return None

    def _do_stall(self, peer: Peer, milliseconds: int) -> bool | None:
        if peer.ours.fd < 0:
            return False
        stall = Stall(peer.ours)
        self.kernel.withhold(peer.ours.fd, OUT, milliseconds / 1000)
        self.kernel.later(milliseconds / 1000, stall)
        self.kernel.rules.append(stall)
        self.armed.append(("stall", stall))
        return None

    def _do_jam(self, peer: Peer, milliseconds: int, half_open: int) -> bool | None:
        if self._do_write(peer, JAM_BYTES) is False or self._do_stall(peer, milliseconds) is False:
            return False
        self._do_keep_quiet(peer, JAM_MESSAGES)
        peer.half_open = peer.half_open or bool(half_open)
        self.coverage.sometimes["jam"] += 1
        return None

    def _do_exhaust(self, milliseconds: int) -> None:
        self.kernel.descriptors = 0
        self.exhausted_until_us = self.kernel.now_us + 1000 * milliseconds

    # Trouble in the application.

    def _do_raise(self, peer: Peer, callback: str) -> bool | None:
        return self._order(peer, callback, "raise")

    def _do_stop_in(self, peer: Peer, callback: str, how: str) -> bool | None:
        return self._order(peer, callback, "stop_in", how)

    def _do_stop_other(self, peer: Peer, callback: str) -> bool | None:
        return self._order(peer, callback, "stop_other")

    def _do_dawdle(self, peer: Peer, milliseconds: int) -> bool | None:
        return self._order(peer, "data_received", "dawdle", milliseconds)

    def _do_stay_open(self, peer: Peer) -> None:
        peer.half_open = True
        self.coverage.sometimes["stay_open"] += 1

    def _do_keep_quiet(self, peer: Peer, times: int) -> None:
        peer.quiet += times

    def _do_fail_factory(self) -> None:
        self.factory_failures += 1

    def _do_fail_handshake(self) -> None:
        self.handshake_failures += self.config.handshake

    def _order(self, peer: Peer, callback: str, kind: str, detail: Any = None) -> bool | None:
        if peer.checked:
            return False
        peer.troubles[callback] = (kind, detail)
        return None

    # Time.

    def _do_bustle(self, number: int, times: int, size_bytes: int, milliseconds: int) -> None:
        for peer in self.live:
            if peer.checked:
                self._do_leave(peer)
        there = sum(not peer.gone for peer in self.live)
        for newcomer in range(number, number + min(CROWD, self.config.connections - there)):
            self._do_connect(newcomer, 0, 0)
        self.round()
        self.round()
        for _ in range(times):
            talking = self._talkers()
            if len(talking) < TALKERS:
                break
            for peer in talking:
                self._do_say(peer, size_bytes)
            self.round()
            for peer in talking:
                self._do_hear(peer, 100_000)
            self.kernel.advance_to(self.kernel.now_us + 1000 * milliseconds)

    def _talkers(self) -> list[Peer]:
        """Give those who are read at once if they say something now."""
        return [
            peer
            for peer in self.live
            if peer.link is not None and peer.link.registered & 1 and not peer.ended and not peer.gone and not peer.stream.unsent
        ]

    def _do_round(self) -> None:
        self.round()

    def _do_pass(self, milliseconds: int) -> None:
        self.pass_time(milliseconds / 1000)

    def _do_jump(self, milliseconds: int) -> None:
        self.kernel.advance(milliseconds / 1000)
        self.round()

    def pass_time(self, seconds: float) -> None:
        """Let time pass, with a round at whatever comes due or becomes ready.

        Raises:
            InvariantViolated: something does not hold; a loop that spins is one of these.

        """
        end_s = self.kernel.clock() + seconds
        quiet, before = 0, None
        while (now_s := self.kernel.clock()) < end_s:
            self.round(end_s - now_s)
            progress = self._progress()
            quiet = quiet + 1 if progress == before else 0
            before = progress
            if quiet > SPIN_ROUNDS:
                raise InvariantViolated(8, f"the loop spins: {quiet} rounds moved no byte and no time")
        self.round()

    def _progress(self) -> tuple[int, ...]:
        moved = sum(peer.ours.taken_bytes + (0 if peer.link is None else peer.link.fsm.received_bytes) for peer in self.live)
        return self.kernel.now_us, self.scheduler.counts.accepted, self.kernel.closes, moved

    # The end.

    def finish(self) -> None:
        """Stop the faults, have every peer read what is there for it and leave, and see that nothing is left.

        Raises:
            InvariantViolated: something is.

        """
        self.kernel.calm()
        self.kernel.descriptors, self.exhausted_until_us = DESCRIPTORS, 0
        self.factory_failures = self.handshake_failures = 0
        for peer in self.live:
            peer.troubles.clear()
            peer.quiet = 0
        for _ in range(PATIENCE_S):
            if not self.live and not self.scheduler.links and self.listener.state is ListenerState.LISTENING:
                break
            for peer in self.live:
                self._part(peer)
            self.pass_time(1.0)
        self._check_nothing_left()
        self._check_pairs()
        self._count_faults()

    def _part(self, peer: Peer) -> None:
        if peer.gone:
            return
        while peer.stream.unread or peer.stream.peer.unsent:
            before_bytes = peer.got_bytes
            self._do_hear(peer, 100_000)
            if peer.got_bytes == before_bytes:
                break
        self._do_end(peer)
        self._do_hear(peer, 1)
        if peer.heard_end or peer.stream.over:
            self._check_all_arrived(peer)
            self._do_leave(peer)

    def _check_all_arrived(self, peer: Peer) -> None:
        link = peer.link
        if link is None or not link.fsm.closed or not link.fsm.close_reason.graceful:
            return
        check_farewell(peer)
        if not peer.heard_end:
            return
        if peer.got_bytes != len(link.fsm.written):
            raise InvariantViolated(4, f"{link.name} finished gracefully; its peer got {peer.got_bytes} of {len(link.fsm.written)} bytes")

    def _check_pairs(self) -> None:
        pairs = self.coverage.pairs
        for _, trail in groupby(sorted(self.transitions, key=NUMBER), NUMBER):
            _, _, origins, events = zip(*trail, strict=True)
            pairs.update(zip(origins, events, events[1:], strict=False))
        for pair in pairs.keys() - POSSIBLE_PAIRS:
            raise InvariantViolated(2, f"{pair[0]} {pair[1]} was followed by {pair[2]}, which the holds do not allow")

    def _check_nothing_left(self) -> None:
        scheduler = self.scheduler
        if scheduler.links:
            raise InvariantViolated(8, f"never closed: {', '.join(map(repr, scheduler.links.values()))}")
        if self.listener.state is not ListenerState.LISTENING:
            raise InvariantViolated(8, f"there is room, and the listener is {self.listener.state}")
        waiting = [peer.number for peer in self.live if peer.link is None and not peer.ours.orphan]
        if waiting:
            raise InvariantViolated(8, f"peers {waiting} were never accepted")
        if len(scheduler.deadlines):
            raise InvariantViolated(3, f"{len(scheduler.deadlines)} deadlines are left of closed connections")
        scheduler.close()
        if self._reserved is not None:
            self._reserved.close()
        if self.kernel.open:
            raise InvariantViolated(6, f"descriptors are left open: {sorted(self.kernel.open)}")

    def _count_faults(self) -> None:
        for kind, armed in self.armed:
            if armed.struck:
                self.coverage.sometimes[kind] += 1

    def close(self) -> None:
        """Let go of everything, so that nothing but reference counting is needed to free it."""
        if not self.scheduler.closed:
            self.scheduler.close()
        self.scheduler._watcher = None  # noqa: SLF001 - it leads back here
        for peer in self.peers.values():
            peer.link = peer.witness = None

    def digest(self) -> str:
        """Give a fingerprint of all that happened: every call, every transition, every byte that arrived."""
        heard = [(peer.number, peer.got_bytes, len(peer.sent)) for peer in self.peers.values()]
        fingerprint = hashlib.blake2b(repr(heard).encode(), digest_size=16)
        if self.kernel.log:
            times_us, names, fds, outcomes = zip(*self.kernel.log, strict=True)
            fingerprint.update(",".join(names).encode())
            fingerprint.update(struct.pack(f"<{len(fds)}q{2 * len(fds)}i", *times_us, *fds, *outcomes))
        if self.transitions:
            times_s, numbers, origins, events = zip(*self.transitions, strict=True)
            fingerprint.update(bytes(map(CODES.__getitem__, origins)) + bytes(map(CODES.__getitem__, events)))
            fingerprint.update(struct.pack(f"<{len(numbers)}d{len(numbers)}i", *times_s, *numbers))
        return fingerprint.hexdigest()

    def registered(self) -> dict[int, int] | None:
        """Give the kernel's own record of what is watched, where the poller keeps one there."""
        poller = self.scheduler.poller
        if isinstance(poller, EpollPoller):
            watched: dict[int, int] = poller._epoll._masks  # noqa: SLF001 - read back from the system, as the design has it
            return watched
        if isinstance(poller, PollPoller):
            listed: dict[int, int] = poller._poll._masks  # noqa: SLF001 - as above
            return listed
        return None


@lru_cache
def actions_of(world_class: type[World]) -> dict[str, tuple[Callable[..., object], bool]]:
    """Give, for each kind of operation, what does it, and whether that finds its peer itself."""
    return {name: (getattr(world_class, f"_do_{name}"), name in NAMELESS or name in BRINGS) for name in KINDS}


@lru_cache
def _with_connections(limits: Limits, connections: int) -> Limits:
    return replace(limits, connections=connections)
