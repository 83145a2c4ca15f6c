r"""Hypothesis machines for connections and servers: they run as they are, and are meant to be subclassed.

    class MyMachine(ServerMachine):
        protocol = MyProtocol

        @rule(line=st.binary(max_size=20).filter(lambda line: b"\n" not in line))
        def a_line_is_answered(self, line: bytes) -> None:
            peer = self.a_peer()
            ...

    TestMine = state_machine_test(MyMachine)

The rules of `ServerMachine` are made from the one vocabulary of operations, each fault a rule of its own, with preconditions;
after each of them everything that must hold is checked, and at the end of each run the faults stop and nothing may be left.
A failure prints the minimal steps, the transitions of the connections, and a test function ready to paste. A run that is blind
fails too: a state that holds less than a twentieth of the steps, or a declared `sometimes` that never happened.

`check_protocol(MyProtocol)` does all of it in one line, after a search by seeds, which makes many more steps a second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final
from unittest import TestCase

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from fsmserver.core.connection import ConnectionFSM
from fsmserver.core.errors import OutboxOverflow, OutboxSealed
from fsmserver.core.limits import Limits
from fsmserver.core.states import Event, State
from fsmserver.core.table import CONNECTION, FOREVER, SENDING
from fsmserver.testing.coverage import LEAST_SHARE, Coverage
from fsmserver.testing.operations import BRINGS, KINDS, NAMELESS, Kind, Operation, words
from fsmserver.testing.reduction import reduce
from fsmserver.testing.replay import as_test
from fsmserver.testing.simulation import Failure, run_seed
from fsmserver.testing.world import SIM_LIMITS, Config, Peer, World

MOST_PEERS: Final = 6
PLACES: Final = 24
PLACES_OF_THE_OPEN: Final = 18
"""What a peer is chosen by: a number below the first, and one of those that are not closed for numbers below the second."""

SETTINGS: Final = settings(
    max_examples=100,
    stateful_step_count=25,
    deadline=None,
    report_multiple_bugs=False,
    phases=[phase for phase in Phase if phase is not Phase.explain],  # it traces each line: minutes for a whole server
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
"""Where a machine says nothing else. Virtual time has no deadlines."""

PATIENCE: Final = (1, 2, 4)
"""How often over a search is done that was blind the time before."""

LEAST_AGE: Final = 8
"""A connection of a `ConnectionMachine` ends after this many steps at the earliest, and then is asked this much more:"""

CLOSED_STEPS: Final = 3

MOST_COPIES: Final = 4
"""The likeliest kinds of operations are rules this many times over, since Hypothesis takes each rule for equally likely."""

CALM_STEPS: Final = 3
"""So many operations lie between two troubles at least: where all are equally likely, nothing but trouble would happen."""

USUAL_EXAMPLES: Final = 100
"""Hypothesis's own default: a profile with ten times as many searches ten times as long."""

MOST_ROUNDS: Final = 8
"""What a peer tells is dealt with after so many rounds, or waits for something else than a round."""

STEPS_TO_JUDGE: Final = 200
"""Fewer steps than this are too few to call a run blind."""


class Blind(AssertionError):
    """A search saw too little to mean anything; the sentences say what it did not see."""


class SearchMachine(RuleBasedStateMachine):
    """What the machines here share: what was seen over all runs, and the story of the latest."""

    seen: ClassVar[Coverage] = Coverage()
    latest: ClassVar[SearchMachine | None] = None
    least_share: ClassVar[float] = LEAST_SHARE

    def __init_subclass__(cls, **options: Any) -> None:
        """Give each machine class a coverage of its own."""
        super().__init_subclass__(**options)
        cls.seen = Coverage()

    def __init__(self) -> None:
        """Begin a run."""
        super().__init__()
        type(self).latest = self

    def sometimes(self, name: str, condition: object = True) -> None:  # noqa: FBT002 - reads as a sentence
        """Say that `condition` has to be true in some run: a search in which it never is, is blind, and fails."""
        self.seen.declare(name)
        self.seen.sometimes[name] += bool(condition)

    def story(self) -> str:
        """Tell what happened in this run."""
        raise NotImplementedError

    @classmethod
    def blind_spots(cls) -> list[str]:
        """Say where the search was blind."""
        if sum(cls.seen.steps.values()) < STEPS_TO_JUDGE:
            return []
        low = [f"only {share:.1%} of the steps were in {state}" for state, share in cls.seen.shares().items() if share < cls.least_share]
        return low + [f"never happened: {name}" for name in cls.seen.missing]


# One connection.


