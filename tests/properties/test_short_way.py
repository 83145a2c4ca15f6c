"""The loop's short way and the methods never differ: two worlds hear the same, and in one each transition is watched."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fsmserver.core.limits import Limits
from tests.fakes import Recorder, World, assert_invariants, assert_no_leaks, make_world, os_error

if TYPE_CHECKING:
    from fsmserver.runtime.transport import Transport

SMALL: Final = Limits(outbox_high_bytes=40, outbox_low_bytes=10, outbox_cap_bytes=100, read_budget_bytes=600, linger_bytes=200)

ANSWERS: Final = (
    "echo",
    "twice",
    "mutable",
    "nothing",
    "raise",
    "pause",
    "marks",
    "end",
    "close",
    "abort",
    "other",
    "empty",
    "unpause",
    "much",
)


class Talker(Recorder):
    """Does with each piece that comes what the world's script says."""

    def __init__(self, script: list[str], crowd: list[Talker]) -> None:
        super().__init__()
        self.script = script
        self.crowd = crowd

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        for word in self.script:
            self.answer(word, data)

    def answer(self, word: str, data: bytes) -> None:
        transport: Transport = self.transport
        match word:
            case "echo":
                self.say(data)
            case "twice":
                self.say(data)
                self.say(b"!")
            case "mutable":
                self.say(bytearray(data))
            case "empty":
                self.say(b"")
            case "much":
                self.say(data * 20)
            case "raise":
                raise RuntimeError("a bad day")
            case "pause":
                transport.pause_reading()
            case "unpause":
                transport.resume_reading()
            case "marks":
                transport.set_write_buffer_limits(5, 2)
            case "end":
                transport.write_eof()
            case "close":
                transport.close()
            case "abort":
                transport.abort()
            case "other":
                for other in self.crowd:
                    if other is not self:
                        other.say(b"news")


class ShortWayAgainstMethods(RuleBasedStateMachine):
    """Two worlds, the same script; only in the second is anybody watching."""

    def __init__(self) -> None:
        super().__init__()
        self.script: list[str] = ["echo"]
        self.watched = 0
        self.worlds = (make_world(limits=SMALL), make_world(limits=SMALL, watcher=self.count))
        self.crowds: tuple[list[Talker], list[Talker]] = ([], [])

    def count(self, *_: Any) -> None:
        self.watched += 1

    @initialize()
    def begin(self) -> None:
        self.connect()

    @precondition(lambda self: len(self.crowds[0]) < 4)
    @rule()
    def another(self) -> None:
        self.connect()

    def connect(self) -> None:
        for world, crowd in zip(self.worlds, self.crowds, strict=True):
            _, talker = world.connect(Talker(self.script, crowd))
            assert isinstance(talker, Talker)
            crowd.append(talker)

    def each(self, which: int) -> list[Any]:
        return [crowd[which % len(crowd)].sock for crowd in self.crowds]

    @rule(script=st.lists(st.sampled_from(ANSWERS), max_size=3))
    def answer_so(self, script: list[str]) -> None:
        self.script[:] = script

    @rule(which=st.integers(0, 3), size_bytes=st.sampled_from([1, 7, 30, 448, 700]), room_bytes=st.sampled_from([None, 0, 3, 50]))
    def hear(self, which: int, size_bytes: int, room_bytes: int | None) -> None:
        for sock in self.each(which):
            if sock.fd in sock.kernel.open:
                sock.feed(b"d" * size_bytes)
                sock.room_bytes = 1 << 30 if room_bytes is None else room_bytes

    @rule(which=st.integers(0, 3), what=st.sampled_from(["eof", "reset", "interrupted", "send fails", "again"]))
    def trouble(self, which: int, what: str) -> None:
        for sock in self.each(which):
            if sock.fd not in sock.kernel.open:
                continue
            match what:
                case "eof":
                    sock.feed_eof()
                case "reset":
                    sock.feed_error(errno.ECONNRESET)
                case "interrupted":
                    sock.feed_error(errno.EINTR)
                case "again":
                    sock.feed_error(errno.EAGAIN)
                case "send fails":
                    sock.send_error = os_error(errno.EPIPE)

    @rule(count=st.integers(1, 3))
    def rounds(self, count: int) -> None:
        for world in self.worlds:
            world.rounds(count)

    @rule()
    def time_passes(self) -> None:
        for world in self.worlds:
            world.clock.advance(1.0)

    @invariant()
    def they_are_equal(self) -> None:
        left, right = (self.told(world, crowd) for world, crowd in zip(self.worlds, self.crowds, strict=True))
        assert left == right

    def told(self, world: World, crowd: list[Talker]) -> list[object]:
        assert_invariants(world)
        told: list[object] = [world.scheduler.inputs, world.scheduler.outputs, world.scheduler.queues.keys(), world.scheduler.statistics()]
        for talker in crowd:
            link, sock = talker.link, talker.sock
            assert link is not None
            assert sock is not None
            fsm, outbox = link.fsm, link.fsm.outbox
            told += [
                fsm.state, fsm.holds, fsm.since_s, fsm.received_bytes, str(fsm.close_reason), fsm.marks, fsm.due(), link.registered,
                link.receive_bytes, outbox.size_bytes, outbox.taken_bytes, outbox.discarded_bytes, outbox.sealed,
                b"".join(bytes(chunk) for chunk in outbox.peek()), bytes(sock.sent), sock.sends, sock.receives, talker.names,
                talker.received,
            ]  # fmt: skip
            assert fsm.turn_bytes == 0
        return told

    def teardown(self) -> None:
        for world in self.worlds:
            world.scheduler.abort_all()
            assert_no_leaks(world)
        assert self.watched, "the second world went by the methods"


TestShortWayAgainstMethods = ShortWayAgainstMethods.TestCase
