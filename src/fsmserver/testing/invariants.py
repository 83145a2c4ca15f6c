"""The eight invariants of the design, asked of a shipped scheduler on a simulated kernel.

After every transition `check_event` asks what concerns one connection; after every round `check_round` asks the rest.
Each violation names its invariant by number, as the design does, and says in a sentence what was found.

1. state in {queued, writing} if and only if the outbox holds bytes.
2. inputs, outputs and queues are what `interest` and the state say, and the kernel's own registration is too.
3. closed means: one close on the socket, one `connection_lost`, no timer, no token, no bytes held.
4. written = taken by the kernel + in the outbox + discarded; what was taken is a prefix of what was written, in order.
5. memory is bounded by the limits: the cap, and reading held while the outbox is over its mark.
6. open descriptors = listeners + connections not closed + a constant.
7. every readable connection is served in the round that reported it, within its byte budget.
8. every connection whose peer has gone, or is silent past its deadline, reaches closed; and the loop never spins.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from fsmserver.core.reasons import AGAIN
from fsmserver.core.states import Event, Hold, Interest, State
from fsmserver.core.table import CONNECTION, DEADLINE, INTEREST, SENDING
from fsmserver.runtime.pollers import POLL_MASKS, READS, WRITES
from fsmserver.runtime.timers import NEVER_TICK, TICK_S
from fsmserver.testing.stream import IN, OUT
from fsmserver.testing.system import ALWAYS

if TYPE_CHECKING:
    from fsmserver.core.connection import ConnectionFSM
    from fsmserver.core.reasons import CloseReason
    from fsmserver.runtime.link import Link
    from fsmserver.runtime.scheduler import Scheduler
    from fsmserver.testing.stream import Stream
    from fsmserver.testing.world import Peer, World

BACKPRESSURE: Final = Hold.BACKPRESSURE.value
CLOSED: Final = State.CLOSED
READING: Final = State.READING
IDLE: Final = DEADLINE[READING][0]
IDLE_INTEREST: Final = INTEREST[READING][0]
READ_MASK, WRITE_MASK = (POLL_MASKS[interest] | ALWAYS for interest in (Interest.READ, Interest.WRITE))
"""As the kernel has it in its own sets."""

LATE_TICKS: Final = 2
"""A deadline is armed at most a tick late, and its round may end a tick after that."""

SLACK_S: Final = 1e-6
"""Times are sums of floating-point numbers."""

ROUNDS_TO_NOTICE: Final = 4
"""A failed connection is noticed in the round that reports it; before that come what it still holds, and its FIN."""


class InvariantViolated(AssertionError):
    """What must always hold does not. Fields: `number`, of the design's list, and `finding`."""

    def __init__(self, number: int, finding: str) -> None:
        """Keep the fields and say the sentence."""
        super().__init__(number, finding)
        self.number, self.finding = number, finding

    def __str__(self) -> str:
        """Say it: `invariant 1: <ConnectionFSM reading 5 B in outbox>`."""
        return f"invariant {self.number}: {self.finding}"


def check_event(world: World, link: Link, fsm: ConnectionFSM, origin: State, event: Event) -> None:
    """Check one connection after a transition.

    Raises:
        InvariantViolated: something does not hold.

    """
    state = fsm.state
    destination, sending, because = EXPECTED[origin].get(event, NOTHING_EXPECTED)
    if state is not destination:
        raise InvariantViolated(1, f"{origin} --{event}--> {state} is not in the table, of {link.name}")
    if sending is not (fsm.outbox.size_bytes > 0):
        raise InvariantViolated(1, f"{fsm!r} of {link.name} after {event}")
    if because is not None:
        because(world, link, fsm)


def _check_eof(_: World, link: Link, __: ConnectionFSM) -> None:
    if not _stream(link).fin_received and not _stream(link).over:
        raise InvariantViolated(4, f"the end of {link.name} was noticed, and its peer has not ended")


