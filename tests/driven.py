"""Traces of the shipped scheduler on the fakes, driven by a seeded random source through all that peers and protocols do."""

from __future__ import annotations

import errno
from collections.abc import Callable
from random import Random
from typing import Any

from fsmserver.core.errors import HandshakeFailed
from fsmserver.core.limits import Limits
from fsmserver.core.line import Line
from fsmserver.runtime.trace import transition
from tests.fakes import FakeSocket, Recorder, World, make_world

LIMITS = Limits(
    handshake_s=2, idle_s=8, half_closed_s=3, linger_s=2, stall_s=4, lifetime_s=60, outbox_high_bytes=200, outbox_low_bytes=50,
    outbox_cap_bytes=3000, read_budget_bytes=64, linger_bytes=100, connections=6,
)  # fmt: skip

CALLBACKS = ("connection_made", "data_received", "eof_received", "pause_writing", "resume_writing")
QUIET = ("connection_made", "resume_writing")  # most of the time: what is said there is said again and again


class Greeting:
    """A handshake: three bytes, and whatever comes after them is the application's. It does not like all of them."""

    def __init__(self) -> None:
        self.data = b""

    def feed(self, data: bytes) -> bytes | None:
        self.data += data
        if data.startswith(b"x"):
            raise HandshakeFailed("three bytes that begin with x")
        return self.data[3:] if len(self.data) >= 3 else None


def say(protocol: Recorder, data: bytes) -> None:
    if not protocol.transport.fsm.outbox.sealed:
        protocol.say(data)


def say_and_close(protocol: Recorder) -> None:
    say(protocol, b"bye")
    protocol.transport.close()


ACTIONS: dict[str, Callable[[Recorder], object]] = {
    "nothing": lambda protocol: None,
    "reply": lambda protocol: say(protocol, b"reply"),
    "say much": lambda protocol: say(protocol, b"m" * 500),
    "close": lambda protocol: protocol.transport.close(),
    "say and close": say_and_close,
    "abort": lambda protocol: protocol.transport.abort(),
    "pause": lambda protocol: protocol.transport.pause_reading(),
    "resume": lambda protocol: protocol.transport.resume_reading(),
    "write eof": lambda protocol: protocol.transport.write_eof(),
    "stay open": lambda protocol: True,
    "other marks": lambda protocol: protocol.transport.set_write_buffer_limits(100),
    "no marks": lambda protocol: protocol.transport.set_write_buffer_limits(0),
}
USUAL = ("nothing", "reply", "reply", "reply", "say much")


def random_trace(seed: int, steps: int = 40) -> list[Line]:
    """Drive a server from its first connection to its close; give every line of its trace."""
    return [Line.of(line) for line in plain_trace(seed, steps)]


def plain_trace(seed: int, steps: int = 40) -> list[dict[str, Any]]:
    """Give the same as `random_trace`, each line as it is written."""
    random = Random(seed)
    lines: list[dict[str, Any]] = []
    world = make_world(
        limits=LIMITS,
        eager_writes=random.random() < 0.8,
        exceptional=random.choice(["discard", "close"]),
        handshake=Greeting if random.random() < 0.3 else None,
        watcher=lambda link, fsm, origin, event: lines.append(transition(link, fsm, origin, event)),
    )
    for _ in range(steps):
        _step(random, world)
    for sock in _peers(world):
        sock.room_bytes = random.choice([0, 100_000])
        sock.feed_eof()
    _pass_time(world, random.choice([0, 5]))
    world.scheduler.close()
    return lines


def _peers(world: World) -> list[FakeSocket]:
    return [link.sock for link in world.scheduler.links.values() if isinstance(link.sock, FakeSocket)]


def _step(random: Random, world: World) -> None:
    peers = _peers(world)
    if not peers or (len(peers) < 5 and random.random() < 0.15):
        ways = {name: random.choice(["nothing"] * 30 * (name in QUIET) + [*USUAL, *ACTIONS]) for name in CALLBACKS}
        sock, _ = world.connect(Recorder(**{name: (lambda me, *_, do=ACTIONS[way]: do(me)) for name, way in ways.items()}))
        sock.room_bytes = random.choice([0, 3, 30, 100_000])
    else:
        _disturb(random, world, random.choice(peers))
    if random.random() < 0.1:
        _pass_time(world, random.choice([0.1, 1.0, 3.0, 9.0]))
    else:
        world.clock.advance(random.choice([0.0, 0.25]))
        for _ in range(random.choice([1, 1, 2])):
            world.scheduler.round(0.0)  # not the world's own, which looks at its invariants: the trace alone is to tell


def _pass_time(world: World, seconds: float) -> None:
    """Let time pass, in a bounded number of rounds: a machine that is broken on purpose may have something to do for ever."""
    end_s = world.clock.now_s + seconds
    for _ in range(100):
        if world.clock.now_s < end_s:
            world.scheduler.round(end_s - world.clock.now_s)
    world.clock.advance(max(0.0, end_s - world.clock.now_s))
    world.scheduler.round(0.0)


def _disturb(random: Random, world: World, sock: FakeSocket) -> None:
    match random.choice(["send", "send", "send", "room", "room", "eof", "reset", "urgent", "act", "act"]):
        case "send":
            sock.feed(*[random.choice([b"d", b"d", b"d", b"x"]) * random.randint(1, 150)] * random.randint(1, 2))
        case "room":
            sock.room_bytes = random.choice([0, 1, 7, 60, 100_000])
        case "eof":
            sock.feed_eof()
        case "reset" if random.random() < 0.4:
            sock.send_error = OSError(errno.EPIPE, "gone")
        case "reset" if random.random() < 0.4:
            sock.reset_by_peer(errno.ECONNRESET)
        case "urgent":
            sock.feed_urgent()
        case "act":
            protocol = world.scheduler.links[sock.fd].protocol
            if isinstance(protocol, Recorder):  # it is open
                ACTIONS[random.choice(list(ACTIONS))](protocol)
