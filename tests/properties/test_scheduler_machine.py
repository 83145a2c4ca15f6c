"""Socket events of every kind against the shipped scheduler on fake sockets: the eight invariants always hold.

Each fault is a rule of its own. Whatever a protocol does, in whichever callback, is drawn when its connection is made.
In the end the faults stop, the peers leave, time passes, and nothing at all may be left.
"""

import errno
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from fsmserver.core.limits import Limits
from fsmserver.core.states import Event, State
from fsmserver.runtime.ports import READABLE
from fsmserver.testing.stateful import scaled
from tests.fakes import FakeSocket, Recorder, World, assert_invariants, assert_no_leaks, make_world

LIMITS = Limits(
    handshake_s=2, idle_s=8, half_closed_s=3, linger_s=2, stall_s=4, lifetime_s=60, outbox_high_bytes=200, outbox_low_bytes=50,
    outbox_cap_bytes=3000, read_budget_bytes=64, linger_bytes=100, connections=6, accepts_per_round=3, drain_s=5,
)  # fmt: skip

CALLBACKS = ("connection_made", "data_received", "eof_received", "pause_writing", "resume_writing", "connection_lost")

VISITED: set[tuple[State, Event]] = set()
"""What was seen over all runs: a run that is blind proves nothing."""


def another(machine: "Searched", protocol: Recorder) -> Recorder | None:
    others = [each for each in machine.world.protocols if each is not protocol and each.link is not None]
    return others[0] if others else None


def close_another(machine: "Searched", protocol: Recorder) -> None:
    if (other := another(machine, protocol)) is not None:
        other.transport.abort()


def write_to_another(machine: "Searched", protocol: Recorder) -> None:
    other = another(machine, protocol)
    if other is not None and not other.transport.fsm.outbox.sealed:
        other.say(b"from elsewhere")


def say(protocol: Recorder, data: bytes) -> None:
    if not protocol.transport.fsm.outbox.sealed:
        protocol.say(data)


def say_in_pieces(protocol: Recorder) -> None:
    for _ in range(30):
        say(protocol, b"p" * 3)


def reply_and_close(protocol: Recorder) -> None:
    say(protocol, b"bye")
    protocol.transport.close()


def fail(machine: "Searched", protocol: Recorder) -> None:
    raise RuntimeError("a protocol failed")


ACTIONS: dict[str, Callable[["Searched", Recorder], object]] = {
    "nothing": lambda machine, protocol: None,
    "reply": lambda machine, protocol: say(protocol, b"reply"),
    "say much": lambda machine, protocol: say(protocol, b"m" * 500),
    "say in pieces": lambda machine, protocol: say_in_pieces(protocol),
    "close": lambda machine, protocol: protocol.transport.close(),
    "abort": lambda machine, protocol: protocol.transport.abort(),
    "reply and close": lambda machine, protocol: reply_and_close(protocol),
    "pause": lambda machine, protocol: protocol.transport.pause_reading(),
    "resume": lambda machine, protocol: protocol.transport.resume_reading(),
    "write eof": lambda machine, protocol: protocol.transport.write_eof(),
    "stay open": lambda machine, protocol: True,
    "abort another": close_another,
    "write to another": write_to_another,
    "fail": fail,
    "call soon": lambda machine, protocol: (protocol.transport.scheduler.call_soon(say, protocol, b"soon"), None)[-1],
    "call later": lambda machine, protocol: (protocol.transport.scheduler.call_later(1, protocol.transport.close), None)[-1],
    "marks to nothing": lambda machine, protocol: protocol.transport.set_write_buffer_limits(0),
}

WAYS = st.fixed_dictionaries({}, optional={name: st.sampled_from(sorted(ACTIONS)) for name in CALLBACKS}).flatmap(
    lambda ways: st.just({"data_received": "reply", **ways})
)