def _check_expiry(world: World, link: Link, fsm: ConnectionFSM) -> None:
    now_s, limits = world.scheduler.now_s, fsm.limits
    limit = getattr(fsm.close_reason and fsm.close_reason.error, "limit", "lifetime_s")
    since_s = fsm._born_s if limit == "lifetime_s" else fsm.since_s  # noqa: SLF001 - what it was judged by
    if since_s + getattr(limits, limit) > now_s + SLACK_S:
        raise InvariantViolated(8, f"{limit} of {link.name} expired at {now_s:.3f} s, and it runs from {since_s:.3f} s")


def _check_reset(world: World, link: Link, fsm: ConnectionFSM) -> None:
    stream = _stream(link)
    readable = bool(stream.unread) and (stream.urgent != 0 or stream.inline or len(stream.unread) > 1)
    peer = world.by_name.get(link.peername)
    reason = fsm.close_reason
    if readable and reason is not None and reason.state is State.READING and not fsm._holds and not (peer is None or peer.tampered):  # noqa: SLF001 - as a number
        raise InvariantViolated(4, f"{link.name} was given up with {len(stream.unread)} bytes before the reset that nobody has read")


BECAUSE: Final = {Event.EOF: _check_eof, Event.EXPIRE: _check_expiry, Event.RESET: _check_reset}
"""What has to be true in the world for an event to be raised."""


EXPECTED: Final = {
    origin: {event: (state, state in SENDING, BECAUSE.get(event)) for event, state in row.items()}
    for origin, row in CONNECTION.arrows.items()
}
"""After an event: the state, whether the outbox holds bytes, and who asks for the facts behind it."""

USUAL: Final = {
    origin: {event: (state, sending) for event, (state, sending, because) in row.items() if because is None}
    for origin, row in EXPECTED.items()
}
"""The same for the events that need no facts: where a machine is as it says here, `check_event` has nothing to add."""

NOTHING_EXPECTED: Final = (None, False, None)


def _stream(link: Link) -> Stream:
    stream: Stream = link.sock.stream  # type: ignore[union-attr] # an open link has a SimSocket
    return stream


def check_round(world: World) -> None:
    """Check everything that must hold between rounds.

    Raises:
        InvariantViolated: something does not hold.

    """
    scheduler = world.scheduler
    if scheduler.touched or scheduler.eased:
        raise InvariantViolated(2, "something is left to be settled at the end of a round")
    links, opened_by = scheduler.links, world.kernel.open
    reading = {world.waker_fd}
    writing = set()
    limits = scheduler.limits
    idle_s, life_s = getattr(limits, IDLE), limits.lifetime_s
    late_s = scheduler.now_s - LATE_TICKS * TICK_S
    last_idle_s, last_life_s = late_s - idle_s, late_s - life_s
    for fd, link in links.items():
        fsm, sock, armed_tick = link.fsm, link.sock, link.armed_tick
        since_s, born_s, armed_s = fsm.since_s, fsm._born_s, armed_tick * TICK_S - TICK_S  # noqa: SLF001 - as the machine has it
        if (  # most are idle, and all is well with them: what `check_open` asks, in a third of the time
            fsm.state is READING
            and not fsm._holds  # noqa: SLF001 - as above
            and not fsm.outbox.size_bytes
            and link.registered == IDLE_INTEREST
            and sock is not None
            and opened_by.get(fd) is sock
            and fsm.limits is limits
            and armed_tick
            and armed_s - idle_s <= since_s >= last_idle_s
            and armed_s - life_s <= born_s >= last_life_s
        ):
            reading.add(fd)
            continue
        interest = check_open(world, fd, link)
        if READS[interest]:
            reading.add(fd)
        if WRITES[interest]:
            writing.add(fd)
    for listener in scheduler.listeners:
        if listener.interest:
            reading.add(listener.fd)
    check_sets(world, reading, writing)
    if len(links) > scheduler.most_connections:
        raise InvariantViolated(5, f"{len(links)} connections are open, and the limit is {scheduler.most_connections}")
    opened = len(opened_by) - len(world.strangers)
    expected = world.base_descriptors + len(scheduler.listeners) + len(links)
    if opened != expected:
        raise InvariantViolated(6, f"{opened} descriptors are open, and {expected} are accounted for")


