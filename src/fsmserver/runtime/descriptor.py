"""A connected socket by its bare descriptor: what accept gives, without the object that the standard library makes of it.

To make that object takes a system call and a tenth of all that a short connection executes. The loop reads and writes by
descriptor anyway; who needs more of a socket than this gets the whole one.
"""

import os
import socket
import warnings
from collections.abc import Sequence
from typing import Any, Final

from fsmserver.core.outbox import Buffer
from fsmserver.runtime.ports import Address, RealSocket

close: Final = os.close


class Descriptor:
    """A stream socket that is connected, with the methods of `ports.Socket`."""

    __slots__ = ("_fd", "_made_of", "_whole")

    def __init__(self, fd: int, made_of: tuple[int, ...]) -> None:
        """Take charge of `fd`; `made_of` are the family, the kind and the protocol of the socket."""
        self._fd = fd
        self._made_of = made_of
        self._whole: socket.socket | None = None

    def whole(self) -> socket.socket:
        """Give the standard library's socket of this descriptor, which is one for both: either closes it."""
        if self._whole is None:
            family, kind, protocol = self._made_of
            self._whole = RealSocket(family, kind, protocol, self._fd)
            self._whole.setblocking(False)
        return self._whole

    def fileno(self) -> int:
        """Give the descriptor, -1 once closed."""
        return self._fd if self._whole is None else self._whole.fileno()

    def close(self) -> None:
        """Give the descriptor back; a second time this does nothing."""
        fd, whole = self._fd, self._whole
        self._fd = -1
        if whole is not None:
            whole.close()
        elif fd >= 0:
            close(fd)

    def __del__(self) -> None:
        """Close what nobody has closed, and warn of it, as the standard library's socket does."""
        if self._fd >= 0 and self._whole is None:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            self.close()

    def detach(self) -> int:
        """Hand the descriptor on without closing it."""
        fd = self.fileno()
        self._fd = -1
        if self._whole is not None:
            self._whole.detach()
        return fd

    def setblocking(self, flag: bool, /) -> None:  # noqa: FBT001 - the standard library's signature
        """Choose blocking calls or EAGAIN."""
        os.set_blocking(self._fd, flag)

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive at most `bufsize` bytes; empty at the end of the stream."""
        return self.whole().recv(bufsize, flags) if flags else os.read(self._fd, bufsize)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0, /) -> int:  # noqa: ANN401 - any writable buffer
        """Receive into `buffer`; give the number of bytes."""
        return self.whole().recv_into(buffer, nbytes, flags)

    def send(self, data: Buffer, flags: int = 0, /) -> int:
        """Offer bytes to the kernel; give how many it took."""
        return self.whole().send(data, flags) if flags else os.write(self._fd, data)

    def sendmsg(self, buffers: Sequence[Buffer], /) -> int:
        """Offer several buffers at once; give how many bytes the kernel took."""
        return os.writev(self._fd, buffers)

    def shutdown(self, how: int, /) -> None:
        """End one direction."""
        self.whole().shutdown(how)

    def setsockopt(self, level: int, option: int, value: Any, /) -> None:  # noqa: ANN401 - int or bytes
        """Set an option."""
        self.whole().setsockopt(level, option, value)

    def getsockopt(self, level: int, option: int, /) -> int:
        """Read an option."""
        return self.whole().getsockopt(level, option)

    def getsockname(self) -> Address:
        """Give our own address."""
        return self.whole().getsockname()

    def __repr__(self) -> str:
        """Show the number."""
        return f"<Descriptor {self.fileno()}>"