class Searched(RuleBasedStateMachine):
    """A server, its peers, and all that can happen to them."""

    world: World

    @initialize(policy=st.sampled_from(["discard", "inline", "close"]), when_full=st.sampled_from(["wait", "refuse"]), eager=st.booleans())
    def begin(self, policy: str, when_full: str, eager: bool) -> None:
        def watch(link: Any, fsm: Any, origin: State, event: Event) -> None:
            VISITED.add((origin, event))

        # Half of the runs are unwatched, so that the short cuts are searched too.
        self.world = make_world(limits=LIMITS, exceptional=policy, eager_writes=eager, watcher=watch if policy != "inline" else None)
        self.ways: list[dict[str, str]] = []
        self.listening, self.listener = self.world.listen(self.make_protocol, when_full=when_full)

    def make_protocol(self) -> Recorder:
        ways = self.ways.pop(0) if self.ways else {}
        if ways.get("factory") == "fail":
            raise RuntimeError("a factory failed")
        protocol = Recorder(
            **{name: (lambda protocol, *_, action=ACTIONS[way]: action(self, protocol)) for name, way in ways.items() if name in CALLBACKS}
        )
        self.world.protocols.append(protocol)
        return protocol

    @property
    def peers(self) -> list[FakeSocket]:
        """The sockets that are open now, and were accepted."""
        return [link.sock for link in self.world.scheduler.links.values() if isinstance(link.sock, FakeSocket)]

    def pick(self, number: int) -> FakeSocket:
        return self.peers[number % len(self.peers)]

    @rule(ways=WAYS, room_bytes=st.sampled_from([0, 3, 30, 100_000]))
    def a_peer_connects(self, ways: dict[str, str], room_bytes: int) -> None:
        self.ways.append(ways)
        self.listening.connect().room_bytes = room_bytes
        self.world.round()

    @rule()
    def the_factory_fails(self) -> None:
        self.ways.append({"factory": "fail"})
        self.listening.connect()
        self.world.round()

    @rule()
    def setting_a_connection_up_fails(self) -> None:
        self.listening.connect().setsockopt_error = OSError(errno.EINVAL, "gone")
        self.world.round()

    @rule(number=st.sampled_from([errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.EPERM, errno.EMFILE, errno.ENOMEM]))
    def accepting_fails(self, number: int) -> None:
        self.listening.fail(number)
        self.world.round()

    @precondition(lambda self: self.peers)
    @rule(number=st.integers(0, 5), size_bytes=st.integers(1, 150), pieces=st.integers(1, 3))
    def a_peer_sends(self, number: int, size_bytes: int, pieces: int) -> None:
        self.pick(number).feed(*([b"d" * size_bytes] * pieces))
        self.world.round()

    @precondition(lambda self: self.peers)
    @rule(number=st.integers(0, 5), room_bytes=st.sampled_from([0, 0, 1, 7, 60, 100_000]))
    def a_peer_makes_room(self, number: int, room_bytes: int) -> None:
        self.pick(number).room_bytes = room_bytes
        self.world.round()

    @precondition(lambda self: self.peers)
    @rule(number=st.integers(0, 5))
    def a_peer_ends_its_stream(self, number: int) -> None:
        self.pick(number).feed_eof()
        self.world.round()

    @precondition(lambda self: self.peers)
    @rule(number=st.integers(0, 5), error=st.sampled_from([errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT, errno.EHOSTUNREACH]))
    def a_peer_resets(self, number: int, error: int) -> None:
        self.pick(number).reset_by_peer(error)
        self.world.round()

    @precondition(lambda self: self.peers)
    @rule(number=st.integers(0, 5))
    def receiving_fails(self, number: int) -> None:
        self.pick(number).feed_error(errno.ECONNRESET)
        self.world.round()

    @precondition(lambda self: self.peers)
    @rule(number=st.integers(0, 5))
    def sending_fails(self, number: int) -> None:
        self.pick(number).send_error = OSError(errno.EPIPE, "gone")
        self.world.round()

    @precondition(lambda self: self.peers and self.world.scheduler.exceptional != "inline")
    @rule(number=st.integers(0, 5))
    def a_peer_sends_an_urgent_byte(self, number: int) -> None:
        self.pick(number).feed_urgent()
        self.world.round()

    @precondition(lambda self: self.peers)
    @rule(number=st.integers(0, 5))
    def the_poller_reports_what_is_not_so(self, number: int) -> None:
        sock = self.pick(number)
        if not sock.readiness() & READABLE:
            self.world.poller.inject(sock.fd, READABLE)
        self.world.round()

    @rule(fd=st.integers(500, 510))
    def the_poller_reports_what_is_nobodys(self, fd: int) -> None:
        self.world.poller.inject(fd, 1)
        self.world.round()

    @precondition(lambda self: self.peers)
    @rule(number=st.integers(0, 5), way=st.sampled_from(sorted(set(ACTIONS) - {"fail"})))
    def the_application_acts_by_itself(self, number: int, way: str) -> None:
        fd = self.pick(number).fd
        protocol = self.world.scheduler.links[fd].protocol
        ACTIONS[way](self, protocol)
        self.world.round()

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0, 9.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule(count=st.integers(1, 4))
    def rounds_go_by(self, count: int) -> None:
        self.world.rounds(count)

    @invariant()
    def what_must_always_hold(self) -> None:
        if hasattr(self, "world"):
            assert_invariants(self.world)

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        for sock in self.world.kernel.sockets:
            sock.room_bytes = 100_000
            sock.feed_eof()
        self.world.pass_time(LIMITS.lifetime_s + 1)
        waiting = [entry for entry in self.listening.backlog if not isinstance(entry, OSError)]
        assert not self.world.scheduler.links, "8: every connection whose peer has gone reaches closed"
        assert not waiting, "whoever waited was accepted"
        assert self.listener.interest, "the listener listens again"
        assert_no_leaks(self.world)


@pytest.mark.slow
def test_the_invariants_hold_whatever_happens() -> None:
    """Whether a search sees everything there is to see is asked of the simulated kernel's, which makes far more steps."""
    VISITED.clear()
    bounds = settings(max_examples=scaled(300), stateful_step_count=40, deadline=None, print_blob=True)
    run_state_machine_as_test(Searched, settings=bounds)
    assert {state for state, _ in VISITED} == set(State) - {State.CLOSED}
