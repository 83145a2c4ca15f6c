"""Stands between the shipped scheduler and a protocol under test: watches what is called, and plays the application's part.

It passes every callback on to the protocol, and checks what asyncio documents of them: `connection_made` first and once, nothing
after `connection_lost`, which comes once, `pause_writing` and `resume_writing` in turn, and bytes in the order in which the
peer sent them. Troubles that were ordered for a callback happen in it.
"""

from __future__ import annotations

import traceback
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from fsmserver.core.connection import ConnectionFSM
from fsmserver.core.errors import IllegalTransition, OutboxOverflow, OutboxSealed
from fsmserver.core.states import Hold, State
from fsmserver.runtime.transport import Transport

if TYPE_CHECKING:
    from fsmserver.core.outbox import Buffer
    from fsmserver.testing.world import Peer, World

FINISHING: Final = Hold.FINISHING.value
CLOSED: Final = State.CLOSED


class HandlerError(Exception):
    """The trouble that was ordered: the application makes a mistake."""


class ProtocolFailed(AssertionError):
    """The protocol under test raised, and nobody had ordered that. Field: `error`, what it raised."""

    def __init__(self, callback: str, error: BaseException) -> None:
        """Keep the field and say the sentence."""
        super().__init__(callback, error)
        self.callback, self.error = callback, error

    def __str__(self) -> str:
        """Say it: `the protocol raised in data_received: IndexError: list index out of range`, and where."""
        where = traceback.extract_tb(self.error.__traceback__)[-1:]
        place = f" ({where[0].name}, line {where[0].lineno})" if where else ""
        return f"the protocol raised in {self.callback}: {type(self.error).__name__}: {self.error}{place}"


@lru_cache
def recorded(fsm_class: type[ConnectionFSM]) -> type[ConnectionFSM]:
    """Give a machine class that also has all that was written to it, so that it can be compared with what arrives."""

    class Recorded(fsm_class):  # type: ignore[misc, valid-type]
        __slots__ = ("written",)

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.written = bytearray()

    return Recorded


class RecordingTransport(Transport):
    """A transport that keeps what is written, in its machine's `written`; what is refused is taken out again.

    The machine itself overrides nothing, so that the loop serves it by its short way, as it does outside of the simulation.
    """

    __slots__ = ("_last_bytes",)

    def write(self, data: Buffer) -> None:
        """Keep the bytes, and queue them."""
        fsm: Any = self._fsm
        fsm.written += data
        write(self, data)

    def _write(self, data: bytes) -> None:
        self._last_bytes = len(data)
        queue(self, data)

    def _refuse(self, error: OutboxSealed | IllegalTransition | OutboxOverflow) -> None:
        fsm: Any = self._fsm
        del fsm.written[len(fsm.written) - self._last_bytes :]
        super()._refuse(error)


write, queue = Transport.write, Transport._write  # noqa: SLF001 - a subclass's own; super() costs as much as a message's check


