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

from typing import TYPE_CHECKING, Any, Final

from fsmserver.core.states import Event, Hold, State
from fsmserver.core.table import CONNECTION, SENDING
from fsmserver.runtime.timers import NEVER_TICK, TICK_S

if TYPE_CHECKING:
    from fsmserver.core.connection import ConnectionFSM
    from fsmserver.runtime.link import Link
    from fsmserver.testing.world import World

ARROWS: Final = CONNECTION.arrows
BACKPRESSURE: Final = Hold.BACKPRESSURE.value
LATE_TICKS: Final = 2
"""A deadline is armed at most a tick late, and its round may end a tick after that."""

ROUNDS_TO_EXPIRE: Final = 4
"""When many deadlines pass at once, each round handles a bounded number of them."""

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


def check_event(link: Link, fsm: ConnectionFSM, origin: State, event: Event) -> None:
    """Check one connection after a transition.

    Raises:
        InvariantViolated: something does not hold.

    """
    state, outbox = fsm.state, fsm.outbox
    if ARROWS[origin].get(event) is not state:
        raise InvariantViolated(1, f"{origin} --{event}--> {state} is not in the table, of {link.name}")
    if (state in SENDING) != (outbox.size_bytes > 0):
        raise InvariantViolated(1, f"{fsm!r} of {link.name} after {event}")
    if state is State.CLOSED and (fsm.close_reason is None or fsm.close_reason.event is not event):
        raise InvariantViolated(3, f"{link.name} is closed by {event} and gives {fsm.close_reason} as the reason")
    if event is Event.FINISH and outbox.discarded_bytes:
        raise InvariantViolated(4, f"{link.name} finished gracefully and discarded {outbox.discarded_bytes} bytes")


def check_round(world: World) -> None:
    """Check everything that must hold between rounds.

    Raises:
        InvariantViolated: something does not hold.

    """
    scheduler = world.scheduler
    if scheduler.touched or scheduler.eased:
        raise InvariantViolated(2, "something is left to be settled at the end of a round")
    reading, writing = set(), set()
    for fd, link in scheduler.links.items():
        check_open(world, fd, link)
        if link.fsm.wants_read:
            reading.add(fd)
        if link.fsm.wants_write:
            writing.add(fd)
    check_sets(world, reading, writing)
    opened = len(world.kernel.open) - len(world.strangers)
    expected = world.base_descriptors + len(scheduler.listeners) + len(scheduler.links)
    if opened != expected:
        raise InvariantViolated(6, f"{opened} descriptors are open, and {expected} are accounted for")


def check_open(world: World, fd: int, link: Link) -> None:
    """Check one connection that is not closed.

    Raises:
        InvariantViolated: something does not hold.

    """
    fsm = link.fsm
    outbox, limits = fsm.outbox, fsm.limits
    if fsm.closed:
        raise InvariantViolated(3, f"{link.name} is closed and still in queues")
    if (fsm.state in SENDING) != (outbox.size_bytes > 0):
        raise InvariantViolated(1, f"{fsm!r} of {link.name}")
    if outbox.size_bytes > limits.outbox_cap_bytes:
        raise InvariantViolated(5, f"the outbox of {link.name} holds {outbox.size_bytes} bytes, over its cap")
    low_bytes, high_bytes = fsm.marks
    pressed = bool(fsm._holds & BACKPRESSURE)  # noqa: SLF001 - as a number: this is asked of each connection in each round
    if pressed != (outbox.size_bytes > (low_bytes if pressed else high_bytes)):
        raise InvariantViolated(5, f"the outbox of {link.name} holds {outbox.size_bytes} bytes, marks {fsm.marks}, holds {fsm.holds.words}")
    if fsm.lingered_bytes > limits.linger_bytes:
        raise InvariantViolated(5, f"{link.name} has read {fsm.lingered_bytes} bytes after our FIN")
    if link.registered != fsm.interest:
        raise InvariantViolated(2, f"{link.name} is registered for {link.registered}, and wants {fsm.interest.words}")
    _check_deadline(world, link)
    if link.sock is None or world.kernel.open.get(fd) is not link.sock:
        raise InvariantViolated(3, f"the descriptor {fd} of {link.name} is not its own")