class ConnectionMachine(SearchMachine):
    """One `ConnectionFSM`, and everything that a loop and an application can do to it.

    Subclass it with a machine class of your own (`fsm_class`), other `limits`, rules and invariants.
    """

    fsm_class: ClassVar[type[ConnectionFSM]] = ConnectionFSM
    limits: ClassVar[Limits] = Limits(outbox_high_bytes=20, outbox_low_bytes=5, outbox_cap_bytes=60, linger_bytes=30)

    def __init__(self) -> None:
        """Begin with a fresh connection."""
        super().__init__()
        self.steps: list[str] = []
        self.now_s = 0.0
        self._refresh()

    def _refresh(self) -> None:
        self.fsm = self.fsm_class(limits=self.limits, now_s=self.now_s)
        self.age = self.closed_steps = 0
        self.written = self.taken_bytes = self.offered_bytes = 0
        self.steps.append("a fresh connection")

    @initialize(opened=st.sampled_from([True, True, True, False]))
    def begin(self, *, opened: bool) -> None:
        """Begin with a connection that is open, mostly."""
        if opened:
            self.open()

    @precondition(lambda self: self.fsm.closed and self.closed_steps)
    @rule(opened=st.sampled_from([True, True, True, False]))
    def begin_again(self, *, opened: bool) -> None:
        """Let a fresh connection take the place of one that is closed."""
        self._refresh()
        self.begin(opened=opened)

    @property
    def is_worth_a_step(self) -> bool:
        """Whether something can still be learned from this connection: one that is closed is asked a few things only."""
        return not self.fsm.closed or self.closed_steps < CLOSED_STEPS

    @property
    def has_lived(self) -> bool:
        """Whether it may end: connections that end at once are all alike."""
        return self.age >= LEAST_AGE

    def step(self, name: str, *args: Any, **options: Any) -> Any:
        """Call a method of the machine; an event that the table forbids must change nothing."""
        self.steps.append(f"fsm.{name}({', '.join([*map(repr, args), *(f'{key}={value!r}' for key, value in options.items())])})")
        self.seen.steps[self.fsm.state] += 1
        self.age += 1
        self.closed_steps += self.fsm.closed
        return getattr(self.fsm, name)(*args, **options)

    def may(self, event: Event) -> bool:
        """Tell whether the table allows `event` now."""
        return event in self.fsm.allowed()

    @precondition(lambda self: self.may(Event.OPEN))
    @rule()
    def open(self) -> None:
        """Open it."""
        self.step("open", self.now_s)

    @precondition(lambda self: self.may(Event.RECEIVE) and self.fsm.wants_read)
    @rule(size_bytes=st.integers(1, 40))
    def receive(self, size_bytes: int) -> None:
        """Have bytes come."""
        delivered = self.step("receive", b"r" * size_bytes, self.now_s)
        assert not delivered or not self.fsm.closing, "bytes are delivered after the close"

    @precondition(lambda self: self.may(Event.ENQUEUE))
    @rule(size_bytes=st.integers(0, 40))
    def enqueue(self, size_bytes: int) -> None:
        """Write."""
        try:
            self.step("enqueue", b"w" * size_bytes, self.now_s)
        except (OutboxSealed, OutboxOverflow):
            return
        self.written += size_bytes

    @precondition(lambda self: self.fsm.wants_write)
    @rule()
    def offer(self) -> None:
        """Offer the outbox to the kernel."""
        self.offered_bytes = sum(len(chunk) for chunk in self.step("flush"))

    @precondition(lambda self: self.fsm.state is State.WRITING)
    @rule(share=st.sampled_from([0.0, 0.3, 0.7, 1.0, 1.0]))
    def take(self, share: float) -> None:
        """Have the kernel take a share of what it was offered."""
        taken_bytes = int(self.offered_bytes * share)
        self.step("sent", taken_bytes, self.now_s)
        self.taken_bytes += taken_bytes
        self.offered_bytes -= taken_bytes

    @precondition(lambda self: self.may(Event.EOF) and self.fsm.wants_read and self.has_lived)
    @rule(half_open=st.booleans())
    def eof(self, *, half_open: bool) -> None:
        """Have the peer end its direction."""
        self.step("eof", self.now_s, half_open=half_open)

    @precondition(lambda self: self.fsm.wants_fin)
    @rule()
    def fin_sent(self) -> None:
        """Say that FIN was sent."""
        self.step("fin_sent")

    @precondition(lambda self: self.is_worth_a_step)
    @rule(name=st.sampled_from(["pause", "resume"]))
    def ask(self, name: str) -> None:
        """Have the application ask for something that is always allowed."""
        self.step(name, self.now_s)

    @precondition(lambda self: self.is_worth_a_step and self.has_lived)
    @rule()
    def close(self) -> None:
        """Close gracefully."""
        self.step("close", self.now_s)

    @precondition(lambda self: self.fsm.state is not State.ACCEPTED and self.is_worth_a_step and self.has_lived)
    @rule()
    def write_eof(self) -> None:
        """End our direction."""
        self.step("write_eof", self.now_s)

    @precondition(lambda self: self.fsm.deadline != FOREVER and self.has_lived)
    @rule()
    def expire(self) -> None:
        """Let the deadline that runs pass."""
        limit, due_s = self.fsm.due()
        self.now_s = max(self.now_s, due_s)
        self.step("expire", limit)

    @precondition(lambda self: not self.fsm.closed and self.has_lived)
    @rule(name=st.sampled_from(["reset", "exceptional", "abort"]))
    def end(self, name: str) -> None:
        """End it at once."""
        self.step(name)

    @precondition(lambda self: self.is_worth_a_step)
    @rule(event=st.sampled_from(Event))
    def forbidden(self, event: Event) -> None:
        """Fire an event that the table forbids: it is refused, and nothing has changed."""
        if self.may(event):
            return
        before = (self.fsm.state, self.fsm.holds, self.fsm.outbox.size_bytes, self.fsm.close_reason)
        self.seen.steps[self.fsm.state] += 1
        self.closed_steps += self.fsm.closed
        try:
            self.fsm.fire(event)
        except Exception:  # noqa: BLE001 - that it is refused is what matters
            assert before == (self.fsm.state, self.fsm.holds, self.fsm.outbox.size_bytes, self.fsm.close_reason)
        else:
            raise AssertionError(f"{event} was allowed in {before[0]}, against the table")

    @rule(seconds=st.sampled_from([0.5, 3.0]))
    def time_passes(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds

    @invariant()
    def the_outbox_holds_bytes_exactly_while_sending(self) -> None:
        """Check invariant 1."""
        assert (self.fsm.state in SENDING) is bool(self.fsm.outbox.size_bytes)

    @invariant()
    def no_byte_is_lost_unseen(self) -> None:
        """Check invariant 4."""
        outbox = self.fsm.outbox
        assert self.written == outbox.taken_bytes + outbox.size_bytes + outbox.discarded_bytes
        assert self.taken_bytes == outbox.taken_bytes

    @invariant()
    def closed_is_final_and_has_a_reason(self) -> None:
        """Check invariant 3."""
        assert (self.fsm.state in CONNECTION.final) is (self.fsm.close_reason is not None)
        assert not self.fsm.closed or not (self.fsm.wants_read or self.fsm.wants_write or self.fsm.outbox.size_bytes)

    def story(self) -> str:
        """Tell the steps."""
        return "\n".join(["the steps:", *(f"    {step}" for step in self.steps), f"and then: {self.fsm!r}"])


# A whole server.


class ServerMachine(SearchMachine):
    """A server with any protocol class on a simulated kernel, up to six peers, and all faults.

    Subclass it with your `protocol`, and if you want with rules and invariants of your own. In rules of your own `self.do(name,
    ...)` does an operation, `self.a_peer()` gives a peer to talk with, `self.tell(peer, data)` has it send, `self.hear(peer)` gives
    all it has received so far. With `meddles` the application's own acts (writing, pausing, closing ...) are among the rules,
    done behind the protocol's back; with `faults` so is all that can go wrong.
    """

    protocol: ClassVar[Callable[[], object]]
    limits: ClassVar[Limits] = SIM_LIMITS
    poller: ClassVar[str] = "epoll"
    meddles: ClassVar[bool] = False
    faults: ClassVar[bool] = True

    def __init__(self) -> None:
        """Begin with no world yet: its configuration is drawn."""
        super().__init__()
        self.world: World
        self.operations: list[Operation] = []
        self.next_peer = 0
        self.calm_steps = 0

    @initialize(
        exceptional=st.sampled_from(["discard", "inline", "close"]),
        when_full=st.sampled_from(["wait", "refuse"]),
        eager_writes=st.sampled_from([True, False]),
        watched=st.sampled_from([True, True, True, False]),
        handshake=st.booleans(),
        room_bytes=st.sampled_from([64, 64, 256, 4096]),
    )
    def begin(self, room_bytes: int, **parts: Any) -> None:
        """Make the world."""
        config = Config(poller=self.poller, send_room_bytes=room_bytes, receive_room_bytes=room_bytes, **parts)
        self.world = World(type(self).protocol, self.configure(config), limits=self.limits, payload=self.payload)

    def configure(self, config: Config) -> Config:
        """Change the configuration that was drawn, for protocols that need something of it to be fixed."""
        return config

    def payload(self, peer: Peer, size_bytes: int) -> bytes:
        """Give what a peer says when it says `size_bytes` bytes; by default they are numbered, in a way."""
        start = (97 * peer.number + len(peer.sent)) % 1000
        return bytes((7 * place + (place >> 5)) & 0xFF for place in range(start, start + size_bytes))

    # For rules of one's own.

    def can_do(self, name: str) -> bool:
        """Tell whether a kind of operation makes sense now, and is in play for this machine."""
        kind, live = KINDS[name], self.world.live
        if name == "connect":
            return len(live) < MOST_PEERS
        if not live:
            return False
        if kind.group == "application":
            return self.meddles
        if is_trouble(name):
            return self.calm_steps >= CALM_STEPS and (self.faults or kind.group == "peer")
        return True

    def pick(self, place: int) -> Peer:
        """Choose a peer, of `PLACES` places: the states that connections are in have the same share, whatever their numbers.

        Closed ones have less, since little happens to them.
        """
        by_state: dict[State, list[Peer]] = {}
        for peer in self.world.live:
            by_state.setdefault(peer.state, []).append(peer)
        closed = by_state.pop(State.CLOSED, [])
        if closed and (place >= PLACES_OF_THE_OPEN or not by_state):
            return closed[place % len(closed)]
        groups = [by_state[state] for state in State if state in by_state]
        among = groups[place % len(groups)]
        return among[place // len(groups) % len(among)]

    def do(self, *operation: Any) -> bool:
        """Do an operation of the vocabulary; False if it cannot be done now."""
        self.operations.append(operation)
        self.calm_steps = 0 if is_trouble(operation[0]) else self.calm_steps + 1
        return self.world.apply(operation)

    @property
    def peers(self) -> list[Peer]:
        """The peers that are still there."""
        return [peer for peer in self.world.live if not peer.gone]

    def connect(self) -> Peer:
        """Have one more peer connect, and be accepted."""
        self.next_peer += 1
        self.do("connect", self.next_peer, 0, 0)
        self.do("round")
        return self.world.peers[self.next_peer]

    def a_peer(self) -> Peer:
        """Give a peer whose connection is open and that can still speak; one more connects if there is none."""
        for peer in self.peers:
            if not peer.ended and peer.state in (State.READING, State.QUEUED, State.WRITING) and not peer.link.fsm.holds:
                return peer
        return self.connect()

    def tell(self, peer: Peer, data: bytes) -> None:
        """Have a peer send `data`, as far as there is room, and the server do its rounds until it has dealt with it."""
        self.do("tell", peer.number, data.decode("latin-1"))
        for _ in range(MOST_ROUNDS):
            self.do("round")
            if not peer.ours.unread and (peer.link is None or not peer.link.fsm.outbox.size_bytes):
                break

    def hear(self, peer: Peer) -> bytes:
        """Have a peer receive what is there; give all that it has received since it connected."""
        self.do("hear", peer.number, 100_000)
        return peer.heard

    def teardown(self) -> None:
        """Stop the faults, have everybody leave, and see that nothing is left."""
        if hasattr(self, "world"):
            try:
                self.world.finish()
            finally:
                self.seen.add(self.world.coverage)

    def story(self) -> str:
        """Tell the peers' steps and the transitions, and give a test to paste."""
        if not hasattr(self, "world"):
            return "nothing happened yet"
        world = self.world
        links = {peer.link.number: peer.number for peer in world.peers.values() if peer.link is not None}
        lines = ["what happened:", *(f"    {words(operation)}" for operation in self.operations)]
        lines += ["the transitions:"] if world.config.watched else ["(this world was unwatched: its transitions were not recorded)"]
        lines += [
            f"    {when_s:8.3f} s  peer {links.get(number, '?')}: {origin} --{event}--> {CONNECTION.arrows[origin][event]}"
            for when_s, number, origin, event in world.transitions
        ]
        factory: Any = type(self).protocol
        name = f"{getattr(factory, '__module__', '')}:{getattr(factory, '__qualname__', repr(factory))}"
        kind = Failure(type(self).__name__, "this must hold to the end")
        lines += [f"peer {peer.number} said {bytes(peer.sent)!r} and heard {peer.heard!r}" for peer in world.peers.values()]
        return "\n".join([*lines, "as a test:", "", as_test(world.config, self.operations, name, kind)])


def is_trouble(name: str) -> bool:
    """Tell whether an operation is a fault, or ends something."""
    return KINDS[name].group in ("fault", "handler") or name in ("leave", "cut", "end", "jump")


def _make_rule(name: str, kind: Kind) -> Any:
    """Make a rule of one kind of operation; mostly a round follows it."""
    arguments: dict[str, Any] = {f"argument_{place}": st.sampled_from(choices) for place, choices in enumerate(kind.arguments)}
    of_a_peer = name not in NAMELESS and name != "connect"
    if of_a_peer:
        arguments["place"] = st.integers(0, PLACES - 1)
    if kind.group != "time":
        arguments["then_a_round"] = st.sampled_from([True, True, True, False])

    def operate(self: ServerMachine, *, place: int = 0, then_a_round: bool = False, **drawn: Any) -> None:
        values = list(drawn.values())
        if of_a_peer:
            values.insert(0, self.pick(place).number)
        elif name in BRINGS:
            values.insert(0, self.next_peer + 1)
            self.next_peer += BRINGS[name]
        self.do(name, *values)
        if then_a_round:
            self.do("round")

    operate.__name__ = operate.__qualname__ = f"op_{name}"
    operate.__doc__ = f"Do: {kind.about}."
    made: Any = rule(**arguments)(operate)  # type: ignore[no-untyped-call] # what is drawn has no types
    allowed: Any = precondition(lambda self: bool(self.can_do(name)))
    return allowed(made)


for _name, _kind in KINDS.items():
    for _copy in range(min(MOST_COPIES, 1 + _kind.weight // 7) if _kind.weight else 0):
        setattr(ServerMachine, f"op_{_name}_{_copy}" if _copy else f"op_{_name}", _make_rule(_name, _kind))


# Running them.


def scaled(count: int) -> int:
    """Give `count`, as many times over as the Hypothesis profile in force asks for more than 100 examples."""
    return count * max(1, settings.default.max_examples // USUAL_EXAMPLES)  # type: ignore[union-attr] # there is a default


def run_machine(machine: type[SearchMachine], bounds: settings | None = None) -> None:
    """Search with a machine; a failure tells its whole story.

    A search that was blind goes on for longer, since what is rare in few examples need not be in many.

    Raises:
        Exception: whatever the machine found, minimal, with the story as its note.
        Blind: it found nothing, and saw too little all the same.

    """
    machine.seen = Coverage()
    bounds = bounds or settings(SETTINGS, max_examples=scaled(SETTINGS.max_examples))
    spots: list[str] = []
    for times in PATIENCE:
        _search(machine, settings(bounds, max_examples=times * bounds.max_examples))
        spots = machine.blind_spots()
        if not spots:
            return
    raise Blind(f"{machine.__name__} was blind: {'; '.join(spots)}")


def _search(machine: type[SearchMachine], bounds: settings) -> None:
    try:
        run_state_machine_as_test(machine, settings=bounds)
    except Exception as error:
        if machine.latest is not None:
            error.add_note(machine.latest.story())
        raise
    finally:
        machine.latest = None


def state_machine_test(machine: type[SearchMachine], bounds: settings | None = None) -> type[TestCase]:
    """Make a test class of a machine, for pytest and unittest, to be given a name that begins with `Test`."""

    class MachineTest(TestCase):
        def test_search(self) -> None:
            run_machine(machine, bounds)

    MachineTest.__name__ = MachineTest.__qualname__ = f"Test{machine.__name__}"
    MachineTest.__doc__ = machine.__doc__
    return MachineTest


def check_protocol(factory: Callable[[], object], *, seeds: int = 200, examples: int = 50, limits: Limits = SIM_LIMITS) -> None:
    """Search for bugs in a protocol: first by seeds, then with a Hypothesis machine; return if none was found.

    Raises:
        AssertionError: something must hold and does not; the sentence has the minimal script, as a test to paste.

    """
    own = tuple(name for name, kind in KINDS.items() if kind.group != "application")

    def make_world(config: Config) -> World:
        return World(factory, config, limits=limits)

    for seed in range(scaled(seeds)):
        outcome = run_seed(seed, make_world, kinds=own)
        if outcome.failure is not None:
            best = reduce(outcome, make_world)
            failure = best.failure or outcome.failure
            name = f"{getattr(factory, '__module__', '')}:{getattr(factory, '__qualname__', repr(factory))}"
            raise AssertionError(f"{failure.sentence}\n\n{as_test(best.config, best.operations, name, failure)}")

    class Checked(ServerMachine):
        protocol = staticmethod(factory)

    Checked.limits = limits
    run_machine(Checked, settings(SETTINGS, max_examples=scaled(examples)))


__all__ = ["Blind", "ConnectionMachine", "SearchMachine", "ServerMachine", "check_protocol", "run_machine", "scaled", "state_machine_test"]
