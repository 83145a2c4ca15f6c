"""A simulated world serves by the same ways as the loop outside of it, and compares every byte in both."""

from __future__ import annotations

import pytest

from fsmserver.cli.echo import Echo
from fsmserver.core.connection import ConnectionFSM
from fsmserver.core.states import State
from fsmserver.runtime.link import Link
from fsmserver.testing.invariants import InvariantViolated
from fsmserver.testing.kernel import SimKernel
from fsmserver.testing.world import Config, World


def talk(world: World, messages: int = 3) -> World:
    """Let one peer connect and say something a few times."""
    world.apply(("connect", 1, 0, 0))
    world.apply(("round",))
    for _ in range(messages):
        for operation in (("say", 1, 10), ("round",), ("hear", 1, 100)):
            assert world.apply(operation)
    return world


def forbid(*_: object) -> None:
    """Be called where nothing should call."""
    raise AssertionError("this goes by the methods")


UNWATCHED = pytest.mark.untraced("it is about machines that nobody watches")


class TestWays:
    @UNWATCHED
    def test_an_unwatched_world_goes_the_short_way(self, monkeypatch: pytest.MonkeyPatch) -> None:
        world = World(Echo, Config(watched=False))
        talk(world, 0)
        fsm = world.peers[1].link.fsm
        assert fsm.usual_bytes
        with monkeypatch.context() as patch:
            patch.setattr(Link, "readable", forbid)
            patch.setattr(ConnectionFSM, "enqueue", forbid)
            talk(world)
        assert world.peers[1].got_bytes == len(fsm.written) == 30
        world.finish()

    def test_a_watched_world_goes_by_the_methods_and_sees_every_transition(self) -> None:
        world = talk(World(Echo, Config(watched=True)))
        assert not world.peers[1].link.fsm.usual_bytes
        assert [event.value for *_, event in world.transitions] == ["open", *3 * ["receive", "enqueue", "flush", "drain"]]
        world.finish()

    def test_a_machine_of_ones_own_goes_by_its_methods(self) -> None:
        seen = []

        class Counting(ConnectionFSM):
            __slots__ = ()

            def receive(self, data: bytes, now_s: float = 0.0) -> bool:  # type: ignore[override] # a narrower argument will do here
                seen.append(data)
                return super().receive(data, now_s)

        world = talk(World(Echo, Config(watched=False), fsm_class=Counting))
        assert not world.peers[1].link.fsm.usual_bytes
        assert len(seen) == 3

    @pytest.mark.parametrize("watched", [False, True])
    @pytest.mark.parametrize("poller", ["select", "poll", "epoll"])
    def test_both_ways_make_the_same_calls(self, poller: str, *, watched: bool) -> None:
        world = talk(World(Echo, Config(watched=watched, poller=poller)))
        calls = [(name, count_bytes) for _, name, _, count_bytes in world.kernel.log or () if name in {"recv", "send"}]
        assert calls == 3 * [("recv", 10), ("send", 10)]


class TestBytes:
    @pytest.mark.pure
    @UNWATCHED
    @pytest.mark.parametrize("watched", [False, True])
    def test_a_byte_that_changes_on_its_way_in_is_found(self, monkeypatch: pytest.MonkeyPatch, *, watched: bool) -> None:
        world = World(Echo, Config(watched=watched))
        if watched:
            monkeypatch.setattr(Link, "readable", lambda link: link.fsm.receive(b"x", 0.0) and link.call_protocol("data_received", b"x"))
        else:
            monkeypatch.setattr(world.scheduler, "_read", lambda fd, length: b"x" * len(SimKernel.read(world.kernel, fd, length)))
        with pytest.raises(InvariantViolated, match="did not send what was delivered"):
            talk(world)

    @UNWATCHED
    def test_a_byte_that_changes_on_its_way_out_is_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        world = World(Echo, Config(watched=False))
        monkeypatch.setattr(world.scheduler, "_write", lambda fd, data: SimKernel.write(world.kernel, fd, b"x" * len(data)))
        with pytest.raises(InvariantViolated, match="received what was not written"):
            talk(world)

    def test_what_is_refused_was_not_written(self) -> None:
        world = talk(World(Echo, Config(watched=False)), 0)
        transport = world.peers[1].witness.transport  # type: ignore[union-attr] # it was accepted
        transport.write(b"kept")
        transport.close()
        transport.write(b"dropped")
        assert world.peers[1].link.fsm.written == b"kept"
        assert world.scheduler.counts.dropped_writes == 1
        for operation in (("round",), ("hear", 1, 100)):
            world.apply(operation)
        assert world.peers[1].heard == b"kept"
        world.finish()
        assert world.peers[1].link.fsm.state is State.CLOSED
