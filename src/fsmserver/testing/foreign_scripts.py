"""Scripts for servers that know nothing of us: what peers and the network do, on which host; a seed makes one.

The words are those of `fsmserver.testing.operations` wherever they mean the same. What only a program of ours can be told
(that its handler raises, that it pauses) is not among them.
"""

from __future__ import annotations

import errno
import random
from dataclasses import dataclass, fields
from typing import Final, NamedTuple

from fsmserver.testing.kernel import RECEIVE_ROOM_BYTES, SEND_ROOM_BYTES, SimKernel
from fsmserver.testing.operations import Operation, words
from fsmserver.testing.stream import IN, OUT
from fsmserver.testing.system import FD_SETSIZE

HELD_BYTES: Final = 256 * 1024
"""What a server may keep for one peer: four times the high mark of asyncio's transports (64 KiB)."""

FLOOD_BYTES: Final = HELD_BYTES + 3 * (SEND_ROOM_BYTES + RECEIVE_ROOM_BYTES)
"""What a peer has to send so that a server that keeps all of it is beyond that, whatever the kernel's buffers take."""


class Kind(NamedTuple):
    """One kind of operation: how likely it is among the others, what its arguments are drawn from (the simplest first)."""

    weight: int
    arguments: tuple[tuple[int, ...], ...]
    about: str


SIZES: Final = (1, 5, 100, 1000, 1024, 1500, 5000)
GONE: Final = (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ECONNRESET)
ACCEPT_ERRORS: Final = (errno.ECONNABORTED, errno.EMFILE, errno.EPROTO, errno.ENETDOWN, errno.EPERM, errno.ENOBUFS)

KINDS: Final[dict[str, Kind]] = {
    "connect": Kind(8, (), "a peer connects"),
    "say": Kind(30, (SIZES,), "it sends so many bytes, as far as there is room"),
    "hear": Kind(12, (SIZES,), "it receives at most so many bytes"),
    "end": Kind(3, (), "it sends FIN and goes on receiving"),
    "leave": Kind(3, (), "it closes: with unread bytes that is a reset"),
    "cut": Kind(2, (), "it resets the connection"),
    "urge": Kind(2, (), "it sends one byte of urgent data"),
    "flood": Kind(1, ((FLOOD_BYTES,),), "it sends so many bytes, as fast as they are taken, and reads nothing meanwhile"),
    "lose": Kind(1, (GONE,), "the network gives its connection up, with this errno"),
    "short_send": Kind(3, ((1, 3, 20), (1, 4)), "the next sends to it take at most so many bytes, so many times"),
    "split": Kind(2, ((1, 10),), "what it sends next arrives in pieces, the first of at most so many bytes"),
    "delay": Kind(2, ((1, 70, 1000),), "what it sends next arrives so many milliseconds late"),
    "false_report": Kind(2, ((IN, OUT),), "the next wait reports it readable (1) or writable (4), true or not"),
    "fail_accept": Kind(1, (ACCEPT_ERRORS,), "the next accept fails with this errno"),
    "round": Kind(25, (), "the program has one round"),
    "pass": Kind(4, ((1, 70, 1000, 5000),), "so many milliseconds pass"),
}
"""Every kind of operation. An operation that cannot be done, because its peer is gone, is passed over."""

NAMELESS: Final = frozenset(("fail_accept", "round", "pass"))
"""The kinds that concern no one peer."""

ALWAYS_IN_PLAY: Final = frozenset(("connect", "say", "round"))


@dataclass(frozen=True, slots=True)
class Host:
    """The machine on which a script runs."""

    first_descriptor: int = 3
    """Those below are taken, as in a process that has files open."""
    descriptors: int = 4096
    send_room_bytes: int = SEND_ROOM_BYTES
    receive_room_bytes: int = RECEIVE_ROOM_BYTES

    def kernel(self) -> SimKernel:
        """Make the kernel."""
        return SimKernel(**{each.name: getattr(self, each.name) for each in fields(self)})

    def __str__(self) -> str:
        """Say what is unusual."""
        unusual = [f"{each.name} {getattr(self, each.name)}" for each in fields(self) if getattr(self, each.name) != each.default]
        return ", ".join(unusual)


@dataclass(frozen=True, slots=True)
class Script:
    """What happens, and where."""

    host: Host
    operations: tuple[Operation, ...]

    def __str__(self) -> str:
        """Say it in one line: `connect(0) say(0, 5) round() cut(0)`."""
        host = f"[{self.host}] " if str(self.host) else ""
        return host + (" ".join(map(words, self.operations)) or "(nothing but the newcomer)")


def random_script(seed: int) -> Script:
    """Make the script of a seed. Even seeds are uniform; odd ones draw which operations are in play and how likely."""
    rng = random.Random(seed)  # noqa: S311 - reproducible on purpose
    swarm = seed % 2 == 1
    weights = {
        name: kind.weight * (rng.choice((1, 2, 4)) if swarm else 1)
        for name, kind in KINDS.items()
        if not swarm or name in ALWAYS_IN_PLAY or rng.random() < 0.5
    }
    length = rng.choice((8, 20, 50))
    names = rng.choices(list(weights), list(weights.values()), k=length)
    peers = 0
    operations: list[Operation] = []
    for name in ["connect", *names]:
        if name == "connect":
            peers += 1
        who = () if name in NAMELESS else (peers - 1 if name == "connect" else rng.randrange(peers),)
        operations.append((name, *who, *(rng.choice(choices) for choices in KINDS[name].arguments)))
    return Script(_random_host(rng), tuple(operations))


def _random_host(rng: random.Random) -> Host:
    first = rng.choice((3, 3, 3, FD_SETSIZE - 4))
    return Host(
        first_descriptor=first,
        descriptors=rng.choice((4096, 4096, 4096, first + 6)),
        send_room_bytes=rng.choice((SEND_ROOM_BYTES, SEND_ROOM_BYTES, 1500)),
        receive_room_bytes=rng.choice((RECEIVE_ROOM_BYTES, RECEIVE_ROOM_BYTES, 1500)),
    )