def _check_deadline(world: World, link: Link) -> None:
    limit, due_s = link.fsm.due()
    if due_s == float("inf"):
        return
    if link.armed_tick == NEVER_TICK or link.armed_tick * TICK_S > due_s + TICK_S:
        raise InvariantViolated(8, f"{limit} of {link.name} is due at {due_s:.3f} s and is not armed")
    if due_s + LATE_TICKS * TICK_S < world.scheduler.now_s:
        world.overdue[link.number] += 1
        if world.overdue[link.number] > ROUNDS_TO_EXPIRE:
            raise InvariantViolated(8, f"{limit} of {link.name} was due at {due_s:.3f} s, and it is {world.scheduler.now_s:.3f} s")


def check_sets(world: World, reading: set[int], writing: set[int]) -> None:
    """Check inputs, outputs, queues and the kernel's own set.

    Raises:
        InvariantViolated: something does not hold.

    """
    scheduler, poller = world.scheduler, world.scheduler.poller
    for listener in scheduler.listeners:
        if listener.interest:
            reading.add(listener.fd)
    reading.add(world.waker_fd)
    if poller.inputs != reading:
        raise InvariantViolated(2, f"inputs are {sorted(poller.inputs)}, and {sorted(reading)} want to be read")
    if poller.outputs != writing:
        raise InvariantViolated(2, f"outputs are {sorted(poller.outputs)}, and {sorted(writing)} want to be written")
    known = len(scheduler.links) + len(scheduler.listeners) + 1
    if len(scheduler._sources) != known:  # noqa: SLF001 - a token left behind is what is looked for
        raise InvariantViolated(3, f"{len(scheduler._sources)} tokens for {known} sources")  # noqa: SLF001
    registered = world.registered()
    if registered is not None:
        _check_registered(world, registered, reading, writing)


def _check_registered(world: World, registered: dict[int, int], reading: set[int], writing: set[int]) -> None:
    for fd, mask in registered.items():
        if bool(mask & 1) != (fd in reading) or bool(mask & 4) != (fd in writing):
            raise InvariantViolated(2, f"the kernel watches {fd} for {mask:#x}; inputs {sorted(reading)}, outputs {sorted(writing)}")
    missing = (reading | writing) - set(registered)
    if missing:
        raise InvariantViolated(2, f"the kernel does not watch {sorted(missing)}")
    strangers = [fd for fd in registered if fd not in world.scheduler._sources]  # noqa: SLF001 - as above
    if strangers:
        raise InvariantViolated(2, f"the kernel still watches {strangers}, which nobody has")


def check_closed(world: World, peer: Any) -> None:
    """Check, once, a connection that is closed and buried.

    Raises:
        InvariantViolated: something of it is left.

    """
    link, witness = peer.link, peer.witness
    if link.armed_tick != NEVER_TICK:
        raise InvariantViolated(3, f"{link.name} is closed and has a timer")
    if link.fsm.outbox.size_bytes or link.fsm.state is not State.CLOSED:
        raise InvariantViolated(3, f"{link.name} is closed and is {link.fsm!r}")
    if link.sock is not None or link.protocol is not None:
        raise InvariantViolated(3, f"{link.name} is closed and keeps its socket or its protocol")
    if witness is not None and witness.lost != 1:
        raise InvariantViolated(3, f"{link.name} is closed and connection_lost was called {witness.lost} times")
    if not peer.ours.orphan:
        raise InvariantViolated(3, f"{link.name} is closed and its socket is not")
    fsm = link.fsm
    if fsm.outbox.taken_bytes != peer.ours.taken_bytes:
        raise InvariantViolated(4, f"the kernel took {peer.ours.taken_bytes} bytes of {link.name}, {fsm.outbox.taken_bytes} are counted")
    if len(fsm.written) != fsm.outbox.written_bytes:
        raise InvariantViolated(4, f"{len(fsm.written)} bytes were written to {link.name}, {fsm.outbox.written_bytes} are counted")
    if link in world.scheduler.links.values():
        raise InvariantViolated(3, f"{link.name} is closed and still has its token")
