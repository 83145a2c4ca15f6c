"""Rules of the kernel's semantics, each taken away by a small patch: a fake without any one of them is found out.

`with removed("…"):` runs with one rule less.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from fsmserver.testing import system
from fsmserver.testing.kernel import SimKernel
from fsmserver.testing.sockets import SimSocket
from fsmserver.testing.stream import ERR, HUP, NOWHERE, OUT, PRI, RDHUP, Stream
from fsmserver.testing.system import SimEpoll


class Patch(NamedTuple):
    """What is replaced: an attribute of a class or module, by what `make` makes of it. `poller` is one that can see it."""

    owner: Any
    name: str
    make: Callable[[Any], Any]
    poller: str = "epoll"


def _after(change: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """Have `change(self, result)` give the result."""

    def make(original: Any) -> Any:
        return lambda self, *arguments, **options: change(self, original(self, *arguments, **options))

    return make


def _before(change: Callable[[Any], object]) -> Callable[[Any], Any]:
    """Have `change(self)` done first."""

    def make(original: Any) -> Any:
        def method(self: Any, *arguments: Any, **options: Any) -> Any:
            change(self)
            return original(self, *arguments, **options)

        return method

    return make


def _without(bits: int) -> Callable[[Any], Any]:
    return _after(lambda _, found: found & ~bits)


def _forget_input(stream: Stream) -> None:
    stream.unread = b""


def _forget_linger(stream: Stream) -> None:
    stream.linger_reset = False


def _always_econnreset(stream: Stream, _: None) -> None:
    stream.error = stream.error and errno.ECONNRESET


def _forget_mark(stream: Stream) -> None:
    stream.urgent = NOWHERE


def _read_as_if_inline(original: Any) -> Any:
    def meet_mark(stream: Stream, size_bytes: int) -> int:
        inline, stream.inline = stream.inline, True
        allowed_bytes: int = original(stream, size_bytes)
        stream.inline = inline
        return allowed_bytes

    return meet_mark


def _give_again(stream: Stream, data: bytes) -> bytes:
    stream.urgent_valid = True
    return data


def _end_first(stream: Stream) -> None:
    if stream.write_shut and not stream.fin_sent and not stream.over:
        stream.fin_sent = True
        stream.peer.take_fin()


def _swallow(original: Any) -> Any:
    def deliver(stream: Stream) -> bool:
        peer = stream.peer
        if not peer.orphan:
            delivered: bool = original(stream)
            return delivered
        stream.unsent = b""
        return True

    return deliver


def _take_in(original: Any) -> Any:
    def deliver(stream: Stream) -> bool:
        peer = stream.peer
        peer.read_shut, shut = peer.orphan, peer.read_shut
        delivered: bool = original(stream)
        peer.read_shut = peer.read_shut or shut
        return delivered

    return deliver


def _forget_free(kernel: SimKernel, _: None) -> None:
    kernel._free.clear()


def _drop_silently(_: Any) -> Any:
    def unbind(kernel: SimKernel, queue: Any) -> None:
        kernel.ports.pop(queue.address, None)

    return unbind


def _without_options(_: SimSocket, accepted: Any) -> Any:
    accepted[0].options.clear()
    return accepted


def _overwrite(_: Any) -> Any:
    def register(epoll: SimEpoll, thing: Any, eventmask: int) -> None:
        epoll._masks[epoll._open(thing)] = epoll._mask(eventmask)

    return register


def _nothing(_: Any) -> Any:
    return lambda *_: None


def _any_room(stream: Stream, found: int) -> int:
    return found | OUT if len(stream.unsent) < stream.send_room_bytes else found


def _over_is_fine(original: Any) -> Any:
    return lambda stream, how: None if stream.over else original(stream, how)


REMOVED: Final[dict[str, Patch]] = {
    "closing with unread input resets": Patch(Stream, "close", _before(_forget_input)),
    "closing with SO_LINGER 0 s resets": Patch(Stream, "close", _before(_forget_linger)),
    "a reset after the peer's FIN is EPIPE": Patch(Stream, "take_reset", _after(_always_econnreset)),
    "a reset leaves what is unread": Patch(Stream, "take_reset", _before(_forget_input)),
    "after both FINs shutdown says ENOTCONN": Patch(Stream, "shutdown", _over_is_fine),
    "the FIN comes behind what waits to be sent": Patch(Stream, "push", _before(_end_first)),
    "bytes for a closed end reset": Patch(Stream, "_deliver", _swallow),
    "bytes for an end that is shut in both directions reset": Patch(Stream, "_deliver", _take_in),
    "the call that meets an error clears it": Patch(Stream, "take_error", lambda _: lambda stream: stream.error),
    "what is over is hung up": Patch(Stream, "readiness", _without(HUP)),
    "the peer's FIN is RDHUP": Patch(Stream, "readiness", _without(RDHUP), "poll"),
    "an error is ERR": Patch(Stream, "readiness", _without(ERR), "poll"),
    "urgent data is PRI": Patch(Stream, "readiness", _without(PRI), "select"),
    "writable means a third of the room": Patch(Stream, "readiness", _after(_any_room), "select"),
    "a recv stops before the mark": Patch(Stream, "recv", _before(_forget_mark)),
    "a recv skips the urgent byte": Patch(Stream, "_meet_mark", _read_as_if_inline),
    "MSG_OOB gives the byte once": Patch(Stream, "_recv_urgent", _after(_give_again)),
    "the lowest free descriptor is next": Patch(SimKernel, "release", _after(_forget_free)),
    "closing a listener resets who waits": Patch(SimKernel, "unbind", _drop_silently),
    "an accepted socket has the listener's options": Patch(SimSocket, "accept", _after(_without_options)),
    "HUP and ERR come unasked": Patch(system, "ALWAYS", lambda _: 0),
    "a closed descriptor leaves an epoll set": Patch(SimEpoll, "forget", _nothing),
    "nothing is in an epoll set twice": Patch(SimEpoll, "register", _overwrite),
}
"""The rules by name."""


@contextmanager
def removed(name: str) -> Iterator[str]:
    """Take a rule away meanwhile; give a poller that can see it."""
    owner, attribute, make, poller = REMOVED[name]
    original = vars(owner)[attribute]
    setattr(owner, attribute, make(original))
    try:
        yield poller
    finally:
        setattr(owner, attribute, original)
