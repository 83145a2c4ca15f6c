"""A connection's message queue: what the application wrote and the kernel has not taken."""

from typing import Final, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview

IOV_MAX: Final = 1024
"""At most this many buffers go into one sendmsg: the Linux, BSD and macOS limit (POSIX allows as few as 16)."""

JOIN_BYTES: Final = 4 * 1024
"""Writes smaller than this are joined, so that a million writes of one byte neither cost a million objects nor calls."""


class Outbox:
    """A first-in, first-out queue of chunks of bytes, taken from the front in any portions.

    `size_bytes` is what it holds now. Over its life `written_bytes` = `taken_bytes` + `size_bytes` + `discarded_bytes`.
    `front` is the first chunk, None if there is none; it and `rest` are changed here and in the short cuts of
    `ConnectionFSM` only, which know an empty queue and a lone chunk. Most queues never hold more than one.
    `sealed` says that the end of the stream is queued behind the last byte.
    """

    __slots__ = ("_front_bytes", "_growing", "discarded_bytes", "front", "rest", "sealed", "size_bytes", "taken_bytes")

    def __init__(self) -> None:
        """Start empty and open."""
        self.front: bytes | bytearray | None = None
        self.rest: list[bytes | bytearray] | tuple[()] = ()  # most connections never have any, and a list of their own for it
        self._front_bytes = 0  # of the first chunk, this much is taken
        self._growing = False  # the last chunk is a bytearray of ours that nobody was offered yet
        self.size_bytes = self.taken_bytes = self.discarded_bytes = 0
        self.sealed = False

    def __len__(self) -> int:
        """Give the number of bytes held."""
        return self.size_bytes

    @property
    def written_bytes(self) -> int:
        """All that was ever appended, in bytes."""
        return self.taken_bytes + self.size_bytes + self.discarded_bytes

    def append(self, data: bytes) -> None:
        """Put `data` at the end. It is kept, not copied, unless it is small and is joined to a small chunk before it."""
        if self.front is None:
            self.front = data
        elif len(data) < JOIN_BYTES:
            self._join(data)
        else:
            self._put(data)
            self._growing = False
        self.size_bytes += len(data)

    def _join(self, data: bytes) -> None:
        if self._growing and self.rest and len(self.rest[-1]) < JOIN_BYTES:
            self.rest[-1] += data  # a bytearray: in place
        else:
            self._put(bytearray(data))
            self._growing = True

    def _put(self, chunk: bytes | bytearray) -> None:
        if self.rest:
            self.rest.append(chunk)
        else:
            self.rest = [chunk]

    def peek(self) -> list[Buffer]:
        """Show the front of the queue as at most `IOV_MAX` buffers; nothing is removed.

        After this call nothing shown is changed by later appends, so it can be given to the kernel as it is.
        """
        self._growing = False
        if self.front is None:
            return []
        front: Buffer = memoryview(self.front)[self._front_bytes :] if self._front_bytes else self.front
        return [front, *self.rest[: IOV_MAX - 1]]

    def take(self, count_bytes: int) -> None:
        """Remove `count_bytes` from the front: the kernel has them.

        Raises:
            ValueError: that is more than there is, or less than nothing; nothing was changed.

        """
        if count_bytes == self.size_bytes:
            self._empty()
        elif 0 <= count_bytes < self.size_bytes:
            self._take_some(count_bytes)
        else:
            raise ValueError(f"{count_bytes} bytes were taken from an outbox that holds {self.size_bytes}")
        self.size_bytes -= count_bytes
        self.taken_bytes += count_bytes

    def _take_some(self, count_bytes: int) -> None:
        done = 0
        front = self.front
        assert front is not None, "what is not empty has a front"
        left = self._front_bytes + count_bytes
        while left >= len(front):
            left -= len(front)
            front = self.rest[done]
            done += 1
        if done:
            self.rest = list(self.rest[done:])
        self.front, self._front_bytes = front, left

    def _empty(self) -> None:
        self.front = None
        self.rest = ()
        self._front_bytes = 0
        self._growing = False

    def discard(self) -> int:
        """Throw everything away and seal the queue; give the number of bytes lost."""
        self.sealed = True
        lost_bytes = self.size_bytes
        if lost_bytes:
            self._empty()
            self.size_bytes = 0
            self.discarded_bytes += lost_bytes
        return lost_bytes
