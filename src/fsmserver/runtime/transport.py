"""What a protocol writes to: the face of `asyncio.Transport`, as far as it makes sense for a socket.

Writes of one callback are offered to the kernel together when the callback has returned. All methods belong to the
loop's thread; other threads go through `transport.scheduler.call_soon_threadsafe`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from fsmserver.core.compiling import compiled
from fsmserver.core.connection import REPLIED
from fsmserver.core.errors import IllegalTransition, LimitError, OutboxOverflow, OutboxSealed

if TYPE_CHECKING:
    from fsmserver.core.connection import ConnectionFSM
    from fsmserver.core.outbox import Buffer
    from fsmserver.runtime.link import Link
    from fsmserver.runtime.scheduler import Scheduler

DEFAULT_HIGH_BYTES: Final = 64 * 1024
"""asyncio's default for `set_write_buffer_limits()`; kept for those who call it without arguments."""


@compiled(allow_interpreted_subclasses=True)
class Transport:
    """One connection as its protocol sees it."""

    __slots__ = ("_fsm", "_link")

    def __init__(self, link: Link) -> None:
        """Speak for `link`."""
        self._link = link
        self._fsm = link.fsm

    # Writing.

    def write(self, data: Buffer) -> None:
        """Queue `data` for sending; it never blocks. A mutable buffer is copied.

        After `close`, or once the connection is lost, what is written is dropped, as in asyncio. A protocol that
        writes past `outbox_cap_bytes`, deaf to `pause_writing`, has its connection aborted.

        Raises:
            TypeError: `data` is not bytes-like.
            RuntimeError: `write_eof` was called before.

        """
        if type(data) is not bytes:
            data = _as_bytes(data)
        fsm = self._fsm
        size_bytes = len(data)
        if size_bytes <= fsm.turn_bytes and size_bytes > 0:  # the loop's short way: it sends when this callback returns
            fsm.turn_bytes = 0
            outbox = fsm.outbox
            outbox.front = data
            outbox.size_bytes = size_bytes
            fsm.state = REPLIED
        else:
            self._write(data)

    def _write(self, data: bytes) -> None:
        link = self._link
        try:
            over = link.fsm.enqueue(data, link.scheduler.now_s)
        except (OutboxSealed, IllegalTransition, OutboxOverflow) as error:
            self._refuse(error)
            return
        link.touch()
        if over:
            link.call_protocol("pause_writing")

    def _refuse(self, error: OutboxSealed | IllegalTransition | OutboxOverflow) -> None:
        link = self._link
        if isinstance(error, OutboxOverflow):
            link.blame(error)
        elif isinstance(error, OutboxSealed) and not link.fsm.closing:
            raise RuntimeError("Cannot call write() after write_eof()") from error
        else:
            link.scheduler.counts.dropped_writes += 1

    def writelines(self, list_of_data: Iterable[Buffer]) -> None:
        """Queue all of `list_of_data`, in order, as one write."""
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        """End our direction once all that is queued is sent; receiving goes on."""
        link = self._link
        if not link.fsm.closing:
            link.fsm.write_eof(link.scheduler.now_s)
            link.touch()

    def can_write_eof(self) -> bool:
        """Tell that a stream socket can: True."""
        return True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set over which size the protocol is told to pause writing, and down to which it may go on, in bytes.

        Left out, `high` is four times `low`, or 64 KiB; `low` is a quarter of `high`.

        Raises:
            ValueError: not high >= low >= 0.

        """
        if high is None:
            high = DEFAULT_HIGH_BYTES if low is None else 4 * low
        if low is None:
            low = high // 4
        link = self._link
        try:
            over = link.fsm.set_marks(high, low)
        except LimitError as error:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0") from error
        link.touch()
        if over:
            link.call_protocol("pause_writing")

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Give the low and the high mark, in bytes."""
        return self._link.fsm.marks

    def get_write_buffer_size(self) -> int:
        """Give how many bytes are queued and not taken by the kernel."""
        return self._link.fsm.outbox.size_bytes

    # Reading.

    def pause_reading(self) -> None:
        """Deliver nothing until `resume_reading`. On a closing transport, or a second time, this does nothing."""
        self._link.fsm.pause(self._link.scheduler.now_s)
        self._link.touch()

    def resume_reading(self) -> None:
        """Take back `pause_reading`."""
        self._link.fsm.resume(self._link.scheduler.now_s)
        self._link.touch()

    def is_reading(self) -> bool:
        """Tell whether data may be delivered: neither paused by the protocol nor closing."""
        return not self._link.fsm.paused and not self._link.fsm.closing

    # Ending.

    def close(self) -> None:
        """Close gracefully: what is queued is sent, nothing more is delivered, `connection_lost(None)` follows."""
        self._link.fsm.close(self._link.scheduler.now_s)
        self._link.touch()

    def abort(self) -> None:
        """Close now; what is queued is lost and the peer gets a reset. `connection_lost(None)` follows."""
        if not self._link.fsm.closed:
            self._link.fsm.abort()
            self._link.touch()

    def is_closing(self) -> bool:
        """Tell whether the transport is closing or closed."""
        return self._link.fsm.closing

    # Who is at the ends.

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as in asyncio
        """Give `peername` (the address that accept gave, None for an unnamed peer), `sockname` or `socket`."""
        if name == "peername":
            return default if self._link.peername is None else self._link.peername
        sock = self._link.sock
        if sock is not None and name == "socket":
            return self._link.lend()
        if sock is not None and name == "sockname":
            return sock.getsockname()
        return default

    def set_protocol(self, protocol: object) -> None:
        """Have `protocol` get the callbacks from now on."""
        self._link.set_protocol(protocol)

    def get_protocol(self) -> object:
        """Give the protocol; None once the connection is lost."""
        return self._link.protocol

    @property
    def fsm(self) -> ConnectionFSM:
        """The connection's machine, to look at: `transport.fsm.state`, `.explain()`."""
        return self._link.fsm

    @property
    def scheduler(self) -> Scheduler:
        """The loop: `call_soon`, `call_later`, `call_soon_threadsafe`, `run_in_executor`."""
        return self._link.scheduler

    def __repr__(self) -> str:
        """Show whose it is and how it stands."""
        return f"<Transport of {self._link.name}: {self._link.fsm!r}>"


def _as_bytes(data: object) -> bytes:
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
    return bytes(data)
