"""What happens in `accepted`: bytes that come before the application sees the connection.

A handshake is fed what arrives until it says that it is done; what arrived beyond it is handed on. It has `handshake_s`,
and nothing reaches a protocol before `open`. While it lasts a `Gate` stands where the protocol will.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from fsmserver.core.errors import HandshakeFailed
from fsmserver.core.reasons import Who

if TYPE_CHECKING:
    from fsmserver.runtime.link import Link


class Handshake(Protocol):
    """Decides when a connection is open."""

    def feed(self, data: bytes, /) -> bytes | None:
        """Take what arrived. Give None while more is needed, and at the end what does not belong to the handshake.

        Raises:
            HandshakeFailed: the peer does not keep to it; the connection is aborted.

        """


class Gate:
    """Stands for a protocol that is not made yet."""

    __slots__ = ("_factory", "_handshake", "_link")

    def __init__(self, link: Link, handshake: Handshake, factory: Callable[[], object]) -> None:
        """Keep the protocol's factory until the handshake is done."""
        self._link = link
        self._handshake = handshake
        self._factory = factory

    def data_received(self, data: bytes) -> None:
        """Feed the handshake; when it is done, open the connection and hand on what is left."""
        link = self._link
        try:
            rest = self._handshake.feed(data)
        except HandshakeFailed as error:
            link.fsm.abort(error, who=Who.PEER)
            link.touch()
            return
        if rest is not None:
            link.begin(self._factory())
            if rest and not link.fsm.closing:
                link.deliver(rest)