class Witness:
    """A protocol that passes everything on to another one."""

    def __init__(self, world: World, inner: Any) -> None:
        """Watch `inner`."""
        self.world = world
        self.inner = inner
        self.peer: Peer | None = None
        self.transport: Any = None
        self.fsm: Any = None
        self.made = 0
        self.lost = 0
        self.paused = False
        self.delivered = world.preface_bytes
        self._data_received = getattr(inner, "data_received", None)

    def connection_made(self, transport: Any) -> None:
        """Learn whose connection this is."""
        self.made += 1
        if self.made != 1 or self.lost:
            self.world.violate(3, "connection_made was called a second time, or after the end")
        link = transport._link  # noqa: SLF001 - the world looks at what protocols need not see
        link.transport = self.transport = RecordingTransport(link)
        self.fsm = link.fsm
        self.peer = self.world.by_name.get(link.peername)
        if self.peer is not None:
            self.peer.witness = self
            self.peer.link = link
        self._pass_on("connection_made", self.transport)

    def data_received(self, data: bytes) -> None:
        """Compare with what the peer sent."""
        self.check_delivery(data)
        world, peer, data_received = self.world, self.peer, self._data_received
        if peer is not None and (peer.quiet or peer.troubles):
            if peer.quiet:
                self._keep_quiet(peer)
            else:
                self._pass_on("data_received", data)
        elif data_received is not None:
            world.inside += 1
            try:
                data_received(data)
            except Exception as error:
                self._blame("data_received", error)
                raise
            finally:
                world.inside -= 1

    def _keep_quiet(self, peer: Peer) -> None:
        peer.quiet -= 1
        self.world.coverage.sometimes["keep_quiet"] += 1

    def check_delivery(self, data: Any) -> None:
        """Check that `data` is what the peer sent next."""
        world, peer, fsm = self.world, self.peer, self.fsm
        world.messages += 1
        if fsm is None or self.lost:
            world.violate(3, "bytes were delivered before connection_made or after connection_lost")
        elif fsm.state is CLOSED or fsm._holds & FINISHING:  # noqa: SLF001 - as a number; a transport of the protocol's own may hide it
            world.violate(3, f"bytes were delivered after the close of {self.transport!r}")
        if peer is not None:
            before_bytes = self.delivered
            self.delivered = after_bytes = before_bytes + len(data)
            if peer.sent[before_bytes:after_bytes] != data and peer.exact:
                world.violate(4, f"peer {peer.number} did not send what was delivered: {bytes(data[:40])!r}, at {before_bytes}")

    def eof_received(self) -> Any:
        """Keep the connection half open if that was ordered."""
        if self.lost:
            self.world.violate(3, "eof_received was called after connection_lost")
        answer = self._pass_on("eof_received")
        return answer or (self.peer is not None and self.peer.half_open)

    def pause_writing(self) -> None:
        """See that it comes in turn."""
        if self.paused or self.lost:
            self.world.violate(5, "pause_writing was called twice, or after the end")
        self.paused = True
        self._pass_on("pause_writing")

    def resume_writing(self) -> None:
        """See that it comes in turn."""
        if not self.paused or self.lost:
            self.world.violate(5, "resume_writing was called without pause_writing, or after the end")
        self.paused = False
        self._pass_on("resume_writing")

    def connection_lost(self, error: BaseException | None) -> None:
        """See that it comes once, and only to who was made."""
        self.lost += 1
        if self.lost != 1 or not self.made:
            self.world.violate(3, "connection_lost was called twice, or without connection_made")
        if self.world.inside:
            self.world.violate(3, "connection_lost was called on the stack of another callback")
        self._pass_on("connection_lost", error)

    def _pass_on(self, name: str, *args: Any) -> Any:
        method = getattr(self.inner, name, None)
        self.world.inside += 1
        try:
            answer = None if method is None else method(*args)
            if self.peer is not None and name in self.peer.troubles:
                self.world.make_trouble(self.peer, name, self.transport)
        except Exception as error:
            self._blame(name, error)
            raise
        finally:
            self.world.inside -= 1
        return answer

    def _blame(self, name: str, error: Exception) -> None:
        if isinstance(error, HandlerError):
            return  # it was ordered
        if isinstance(error, RuntimeError) and self.peer is not None and self.peer.sealed:
            return  # write_eof was ordered, and the protocol could not know
        violation = error if isinstance(error, AssertionError) else ProtocolFailed(name, error)
        self.world.violation = self.world.violation or violation


class BufferedWitness(Witness):
    """The same for a `BufferedProtocol`."""

    def get_buffer(self, sizehint: int) -> Any:
        """Lend the inner protocol's buffer."""
        self._buffer = self.inner.get_buffer(sizehint)
        return self._buffer

    def buffer_updated(self, count_bytes: int) -> None:
        """Compare with what the peer sent."""
        self.check_delivery(bytes(memoryview(self._buffer).cast("B")[:count_bytes]))
        if self.peer is not None and self.peer.quiet:
            self._keep_quiet(self.peer)
        else:
            self._pass_on("buffer_updated", count_bytes)
