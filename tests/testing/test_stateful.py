"""The Hypothesis machines: they pass over what is right, find what is wrong, and tell it so that people can read it."""

import asyncio
import re
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import invariant, rule

from fsmserver.cli.echo import Echo
from fsmserver.core.connection import ConnectionFSM
from fsmserver.core.states import Event, State
from fsmserver.testing import stateful
from fsmserver.testing.operations import KINDS
from fsmserver.testing.stateful import (
    SETTINGS,
    Blind,
    ConnectionMachine,
    SearchMachine,
    ServerMachine,
    check_protocol,
    run_machine,
    scaled,
    state_machine_test,
)
from fsmserver.testing.world import Config, World

BRIEF = settings(SETTINGS, max_examples=scaled(30))
SHORT = settings(SETTINGS, max_examples=60)


class EchoMachine(ServerMachine):
    protocol = Echo


class MeddledMachine(ServerMachine):
    protocol = Echo
    poller = "select"
    meddles = True


class Pairs(asyncio.BufferedProtocol):
    """An asyncio protocol with a buffer of its own."""

    def __init__(self) -> None:
        self.buffer = bytearray(100)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.transport.write(bytes(self.buffer[:nbytes]))


class BufferedMachine(ServerMachine):
    protocol = Pairs


TestConnection = state_machine_test(ConnectionMachine)
TestEcho = state_machine_test(EchoMachine)
TestMeddled = state_machine_test(MeddledMachine)
TestBuffered = state_machine_test(BufferedMachine)


def test_each_kind_of_operation_is_a_rule_of_its_own() -> None:
    rules = {name for name in dir(ServerMachine) if name.startswith("op_")}
    assert {f"op_{name}" for name, kind in KINDS.items() if kind.weight} <= rules


class Forgetful(Echo):
    """Forgets every fifth byte."""

    def data_received(self, data: bytes) -> None:
        if len(data) >= 5:
            raise ValueError("too much at once")
        super().data_received(data)


def test_a_protocol_that_raises_is_found_in_one_line_with_a_test_to_paste() -> None:
    with pytest.raises(AssertionError, match="the protocol raised in data_received: ValueError: too much at once") as caught:
        check_protocol(Forgetful)
    text = str(caught.value)
    assert "from tests.testing.test_stateful import Forgetful" in text
    pasted = re.search(r"^from .*", text, flags=re.DOTALL | re.MULTILINE)
    assert pasted is not None
    space: dict[str, Any] = {}
    exec(pasted.group().replace("from tests.testing.test_stateful import Forgetful", ""), {"Forgetful": Forgetful}, space)


def test_a_protocol_that_is_right_passes_in_one_line() -> None:
    check_protocol(Echo, seeds=20, examples=5)


class Suspicious(EchoMachine):
    """Takes something for wrong that is not."""

    @invariant()
    def nobody_says_anything(self) -> None:
        assert not any(peer.sent for peer in self.peers), "somebody spoke"


def test_a_failure_tells_the_steps_the_transitions_and_a_test() -> None:
    with pytest.raises(AssertionError, match="somebody spoke") as caught:
        run_machine(Suspicious, BRIEF)
    story = caught.value.__notes__[-1]
    assert "what happened:\n    connect(1, 0, 0)" in story
    assert "the transitions:" in story
    assert "world.apply(('connect', 1, 0, 0))" in story
    assert "peer 1 said " in story


class Unseen(EchoMachine):
    """Declares what never happens."""

    @rule()
    def look(self) -> None:
        self.sometimes("pigs fly", condition=False)
        self.sometimes("somebody is there", bool(self.peers))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that was blind does not go on."""
    monkeypatch.setattr(stateful, "PATIENCE", (1,))


@pytest.mark.usefixtures("impatient")
def test_a_search_that_never_sees_what_it_declares_is_blind() -> None:
    with pytest.raises(Blind, match="never happened: pigs fly"):
        run_machine(Unseen, SHORT)


class OneEyed(EchoMachine):
    """Never lets anything be queued."""

    least_share = 0.2

    def configure(self, config: Config) -> Config:
        return Config(watched=False, eager_writes=True)


@pytest.mark.usefixtures("impatient")
def test_a_search_in_which_a_state_is_rare_is_blind() -> None:
    with pytest.raises(Blind, match=r"of the steps were in queued"):
        run_machine(OneEyed, SHORT)


class Late(EchoMachine):
    """Sees something rare: it comes once, after many steps."""

    least_share = 0.0
    steps = 0

    @rule()
    def look(self) -> None:
        Late.steps += 1
        self.sometimes("it is late", Late.steps > 100)


def test_a_search_that_was_blind_goes_on_before_it_says_so() -> None:
    run_machine(Late, SHORT)
    assert Late.steps > 100


def test_a_run_that_is_too_short_is_not_called_blind() -> None:
    run_machine(EchoMachine, settings(SETTINGS, max_examples=1, stateful_step_count=2))


class LosesBytes(ConnectionFSM):
    """Loses a byte of each large write."""

    __slots__ = ()

    def enqueue(self, data: bytes, now_s: float = 0.0) -> bool:
        return super().enqueue(data[1:] if len(data) > 10 else data, now_s)


class Reopens(ConnectionFSM):
    """Comes back from the dead."""

    __slots__ = ()

    def fire(self, event: Event, *, error: BaseException | None = None, who: Any = None) -> None:
        if self.state is State.CLOSED:
            self.state = State.READING
        else:
            super().fire(event, error=error, who=who)


@pytest.mark.parametrize("fsm", [LosesBytes, Reopens])
def test_a_connection_machine_finds_a_faulty_machine_and_tells_its_steps(fsm: type[ConnectionFSM]) -> None:
    class Faulty(ConnectionMachine):
        fsm_class = fsm

    with pytest.raises(AssertionError) as caught:
        run_machine(Faulty, BRIEF)
    assert "the steps:" in caught.value.__notes__[-1]


class Talk(EchoMachine):
    """Uses what is there for rules of one's own."""

    faults = False
    least_share = 0.01  # most of its steps are talk

    @rule()
    def what_is_told_is_heard(self) -> None:
        peer = self.a_peer()
        if peer.link is None or peer.state is State.CLOSED or peer.link.fsm.holds or peer.state is State.ACCEPTED:
            return
        before = self.hear(peer)
        self.tell(peer, b"hello")
        self.sometimes("told", self.hear(peer).startswith(before) and len(peer.heard) > len(before))


def test_a_rule_of_ones_own_can_talk_with_the_server() -> None:
    run_machine(Talk)
    assert Talk.seen.sometimes["told"]


def test_a_machine_without_a_story_cannot_be_told() -> None:
    with pytest.raises(NotImplementedError):
        SearchMachine.story(ConnectionMachine())


def test_a_world_that_was_never_made_has_a_story_too() -> None:
    assert EchoMachine().story() == "nothing happened yet"


def test_the_story_of_an_unwatched_world_says_so() -> None:
    machine = EchoMachine()
    machine.world = World(Echo, Config(watched=False))
    assert "unwatched" in machine.story()