def check_open(world: World, fd: int, link: Link) -> Interest:
    """Check one connection that is not closed; give what it has to be watched for.

    Raises:
        InvariantViolated: something does not hold.

    """
    fsm = link.fsm
    state, holds, size_bytes, limits = fsm.state, fsm._holds, fsm.outbox.size_bytes, fsm.limits  # noqa: SLF001 - this is asked in each round
    if state is CLOSED:
        raise InvariantViolated(3, f"{link.name} is closed and still in queues")
    interest = INTEREST[state][holds]
    if (state in SENDING) != (size_bytes > 0):
        raise InvariantViolated(1, f"{fsm!r} of {link.name}")
    if link.registered != interest:
        raise InvariantViolated(2, f"{link.name} is registered for {link.registered}, and wants {interest.words}")
    if world.kernel.open.get(fd) is not link.sock or link.sock is None:
        raise InvariantViolated(3, f"the descriptor {fd} of {link.name} is not its own")
    if size_bytes or holds:
        _check_burden(link, fsm)
    due_s = fsm.since_s + getattr(limits, DEADLINE[state][holds])
    lifetime_s = fsm._born_s + limits.lifetime_s  # noqa: SLF001 - as the machine has it
    if lifetime_s < due_s:  # noqa: PLR1730 - half the cost of min()
        due_s = lifetime_s
    armed_s = link.armed_tick * TICK_S
    if (not armed_s or armed_s > due_s + TICK_S) and due_s != math.inf:
        raise InvariantViolated(8, f"{DEADLINE[state][holds]} of {link.name} is due at {due_s:.3f} s and is not armed")
    if due_s + LATE_TICKS * TICK_S < world.scheduler.now_s:
        world.overdue[link.number] += 1
        if world.overdue[link.number] > _rounds_to_expire(world.scheduler):
            raise InvariantViolated(8, f"{link.name} was due at {due_s:.3f} s, and it is {world.scheduler.now_s:.3f} s")
    return interest


def _rounds_to_expire(scheduler: Scheduler) -> int:
    """How many rounds it may take when all deadlines pass at once: each handles a bounded number, and the first may have begun before."""
    return math.ceil(scheduler.most_connections / scheduler.limits.timers_per_round) + 1


def _check_burden(link: Link, fsm: ConnectionFSM) -> None:
    size_bytes, limits, stream = fsm.outbox.size_bytes, fsm.limits, _stream(link)
    if size_bytes > limits.outbox_cap_bytes:
        raise InvariantViolated(5, f"the outbox of {link.name} holds {size_bytes} bytes, over its cap")
    low_bytes, high_bytes = fsm.marks
    if low_bytes != limits.outbox_low_bytes:
        low_bytes = 0  # marks that are set anew hold from the next byte that is taken on, as in asyncio
    pressed = bool(fsm._holds & BACKPRESSURE)  # noqa: SLF001 - as a number
    if pressed != (size_bytes > (low_bytes if pressed else high_bytes)):
        raise InvariantViolated(5, f"the outbox of {link.name} holds {size_bytes} bytes, marks {fsm.marks}, holds {fsm.holds.words}")
    if fsm.lingered_bytes > limits.linger_bytes:
        raise InvariantViolated(5, f"{link.name} has read {fsm.lingered_bytes} bytes after our FIN")
    if size_bytes and stream.write_shut and not stream.over:
        raise InvariantViolated(4, f"FIN was sent to {link.name} before {size_bytes} bytes of its outbox")


