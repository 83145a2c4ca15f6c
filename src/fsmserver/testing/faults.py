"""Faults are values: what is to happen to which call of the simulated kernel, and how often.

A *rule* is asked about every call and answers with a *verdict*, or None for "pass". Rules are asked in the order in which
they were given, and the first verdict that is not "pass" wins. `Fault` is the rule that most tests need: the next few
calls of one name, of one connection or of any, meet one verdict. It is a value: it can be printed, compared and replayed.

| verdict | what happens to the call |
|---|---|
| `Fail(number)` | it raises OSError with this errno |
| `Short(size_bytes)` | send, sendmsg, recv and deliver move at most so many bytes |
| `Delay(seconds)` | deliver: what is under way arrives so much later, in order |
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, TypeAlias

CALLS: Final = (
    "accept", "recv", "send", "sendmsg", "shutdown", "close", "setsockopt", "getsockopt", "getsockname", "getpeername", "deliver",
)  # fmt: skip
"""The calls that rules are asked about. `deliver` is the network's own: bytes of a peer or for a peer set out."""


class Call(NamedTuple):
    """One call of the simulated kernel: its name, the descriptor it was made on (-1 for a peer's own end), and its size."""

    name: str
    fd: int
    size_bytes: int


TRAFFIC: Final = ("recv", "send", "sendmsg", "deliver")
"""Those that move bytes."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The call raises OSError."""

    number: int

    def __str__(self) -> str:
        """Say it as people do: `fails with ECONNRESET`."""
        return f"fails with {errno.errorcode.get(self.number, self.number)}"


@dataclass(frozen=True, slots=True)
class Short:
    """The call moves at most this many bytes; at least 1, since 0 would mean the end of the stream."""

    size_bytes: int

    def __str__(self) -> str:
        """Say it as people do."""
        return f"moves at most {self.size_bytes} B"


@dataclass(frozen=True, slots=True)
class Delay:
    """What is under way arrives this much later."""

    seconds: float

    def __str__(self) -> str:
        """Say it as people do."""
        return f"takes {self.seconds:g} s"


Verdict: TypeAlias = Fail | Short | Delay


class Rule(Protocol):
    """Anything that can be asked about a call."""

    def __call__(self, call: Call, /) -> Verdict | None:
        """Give a verdict, or None to let the call pass."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The next `times` calls named `call` meet `verdict`: those on the descriptor `fd`, or on any if it is None.

    The first `skip` of them pass. Times and skips are counted by the kernel that it was given to: the fault itself is
    a value.
    """

    call: str
    verdict: Verdict
    fd: int | None = None
    times: int = 1
    skip: int = 0

    def __post_init__(self) -> None:
        """Refuse a call that nobody makes: such a fault could never happen."""
        if self.call not in CALLS:
            raise ValueError(f"there is no call {self.call!r}; there are {', '.join(CALLS)}")

    def concerns(self, call: Call) -> bool:
        """Tell whether `call` is one of those meant; a fault of `send` concerns `sendmsg` too."""
        named = call.name == self.call or (self.call == "send" and call.name == "sendmsg")
        return named and (self.fd is None or self.fd == call.fd)

    def __str__(self) -> str:
        """Say it as people do: `send on 4 fails with EPIPE, 2 times`."""
        where = "" if self.fd is None else f" on {self.fd}"
        often = "" if self.times == 1 else f", {self.times} times"
        return f"{self.call}{where} {self.verdict}{often}" + (f" after {self.skip} that pass" if self.skip else "")


class ArmedFault:
    """A fault that was given to a kernel, and what is left of it."""

    __slots__ = ("fault", "fd", "left", "names", "skips", "struck")

    def __init__(self, fault: Fault) -> None:
        """Begin with all its times left."""
        self.fault = fault
        self.fd = fault.fd
        self.names = ("send", "sendmsg") if fault.call == "send" else (fault.call,)
        self.left = fault.times
        self.skips = fault.skip
        self.struck = 0

    def __call__(self, call: Call, /) -> Verdict | None:
        """Strike if this call is meant and there are times left."""
        if not self.left or not self.fault.concerns(call):
            return None
        if self.skips:
            self.skips -= 1
            return None
        self.left -= 1
        self.struck += 1
        return self.fault.verdict
