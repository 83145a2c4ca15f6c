"""What can be said wrongly to a machine: a sentence for people, and fields for programs."""

from collections.abc import Sequence


class FsmServerError(Exception):
    """The base of every error of this package."""


class IllegalTransition(FsmServerError):
    """An event was reported that cannot happen in this state. Nothing was changed.

    Fields: `state` and `event`, and `legal`, the events that are possible in that state.
    """

    def __init__(self, state: str, event: str, legal: Sequence[str]) -> None:
        """Keep the fields and say the sentence."""
        self.state, self.event, self.legal = state, event, tuple(legal)
        possible = f"possible there: {', '.join(self.legal)}" if self.legal else "nothing can happen there any more"
        super().__init__(f"{event!s} cannot happen in the state {state!s} ({possible})")


class OutboxOverflow(FsmServerError):
    """More was written than the hard cap of the outbox allows. Nothing of this write was kept.

    Fields, in bytes: `size_bytes` held before, `offered_bytes` of this write, `cap_bytes`.
    """

    def __init__(self, size_bytes: int, offered_bytes: int, cap_bytes: int) -> None:
        """Keep the fields and say the sentence."""
        self.size_bytes, self.offered_bytes, self.cap_bytes = size_bytes, offered_bytes, cap_bytes
        super().__init__(
            f"{offered_bytes} bytes more do not fit into the outbox: it holds {size_bytes} of at most {cap_bytes} bytes (outbox_cap_bytes)"
        )


class OutboxSealed(FsmServerError):
    """Something was written after the end of the outgoing stream was declared. Nothing was kept."""

    def __init__(self) -> None:
        """Say the sentence."""
        super().__init__("nothing can be written after write_eof or close: the end of the stream is already queued")


class DeadlinePassed(FsmServerError, TimeoutError):
    """A deadline of a connection passed. Fields: `limit`, its name, and `after_s`, its length in seconds."""

    def __init__(self, limit: str, after_s: float) -> None:
        """Keep the fields and say the sentence."""
        self.limit, self.after_s = limit, after_s
        super().__init__(f"{limit} passed: {after_s:g} s")


class HandshakeFailed(FsmServerError):
    """What a peer sent before its connection was open is not what the handshake expects. Raised by a `Handshake`."""


class LingerOverrun(FsmServerError):
    """A peer went on sending after our FIN, beyond what a lingering close reads. Field: `limit_bytes`."""

    def __init__(self, limit_bytes: int) -> None:
        """Keep the field and say the sentence."""
        self.limit_bytes = limit_bytes
        super().__init__(f"the peer sent more than {limit_bytes} bytes after the connection was closed (linger_bytes)")


class UrgentData(FsmServerError):
    """The peer sent urgent data and the policy is to close."""

    def __init__(self) -> None:
        """Say the sentence."""
        super().__init__("the peer sent urgent data, and the policy for exceptional conditions is close")


class LimitError(FsmServerError, ValueError):
    """A limit has a value that makes no sense. Fields: `name`, `value`."""

    def __init__(self, name: str, value: object, rule: str) -> None:
        """Keep the fields and say the sentence."""
        self.name, self.value = name, value
        super().__init__(f"{name} must be {rule}, not {value!r}")