def check_sets(world: World, reading: set[int], writing: set[int]) -> None:
    """Check inputs, outputs, queues and the kernel's own set.

    Raises:
        InvariantViolated: something does not hold.

    """
    scheduler, poller = world.scheduler, world.scheduler.poller
    tokens = scheduler.links.keys() | scheduler._sources.keys()  # noqa: SLF001 - one left behind is what is looked for
    if poller.inputs != reading:
        raise InvariantViolated(2, f"inputs are {sorted(poller.inputs)}, and {sorted(reading)} want to be read")
    if poller.outputs != writing:
        raise InvariantViolated(2, f"outputs are {sorted(poller.outputs)}, and {sorted(writing)} want to be written")
    known = len(scheduler.links) + len(scheduler.listeners) + 1
    if len(tokens) != known:
        raise InvariantViolated(3, f"{len(tokens)} tokens for {known} sources")
    registered = world.kernels_own
    if registered is None:
        return
    usual = dict.fromkeys(writing, WRITE_MASK)
    usual.update(dict.fromkeys(reading, READ_MASK))
    if writing:
        usual.update(dict.fromkeys(reading & writing, READ_MASK | WRITE_MASK))
    if registered == usual and usual.keys() == tokens:
        return
    for fd, mask in registered.items():
        if (mask & IN > 0) != (fd in reading) or (mask & OUT > 0) != (fd in writing):
            raise InvariantViolated(2, f"the kernel watches {fd} for {mask:#x}; inputs {sorted(reading)}, outputs {sorted(writing)}")
    watched = registered.keys()
    if not (watched >= reading and watched >= writing):
        raise InvariantViolated(2, f"the kernel does not watch {sorted((reading | writing) - watched)}")
    if not watched <= tokens:
        raise InvariantViolated(2, f"the kernel still watches {sorted(watched - tokens)}, which nobody has")


def check_closed(world: World, peer: Peer) -> None:
    """Check, once, a connection that is closed and buried.

    Raises:
        InvariantViolated: something of it is left.

    """
    link, witness = peer.link, peer.witness
    fsm: Any = link.fsm
    if link.armed_tick != NEVER_TICK:
        raise InvariantViolated(3, f"{link.name} is closed and has a timer")
    if fsm.outbox.size_bytes or fsm.state is not CLOSED:
        raise InvariantViolated(3, f"{link.name} is closed and is {fsm!r}")
    if link.sock is not None or link.protocol is not None:
        raise InvariantViolated(3, f"{link.name} is closed and keeps its socket or its protocol")
    if witness is not None and witness.lost != 1:
        raise InvariantViolated(3, f"{link.name} is closed and connection_lost was called {witness.lost} times")
    if not peer.ours.orphan:
        raise InvariantViolated(3, f"{link.name} is closed and its socket is not")
    if fsm.outbox.taken_bytes != peer.ours.taken_bytes:
        raise InvariantViolated(4, f"the kernel took {peer.ours.taken_bytes} bytes of {link.name}, {fsm.outbox.taken_bytes} are counted")
    if len(fsm.written) != fsm.outbox.written_bytes:
        raise InvariantViolated(4, f"{len(fsm.written)} bytes were written to {link.name}, {fsm.outbox.written_bytes} are counted")
    if witness is not None and not world.config.handshake and fsm.received_bytes != witness.delivered + fsm.lingered_bytes:
        what = f"{witness.delivered} bytes were delivered and {fsm.lingered_bytes} thrown away"
        raise InvariantViolated(4, f"of what {link.name} sent {what}, and {fsm.received_bytes} are counted")
    if link in world.scheduler.links.values():
        raise InvariantViolated(3, f"{link.name} is closed and still has its token")
    _check_reason(world, peer, fsm.close_reason)


def _check_reason(world: World, peer: Peer, reason: CloseReason) -> None:
    name = peer.link.name
    if reason.event is Event.FINISH:
        check_farewell(peer)
        if reason.discarded_bytes:
            raise InvariantViolated(4, f"{name} finished gracefully and discarded {reason.discarded_bytes} bytes")
        if not peer.ours.fin_received:
            raise InvariantViolated(4, f"{name} finished gracefully before its peer had ended")
    elif reason.event is Event.RESET and (not isinstance(reason.error, OSError) or reason.error.errno in AGAIN):
        raise InvariantViolated(4, f"{name} was given up though its socket had not failed: {reason}")
    elif reason.event is Event.EXCEPTIONAL and world.config.exceptional != "close":
        raise InvariantViolated(4, f"{name} was closed on urgent data, and the policy is to {world.config.exceptional} it")


def check_farewell(peer: Peer) -> None:
    """Check that no reset follows a graceful end: it can overtake the last reply.

    Raises:
        InvariantViolated: the peer was reset.

    """
    if peer.stream.reset_received and not peer.gone:
        raise InvariantViolated(4, f"{peer.link.name} finished gracefully, and its peer was reset")
