"""Every bound there is, with its unit in its name and its reason beside it.

The command line's options, the documentation and the log take names, defaults and sentences from here.
"""

import math
from typing import Final, final

from fsmserver.core.errors import LimitError
from fsmserver.core.values import Value
from fsmserver.core.values import field as limit

KIB: Final = 1024
MIB: Final = 1024 * KIB


@final
class Limits(Value):
    """The bounds of a server and of each of its connections. Immutable; `dataclasses.replace` makes variants.

    Times are seconds of the monotonic clock; `math.inf` means for ever. Sizes are bytes.

    Raises:
        LimitError: a value makes no sense (zero, negative, or a low mark over its high mark).

    """

    handshake_s: float = limit("a connection must be open (PROXY header, TLS) this long after its accept", default=10.0)
    # Browsers and proxies keep idle connections for 60 to 350 s; less would close what they still count on.
    idle_s: float = limit("an open connection on which no byte moves either way is closed after this", default=300.0)
    half_closed_s: float = limit(
        "a connection that the application keeps half open after the peer's FIN is closed after this", default=30.0
    )
    # nginx's lingering_timeout has the same value.
    linger_s: float = limit("after our FIN, the peer has this long to send its own", default=5.0)
    stall_s: float = limit("a peer that takes not one byte of what is queued for it is given up after this", default=60.0)
    lifetime_s: float = limit("no connection lives longer than this, whatever it does", default=math.inf)
    drain_s: float = limit("a stopping server waits this long for its connections, then aborts them and says whose they were", default=30.0)
    # Two round trips between continents: long enough that a request under way is read before its connection is closed.
    drain_quiet_s: float = limit("a stopping server closes a connection once nothing came on it for this long", default=0.25)
    slow_callback_s: float = limit("a callback that keeps the loop longer than this is named in the log", default=0.1)
    accept_backoff_s: float = limit("after running out of descriptors or memory, accepting is tried again after this", default=1.0)

    # asyncio's marks are 64 and 16 KiB; with these a reply of a few reads still fits without a pause.
    outbox_high_bytes: int = limit("over this the connection is not read and the protocol is told to pause writing", default=256 * KIB)
    outbox_low_bytes: int = limit("down to this, reading and writing resume", default=64 * KIB)
    outbox_cap_bytes: int = limit("a protocol that writes more than this regardless has its connection aborted", default=64 * MIB)
    # Above 128 KiB malloc takes each buffer from mmap and gives it back: three system calls a message.
    read_budget_bytes: int = limit("at most this is received from a connection in one round", default=64 * KIB)
    linger_bytes: int = limit("at most this is read and discarded after our FIN", default=1 * MIB)

    connections: int | None = limit(
        "at most this many connections at once; by default what the descriptor limit allows, less a reserve", default=None
    )
    accepts_per_round: int = limit("at most this many connections are accepted from a listener in one round", default=64)
    timers_per_round: int = limit("at most this many deadlines and timers are run in one round", default=256)
    # The kernel cuts this down to net.core.somaxconn.
    backlog: int = limit("this many connections may wait in the kernel to be accepted", default=1024)
    executor_threads: int = limit("this many threads at most do the work given to run_in_executor", default=8)
    log_lines_per_s: int = limit("at most this many lines about single connections are logged a second; the rest are counted", default=100)

    def _check(self) -> None:
        for name, each in self.declared.items():
            _check_one(name, getattr(self, name), each.default)
        if self.outbox_low_bytes > self.outbox_high_bytes:
            raise LimitError("outbox_low_bytes", self.outbox_low_bytes, f"at most outbox_high_bytes, {self.outbox_high_bytes}")
        if self.outbox_high_bytes > self.outbox_cap_bytes:
            raise LimitError("outbox_high_bytes", self.outbox_high_bytes, f"at most outbox_cap_bytes, {self.outbox_cap_bytes}")


def _check_one(name: str, value: object, default: object) -> None:
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
    return Limits.declared[name].about


DEFAULT: Final = Limits()
