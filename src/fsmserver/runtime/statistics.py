"""What a scheduler counts, and the immutable view of it that it hands out."""

from typing import NamedTuple


class Counts:
    """Counters that only grow. One object for a scheduler."""

    __slots__ = (
        "accept_errors", "accepted", "closed", "discarded_bytes", "dropped_writes", "protocol_errors", "received_bytes", "refused",
        "rounds", "silent", "slow_callbacks", "stale", "taken_bytes", "urgent",
    )  # fmt: skip

    def __init__(self) -> None:
        """Begin with nothing."""
        self.rounds = 0
        self.accepted = 0
        self.refused = 0
        self.accept_errors = 0
        self.silent = 0
        self.stale = 0
        self.urgent = 0
        self.dropped_writes = 0
        self.protocol_errors = 0
        self.slow_callbacks = 0
        self.received_bytes = 0
        self.taken_bytes = 0
        self.discarded_bytes = 0
        self.closed: dict[str, int] = {}


class Statistics(NamedTuple):
    """A moment of a scheduler. Sizes are bytes over its whole life, open connections included."""

    connections: int
    """Open now."""
    most_connections: int
    """The limit in force."""
    listeners: dict[str, str]
    """The state of each listener, by its address."""
    timers: int
    """Callbacks that wait for their time."""
    rounds: int
    """Waits, and the handling of all they returned."""
    accepted: int
    """Connections taken in."""
    refused: int
    """Connections accepted and closed at once, because there was no room."""
    accept_errors: int
    """Errors out of accept that were skipped or waited out."""
    silent: int
    """Connections that ended without having sent a byte: health checks and port scans."""
    stale: int
    """Reports for descriptors that nobody has any more; never delivered."""
    urgent: int
    """Times that urgent data was seen."""
    dropped_writes: int
    """Writes after close or loss."""
    protocol_errors: int
    """Connections aborted because their protocol raised, or wrote over the cap."""
    slow_callbacks: int
    """Callbacks that took longer than `slow_callback_s`."""
    received_bytes: int
    """Taken from the kernel."""
    taken_bytes: int
    """Taken by the kernel."""
    discarded_bytes: int
    """Written by protocols and lost in closes."""
    closed: dict[str, int]
    """Connections closed, by the event that closed them."""


COUNTED = tuple(name for name in Statistics._fields if hasattr(Counts, name))
