"""Every bound there is, with its unit in its name and its reason beside it.

The command line's options, the documentation and the log take names, defaults and sentences from here.
"""

import math
from dataclasses import dataclass, field, fields
from typing import Any, Final

from fsmserver.core.errors import LimitError

KIB: Final = 1024
MIB: Final = 1024 * KIB


def limit(default: float | None, about: str) -> Any:  # noqa: ANN401 - dataclasses.field is typed like this too
    """Declare one limit: its default and one sentence about it."""
    return field(default=default, metadata={"about": about})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds of a server and of each of its connections. Immutable; `dataclasses.replace` makes variants.

    Times are seconds of the monotonic clock; `math.inf` means for ever. Sizes are bytes.

    Raises:
        LimitError: a value makes no sense (zero, negative, or a low mark over its high mark).

    """

    handshake_s: float = limit(10.0, "a connection must be open (PROXY header, TLS) this long after its accept")
    # Browsers and proxies keep idle connections for 60 to 350 s; less would close what they still count on.
    idle_s: float = limit(300.0, "an open connection on which no byte moves either way is closed after this")
    half_closed_s: float = limit(30.0, "a connection that the application keeps half open after the peer's FIN is closed after this")
    # nginx's lingering_timeout has the same value.
    linger_s: float = limit(5.0, "after our FIN, the peer has this long to send its own")
    stall_s: float = limit(60.0, "a peer that takes not one byte of what is queued for it is given up after this")
    lifetime_s: float = limit(math.inf, "no connection lives longer than this, whatever it does")
    drain_s: float = limit(30.0, "a stopping server waits this long for its connections, then aborts them and says whose they were")
    # Two round trips between continents: long enough that a request under way is read before its connection is closed.
    drain_quiet_s: float = limit(0.25, "a stopping server closes a connection once nothing came on it for this long")
    slow_callback_s: float = limit(0.1, "a callback that keeps the loop longer than this is named in the log")
    accept_backoff_s: float = limit(1.0, "after running out of descriptors or memory, accepting is tried again after this")

    # asyncio's marks are 64 and 16 KiB; with these a reply of a few reads still fits without a pause.
    outbox_high_bytes: int = limit(256 * KIB, "over this the connection is not read and the protocol is told to pause writing")
    outbox_low_bytes: int = limit(64 * KIB, "down to this, reading and writing resume")
    outbox_cap_bytes: int = limit(64 * MIB, "a protocol that writes more than this regardless has its connection aborted")
    # Above 128 KiB malloc takes each buffer from mmap and gives it back: three system calls a message.
    read_budget_bytes: int = limit(64 * KIB, "at most this is received from a connection in one round")
    linger_bytes: int = limit(1 * MIB, "at most this is read and discarded after our FIN")

    connections: int | None = limit(
        None, "at most this many connections at once; by default what the descriptor limit allows, less a reserve"
    )
    accepts_per_round: int = limit(64, "at most this many connections are accepted from a listener in one round")
    timers_per_round: int = limit(256, "at most this many deadlines and timers are run in one round")
    # The kernel cuts this down to net.core.somaxconn.
    backlog: int = limit(1024, "this many connections may wait in the kernel to be accepted")
    executor_threads: int = limit(8, "this many threads at most do the work given to run_in_executor")
    log_lines_per_s: int = limit(100, "at most this many lines about single connections are logged a second; the rest are counted")

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        for each in fields(self):
            _check(each.name, getattr(self, each.name), each.default)
        if self.outbox_low_bytes > self.outbox_high_bytes:
            raise LimitError("outbox_low_bytes", self.outbox_low_bytes, f"at most outbox_high_bytes, {self.outbox_high_bytes}")
        if self.outbox_high_bytes > self.outbox_cap_bytes:
            raise LimitError("outbox_high_bytes", self.outbox_high_bytes, f"at most outbox_cap_bytes, {self.outbox_cap_bytes}")


def _check(name: str, value: object, default: object) -> None:
    if isinstance(default, float):
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise LimitError(name, value, "a number of seconds over 0")
    elif not (default is None and value is None):
        # The marks may be 0: asyncio allows it, and it means "pause whenever anything is left over".
        least = 0 if name in ("outbox_high_bytes", "outbox_low_bytes") else 1
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise LimitError(name, value, f"a whole number of at least {least}")


def about(name: str) -> str:
    """Give the sentence that explains the limit `name`."""
    return str(next(each for each in fields(Limits) if each.name == name).metadata["about"])


DEFAULT: Final = Limits()
